"""From checked files to the compiled catalogue: money in minor units, instants in microseconds, rules written out."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from zoneinfo import ZoneInfo

from feature_repo.configuration import ConfigModel
from pipelines.catalogue import Action, Budget, Cap, Catalogue, ChannelAnswers, QuietHours, SendTime, Variant
from pipelines.expressions import Expression
from pipelines.expressions.expression import compile_tree
from pipelines.expressions.tree import Arithmetic, Constant, Node, names_of
from pipelines.settings.actions import ActionConfig, ActionsFile, QuietHoursConfig, VariantConfig
from pipelines.settings.catalogue_rules import Names
from pipelines.settings.journeys import JourneysFile
from pipelines.settings.labels import microseconds
from pipelines.settings.surroundings import Surroundings


class CatalogueContent(ConfigModel):
    """All that a catalogue is compiled from; `around` has only what it refers to. It goes through JSON."""

    actions: ActionsFile
    journeys: JourneysFile | None
    around: Surroundings


def compiled(content: CatalogueContent, names: Names, trees: dict[str, Node]) -> Catalogue:
    """The catalogue of what was checked; `trees` are its expressions by field, and hold no mistake."""
    file, around = content.actions, content.around
    minor = 10 ** around.currencies[file.currency]
    rules = {name: compile_tree(file.rules[name], tree) for name, tree in names.rules.items()}
    whens = {stage.name: stage.when for stage in content.journeys.stages} if content.journeys else {}
    stages = {name: compile_tree(when, names.stages[name]) for name, when in whens.items()}
    # A reward that is money is in minor units itself: what a unit of it is worth has no unit.
    unit = 1 if file.model in around.money_rewards else minor
    actions = tuple(_action(file, action, trees, minor, unit) for action in file.actions)
    send_time = _send_time(file, around.utc_offset)
    zone = file.traits[file.time_zone_trait] if file.time_zone_trait else None
    expressions = [*rules.values(), *stages.values(), *_expressions(actions)]
    named = {name for expression in expressions for name in expression.names}
    counted = [name for names_ in send_time.counts.values() for name in names_] if send_time else []
    best_channel = _best_channel(file)
    counted += [name for names_ in best_channel.counts.values() for name in names_] if best_channel else []
    features = tuple(sorted({*(named & around.features.keys()), *counted, *([zone] if zone else [])}))
    kept = _reduced(content, {*features, *file.traits.values()}, named)
    return Catalogue(
        hash=_hash(kept),
        currency=file.currency,
        model=file.model,
        fallback_model=file.fallback_model,
        actions=actions,
        caps=tuple(_caps(file)),
        rules=rules,
        stages=stages,
        traits=dict(file.traits),
        time_zone=file.time_zone,
        time_zone_feature=zone,
        holdout_share=file.holdout.share,
        holdout_salt=file.holdout.salt,
        exploration_share=file.exploration.share,
        cold_start_exploration_share=file.exploration.cold_start_share,
        budget=Budget(in_minor(file.budget.amount, minor), microseconds(file.budget.per)) if file.budget else None,
        shadow_price=file.shadow_price,
        send_time=send_time,
        best_channel=best_channel,
        features=features,
        content=kept,
    )


def _action(file: ActionsFile, action: ActionConfig, trees: dict[str, Node], minor: int, unit: int) -> Action:
    place = f"actions.{action.id}"
    return Action(
        id=action.id,
        description=action.description,
        channel=action.channel,
        cost=in_minor(action.cost, minor),
        value=compile_tree(action.value, _in_minor_units(trees[f"{place}.value"], unit)),
        eligible=None if action.eligible is None else compile_tree(action.eligible, trees[f"{place}.eligible"]),
        purpose=action.consent,
        starts=begins(action.valid.from_, file.time_zone),
        ends=begins(action.valid.until, file.time_zone, 1),
        quiet_hours=_quiet_hours(file, action),
        priority=action.priority,
        boost=in_minor(action.boost, minor),
        variants=tuple(
            _variant(variant, trees.get(f"{place}.variants.{variant.id}.when")) for variant in action.variants
        ),
    )


def _in_minor_units(value: Node, minor: int) -> Node:
    """What reads no name is in major units, as a cost is; else it is in minor units, as features are."""
    if isinstance(value, Constant):
        return Constant(float(Decimal(str(value.value)) * minor), "number")
    return value if names_of(value) else Arithmetic("*", value, Constant(float(minor), "number"))


def _variant(variant: VariantConfig, when: Node | None) -> Variant:
    compiled = None if when is None or variant.when is None else compile_tree(variant.when, when)
    return Variant(variant.id, compiled, variant.because, dict(variant.text), dict(variant.template))


def _quiet_hours(file: ActionsFile, action: ActionConfig) -> QuietHours | None:
    """The action's own, else its channel's, else the catalogue's; none where nobody is contacted."""
    if action.channel is None:
        return None
    of_channel = file.channels[action.channel].quiet_hours if action.channel in file.channels else None
    chosen: QuietHoursConfig | None = action.quiet_hours or of_channel or file.quiet_hours
    return None if chosen is None or chosen.begins == chosen.ends else QuietHours(chosen.begins, chosen.ends)


