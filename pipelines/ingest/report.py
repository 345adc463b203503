"""What an ingest did, in numbers that add up."""

from __future__ import annotations

from dataclasses import dataclass


class ReconciliationError(RuntimeError):
    """Rows were lost or counted twice: a fault of the program. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a file and what became of them; read = accepted + duplicate + quarantined.

    `events` (canonical name to number), `anonymous` and `differing` count events, all else rows.
    """

    read: int
    accepted: int
    duplicate: int
    quarantined: int
    events: dict[str, int]
    anonymous: int
    differing: int
    reasons: dict[str, int]

    def __post_init__(self) -> None:
        if self.read != self.accepted + self.duplicate + self.quarantined:
            raise ReconciliationError(
                f"read {self.read} rows, but accepted {self.accepted}, duplicate {self.duplicate},"
                f" quarantined {self.quarantined}"
            )


@dataclass(frozen=True, slots=True)
class IngestReport:
    """One file's way into the lake. Rows reconcile: read = accepted + duplicate + quarantined.

    `events` holds the events stored now by canonical name, `reasons` quarantined rows by reason (a
    row may have several), `differing` the duplicate events that say otherwise than what is stored.
    """

    source: str
    file: str
    read: int
    accepted: int
    duplicate: int
    quarantined: int
    events: dict[str, int]
    anonymous: int
    differing: int
    reasons: dict[str, int]
    lake_version: int | None
    quarantine: str | None
    seconds: float

    def lines(self) -> list[str]:
        """The report for a person, one line an entry."""
        told = [
            f"{self.source}: {self.file}",
            f"{self.read:,} rows read = {self.accepted:,} accepted + {self.duplicate:,} duplicate"
            f" + {self.quarantined:,} quarantined",
        ]
        total = sum(self.events.values())
        if total:
            told.append(f"{total:,} events stored ({self.anonymous:,} anonymous), lake version {self.lake_version}")
            told += [f"  {name}: {count:,}" for name, count in self.events.items()]
        else:
            version = "empty" if self.lake_version is None else f"at version {self.lake_version}"
            told.append(f"nothing new; the lake stays {version}")
        if self.differing:
            told.append(f"{self.differing:,} duplicate events differ from what is stored; the stored one stays")
        if self.quarantine:
            told.append(f"quarantined rows: {self.quarantine} (mend them and ingest that file)")
            told += [f"  {reason}: {count:,}" for reason, count in self.reasons.items()]
        speed = self.read / self.seconds if self.seconds else 0.0
        return [*told, f"took {self.seconds:.1f} s, {speed:,.0f} rows/s"]

    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines())
