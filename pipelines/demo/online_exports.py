"""The exports of the web shop and of the app."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.demo.catalogue import catalogue
from pipelines.demo.clock import HOUR, SECOND, day_start, local, utc
from pipelines.demo.config import ARMS, DemoConfig
from pipelines.demo.files import untidy, write_json_lines
from pipelines.demo.identities import Identities
from pipelines.demo.randomness import tokens, uniforms
from pipelines.demo.sessions import ADD, CHECKOUT, OPEN, ORDER, SEARCH, STRANGER, VIEW
from pipelines.demo.simulation import Simulation
from pipelines.demo.tables import Columns, pick

SEARCHES = ("ของขวัญ", "rice", "กาแฟ", "sunscreen", "ลดราคา", "sneakers", "ของเล่นแมว", "usb-c")
PATHS = ("/", "/sale", "/new", "/th/home", "/category/{}", "/stores")
REFERRERS = ("", "https://www.google.com/", "https://www.facebook.com/", "")
_WEB_KINDS = {OPEN: "page", SEARCH: "search", VIEW: "view", ADD: "cart.add", CHECKOUT: "checkout", ORDER: "order"}
_APP_KINDS = {OPEN: "open", SEARCH: "search", VIEW: "product", ADD: "cart", CHECKOUT: "checkout", ORDER: "purchase"}
_VERSIONS = ("4.11.0", "4.12.1", "5.0.0", "5.1.2")


def order_code(number: int) -> str:
    """The shop's number of an order."""
    return f"O{number:011d}"


def write_web(config: DemoConfig, folder: Path, world: Simulation, identities: Identities) -> int:
    """`web.jsonl.gz`: UTC times with Z, amounts in satang, refunds booked by the back office among the rest."""
    rows = pick(world.tables["events"], ~world.tables["events"]["on_app"])
    rows = untidy(config, "web", rows, rows["at"])
    refunds = world.tables["refunds"]
    write_json_lines(folder / "web.jsonl.gz", _web_rows(config, rows, world.tables["orders"], identities, refunds))
    return len(rows["number"]) + len(refunds["number"])


def _web_rows(
    config: DemoConfig, rows: Columns, orders: Columns, identities: Identities, refunds: Columns
) -> Iterator[dict[str, Any]]:
    times, received = utc(rows["at"]), utc(rows["at"] + 2 * SECOND)
    ids, cookies = tokens(config.seed, "web", rows["number"]), tokens(config.seed, "cookie", rows["cookie"])
    known = rows["known"].tolist()
    for index, (kind, customer, data) in enumerate(
        zip(rows["kind"].tolist(), rows["customer"].tolist(), _web_data(rows, orders), strict=True)
    ):
        visitor = {"cookie": cookies[index]}
        if known[index]:
            visitor["customer"] = identities.customer[customer]
        yield {
            "id": ids[index],
            "type": _WEB_KINDS[kind],
            "at": times[index] + "Z",
            "received": received[index] + "Z",
            "visitor": visitor,
            "data": data,
        }
    refunded, codes = utc(refunds["at"]), tokens(config.seed, "refund", refunds["number"])
    for index, (customer, number, total, units, lines) in enumerate(
        zip(*(refunds[name].tolist() for name in ("customer", "order", "total", "units", "lines")), strict=True)
    ):
        yield {
            "id": codes[index],
            "type": "refund",
            "at": refunded[index] + "Z",
            "received": refunded[index] + "Z",
            "visitor": {"customer": identities.customer[customer]},
            "data": {
                "order": order_code(number),
                "total": total,
                "units": units,
                "lines": lines,
                "reason": "problem",
            },
        }


def _web_data(rows: Columns, orders: Columns) -> Iterator[dict[str, Any]]:
    shop = catalogue()
    names = ("kind", "product", "quantity", "price", "order", "amount", "search", "hits")
    columns = (rows[name].tolist() for name in names)
    for kind, product, quantity, price, order, amount, search, hits in zip(*columns, strict=True):
        if kind == OPEN:
            path = PATHS[hits % len(PATHS)].format(shop.categories[product])
            yield {"path": path, "referrer": REFERRERS[search % len(REFERRERS)]}
        elif kind == SEARCH:
            yield {"query": SEARCHES[search], "results": hits}
        elif kind == CHECKOUT:
            yield {"total": amount}
        elif kind == ORDER:
            yield _order_data(orders, order)
        else:
            item = {"sku": shop.ids[product], "category": shop.categories[product], "price": price}
            yield item | {"quantity": quantity} if kind == ADD else item


