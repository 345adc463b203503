"""The spec as Feast objects: one entity, one source, a view for each view, a service for each model."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from feast import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    RequestSource,
    ValueType,
)
from feast.data_format import DeltaFormat
from feast.types import Float64, Int64, String

from feature_repo.request_features import AS_OF, on_demand_function
from feature_repo.spec import FeatureSpec, RequestView, Service, View
from feature_repo.stores.common import SPEC_HASH_TAG
from feature_repo.words import words_of

_TYPES = {"integer": Int64, "float": Float64, "text": String}


FeastObject: TypeAlias = Entity | FileSource | FeatureView | OnDemandFeatureView | FeatureService


def feast_objects(spec: FeatureSpec, lake: Path) -> list[FeastObject]:
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
    on_demand = {view.name: _on_demand_view(spec, view, views) for view in spec.request_views}
    services = [_feature_service(spec, service, views, on_demand) for service in spec.services.values()]
    return [customer, events, *views.values(), *on_demand.values(), *services]


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


def _on_demand_view(spec: FeatureSpec, view: RequestView, views: dict[str, FeatureView]) -> OnDemandFeatureView:
    inputs = [Field(name=name, dtype=_TYPES[kind]) for name, kind in view.inputs.items()]
    members: dict[str, list[str]] = {}
    for name in view.denominators:
        members.setdefault(spec.by_name[name].view, []).append(name)
    request = RequestSource(
        name=f"{view.name}_request",
        schema=[Field(name=AS_OF, dtype=Int64), *inputs],
        description="What a call brings along, and its as-of instant in microseconds UTC.",
    )
    function, source = on_demand_function(view, spec.utc_offset)
    return OnDemandFeatureView(
        name=view.name,
        sources=[request, *(views[member][names] for member, names in members.items())],
        # Without descriptions: Feast compares these fields with what it infers of the function, which has none.
        schema=[Field(name=f.name, dtype=_TYPES[f.kind]) for f in view.features],
        udf=function,
        udf_string=source,
        mode="python",
        description=view.description,
        owner=view.owner,
        tags={SPEC_HASH_TAG: spec.hash},
    )


def _feature_service(
    spec: FeatureSpec, service: Service, views: dict[str, FeatureView], on_demand: dict[str, OnDemandFeatureView]
) -> FeatureService:
    members: dict[str, list[str]] = {}
    for feature in service.features:
        members.setdefault(feature.view, []).append(feature.name)
    for of_call in service.request_features:
        members.setdefault(of_call.view, []).append(of_call.name)
    known = {**views, **on_demand}
    return FeatureService(
        name=service.name,
        features=[known[view][names] for view, names in members.items()],
        description=service.description,
        tags={SPEC_HASH_TAG: spec.hash},
    )
