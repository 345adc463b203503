"""What only the generator knows, written beside the exports and never ingested."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.artefacts import write_json
from pipelines.demo.campaign_truth import campaign_table
from pipelines.demo.churn_truth import churn_table
from pipelines.demo.clock import DAY, day_start, instants
from pipelines.demo.config import ARMS, SEGMENTS, DemoConfig
from pipelines.demo.course import NEVER
from pipelines.demo.dynamics import ABSENT, ENGAGED, FADING, GONE
from pipelines.demo.identities import Identities
from pipelines.demo.online_exports import cookies_of
from pipelines.demo.other_exports import registered_at
from pipelines.demo.simulation import Simulation

PHASES = {ABSENT: "absent", ENGAGED: "engaged", FADING: "fading", GONE: "gone"}


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """Rows written to each file (copies included), and app events over an hour late (copies not)."""

    rows: dict[str, int]
    app_late: int


def write_truth(
    config: DemoConfig, folder: Path, world: Simulation, identities: Identities, counts: ExportCounts
) -> dict[str, Any]:
    """Write all truth files into `folder`; returns what stands in `truth.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    churn, campaign = churn_table(config), campaign_table(config)
    pq.write_table(_customers(config, world, identities), folder / "customers.parquet")
    pq.write_table(churn, folder / "churn.parquet")
    pq.write_table(campaign, folder / "campaign.parquet")
    pq.write_table(_identifiers(config, world, identities), folder / "identifiers.parquet")
    summary = _summary(config, world, counts, churn, campaign)
    write_json(folder / "truth.json", summary)
    return summary


def _customers(config: DemoConfig, world: Simulation, identities: Identities) -> pa.Table:
    """One row a customer: traits, the phase at the end, and the instant of leaving (null: has not left)."""
    traits, last = world.traits, world.last
    left = last.left_on != NEVER
    left_at = day_start(config.start) + np.where(left, last.left_on, 0) * DAY
    return pa.table(
        {
            "customer_id": list(identities.customer),
            "segment": [SEGMENTS[index] for index in traits.segment],
            "registered_at": instants(registered_at(config, world)),
            "orders_per_day": traits.rate,
            "base_satisfaction": traits.base,
            "silent": traits.silent,
            "sessions_per_day": traits.browsing,
            "price_level": traits.price_level,
            "email_opening": traits.email_opening,
            "line_opening": traits.line_opening,
            "left_before_first_day": traits.left_before & (traits.registered < 0),
            "left_at": pc.if_else(pa.array(left), instants(left_at), pa.scalar(None, pa.timestamp("us", tz="UTC"))),
            "phase_at_end": [PHASES[phase] for phase in last.outcome.phase.tolist()],
        }
    )


def _identifiers(config: DemoConfig, world: Simulation, identities: Identities) -> pa.Table:
    """Whose every cookie and device is; strangers' cookies are nobody's and not in it."""
    cookies, owners = cookies_of(config, world)
    kinds = ["cookie"] * len(cookies) + ["device_id"] * len(identities.device)
    customers = [identities.customer[owner] for owner in owners] + list(identities.customer)
    return pa.table({"kind": kinds, "value": [*cookies, *identities.device], "customer_id": customers})


def _summary(
    config: DemoConfig, world: Simulation, counts: ExportCounts, churn: pa.Table, campaign: pa.Table
) -> dict[str, Any]:
    phases = np.bincount(world.last.outcome.phase, minlength=4).tolist()
    orders = world.tables["orders"]
    return {
        "parameters": config.model_dump(mode="json"),
        "rows": counts.rows,
        "customers_at_end": dict(zip(PHASES.values(), phases, strict=True)),
        "orders_of_customers": int((orders["customer"] >= 0).sum()),
        "problem_orders": int((orders["problem"] > 0).sum()),
        "app_events_late": counts.app_late,
        "churn": _churn_by_snapshot(churn),
        "campaign": _effects(campaign),
        "in_words": _in_words(config),
    }


def _churn_by_snapshot(churn: pa.Table) -> list[dict[str, Any]]:
    groups = churn.append_column("count", pa.array(np.ones(churn.num_rows)))
    groups = groups.set_column(groups.schema.get_field_index("churned"), "churned", churn["churned"].cast(pa.float64()))
    means = groups.group_by("as_of", use_threads=False).aggregate(
        [("probability", "mean"), ("churned", "mean"), ("count", "sum")]
    )
    return [
        {
            "as_of": row["as_of"].isoformat(),
            "active": int(row["count_sum"]),
            "mean_true_probability": row["probability_mean"],
            "churned_share": row["churned_mean"],
        }
        for row in means.to_pylist()
    ]


def _effects(campaign: pa.Table) -> list[dict[str, Any]]:
    """Average true effects by wave, over all who took part and by segment, in orders a customer."""
    found = []
    for wave in pc.unique(campaign["campaign_id"]).to_pylist():
        rows = campaign.filter(pc.equal(campaign["campaign_id"], wave))
        for segment in ("all", *SEGMENTS):
            part = rows if segment == "all" else rows.filter(pc.equal(rows["segment"], segment))
            columns = [name for name in part.column_names if name.startswith(("orders_", "effect_"))]
            means = {name: pc.mean(part[name]).as_py() for name in columns}
            found.append({"campaign_id": wave, "segment": segment, "customers": part.num_rows, **means})
    return found


def _in_words(config: DemoConfig) -> list[str]:
    leaving, purchase, export, campaign = config.leaving, config.purchase, config.export, config.campaign
    calm = 1.0 - (1.0 - leaving.base_per_day) ** 30
    effects = ", ".join(
        f"{arm} x{campaign.ratio(segment, arm):g} for {segment} customers" for segment in SEGMENTS for arm in ARMS[1:]
    )
    return [
        f"Engaged customers have rates of ordering around one in {purchase.mean_days_between:g} days"
        f" (gamma, shape {purchase.rate_shape:g}, times the season); while fading,"
        f" {purchase.fading_factor:.0%} of that; when gone, never.",
        f"At satisfaction 0 a customer begins to leave with a chance of {calm:.1%} in 30 days;"
        f" {leaving.silent_share:.0%} of customers then leave at once, the others fade for"
        f" {leaving.fading_mean_days:g} days on average or recover.",
        f"{export.duplicate_share:.1%} of web, app and e-mail rows are written twice;"
        f" {export.app_late_share:.1%} of app events arrive over an hour late.",
        f"For {campaign.effect_days} days a coupon multiplies the rate of ordering: {effects}.",
        "True churn probabilities are exact given the hidden state (a recursion over days);"
        " true campaign effects are Monte Carlo over the model's own dynamics.",
    ]
