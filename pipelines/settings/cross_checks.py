"""Mistakes that only show when two files of the configuration are held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from feature_repo.configuration import ConfigurationError, Problem
from feature_repo.model_inputs import ALIVE, NO_ORDER
from feature_repo.spec import COLUMN_MEASURES, Condition, Feature, FeatureSpec, Measure, Stream
from pipelines.settings.action_checks import check_action_label
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.expectations import ExpectationsConfig
from pipelines.settings.identity import IdentityConfig
from pipelines.settings.labels import ActionLabel, ConversionLabel, ExclusionConfig, Label, ValueLabel, microseconds
from pipelines.settings.models import ActionModelConfig, CompanionConfig, ModelConfig
from pipelines.settings.personal_columns import check_personal_columns
from pipelines.settings.source_checks import check_against_plan
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import EventPlan, TrackingPlan

_KIND_OF_TYPE = {"integer": "integer", "money": "integer", "string": "text"}


def check_together(
    plan: TrackingPlan,
    spec: FeatureSpec,
    sources: Mapping[str, SourceConfig],
    models: Mapping[str, ModelConfig | CompanionConfig | ActionModelConfig],
    expectations: ExpectationsConfig,
) -> None:
    """Raises ConfigurationError with every mistake between the files."""
    problems = [*_plan(plan), *_features(plan, spec)]
    for source in sources.values():
        problems += check_against_plan(source, plan)
    for model in models.values():
        problems += _model(plan, spec, model)
    problems += _expectations(expectations, sources)
    if problems:
        raise ConfigurationError(problems)


def check_identity_and_consent(
    sources: Mapping[str, SourceConfig],
    identity: IdentityConfig,
    consent: ConsentConfig,
    plan: TrackingPlan,
    spec: FeatureSpec,
) -> None:
    """Raises ConfigurationError where a source names a kind of identifier or a purpose that is not declared,
    or where something that names a person would be kept in the clear or read by a feature."""
    problems = list(_personal_features(spec, identity))
    for source in sources.values():
        problems += check_personal_columns(source, plan, identity)
        file = f"sources/{source.source}.yaml"
        for kind in source.identifiers:
            if kind not in identity.kinds:
                known = ", ".join(identity.kinds)
                problems.append(_problem(file, f"identifiers.{kind}", f"a kind of identity.yaml ({known})", kind))
        for purpose in source.consent.purposes if source.consent else ():
            if purpose not in consent.purposes:
                known = ", ".join(consent.purposes)
                problems.append(_problem(file, "consent.purposes", f"purposes of consent.yaml ({known})", purpose))
    if problems:
        raise ConfigurationError(problems)


def check_slices(models: Mapping[str, ModelConfig], consent: ConsentConfig) -> None:
    """Raises ConfigurationError where a model's rows are told apart by a purpose that is not declared."""
    known = f"a purpose of consent.yaml ({', '.join(consent.purposes)})"
    problems = [
        _problem(f"models/{model.name}.yaml", f"slices.{cut.name}.consent", known, cut.consent)
        for model in models.values()
        for cut in model.slices
        if cut.consent is not None and cut.consent not in consent.purposes
    ]
    if problems:
        raise ConfigurationError(problems)


def _personal_features(spec: FeatureSpec, identity: IdentityConfig) -> Iterator[Problem]:
    for feature in spec.by_name.values():
        for path in _paths(feature):
            parent = feature.stream.event if feature.stream else ""
            for name in path.removeprefix("properties.").replace("[]", "").split("."):
                if identity.is_personal(parent, name):
                    expected = "a property that names nobody: personal ones are encrypted (identity.yaml)"
                    yield _problem("features.yaml", feature.name, expected, path)
                parent = name


def _paths(feature: Feature) -> list[str]:
    """The properties that a feature reads."""
    measures = [feature.measure.path] if feature.measure else []
    conditions = [test.path for test in feature.stream.conditions] if feature.stream else []
    return [path for path in (*measures, *conditions) if path not in COLUMN_MEASURES]


def _plan(plan: TrackingPlan) -> Iterator[Problem]:
    for name, event in plan.events.items():
        for channel in event.channels:
            if channel not in plan.channels:
                yield _problem("events.yaml", f"{name}.channels", f"one of: {', '.join(plan.channels)}", channel)
        if event.value is not None and _type(event, event.value) != "money":
            yield _problem("events.yaml", f"{name}.value", "a money property of this event", event.value)


