"""What the rows of the real files mean, read with `csv` and plain Python: one oracle a source mapping.

Each oracle gives all events of its file by event id, in the fields that `told` picks of a stored event.
Times are microseconds UTC.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

Event = dict[str, Any]
Events = dict[str, Event]
Row = dict[str, str]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000
_FIELDS = ("event", "event_time", "available_at", "user_id", "anonymous_id", "identifiers", "channel", "value")


def told(event: Event) -> Event:
    """The fields of a stored event that an oracle gives."""
    return {name: event[name] for name in (*_FIELDS, "currency", "properties")}


def rows_of(file: Path, delimiter: str = ",") -> list[Row]:
    """Rows of a CSV file as text, a byte-order mark taken off."""
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def micros(time: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def cents(amount: str | Decimal) -> int:
    """Hundredths, rounded once, half away from zero."""
    return int((Decimal(amount) * 100).quantize(Decimal(1), ROUND_HALF_UP))


def bpi2012(file: Path) -> Events:
    found = {}
    for row in rows_of(file):
        activity, lifecycle = row["activity"], row["lifecycle"]
        carried = {"application_id": row["application_id"], "employee_id": row["resource"] or None}
        amount = None
        if activity.startswith("W_"):
            event = {"SCHEDULE": "Scheduled", "START": "Started", "COMPLETE": "Completed"}[lifecycle]
            event = f"Work Item {event}"
            carried["work_item"] = _WORK[activity]
        elif activity in _STATUS:
            event = "Loan Application Progressed"
            carried["status"] = _STATUS[activity]
        else:
            event = _MILESTONES[activity]
        if activity == "A_SUBMITTED":
            amount = cents(row["amount_requested"])
        channel = "call_centre" if activity.startswith("W_Nabellen") else "back_office"
        channel = "web" if activity in ("A_SUBMITTED", "A_PARTLYSUBMITTED") else channel
        key = f"{row['application_id']}/{activity}/{lifecycle}/{row['timestamp']}"
        at = micros(datetime.fromisoformat(row["timestamp"]))
        found[key] = _event(
            event, at, channel, {**carried, "amount_requested": amount}, row["application_id"], amount, "EUR"
        )
        if amount is None:
            found[key]["currency"] = None
    return found


def grocery_baskets(file: Path) -> Events:
    baskets: dict[str, list[Row]] = defaultdict(list)
    for row in rows_of(file):
        baskets[row["basket_id"]].append(row)
    found = {}
    for basket, lines in baskets.items():
        total = cents(sum(Decimal(line["sales_value"]) for line in lines))  # type: ignore[arg-type]
        products = [
            {
                "product_id": line["product_id"],
                "quantity": int(Decimal(line["quantity"])),
                "total": cents(line["sales_value"]),
                "loyalty_discount": cents(line["retail_disc"]),
                "coupon_discount": cents(line["coupon_disc"]),
                "coupon_match_discount": cents(line["coupon_match_disc"]),
            }
            for line in lines
        ]
        carried = {
            "order_id": basket,
            "total": total,
            "units": sum(product["quantity"] for product in products),  # type: ignore[misc]
            "lines": len(lines),
            "products": products,
        }
        at = micros(datetime.fromisoformat(lines[0]["transaction_timestamp"]).replace(tzinfo=UTC))
        found[basket] = _event("Order Completed", at, "pos", carried, lines[0]["household_id"], total, "USD")
    return found


def grocery_mailings(file: Path) -> Events:
    campaigns = {row["campaign_id"]: row for row in rows_of(file.with_name("campaign_descriptions.csv.gz"))}
    found = {}
    for row in rows_of(file):
        campaign = campaigns[row["campaign_id"]]
        ends = datetime.fromisoformat(campaign["end_date"]).replace(tzinfo=ZoneInfo("America/New_York"))
        carried = {
            "campaign_id": row["campaign_id"],
            "campaign_type": campaign["campaign_type"].removeprefix("Type "),
            "ends_at": ends.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        at = _midnight(campaign["start_date"], "America/New_York")
        key = f"{row['campaign_id']}/{row['household_id']}"
        found[key] = _event("Direct Mail Sent", at, "mail", carried, row["household_id"])
    return found


def grocery_redemptions(file: Path) -> Events:
    found = {}
    for row in rows_of(file):
        at = _midnight(row["redemption_date"], "America/New_York")
        carried = {"coupon_id": row["coupon_upc"], "campaign_id": row["campaign_id"]}
        event = _event("Coupon Applied", at, "pos", carried, row["household_id"])
        found["/".join(row.values())] = {**event, "available_at": at + _DAY}
    return found


def olist_leads(file: Path) -> Events:
    found = {}
    for row in rows_of(file, ";"):
        at = _midnight(row["first_contact_date"].replace(".", "-"), "America/Sao_Paulo")
        carried = {
            "lead_id": row["mql_id"],
            "landing_page_id": row["landing_page_id"],
            "origin": row["origin"].lower().replace(" ", "_"),
        }
        found[row["mql_id"]] = {
            **_event("Lead Created", at, "web", carried, row["mql_id"]),
            "available_at": at + _DAY,
        }
    return found


def olist_deals(file: Path) -> Events:
    found = {}
    for row in rows_of(file, ";"):
        size = row["declared_product_catalog_size"]
        carried = {
            "lead_id": row["mql_id"],
            "seller_id": row["seller_id"],
            "development_representative_id": row["sdr_id"],
            "sales_representative_id": row["sr_id"],
            "business_segment": row["business segment"],
            "business_type": row["business_type"].lower(),
            "lead_type": row["lead type"],
            "lead_behaviour_profile": row["lead_behaviour_profile"],
            "has_company": {"TRUE": True, "FALSE": False}.get(row["has_company"]),
            "has_gtin": {"TRUE": True, "FALSE": False}.get(row["has_gtin"]),
            "average_stock": {"05.jan": "1-5", "20.máj": "5-20"}.get(row["average_stock"], row["average_stock"]),
            "declared_product_catalog_size": int(Decimal(size)) if size else None,
            "declared_monthly_revenue": cents(row["declared_monthly_revenue"]),
        }
        at = micros(datetime.strptime(row["won_date"], "%Y.%m.%d %H:%M").replace(tzinfo=UTC))
        event = _event("Deal Won", at, "crm", carried, row["mql_id"], None, "BRL")
        found[row["mql_id"]] = {**event, "identifiers": {"seller_id": row["seller_id"]}}
    return found


def airbnb_sessions(file: Path) -> Events:
    found = {}
    for row in rows_of(file, "|"):
        device = row["dim_device_app_combo"]
        began, ended = (datetime.fromisoformat(row[name]).replace(tzinfo=UTC) for name in ("ts_min", "ts_max"))
        carried = {
            "session_id": row["id_session"],
            "started_at": began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "session_number": int(row["dim_session_number"]),
            "device": device,
            "user_agent": row["dim_user_agent"],
            "searched": row["did_search"] == "1",
            "messaged": row["sent_message"] == "1",
            "booking_requested": row["sent_booking_request"] == "1",
        }
        channel = "app" if device.endswith((" - iOS", " - Android")) else "web"
        event = _event("Session Completed", micros(ended), channel, carried)
        found[row["id_session"]] = {**event, "anonymous_id": row["id_visitor"]}
    return found


def open_bandit_random(file: Path) -> Events:
    return _open_bandit(file, "random")


def open_bandit_bts(file: Path) -> Events:
    return _open_bandit(file, "bts")


def _open_bandit(file: Path, policy: str) -> Events:
    found = {}
    for row in rows_of(file):
        propensity = Decimal(row["propensity_score"]).quantize(Decimal("0.00000001"), ROUND_HALF_UP)
        carried = {
            "experiment_id": "open_bandit_men",
            "policy": policy,
            "variation_id": row["item_id"],
            "position": int(row["position"]),
            "propensity": float(propensity),
            "clicked": row["click"] == "1",
            "context": [{name: row[name] for name in row if name.startswith("user_feature_")}],
        }
        at = micros(datetime.fromisoformat(row["timestamp"]))
        key = f"men/{row['Unnamed: 0']}"
        found[key] = {**_event("Experiment Viewed", at, "web", carried), "anonymous_id": key}
    return found


def _event(
    event: str,
    at: int,
    channel: str,
    properties: dict[str, Any],
    user: str | None = None,
    value: int | None = None,
    currency: str | None = None,
) -> Event:
    """An event known at its own time; properties that are empty are left out."""
    return {
        "event": event,
        "event_time": at,
        "available_at": at,
        "user_id": user,
        "anonymous_id": None,
        "identifiers": {},
        "channel": channel,
        "value": value,
        "currency": currency,
        "properties": {name: item for name, item in properties.items() if item is not None and item != ""},
    }


def _midnight(day: str, zone: str) -> int:
    return micros(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))


_WORK = {
    "W_Afhandelen leads": "lead_follow_up",
    "W_Completeren aanvraag": "application_completion",
    "W_Nabellen offertes": "offer_call",
    "W_Nabellen incomplete dossiers": "missing_documents_call",
    "W_Valideren aanvraag": "assessment",
    "W_Beoordelen fraude": "fraud_investigation",
    "W_Wijzigen contractgegevens": "contract_change",
}
_STATUS = {
    "A_PARTLYSUBMITTED": "partly_submitted",
    "A_PREACCEPTED": "preaccepted",
    "A_ACCEPTED": "accepted",
    "A_FINALIZED": "finalised",
    "A_REGISTERED": "registered",
}
_MILESTONES = {
    "A_SUBMITTED": "Loan Application Submitted",
    "A_APPROVED": "Loan Application Approved",
    "A_DECLINED": "Loan Application Declined",
    "A_CANCELLED": "Loan Application Cancelled",
    "A_ACTIVATED": "Loan Activated",
    "O_SELECTED": "Loan Offer Selected",
    "O_CREATED": "Loan Offer Created",
    "O_SENT": "Loan Offer Sent",
    "O_SENT_BACK": "Loan Offer Returned",
    "O_ACCEPTED": "Loan Offer Accepted",
    "O_DECLINED": "Loan Offer Declined",
    "O_CANCELLED": "Loan Offer Cancelled",
}

ORACLES: dict[str, Callable[[Path], Events]] = {
    oracle.__name__: oracle
    for oracle in (
        bpi2012,
        grocery_baskets,
        grocery_mailings,
        grocery_redemptions,
        olist_leads,
        olist_deals,
        airbnb_sessions,
        open_bandit_random,
        open_bandit_bts,
    )
}
