"""What a reviewer finds in the page and the card: all that was made, and what was not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipelines.artefacts import (
    ABLATION,
    EVALUATION,
    LEAKAGE,
    MODEL_CARD,
    REPORT,
    REPORT_FIGURES,
    TRAINING,
    TUNING,
    read_json,
    write_json,
)
from pipelines.explain import explain
from pipelines.explain.calibration import CalibrationError, usability
from tests.reference import churn_artefacts
from tests.unit.explain_parts import COUNT, VIEWS, config_of, evaluated, plain, section

OWN = "lightgbm_tuned"


def _around(value: float) -> dict[str, float]:
    return {"estimate": value, "low": value - 0.01, "high": value + 0.01}


def _whole_evaluation() -> dict[str, Any]:
    scores = {"log_loss": 0.4, "auc": 0.71, "calibration_error": 0.031, "noise_floor": 0.012}
    band = {
        "rows": 200, "customers": 200, "positive_rate": 0.4, "mean_probability": 0.41, "log_loss": 0.6, "auc": None,
        "calibration_error": 0.05, "calibration_noise_floor": 0.04, "judged": True,
    }  # fmt: skip
    slices = [
        {**band, "slice": "orders", "band": "one", "log_loss_over_base_rate": _around(-0.1)},
        {**band, "slice": "orders", "band": "more <than> one", "log_loss_over_base_rate": _around(0.05)},
        {**band, "slice": "orders", "band": "few", "rows": 9, "judged": False, "log_loss_over_base_rate": None},
    ]
    curve = [{"share": at / 4, "profit": {OWN: 2.0 * at, "base_rate": 1.0 * at}} for at in range(5)]
    profits = [{"name": OWN, "profit": _around(8.5), "threshold": 0.164, "share": 0.62}]
    return {
        "names": {"base_rate": "One rate for all", OWN: "Tuned LightGBM"},
        "per_snapshot": [
            {"snapshot": at, "day": f"2021-0{at}-01", "rows": 90, "positive_rate": 0.4,
             "models": [{"name": OWN, **scores}, {"name": "base_rate", **scores, "log_loss": 0.69}]} for at in (6, 7)
        ],
        "profit": {
            "kind": "costs", "settings": {"kind": "costs", "action_cost": 1.5, "value": 20.0}, "models": profits,
            "all": _around(7.25), "none": _around(0.0), "curve": curve,
            "differences": [
            {"model": OWN, "against": "all", "metric": "profit", **_around(-1.2)},
            {"model": OWN, "against": "none", "metric": "profit", **_around(0.005)},
        ],
        },
        "slices": slices,
        "worst_slice": {"slice": "orders", "band": "more <than> one", "rows": 200,
                        "log_loss_over_base_rate": _around(0.05)},
        "champion_comparison": {"snapshot": 7, "rows": 90, "log_loss": _around(0.021),
                                "calibration_error": _around(0.0), "profit": None, "worst_slice": None},
        "tuning_gain": {"default": _around(0.002), "random": _around(-0.3), "tuned_search": None,
                        "random_search": {"seconds": 60.0, "trials": 33}},
        "truth": {"rows": 180, "matched_share": 1.0, "mean_truth": 0.4, "best_log_loss": 0.345, "best_auc": 0.83,
                  "models": [{"name": OWN, "calibration_error": 0.044, "noise_floor": 0.011,
                              "root_mean_squared_error": 0.123, "correlation": 0.9}]},
        "base_rate_drift": {"train_rate": 0.4, "test_rate": 0.5, "difference": _around(0.1)},
    }  # fmt: skip


# The fit of the final model took other rounds than the search.
_TRAINING: dict[str, Any] = {
    "params": {"num_leaves": 7, "learning_rate": 0.05}, "rounds": 31, "seeds": [7, 8, 9],
    "calibration": {"slope": 1.148, "intercept": -0.134, "rows": 1510, "snapshots": ["2021-03-01"], "note": ""},
    "monotone": {VIEWS: "lowers"},
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, dict[str, Any]]:
    """Page, card and figures where every step has been made."""
    data = churn_artefacts.dataset(900)
    config = config_of(
        slices=[
            {"name": "orders", "feature": COUNT, "below": [6], "labels": ["one", "more"]},
            {"name": "views", "feature": VIEWS, "quantiles": 2},
            {"name": "asked", "consent": "marketing"},
        ],
        actionable=["page_*"],
    )
    settings, place = evaluated(tmp_path_factory.mktemp("whole"), data, config, _whole_evaluation())
    alarm = {"figure": 0.9, "threshold": 0.5, "detail": "It knows the future."}
    write_json(place / LEAKAGE, {"alarms": [
        {**alarm, "name": "truncated_log", "raised": True, "meaning": "The same from a log cut short."},
        {**alarm, "name": "random_split", "raised": True, "blocks": False, "meaning": "A random split flatters."},
        {**alarm, "name": "time_in_features", "raised": False, "figure": 0.82, "threshold": None,
         "meaning": "Told apart."},
        {**alarm, "name": "shuffled_labels", "raised": False, "figure": None, "meaning": "Nothing to learn."},
    ]})  # fmt: skip
    write_json(place / TRAINING, _TRAINING)
    write_json(place / TUNING, {**read_json(place / TUNING), "differences": {
        "default": {"folds": [-0.01], "mean": -0.0123, "low": -0.02, "high": -0.005},
    }})  # fmt: skip
    notes = ["Trained on 1,234 of 1,500 rows; --rows 1500 takes all."]
    write_json(place / ABLATION, {"sampled": True, "train_rows": 1234, "notes": notes, "rows": [
        {"name": "no_tuning", "meaning": "Parameters of LightGBM itself.", "log_loss": _around(0.5),
         "auc": _around(0.7), "difference": _around(-0.0042)},
    ]})  # fmt: skip
    explain(settings, config)
    figures = read_json(place / REPORT_FIGURES)
    return (place / REPORT).read_text("utf-8"), (place / MODEL_CARD).read_text("utf-8"), figures


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, dict[str, Any]]:
    """Page, card and figures where only what is needed has been made."""
    settings, place = evaluated(tmp_path_factory.mktemp("bare"), churn_artefacts.dataset(900))
    (place / TUNING).unlink()
    evaluation = read_json(place / EVALUATION)
    later = ("names", "per_snapshot", "profit", "slices", "worst_slice", "champion_comparison", "tuning_gain", "truth")
    write_json(place / EVALUATION, {key: item for key, item in evaluation.items() if key not in later})
    explain(settings, churn_artefacts.config())
    figures = read_json(place / REPORT_FIGURES)
    return (place / REPORT).read_text("utf-8"), (place / MODEL_CARD).read_text("utf-8"), figures


def test_seven_questions_are_answered_first_with_links_to_evidence(whole: tuple[str, str, dict[str, Any]]) -> None:
    text, _, figures = whole
    questions = [item["question"] for item in figures["answers"]]
    assert questions == [
        "What does it predict?", "On what data?", "How good is it, against what?", "For whom is it worst?",
        "What drives it?", "Can I trust the reasons?", "What should it not be used for?",
    ]  # fmt: skip
    top = text.partition('<section id="predicts">')[0]
    for item in figures["answers"]:
        assert item["question"] in top
        assert f'href="#{item["anchor"]}"' in top
        assert f'<section id="{item["anchor"]}">' in text
    by_question = {item["question"]: item["text"] for item in figures["answers"]}
    assert "orders: more <than> one" in by_question["For whom is it worst?"]
    assert "worse than one rate" in by_question["For whom is it worst?"]
    assert "truncated log" in by_question["Can I trust the reasons?"]


def test_all_that_was_evaluated_is_shown(whole: tuple[str, str, dict[str, Any]]) -> None:
    text = whole[0]
    assert "Not made" not in plain(text)
    good = section(text, "good")
    for phrase in ("One rate for all", "nothing that this test can show", "random search of the same wall-clock (33",
                   "tuning helped", "+0.0210 [+0.0110, +0.0310]", "0.044 (0.011)", "2021-07-01", "0.345"):  # fmt: skip
        assert phrase in good, phrase
    profit = section(text, "profit")
    for phrase in ("8.50 [8.49, 8.51]", "0.164", "62.0 %", "Act on all", "7.25", "worth less", "action cost 1.5"):
        assert phrase in profit, phrase
    assert "+10.0 points" in section(text, "data")


def test_how_it_was_made_is_of_the_model_and_not_of_the_search(whole: tuple[str, str, dict[str, Any]]) -> None:
    text, card, _ = whole
    for said in (section(text, "made"), card):
        assert "31 rounds × 3 seeds (7, 8, 9)" in said
        assert "num_leaves=7, learning_rate=0.05" in said
        assert "slope 1.148, intercept −0.134, on 1,510 out-of-fold rows of 2021-03-01" in said
        assert f"{VIEWS} lowers" in said
    assert "imposed: lowers" in section(text, "moves")
    assert "−0.0123 [−0.0200, −0.0050]" in section(text, "good")  # what tuning is worth over the folds


def test_the_model_can_be_told_from_others_and_gates_stand_beside_figures(
    whole: tuple[str, str, dict[str, Any]],
) -> None:
    text, card, figures = whole
    top = plain(text.partition('<section id="predicts">')[0])
    for said in (top, card):
        assert figures["evaluation"]["model_hash"] in said
        assert "Page made on" in said
    made = section(text, "made")
    assert "twin history" in made
    assert "over noise, at most2.583.00" in made  # 0.031 by 0.012, against the limit
    assert "leakage alarms, at most10" in made


def test_probabilities_far_off_are_not_called_usable_as_they_are(whole: tuple[str, str, dict[str, Any]]) -> None:
    text, card, figures = whole
    said = "with care as they are: on the test snapshot of 2021-07-01 they are off by 0.031 on average, 2.6 times"
    assert said in section(text, "good")
    assert said in card
    far = CalibrationError(0.09, 0.02, None)
    assert usability(far, 3.0).startswith("Do not use its probabilities as they are")
    assert usability(CalibrationError(0.02, 0.02, None), 3.0).startswith("Its probabilities may be used as they are")
    answers = {item["anchor"]: item["text"] for item in figures["answers"]}
    assert f"it said {100 * figures['rates']['predicted']:.1f} % on the mean" in answers["good"]
    assert "not shown to bring more than acting on nobody" in answers["good"]
    assert "furthest off for orders: one" in answers["worst"]


def test_checks_without_a_threshold_are_not_judged_and_warnings_are_named(
    whole: tuple[str, str, dict[str, Any]],
) -> None:
    text = whole[0]
    doubt = section(text, "doubt")
    assert "not judged" in doubt
    assert "--rows" not in doubt
    assert "compare within this table only" in doubt
    assert "AUC of 0.82" in section(text, "data")


def test_agreement_is_that_of_the_model_with_refits_and_of_its_strongest_features(
    whole: tuple[str, str, dict[str, Any]],
) -> None:
    _, _, figures = whole
    stable = figures["stability"]
    folds = [item["agreement"][-1] for item in stable["refits"] if item["kind"] == "fold"]
    assert stable["own_folds"] == pytest.approx(sum(folds) / len(folds))
    assert list(stable["kept"]) == [item["feature"] for item in figures["importances"]][: stable["top"]]


def test_the_share_of_a_driver_can_be_found_in_the_table_of_groups(whole: tuple[str, str, dict[str, Any]]) -> None:
    text, _, figures = whole
    groups = section(text, "groups")
    for item in figures["groups"][:3]:
        assert item["features"][0] in groups
        assert f"{100 * item['share']:.1f} %" in groups


def test_the_worst_slice_is_marked_and_few_rows_are_pale(whole: tuple[str, str, dict[str, Any]]) -> None:
    text = whole[0]
    rows = re.findall(r"<tr[^>]*>.*?</tr>", text.partition('<section id="worst">')[2].partition("</section>")[0])
    worst = [row for row in rows if 'class="worst"' in row]
    assert len(worst) == 1
    assert "more &lt;than&gt; one" in worst[0]
    assert sum('class="aside"' in row for row in rows) == 1


def test_bad_news_stands_at_the_top(whole: tuple[str, str, dict[str, Any]]) -> None:
    text = whole[0]
    top = text.partition('<section id="predicts">')[0]
    assert "Leakage alarms were raised: truncated log." in plain(top)
    doubt = section(text, "doubt")
    for phrase in ("It knows the future.", "raised", "warning", "quiet", "No tuning", "−0.0042", "1,234", "a sample"):
        assert phrase in doubt, phrase


def test_reasons_by_kind_of_customer_and_over_time(whole: tuple[str, str, dict[str, Any]]) -> None:
    text, _, figures = whole
    orders, views, asked = figures["cohorts"]
    assert [band["band"] for band in orders["bands"]] == ["one", "more"]
    assert sum(band["rows"] for band in orders["bands"]) == figures["rows_explained"]
    assert views["bands"][-1]["band"] == "empty"
    assert asked["bands"] == []
    assert "not in the dataset" in section(text, "cohorts")
    sizes = {item["feature"]: item["mean_contribution"] for item in figures["importances"]}
    for at, feature in enumerate(orders["features"]):
        mean = sum(band["rows"] * band["mean_contributions"][at] for band in orders["bands"])
        assert mean / figures["rows_explained"] == pytest.approx(sizes[feature])
    days = [item["day"] for item in figures["snapshots"]]
    assert [band["band"] for band in figures["importance_over_time"]["bands"]] == days


def test_hints_are_labelled_as_what_they_are(whole: tuple[str, str, dict[str, Any]]) -> None:
    text, _, figures = whole
    label = "What the model would say, not what would happen: non-causal."
    assert [item["feature"] for item in figures["hints"]["features"]] == [VIEWS]
    assert label in section(text, "hints")
    for article in re.findall(r"<article>.*?</article>", text, re.DOTALL):
        assert ("If only" in article) == (label in article)
    assert any(example["hints"] for example in figures["examples"])


def test_stability_is_shown_and_sampling_is_stated(whole: tuple[str, str, dict[str, Any]]) -> None:
    text, _, figures = whole
    trust = section(text, "trust")
    stable = figures["stability"]
    assert f"How far the {stable['top']} strongest features" in trust
    assert "draw nothing at random" in trust  # the small model's parameters do not
    assert stable["seeds"] == 1.0
    assert f"fitted to {stable['train_rows']:,} training rows" in trust
    assert "explained rows" in section(text, "shapes")


@pytest.mark.parametrize("kind", ["whole", "bare"])
def test_the_card_has_the_headings_of_its_paper_and_the_same_figures(kind: str, request: pytest.FixtureRequest) -> None:
    _, card, figures = request.getfixturevalue(kind)
    headings = re.findall(r"^## (.+)$", card, re.MULTILINE)
    assert headings == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    assert "### Out of scope" in card
    own = next(item for item in figures["evaluation"]["models"] if item["name"] == OWN)
    assert f"{own['log_loss']['estimate']:.3f} [" in card
    assert figures["definition"] in card
    assert not any(example["customer_id"] in card for example in figures["examples"])
    assert "{{" not in card
    if kind == "whole":
        assert "more <than> one (**worst**)" in card
        assert "alarms were raised: truncated log; warning: random split." in card
        assert "AUC of 0.82" in card
        assert "| Calibration error (by chance) |" in card
        assert re.search(r"(?<![\w|-])-\d", card.partition("## Quantitative")[2]) is None  # true minus signs
    else:
        assert "Not judged by kinds of customers" in card
        assert "Leakage was not looked for" in card


def test_what_was_not_made_is_said(bare: tuple[str, str, dict[str, Any]]) -> None:
    text, _, figures = bare
    for name in ("good", "profit", "worst", "doubt", "cohorts", "trust", "hints"):
        assert "Not made" in section(text, name), name
    assert figures["stability"] is None
    assert figures["leakage"] is None
    assert "Against the known truth" not in text
    answers = {item["anchor"]: item["text"] for item in figures["answers"]}
    assert "Not looked at" in answers["worst"]
    assert "Leakage was not looked for" in answers["trust"]
