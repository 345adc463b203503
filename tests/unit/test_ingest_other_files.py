"""The mapping language on the other public files: nothing in it is made for one source."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from feature_repo.configuration import parse
from pipelines.ingest import check
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import TrackingPlan
from pipelines.settings.workspace import CHECKOUT
from tests.unit.ingest_parts import settings_for

DATA = CHECKOUT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no data")

PLAN = parse(
    yaml.safe_load("""
channels: [web, app, pos, email, call_centre]
currencies: {EUR: 2, USD: 2}
events:
  Application Submitted: {description: x, properties: {amount: {type: money, required: true}}}
  Application Step: {description: x, properties: {step: {type: string, required: true}, amount: {type: money}}}
  Order Completed:
    description: x
    value: total
    properties: {total: {type: money, required: true}, units: {type: number}, products: {type: list}}
  Lead Created: {description: x, properties: {origin: {type: string}, page: {type: string}}}
  Booking Requested: {description: x, properties: {device: {type: string}}}
  Session Ended: {description: x, properties: {device: {type: string}, searched: {type: boolean}}}
"""),
    TrackingPlan,
)

LOANS = """
source: loans
description: Loan applications.
format: {type: csv}
timezone: Europe/Amsterdam
currency: EUR
columns:
  application_id: {type: id, required: true}
  amount_requested: {type: decimal}
  activity: {type: string, required: true}
  lifecycle: {type: string, required: true}
  timestamp: {type: timestamp, required: true}
event_id: "{application_id}/{activity}/{lifecycle}/{timestamp}"
time: {column: timestamp}
user_id: application_id
properties: {amount: {column: amount_requested, as: money}, step: {column: activity}}
events:
  - {event: Application Submitted, when: {activity: {equals: A_SUBMITTED}}, channel: web}
  - {event: Application Step, when: {activity: {starts_with: W_}}, channel: call_centre}
  - {event: Application Step, channel: web}
"""

BASKETS = """
source: baskets
description: Baskets of grocery households.
format: {type: csv}
timezone: America/New_York
currency: USD
columns:
  household_id: {type: id, required: true}
  basket_id: {type: id, required: true}
  product_id: {type: id}
  quantity: {type: decimal}
  sales_value: {type: decimal, required: true}
  transaction_timestamp: {type: timestamp}
group_by: [basket_id]
event_id: "{basket_id}"
time: {column: transaction_timestamp}
arrival: {delay: 1d}
user_id: household_id
channel: pos
properties:
  total: {sum: [sales_value], as: money}
  units: {sum: [quantity]}
  products: {list: {product_id: {column: product_id}, paid: {column: sales_value, as: money}}}
events: [{event: Order Completed}]
"""

LEADS = """
source: leads
description: Marketing-qualified leads.
format: {type: csv, delimiter: ";"}
timezone: America/Sao_Paulo
columns:
  mql_id: {type: string, required: true}
  first_contact_date: {type: timestamp, time_format: "%Y.%m.%d"}
  landing_page_id: {type: string}
  origin: {type: string}
event_id: "{mql_id}"
time: {column: first_contact_date}
user_id: mql_id
channel: {column: origin, map: {Email: email}, otherwise: web}
properties: {origin: {column: origin}, page: {column: landing_page_id}}
events: [{event: Lead Created}]
"""

SESSIONS = """
source: sessions
description: Visits on several devices.
format: {type: csv, delimiter: "|"}
columns:
  id_visitor: {type: string, required: true}
  id_session: {type: string, required: true}
  dim_device_app_combo: {type: string}
  ts_min: {type: timestamp, required: true}
  ts_max: {type: timestamp}
  did_search: {type: boolean}
  sent_booking_request: {type: boolean}
event_id: "{id_session}"
time: {column: ts_max}
anonymous_id: "{id_visitor}"
channel: {column: dim_device_app_combo, map: {iPhone - iOS: app, iPad - iOS: app}, otherwise: web}
properties: {device: {column: dim_device_app_combo}, searched: {column: did_search}}
events:
  - {event: Booking Requested, when: {sent_booking_request: {equals: true}}}
  - {event: Session Ended}
"""


@pytest.mark.parametrize(
    ("text", "file", "event"),
    [
        (LOANS, "bpi2012/loan_applications.csv.gz", "Application Submitted"),
        (BASKETS, "completejourney/transactions.csv.gz", "Order Completed"),
        (LEADS, "olist_funnel/mql.csv", "Lead Created"),
        (SESSIONS, "airbnb_sessions/sessions.psv.gz", "Session Ended"),
    ],
)
def test_other_sources(tmp_path: Path, text: str, file: str, event: str) -> None:
    source = parse(yaml.safe_load(text), SourceConfig)
    preview = check(settings_for(tmp_path, source, plan=PLAN), source.source, DATA / file, rows=3)
    assert preview.events[0]["event"] == event
    assert (preview.quarantined, preview.reasons) == (0, {})
