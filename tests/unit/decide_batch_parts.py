"""A workspace with customers, states and a champion of effects, for tests of plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from pipelines.catalogue import Catalogue
from pipelines.decide_batch.effects import Effects, champion_effects
from pipelines.decide_batch.features import open_columns
from pipelines.decisions.ledger import SOURCE, Before, Kept, Question
from pipelines.decisions.ledger_open import open_ledger
from pipelines.decisions.situation import Contact, Predicted, Situation
from pipelines.events.journal import NewEvent
from pipelines.identity.store import open_identity
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.state_build import build_state
from tests.made_up_lake import Made, write_lake
from tests.unit.effect_parts import fitted_effects, write_effects

DENIED = "c-0001"
CUSTOMERS = 80


def make_place(checkout: Path, customers: int = CUSTOMERS, seed: int = 5, champion: bool = True) -> Settings:
    """A workspace under `checkout`; most customers granted marketing, some said nothing, one denied profiling."""
    settings = replace(load_settings(), workspace=Workspace("unit", checkout=checkout))
    write_lake(settings.workspace, _events(customers, np.random.default_rng(seed)))
    build_state(settings)
    if champion:
        publish_effects(settings)
    return settings


def publish_effects(settings: Settings, dataset_hash: str = "none", version: str = "1") -> None:
    """Put a champion of effects where the model store has it."""
    features = settings.features.service_features("next_best_action")
    folder = settings.workspace.bentoml_home / "models" / "next_best_action"
    place = folder / version
    place.mkdir(parents=True)
    inputs = ModelInputs(features, features)
    write_effects(place, fitted_effects(inputs))
    manifest = {"spec_hash": settings.features.hash, "features": list(features), "dataset_hash": dataset_hash}
    (place / "manifest.json").write_text(json.dumps({**manifest, "kind": "effects"}), encoding="utf-8")
    (folder / "latest").write_text(version, encoding="utf-8")


def offers(settings: Settings) -> Catalogue:
    """The catalogue, which there is."""
    assert settings.catalogue is not None, list[Problem](settings.catalogue_problems)
    return settings.catalogue


def contact(settings: Settings, customer: str, action: str, channel: str, at: int, cost: int = 0) -> None:
    """Have the ledger hold a contact."""
    event = NewEvent(SOURCE, f"before:{customer}", "Decision Made", at, at, "back_office", properties={"made": 1})
    kept = Kept(action, channel, True, cost, at, at, event)

    def make(_: Before) -> Kept:
        return kept

    ledger = open_ledger(settings)
    ledger.decide(Question(f"before:{customer}", (customer,), "", at), make)
    ledger.close()


def situation_of(
    settings: Settings, customer: str, decision_id: str, as_of: int, shadow_price: float,
    contacts: tuple[Contact, ...] = (), spent: int = 0,
) -> Situation:  # fmt: skip
    """What a single decision reads of one customer, by the slow way."""
    catalogue, effects = offers(settings), champion_effects(settings, "next_best_action")
    assert effects is not None
    spec = settings.features.hash
    rows = open_columns(settings, spec, catalogue.features).reader.read([customer], as_of)
    identity = open_identity(settings)
    said = {purpose: identity.permission(customer, purpose) for purpose in settings.consent.purposes}
    return Situation(
        decision_id, customer, as_of, "effect", dict(zip(catalogue.features, rows.values[0], strict=True)),
        tuple(purpose for purpose, told in said.items() if told is not None and told.granted), contacts,
        predicted(settings, effects, customer, as_of), spent, shadow_price,
    )  # fmt: skip


def predicted(settings: Settings, effects: Effects, customer: str, as_of: int) -> dict[str, Predicted]:
    matrix = open_columns(settings, effects.spec_hash, effects.features).reader.read([customer], as_of).matrix
    columns = effects.fitted.model.inputs.matrix(matrix)
    found, responses = effects.fitted.effect(columns)[0], effects.fitted.response(columns)[0]
    return {action: Predicted(float(found[at]), float(responses[at + 1])) for at, action in enumerate(effects.actions)}


def _events(customers: int, generator: np.random.Generator) -> list[Made]:
    made = []
    for number in range(customers):
        customer = f"c-{number:04}"
        for _ in range(int(generator.integers(1, 5))):
            day, value = float(generator.uniform(0, 100)), int(generator.integers(20_000, 400_000))
            properties = {"order_id": f"o-{len(made)}", "units": 2, "lines": 1, "total": value}
            made.append(Made(customer, "Order Completed", day, "web", value, properties))
        for _ in range(int(generator.integers(0, 7))):
            hour = float(generator.integers(0, 24)) / 24
            opened = {"message_id": f"m-{len(made)}", "campaign": "spring"}
            made.append(
                Made(customer, "Email Opened", float(generator.integers(80, 100)) + hour, "email", None, opened)
            )
        if number % 5:
            made.append(Made(customer, "Consent Updated", 90.0, "web", None, {"purpose": "marketing", "granted": True}))
    made.append(Made(DENIED, "Consent Updated", 95.0, "web", None, {"purpose": "profiling", "granted": False}))
    # The newest event, at an instant that tests can rely on.
    made.append(Made("c-0002", "Page Viewed", 100.5, "web", None, {"url": "https://shop.example/"}))
    return made
