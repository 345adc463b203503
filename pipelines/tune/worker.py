"""One of the processes that tune side by side: `python -m pipelines.tune.worker FOLDER NUMBER`."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.artefacts import read_json
from pipelines.boosting import parameters
from pipelines.settings.models import TuneConfig
from pipelines.tune.folds import load_folds
from pipelines.tune.study import storage_of
from pipelines.tune.trials import Bench, search_all

JOB = "job.json"


def main(folder: Path, number: int) -> None:
    """Do the job that the parent left in `folder`, on one thread."""
    job = read_json(folder / JOB)
    config = TuneConfig.model_validate(job["config"])

    @contextmanager
    def asking() -> Iterator[None]:
        with (folder / "asking").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    folds = load_folds(folder, config.seed)
    settings = parameters({"num_threads": 1, **job["fixed"]}, config.seed, job["rows"])
    bench = Bench(folds, settings, number, asking, lambda: None)
    search_all(storage_of(Path(job["journal"])), job["study"], config, bench)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
