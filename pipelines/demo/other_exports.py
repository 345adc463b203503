"""The exports of CRM, e-mail tool, LINE, tills, call centre, surveys and the campaign list."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.demo.catalogue import catalogue
from pipelines.demo.clock import DAY, HOUR, MINUTE, OFFSET, day_start, local, utc
from pipelines.demo.config import ARMS, SEGMENTS, DemoConfig
from pipelines.demo.contacts import CLICKED, DELIVERED, NEWSLETTER, OPENED, REPLIED, UNSUBSCRIBED
from pipelines.demo.files import untidy, write_csv, write_json_lines
from pipelines.demo.identities import Identities
from pipelines.demo.online_exports import order_code
from pipelines.demo.orders import AT_TILL, WALK_IN
from pipelines.demo.randomness import uniforms
from pipelines.demo.simulation import Simulation, registration_times
from pipelines.demo.tables import pick
from pipelines.demo.traits import Integers

_EMAIL_ACTIONS = {DELIVERED: "delivered", OPENED: "open", CLICKED: "click", UNSUBSCRIBED: "unsubscribe"}
_LINE_ACTIONS = {DELIVERED: "delivery", OPENED: "read", REPLIED: "message"}
_BRANCHES = ("BKK01", "BKK02", "CNX01", "HKT01", "KKC01")
_CLOSES = 23 * HOUR + 30 * MINUTE


def campaign_code(day: date) -> str:
    """The identifier of the randomised wave that starts on `day`."""
    return f"coupon-{day.isoformat()}"


def registered_at(config: DemoConfig, world: Simulation) -> Integers:
    """The instant at which each customer registers."""
    return day_start(config.start) + world.traits.registered * DAY + registration_times(config, world.traits)


def write_crm(config: DemoConfig, folder: Path, world: Simulation, identities: Identities) -> int:
    """`crm.parquet`: everyone who has registered by the end; Bangkok's time without an offset."""
    known = np.flatnonzero(world.traits.registered < config.days)
    at = registered_at(config, world)[known] // 1_000_000 * 1_000_000 + OFFSET

    def column(values: tuple[str | None, ...]) -> pa.Array:
        return pa.array([values[index] for index in known], pa.string())

    table = pa.table(
        {
            "customer_no": column(identities.customer),
            "name_th": column(identities.name_th),
            "name_en": column(identities.name_en),
            "email": column(identities.email),
            "phone": column(identities.phone),
            "line_id": column(identities.line),
            "loyalty_card": column(identities.card),
            "birth_date": column(tuple(day.isoformat() for day in identities.birth_date)),
            "province": column(identities.province),
            "postcode": column(identities.postcode),
            "registered_through": pa.array([SEGMENTS[index] for index in world.traits.segment[known]], pa.string()),
            "registered_at": pa.array(at, pa.int64()).cast(pa.timestamp("us")),
        }
    )
    pq.write_table(table, folder / "crm.parquet")
    return table.num_rows


def write_email(config: DemoConfig, folder: Path, world: Simulation, identities: Identities) -> int:
    """`email.csv`: Bangkok's time without an offset; some rows twice."""
    rows = untidy(config, "email", world.tables["emails"], world.tables["emails"]["at"])
    columns = zip(*(rows[name].tolist() for name in ("customer", "action", "batch")), local(rows["at"]), strict=True)
    lines = []
    for customer, action, batch, at in columns:
        campaign = _batch_code("newsletter", batch, at[:10])
        number, link = identities.customer[customer], "/sale" if action == CLICKED else None
        message = f"{campaign}-{number}"
        lines.append((message, _EMAIL_ACTIONS[action], at, number, identities.email[customer], campaign, link))
    header = ("message_id", "action", "occurred_at", "customer_no", "recipient", "campaign", "link")
    write_csv(folder / "email.csv", header, lines)
    return len(lines)


def _batch_code(kind: str, batch: int, day: str) -> str:
    return f"{kind}-{day}" if batch == NEWSLETTER else campaign_code(date.fromisoformat(day))


def write_line(folder: Path, world: Simulation, identities: Identities) -> int:
    """`line.jsonl`: milliseconds since 1970, as LINE sends them."""
    rows = world.tables["line"]
    rows = pick(rows, np.argsort(rows["at"], kind="stable"))
    columns = (rows[name].tolist() for name in ("customer", "action", "batch", "at"))
    lines = []
    for customer, action, batch, at, text in zip(*columns, local(rows["at"]), strict=True):
        campaign, number = _batch_code("broadcast", batch, text[:10]), identities.customer[customer]
        lines.append(
            {
                "type": _LINE_ACTIONS[action],
                "timestamp": at // 1000,
                "source": {"userId": identities.line[customer], "customer": number},
                "message": {"id": f"line-{campaign}-{number}", "campaign": campaign},
            }
        )
    write_json_lines(folder / "line.jsonl", lines)
    return len(lines)


