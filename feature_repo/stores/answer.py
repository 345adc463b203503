"""Feast's answer to an online read, filled for all views at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feast import FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.state.read import FeatureValue


@dataclass(frozen=True, slots=True)
class Asked:
    """Features of one view. `prefix` stands before their names in the answer."""

    view: FeatureView
    names: tuple[str, ...]
    prefix: str

    @property
    def answered(self) -> list[str]:
        return [f"{self.prefix}{name}" for name in self.names]


def fill(
    response: GetOnlineFeaturesResponse, asked: Iterable[Asked], rows: Sequence[Sequence[FeatureValue]], as_of: int
) -> None:
    """Put `rows` (one a customer, the features of all of `asked` after each other) into `response`.

    Every value is present, an empty one too: a customer nobody has seen has the features of one without events.
    """
    # Instants and statuses are the same for every feature: made once, and copied by the parser.
    frame = GetOnlineFeaturesResponse.FeatureVector(statuses=[FieldStatus.PRESENT] * len(rows))
    for _ in rows:
        frame.event_timestamps.add().FromMicroseconds(as_of)
    content = frame.SerializeToString()
    for of_view in asked:
        response.metadata.feature_names.val.extend(of_view.answered)
    for column in zip(*rows, strict=True):
        vector = response.results.add()
        vector.ParseFromString(content)
        vector.values.extend(map(to_proto, column))


def to_proto(value: FeatureValue) -> Value:
    """A value as Feast hands it out; an empty message where it is empty."""
    if value is None:
        return Value()
    if isinstance(value, str):
        return Value(string_val=value)
    return Value(int64_val=value) if isinstance(value, int) else Value(double_val=value)
