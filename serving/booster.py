"""A LightGBM model that only predicts, through LightGBM's C API.

`import lightgbm` brings in scikit-learn, SciPy and pandas: seconds of the start and 150 MB in each worker,
none of which a prediction needs. The functions called here are the public ones of LightGBM's `c_api.h`,
in the library that the package installs; a test holds the answers equal to the package's own.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
import weakref
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Of c_api.h: C_API_DTYPE_FLOAT64, and what a prediction is.
_FLOAT64 = 1
_PROBABILITY, _RAW_SCORE, _CONTRIBUTIONS = 0, 1, 3
_LONGEST_NAME = 1024
_ONE_THREAD = b"num_threads=1"


class BoosterError(ValueError):
    """LightGBM refused: the file is not a model, or the matrix does not fit it."""


class Booster:
    """A model of k features with one score (regression or binary). Threads may share it."""

    def __init__(self, file: Path) -> None:
        """Read a model in LightGBM's text format.

        Raises:
            BoosterError: the file is not one, or the model has several scores.
        """
        self._library = _library()
        self._handle = ctypes.c_void_p()
        path, iterations = str(file).encode(), ctypes.c_int()
        self._call("LGBM_BoosterCreateFromModelfile", path, ctypes.byref(iterations), ctypes.byref(self._handle))
        weakref.finalize(self, self._library.LGBM_BoosterFree, self._handle)
        self._width = self._number("LGBM_BoosterGetNumFeature")
        if self._number("LGBM_BoosterGetNumClasses") != 1:
            raise BoosterError("a model with several scores")
        self._one_row = self._prepare_one_row()
        self._one_row_lock = threading.Lock()

    def feature_name(self) -> list[str]:
        """The names of the k features, in order."""
        buffers = [ctypes.create_string_buffer(_LONGEST_NAME) for _ in range(self._width)]
        pointers = (ctypes.c_char_p * self._width)(*(ctypes.cast(buffer, ctypes.c_char_p) for buffer in buffers))
        count, longest = ctypes.c_int(), ctypes.c_size_t()
        given = ctypes.c_int(self._width), ctypes.byref(count), ctypes.c_size_t(_LONGEST_NAME)
        self._call("LGBM_BoosterGetFeatureNames", self._handle, *given, ctypes.byref(longest), pointers)
        if longest.value > _LONGEST_NAME:
            raise BoosterError(f"a feature's name is longer than {_LONGEST_NAME} bytes")
        return [buffer.value.decode("utf-8") for buffer in buffers]

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n,) of features of shape (n, k): after the link function, for a binary model the probability.

        Raises:
            BoosterError: the matrix has another shape.
        """
        if len(matrix) == 1:
            return self._predict_one(self._rows(matrix))
        return self._predict(matrix, _PROBABILITY, 1)[:, 0]

    def raw_scores(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n,): before the link function, log-odds for a binary model. Raises as `predict`."""
        return self._predict(matrix, _RAW_SCORE, 1)[:, 0]

    def contributions(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """SHAP values of the raw score, shape (n, k + 1), base value last. Raises as `predict`."""
        return self._predict(matrix, _CONTRIBUTIONS, self._width + 1)

    def _predict(self, matrix: NDArray[np.float64], kind: int, width: int) -> NDArray[np.float64]:
        rows = self._rows(matrix)
        answers = np.empty((len(rows), width))
        if not len(rows):
            return answers
        written = ctypes.c_int64()
        self._call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            ctypes.c_void_p(rows.ctypes.data),
            _FLOAT64,
            ctypes.c_int32(len(rows)),
            ctypes.c_int32(self._width),
            1,  # rows follow each other
            kind,
            0,  # from the first tree
            -1,  # to the last
            _ONE_THREAD,
            ctypes.byref(written),
            ctypes.c_void_p(answers.ctypes.data),
        )
        if written.value != answers.size:
            raise BoosterError(f"{written.value} numbers where {answers.size} were expected")
        return answers

    def _rows(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise BoosterError(f"a matrix of shape {rows.shape} for {self._width} features")
        return rows

    def _prepare_one_row(self) -> ctypes.c_void_p:
        """What LightGBM works out once for single rows; otherwise it reads its parameters anew each time."""
        prepared = ctypes.c_void_p()
        self._call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            self._handle,
            _PROBABILITY,
            0,  # from the first tree
            -1,  # to the last
            _FLOAT64,
            ctypes.c_int32(self._width),
            _ONE_THREAD,
            ctypes.byref(prepared),
        )
        weakref.finalize(self, self._library.LGBM_FastConfigFree, prepared)
        return prepared

    def _predict_one(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        answer, written = np.empty(1), ctypes.c_int64()
        places = ctypes.c_void_p(row.ctypes.data), ctypes.byref(written), ctypes.c_void_p(answer.ctypes.data)
        with self._one_row_lock:  # what was prepared serves one thread at a time
            self._call("LGBM_BoosterPredictForMatSingleRowFast", self._one_row, *places)
        return answer

    def _number(self, function: str) -> int:
        number = ctypes.c_int()
        self._call(function, self._handle, ctypes.byref(number))
        return number.value

    def _call(self, function: str, *arguments: object) -> None:
        if getattr(self._library, function)(*arguments):
            raise BoosterError(self._library.LGBM_GetLastError().decode("utf-8", errors="replace"))


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """LightGBM's shared library, found without importing the package.

    Raises:
        OSError: it is not installed, or cannot be loaded.
    """
    package = importlib.util.find_spec("lightgbm")
    folders = package.submodule_search_locations if package else None
    found = [file for folder in folders or () for file in Path(folder, "lib").glob("lib_lightgbm.*")]
    if not found:
        raise OSError("the package lightgbm is not installed, or comes without its library")
    library = ctypes.CDLL(str(found[0]))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library
