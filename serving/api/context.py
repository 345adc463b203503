"""What a call brings along for features that are known only when it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from feature_repo.extract import whole_number
from serving.api.errors import ApiError, ErrorDetail

Context = Mapping[str, int | str | None]


def check_context(context: Context, inputs: Mapping[str, Literal["integer", "text"]], model: str) -> None:
    """Raises ApiError (400) with every entry that is none of the model's `inputs`, or of another kind."""
    problems = [detail for name, value in context.items() if (detail := _problem(name, value, inputs))]
    if problems:
        raise ApiError(400, "invalid_context", f"the model {model} cannot read this context", problems)


def check_contexts(context: Context, of_models: Sequence[Mapping[str, Literal["integer", "text"]]], all: bool) -> None:
    """The same of several models, each with its inputs, of which one at least has to read an entry.

    Unless these are not `all` models that were asked: then it may be an entry of another one.
    """
    known = {name for inputs in of_models for name in inputs}
    problems: list[ErrorDetail] = []
    for name, value in context.items():
        if name in known:
            of_each = (_problem(name, value, inputs) for inputs in of_models if name in inputs)
            problems += [detail for detail in of_each if detail][:1]
        elif all:
            expected = f"one of: {', '.join(sorted(known))}" if known else "no context: the models read none"
            problems.append(ErrorDetail(field="context", expected=expected, got="another name"))
    if problems:
        raise ApiError(400, "invalid_context", "the models cannot read this context", problems)


def _problem(name: str, value: int | str | None, inputs: Mapping[str, str]) -> ErrorDetail | None:
    kind = inputs.get(name)
    if kind is None:
        known = ", ".join(inputs)
        expected = f"one of: {known}" if known else "no context: the model reads none"
        return ErrorDetail(field="context", expected=expected, got="another name")
    if value is None or (isinstance(value, str) if kind == "text" else whole_number(value) is not None):
        return None
    expected = "a text" if kind == "text" else "a whole number of at most 10^12 in size"
    return ErrorDetail(field=f"context.{name}", expected=expected, got="something else")
