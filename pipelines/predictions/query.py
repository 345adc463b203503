"""Served predictions looked up in the log, also of a service that runs: files are read as they are, without a lock."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from feature_repo.configuration import Problem
from feature_repo.served import FeatureList, ServedVector
from pipelines.console import UserError
from pipelines.identity.store import open_identity
from pipelines.privacy.person import UnknownCustomer, find_person
from pipelines.served_log import log_files, served_in
from pipelines.settings import Settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: `customers` are ids, None means all; instants of serving are int64 microseconds UTC."""

    customers: Collection[str] | None = None
    model: str | None = None
    since: int | None = None
    until: int | None = None

    def fits(self, vector: ServedVector, reads: FeatureList | None) -> bool:
        """Whether a prediction is one that is wanted; `until` is not included."""
        return (
            (self.customers is None or vector.customer_id in self.customers)
            and (self.model is None or (reads is not None and reads.model == self.model))
            and (self.since is None or vector.served_at >= self.since)
            and (self.until is None or vector.served_at < self.until)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Predictions of the log, the newest first, as `told` has them; `text` is a line of each."""

    predictions: tuple[dict[str, Any], ...]

    def text(self) -> str:
        """A table for a person."""
        lines = [
            f"{one['served_at']}  {one['request_id']:<32}  {one['customer_id']:<20}  {one['model'] or '?'}"
            f" {one['version'] or '?'}  {one['probability']:.4f}" + ("  with reasons" if one["contributions"] else "")
            for one in self.predictions
        ]
        return "\n".join(lines) if lines else "No prediction of that kind is in the log."


@dataclass(frozen=True, slots=True)
class Shown:
    """All of what one request was answered."""

    predictions: tuple[dict[str, Any], ...]

    def text(self) -> str:
        """For a person: what was read, answered and, where reasons were given, what each column added."""
        return "\n\n".join("\n".join(_lines(one)) for one in self.predictions)


def ids_of(settings: Settings, customer: str) -> frozenset[str]:
    """Every customer id that ever stood for whom `customer` names, which is any id they had."""
    try:
        person = find_person(settings, open_identity(settings), None, customer)
    except UnknownCustomer:
        # The log may have somebody of whom no event is there any more.
        return frozenset({customer})
    return frozenset({customer, *person.customer_ids})


def list_predictions(settings: Settings, wanted: Wanted, limit: int) -> Found:
    """The newest `limit` predictions that are wanted."""
    found: list[tuple[ServedVector, FeatureList | None]] = []
    for day in _days(settings.workspace.served, wanted):
        fitting = (pair for pair in served_in(day) if wanted.fits(*pair))
        found += heapq.nlargest(limit - len(found), fitting, key=lambda pair: (pair[0].served_at, pair[0].request_id))
        if len(found) >= limit:
            break
    return Found(tuple(told(*pair) for pair in found))


def show_prediction(settings: Settings, request_id: str) -> Shown:
    """What a request was answered: one prediction, or those of all customers it asked for.

    Raises:
        UserError: it is not in the log.
    """
    for day in _days(settings.workspace.served, Wanted()):
        found = [told(*pair) for pair in served_in(day) if pair[0].request_id == request_id]
        if found:
            return Shown(tuple(found))
    hint = "`twin predictions list` tells ids; a line is written within a second, and kept for `served_log.keep_days`"
    raise UserError("the request is not in the log", [Problem("REQUEST_ID", "a request's id", request_id, hint)])


def told(vector: ServedVector, reads: FeatureList | None) -> dict[str, Any]:
    """A prediction in JSON types, values by name where the log has the names.

    Contributions are in the order of the model's columns, of which the log has no names; the base value is last.
    """
    values: Any = list(vector.values)
    if reads is not None:
        values = dict(zip(reads.features, vector.values, strict=True))
    return {
        "request_id": vector.request_id,
        "customer_id": vector.customer_id,
        "model": reads.model if reads else None,
        "version": reads.version if reads else None,
        "spec_hash": reads.spec_hash if reads else None,
        "served_at": iso(vector.served_at),
        "as_of": iso(vector.as_of),
        "position": vector.position,
        "revision": vector.revision,
        "probability": vector.probability,
        "score": vector.score,
        "context": dict(vector.context),
        "values": values,
        "contributions": None if vector.contributions is None else list(vector.contributions),
        "shadow": msgspec.to_builtins(vector.shadow),
    }


def iso(instant: int) -> str:
    """ISO 8601 in UTC, of int64 microseconds."""
    return (_EPOCH + timedelta(microseconds=instant)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def instant(text: str, field: str) -> int:
    """Int64 microseconds UTC of a day or an instant in ISO 8601; UTC where it names no zone. Raises UserError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        problem = Problem(field, "a day or an instant such as 2026-06-01 or 2026-06-01T12:00:00Z", text)
        raise UserError("it is not clear which instant is meant", [problem]) from None
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def _days(folder: Path, wanted: Wanted) -> Iterator[list[Path]]:
    """The files of each day that can hold what is wanted, newest day first: no line is older than its prediction."""
    for day, files in groupby(reversed(log_files(folder)), key=lambda file: file.name[:10]):
        if wanted.since is None or day >= iso(wanted.since)[:10]:
            yield list(files)


def _lines(one: dict[str, Any]) -> list[str]:
    reasons = one["contributions"]
    lines = [
        f"request {one['request_id']}: customer {one['customer_id']}, served {one['served_at']}",
        f"  {one['model']} version {one['version']}: probability {one['probability']!r}, log-odds {one['score']!r}",
        f"  as of {one['as_of']}, position {one['position']}, revision {one['revision']}, spec {one['spec_hash']}",
    ]
    if one["context"]:
        lines.append(f"  the call brought along {one['context']}")
    lines += [f"  shadow: {s['model']} version {s['version']}: {s['probability']!r}" for s in one["shadow"]]
    if reasons:
        lines.append(
            f"  with reasons: {len(reasons) - 1} contributions, base value {reasons[-1]!r}, sum {sum(reasons)!r}"
        )
    values = one["values"].items() if isinstance(one["values"], dict) else enumerate(one["values"])
    return [*lines, *(f"    {name}: {value!r}" for name, value in values)]
