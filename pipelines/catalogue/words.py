"""A catalogue in words: what each action is, whom it may reach, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pipelines.catalogue.model import Action, Cap, Catalogue, QuietHours

_UNITS = ((86_400_000_000, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"))


@dataclass(frozen=True, slots=True)
class ActionInWords:
    """Each field but the id is a phrase; `variants` one a variant."""

    id: str
    description: str
    channel: str
    cost: str
    value: str
    eligible: str
    consent: str
    valid: str
    caps: tuple[str, ...]
    quiet_hours: str
    levers: str
    variants: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        yield f"{self.id}: {self.description}"
        for name in ("channel", "cost", "value", "eligible", "consent", "valid", "caps", "quiet_hours", "levers"):
            told = getattr(self, name)
            text = "; ".join(told) if isinstance(told, tuple) else told
            if text:
                yield f"  {name.replace('_', ' '):<12} {text}"
        for variant in self.variants:
            yield f"  {'variant':<12} {variant}"


@dataclass(frozen=True, slots=True)
class CatalogueInWords:
    """All of a catalogue. `rules` and `stages` are as they are written, by name."""

    hash: str
    model: str
    fallback_model: str | None
    actions: tuple[ActionInWords, ...]
    for_all: tuple[str, ...]
    rules: dict[str, str]
    stages: dict[str, str]

    def text(self) -> str:
        parts = ["\n".join(action.lines()) for action in self.actions]
        parts.append("\n".join(["For all actions:", *(f"  {line}" for line in self.for_all)]))
        parts += [_named("Rules:", self.rules)] if self.rules else []
        parts += (
            [_named("Stages, of which the first that holds is the customer's:", self.stages)] if self.stages else []
        )
        fallback = f", and {self.fallback_model} until an effect is known" if self.fallback_model else ""
        parts.append(f"{len(self.actions)} actions, decided by {self.model}{fallback}; catalogue {self.hash}")
        return "\n\n".join(parts)


def _named(title: str, texts: dict[str, str]) -> str:
    return "\n".join([title, *(f"  {name:<20} {text}" for name, text in texts.items())])


def in_words(catalogue: Catalogue, decimals: int) -> CatalogueInWords:
    """`decimals` are those of the catalogue's currency."""
    return CatalogueInWords(
        catalogue.hash,
        catalogue.model,
        catalogue.fallback_model,
        tuple(_action(catalogue, action, decimals) for action in catalogue.actions),
        tuple(_for_all(catalogue, decimals)),
        {name: rule.text for name, rule in catalogue.rules.items()},
        {name: rule.text for name, rule in catalogue.stages.items()},
    )


def _action(catalogue: Catalogue, action: Action, decimals: int) -> ActionInWords:
    def money(minor: int) -> str:
        return _money(minor, decimals, catalogue.currency)

    constant = None if action.value.names else action.value.value({})
    value = f"{action.value.text}, in minor units" if constant is None else money(round(float(constant)))
    quiet = "none" if action.quiet_hours is None else _hours(action.quiet_hours)
    levers = [f"expected value times {action.priority:g}"] if action.priority != 1 else []
    levers += [f"{money(action.boost)} added to the expected value"] if action.boost else []
    return ActionInWords(
        id=action.id,
        description=action.description,
        channel=action.channel or "none: nobody is contacted",
        cost=f"{money(action.cost)} each",
        value=f"of each unit of reward that the model predicts: {value}",
        eligible=f"whoever meets: {action.eligible.text}" if action.eligible else "everybody",
        consent=f"needs {action.purpose}" if action.purpose else "needs none",
        valid=_valid(action, catalogue.time_zone),
        caps=tuple(_cap(cap) for cap in catalogue.caps if cap.action == action.id),
        quiet_hours=quiet if action.channel else "",
        levers=", ".join(levers),
        variants=tuple(_variants(action)),
    )


def _variants(action: Action) -> Iterator[str]:
    for variant in action.variants:
        who = f"where {variant.when.text}" if variant.when else "for everybody else"
        languages = ", ".join(dict.fromkeys([*variant.texts, *variant.templates])) or "no language"
        yield f"{variant.id} {who} ({languages})"


def _for_all(catalogue: Catalogue, decimals: int) -> Iterator[str]:
    yield from (_cap(cap) for cap in catalogue.caps if cap.action is None)
    yield f"{catalogue.holdout_share:.1%} of customers are held out"
    cold = f", {catalogue.cold_start_exploration_share:.1%} as long as no effect is known"
    yield f"{catalogue.exploration_share:.1%} of decisions are drawn to learn from{cold}"
    if catalogue.budget:
        amount = _money(catalogue.budget.amount, decimals, catalogue.currency)
        yield f"at most {amount} in each {_duration(catalogue.budget.per).removeprefix('1 ')}"
    if catalogue.shadow_price:
        yield f"a unit of money must bring {catalogue.shadow_price:g} beyond itself"
    if catalogue.send_time:
        channels = ", ".join(catalogue.send_time.counts)
        yield f"sent at the customer's hour ({channels}), at {catalogue.send_time.fallback_hour}:00 where none is known"
    if catalogue.best_channel:
        channels = ", ".join(catalogue.best_channel.counts)
        yield f"the channel they answer is told ({channels}), {catalogue.best_channel.fallback} where none is known"
    yield f"times are of the customer's zone, {catalogue.time_zone} where none is known"


def _cap(cap: Cap) -> str:
    contacts = "1 contact" if cap.contacts == 1 else f"{cap.contacts} contacts"
    return f"at most {contacts}{f' by {cap.channel}' if cap.channel else ''} in {_duration(cap.within)}"


def _duration(length: int) -> str:
    """Microseconds in the largest unit that divides them."""
    unit, name = next((unit, name) for unit, name in _UNITS if length % unit == 0)
    return f"{length // unit} {name}{'' if length == unit else 's'}"


def _hours(quiet: QuietHours) -> str:
    return f"from {_clock(quiet.begins)} to {_clock(quiet.ends)}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _valid(action: Action, time_zone: str) -> str:
    if action.starts is None and action.ends is None:
        return "always"
    since = "" if action.starts is None else f"from {_day(action.starts, time_zone)} on"
    until = "" if action.ends is None else f"until {_day(action.ends - 1, time_zone)}, that day included"
    return ", ".join(part for part in (since, until) if part)


def _day(instant: int, time_zone: str) -> str:
    return datetime.fromtimestamp(instant // 1_000_000, UTC).astimezone(ZoneInfo(time_zone)).date().isoformat()


def _money(minor: int, decimals: int, currency: str) -> str:
    return f"{minor / 10**decimals:,.{decimals}f} {currency}"
