"""The whole service in process over a workspace with a few customers, and keys that may read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from pipelines.access import Keys
from pipelines.events.journal import NewEvent
from pipelines.privacy import seal_event, sealer_of
from pipelines.settings import Settings
from serving import bootstrap
from serving.api.authorisation import Access
from tests.unit import test_decide_api
from tests.unit.desk_parts import DAY, NOON, Office, decision_settings

EMAIL, PHONE = "malee.wong@shop.example.org", "+66815550077"


@dataclass
class Asking:
    """A client with keys by name: `reader`, `admin`, `reviewer`, `marketing` and `sales` (limited to these views)."""

    settings: Settings
    client: TestClient
    keys: dict[str, str] = field(default_factory=dict)

    def post(self, path: str, body: Any, key: str | None = "reader") -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {self.keys[key]}"}
        return self.client.post(path, json=body, headers=headers)

    def twin(self, customer: str, key: str = "reader", **more: Any) -> dict[str, Any]:
        answer = self.post("/v1/twin", {"customer_id": customer, **more}, key)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def keep(self, *events: NewEvent) -> None:
        """As another process of the workspace would."""
        office = Office(self.settings)
        try:
            office.keep(*events)
        finally:
            office.close()

    def make_key(self, name: str, scopes: Sequence[str], views: Sequence[str] = ()) -> None:
        self.keys[name] = Keys(self.settings.workspace.access).create(name, scopes, views=views)[1]


def twin_settings(folder: Path) -> Settings:
    """Settings to decide in, with what the checkout declares of twins as far as the models are there."""
    decision_settings(folder)
    file = folder / "configs" / "triggers.yaml"
    text = file.read_text(encoding="utf-8")
    assert "    predictions: [trial_conversion]\n" in text
    file.write_text(text.replace("    predictions: [trial_conversion]\n", ""), encoding="utf-8")
    made = decision_settings(folder)
    assert made.twin_problems == ()
    return made


@contextmanager
def asking(settings: Settings) -> Iterator[Asking]:
    patch = pytest.MonkeyPatch()
    patch.setattr(bootstrap, "connect_access", lambda: Access(settings.workspace.access))
    try:
        with test_decide_api.serve(settings) as client:
            made = Asking(settings, client)
            made.make_key("reader", ["read"])
            made.make_key("admin", ["read", "admin"])
            made.make_key("reviewer", ["review"])
            made.make_key("marketing", ["read", "admin"], ["marketing", "product"])
            made.make_key("sales", ["read", "admin"], ["sales"])
            yield made
    finally:
        patch.undo()


def did(settings: Settings, name: str, event: str, day: float, **more: Any) -> NewEvent:
    """An event of `day` days before noon, there at `arrived` days before noon; what names a person is sealed."""
    arrived = more.pop("arrived", day)
    identifiers, who, properties = more.pop("identifiers", {}), more.pop("who", "c0"), more.pop("properties", {})
    at, there = NOON - round(day * DAY), NOON - round(arrived * DAY)
    made = NewEvent("web", name, event, at, there, more.pop("channel", "web"), user_id=who, identifiers=identifiers,
                    value=more.pop("value", None), currency="THB", properties=properties)  # fmt: skip
    return seal_event(made, settings.identity, sealer_of(settings.workspace))
