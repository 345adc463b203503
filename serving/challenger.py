"""A version that answers in the shadow of a champion: it is scored on what was served, and nobody is told.

It reads what the champion read, and nothing else, so it costs no request and no read, and is compared on the very same
state. One that reads other features, or those of another spec, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.model_store import challenger_name, stored_version
from serving.api.errors import ApiError, ErrorDetail
from serving.champion import Champion, StoredChampion, find_champion
from serving.model_checks import check_inputs, loaded


@dataclass(frozen=True, slots=True)
class Challenger:
    """A version and its model, or the `error` that has it left out.

    `places` are those of its features among the champion's. Threads may share it.
    """

    version: str
    model: Champion | None = None
    places: tuple[int, ...] = ()
    error: ApiError | None = None

    def predict(self, features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log-odds and probabilities, shape (n,) each, of what the champion read, shape (n, f) in its order.

        Raises:
            ValueError: it is left out.
        """
        if self.model is None:
            raise ValueError("a challenger that is left out")
        columns = self.model.columns(np.ascontiguousarray(features[:, self.places]))
        return self.model.scores(columns), self.model.probabilities(columns)


def find_challenger(bentoml_home: Path, champion: Champion) -> Challenger | None:
    """The challenger that the store has for a champion; None where there is none, or it is the champion itself."""
    name = challenger_name(champion.model)
    version = stored_version(bentoml_home, name)
    if version is None or version == champion.version:
        return None
    try:
        stored = replace(find_champion(bentoml_home, name), model=champion.model)
        check_inputs(stored)
        places = _places(stored, champion)
        return Challenger(version, loaded(stored), places)
    except ApiError as error:
        # Without what stood where it was raised, which would be kept with it.
        error.__cause__ = error.__context__ = None
        return Challenger(version, error=error.with_traceback(None))


def _places(stored: StoredChampion, champion: Champion) -> tuple[int, ...]:
    """Raises ApiError (503) where it reads something that the champion does not."""
    if stored.spec_hash != champion.spec_hash:
        raise _apart(stored, "spec_hash", champion.spec_hash, stored.spec_hash)
    place = {name: at for at, name in enumerate(champion.features)}
    lacking = [name for name in stored.features if name not in place]
    if lacking:
        got = f"{len(lacking)} others: {', '.join(lacking[:5])}"
        raise _apart(stored, "features", "features that the champion reads", got)
    return tuple(place[name] for name in stored.features)


def _apart(stored: StoredChampion, field: str, expected: str, got: str) -> ApiError:
    hint = "it can be made champion all the same, and then reads its own: `twin promote`"
    text = f"version {stored.version} of the model {stored.model} does not read what its champion reads"
    return ApiError(503, "challenger_mismatch", text, [ErrorDetail(field=field, expected=expected, got=got, hint=hint)])
