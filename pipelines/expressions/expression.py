"""A checked expression over names: what rules of eligibility and of value are written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Kind: TypeAlias = Literal["boolean", "number", "text"]
# None is unknown, as an empty feature is.
Value: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Expression:
    """`names` are those that it reads, other rules' included, `kind` is what comes out.

    Logic is that of SQL: a comparison with what is empty is unknown (None), `a and b` is False where one is False.
    """

    text: str
    kind: Kind
    names: tuple[str, ...]

    def value(self, scope: Mapping[str, Value]) -> Value:
        """Of one customer. Names that `scope` lacks are empty."""
        raise NotImplementedError

    def column(self, scope: Mapping[str, NDArray[Any]], rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of many customers: values, shape (rows,), and which of them are known, bool (rows,).

        Columns of `scope`: float64 with NaN for empty, or object with text and None.
        """
        raise NotImplementedError
