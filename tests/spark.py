"""Spark for tests that want it: one small local session for all of them, which must start in CI; elsewhere they are
skipped by name."""

from __future__ import annotations

import importlib.util
import os
import shutil
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Small data, each query run once: one task a step, and a quick compiler rather than a thorough one.
CONF = {
    "spark.master": "local[2]",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    # Another zone and mode than the store's, which must not depend on them.
    "spark.sql.session.timeZone": "Asia/Bangkok",
    "spark.sql.ansi.enabled": "false",
}


@cache
def spark_session() -> SparkSession:
    """The session of all tests."""
    missing = _missing()
    if missing and os.environ.get("CI") == "true":
        raise RuntimeError(f"CI has to run the tests of Spark: no {missing}")
    if missing:
        pytest.skip(f"no Spark here: no {missing}")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for name, value in CONF.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _missing() -> str:
    if importlib.util.find_spec("pyspark") is None:
        return "PySpark (extra `spark`)"
    java = shutil.which("java") or os.environ.get("JAVA_HOME")
    return "" if java else "Java (java on the path, or JAVA_HOME)"
