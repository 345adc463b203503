"""What was done with a customer's data: training sets, predictions that are kept, administrative acts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from pipelines.access import AuditLog
from pipelines.privacy.person import Person
from pipelines.settings import Settings, Workspace

PERSON = "customer"
_VERSIONS = """
SELECT v.name, v.version, v.creation_time, v.run_id, json_group_object(t.key, t.value)
FROM model_versions v LEFT JOIN model_version_tags t ON t.name = v.name AND t.version = v.version
GROUP BY v.name, v.version ORDER BY v.name, v.version
"""
_TOLD = ("dataset_hash", "lake_version", "identity_version", "spec_hash")


def training_sets(workspace: Workspace, person: Person) -> list[dict[str, Any]]:
    """The rows of the customer in each model's data set that is kept, and in its test predictions."""
    found = []
    for file in sorted((workspace.root / "artefacts").glob("*/*.parquet")):
        rows = rows_of(file, person)
        if rows:
            manifest = file.with_name("dataset.json")
            about = json.loads(manifest.read_text()) if manifest.exists() else {}
            made_from = {name: about.get(name) for name in _TOLD}
            found.append({"model": file.parent.name, "file": file.name, "made_from": made_from, "rows": rows})
    return found


def rows_of(file: Path, person: Person) -> list[dict[str, Any]]:
    """Rows of a Parquet file whose `customer_id` is the person's."""
    if "customer_id" not in parquet.read_schema(file).names:
        return []
    wanted = list(person.customer_ids)
    rows: list[dict[str, Any]] = parquet.read_table(file, filters=[("customer_id", "in", wanted)]).to_pylist()
    return rows


def model_versions(workspace: Workspace, person: Person) -> list[dict[str, Any]]:
    """Every registered version, and whether the customer was in what it was trained on.

    Data sets are not kept for ever: of a version whose data set is gone, its manifest still says from which
    version of the lake and of the identity map it was made.
    """
    database = workspace.mlruns / "mlflow.db"
    if not database.exists():
        return []
    kept = dict(_kept_sets(workspace, person))
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_VERSIONS).fetchall()
    found = []
    for name, version, made_at, run_id, tags in rows:
        told = {key: json.loads(tags).get(key) for key in _TOLD}
        contained = kept.get(str(told["dataset_hash"]))
        words = {True: "yes", False: "no", None: "not known: its data set is not kept"}[contained]
        found.append(
            {
                "model": name,
                "version": str(version),
                "made_at": made_at * 1000,
                "run": run_id,
                "contained": words,
                **told,
            }
        )
    return found


def _kept_sets(workspace: Workspace, person: Person) -> Iterator[tuple[str, bool]]:
    for file in sorted((workspace.root / "artefacts").glob("*/dataset.parquet")):
        manifest = file.with_name("dataset.json")
        if manifest.exists():
            column = parquet.read_table(file, columns=["customer_id", "part"]).to_pydict()
            trained = {who for who, part in zip(column["customer_id"], column["part"], strict=True) if part == "train"}
            yield str(json.loads(manifest.read_text())["dataset_hash"]), bool(trained & set(person.customer_ids))


def audit_subjects(log: AuditLog, person: Person) -> frozenset[str]:
    """The pseudonyms under which the audit log may know the customer."""
    return frozenset(log.pseudonym(PERSON, who) for who in person.customer_ids)


def audit_entries(settings: Settings, person: Person) -> list[dict[str, Any]]:
    """Administrative acts on the customer. Raises AuditDamaged."""
    log = AuditLog(settings.workspace.audit)
    entries = log.entries()
    subjects = audit_subjects(log, person) if entries else frozenset()
    return [asdict(entry) for entry in entries if entry.subject in subjects]
