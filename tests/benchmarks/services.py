"""What the service is compared with: an endpoint that does nothing, and the same answer from stock parts."""

from __future__ import annotations

import gc
from pathlib import Path

import bentoml
from pydantic import BaseModel

from pipelines.settings import Workspace, load_settings

SERVICE = "churn"
MODELS = ("churn", "conversion")
PROFILE = load_settings().profile.service


def pyfunc_of(workspace: Workspace, model: str) -> Path:
    """Where a model lies as MLflow keeps it."""
    return workspace.root / "pyfunc" / model


class Ask(BaseModel):
    customer_id: str
    reasons: bool = False


class Answer(BaseModel):
    customer_id: str
    probability: float


@bentoml.service(
    name="empty",
    workers=PROFILE.workers,
    traffic={"timeout": PROFILE.timeout_seconds},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Empty:
    """The settings of our service, and nothing behind them."""

    @bentoml.on_startup
    def settle(self) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    @bentoml.api(route="/v1/predict")
    async def predict(self, ask: Ask, /) -> Answer:
        return Answer(customer_id=ask.customer_id, probability=0.5)


class Probabilities(BaseModel):
    customer_id: str
    probabilities: dict[str, float]


@bentoml.service(name="stock")
class Stock:
    """As the documentation of each part shows it: a sync API, Feast's online features, an MLflow pyfunc a model."""

    def __init__(self) -> None:
        import mlflow
        from feast import FeatureStore

        from pipelines.feature_store import FEAST_REPO

        settings = load_settings()
        yaml = settings.workspace.root / "feature_store.yaml"
        self.store = FeatureStore(repo_path=str(FEAST_REPO), fs_yaml_file=yaml)
        # One read of what all models read.
        projections = [p for name in MODELS for p in self.store.get_feature_service(name).feature_view_projections]
        self.features = sorted({f"{p.name}:{feature.name}" for p in projections for feature in p.features})
        self.names = {name: list(settings.features.service_features(name)) for name in MODELS}
        self.models = {name: mlflow.pyfunc.load_model(str(pyfunc_of(settings.workspace, name))) for name in MODELS}

    @bentoml.api(route="/v1/predict")
    def predict(self, ask: Ask, /) -> Probabilities:
        rows = [{"customer_id": ask.customer_id}]
        frame = self.store.get_online_features(features=self.features, entity_rows=rows).to_df()
        found = {
            name: float(model.predict(frame[self.names[name]].astype("float64"))[0])
            for name, model in self.models.items()
        }
        return Probabilities(customer_id=ask.customer_id, probabilities=found)