def _features(plan: TrackingPlan, spec: FeatureSpec) -> Iterator[Problem]:
    seen: set[tuple[Stream, Measure | None]] = set()
    for feature in spec.by_name.values():
        if feature.stream is None:
            continue
        event = plan.events.get(feature.stream.event)
        key = (feature.stream, feature.measure)
        if key in seen:
            continue
        seen.add(key)
        if event is None:
            known = ", ".join(plan.events)
            yield _problem("features.yaml", feature.name, f"an event of events.yaml ({known})", feature.stream.event)
            continue
        yield from _feature(feature, event)


def _feature(feature: Feature, event: EventPlan) -> Iterator[Problem]:
    for condition in feature.stream.conditions if feature.stream else ():
        yield from _condition(feature, condition, event)
    if feature.measure is None:
        return
    if feature.measure.path == "value" and event.value is None:
        yield _problem("features.yaml", feature.name, "an event with `value:` in events.yaml", "an event without")
    if feature.measure.path not in COLUMN_MEASURES:
        yield from _property(feature, feature.measure, event)


def _condition(feature: Feature, condition: Condition, event: EventPlan) -> Iterator[Problem]:
    """What no event can meet: a channel that the event does not have, a property or type that is not declared."""
    if condition.path == "channel":
        for channel in condition.texts:
            if channel not in event.channels:
                expected = f"a channel of the event ({', '.join(event.channels)})"
                yield _problem("features.yaml", feature.name, expected, channel)
    if condition.path in COLUMN_MEASURES:
        kinds = {COLUMN_MEASURES[condition.path]}
    else:
        name = condition.path.removeprefix("properties.")
        declared = _type(event, name)
        if declared is None:
            yield _problem("features.yaml", feature.name, "a property of the event (events.yaml)", name)
            return
        kinds = {_KIND_OF_TYPE.get(declared, declared)}
    asked = {"text"} if condition.texts else set()
    asked |= {"integer"} if condition.integers else set()
    asked |= {"boolean"} if condition.booleans else set()
    if asked - kinds:
        expected = f"values to compare with that are {' or '.join(kinds)}"
        yield _problem("features.yaml", feature.name, expected, f"{condition.path} {condition.test}")


def _property(feature: Feature, measure: Measure, event: EventPlan) -> Iterator[Problem]:
    path = measure.path.removeprefix("properties.")
    listed = "[]." in path
    declared = _type(event, path.split("[]")[0])
    fits = declared == "list" if listed else _KIND_OF_TYPE.get(declared or "") == measure.kind
    if not fits:
        wanted = "a list property" if listed else f"a property that holds {measure.kind}"
        got = f"{path} ({declared or 'not declared'})"
        yield _problem("features.yaml", feature.name, f"{wanted} of the event", got)


def _model(
    plan: TrackingPlan, spec: FeatureSpec, model: ModelConfig | CompanionConfig | ActionModelConfig
) -> Iterator[Problem]:
    file = f"models/{model.name}.yaml"
    yield from _label(plan, model, file)
    if model.feature_service not in spec.services:
        yield _problem(file, "feature_service", f"one of: {', '.join(spec.services)}", model.feature_service)
        return
    for field, feature in _named_features(model):
        if feature not in spec.by_name:
            yield _problem(file, field, "a feature of features.yaml", feature)
        elif spec.by_name[feature].kind == "text":
            yield _problem(file, field, "a feature that is a number", feature)
    names = spec.service_features(model.feature_service)
    yield from _inputs(model, names, file)
    service = spec.services[model.feature_service]
    for of_call in [f.name for f in service.request_features if f.input]:
        expected = "features that are known at a snapshot, which is no call (leave it out by `without`)"
        yield _problem("features.yaml", f"services.{model.feature_service}", expected, of_call)
    for text in [f.name for f in service.features if f.kind == "text"]:
        expected = "features that are numbers: a model reads no text (leave it out by `without`)"
        yield _problem("features.yaml", f"services.{model.feature_service}", expected, text)


def _label(
    plan: TrackingPlan, model: ModelConfig | CompanionConfig | ActionModelConfig, file: str
) -> Iterator[Problem]:
    """Events that no tracking plan knows, values of events without one, and a property that some events lack."""
    label = model.label
    events = {**label.model_dump(), "exclude": label.exclude.events if label.exclude else ()}
    for field in ("qualifying_events", "opened_by", "closed_by", "goal_events", "add", "subtract", "exclude"):
        for event in events.get(field, ()):
            if event not in plan.events:
                yield _problem(file, f"label.{field}", "events of events.yaml", event)
            elif field in ("add", "subtract") and plan.events[event].value is None:
                yield _problem(file, f"label.{field}", "events with `value:` in events.yaml", event)
    yield from _match(plan, label, file)
    if isinstance(label, ActionLabel):
        yield from check_action_label(plan, label, file)
    if isinstance(label, ValueLabel):
        for event in sorted({*label.add} & {*label.subtract}):
            yield _problem(file, "label.subtract", "other events than those of label.add", event)
    if label.exclude is not None and _excludes_all(label, label.exclude):
        for event in sorted({*label.exclude.events} & {*label.population_events}):
            expected = f"events that not everybody in the population has, or `within` shorter than {label.look_back}"
            yield _problem(file, "label.exclude", expected, event)


