"""Which models are made of which files, each customer base in a workspace of its own."""

from __future__ import annotations

from dataclasses import dataclass

from tests.real_data import DATA
from tests.sources_table import FILES


@dataclass(frozen=True, slots=True)
class Study:
    """`models` are learned from `sources`, one after the other; the made-up retailer has no source."""

    name: str
    sources: tuple[str, ...]
    models: tuple[str, ...]
    companions: tuple[str, ...] = ()
    prefix: str = "study"

    @property
    def workspace(self) -> str:
        return f"{self.prefix}-{self.name}"

    @property
    def missing(self) -> list[str]:
        """Files that are not here."""
        return [FILES[source] for source in self.sources if not (DATA / FILES[source]).is_file()]


STUDIES = (
    Study("retail", ("online_retail",), ("churn",), ("customer_value", "next_order")),
    Study("loans", ("bpi2012",), ("loan_activation",)),
    Study("grocery", ("grocery_baskets", "grocery_mailings", "grocery_redemptions"), ("coupon_redemption",)),
    Study("leads", ("olist_leads", "olist_deals"), ("lead_score",)),
    Study("demo", (), ("churn", "conversion"), ("customer_value", "next_order")),
)
