"""Importing packages that check types at run time without the wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typeguard


@contextmanager
def uninstrumented() -> Iterator[None]:
    """What is imported within is not recompiled by typeguard to check the types of each call.

    It is what `python -O` does (typeguard's documentation of `typechecked`). Of the import of Feast it is two thirds,
    about 3 s that each command would wait for.
    """
    known = typeguard.typechecked
    typeguard.typechecked = _as_it_is
    try:
        yield
    finally:
        typeguard.typechecked = known


def _as_it_is(target: Any = None, **options: Any) -> Any:
    return target if target is not None else _as_it_is
