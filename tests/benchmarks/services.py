"""What the service is compared with: an endpoint that does nothing, and the same answer from stock parts."""

from __future__ import annotations

import gc
from pathlib import Path

import bentoml
from pydantic import BaseModel

from pipelines.settings import Workspace, load_settings

SERVICE = "churn"
PROFILE = load_settings().profile.service


def pyfunc_of(workspace: Workspace) -> Path:
    """Where the model lies as MLflow keeps it."""
    return workspace.root / "pyfunc"


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


@bentoml.service(name="stock")
class Stock:
    """As the documentation of each part shows it: a sync API, Feast's online features, an MLflow pyfunc."""

    def __init__(self) -> None:
        import mlflow
        from feast import FeatureStore

        from pipelines.feature_store import FEAST_REPO

        settings = load_settings()
        yaml = settings.workspace.root / "feature_store.yaml"
        self.store = FeatureStore(repo_path=str(FEAST_REPO), fs_yaml_file=yaml)
        self.service = self.store.get_feature_service(SERVICE)
        self.names = list(settings.features.service_features(SERVICE))
        self.model = mlflow.pyfunc.load_model(str(pyfunc_of(settings.workspace)))

    @bentoml.api(route="/v1/predict")
    def predict(self, ask: Ask, /) -> Answer:
        rows = [{"customer_id": ask.customer_id}]
        frame = self.store.get_online_features(features=self.service, entity_rows=rows).to_df()
        return Answer(
            customer_id=ask.customer_id,
            probability=float(self.model.predict(frame[self.names].astype("float64"))[0]),
        )
