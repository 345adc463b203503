"""A profile: the backends and the clock a deployment runs with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feature_repo.configuration import ConfigModel


class ServiceProfile(ConfigModel):
    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    timeout_seconds: float = Field(default=5.0, gt=0)
    maximum_body_bytes: int = Field(default=500_000, ge=1_000)
    maximum_customers: int = Field(default=1_000, ge=1)


class Profile(ConfigModel):
    """All of one `configs/profiles/<name>.yaml`.

    `clock` says what "now" is to a prediction: `wall`, or `data_end`, the instant just after the
    newest event, for files of the past.
    """

    description: str
    clock: Literal["wall", "data_end"]
    service: ServiceProfile = ServiceProfile()
