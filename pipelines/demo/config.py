"""The parameters of the demo retailer. What they imply is told in this folder's README."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from feature_repo.configuration import ConfigModel

ARMS = ("control", "email_coupon", "line_coupon")
SEGMENTS = ("web", "app", "store")

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Segment = Literal["web", "app", "store"]
Coupon = Literal["email_coupon", "line_coupon"]
Arm = Literal["control", "email_coupon", "line_coupon"]

_SEGMENT_SHARES: dict[Segment, float] = {"web": 0.4, "app": 0.35, "store": 0.25}
_RATE_RATIOS: dict[Segment, dict[Coupon, float]] = {
    "web": {"email_coupon": 1.45, "line_coupon": 1.05},
    "app": {"email_coupon": 1.0, "line_coupon": 1.5},
    "store": {"email_coupon": 1.2, "line_coupon": 0.9},
}


class PurchaseConfig(ConfigModel):
    """How often a customer orders while engaged: a gamma-distributed rate, at most one order a day."""

    mean_days_between: Positive = 28.0
    rate_shape: Positive = 1.5
    fading_factor: Share = 0.35
    first_order_share: Share = Field(default=0.65, description="who orders on the day of registration")
    mean_basket_lines: Annotated[float, Field(ge=1.0)] = 2.2


class LeavingConfig(ConfigModel):
    """The hazard of leaving: `base` a day at satisfaction 0, times exp(-sensitivity * satisfaction)."""

    base_per_day: Positive = 0.0015
    sensitivity: Annotated[float, Field(ge=0.0)] = 1.2
    silent_share: Share = Field(default=0.35, description="customers who leave without fading first")
    fading_mean_days: Annotated[float, Field(ge=2.0)] = 70.0
    recovery_per_day: Share = 0.006


class SatisfactionConfig(ConfigModel):
    """A latent mood around each customer's own base (normal, mean 0); problems push it down for a while."""

    base_spread: Annotated[float, Field(ge=0.0)] = 0.5
    problem_share: Share = Field(default=0.12, description="orders that go wrong")
    call_share: Share = Field(default=0.75, description="problems that make the customer call")
    resolved_share: Share = Field(default=0.55, description="of those calls, the ones that solve it")
    shock_resolved: float = 0.3
    shock_uncalled: float = 1.3
    shock_unresolved: float = 2.8
    half_life_days: Positive = 75.0


class BrowsingConfig(ConfigModel):
    """Sessions without an order; they fall off while a customer fades, and all but stop after leaving."""

    sessions_per_day: Positive = 0.05
    spread: Annotated[float, Field(ge=0.0)] = 0.6
    fading_half_life_days: Positive = 18.0
    residual_share: Share = Field(default=0.04, description="of the usual rate, after leaving")
    logged_in_share: Share = 0.75
    strangers_per_day_share: Share = Field(default=0.002, description="sessions of strangers a day, per customer")


class MessagingConfig(ConfigModel):
    """E-mail newsletters and LINE broadcasts, delivered to everyone subscribed, gone or not."""

    email_share: Share = 0.92
    line_share: Share = 0.85
    newsletter_every_days: Annotated[int, Field(ge=1)] = 21
    broadcast_every_days: Annotated[int, Field(ge=1)] = 42
    open_share: Share = 0.34
    line_open_share: Share = 0.5
    click_share: Share = 0.18
    reply_share: Share = 0.04
    unsubscribe_share: Share = Field(default=0.012, description="of opened e-mails; three times that while fading")


class ServiceConfig(ConfigModel):
    """Calls without a problem, refunds of problem orders, and surveys after an order."""

    enquiries_per_day: Share = 0.0008
    refund_share: Share = Field(default=0.45, description="problem orders that are refunded")
    survey_share: Share = Field(default=0.16, description="orders after which a survey is answered, while not gone")
    score_at_zero: float = 7.4
    score_slope: float = 1.5
    score_noise: Annotated[float, Field(ge=0.0)] = 1.4


