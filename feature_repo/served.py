"""What was served: one prediction, with all that is needed to compute it again.

A log of them is JSON lines; each line is one of the records here. Whole numbers are read back as whole numbers
and floats to the last bit. Instants are int64 microseconds UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec


class FeatureList(msgspec.Struct, frozen=True, tag_field="kind", tag="features"):
    """The features that a version of a model reads, in its order. Vectors name it by `id`, a hash of the rest.

    It stands in a file before the first vector that names it, and holds nothing of any customer.
    """

    id: str
    model: str
    version: str
    spec_hash: str
    features: tuple[str, ...]


class ShadowScore(msgspec.Struct, frozen=True):
    """What another version would have answered to the same features; `score` is in log-odds. Nobody was told."""

    model: str
    version: str
    score: float
    probability: float


class ServedVector(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="served"):
    """One customer's features as they were read for a prediction, and what was answered.

    `position` and `revision` are those of the state that was read: which events of the log were in it, and which
    events were the customer's (see `state.storage`). `reads` is the id of a `FeatureList`. `served_at` is the machine's
    clock before the read, `as_of` the instant that was asked for.

    `probability` is what was answered, `score` the same in log-odds, before the link function. `contributions` are
    there where reasons were: one for each column of the model in log-odds, the base value last. `context` is what the
    call brought along.
    """

    request_id: str
    customer_id: str
    served_at: int
    as_of: int
    position: int
    revision: int
    reads: str
    values: Sequence[int | float | str | None]
    probability: float
    score: float
    contributions: Sequence[float] | None = None
    context: Mapping[str, int | str | None] = {}
    shadow: Sequence[ShadowScore] = ()


class LostVectors(msgspec.Struct, frozen=True, tag_field="kind", tag="lost"):
    """How many vectors were not written, since the process began or the line before that said so."""

    count: int
    until: int


Record = FeatureList | ServedVector | LostVectors

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def feature_list(model: str, version: str, spec_hash: str, features: Sequence[str]) -> FeatureList:
    """The list of a model's version."""
    content = msgspec.json.encode([model, version, spec_hash, features])
    return FeatureList(hashlib.sha256(content).hexdigest()[:16], model, version, spec_hash, tuple(features))


def encode_line(record: Record) -> bytes:
    """One line, its end included."""
    return _encoder.encode(record) + b"\n"


def decode_line(line: bytes) -> Record | None:
    """The record of a line; None of a line that is torn or of another kind."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
