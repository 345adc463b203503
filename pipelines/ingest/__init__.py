"""Files of a source become events of the lake: stage, then commit or discard; check only looks."""

from pipelines.ingest.preview import Preview, check
from pipelines.ingest.quarantine_show import QuarantineContent, show
from pipelines.ingest.report import IngestReport, ReconciliationError
from pipelines.ingest.steps import StagedBatch, commit, discard, stage

__all__ = [
    "IngestReport",
    "Preview",
    "QuarantineContent",
    "ReconciliationError",
    "StagedBatch",
    "check",
    "commit",
    "discard",
    "show",
    "stage",
]
