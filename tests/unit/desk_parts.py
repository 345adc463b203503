"""A workspace to decide in: real states, identity, journal and ledger, and small real champions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bentoml
import yaml
from bentoml._internal.models import ModelStore

from feature_repo.model_inputs import ModelInputs
from pipelines.decisions.ledger_event import EVENT, Recorded, recorded
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.identity.desk import OpenFiles
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from pipelines.uplift.rows import FittedEffects
from serving.connection import Connection
from serving.consent_gate import ConsentGate
from serving.decisions.catalogue_watch import CatalogueWatch, watch_catalogue
from serving.decisions.desk import Asked, Decided, DecisionDesk, connect
from serving.ingestion import Ingestion
from tests.changed_spec import copied_configs
from tests.unit.effect_parts import fitted_effects, write_effects
from tests.unit.serving_parts import ingest_key, train

NOON = 1_772_600_400_000_000  # 2026-03-04 05:00 UTC: noon in Bangkok.
HOUR = 3_600_000_000
DAY = 24 * HOUR
EFFECTS, FALLBACK = "next_best_action", "conversion"
LANGUAGE = "customer_identified_language_latest_lifetime"

# Money in major units; what an order is worth is so much that almost every effect above 0 is worth its cost.
CATALOGUE: dict[str, Any] = {
    "version": 1,
    "currency": "THB",
    "model": EFFECTS,
    "fallback_model": FALLBACK,
    "time_zone": "Asia/Bangkok",
    "traits": {"language": LANGUAGE},
    "holdout": {"share": 0.0, "salt": "tests"},
    "exploration": {"share": 0.2, "cold_start_share": 0.5},
    "budget": {"amount": 100_000, "per": "1d"},
    "caps": [{"contacts": 3, "within": "7d"}],
    "quiet_hours": {"from": "21:00", "to": "09:00"},
    "actions": [
        {
            "id": "email_coupon", "description": "A coupon.", "channel": "email", "cost": 1, "value": 1000,
            "consent": "marketing", "eligible": "order_completed_count_lifetime >= 1",
            "variants": [{"id": "plain", "text": {"en": "Hello", "th": "สวัสดี"}}],
        },
        {
            "id": "line_coupon", "description": "The same by LINE.", "channel": "line", "cost": 1, "value": 1000,
            "consent": "marketing", "variants": [{"id": "plain", "template": {"en": "line-1"}}],
        },
    ],
}  # fmt: skip


def changed(**parts: Any) -> dict[str, Any]:
    """The catalogue with other parts."""
    return {**CATALOGUE, **parts}


def write_catalogue(configs: Path, content: Mapping[str, Any] = CATALOGUE) -> None:
    """As a person writes it, whole at once."""
    fresh = configs / "actions.yaml.new"
    fresh.write_text(yaml.safe_dump(dict(content), allow_unicode=True), encoding="utf-8")
    fresh.replace(configs / "actions.yaml")


def decision_settings(folder: Path, workspace: Workspace | None = None, clock: str = "data_end") -> Settings:
    """Settings of a configuration in `folder`, with the catalogue of these tests and the models that it names."""
    configs = folder / "configs"
    if not configs.exists():
        copied_configs(configs)
        write_catalogue(configs)
        for file in (configs / "models").glob("*.yaml"):
            if file.stem not in (EFFECTS, FALLBACK, "churn"):
                file.unlink()
    loaded = load_settings(config_dir=configs, catalogue="apart")
    profile = loaded.profile.model_copy(update={"clock": clock})
    return replace(loaded, workspace=workspace or Workspace("test", checkout=folder), profile=profile)


def publish_effects(settings: Settings, version: str = "1", fitted: FittedEffects | None = None) -> FittedEffects:
    """Put a champion of effects into the model store."""
    names = settings.features.service_features(EFFECTS)
    inputs = ModelInputs(names, names[1:])
    made = fitted or fitted_effects(inputs)
    content = {"kind": "effects", "inputs": inputs.to_json(), "randomised": True, "feature_service": EFFECTS}
    with _version(settings, EFFECTS, version, inputs.features, content) as folder:
        write_effects(folder, made)
    return made


def publish_fallback(settings: Settings, version: str = "1") -> None:
    """Put a champion of a probability into the model store."""
    features = settings.features.service_features(settings.models[FALLBACK].feature_service)
    with _version(settings, FALLBACK, version, features, {"trained_on": {"rows": 400}}) as folder:
        train(features).save_model(folder / "model.lgb")


@contextmanager
def _version(
    settings: Settings, model: str, version: str, features: tuple[str, ...], more: Mapping[str, Any]
) -> Iterator[Path]:
    home = settings.workspace.bentoml_home
    (home / "models").mkdir(parents=True, exist_ok=True)
    manifest = {"model": model, "version": version, "features": features, "spec_hash": settings.features.hash, **more}
    with bentoml.models.create(f"{model}:{version}", _model_store=ModelStore(home / "models")) as made:
        Path(made.path_of("manifest.json")).write_text(json.dumps(manifest), encoding="utf-8")
        yield Path(made.path)


def order(number: int, customer: str, at: int, source: str = "web") -> NewEvent:
    return NewEvent(
        source, f"o{number}-{customer}", "Order Completed", at, at, "web", user_id=customer, value=10_000 + 37 * number,
        currency="THB", properties={"order_id": f"o{number}-{customer}"},
    )  # fmt: skip


def speaks(customer: str, language: str, at: int) -> NewEvent:
    properties = {"language": language}
    name = f"i-{customer}-{at}"
    return NewEvent("web", name, "Customer Identified", at, at, "web", user_id=customer, properties=properties)


def says(customer: str, purpose: str, granted: bool, at: int) -> NewEvent:
    """The customer's own word on a purpose."""
    properties = {"purpose": purpose, "granted": granted}
    name = f"c-{customer}-{purpose}-{at}"
    return NewEvent("web", name, "Consent Updated", at, at, "web", user_id=customer, properties=properties)


