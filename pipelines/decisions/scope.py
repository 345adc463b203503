"""What rules of the catalogue may name of a customer: features, the stage, and consents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from pipelines.catalogue import Catalogue
from pipelines.decisions.situation import Situation
from pipelines.expressions import Expression, Value

STAGE = "stage"
CONSENT = "consent."


def scope_of(catalogue: Catalogue, situation: Situation) -> tuple[dict[str, Value], str | None]:
    """The values by name, and the stage: the first whose rule holds, None where none does.

    `consent.marketing` is True or False, never empty, for a purpose is denied until it is granted.
    """
    scope: dict[str, Value] = dict(situation.features)
    for name in consents_read(catalogue):
        scope[name] = name[len(CONSENT) :] in situation.consents
    stage = next((name for name, rule in catalogue.stages.items() if rule.value(scope) is True), None)
    scope[STAGE] = stage
    return scope, stage


def consents_read(catalogue: Catalogue) -> tuple[str, ...]:
    """The names of consents that expressions of the catalogue read."""
    return _consents_read(_Itself(catalogue))


class _Itself:
    """A catalogue as a key: it is compared by identity, since its mappings have no hash."""

    __slots__ = ("catalogue",)

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __hash__(self) -> int:
        return id(self.catalogue)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.catalogue is self.catalogue


@lru_cache(maxsize=8)
def _consents_read(key: _Itself) -> tuple[str, ...]:
    names = (name for expression in _expressions(key.catalogue) for name in expression.names)
    return tuple(dict.fromkeys(name for name in names if name.startswith(CONSENT)))


def _expressions(catalogue: Catalogue) -> Iterator[Expression]:
    yield from catalogue.stages.values()
    for action in catalogue.actions:
        yield action.value
        if action.eligible is not None:
            yield action.eligible
        for variant in action.variants:
            if variant.when is not None:
                yield variant.when


def told(names: tuple[str, ...], scope: Mapping[str, Value], most: int = 6) -> str:
    """Names with their values, for a person."""
    parts = [f"{name} = {_said(scope.get(name))}" for name in names[:most]]
    return ", ".join(parts) + (", …" if len(names) > most else "")


def _said(value: Value) -> str:
    if value is None:
        return "empty"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
