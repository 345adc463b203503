"""The versions of the feature spec that a workspace has seen: who uses each, and how each differs from the current."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from feature_repo.spec import DAY_OPERATIONS, Feature, FeatureSpec
from feature_repo.state.storage import StateStorage
from pipelines.events.opening import may_have_states, open_states
from pipelines.events.specs_in_use import find_spec, users_of_specs
from pipelines.settings import Settings
from pipelines.spec_versions import SpecVersions

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListedSpec:
    """One version. `first_seen` is ISO 8601 in UTC; `customers` have states, None where none were built.

    `added` names the features that it has and the current spec has not, `removed` those of the current spec that it
    lacks, `changed` those of the same name that are worked out in another way. `features` is None where its content
    is not known.
    """

    spec_hash: str
    first_seen: str | None
    features: int | None
    used_by: tuple[str, ...]
    customers: int | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a person."""
        size = "content not known" if self.features is None else f"{self.features} features"
        states = "no states built" if self.customers is None else f"states of {self.customers:,} customers"
        seen = f", first seen {self.first_seen[:19]}Z" if self.first_seen else ""
        head = f"{self.spec_hash}  {', '.join(self.used_by) or 'nobody uses it'}: {size}, {states}{seen}"
        marks = (("+", self.added), ("-", self.removed), ("~", self.changed))
        return [head, *(f"  {mark} {name}" for mark, names in marks for name in names)]


@dataclass(frozen=True, slots=True)
class SpecListing:
    """All versions, those first seen first."""

    current: str
    versions: tuple[ListedSpec, ...]

    def text(self) -> str:
        """For a person."""
        lines = [line for version in self.versions for line in version.lines()]
        legend = f"against the current {self.current}: + it has more, - it has not, ~ worked out in another way"
        return "\n".join([*lines, legend])


def list_specs(settings: Settings) -> SpecListing:
    """Versions that are current, served, kept in the workspace, or have states.

    Raises:
        ConfigurationError: a kept version, or `configs/features.yaml`, cannot be read.
    """
    workspace = settings.workspace
    seen = {version.hash: version.first_seen for version in SpecVersions(workspace.specs).all()}
    users = users_of_specs(settings)
    storage = open_states(settings) if may_have_states(settings) else None
    built = storage.built_specs() if storage else []
    hashes = dict.fromkeys([*seen, *users, *built])
    return SpecListing(
        settings.features.hash,
        tuple(
            _listed(settings, spec, seen.get(spec), users.get(spec, []), storage if spec in built else None)
            for spec in hashes
        ),
    )


def _listed(
    settings: Settings, spec_hash: str, first_seen: int | None, users: list[str], storage: StateStorage | None
) -> ListedSpec:
    spec = find_spec(settings, spec_hash)
    added, removed, changed = ((), (), ()) if spec is None else difference(spec, settings.features)
    return ListedSpec(
        spec_hash,
        None if first_seen is None else (_EPOCH + timedelta(microseconds=first_seen)).isoformat(),
        None if spec is None else len(spec.by_name),
        tuple(users),
        None if storage is None else storage.count(spec_hash),
        added,
        removed,
        changed,
    )


def difference(spec: FeatureSpec, base: FeatureSpec) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Features that `spec` has beyond `base`, that it lacks, and that it works out in another way."""
    both = [name for name in spec.by_name if name in base.by_name]
    changed = (name for name in both if _value(spec, name) != _value(base, name))
    return _without(spec.by_name, base.by_name), _without(base.by_name, spec.by_name), tuple(changed)


def _value(spec: FeatureSpec, name: str) -> tuple[Feature, int, int]:
    """What decides a feature's value: not its view, nor its words."""
    feature = spec.by_name[name]
    paths = {test.path for test in feature.stream.conditions} if feature.stream else set()
    paths |= {feature.measure.path} if feature.measure else set()
    of_days = feature.operation in DAY_OPERATIONS
    caps = {"distinct": spec.caps.distinct, "top": spec.caps.recent}
    cap = spec.caps.days if of_days else caps.get(feature.operation, 0)
    offset = spec.utc_offset if of_days or paths & {"hour", "weekday"} else 0
    return replace(feature, view="", nouns=None), cap, offset


def _without(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    known = set(others)
    return tuple(name for name in names if name not in known)