@dataclass
class Office:
    """A desk over real files. `files` are those of live ingestion."""

    settings: Settings
    connection: Connection = field(init=False)
    ingestion: Ingestion = field(init=False)
    watch: CatalogueWatch = field(init=False)
    desk: DecisionDesk = field(init=False)

    def __post_init__(self) -> None:
        self.connection = Connection(self.settings)
        self.ingestion = Ingestion(self.settings)
        self.watch = watch_catalogue(self.settings)
        self.desk = connect(self.connection, ConsentGate(self.settings), self.watch)

    @property
    def files(self) -> OpenFiles:
        return self.ingestion.files()

    def keep(self, *events: NewEvent) -> None:
        self.files.keep(list(events))
        # What had no states yet has them now.
        self.connection.look()

    def decide(self, customer: str, decision_id: str | None = None, **more: Any) -> Decided:
        return self.desk.decide(Asked(customer, decision_id, **more), self.files)

    def decisions(self) -> list[StoredEvent]:
        """Those in the journal."""
        return [stored for stored in self.files.journal.read(0, 10**6) if stored.event.event == EVENT]

    def logged(self) -> list[Recorded]:
        return [recorded(stored.event.properties) for stored in self.decisions()]

    def close(self) -> None:
        self.desk.close()
        self.ingestion.close()


def furnish(settings: Settings, customers: int = 6, effects: bool = True) -> None:
    """Champions, a key whose events count, and customers c0, c1, ... who ordered and said yes to marketing."""
    publish_fallback(settings)
    if effects:
        publish_effects(settings)
    ingest_key(settings.workspace)
    office = Office(settings)
    try:
        for number in range(customers):
            who = f"c{number}"
            orders = [order(i, who, NOON - (i + 1) * (number + 1) * DAY) for i in range(1 + number % 4)]
            spoken = speaks(who, "th" if number % 2 else "en", NOON - 90 * DAY)
            office.keep(*orders, spoken, says(who, "marketing", True, NOON - 60 * DAY))
    finally:
        office.close()


def in_turn(count: int, act: Callable[[int], Any]) -> list[Any]:
    return [act(number) for number in range(count)]


CONFIGS = CHECKOUT / "configs"
