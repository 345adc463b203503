"""The twin of a customer, as a pure function of their events, the features at an instant, and what is declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from pipelines.events.moments import Moment
from pipelines.twin.evidence import Evidence, EvidenceIndex, arranged
from pipelines.twin.path import PathWalker
from pipelines.twin.person import contacts_of, profile_of
from pipelines.twin.ruled import barriers_of, holding, personas_of, ruled, triggers_of
from pipelines.twin.rules import STOPPED, Rule, TwinRules
from pipelines.twin.state import Standing, Step, Twin
from pipelines.twin.touchpoints import experience_of


class TwinFold:
    """Makes twins by one set of rules over one spec. What is compiled is made once; threads may share it."""

    def __init__(self, rules: TwinRules, spec: FeatureSpec) -> None:
        """Raises KeyError if a rule reads a feature that is not in the spec."""
        self.rules = rules
        self.features = rules.features
        self._index = EvidenceIndex(spec, self.features)
        self._walker = PathWalker(rules, spec)

    def twin_at(
        self,
        customer_id: str,
        as_of: int,
        moments: Sequence[Moment],
        features: Mapping[str, FeatureValue],
        position: int,
    ) -> Twin:
        """The twin at `as_of` (int64 microseconds UTC).

        Of `moments` those count that are visible then, of each kind the newest; their order and duplicates change
        nothing. `features` are at least `self.features` at `as_of`.
        """
        rules = self.rules
        known = arranged(moments, as_of, rules.kept_of_each)
        evidence = Evidence(self._index, known, as_of)
        walked = self._walker.walk(known, as_of)

        def standing(declared: Sequence[Rule], path: tuple[Step, ...]) -> Standing:
            now = holding(declared, features)
            whole = self._walker.is_whole(known, declared, rules.kept_of_each)
            return Standing(now.name, ruled(now, features, evidence), _ending(path, now.name, as_of), whole)

        relationship = standing(rules.relationship, walked.relationship)
        return Twin(
            customer_id=customer_id,
            as_of=as_of,
            position=position,
            profile=profile_of(known, rules),
            stage=standing(rules.stages, walked.stages),
            relationship=relationship,
            dropped_at=walked.at_last_event if relationship.stage == STOPPED else None,
            experience=experience_of(known, rules),
            personas=personas_of(rules, features, evidence),
            triggers=triggers_of(rules, features, evidence),
            barriers=barriers_of(rules, features, evidence),
            contacts=contacts_of(known, rules),
        )


def twin_at(
    customer_id: str,
    as_of: int,
    moments: Sequence[Moment],
    features: Mapping[str, FeatureValue],
    rules: TwinRules,
    spec: FeatureSpec,
    position: int,
) -> Twin:
    """As `TwinFold.twin_at`, for one twin: who makes many makes a `TwinFold` once."""
    return TwinFold(rules, spec).twin_at(customer_id, as_of, moments, features, position)


def _ending(path: tuple[Step, ...], stage: str, as_of: int) -> tuple[Step, ...]:
    """The path, ending with `stage`: where older events are not kept, those that are may lead to another one."""
    if not path or path[-1].stage == stage:
        return path
    return (*path, Step(stage, as_of, None))