def _excludes_all(label: Label, exclude: ExclusionConfig) -> bool:
    """Whether who is in the population for an event is left out for the same event.

    An assignment is not before its own instant: one may leave out who got another before.
    """
    if isinstance(label, ActionLabel):
        return False
    return exclude.within is None or microseconds(exclude.within) >= microseconds(label.look_back)


def _match(plan: TrackingPlan, label: Label, file: str) -> Iterator[Problem]:
    """The property must be one that can be compared, and of one type wherever it stands."""
    if not isinstance(label, ConversionLabel) or label.match is None:
        return
    seen: dict[str, str] = {}
    for event in dict.fromkeys((*label.opened_by, *label.closed_by, *label.goal_events)):
        if event not in plan.events:
            continue
        declared = _type(plan.events[event], label.match)
        if declared is None:
            yield _problem(file, "label.match", f"a property of {event}", label.match)
        elif declared not in ("string", "integer"):
            yield _problem(file, "label.match", "a property that is a string or an integer", f"{declared} in {event}")
        else:
            seen[event] = declared
    if len(set(seen.values())) > 1:
        got = ", ".join(f"{kind} in {event}" for event, kind in seen.items())
        yield _problem(file, "label.match", "a property of one type in all events", got)


def _named_features(model: ModelConfig | CompanionConfig | ActionModelConfig) -> Iterator[tuple[str, str]]:
    """Where a feature is named, and its name."""
    if model.inputs.bg_nbd is not None:
        for key, feature in model.inputs.bg_nbd.model_dump().items():
            yield f"inputs.bg_nbd.{key}", feature
    if isinstance(model, CompanionConfig):
        yield "monetary", model.monetary
        for key, feature in model.bg_nbd.model_dump().items():
            yield f"bg_nbd.{key}", feature
    if not isinstance(model, ModelConfig):
        return
    for feature in model.baselines.features:
        yield "baselines", feature
    for cut in model.slices:
        for feature in (*([cut.feature] if cut.feature else []), *cut.largest_of.values()):
            yield f"slices.{cut.name}", feature


def _inputs(
    model: ModelConfig | CompanionConfig | ActionModelConfig, names: tuple[str, ...], file: str
) -> Iterator[Problem]:
    """What is said of inputs must be said of some: a name that fits none is a mistake of spelling."""
    for text in (*model.inputs.without, *(() if isinstance(model, CompanionConfig) else model.actionable)):
        if not any(fnmatchcase(name, text) for name in names):
            yield _problem(file, "inputs.without, actionable", f"features of service {model.feature_service}", text)
    if model.inputs.bg_nbd is not None:
        for feature in model.inputs.bg_nbd.model_dump().values():
            if feature not in names:
                yield _problem(file, "inputs.bg_nbd", f"a feature of service {model.feature_service}", feature)
    if not isinstance(model, ModelConfig):
        return
    computed = (ALIVE, NO_ORDER) if model.inputs.bg_nbd else ()
    direct = [name for name in names if not any(fnmatchcase(name, text) for text in model.inputs.without)]
    if not direct and not computed:
        yield _problem(file, "inputs.without", "at least one input left", ", ".join(model.inputs.without))
    for name in model.fit.monotone:
        if name not in (*direct, *computed):
            expected = f"an input of the model: a feature of service {model.feature_service}, not in inputs.without"
            yield _problem(file, "fit.monotone", expected, name)


def _expectations(expectations: ExpectationsConfig, sources: Mapping[str, SourceConfig]) -> Iterator[Problem]:
    for entry in (*expectations.both, *expectations.batch, *expectations.lake):
        for source in entry.where.source:
            if source not in sources:
                yield _problem("expectations.yaml", f"{entry.name}.where.source", "a file of configs/sources", source)


def _type(event: EventPlan, name: str) -> str | None:
    declared = event.properties.get(name)
    return declared.type if declared else None


def _problem(file: str, field: str, expected: str, got: str) -> Problem:
    return Problem(field, expected, repr(got), "", file)
