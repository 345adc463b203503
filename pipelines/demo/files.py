"""Writing the exports so that the same rows give the same bytes, and the untidiness of their order."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.demo.clock import DAY
from pipelines.demo.config import DemoConfig
from pipelines.demo.randomness import uniforms
from pipelines.demo.tables import Columns, pick

_FARTHEST_DAYS = 3


def write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One object a line; a name that ends in `.gz` is compressed, without a time stamp of its own."""
    encode = msgspec.json.Encoder().encode
    _write(path, b"\n".join([*map(encode, rows), b""]))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> None:
    """A header and rows; None is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _write(path, buffer.getvalue().encode("utf-8"))


def _write(path: Path, data: bytes) -> None:
    if path.name.endswith(".gz"):
        buffer = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=4) as packed:
            packed.write(data)
        data = buffer.getvalue()
    path.write_bytes(data)


def untidy(config: DemoConfig, source: str, rows: Columns, arrived: NDArray[np.int64]) -> Columns:
    """Rows as an export has them: by arrival, some of them misplaced by up to 3 days, some of them twice.

    Which ones depends on the seed and the row's number alone. A second copy stands up to 3 days later.
    """
    numbers = rows["number"]
    moved = uniforms(config.seed, f"{source} moved", numbers) < config.export.displaced_share
    place = arrived + moved * _later(config, f"{source} place", numbers)
    twice = np.flatnonzero(uniforms(config.seed, f"{source} twice", numbers) < config.export.duplicate_share)
    again = arrived[twice] + _later(config, f"{source} again", numbers[twice])
    which = np.concatenate([np.arange(len(numbers)), twice])
    return pick(rows, which[np.lexsort((numbers[which], np.concatenate([place, again])))])


def _later(config: DemoConfig, purpose: str, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return (uniforms(config.seed, purpose, numbers) * _FARTHEST_DAYS * DAY).astype(np.int64)
