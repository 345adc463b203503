"""The demo retailer's files: the same seed gives the same bytes, and the future never reaches into the past."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from feature_repo.configuration import ConfigurationError
from pipelines.demo import DemoConfig, generate, load_demo_config, source_files
from pipelines.demo.config import CampaignConfig
from pipelines.settings.workspace import CHECKOUT

TINY = DemoConfig(customers=150, months=6, seed=3)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name in ("first", "second"):
        generate(TINY, tmp_path / name)
    generate(TINY.model_copy(update={"seed": 4}), tmp_path / "other")
    first, other = _hashes(tmp_path / "first"), _hashes(tmp_path / "other")
    assert first == _hashes(tmp_path / "second")
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_generating_twice_into_one_folder_leaves_one_result(tmp_path: Path) -> None:
    generate(TINY.model_copy(update={"seed": 9}), tmp_path / "folder")
    (tmp_path / "folder" / "truth" / "stale.json").write_text("{}")
    generate(TINY, tmp_path / "folder")
    generate(TINY, tmp_path / "fresh")
    assert _hashes(tmp_path / "folder") == _hashes(tmp_path / "fresh")


def _lines(path: Path) -> list[str]:
    return (
        gzip.decompress(path.read_bytes()).decode().splitlines()
        if path.suffix == ".gz"
        else (path.read_text(encoding="utf-8").splitlines())
    )


def _early(name: str, folder: Path, until: date) -> list[str]:
    """Rows known before the end of `until` in Bangkok, as a sorted list (copies are kept)."""
    closes = datetime.fromisoformat(f"{until + timedelta(days=1)}T00:00:00+07:00")
    stop_local, stop = (until + timedelta(days=1)).isoformat(), closes.timestamp()

    def keeps(line: str) -> bool:
        if name == "web.jsonl.gz":
            return datetime.fromisoformat(json.loads(line)["at"]) < closes
        if name == "app.jsonl.gz":
            return datetime.fromisoformat(json.loads(line)["server_ts"]) < closes
        if name == "line.jsonl":
            return float(json.loads(line)["timestamp"]) < 1000 * stop
        if name in ("pos.csv.gz", "register.csv"):
            day, month, year = line.split(";")[2 if name == "pos.csv.gz" else 1][:10].split("/")
            return f"{year}-{month}-{day}" < stop_local
        column = {"email.csv": 2, "call_centre.csv": 1, "campaign.csv": 4, "surveys.csv": 1, "consents.csv": 2}[name]
        return line.split(",")[column] < stop_local

    lines = _lines(folder / name)
    return sorted(line for line in (lines if "json" in name else lines[1:]) if keeps(line))


def test_a_later_end_adds_days_and_changes_nothing_before(tmp_path: Path) -> None:
    """What happens later cannot have shaped what was exported earlier."""
    short = TINY.model_copy(update={"end": date(2026, 4, 30), "acquisition_months": 6})
    long = short.model_copy(update={"end": date(2026, 6, 30), "months": 8})
    assert short.start == long.start
    generate(short, tmp_path / "short")
    generate(long, tmp_path / "long")
    for _, path in source_files(tmp_path / "short")[1:]:
        early = _early(path.name, tmp_path / "short", short.end)
        assert early == _early(path.name, tmp_path / "long", short.end), path.name
        assert len(early) > (0 if path.name == "campaign.csv" else 5)
        assert len(early) == len(_lines(path)) - ("json" not in path.name)  # the short run ends there


def test_the_configuration_file_holds_the_defaults() -> None:
    assert load_demo_config(CHECKOUT / "configs" / "demo.yaml") == DemoConfig()


def test_mistakes_are_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("customers: 3\nmonhts: 5\nsegment_shares: {web: 2.0}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_demo_config(tmp_path / "demo.yaml")
    assert {problem.field.split(".")[0] for problem in caught.value.problems} == {
        "customers",
        "monhts",
        "segment_shares",
    }


def test_overlapping_waves_are_refused() -> None:
    wave = CampaignConfig().waves[0]
    with pytest.raises(ValueError, match="effect_days apart"):
        CampaignConfig(waves=(wave, wave.model_copy(update={"starts": wave.starts + timedelta(days=3)})))


def test_truth_is_no_source(tmp_path: Path) -> None:
    summary = generate(TINY, tmp_path)
    files = [path for _, path in source_files(tmp_path)]
    assert all(path.is_file() and summary.truth not in path.parents for path in files)
    assert {path.name for path in files} == set(summary.rows)
    mappings = {path.stem for path in (CHECKOUT / "configs" / "sources").glob("demo_*.yaml")}
    assert mappings == {source for source, _ in source_files(tmp_path)}


@pytest.mark.parametrize(
    "config", [DemoConfig(customers=20, months=2, seed=1), DemoConfig(customers=30, months=3, end=date(2024, 2, 15))]
)
def test_the_smallest_shops_have_all_files(config: DemoConfig, tmp_path: Path) -> None:
    """Too short for a churn snapshot, and at other times than the campaign's."""
    summary = generate(config, tmp_path)
    assert all(path.is_file() for _, path in source_files(tmp_path))
    assert summary.orders > 0
    assert json.loads((summary.truth / "truth.json").read_text(encoding="utf-8"))["churn"] == []
