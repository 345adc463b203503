"""The event table as Spark views: one version of the Delta table, and whose every event is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from feature_repo.event_table import CUSTOMER_EVENTS_VIEW, EVENT_SCHEMA
from feature_repo.membership import Membership
from feature_repo.spark.dialect import spark_sql
from feature_repo.spark.session import share

LakeFormat = Literal["files", "delta"]

# Of the features of a Delta table, those that leave its files readable as they are.
_PLAIN = {"timestampNtz"}


class LakeFormatError(ValueError):
    """A Delta table whose files alone do not say what is in it."""


def register_customer_events(
    session: SparkSession,
    private: SparkSession,
    lake: Path,
    version: int | None,
    membership: Membership | None,
    lake_format: LakeFormat = "files",
) -> None:
    """Make the view `customer_events` in `private`, as `event_table.register_customer_events` does in DuckDB.

    `files` reads the Parquet files that the table's log lists at `version` (None: the newest);
    `delta` reads through the Delta Lake package of the cluster.

    Raises:
        LakeFormatError: the table needs more than its files to be read (deletion vectors, column mapping, partitions).
    """
    table = _delta(private, lake, version) if lake_format == "delta" else _files(private, lake, version)
    table.createOrReplaceTempView("event_table")
    view = CUSTOMER_EVENTS_VIEW
    if membership is not None:
        for name, rows in membership.tables().items():
            share(session.createDataFrame(rows), private, name)
        view = membership.view_sql()
    private.sql(spark_sql(view))


def _files(session: SparkSession, lake: Path, version: int | None) -> DataFrame:
    schema = from_arrow_schema(EVENT_SCHEMA)
    table = DeltaTable(str(lake), version=version)
    _refuse_more_than_files(table)
    files = [unquote(file) for file in table.file_uris()]
    reader = session.read.schema(schema)
    return reader.parquet(*files) if files else session.sql(_no_rows())


def _no_rows() -> str:
    """A table without files has no rows; Spark reads no empty list of files."""
    columns = (
        f"CAST(NULL AS {field.dataType.simpleString()}) AS {field.name}" for field in from_arrow_schema(EVENT_SCHEMA)
    )
    return f"SELECT {', '.join(columns)} WHERE FALSE"


def _refuse_more_than_files(table: DeltaTable) -> None:
    protocol = table.protocol()
    needed = set(protocol.reader_features or ()) - _PLAIN
    if protocol.min_reader_version == 2:
        needed.add("columnMapping")
    if table.metadata().partition_columns:
        needed.add("partitions")
    if needed:
        raise LakeFormatError(
            f"the lake's files cannot be read alone, its table uses: {', '.join(sorted(needed))}; "
            "set `lake_format: delta` in offline_store, on a cluster that has the Delta Lake package"
        )


def _delta(session: SparkSession, lake: Path, version: int | None) -> DataFrame:
    reader = session.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(str(lake))
