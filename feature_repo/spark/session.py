"""The Spark session that feature SQL runs in: that of the caller or of the configuration, made strict."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from pyspark.sql import DataFrame, SparkSession

# What the translated SQL relies on, whatever the cluster's own settings are.
_STRICT = {
    # Overflow and bad casts raise instead of giving a value.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    "spark.sql.ansi.enforceReservedKeywords": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    "spark.sql.parser.escapedStringLiterals": "false",
    # Feast's own Spark store turns it on; names in backticks are regular expressions then.
    "spark.sql.parser.quotedRegexColumnNames": "false",
    "spark.sql.groupByAliases": "true",
    # Instants before 1900 are as they were written, not moved between calendars.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    # A JSON object with a key twice has no one value: it raises.
    "spark.sql.variant.allowDuplicateKeys": "false",
}


def open_session(settings: Mapping[str, str]) -> SparkSession:
    """The active session of the caller, else one with the Spark `settings`."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    builder = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def private_session(session: SparkSession) -> SparkSession:
    """A session over the same cluster, with settings and temporary views that are not the caller's."""
    private = session.newSession()
    for name, value in (session.conf.getAll | _STRICT).items():
        if private.conf.isModifiable(name):
            private.conf.set(name, value)
    return private


def share(frame: DataFrame, private: SparkSession, name: str) -> None:
    """Make `frame`, of another session, the temporary view `name` of `private`.

    Frames are made by the caller's session, as the one that makes a frame becomes the active one.
    """
    passed = f"twin_{uuid4().hex}"
    frame.createGlobalTempView(passed)
    try:
        private.table(f"global_temp.{passed}").createOrReplaceTempView(name)
    finally:
        frame.sparkSession.catalog.dropGlobalTempView(passed)
