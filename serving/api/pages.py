"""What can be read with GET: the API's page for people, and which models are served."""

from __future__ import annotations

from typing import Any, Protocol

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from serving.api import request_id
from serving.api.consent import ROUTES as CONSENT
from serving.api.decide import actions_response
from serving.api.decision_replay import ROUTES as DECISION_REPLAY
from serving.api.explain import ROUTES as EXPLAIN
from serving.api.identity import ROUTES as IDENTITY
from serving.api.ingest.routes import ROUTES as INGEST_ROUTES
from serving.api.metrics import ROUTES as METRICS
from serving.api.outbox import ROUTES as OUTBOX
from serving.api.privacy import ROUTES as PRIVACY_ROUTES
from serving.api.responses import ModelInfo, ModelsResponse
from serving.api.timeline import ROUTES as TIMELINE
from serving.api.twin import ROUTES as TWIN
from serving.bootstrap import Wiring
from serving.connection import Connection
from serving.decisions.catalogue_watch import CatalogueWatch

# In place of BentoML's own page, which loads a tracker of a third party.
INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="UTF-8">
    <title>customer-twin</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="./static_content/swagger-ui.css">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="./static_content/swagger-ui-bundle.js"></script>
    <script>SwaggerUIBundle({url: "./docs.json", dom_id: "#swagger-ui"})</script>
  </body>
</html>
"""


class HasConnection(Protocol):
    connection: Connection


async def _index(request: Request) -> Response:
    return HTMLResponse(INDEX)


async def _models(request: Request) -> Response:
    service: HasConnection = bentoml.get_current_service()
    wiring = service.connection.wiring()
    answer = ModelsResponse(
        request_id=request_id.current.get(), models=[model_info(wiring, name) for name in sorted(wiring.configured)]
    )
    return Response(answer.model_dump_json(), media_type="application/json")


def model_info(wiring: Wiring, name: str) -> ModelInfo:
    """What is known of the configured model `name`."""
    description = wiring.configured[name].description
    predictor = wiring.served.get(name)
    if predictor is None:
        return ModelInfo(model=name, description=description, served=False, error=wiring.refusals[name].item())
    champion = predictor.champion
    shown = {"features", "spec_hash", "model", "version"}
    rest: dict[str, Any] = {key: value for key, value in champion.manifest.items() if key not in shown}
    return ModelInfo(
        model=name,
        description=description,
        served=True,
        model_version=champion.version,
        spec_hash=champion.spec_hash,
        features=list(champion.features),
        inputs=dict(predictor.reader.inputs),
        manifest=rest,
        held_back=wiring.held_back[name].item() if name in wiring.held_back else None,
    )


class HasCatalogues(Protocol):
    catalogues: CatalogueWatch


async def _actions(request: Request) -> Response:
    service: HasCatalogues = bentoml.get_current_service()
    answer = actions_response(service.catalogues.offered)
    return Response(answer.model_dump_json(), media_type="application/json")


pages = Starlette(
    routes=[
        Route("/", _index, methods=["GET"]),
        Route("/v1/models", _models, methods=["GET"]),
        Route("/v1/actions", _actions, methods=["GET"]),
        *INGEST_ROUTES,
        *CONSENT,
        *IDENTITY,
        *OUTBOX,
        *PRIVACY_ROUTES,
        *TWIN,
        *TIMELINE,
        *EXPLAIN,
        *DECISION_REPLAY,
        *METRICS,
    ]
)
pages.router.redirect_slashes = False