class ExportConfig(ConfigModel):
    """The untidiness of the exports."""

    duplicate_share: Share = Field(default=0.02, description="rows of web, app and e-mail exported twice")
    app_late_share: Share = Field(default=0.08, description="app events that arrive more than an hour late")
    app_late_mean_hours: Positive = 14.0
    displaced_share: Share = Field(default=0.03, description="rows far from their place in time")
    walk_in_receipts_per_day_share: Share = Field(default=0.0015, description="receipts without a card")


class WaveConfig(ConfigModel):
    """One randomised wave: the day it starts and the chance of each arm."""

    starts: date
    propensities: dict[Arm, Share]

    @model_validator(mode="after")
    def _sums_to_one(self) -> WaveConfig:
        if set(self.propensities) != set(ARMS) or abs(sum(self.propensities.values()) - 1.0) > 1e-9:
            raise ValueError(f"a propensity for each of {', '.join(ARMS)}, summing to 1")
        return self


class CampaignConfig(ConfigModel):
    """The known effect: an arm multiplies the chance rate of ordering of its segment for `effect_days`."""

    effect_days: Annotated[int, Field(ge=1)] = 30
    eligible_if_ordered_within_days: Annotated[int, Field(ge=1)] = 180
    rate_ratios: dict[Segment, dict[Coupon, Positive]] = Field(default_factory=lambda: _RATE_RATIOS)
    discount: Share = Field(default=0.10, description="off the total where the coupon is used")
    coupon_use_share: Share = Field(default=0.7, description="orders within the effect that carry the coupon")
    waves: tuple[WaveConfig, ...] = (
        WaveConfig(starts=date(2025, 10, 1), propensities={"control": 0.4, "email_coupon": 0.3, "line_coupon": 0.3}),
        WaveConfig(starts=date(2026, 3, 24), propensities={"control": 0.34, "email_coupon": 0.33, "line_coupon": 0.33}),
    )

    @model_validator(mode="after")
    def _effects_do_not_overlap(self) -> CampaignConfig:
        starts = [wave.starts for wave in self.waves]
        if any(later - earlier < timedelta(days=self.effect_days) for earlier, later in itertools.pairwise(starts)):
            raise ValueError("waves in order of time, at least effect_days apart")
        if set(self.rate_ratios) != set(SEGMENTS):
            raise ValueError(f"rate ratios for each of {', '.join(SEGMENTS)}")
        return self

    def ratio(self, segment: str, arm: str) -> float:
        """What the rate of ordering is multiplied by; 1 for control."""
        return 1.0 if arm == "control" else self.rate_ratios[segment][arm]  # type: ignore[index]


class RegisterConfig(ConfigModel):
    """The stores' old loyalty register: who is in it beside the customers, and how it was kept."""

    customer_share: Share = Field(default=0.225, description="customers who are in it, as a share of all")
    other_share: Share = Field(default=0.15, description="members who are no customer, as a share of the customers")
    family_share: Share = Field(default=0.07, description="of those: of a customer's family, with their phone")
    twin_share: Share = Field(default=0.03, description="of those: a customer's twin, with their phone")
    namesake_share: Share = Field(default=0.2, description="of those: with a customer's name")
    thai_share: Share = Field(default=0.45, description="names in Thai; the others are romanised in any spelling")
    title_share: Share = 0.35
    typo_share: Share = Field(default=0.1, description="names with a slip")
    maiden_share: Share = Field(default=0.06, description="customers under another family name")
    moved_share: Share = Field(default=0.12, description="customers who lived in any other place")
    missing_postcode_share: Share = 0.1
    missing_phone_share: Share = 0.2
    old_phone_share: Share = Field(default=0.3, description="customers with another number")
    same_phone_share: Share = Field(default=0.06, description="customers with the very same number; the rest mistyped")
    missing_email_share: Share = 0.45
    other_email_share: Share = Field(default=0.15, description="customers with another address")
    same_email_share: Share = Field(default=0.04, description="customers with the very same one; the rest mistyped")
    missing_birth_date_share: Share = 0.15
    swapped_birth_date_share: Share = Field(default=0.07, description="day for month, where that is a date")
    wrong_birth_date_share: Share = Field(default=0.04, description="a year off")

    @model_validator(mode="after")
    def _fits(self) -> RegisterConfig:
        if self.customer_share + self.other_share > 1.0:
            raise ValueError("customer_share and other_share of 1 at most together")
        if self.family_share + self.twin_share + self.namesake_share > 1.0:
            raise ValueError("family_share, twin_share and namesake_share of 1 at most together")
        return self