def _order_data(orders: Columns, row: int) -> dict[str, Any]:
    shop, lines = catalogue(), int(orders["lines"][row])
    columns = (orders[name][row, :lines].tolist() for name in ("products", "quantities", "prices"))
    items = [
        {"product_id": shop.ids[product], "name": shop.names[product], "quantity": quantity, "price": price}
        for product, quantity, price in zip(*columns, strict=True)
    ]
    data = {
        "order": order_code(int(orders["number"][row])),
        "total": int(orders["total"][row]),
        "units": int(orders["units"][row]),
        "lines": lines,
        "items": items,
    }
    coupon = int(orders["coupon"][row])
    return data | {"coupon": ARMS[coupon]} if coupon else data


def write_app(config: DemoConfig, folder: Path, world: Simulation, identities: Identities) -> tuple[int, int]:
    """`app.jsonl.gz`: times at +07:00, amounts in baht, in order of arrival, some of it hours or days late.

    Returns rows written and, of the different events among them, how many came over an hour late. What
    has not arrived by the end is not in the export.
    """
    rows = pick(world.tables["events"], world.tables["events"]["on_app"])
    arrived = rows["at"] + app_delays(config, rows)
    closes = day_start(config.end + timedelta(days=1))
    rows = pick(rows | {"arrived": arrived}, arrived < closes)
    late = int((rows["arrived"] - rows["at"] > HOUR).sum())
    rows = untidy(config, "app", rows, rows["arrived"])
    write_json_lines(folder / "app.jsonl.gz", _app_rows(config, rows, world.tables["orders"], identities))
    return len(rows["number"]), late


def app_delays(config: DemoConfig, rows: Columns) -> np.ndarray:
    """Microseconds from an app event to its arrival: under a minute, or an hour and exponentially more."""
    export, numbers = config.export, rows["number"]
    late = uniforms(config.seed, "app late", numbers) < export.app_late_share
    drawn = uniforms(config.seed, "app delay", numbers)
    long = HOUR - np.log1p(-drawn) * export.app_late_mean_hours * HOUR + SECOND
    return np.where(late, long, SECOND + drawn * 59 * SECOND).astype(np.int64)


def _app_rows(config: DemoConfig, rows: Columns, orders: Columns, identities: Identities) -> Iterator[dict[str, Any]]:
    times, arrived = local(rows["at"], "ms"), utc(rows["arrived"])
    ids, shop = tokens(config.seed, "app", rows["number"]), catalogue()
    names = ("kind", "customer", "known", "product", "quantity", "price", "order", "amount", "search", "hits")
    for index, (kind, customer, known, product, quantity, price, order, amount, search, hits) in enumerate(
        zip(*(rows[name].tolist() for name in names), strict=True)
    ):
        details: dict[str, Any] = {}
        if kind == OPEN:
            details = {"version": _VERSIONS[customer % len(_VERSIONS)]}
        elif kind == SEARCH:
            details = {"text": SEARCHES[search], "found": hits}
        elif kind == CHECKOUT:
            details = {"baht": _baht(amount)}
        elif kind == ORDER:
            details = _purchase(orders, order)
        else:
            details = {"sku": shop.ids[product], "category": shop.categories[product], "baht": _baht(price)}
            if kind == ADD:
                details["qty"] = quantity
        row = {"event_id": ids[index], "name": _APP_KINDS[kind], "ts": times[index] + "+07:00"}
        row |= {"server_ts": arrived[index] + "Z", "device": identities.device[customer]}
        yield row | ({"member": identities.customer[customer]} if known else {}) | {"params": details}


def _purchase(orders: Columns, row: int) -> dict[str, Any]:
    details = {
        "order_no": order_code(int(orders["number"][row])),
        "baht": _baht(int(orders["total"][row])),
        "pieces": int(orders["units"][row]),
        "lines": int(orders["lines"][row]),
    }
    coupon = int(orders["coupon"][row])
    return details | {"coupon": ARMS[coupon]} if coupon else details


def _baht(satang: int) -> str:
    return f"{satang // 100}.{satang % 100:02d}"


def cookies_of(config: DemoConfig, world: Simulation) -> tuple[list[str], list[int]]:
    """Every cookie of a customer that was seen, and whose it is."""
    events = world.tables["events"]
    seen = ~events["on_app"] & (events["customer"] != STRANGER)
    numbers, first = np.unique(events["cookie"][seen], return_index=True)
    return tokens(config.seed, "cookie", numbers), events["customer"][seen][first].tolist()
