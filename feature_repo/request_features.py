"""Features of what a call brings along (its channel, the value of the cart), known only when it is made.

The same functions answer in Feast's on-demand views, for training and serving, and in the service's own read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from feature_repo.extract import columns_of, whole_number
from feature_repo.spec import RequestFeature, RequestView

# What every call has: its as-of instant, int64 microseconds UTC.
AS_OF = "as_of"
Value = int | float | str | None


def request_values(
    features: Sequence[RequestFeature],
    inputs: Mapping[str, Any],
    known: Mapping[str, Any],
    as_of: int,
    utc_offset: int,
) -> list[Value]:
    """Values of `features` in one call, in order.

    `inputs` are what the call brings: what is missing, or of another kind than a feature reads, is empty.
    `known` are the customer's features that ratios divide by; `as_of` is int64 microseconds UTC,
    `utc_offset` microseconds.
    """
    clock = columns_of(as_of, "", None, utc_offset)
    return [_value(feature, inputs, known, clock) for feature in features]


def _value(
    feature: RequestFeature, inputs: Mapping[str, Any], known: Mapping[str, Any], clock: Mapping[str, Any]
) -> Value:
    if feature.operation in ("hour", "weekday"):
        return int(clock[feature.operation])
    given = inputs.get(feature.input)
    if feature.operation == "is":
        same = type(given) is type(feature.equals) and given == feature.equals
        return None if given is None else int(same)
    number = whole_number(given)
    if feature.operation == "value" or number is None:
        return number
    bottom = known.get(str(feature.denominator))
    return float(number) / float(bottom) if bottom else None


Columns = Mapping[str, Sequence[Any]]
_SOURCE = """def {name}(columns):
    from feature_repo.request_features import transform

    return transform({view!r}, {utc_offset}, columns)
"""


def on_demand_function(view: RequestView, utc_offset: int) -> tuple[Callable[[Columns], dict[str, list[Value]]], str]:
    """A request view as the function that Feast's on-demand views call in `python` mode, and its source.

    Feast keeps the source in its registry, makes the function of it anew in other processes, and takes a
    view for changed when it has changed; so it says all that the view is.
    """
    said = msgspec.json.encode(view).decode()

    def function(columns: Columns) -> dict[str, list[Value]]:
        return transform(said, utc_offset, columns)

    function.__name__ = view.name
    return function, _SOURCE.format(name=view.name, view=said, utc_offset=utc_offset)


def transform(view: str, utc_offset: int, columns: Columns) -> dict[str, list[Value]]:
    """Columns of inputs, of the customers' features and of `as_of` made columns of the features of `view` (JSON)."""
    read = _view(view)
    needed = [*read.inputs, *read.denominators]
    rows = [
        request_values(read.features, given, given, int(as_of), utc_offset)
        for i, as_of in enumerate(columns[AS_OF])
        for given in [{name: columns[name][i] for name in needed}]
    ]
    return {feature.name: [row[j] for row in rows] for j, feature in enumerate(read.features)}


@lru_cache(maxsize=32)
def _view(said: str) -> RequestView:
    return msgspec.json.decode(said, type=RequestView)
