"""Keys of clients: shown once, kept as hashes, refused when revoked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from feature_repo.configuration import ConfigurationError
from pipelines.access import Keys
from pipelines.cli import app
from pipelines.console import UserError
from pipelines.settings import Workspace


def test_a_key_is_found_by_its_text_alone_and_kept_as_a_hash(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "access.db")
    key, text = keys.create("web", "ingest", "web", "THB")
    assert len(text) > 40
    assert keys.find(text, "ingest") == key
    for other in ("", text[:-1], text + "x", text.upper(), key.key_id, "x" * 100_000, "\ud800", "\0"):
        assert keys.find(other, "ingest") is None
    assert keys.find(text, "predict") is None
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert text.encode() not in files
    assert text.removeprefix("twk_").encode() not in files


def test_a_revoked_key_is_refused_at_once_also_by_who_has_the_file_open(tmp_path: Path) -> None:
    keys, others = Keys(tmp_path / "access.db"), Keys(tmp_path / "access.db")
    (first, text), (_, second) = keys.create("web", "ingest", "web"), keys.create("web", "ingest", "web")
    assert others.find(text, "ingest") == first
    keys.revoke(first.key_id)
    when = keys.all()[0].revoked_at
    keys.revoke(first.key_id)
    assert others.find(text, "ingest") is None
    assert others.find(second, "ingest") is not None
    assert [key.revoked_at for key in others.all()] == [when, None]
    with pytest.raises(UserError, match="no such key"):
        keys.revoke("nothing")


def test_only_known_scopes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scope"):
        Keys(tmp_path / "access.db").create("web", "everything", "web")


def test_the_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pipelines.settings._workspace", lambda name: Workspace("keys", checkout=tmp_path))

    def twin(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["keys", *arguments])

    assert twin("list").stdout == "no keys yet\n"
    assert not (tmp_path / ".twin").exists()
    text = twin("create", "--source", "web", "--currency", "THB").stdout.split()[0]
    made = json.loads(twin("create", "--source", "app", "--channel", "app", "--json").stdout)
    assert Keys(Workspace("keys", checkout=tmp_path).access).find(text, "ingest")
    listed = twin("list").stdout
    assert made["key_id"] in listed
    assert text not in listed
    assert made["key"] not in listed
    assert twin("revoke", made["key_id"]).exit_code == 0
    assert [row["revoked_at"] is None for row in json.loads(twin("list", "--json").stdout)] == [True, False]
    assert isinstance(twin("revoke", "nothing").exception, UserError)
    wrong = twin("create", "--source", "demo_web", "--channel", "tv", "--currency", "XXX").exception
    assert isinstance(wrong, ConfigurationError)
    assert [problem.field for problem in wrong.problems] == ["--source", "--channel", "--currency"]
