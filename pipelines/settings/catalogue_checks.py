"""Mistakes of a catalogue outside its expressions: names that nothing has, figures and dates that make no sense."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from feature_repo.configuration import Problem
from pipelines.catalogue import NO_ACTION
from pipelines.settings.actions import ActionConfig, ActionsFile
from pipelines.settings.catalogue_compile import begins, hours
from pipelines.settings.catalogue_rules import ACTIONS, JOURNEYS, STAGE
from pipelines.settings.journeys import JourneysFile
from pipelines.settings.surroundings import Surroundings

_RESERVED = (STAGE, "consent", "traits", "true", "false", "null", "and", "or", "not", "in", "is", "if", "else", "for")


def check_catalogue(
    file: ActionsFile, journeys: JourneysFile | None, around: Surroundings, now: int | None
) -> list[Problem]:
    """Every mistake; `now` in microseconds UTC, where None nothing has expired."""
    problems = [*_names(file, around), *_repeated(file), *_rules(file, around), *_amounts(file, around)]
    problems += [*_send_time(file, around), *_best_channel(file, around)]
    zone = file.time_zone if _is_zone(file.time_zone) else "UTC"
    if zone != file.time_zone:
        expected = "a time zone of the IANA database, such as Asia/Bangkok"
        problems.append(_problem("time_zone", expected, file.time_zone))
    for action in file.actions:
        problems += [*_action(action), *_dates(action, zone, now)]
    for name in _twice(stage.name for stage in journeys.stages) if journeys else ():
        problems.append(Problem("stages", "each stage once", repr(name), "", JOURNEYS))
    return problems


def _names(file: ActionsFile, around: Surroundings) -> Iterator[Problem]:
    """What must stand in another file."""
    yield from _known("currency", file.currency, around.currencies, "a currency of events.yaml")
    yield from _known("model", file.model, around.action_models, "a model of actions in configs/models")
    yield from _known(
        "fallback_model", file.fallback_model, around.models, "a model of a probability in configs/models"
    )
    for action in file.actions:
        yield from _known(f"actions.{action.id}.channel", action.channel, around.channels, "a channel of events.yaml")
        yield from _known(f"actions.{action.id}.consent", action.consent, around.purposes, "a purpose of consent.yaml")
    for cap in file.caps:
        yield from _known("caps.channel", cap.channel, around.channels, "a channel of events.yaml")
    answered = file.best_channel.channels if file.best_channel else ()
    for channel in (*file.channels, *(file.send_time.channels if file.send_time else ()), *answered):
        yield from _known("channels", channel, around.channels, "a channel of events.yaml")
    for trait, feature in file.traits.items():
        if feature not in around.features:
            yield _problem(f"traits.{trait}", "a feature of features.yaml", feature, "see twin features list")
    zone = file.time_zone_trait
    if zone is not None and zone not in file.traits:
        yield from _known("time_zone_trait", zone, file.traits, "a trait of this file")
    elif zone is not None and around.features.get(file.traits[zone], "text") != "text":
        yield _problem("time_zone_trait", "a trait that is text", zone)


def _known(field: str, got: str | None, known: Iterable[str], what: str) -> Iterator[Problem]:
    if got is not None and got not in known:
        yield _problem(field, f"{what} ({', '.join(known) or 'there is none'})", got)


def _repeated(file: ActionsFile) -> Iterator[Problem]:
    for name in _twice(action.id for action in file.actions):
        yield _problem("actions", "each id once", name)
    for action in file.actions:
        if action.id == NO_ACTION:
            yield _problem("actions", "another id: to do nothing is always possible", NO_ACTION, "remove it")
        for name in _twice(variant.id for variant in action.variants):
            yield _problem(f"actions.{action.id}.variants", "each id once", name)


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _rules(file: ActionsFile, around: Surroundings) -> Iterator[Problem]:
    for name in file.rules:
        if name in around.features or name in _RESERVED:
            yield _problem(f"rules.{name}", "a name that nothing else has", name)


def _amounts(file: ActionsFile, around: Surroundings) -> Iterator[Problem]:
    """An amount that is no whole number of minor units would be rounded unseen."""
    decimals = around.currencies.get(file.currency)
    if decimals is None:
        return
    amounts = {
        f"actions.{action.id}.{key}": getattr(action, key) for action in file.actions for key in ("cost", "boost")
    }
    if file.budget is not None:
        amounts["budget.amount"] = file.budget.amount
    for field, amount in amounts.items():
        if Decimal(str(amount)) * 10**decimals % 1:
            yield _problem(field, f"at most {decimals} decimals, as {file.currency} has", str(amount))


def _send_time(file: ActionsFile, around: Surroundings) -> Iterator[Problem]:
    for channel, pattern in file.send_time.channels.items() if file.send_time else ():
        missing = [name for name in hours(pattern) if around.features.get(name) != "number"]
        if missing:
            got = f"{pattern}, of which {len(missing)} are not there: {missing[0]}"
            yield _problem(
                f"send_time.channels.{channel}", "24 features of features.yaml", got, "by: {hour: [0, 1, ...]}"
            )


def _best_channel(file: ActionsFile, around: Surroundings) -> Iterator[Problem]:
    asked = file.best_channel
    if asked is None:
        return
    yield from _known("best_channel.fallback", asked.fallback, asked.channels, "one of its channels")
    for channel, of in asked.channels.items():
        for key, feature in (("answered", of.answered), ("delivered", of.delivered)):
            if around.features.get(feature) != "number":
                place = f"best_channel.channels.{channel}.{key}"
                yield _problem(place, "a feature of features.yaml that is a number", feature, "see twin features list")


def _action(action: ActionConfig) -> Iterator[Problem]:
    place = f"actions.{action.id}"
    *others, last = action.variants or (None,)
    for variant in others:
        if variant is not None and variant.when is None:
            hint = "those after it would never be taken"
            yield _problem(f"{place}.variants.{variant.id}", "`when`, since others follow", "nothing", hint)
    if last is not None and last.when is not None:
        hint = "add a variant without `when` at the end"
        yield _problem(f"{place}.variants.{last.id}", "a last variant for everybody, without `when`", last.when, hint)
    if action.channel is None and action.quiet_hours is not None:
        yield _problem(f"{place}.quiet_hours", "a channel, since without one nobody is contacted", "channel: none")
    languages = {variant.id: {*variant.text, *variant.template} for variant in action.variants}
    every = set().union(*languages.values())
    for variant in action.variants:
        if missing := every - languages[variant.id]:
            expected = f"the same languages in all variants ({', '.join(sorted(every))})"
            yield _problem(f"{place}.variants.{variant.id}", expected, f"none in {', '.join(sorted(missing))}")
        if both := variant.text.keys() & variant.template.keys():
            yield _problem(
                f"{place}.variants.{variant.id}", "a text or a template", f"both in {', '.join(sorted(both))}"
            )


def _dates(action: ActionConfig, zone: str, now: int | None) -> Iterator[Problem]:
    starts, until = action.valid.from_, action.valid.until
    if starts is not None and until is not None and until < starts:
        yield _problem(f"actions.{action.id}.valid", "`until` no earlier than `from`", f"{until}, before {starts}")
    ends = begins(until, zone, 1)
    if now is not None and ends is not None and ends <= now and action.expired == "refuse":
        today = datetime.datetime.fromtimestamp(now // 1_000_000, ZoneInfo(zone)).date()
        hint = "remove the action, or keep it on purpose with `expired: keep`"
        yield _problem(f"actions.{action.id}.valid.until", f"a day from {today} on", f"{until}: it has expired", hint)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _problem(field: str, expected: str, got: str, hint: str = "") -> Problem:
    return Problem(field, expected, repr(got), hint, ACTIONS)
