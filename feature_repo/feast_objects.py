"""The spec as Feast objects: one entity, one source, a view for each view, a service for each model."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Float64, Int64, String

from feature_repo.spec import FeatureSpec, Service, View
from feature_repo.stores.common import SPEC_HASH_TAG
from feature_repo.words import words_of

_TYPES = {"integer": Int64, "float": Float64, "text": String}


def feast_objects(spec: FeatureSpec, lake: Path) -> list[Entity | FileSource | FeatureView | FeatureService]:
    """Everything `feast apply` registers for `spec` over the Delta table at `lake`."""
    customer = Entity(
        name="customer",
        join_keys=["customer_id"],
        value_type=ValueType.STRING,
        description="One customer, after identities were resolved.",
    )
    events = FileSource(
        name="customer_events",
        path=str(lake),
        file_format=DeltaFormat(),
        timestamp_field="event_time",
        created_timestamp_column="available_at",
        description="All events of all touchpoints (Delta Lake).",
    )
    views = {view.name: _feature_view(spec, view, customer, events) for view in spec.views}
    services = [_feature_service(spec, service, views) for service in spec.services.values()]
    return [customer, events, *views.values(), *services]


def _feature_view(spec: FeatureSpec, view: View, customer: Entity, events: FileSource) -> FeatureView:
    fields = [Field(name=f.name, dtype=_TYPES[f.kind], description=words_of(spec, f.name)) for f in view.features]
    return FeatureView(
        name=view.name,
        entities=[customer],
        # 0 is Feast's word for "never expires": the windows say how far a feature looks back.
        ttl=timedelta(0),
        schema=[Field(name="customer_id", dtype=String), *fields],
        source=events,
        description=view.description,
        owner=view.owner,
        tags={SPEC_HASH_TAG: spec.hash},
    )


def _feature_service(spec: FeatureSpec, service: Service, views: dict[str, FeatureView]) -> FeatureService:
    members: dict[str, list[str]] = {}
    for feature in service.features:
        members.setdefault(feature.view, []).append(feature.name)
    return FeatureService(
        name=service.name,
        features=[views[view][names] for view, names in members.items()],
        description=service.description,
        tags={SPEC_HASH_TAG: spec.hash},
    )
