"""A profile: the backends and the clock a deployment runs with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feature_repo.configuration import ConfigModel
from feature_repo.state.backends import Backend
from pipelines.settings.webhooks import TriggersProfile, WebhooksProfile


class ServiceProfile(ConfigModel):
    """`require_keys` says whether predictions need a key; without, the service answers this machine alone.

    Limits are of each of the `workers`. `drain_seconds` is how long one that ends goes on to answer.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    require_keys: bool = True
    workers: int = Field(default=1, ge=1, le=64)
    timeout_seconds: float = Field(default=5.0, gt=0)
    maximum_body_bytes: int = Field(default=500_000, ge=1_000)
    maximum_customers: int = Field(default=1_000, ge=1)
    maximum_concurrency: int = Field(default=256, ge=1, description="requests at a time; more are told to come again")
    maximum_connections: int = Field(default=1_000, ge=1)
    client_seconds: float = Field(default=10.0, gt=0, description="to send a request's head, or to read on")
    drain_seconds: float = Field(default=1.0, ge=0)
    open_metrics: bool = Field(default=False, description="whether `/metrics` needs no key where others do")
    log_format: Literal["text", "json"] = "text"
    access_log: bool = False
    tracing: bool = Field(default=False, description="OpenTelemetry, sent by OTLP over HTTP")


class IngestionProfile(ConfigModel):
    """Limits of live ingestion. A body counts as sent and again as unpacked.

    A client's clock is corrected where it is off by more than the threshold; `future_events` says what
    becomes of a time that is still ahead of ours then.
    """

    maximum_event_bytes: int = Field(default=32 * 1024, ge=1_000)
    maximum_body_bytes: int = Field(default=500_000, ge=1_000)
    maximum_events: int = Field(default=2_500, ge=1)
    maximum_waiting: int = Field(default=256, ge=1, description="calls at a time; more are told to come again")
    threads: int = Field(default=8, ge=1, le=64)
    clock_threshold_seconds: float = Field(default=60.0, ge=0)
    future_events: Literal["clamp", "refuse"] = "clamp"
    retry_after_seconds: int = Field(default=2, ge=1)
    compact_every_seconds: float = Field(default=60.0, gt=0, description="how often the journal's size is looked at")
    compact_at_rows: int = Field(default=10_000, ge=1, description="rows from which the journal moves into the lake")


class ServedLogProfile(ConfigModel):
    """What the service keeps of the predictions it gave, for `twin features audit`.

    `share` is the part of the requests that is logged, chosen by a hash of the request id; 0 turns the log off.
    """

    share: float = Field(default=1.0, ge=0.0, le=1.0)
    keep_days: int = Field(default=30, ge=1, description="whole days after which a file is removed")
    maximum_waiting: int = Field(
        default=10_000, ge=1, description="vectors not written yet; more are lost, and counted"
    )


class SparkProfile(ConfigModel):
    """How Spark is reached where it computes features.

    `conf` configures the session, unless the caller has one active. `lake_format` says how the lake is read:
    `files`, which needs nothing but Spark, or `delta`, through the Delta Lake package of the cluster.
    """

    conf: dict[str, str] = Field(default={"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"})
    lake_format: Literal["files", "delta"] = "files"


class Profile(ConfigModel):
    """All of one `configs/profiles/<name>.yaml`.

    `clock` says what "now" is to a prediction: `wall`, or `data_end`, the instant just after the
    newest event, for files of the past. `journal` says where live events stand until they are in the
    lake: an SQLite file, or PostgreSQL. `online_store` says where the states of customers stand,
    `offline_store` what computes the features of a training set from the lake. The environment has the
    addresses of servers: TWIN_POSTGRES_URL, TWIN_REDIS_URL.
    """

    description: str
    clock: Literal["wall", "data_end"]
    journal: Literal["sqlite", "postgresql"] = "sqlite"
    online_store: Backend = "sqlite"
    offline_store: Literal["duckdb", "spark"] = "duckdb"
    spark: SparkProfile = SparkProfile()
    service: ServiceProfile = ServiceProfile()
    ingestion: IngestionProfile = IngestionProfile()
    served_log: ServedLogProfile = ServedLogProfile()
    triggers: TriggersProfile = TriggersProfile()
    webhooks: WebhooksProfile = WebhooksProfile()
