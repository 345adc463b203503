"""`GET /metrics`: what the service counts, as Prometheus reads it.

It needs a key with the scope `read` where keys are required, unless the profile says `service.open_metrics: true`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol

import bentoml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.settings import Settings
from serving.api import request_id
from serving.api.authorisation import authorise
from serving.api.errors import ApiError
from serving.observing.exposition import CONTENT_TYPE, exposition

PATH = "/metrics"


class HasSettings(Protocol):
    settings: Settings


async def _metrics(request: Request) -> Response:
    service: HasSettings = bentoml.get_current_service()
    profile = service.settings.profile.service
    if profile.require_keys and not profile.open_metrics:
        try:
            authorise(request, "read")
        except ApiError as error:
            body = error.body(request_id.current.get())
            return Response(body, error.status, error.headers, media_type="application/json")
    # Off the loop: gauges read stores.
    content = await asyncio.to_thread(exposition, workers_folder(profile.workers))
    return Response(content, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


def workers_folder(workers: int) -> Path | None:
    """Where the workers of this service leave their numbers for each other; None where there is only one."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder and workers > 1 else None


ROUTES = [Route(PATH, _metrics, methods=["GET"])]
