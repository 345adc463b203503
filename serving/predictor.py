"""Customer ids to features to probabilities to reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from feature_repo.reasons import Reason, check_additive, reason_codes
from feature_repo.state.read import AsOfTooEarly, FeatureValue
from pipelines.events.spec_lease import SpecLease
from serving.api.context import Context, check_context
from serving.api.errors import ApiError, ErrorDetail
from serving.champion import Champion, StoredChampion
from serving.features import FeatureReader, FeatureRows
from serving.observing.tracing import span

STATE_MISSING = "state_missing"
NO_CONTEXT: Context = {}
# Customers read between two turns of the event loop: short enough that single requests hardly wait.
SLICE = 16


@dataclass(frozen=True, slots=True)
class Read:
    """What a prediction was made from: the features exactly as read, and the state they were read of."""

    values: Sequence[FeatureValue]
    position: int
    revision: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of one customer: a probability and its reasons, or None where the customer is unknown."""

    customer_id: str
    probability: float | None
    in_population: bool | None = None
    reasons: tuple[Reason, ...] | None = None
    read: Read | None = None


@dataclass(frozen=True, slots=True)
class Predictor:
    """One model over one reader. `now` gives the as-of instant in int64 microseconds UTC, or None.

    While there is a `lease`, the states that the reader reads are not removed.
    """

    champion: Champion
    reader: FeatureReader
    meanings: Mapping[str, str]
    now: Callable[[], int | None] = field(repr=False)
    lease: SpecLease | None = field(default=None, repr=False)

    def instant(self) -> int:
        """The as-of instant of a read that begins now.

        Raises:
            ApiError: 503, there is no event yet.
        """
        as_of = self.now()
        if as_of is None:
            raise empty_state()
        return as_of

    def check(self, context: Context) -> None:
        """Raises ApiError (400) for a context that the model does not read."""
        if context:
            check_context(context, self.reader.inputs, self.champion.model)

    def one(self, customer_id: str, reasons: bool, context: Context = NO_CONTEXT) -> tuple[int, Prediction]:
        """The as-of instant and the prediction of one customer in this context (see `check`), on the calling thread.

        Raises:
            ApiError: 503, the state is empty, or ahead of the clock.
        """
        try:
            with span("features.read"):
                as_of = self.instant()
                rows = self.reader.read([customer_id], as_of, context)
        except AsOfTooEarly:
            as_of, rows = self._read_again([customer_id], context)
        if rows.found[0]:
            with span("model.predict"):
                return as_of, self._predict([customer_id], rows.matrix, _reads(rows), reasons)[0]
        self._check_not_empty()
        return as_of, Prediction(customer_id, None)

    async def many(
        self, customer_ids: Sequence[str], reasons: bool, context: Context = NO_CONTEXT
    ) -> tuple[int, list[Prediction]]:
        """The as-of instant of all and the predictions in the order of `customer_ids`.

        Reads in slices on the loop, so that single requests get their turn, and computes in a thread.

        Raises:
            ApiError: 503, the state is empty, or ahead of the clock.
        """
        try:
            as_of = self.instant()
            if not customer_ids:
                return as_of, []
            with span("features.read"):
                slices = await self._read_slices(customer_ids, as_of, context)
        except AsOfTooEarly:
            as_of, rows = self._read_again(customer_ids, context)
            slices = [rows]
        found = [is_known for rows in slices for is_known in rows.found]
        if not any(found):
            self._check_not_empty()
        known = [customer for customer, is_known in zip(customer_ids, found, strict=True) if is_known]
        matrix = np.concatenate([rows.matrix for rows in slices])[np.array(found, dtype=bool)]
        reads = [read for rows in slices for read in _reads(rows)]
        with span("model.predict"):
            predictions = iter(await asyncio.to_thread(self._predict, known, matrix, reads, reasons))
        return as_of, [
            next(predictions) if is_known else Prediction(customer, None)
            for customer, is_known in zip(customer_ids, found, strict=True)
        ]

    async def _read_slices(self, customer_ids: Sequence[str], as_of: int, context: Context) -> list[FeatureRows]:
        slices: list[FeatureRows] = []
        for start in range(0, len(customer_ids), SLICE):
            slices.append(self.reader.read(customer_ids[start : start + SLICE], as_of, context))
            await asyncio.sleep(0)
        return slices

    def _read_again(self, customer_ids: Sequence[str], context: Context) -> tuple[int, FeatureRows]:
        """Read at a newer instant: a new event came between the clock and the first read.

        Raises:
            ApiError: 503, the state is ahead of the clock all the same.
        """
        as_of = self.instant()
        try:
            return as_of, self.reader.read(customer_ids, as_of, context)
        except AsOfTooEarly:
            detail = ErrorDetail(
                field="clock",
                expected="an instant after the newest event",
                got="an earlier one",
                hint="check the machine's clock, and `clock` in the profile",
            )
            raise ApiError(503, "state_ahead", "the state of customers is ahead of the clock", [detail]) from None

    def _check_not_empty(self) -> None:
        """A customer is unknown only to a state that knows others. Raises ApiError (503)."""
        if self.reader.data_end() is None:
            raise empty_state()

    def _predict(
        self, customer_ids: Sequence[str], matrix: NDArray[np.float64], reads: Sequence[Read], reasons: bool
    ) -> list[Prediction]:
        """Predictions of n known customers; `matrix` holds their f features as read, shape (n, f).

        Raises:
            AdditivityError: contributions do not sum to the score; nothing of this may be served.
        """
        if not customer_ids:
            return []
        columns = self.champion.columns(matrix)
        probabilities = self.champion.probabilities(columns).tolist()
        answers = list(zip(customer_ids, probabilities, self.champion.in_population(matrix), strict=True))
        if not reasons:
            return [Prediction(*answer, None, read) for answer, read in zip(answers, reads, strict=True)]
        contributions = self.champion.contributions(columns)
        check_additive(contributions, self.champion.scores(columns))
        return [
            Prediction(*answer, self._reasons(contributions[row], columns[row]), reads[row])
            for row, answer in enumerate(answers)
        ]

    def _reasons(self, contributions: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[Reason, ...]:
        return reason_codes(contributions, values, self.champion.inputs.names, meanings=self.meanings)


def _reads(rows: FeatureRows) -> list[Read]:
    """Of the customers that were found, in order."""
    of_all = zip(rows.found, rows.values, rows.positions, rows.revisions, strict=True)
    return [Read(values, position, revision) for found, values, position, revision in of_all if found]


def empty_state() -> ApiError:
    detail = ErrorDetail(
        field="state",
        expected="at least one customer with events",
        got="none",
        hint="ingest and build the state: `twin run`",
    )
    return ApiError(503, STATE_MISSING, "the state of customers is empty", [detail])


def mismatch(champion: StoredChampion, what: str, expected: str, got: str, hint: str = "") -> ApiError:
    """The model was trained with other features than the store holds: it must not answer."""
    detail = ErrorDetail(
        field=what,
        expected=f"{expected} (of the model)",
        got=f"{got} (of the store)",
        hint=hint or "train and register the model again: `twin run`",
    )
    text = f"version {champion.version} of the model {champion.model} was trained with other features"
    return ApiError(503, "model_mismatch", text, [detail])
