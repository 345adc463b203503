"""Removal of states that no model and no configuration needs any more, while everything else goes on.

Why no state comes back half-empty. States without a note are not folded into, and not served. The note goes
first; a fold that began before may still write rows, or the note. So all folds are waited for, and what they
left is removed as well. Who serves from states holds a lease on their spec, and then they stay.
"""

from __future__ import annotations

from collections.abc import Iterable

from feature_repo.configuration import ConfigurationError
from feature_repo.state.storage import StateStorage
from pipelines.events.spec_lease import unleased
from pipelines.events.specs_in_use import users_of_specs
from pipelines.events.state_lock import shared, wait_for_folds
from pipelines.model_store import StoredModel, stored_models
from pipelines.settings import Settings
from pipelines.settings.workspace import Workspace
from pipelines.spec_versions import SpecVersions


def remove_obsolete(settings: Settings, storage: StateStorage) -> list[str]:
    """Remove the states that a new champion has made obsolete; the hashes of their specs.

    That is of each spec that nobody uses, and that was seen before the newest champion was exported: a spec
    that somebody tries out since then stays. While a champion has no states, the one before it is served
    still, and nothing is removed. Raises StatesBusy and sqlite3.Error; what is left goes the next time.
    """
    models = stored_models(settings.workspace.bentoml_home)
    if not models or not champions_have_states(models, storage):
        return []
    newest = max(model.exported_at for model in models)
    versions = SpecVersions(settings.workspace.specs)
    try:
        unused = set(storage.spec_hashes()) - users_of_specs(settings, models).keys()
        known = {spec: versions.get(spec) for spec in unused}
    except ConfigurationError:
        # What is in use cannot be told now.
        return []
    wanted = [spec for spec, version in known.items() if version is None or version.first_seen < newest]
    return _remove(settings.workspace, storage, wanted)


def champions_have_states(models: Iterable[StoredModel], storage: StateStorage) -> bool:
    """Whether there are states of each champion's spec; without, those of the champion before are served still."""
    built = storage.built_specs()
    return all(model.spec_hash in built for model in models)


def remove_unused(settings: Settings, storage: StateStorage) -> list[str]:
    """Remove the states of every spec that nobody uses; the hashes of those specs. Raises as `remove_obsolete`."""
    return _remove(settings.workspace, storage, set(storage.spec_hashes()) - users_of_specs(settings).keys())


def _remove(workspace: Workspace, storage: StateStorage, specs: set[str] | list[str]) -> list[str]:
    return [spec for spec in sorted(specs) if _remove_one(workspace, storage, spec)]


def _remove_one(workspace: Workspace, storage: StateStorage, spec_hash: str) -> bool:
    with unleased(workspace.specs, spec_hash) as free:
        if not free:
            return False
        with shared(workspace.state_lock) as lock:
            storage.remove_spec(spec_hash)
            wait_for_folds(lock)
            storage.remove_spec(spec_hash)
    return True
