"""Whether traces are sent, and what that needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from feature_repo.configuration import ConfigurationError
from pipelines.settings import CHECKOUT
from serving.observing import tracing


@pytest.mark.parametrize(
    ("profile_says", "environment", "wanted"),
    [
        (False, {}, False),
        (True, {}, True),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        (False, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_traces_are_sent_where_that_is_configured(
    profile_says: bool, environment: dict[str, str], wanted: bool
) -> None:
    assert tracing.is_wanted(profile_says, environment) == wanted


def test_without_the_exporter_a_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "EXPORTER", "opentelemetry.exporter.there_is_none.trace_exporter")
    with pytest.raises(ConfigurationError) as caught:
        tracing.check_exporter(True)
    assert "customer-twin[tracing]" in str(caught.value)
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    tracing.check_exporter(False)


def test_where_they_are_off_no_exporter_is_imported_and_a_span_is_nothing() -> None:
    code = """
import sys
import serving.service
from serving.observing.tracing import span
with span("a") as made:
    assert made is None
assert span("a") is span("b")
assert not any(name.startswith("opentelemetry.exporter") for name in sys.modules), "an exporter was imported"
"""
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, timeout=300)
