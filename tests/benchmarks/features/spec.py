"""What is measured: 60 features in 3 views, as a shop would have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import SpecFile, compile_spec

SERVICE = "bench"
ORDER, PAGE, CALL = "Order Completed", "Page Viewed", "Support Call Completed"


def _line(operation: str, windows: str, of: str | None = None) -> dict[str, Any]:
    measured = {} if of is None else {"of": of}
    return {"operation": operation, **measured, "windows": windows.split()}


def _view(name: str, event: str, features: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "description": "", "owner": "bench", "event": event, "features": features}


CONTENT: dict[str, Any] = {
    "version": 1,
    "distinct_cap": 500,
    "views": [
        _view(
            "orders",
            ORDER,
            [
                _line("count", "7d 30d 90d 365d lifetime"),
                _line("sum", "7d 30d 90d 365d lifetime", "value"),
                _line("mean", "30d 90d 365d", "value"),
                _line("max", "90d 365d lifetime", "value"),
                _line("last", "lifetime", "value"),
                _line("distinct", "30d 90d", "properties.product_id"),
                _line("days_since_last", "lifetime"),
            ],
        ),
        _view(
            "browsing",
            PAGE,
            [
                _line("count", "1d 7d 30d 90d lifetime"),
                _line("sum", "1d 7d 30d 90d lifetime", "properties.seconds"),
                _line("mean", "7d 30d 90d", "properties.seconds"),
                _line("max", "30d 90d", "properties.seconds"),
                _line("distinct", "7d 30d", "properties.page"),
                _line("days_since_last", "lifetime"),
                _line("days_since_first", "lifetime"),
                _line("mean_days_between", "lifetime"),
            ],
        ),
        _view(
            "care",
            CALL,
            [
                _line("count", "30d 90d 365d lifetime"),
                _line("sum", "30d 90d 365d lifetime", "properties.seconds"),
                _line("mean", "30d 90d 365d lifetime", "properties.seconds"),
                _line("max", "30d 90d 365d lifetime", "properties.seconds"),
                _line("min", "365d lifetime", "properties.seconds"),
                _line("last", "lifetime", "properties.seconds"),
                _line("days_since_last", "lifetime"),
            ],
        ),
    ],
    "services": {SERVICE: {"description": "", "views": ["orders", "browsing", "care"]}},
}


def write_spec(path: Path) -> FeatureSpec:
    """Write the spec as a `features.yaml`, and give it compiled."""
    path.write_text(yaml.safe_dump(CONTENT, sort_keys=False))
    return compile_spec(SpecFile.model_validate(CONTENT))
