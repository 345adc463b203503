"""The settings of a service that runs: with mistakes in what can be offered it answers all else."""

from __future__ import annotations

from pipelines.settings import Settings, load_settings


def service_settings(workspace: str | None = None) -> Settings:
    """Those of the workspace that the environment names, or of `workspace`.

    Raises:
        ConfigurationError: with every mistake but those of the catalogue, which `catalogue_problems` has.
    """
    return load_settings(workspace, catalogue="apart")
