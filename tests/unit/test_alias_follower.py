"""When the follower of aliases starts an export, and when not; what it starts is a process of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.register import export_champion
from pipelines.register.follow import follow
from pipelines.settings import Settings
from serving.alias_follower import AliasFollower
from tests.registered import CHALLENGER, CHAMPION, by_hand, register_booster
from tests.unit.serving_parts import make_shop, train


class Counting(AliasFollower):
    """Exports in this process, and counts; `meanwhile` is what somebody does before the export has ended."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.exports = 0
        self.meanwhile: list[tuple[str, str]] = []

    def _export(self) -> None:
        self.exports += 1
        follow(self._settings)
        while self.meanwhile:
            by_hand(self._settings, *self.meanwhile.pop())


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Version 1 is champion and exported, 2 and 3 are registered."""
    shop = make_shop(tmp_path_factory.mktemp("follower"))
    for seed in (1, 2, 3):
        register_booster(
            shop.settings, train(shop.features, seed), shop.features, alias=CHAMPION if seed == 1 else None
        )
    export_champion(shop.settings, shop.settings.models["churn"])
    return shop.settings


def test_it_exports_what_is_new_once_and_what_failed_now_and_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Counting(settings)
    follower.look()
    assert follower.exports == 0
    by_hand(settings, CHAMPION, "3")
    # Somebody moves another alias before the export has ended.
    follower.meanwhile = [(CHALLENGER, "1")]
    for _ in range(3):
        follower.look()
    assert follower.exports == 2, "the second move is not taken for one that was tried"
    monkeypatch.setattr("pipelines.register.follow.export_champion", lambda *_: 1 / 0)
    by_hand(settings, CHAMPION, "2")
    for _ in range(3):
        follower.look()
    assert follower.exports == 3
    monkeypatch.setattr("serving.alias_follower.AGAIN_SECONDS", 0.0)
    follower._again_at = 0.0
    follower.look()
    assert follower.exports == 4
    other = Counting(settings)
    other.look()
    assert other.exports == 0, "one of several follows"
    follower.close()
    other.look()
    assert other.exports == 1
    other.close()


def test_the_profile_may_turn_it_off(settings: Settings, tmp_path: Path) -> None:
    service = settings.profile.service.model_copy(update={"follow_aliases_seconds": 0.0})
    follower = AliasFollower(replace(settings, profile=settings.profile.model_copy(update={"service": service})))
    follower.start()
    assert not follower._thread.is_alive()
    follower.close()