def _caps(file: ActionsFile) -> Iterator[Cap]:
    for cap in file.caps:
        yield Cap(cap.contacts, microseconds(cap.within), None, cap.channel)
    for action in file.actions:
        yield from (Cap(cap.contacts, microseconds(cap.within), action.id) for cap in action.caps)


def _send_time(file: ActionsFile, utc_offset: int) -> SendTime | None:
    if file.send_time is None:
        return None
    counts = {channel: tuple(hours(pattern)) for channel, pattern in file.send_time.channels.items()}
    return SendTime(counts, file.send_time.fallback_hour, file.send_time.at_least, utc_offset)


def _best_channel(file: ActionsFile) -> ChannelAnswers | None:
    if file.best_channel is None:
        return None
    counts = {channel: (of.answered, of.delivered) for channel, of in file.best_channel.channels.items()}
    return ChannelAnswers(counts, file.best_channel.fallback, file.best_channel.at_least)


def _expressions(actions: tuple[Action, ...]) -> Iterator[Expression]:
    for action in actions:
        yield action.value
        yield from (found for found in (action.eligible, *(variant.when for variant in action.variants)) if found)


def _reduced(content: CatalogueContent, features: set[str], named: set[str]) -> str:
    """All that the catalogue was compiled from as one line of JSON, of its surroundings only what it refers to."""
    file, around = content.actions, content.around
    channels = {action.channel for action in file.actions} | {cap.channel for cap in file.caps} | set(file.channels)
    channels |= set(file.send_time.channels) if file.send_time else set()
    channels |= set(file.best_channel.channels) if file.best_channel else set()
    purposes = {action.consent for action in file.actions} | {name.removeprefix("consent.") for name in named}
    reduced = Surroundings(
        features={name: kind for name, kind in sorted(around.features.items()) if name in features},
        channels=tuple(sorted(channel for channel in channels if channel)),
        currencies={file.currency: around.currencies[file.currency]},
        purposes=tuple(sorted(purpose for purpose in around.purposes if purpose in purposes)),
        action_models=(file.model,),
        models=(file.fallback_model,) if file.fallback_model else (),
        money_rewards=(file.model,) if file.model in around.money_rewards else (),
        utc_offset=around.utc_offset if file.send_time else 0,
    )
    kept = CatalogueContent(actions=file, journeys=content.journeys, around=reduced)
    plain = kept.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def _hash(kept: str) -> str:
    """SHA-256 (16 hex digits); descriptions decide nothing."""
    plain = json.loads(kept)
    for action in plain["actions"]["actions"]:
        del action["description"]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def in_minor(amount: float, minor: int) -> int:
    """Whole minor units, rounded half to even; the checks see to it that nothing is lost."""
    return round(Decimal(str(amount)) * minor)


def hours(pattern: str) -> Iterator[str]:
    """Names of the 24 features."""
    return (pattern.replace("{hour}", str(hour)) for hour in range(24))


def begins(day: datetime.date | None, time_zone: str, days_later: int = 0) -> int | None:
    """Microseconds UTC of the day's first instant in the zone."""
    if day is None:
        return None
    first = datetime.datetime.combine(day + datetime.timedelta(days=days_later), datetime.time(), ZoneInfo(time_zone))
    return int(first.timestamp()) * 1_000_000
