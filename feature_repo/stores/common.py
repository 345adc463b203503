"""What both store classes need: paths of the Feast configuration, and the spec behind a view."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from feast import FeatureView
from feast.repo_config import RepoConfig

from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import load_spec

SPEC_HASH_TAG = "spec_hash"
JOIN_KEY = "customer_id"


class SpecViewError(ValueError):
    """A request that views of the spec cannot serve; the message says what to do instead."""


MATERIALIZE_REFUSED = (
    "views of features.yaml are not materialized: their values age with the clock, so the online store "
    "keeps each customer's state and computes them when they are read. Run `twin state rebuild` to build "
    "the states from the lake."
)


def resolve(config: RepoConfig, path: str) -> Path:
    """`path` of the configuration; relative ones start from the Feast repo."""
    return _resolved(str(config.repo_path or "."), path)


@lru_cache(maxsize=64)
def _resolved(repo: str, path: str) -> Path:
    # Asked at every read, and the answer takes longer than the read of a state.
    return Path(repo).joinpath(path).resolve()


def spec_of(config: RepoConfig, features_file: str, view: FeatureView) -> FeatureSpec:
    """The spec that `view` was applied with.

    Raises:
        SpecViewError: the view is not of the spec, or the spec has changed since `feast apply`.
    """
    applied = view.tags.get(SPEC_HASH_TAG)
    if applied is None:
        raise SpecViewError(
            f"feature view {view.name!r} is not declared in features.yaml, and these stores serve no other; "
            "give it a store of its own in another Feast project"
        )
    spec = _load(resolve(config, features_file))
    if applied != spec.hash:
        raise SpecViewError(
            f"feature view {view.name!r} was applied with spec {applied}, features.yaml is now {spec.hash}: "
            "run `twin features apply` (or `feast apply`), then `twin state rebuild`"
        )
    return spec


def _load(path: Path) -> FeatureSpec:
    return _load_version(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load_version(path: Path, _modified: int) -> FeatureSpec:
    return load_spec(path)
