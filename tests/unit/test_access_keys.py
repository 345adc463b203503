"""Keys of clients: shown once, kept as hashes, with scopes and stated purposes, refused when revoked."""

from __future__ import annotations

import gc
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from feature_repo.configuration import ConfigurationError
from pipelines.access import SCOPES, AccessKey, Keys, source_purposes, statement_problems
from pipelines.access.purposes import purposes_of
from pipelines.cli import app
from pipelines.console import UserError
from pipelines.identity.permissions import AllowedSources
from pipelines.settings import Workspace, load_settings

CONTRACT = {"purposes": ["training", "profiling"], "legal_basis": "contract"}
# The layout of a file whose keys had one scope each.
ONE_SCOPE = """
CREATE TABLE access_keys (
  key_id TEXT PRIMARY KEY, source TEXT NOT NULL, scope TEXT NOT NULL, channel TEXT NOT NULL, currency TEXT,
  created_at INTEGER NOT NULL, revoked_at INTEGER, hash BLOB NOT NULL UNIQUE)
"""


def test_a_key_is_found_by_its_text_alone_and_kept_as_a_hash(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "access.db")
    key, text = keys.create("web", ["predict", "ingest", "predict"], "web", "THB")
    assert key.scopes == ("ingest", "predict")
    assert len(text) > 40
    assert keys.find(text) == key
    for other in ("", text[:-1], text + "x", text.upper(), key.key_id, "x" * 100_000, "\ud800", "\0"):
        assert keys.find(other) is None
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert text.encode() not in files
    assert text.removeprefix("twk_").encode() not in files


def test_a_revoked_key_is_refused_at_once_also_by_who_has_the_file_open(tmp_path: Path) -> None:
    keys, others = Keys(tmp_path / "access.db"), Keys(tmp_path / "access.db")
    (first, text), (_, second) = keys.create("web", ["ingest"], "web"), keys.create("web", ["ingest"], "web")
    assert others.find(text) == first
    recorded: list[AccessKey] = []
    keys.revoke(first.key_id, record=recorded.append)
    when = keys.all()[0].revoked_at
    keys.revoke(first.key_id, record=recorded.append)
    assert recorded == [first]
    assert others.find(text) is None
    assert others.find(second) is not None
    assert [key.revoked_at for key in others.all()] == [when, None]
    with pytest.raises(UserError, match="no such key"):
        keys.revoke("nothing")


@pytest.mark.parametrize("scopes", [["everything"], [], "ingest", ["ingest", "Admin"]])
def test_only_known_scopes(tmp_path: Path, scopes: list[str]) -> None:
    with pytest.raises(UserError, match="scopes"):
        Keys(tmp_path / "access.db").create("web", scopes)
    assert Keys(tmp_path / "access.db").all() == []


def test_an_act_that_cannot_be_recorded_does_not_happen(tmp_path: Path) -> None:
    def fail(key: AccessKey) -> None:
        raise OSError("disk full")

    keys = Keys(tmp_path / "access.db")
    with pytest.raises(OSError, match="disk full"):
        keys.create("web", ["ingest"], record=fail)
    assert Keys(tmp_path / "access.db").all() == []
    key, text = keys.create("web", ["ingest"])
    with pytest.raises(OSError, match="disk full"):
        keys.revoke(key.key_id, record=fail)
    assert Keys(tmp_path / "access.db").find(text) == key


