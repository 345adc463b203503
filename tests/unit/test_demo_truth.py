"""The stated truth of the demo retailer against what its files show. Seeds are fixed: nothing here is flaky."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.demo import DemoConfig, DemoSummary, generate
from pipelines.demo.campaign_truth import campaign_table
from pipelines.demo.churn_truth import chance_of_no_order, churn_table, day_of_instant, snapshot_days
from pipelines.demo.clock import DAY, day_start
from pipelines.demo.config import ARMS, CampaignConfig
from pipelines.demo.course import NO_ARM, Moment, course, eligible, ratios
from pipelines.demo.dynamics import GONE, State, step
from pipelines.demo.identities import customer_ids
from pipelines.demo.season import factors
from pipelines.demo.simulation import Simulation, simulate
from pipelines.demo.traits import Traits, draw_traits

CONFIG = DemoConfig(customers=1500, months=15, seed=11)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return generate(CONFIG, tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def world() -> Simulation:
    return simulate(CONFIG, draw_traits(CONFIG))


def _json_lines(path: Path) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()])


def test_mean_churn_probability_matches_what_came_true() -> None:
    """Pooled over seeds, so that the sampling error is small; snapshots within a seed are not independent."""
    for day in (140, 275, 290, 380):
        gaps, variance = 0.0, 0.0
        for seed in range(6):
            rows = churn_table(CONFIG.model_copy(update={"seed": seed}), [day]).to_pandas()
            gaps += float((rows["churned"] - rows["probability"]).sum())
            variance += float((rows["probability"] * (1 - rows["probability"])).sum())
        assert abs(gaps) < 3.5 * np.sqrt(variance), day


def test_churn_probabilities_are_calibrated_in_every_tenth() -> None:
    parts = [churn_table(CONFIG.model_copy(update={"seed": s}), [200, 380]).to_pandas() for s in range(20, 26)]
    rows = pd.concat(parts)
    rows["tenth"] = pd.qcut(rows["probability"].rank(method="first"), 10, labels=False)
    for tenth, part in rows.groupby("tenth"):
        error = np.sqrt((part["probability"] * (1 - part["probability"])).sum()) + 0.5
        assert abs((part["churned"] - part["probability"]).sum()) < 4 * error, tenth


def _churned_futures(config: DemoConfig, traits: Traits, moment: Moment, futures: int) -> np.ndarray:
    """The slow oracle: play the days of the horizon again and count the futures without an order."""
    rng = np.random.default_rng(5)
    shape = (futures, traits.count)
    state = State(np.broadcast_to(moment.before.phase, shape), np.broadcast_to(moment.before.satisfaction, shape))
    silent = np.ones(shape, dtype=np.bool_)
    season = factors(config.start + timedelta(days=moment.day), config.truth.horizon_days)
    starts = dict(config.waves)
    running = [day for day in starts if day < moment.day]
    begun = max(running, default=-1000)
    arm = np.broadcast_to(moment.arm, shape) if running else np.full(shape, NO_ARM)
    for offset, pull in enumerate(season):
        day = moment.day + offset
        if day in starts:
            chances = [starts[day].propensities[name] for name in ARMS]  # type: ignore[index]
            drawn = rng.choice(len(ARMS), size=shape, p=chances)
            arm, begun = np.where(eligible(config, traits, day, moment.last_order), drawn, NO_ARM), day
        elif day == begun + config.campaign.effect_days:
            arm = np.full(shape, NO_ARM)
        pulls = pull * ratios(config, np.broadcast_to(traits.segment, shape), arm)
        state, outcome = step(config, traits, state, np.zeros(traits.count, dtype=np.bool_), pulls, rng)
        silent &= ~outcome.ordered
    return np.asarray(silent.mean(axis=0))


@pytest.mark.parametrize("day", [150, 260, 273, 283, 330])
def test_recursion_equals_played_futures(day: int) -> None:
    """Before, at, within and after a campaign wave (which starts on day 273 of this configuration)."""
    strong = CampaignConfig(
        rate_ratios={name: {"email_coupon": 3.0, "line_coupon": 0.4} for name in ("web", "app", "store")}
    )
    config = DemoConfig(customers=120, months=18, seed=2, campaign=strong)
    assert config.waves[0][0] == 273
    traits = draw_traits(config)
    moment = next(each for each in course(config, traits) if each.day == day)
    exact, played = chance_of_no_order(config, traits, moment), _churned_futures(config, traits, moment, 1500)
    known = traits.registered < day
    error = np.sqrt(exact * (1 - exact) / 1500) + 1e-3
    assert np.abs((played - exact) / error)[known].max() < 4.5
    assert abs((played - exact)[known].mean()) < 4 * np.sqrt((error[known] ** 2).mean() / known.sum())


def test_snapshots_have_their_windows_inside_the_simulated_days() -> None:
    days = snapshot_days(CONFIG)
    assert days[-1] == CONFIG.days - 61
    assert days[0] >= 90
    with pytest.raises(ValueError, match="days between"):
        churn_table(CONFIG, [CONFIG.days])
    as_of = int(churn_table(CONFIG, [120])["as_of"].to_pandas().iloc[0].timestamp()) * 10**6
    assert day_of_instant(CONFIG, as_of) == 120
    with pytest.raises(ValueError, match="00:00 UTC"):
        day_of_instant(CONFIG, as_of + 1)


def test_arms_are_drawn_with_their_propensities(demo: DemoSummary) -> None:
    rows = pd.read_csv(demo.folder / "campaign.csv")
    for _, wave in rows.groupby("campaign"):
        for _, part in wave.groupby("arm"):
            chance = part["chance_ppm"].iloc[0] / 1e6
            assert part["chance_ppm"].nunique() == 1
            assert abs(len(part) - len(wave) * chance) < 4 * np.sqrt(len(wave) * chance * (1 - chance))


def test_effects_estimated_from_the_files_lie_around_the_true_ones(demo: DemoSummary) -> None:
    """Orders of each arm in the days of the effect, weighted by the inverse propensity, against the truth."""
    orders = _orders(demo.folder)
    for campaign, rows in pd.read_parquet(demo.truth / "campaign.parquet").groupby("campaign_id"):
        begins = pd.Timestamp(rows["starts"].iloc[0], tz="Asia/Bangkok")
        inside = (orders["at"] >= begins) & (orders["at"] < begins + pd.Timedelta(days=int(rows["days"].iloc[0])))
        found = rows["customer_id"].map(orders[inside].groupby("customer").size()).fillna(0.0)
        control = found[rows["arm"] == "control"]
        for arm in ARMS[1:]:
            treated = found[rows["arm"] == arm]
            error = np.sqrt(treated.var() / len(treated) + control.var() / len(control))
            assert abs(treated.mean() - control.mean() - rows[f"effect_{arm}"].mean()) < 3.5 * error, (campaign, arm)


def test_effects_cover_the_truth_over_seeds_and_segments() -> None:
    scores = []
    for seed in range(5):
        config = DemoConfig(customers=2000, months=12, seed=seed)
        traits, truth = draw_traits(config), campaign_table(config).to_pandas()
        ordered = np.stack([moment.outcome.ordered for moment in course(config, traits)])
        index = {name: number for number, name in enumerate(customer_ids(traits.count))}
        for (starts, segment), rows in truth.groupby(["starts", "segment"]):
            first = config.day_of(starts)
            who = rows["customer_id"].map(index).to_numpy()
            found = ordered[first : first + config.campaign.effect_days][:, who].sum(axis=0)
            control = found[rows["arm"] == "control"]
            for arm in ARMS[1:]:
                treated = found[rows["arm"] == arm]
                error = np.sqrt(treated.var() / len(treated) + control.var() / len(control))
                true = rows[f"effect_{arm}"].mean()
                scores.append((treated.mean() - control.mean() - true) / error)
                ratio = config.campaign.ratio(segment, arm)
                assert np.sign(round(true, 3)) == np.sign(ratio - 1.0)
    assert len(scores) == 5 * 2 * 3 * 2
    assert np.abs(scores).max() < 4.0
    assert 0.7 < np.sqrt(np.mean(np.square(scores))) < 1.35


def _orders(folder: Path) -> pd.DataFrame:
    """Orders of known customers in the three files: customer and instant, each order once."""
    web, app = _json_lines(folder / "web.jsonl.gz"), _json_lines(folder / "app.jsonl.gz")
    web = web[web["type"] == "order"].drop_duplicates("id")
    app = app[app["name"] == "purchase"].drop_duplicates("event_id")
    pos = pd.read_csv(folder / "pos.csv.gz", sep=";").drop_duplicates("receipt").dropna(subset="customer_no")
    sold = pd.to_datetime(pos["sold_at"], format="%d/%m/%Y %H:%M").dt.tz_localize("Asia/Bangkok")
    customers = [visitor["customer"] for visitor in web["visitor"]]
    parts: list[pd.DataFrame] = [
        pd.DataFrame({"customer": customers, "at": pd.to_datetime(web["at"], utc=True)}),
        pd.DataFrame({"customer": app["member"], "at": pd.to_datetime(app["ts"], utc=True)}),
        pd.DataFrame({"customer": pos["customer_no"], "at": sold.dt.tz_convert("UTC")}),
    ]
    return pd.concat(parts)


def test_labels_counted_in_the_files_are_the_true_ones(demo: DemoSummary) -> None:
    """The churn label by its definition in days of UTC, from the exported orders alone."""
    orders, truth = _orders(demo.folder), pd.read_parquet(demo.truth / "churn.parquet")
    for as_of in truth["as_of"].unique():
        rows = truth[truth["as_of"] == as_of]
        before = orders[(orders["at"] < as_of) & (orders["at"] >= as_of - pd.Timedelta(days=90))]
        after = orders[(orders["at"] >= as_of) & (orders["at"] < as_of + pd.Timedelta(days=60))]
        assert set(before["customer"]) == set(rows["customer_id"])
        churned = ~rows["customer_id"].isin(set(after["customer"]))
        late_at_the_end = 3 if as_of == truth["as_of"].max() else 0  # app orders that had not arrived by the end
        assert (churned != rows["churned"]).sum() <= late_at_the_end


def test_copies_and_late_events_are_as_many_as_stated(demo: DemoSummary) -> None:
    share = CONFIG.export.duplicate_share
    web, app = _json_lines(demo.folder / "web.jsonl.gz"), _json_lines(demo.folder / "app.jsonl.gz")
    for ids in (web.loc[web["type"] != "refund", "id"], app["event_id"]):
        events = ids.nunique()
        assert abs(len(ids) - events - events * share) < 4 * np.sqrt(events * share * (1 - share))
    app = app.drop_duplicates("event_id")
    delay = pd.to_datetime(app["server_ts"], utc=True) - pd.to_datetime(app["ts"], utc=True)
    late, expected = (delay > pd.Timedelta(hours=1)).sum(), CONFIG.export.app_late_share
    assert abs(late - len(app) * expected) < 4 * np.sqrt(len(app) * expected * (1 - expected)) + 10
    assert late == json.loads((demo.truth / "truth.json").read_text())["app_events_late"]
    assert not pd.to_datetime(web["at"]).is_monotonic_increasing


def test_who_has_left_does_nothing_more_than_a_rare_look(world: Simulation) -> None:
    left_at = day_start(CONFIG.start) + np.where(world.last.left_on >= 0, world.last.left_on, 10**6) * DAY
    for name in ("orders", "calls", "surveys"):
        rows = world.tables[name]
        known = rows["customer"] >= 0
        assert (rows["at"][known] < left_at[rows["customer"][known]]).all(), name
    for name in ("emails", "line"):
        rows = world.tables[name]
        assert (rows["at"][rows["action"] > 0] < left_at[rows["customer"][rows["action"] > 0]]).all(), name
    emails = world.tables["emails"]
    assert (emails["at"] > left_at[emails["customer"]]).any()  # newsletters go on
    events = world.tables["events"]
    looks = (events["at"] > left_at[events["customer"]]) & (events["customer"] >= 0)
    assert 0 < looks.sum() < 0.05 * len(looks)


def test_silent_leavers_look_like_everyone_before_they_leave(world: Simulation) -> None:
    """Sessions in the month before leaving: as many as expected of an engaged customer of the same traits."""
    traits, left = world.traits, world.last.left_on
    silent = np.flatnonzero(traits.silent & (left >= np.maximum(traits.registered, 0) + 31))
    events, start = world.tables["events"], day_start(CONFIG.start)
    opens = (events["kind"] == 0) & (events["order"] < 0)
    day = (events["at"] - start) // DAY
    season = factors(CONFIG.start, CONFIG.days)
    found = expected = 0.0
    ordered = world.tables["orders"]["customer"]
    assert len(silent) > 40
    for customer in silent:
        last = left[customer]
        mine = opens & (events["customer"] == customer) & (day >= last - 30) & (day < last)
        found += len(np.unique(day[mine]))
        online = (ordered == customer) & (world.tables["orders"]["channel"] < 2)
        ordered_on = (world.tables["orders"]["at"][online] - start) // DAY
        expected += ((ordered_on >= last - 30) & (ordered_on < last)).sum()
        expected += (traits.browsing[customer] * season[last - 30 : last]).sum()
    assert abs(found - expected) < 4 * np.sqrt(expected)


def test_phases_only_move_forward_but_for_recovery() -> None:
    config = DemoConfig(customers=300, months=4, seed=1)
    gone = np.zeros(300, dtype=np.bool_)
    for moment in course(config, draw_traits(config)):
        assert not (gone & (moment.outcome.phase != GONE)).any()
        gone = moment.outcome.phase == GONE
        assert not (gone & moment.outcome.ordered).any()