def write_pos(config: DemoConfig, folder: Path, world: Simulation, identities: Identities) -> int:
    """`pos.csv.gz`: a line a product, `;` between fields, day first; uploaded when the shops have closed."""
    orders = world.tables["orders"]
    orders = pick(orders, orders["channel"] == AT_TILL)
    orders = pick(orders, np.argsort(orders["at"], kind="stable"))
    shop, rows = catalogue(), []
    closing = (orders["at"] + OFFSET) // DAY * DAY - OFFSET + _CLOSES
    sold, uploaded = _day_first(orders["at"]), _day_first(closing)
    names = ("number", "customer", "lines", "coupon", "products", "quantities", "prices")
    for index, (number, customer, lines, coupon, products, quantities, prices) in enumerate(
        zip(*(orders[name].tolist() for name in names), strict=True)
    ):
        who = (None, None) if customer == WALK_IN else (identities.customer[customer], identities.card[customer])
        head = (order_code(number), _BRANCHES[number % len(_BRANCHES)], sold[index], uploaded[index], *who)
        for line in range(lines):
            product, price = products[line], prices[line]
            item = (shop.ids[product], shop.names[product], quantities[line], f"{price // 100}.{price % 100:02d}")
            rows.append((*head, line + 1, *item, ARMS[coupon] if coupon else None))
    header = (
        "receipt",
        "branch",
        "sold_at",
        "uploaded_at",
        "customer_no",
        "card",
        "line",
        "sku",
        "name",
        "quantity",
        "unit_price",
        "coupon",
    )
    write_csv(folder / "pos.csv.gz", header, rows, delimiter=";")
    return len(rows)


def _day_first(values: Integers) -> list[str]:
    return [f"{text[8:10]}/{text[5:7]}/{text[:4]} {text[11:16]}" for text in local(values)]


def write_calls(folder: Path, world: Simulation, identities: Identities) -> int:
    """`call_centre.csv`: Bangkok's time without an offset."""
    calls = world.tables["calls"]
    calls = pick(calls, np.argsort(calls["at"], kind="stable"))
    names = ("number", "customer", "topic", "solved", "seconds")
    rows = [
        (
            f"K{number:011d}",
            at,
            identities.customer[customer],
            identities.phone[customer],
            "order problem" if topic else "enquiry",
            seconds,
            "yes" if solved else "no",
        )
        for number, customer, topic, solved, seconds, at in zip(
            *(calls[name].tolist() for name in names), local(calls["at"]), strict=True
        )
    ]
    header = ("call_id", "ended_at", "customer_no", "caller", "reason", "seconds", "solved")
    write_csv(folder / "call_centre.csv", header, rows)
    return len(rows)


def write_surveys(folder: Path, world: Simulation, identities: Identities) -> int:
    """`surveys.csv`: UTC times with an offset."""
    answers = world.tables["surveys"]
    columns = (answers[name].tolist() for name in ("number", "customer", "order", "score"))
    rows = [
        (f"S{number:011d}", f"{at}+00:00", identities.customer[customer], "nps", score, order_code(order))
        for number, customer, order, score, at in zip(*columns, utc(answers["at"]), strict=True)
    ]
    header = ("response_id", "answered_at", "customer_no", "survey", "score", "order_no")
    write_csv(folder / "surveys.csv", header, rows)
    return len(rows)


def write_consents(config: DemoConfig, folder: Path, world: Simulation, identities: Identities) -> int:
    """`consents.csv`: what each customer answered a minute after registering: whether offers are welcome."""
    known = np.flatnonzero(world.traits.registered < config.days)
    answers = uniforms(config.seed, "consents", known)
    at = registered_at(config, world)[known] // 1_000_000 * 1_000_000 + MINUTE
    denied_from = 1.0 - config.consents.denied_share
    rows = [
        (f"offers-{identities.customer[customer]}", identities.customer[customer], answered, answer >= denied_from)
        for customer, answer, answered in zip(known.tolist(), answers.tolist(), local(at), strict=True)
        if answer < config.consents.granted_share or answer >= denied_from
    ]
    told = [(*row[:3], "no" if row[3] else "yes") for row in rows]
    write_csv(folder / "consents.csv", ("answer_id", "customer_no", "answered_at", "offers"), told)
    return len(told)


def write_campaign(folder: Path, world: Simulation, identities: Identities) -> int:
    """`campaign.csv`: who was drawn into which arm, with which chance (millionths)."""
    arms = world.tables["arms"]
    rows = [
        (campaign_code(date.fromisoformat(at[:10])), identities.customer[customer], ARMS[arm], chance, at)
        for customer, arm, chance, at in zip(
            *(arms[name].tolist() for name in ("customer", "arm", "propensity_ppm")), local(arms["at"]), strict=True
        )
    ]
    write_csv(folder / "campaign.csv", ("campaign", "customer_no", "arm", "chance_ppm", "drawn_at"), rows)
    return len(rows)
