"""SQL that folds the rows of one event into one value, for events of many rows and of one."""

from __future__ import annotations

from typing import Protocol


class Fold(Protocol):
    """Each method takes SQL over a row and gives SQL over an event."""

    def first(self, value: str) -> str:
        """Of the first row that has a value."""

    def earliest(self, value: str) -> str: ...

    def latest(self, value: str) -> str: ...

    def total(self, value: str) -> str:
        """Sum; null where no row has a value."""

    def rows(self) -> str: ...

    def every(self, condition: str) -> str:
        """Does the condition hold in each row? Null does not hold."""

    def conflict(self, value: str) -> str:
        """Do two rows have different values?"""

    def entries(self, json: str) -> str:
        """The rows' JSON texts, in order, separated by commas."""


class ManyRows:
    """The rows of a group."""

    def first(self, value: str) -> str:
        return f"arg_min({value}, row)"

    def earliest(self, value: str) -> str:
        return f"min({value})"

    def latest(self, value: str) -> str:
        return f"max({value})"

    def total(self, value: str) -> str:
        return f"sum({value})"

    def rows(self) -> str:
        return "count(*)"

    def every(self, condition: str) -> str:
        return f"bool_and(coalesce({condition}, false))"

    def conflict(self, value: str) -> str:
        return f"coalesce(min({value}) <> max({value}), false)"

    def entries(self, json: str) -> str:
        # The same as string_agg(... ORDER BY row), which sorts each group at a higher cost.
        pairs = f"list_sort(list({{'row': row, 'entry': {json}}}))"
        return f"array_to_string(list_transform({pairs}, lambda pair: pair.entry), ',')"


class OneRow:
    """A row that is an event by itself: no aggregation, so that long files stream."""

    def first(self, value: str) -> str:
        return value

    earliest = latest = total = entries = first

    def rows(self) -> str:
        return "1"

    def every(self, condition: str) -> str:
        return f"coalesce({condition}, false)"

    def conflict(self, value: str) -> str:
        return "false"