class ConsentShares(ConfigModel):
    """What customers answered when the shop asked whether it may send offers; the others did not answer."""

    granted_share: Share = 0.7
    denied_share: Share = 0.1

    @model_validator(mode="after")
    def _fits(self) -> ConsentShares:
        if self.granted_share + self.denied_share > 1.0:
            raise ValueError("granted_share and denied_share of 1 at most together")
        return self


class TruthConfig(ConfigModel):
    """At which instants the true churn probability is written, and for which definition of churn."""

    activity_days: Annotated[int, Field(ge=1)] = 90
    horizon_days: Annotated[int, Field(ge=1)] = 60
    every_days: Annotated[int, Field(ge=1)] = 14
    replicates: Annotated[int, Field(ge=1)] = Field(default=24, description="simulated futures a campaign effect")


class DemoConfig(ConfigModel):
    """All of `configs/demo.yaml`. `end` is the last day; the first is `months` before the day after it."""

    customers: Annotated[int, Field(ge=20, le=200_000)] = 4000
    months: Annotated[int, Field(ge=2, le=120)] = 18
    seed: Annotated[int, Field(ge=0)] = 20260630
    end: date = date(2026, 6, 30)
    existing_share: Share = Field(default=0.5, description="customers who had registered before the first day")
    acquisition_months: int | None = Field(default=None, ge=1, description="months new ones are spread over")
    segment_shares: dict[Segment, Share] = Field(default_factory=lambda: _SEGMENT_SHARES)
    purchase: PurchaseConfig = PurchaseConfig()
    leaving: LeavingConfig = LeavingConfig()
    satisfaction: SatisfactionConfig = SatisfactionConfig()
    browsing: BrowsingConfig = BrowsingConfig()
    messaging: MessagingConfig = MessagingConfig()
    service: ServiceConfig = ServiceConfig()
    export: ExportConfig = ExportConfig()
    campaign: CampaignConfig = CampaignConfig()
    loyalty_register: RegisterConfig = RegisterConfig()
    consents: ConsentShares = ConsentShares()
    truth: TruthConfig = TruthConfig()

    @model_validator(mode="after")
    def _segments_sum_to_one(self) -> DemoConfig:
        if set(self.segment_shares) != set(SEGMENTS) or abs(sum(self.segment_shares.values()) - 1.0) > 1e-9:
            raise ValueError(f"a share for each of {', '.join(SEGMENTS)}, summing to 1")
        return self

    @property
    def start(self) -> date:
        """First simulated day (Bangkok)."""
        after = self.end + timedelta(days=1)
        month = after.year * 12 + after.month - 1 - self.months
        return date(month // 12, month % 12 + 1, min(after.day, 28))

    @property
    def days(self) -> int:
        """Number of simulated days."""
        return (self.end - self.start).days + 1

    @property
    def acquisition_days(self) -> int:
        """Days from the first one over which new customers register."""
        return self.days if self.acquisition_months is None else round(self.acquisition_months * 30.4)

    def day_of(self, day: date) -> int:
        """Index of a calendar day; 0 is the first simulated day."""
        return (day - self.start).days

    @property
    def waves(self) -> tuple[tuple[int, WaveConfig], ...]:
        """Index of the first day, and the wave, of every wave that starts within the simulated days."""
        found = ((self.day_of(wave.starts), wave) for wave in self.campaign.waves)
        return tuple((day, wave) for day, wave in found if 0 <= day < self.days)