def test_a_file_of_the_older_layout_goes_on_working(tmp_path: Path) -> None:
    path = tmp_path / "access.db"
    new = Keys(tmp_path / "new.db")
    key, text = new.create("web", ["ingest"], "web", "THB")
    (digest,) = sqlite3.connect(tmp_path / "new.db").execute("SELECT hash FROM access_keys").fetchone()
    old = sqlite3.connect(path)
    old.execute(ONE_SCOPE)
    row = (key.key_id, "web", "ingest", "web", "THB", key.created_at, None, digest)
    old.execute("INSERT INTO access_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    old.commit()
    old.close()
    for _ in range(2):
        assert Keys(path).find(text) == key
    made, _ = Keys(path).create("app", SCOPES, "app", **CONTRACT)  # type: ignore[arg-type]
    assert Keys(path).all() == [key, made]
    assert source_purposes(path) == {"web": frozenset(), "app": {"profiling", "training"}}


def test_a_key_may_be_limited_to_views(tmp_path: Path) -> None:
    path = tmp_path / "access.db"
    key, text = Keys(path).create("newsletter", ["read"], views=["service", "marketing", "service"])
    assert key.views == ("service", "marketing")
    assert Keys(path).find(text) == key
    assert Keys(path).create("other", ["read"])[0].views == ()


def test_a_file_of_keys_without_views_goes_on_working(tmp_path: Path) -> None:
    path = tmp_path / "access.db"
    key, text = Keys(path).create("web", ["ingest", "read"], "web", "THB")
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE access_keys DROP COLUMN views")
    for _ in range(2):
        assert Keys(path).find(text) == key
    limited, _ = Keys(path).create("newsletter", ["read"], views=["marketing"])
    assert Keys(path).all() == [key, limited]


def test_keys_in_use_of_one_source_state_the_same(tmp_path: Path) -> None:
    path = tmp_path / "access.db"
    keys = Keys(path)
    first, _ = keys.create("web", ["ingest"], "web", purposes=["training", "profiling"], legal_basis="contract")
    keys.create("web", ["ingest"], "web", purposes=["profiling", "training"], legal_basis="contract")
    keys.create("web", ["predict"])
    keys.create("app", ["ingest"], purposes=["profiling"], legal_basis="consent")
    for purposes, basis in ((["profiling"], "contract"), (["profiling", "training"], "consent"), ([], None)):
        with pytest.raises(UserError, match=f"key {first.key_id} of source web states: profiling, training on"):
            keys.create("web", ["ingest", "predict"], purposes=purposes, legal_basis=basis)
    assert len(keys.all()) == 4
    for key in keys.all():
        keys.revoke(key.key_id)
    keys.create("web", ["ingest"], purposes=["profiling", "marketing"], legal_basis="contract")
    assert source_purposes(path) == {"web": {"profiling"}, "app": {"profiling"}}
    assert source_purposes(tmp_path / "nothing.db") == {}
    assert not (tmp_path / "nothing.db").exists()


STATED = st.lists(st.sampled_from(["profiling", "training", "marketing"]), unique=True).map(tuple)
KEYS = st.lists(st.tuples(st.sampled_from("ab"), STATED, st.sampled_from([("ingest",), ("predict",), SCOPES])))


@given(KEYS)
def test_a_source_may_be_used_for_what_every_key_of_it_states(
    made: list[tuple[str, tuple[str, ...], tuple[str, ...]]],
) -> None:
    keys = [
        AccessKey(str(place), source, scopes, "web", None, place, None, stated)
        for place, (source, stated, scopes) in enumerate(made)
    ]
    found = purposes_of(reversed(keys))
    sending = [key for key in keys if "ingest" in key.scopes]
    assert set(found) == {key.source for key in sending}
    for source, purposes in found.items():
        for purpose in ("profiling", "training", "marketing"):
            stated = [purpose in key.purposes for key in sending if key.source == source]
            assert (purpose in purposes) == all(stated)


def test_statements_are_checked_in_one_place() -> None:
    assert statement_problems([], None) == []
    assert statement_problems(["profiling"], "contract") == []
    assert [p.field for p in statement_problems(["Profiling", "a b"], "because")] == ["--purposes"] * 2 + [
        "--legal-basis"
    ]
    assert [p.field for p in statement_problems(["profiling"], None)] == ["--legal-basis"]
    assert [p.field for p in statement_problems([], "contract")] == ["--purposes"]
    (problem,) = statement_problems(["profilling"], "contract", ["profiling", "training"])
    assert "profiling, training" in problem.expected


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workspace:
    made = Workspace("keys", checkout=tmp_path)
    monkeypatch.setattr("pipelines.settings._workspace", lambda name: made)
    return made


def twin(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_commands(workspace: Workspace) -> None:
    assert twin("keys", "list").stdout == "no keys yet\n"
    assert twin("audit", "list").stdout == "no administrative act yet\n"
    assert not workspace.root.exists()
    text = twin("keys", "create", "--source", "web", "--currency", "THB").stdout.split()[0]
    made = json.loads(twin("keys", "create", "--source", "app", "--channel", "app", "--json").stdout)
    asking = json.loads(twin("keys", "create", "--name", "backend", "--scopes", "predict, read", "--json").stdout)
    assert (asking["source"], asking["scopes"], asking["channel"]) == ("backend", ["predict", "read"], "")
    found = Keys(workspace.access).find(text)
    assert found is not None
    assert found.scopes == ("ingest",)
    listed = twin("keys", "list").stdout
    assert made["key_id"] in listed
    assert text not in listed
    assert made["key"] not in listed
    assert twin("keys", "revoke", made["key_id"]).exit_code == 0
    assert [row["revoked_at"] is None for row in json.loads(twin("keys", "list", "--json").stdout)] == [
        True,
        False,
        True,
    ]
    assert isinstance(twin("keys", "revoke", "nothing").exception, UserError)
    acts = json.loads(twin("audit", "list", "--json").stdout)
    assert [act["action"] for act in acts] == ["key.create"] * 3 + ["key.revoke"]
    assert acts[3]["subject"] == f"key:{made['key_id']}"
    assert acts[2]["details"] == {
        "source": "backend",
        "scopes": ["predict", "read"],
        "purposes": [],
        "legal_basis": None,
    }
    assert text not in workspace.audit.read_text()
    assert "key.revoke" in twin("audit", "list").stdout
    verified = twin("audit", "verify")
    assert verified.stdout.startswith("4 entries, all as they were written")
    assert acts[3]["hash"] in verified.stdout


def test_mistakes_are_told_all_at_once(workspace: Workspace) -> None:
    def fields(*arguments: str) -> list[str]:
        error = twin("keys", "create", *arguments).exception
        assert isinstance(error, ConfigurationError), error
        return [problem.field for problem in error.problems]

    wrong = ["--source", "demo_web", "--channel", "tv", "--currency", "XXX", "--purposes", "A", "--legal-basis", "no"]
    assert fields(*wrong) == ["--source", "--channel", "--currency", "--purposes", "--legal-basis"]
    assert fields("--source", "Web", "--scopes", "ingest,everything") == ["--source", "--scopes"]
    assert fields("--source", "web", "--scopes", ",") == ["--scopes"]
    needless = ["--channel", "web", "--currency", "THB", "--purposes", "profiling", "--legal-basis", "contract"]
    assert fields("--source", "a", "--scopes", "read", *needless) == [
        "--channel",
        "--currency",
        "--purposes",
        "--legal-basis",
    ]
    assert fields("--source", "a", "--scopes", "read", "--views", "marketing,nobody") == ["--views"]
    assert fields("--source", "a", "--scopes", "predict", "--views", "marketing") == ["--views"]
    assert not workspace.root.exists()


def test_the_command_limits_a_key_to_views(workspace: Workspace) -> None:
    made = json.loads(twin("keys", "create", "--source", "a", "--scopes", "read", "--views", "sales", "--json").stdout)
    assert made["views"] == ["sales"]
    assert "sees sales" in twin("keys", "list").stdout
    (act,) = json.loads(twin("audit", "list", "--json").stdout)
    assert act["details"]["views"] == ["sales"]


def test_what_events_do_not_count_for_is_said(workspace: Workspace) -> None:
    def create(*arguments: str) -> Result:
        return twin("keys", "create", "--source", "web", *arguments)

    silent = create("--json")
    assert "no feature and train no model until the customer consents" in silent.stderr
    stated = ["--purposes", "profiling,training", "--legal-basis", "contract"]
    refused = create(*stated).exception
    assert isinstance(refused, UserError)
    key_id = json.loads(silent.stdout)["key_id"]
    assert f"revoke key {key_id} first" in str(refused)
    twin("keys", "revoke", key_id)
    assert "count only for what all of them stated: nothing" in create(*stated).stderr
    assert twin("keys", "create", "--source", "app", *stated).stderr == ""
    assert source_purposes(workspace.access) == {"web": frozenset(), "app": {"profiling", "training"}}


def test_what_is_asked_every_second_leaves_no_file_open(tmp_path: Path) -> None:
    file = tmp_path / "access.db"
    Keys(file).create("web", ("ingest",))
    gc.disable()
    try:
        for _ in range(20):
            assert set(source_purposes(file)) == {"web"}
        opened = [fd.resolve() for fd in Path("/proc/self/fd").iterdir() if fd.exists()]
        assert opened.count(file.resolve()) <= 2, "but for the one that made the key, and one that SQLite keeps"
    finally:
        gc.enable()


def test_events_of_a_key_count_from_the_moment_it_is_made(tmp_path: Path) -> None:
    settings = replace(load_settings(), workspace=Workspace("test", checkout=tmp_path))
    allowed = AllowedSources(settings, "profiling")
    for number in range(5):
        source = f"shop_{number}"
        assert source not in allowed()
        Keys(settings.workspace.access).create(
            source, ["ingest"], "web", purposes=["profiling"], legal_basis="contract"
        )
        assert source in allowed()
