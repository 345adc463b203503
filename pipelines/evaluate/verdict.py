"""The verdict in words: what the paired differences in log-loss say, the bad news too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pipelines.evaluate.profit import ALL, NONE, Profit
from pipelines.evaluate.results import DEFAULT, NAMES, RANDOM, SERVABLE, SIMPLE, TUNED, Difference, TuningGain
from pipelines.evaluate.slices import WorstBand
from pipelines.scoring.bootstrap import Interval

# What follows where the tuned model is worse than a rival of the search, and where the interval holds 0.
_SEARCHED = {
    DEFAULT: ("so tuning made it worse", "so this test cannot show that tuning bought anything"),
    RANDOM: ("which found better parameters", "so this test cannot show that it searched better than at random"),
}


def verdict_sentences(
    differences: Sequence[Difference],
    model: str,
    names: Mapping[str, str] = NAMES,
    gain: TuningGain | None = None,
    servable: Collection[str] = SERVABLE,
) -> tuple[str, ...]:
    """A sentence a difference of the tuned model, what the searches took, and which simple model is to be preferred.

    `servable` are the simple models that `twin register` takes.
    """
    losses = [item for item in differences if item.metric == "log_loss"]
    sentences = [_sentence(item, names) for item in losses]
    if gain is not None and gain.tuned_search is not None and gain.random_search is not None:
        ours, theirs = gain.tuned_search, gain.random_search
        sentences.append(
            f"The search took {ours.seconds:.0f} s for {ours.trials:,} trials, "
            f"the one at random {theirs.seconds:.0f} s for {theirs.trials:,}."
        )
    rivals = [item.against for name in SIMPLE for item in losses if item.against == name and not _better(item)]
    if rivals:
        sentences.append(
            "So this test gives no reason to prefer the tuned LightGBM to the simplest of these, "
            f"{_the(rivals[0], names, False)}."
        )
    to_serve = next((name for name in rivals if name in servable), None)
    if to_serve is not None:
        sentences.append(f"{_the(to_serve, names)} can be served: twin register {model} --model {to_serve}")
    return tuple(sentences)


def further_sentences(profit: Profit | None, worst: WorstBand | None, names: Mapping[str, str]) -> tuple[str, ...]:
    """Whether acting by the tuned model pays, and whether there are customers it knows nothing of."""
    found = []
    if profit is not None:
        against = {item.against: item for item in profit.differences if item.metric == "profit"}
        for rival, words in ((ALL, "acting on everybody"), (NONE, "acting on nobody")):
            item = against[rival]
            if item.low is None or item.low <= 0:
                found.append(
                    f"Acting by {_the(item.model, names, False)} is not shown to bring more than {words}: difference "
                    f"in profit a row {item.estimate:+.2f}, 95 % interval [{item.low:+.2f}, {item.high:+.2f}]."
                )
    loss = worst.log_loss_over_base_rate if worst is not None else None
    if worst is not None and loss is not None and loss.low is not None and loss.low > 0:
        found.append(
            f"{_the(TUNED, names)} is worse than the base rate of {worst.slice}, {worst.band}: difference in "
            f"log-loss {loss.estimate:+.4f} nats, 95 % interval [{loss.low:+.4f}, {loss.high:+.4f}]."
        )
    return tuple(found)


def _better(item: Difference | Interval) -> bool:
    return item.high is not None and item.high < 0


def _sentence(item: Difference, names: Mapping[str, str]) -> str:
    ours, theirs = _the(item.model, names), _the(item.against, names, False)
    if item.estimate is None or item.low is None or item.high is None:
        return f"{ours} and {theirs} cannot be compared: a log-loss is undefined."
    numbers = f"difference in log-loss {item.estimate:+.4f} nats, 95 % interval [{item.low:+.4f}, {item.high:+.4f}]"
    if item.high < 0:
        return f"{ours} is better than {theirs}: {numbers}."
    if item.against in _SEARCHED:
        if item.low > 0:
            return f"{ours} is worse than {theirs}, {_SEARCHED[item.against][0]}: {numbers}."
        return f"{ours} is not shown to be better than {theirs}, {_SEARCHED[item.against][1]}: {numbers}."
    if item.low > 0:
        return f"{_the(item.against, names)} is better than {_the(item.model, names, False)}: {numbers}."
    return f"As far as this test can tell, {theirs} is not worse than {_the(item.model, names, False)}: {numbers}."


def _the(key: str, names: Mapping[str, str], opens: bool = True) -> str:
    """The model as it stands in a sentence."""
    if key == "bg_nbd":
        return names[key]
    if key == "bg_nbd_calibrated":
        return f"{'C' if opens else 'c'}alibrated {names['bg_nbd']}"
    name = names[key]
    # A name that begins with an abbreviation keeps its capitals.
    word = name if name[:2].isupper() else name[0].lower() + name[1:]
    return f"{'The' if opens else 'the'} {word}"
