"""Versions of the spec: their content travels as text, and the workspace knows who uses each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from feature_repo.configuration import ConfigurationError, parse
from feature_repo.spec_content import FILE, compile_content, content_of, text_of
from feature_repo.spec_file import SpecFile, compile_spec
from feature_repo.state.storage import StoredState
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.events.spec_lease import SpecLease, unleased
from pipelines.events.spec_removal import remove_obsolete, remove_unused
from pipelines.events.specs_in_use import find_spec, users_of_specs
from pipelines.model_store import stored_models
from pipelines.settings import Settings
from pipelines.spec_listing import difference, list_specs
from pipelines.spec_versions import SpecVersions
from tests.changed_spec import ADDED, REMOVED, change_features, changed_settings, plain_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return plain_settings(tmp_path, tmp_path / "configs")


@pytest.fixture
def changed(settings: Settings, tmp_path: Path) -> Settings:
    """The same workspace with another spec."""
    return changed_settings(settings, tmp_path / "changed")


def export(settings: Settings, spec_hash: str, version: str = "1", model: str = "churn") -> Path:
    """A champion in the model store, as far as its spec is concerned."""
    folder = settings.workspace.bentoml_home / "models" / model / version
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"spec_hash": spec_hash}))
    (folder.parent / "latest").write_text(version)
    return folder


def states(settings: Settings, *specs: str) -> SQLiteStateStorage:
    """Finished states of one customer for each spec."""
    storage = SQLiteStateStorage(settings.workspace.state)
    for spec in specs:
        storage.put_many(spec, [StoredState("a", 1, 1, b"state")])
        storage.note(spec, 0, 1, storage.begin(spec))
    return storage


# --- content ---------------------------------------------------------------------------------


def test_the_text_is_one_whatever_the_layout_and_compiles_to_the_same(settings: Settings) -> None:
    written = (settings.config_dir / "features.yaml").read_text()
    otherwise = yaml.safe_dump(yaml.safe_load(written), sort_keys=True, default_flow_style=True)
    texts = {text_of(parse(yaml.safe_load(text), SpecFile)) for text in (written, otherwise)}
    assert len(texts) == 1
    (text,) = texts
    assert text_of(content_of(text)) == text
    assert compile_content(content_of(text), settings.features.hash) == settings.features
    # A person can put it back as the configuration.
    assert compile_spec(parse(yaml.safe_load(text), SpecFile)).hash == settings.features.hash


def test_content_of_another_hash_is_refused(settings: Settings) -> None:
    text = text_of(settings.spec_file).replace('"30d"', '"31d"')
    with pytest.raises(ConfigurationError) as caught:
        compile_content(content_of(text), settings.features.hash)
    (problem,) = caught.value.problems
    assert (problem.field, problem.expected) == ("spec_hash", settings.features.hash)
    assert problem.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1, "views": [], "services": {}}'])
def test_what_is_no_content_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        content_of(text)


# --- versions of a workspace -----------------------------------------------------------------


def test_a_version_is_kept_with_when_it_was_first_seen(settings: Settings, changed: Settings) -> None:
    versions = SpecVersions(settings.workspace.specs)
    assert versions.all() == []
    versions.remember(settings.features.hash, settings.spec_file)
    versions.remember(changed.features.hash, changed.spec_file)
    first, second = versions.all()
    assert (first.hash, second.hash) == (settings.features.hash, changed.features.hash)
    assert first.first_seen <= second.first_seen
    assert second.compiled() == changed.features
    reworded = settings.spec_file.model_copy(update={"services": changed.spec_file.services})
    other = reworded.services["churn"].model_copy(update={"description": "Reworded."})
    reworded = reworded.model_copy(update={"services": {"churn": other}})
    versions.remember(settings.features.hash, reworded)
    kept = versions.get(settings.features.hash)
    assert kept is not None
    assert (kept.content, kept.first_seen) == (reworded, first.first_seen)


def test_a_broken_file_is_said_and_written_again(settings: Settings) -> None:
    versions = SpecVersions(settings.workspace.specs)
    versions.remember(settings.features.hash, settings.spec_file)
    (settings.workspace.specs / f"{settings.features.hash}.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="written again"):
        versions.all()
    versions.remember(settings.features.hash, settings.spec_file)
    assert [version.content for version in versions.all()] == [settings.spec_file]


def test_a_spec_is_found_where_it_stands(settings: Settings, changed: Settings) -> None:
    other = changed.features.hash
    assert find_spec(settings, settings.features.hash) is settings.features
    assert find_spec(settings, other) is None
    folder = export(settings, other)
    assert find_spec(settings, other) is None
    (folder / FILE).write_text(text_of(changed.spec_file))
    assert find_spec(settings, other) == changed.features
    (folder / FILE).write_text(text_of(settings.spec_file))
    assert find_spec(settings, other) is None, "content of another spec is not taken for it"
    SpecVersions(settings.workspace.specs).remember(other, changed.spec_file)
    assert find_spec(settings, other) == changed.features


def test_users_are_the_configuration_as_it_is_now_and_champions(settings: Settings, changed: Settings) -> None:
    export(settings, "0123456789abcdef", "7")
    export(settings, settings.features.hash, "2", "conversion")
    change_features(settings.config_dir)
    assert users_of_specs(settings) == {
        settings.features.hash: ["champion conversion version 2"],
        changed.features.hash: ["current"],
        "0123456789abcdef": ["champion churn version 7"],
    }


@pytest.mark.parametrize("manifest", [None, "", "{}", "[]"])
def test_a_champion_that_cannot_be_read_has_no_spec(settings: Settings, manifest: str | None) -> None:
    place = export(settings, "x") / "manifest.json"
    place.unlink()
    if manifest is not None:
        place.write_text(manifest)
    assert [model.spec_hash for model in stored_models(settings.workspace.bentoml_home)] == [None]


def test_the_difference_names_features(settings: Settings, changed: Settings) -> None:
    assert difference(changed.features, settings.features) == (ADDED, REMOVED, ())
    capped = compile_spec(settings.spec_file.model_copy(update={"distinct_cap": 7}))
    added, removed, other = difference(capped, settings.features)
    assert (added, removed) == ((), ())
    assert {capped.by_name[name].operation for name in other} == {"distinct"}


def test_the_list_says_who_uses_what(settings: Settings, changed: Settings) -> None:
    versions = SpecVersions(settings.workspace.specs)
    versions.remember(settings.features.hash, settings.spec_file)
    versions.remember(changed.features.hash, changed.spec_file)
    export(settings, changed.features.hash, "3")
    states(settings, changed.features.hash, "feedfacefeedface")
    listing = list_specs(settings)
    found = {version.spec_hash: version for version in listing.versions}
    current, champion, foreign = (found[h] for h in (settings.features.hash, changed.features.hash, "feedfacefeedface"))
    assert (current.used_by, current.customers, current.added) == (("current",), None, ())
    assert (champion.used_by, champion.customers) == (("champion churn version 3",), 1)
    assert (champion.added, champion.removed) == (ADDED, REMOVED)
    assert (foreign.features, foreign.used_by, foreign.customers) == (None, (), 1)
    for said in (
        "current",
        "churn version 3",
        f"+ {ADDED[0]}",
        f"- {REMOVED[0]}",
        "nobody uses it",
        "content not known",
    ):
        assert said in listing.text()


# --- removal ---------------------------------------------------------------------------------


def test_a_new_champion_makes_the_states_of_the_former_obsolete(settings: Settings, changed: Settings) -> None:
    """Not before it has states of its own, nor while somebody serves from them."""
    old, new = settings.features.hash, changed.features.hash
    versions = SpecVersions(settings.workspace.specs)
    versions.remember(old, settings.spec_file)
    export(settings, old)
    storage = states(settings, old)
    assert remove_obsolete(changed, storage) == [], "it is a champion's"
    export(settings, new, "2")
    assert remove_obsolete(changed, storage) == [], "the new champion has no states, so the former is served"
    states(settings, new)
    assert remove_obsolete(settings, storage) == [], "it is the current one there"
    settings = replace(settings, config_dir=changed.config_dir)  # as a service that was started before the change
    lease = SpecLease(settings.workspace.specs, old)
    assert remove_obsolete(settings, storage) == [], "somebody serves from them"
    del lease
    assert remove_obsolete(settings, storage) == [old]
    assert storage.built_specs() == storage.spec_hashes() == [new]
    assert remove_obsolete(settings, storage) == []


def test_what_is_tried_out_stays_until_it_is_asked_for(settings: Settings, changed: Settings) -> None:
    export(settings, settings.features.hash)
    storage = states(settings, settings.features.hash, changed.features.hash)
    SpecVersions(settings.workspace.specs).remember(changed.features.hash, changed.spec_file)
    assert remove_obsolete(settings, storage) == [], "seen after the champion was exported"
    assert remove_unused(settings, storage) == [changed.features.hash]
    assert storage.built_specs() == [settings.features.hash]


def test_nothing_is_removed_while_it_cannot_be_told_what_is_current(settings: Settings, changed: Settings) -> None:
    export(settings, settings.features.hash)
    storage = states(settings, settings.features.hash, "feedfacefeedface")
    file = settings.config_dir / "features.yaml"
    text = file.read_text()
    file.write_text("views: [")
    assert remove_obsolete(settings, storage) == []
    file.write_text(text)
    assert remove_obsolete(settings, storage) == ["feedfacefeedface"], "nobody knows what it was"


def test_a_lease_keeps_others_from_removing_and_ends_with_its_last_reference(tmp_path: Path) -> None:
    one, other = SpecLease(tmp_path, "a"), SpecLease(tmp_path, "a")
    with unleased(tmp_path, "a") as free:
        assert not free
    with unleased(tmp_path, "b") as free:
        assert free
    del one
    with unleased(tmp_path, "a") as free:
        assert not free
    del other
    with unleased(tmp_path, "a") as free:
        assert free
        with pytest.raises(BlockingIOError):
            SpecLease(tmp_path, "a")
