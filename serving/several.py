"""Several models asked of the same customers at one instant, with one read of each version of the features.

A single call of a model at the same instant gives the same bits: a feature does not depend on what is read beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from feature_repo.state.read import AsOfTooEarly, FeatureValue
from serving.api.context import Context, check_contexts
from serving.api.errors import ApiError
from serving.features import FeatureReader, FeatureRows
from serving.instant import check_instant
from serving.observing.tracing import span
from serving.predictor import NO_CONTEXT, SLICE, Prediction, Predictor, Read, empty_state

# What each shared read found of the same customers.
_Rows: TypeAlias = Sequence[FeatureRows]


@dataclass(frozen=True, slots=True)
class Member:
    """A predictor, the place of its answer, and the places of its features among those that are read.

    `places` is None where they are what is read.
    """

    at: int
    predictor: Predictor
    places: tuple[int, ...] | None

    def predict(self, customer_ids: Sequence[str], rows: FeatureRows, reasons: bool) -> list[Prediction]:
        """In the order of `customer_ids`, a row each. Raises as `Predictor.predict`."""
        reads = [Read(self._own(rows.values[i]), rows.positions[i], rows.revisions[i]) for i in _known(rows)]
        known = [customer_ids[i] for i in _known(rows)]
        matrix = np.array([read.values for read in reads], dtype=np.float64)
        predictions = self.predictor.predict(known, matrix, reads, reasons)
        if len(predictions) == len(customer_ids):
            return predictions
        of_known = dict(zip(_known(rows), predictions, strict=True))
        return [of_known.get(i) or Prediction(customer, None) for i, customer in enumerate(customer_ids)]

    def _own(self, values: Sequence[FeatureValue]) -> Sequence[FeatureValue]:
        return values if self.places is None else [values[at] for at in self.places]


def _known(rows: FeatureRows) -> list[int]:
    """The places of customers who have a state."""
    return [i for i, is_known in enumerate(rows.found) if is_known]


@dataclass(frozen=True, slots=True)
class SharedRead:
    """The features of all models of one spec. `now` gives the as-of instant in int64 microseconds UTC, or None."""

    reader: FeatureReader
    now: Callable[[], int | None]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Several:
    """Predictors of different models, in the order asked; for the thread that their readers are of."""

    predictors: tuple[Predictor, ...]
    reads: tuple[SharedRead, ...]

    def instant(self) -> int:
        """The as-of instant of reads that begin now, that of the newest state. Raises ApiError: 503, there is none."""
        known = [as_of for read in self.reads if (as_of := read.now()) is not None]
        if not known:
            raise empty_state()
        return max(known)

    def check(self, context: Context, all_known: bool) -> None:
        """Raises ApiError (400) for a context that no model reads, or that one reads as another kind.

        A name that nobody reads is let pass where not `all_known`: it may be of a model that cannot answer.
        """
        if context:
            check_contexts(context, [predictor.reader.inputs for predictor in self.predictors], all_known)

    def one(self, customer_id: str, reasons: bool, context: Context = NO_CONTEXT) -> tuple[int, list[Prediction]]:
        """The as-of instant and each model's prediction of one customer (see `check`), on the calling thread.

        Raises:
            ApiError: 503, the states are empty, or far ahead of the clock.
        """
        with span("features.read"):
            as_of, rows = self._read([customer_id], context)
        self._check_not_empty(rows)
        with span("model.predict"):
            return as_of, [answers[0] for answers in self._predict([customer_id], rows, reasons)]

    async def many(
        self, customer_ids: Sequence[str], reasons: bool, context: Context = NO_CONTEXT
    ) -> tuple[int, list[list[Prediction]]]:
        """The as-of instant of all and, model by model, the predictions in the order of `customer_ids`.

        Reads in slices on the loop, so that single requests get their turn, and computes in a thread.

        Raises:
            ApiError: 503, the states are empty, or far ahead of the clock.
        """
        some = [customer_ids[start : start + SLICE] for start in range(0, len(customer_ids), SLICE)]
        try:
            as_of, slices = self.instant(), list[_Rows]()
            with span("features.read"):
                for ids in some:
                    slices.append(self._read_at(ids, as_of, context))
                    await asyncio.sleep(0)
        except AsOfTooEarly:
            slices = []
        newest = max((at for of_slice in slices for rows in of_slice for at in rows.newest), default=None)
        # What came in meanwhile is left to the next call; what is newer than even now tells of a clock that went back.
        if some and (newest is None or newest >= self.instant()):
            as_of, read_again = self._read(customer_ids, context)
            some, slices = [customer_ids], [read_again]
        if slices:
            self._check_not_empty([rows for of_slice in slices for rows in of_slice])
        with span("model.predict"):
            return as_of, await asyncio.to_thread(self._predict_slices, some, slices, reasons)

    def _read(self, customer_ids: Sequence[str], context: Context) -> tuple[int, _Rows]:
        """Now, or just after the newest arrival where the clock is behind that; all at one instant.

        Raises:
            ApiError: 503, the states are empty, or far ahead of the clock.
        """
        now = as_of = self.instant()
        while True:
            read = [one.reader.read_from(customer_ids, as_of, context) for one in self.reads]
            latest = max(at for at, _ in read)
            if all(at == latest for at, _ in read):
                return check_instant(latest, now), [rows for _, rows in read]
            # An event came in between: what was read at an earlier instant is read again.
            as_of = latest

    def _read_at(self, customer_ids: Sequence[str], as_of: int, context: Context) -> _Rows:
        return [read.reader.read(customer_ids, as_of, context) for read in self.reads]

    def _check_not_empty(self, read: _Rows) -> None:
        """A customer is unknown only to a state that knows others. Raises ApiError (503)."""
        if not any(any(rows.found) for rows in read) and all(read.reader.data_end() is None for read in self.reads):
            raise empty_state()

    def _predict(self, customer_ids: Sequence[str], read: _Rows, reasons: bool) -> list[list[Prediction]]:
        """Model by model, in the order asked. Raises as `Predictor.predict`."""
        answers: list[list[Prediction]] = [[] for _ in self.predictors]
        for shared, rows in zip(self.reads, read, strict=True):
            for member in shared.members:
                answers[member.at] = member.predict(customer_ids, rows, reasons)
        return answers

    def _predict_slices(
        self, some: Sequence[Sequence[str]], slices: Sequence[_Rows], reasons: bool
    ) -> list[list[Prediction]]:
        of_slices = [self._predict(ids, rows, reasons) for ids, rows in zip(some, slices, strict=True)]
        return [[one for answers in of_slices for one in answers[at]] for at in range(len(self.predictors))]


def several(predictors: Sequence[Predictor]) -> Several:
    """The predictors, each spec read by one reader of what they read together. Opens no store anew."""
    of_spec: dict[str, list[int]] = {}
    for at, predictor in enumerate(predictors):
        of_spec.setdefault(predictor.champion.spec_hash, []).append(at)
    reads = [_shared_read({at: predictors[at] for at in places}) for places in of_spec.values()]
    return Several(tuple(predictors), tuple(reads))


def _shared_read(predictors: Mapping[int, Predictor]) -> SharedRead:
    first = next(iter(predictors.values()))
    names = tuple(dict.fromkeys(name for one in predictors.values() for name in one.champion.features))
    place = {name: at for at, name in enumerate(names)}
    reader = first.reader if names == first.champion.features else first.reader.of(names)
    members = tuple(
        Member(at, one, None if one.champion.features == names else tuple(place[f] for f in one.champion.features))
        for at, one in predictors.items()
    )
    return SharedRead(reader, first.now, members)


@dataclass(frozen=True, slots=True)
class AskedModels:
    """What a call of several models found: those that can answer, and why each of the others cannot.

    Of `models`, in the order asked, `errors` has the error or None. At least one can answer.
    """

    models: tuple[str, ...]
    errors: tuple[ApiError | None, ...]
    several: Several

    @property
    def all_known(self) -> bool:
        return not any(self.errors)


def unanswered(error: ApiError, at: int) -> ApiError:
    """An error about one model of a call, for an item: its field is that model's place."""
    details = [
        detail.model_copy(update={"field": f"models.{at}"}) if detail.field == "model" else detail
        for detail in error.details
    ]
    return ApiError(error.status, error.code, error.message, details, error.headers)
