"""A BentoML service whose every answer keeps the one error shape."""

from __future__ import annotations

from typing import Any, TypeVar

import bentoml
from starlette.routing import Route
from starlette.types import ASGIApp

from serving.admission import Admission
from serving.api.error_shape import ErrorShape
from serving.api.openapi import api_page, page_paths
from serving.api.pages import pages
from serving.connections import CONNECTIONS
from serving.draining import DRAIN
from serving.observing.observed import PROBES, Observed
from serving.observing.tracing import Traced, is_wanted
from serving.settings import service_settings

Inner = TypeVar("Inner")


class _Page:
    """What BentoML asks of an OpenAPI specification."""

    def __init__(self, page: dict[str, Any]) -> None:
        self._page = page

    def asdict(self) -> dict[str, Any]:
        return self._page


class ShapedService(bentoml.Service[Inner]):
    """Puts our layers outside of BentoML's own ones, which `add_asgi_middleware` cannot do."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        app = super().to_asgi(is_main)
        # A path with a slash too many is no path of ours; a redirect would repeat whatever the client calls our host.
        app.router.redirect_slashes = False
        paths = page_paths()
        profile = service_settings().profile
        limits, retry = profile.service, profile.ingestion.retry_after_seconds
        admitted = Admission(app, limits.maximum_concurrency, retry, DRAIN, CONNECTIONS)
        shaped: ASGIApp = ErrorShape(admitted, paths)
        if is_wanted(limits.tracing):
            shaped = Traced(shaped)
        routes = {*paths, *(route.path for route in pages.routes if isinstance(route, Route)), *PROBES}
        return Observed(shaped, routes, limits.access_log)

    @property
    def openapi_spec(self) -> Any:
        return _Page(api_page())
