"""A BentoML service whose every answer keeps the one error shape."""

from __future__ import annotations

from typing import Any, TypeVar

import bentoml
from starlette.types import ASGIApp

from serving.api.error_shape import ErrorShape
from serving.api.openapi import api_page, page_paths

Inner = TypeVar("Inner")


class _Page:
    """What BentoML asks of an OpenAPI specification."""

    def __init__(self, page: dict[str, Any]) -> None:
        self._page = page

    def asdict(self) -> dict[str, Any]:
        return self._page


class ShapedService(bentoml.Service[Inner]):
    """Puts `ErrorShape` outside of BentoML's own layers, which `add_asgi_middleware` cannot do."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        app = super().to_asgi(is_main)
        # A path with a slash too many is no path of ours; a redirect would repeat whatever the client calls our host.
        app.router.redirect_slashes = False
        return ErrorShape(app, page_paths())

    @property
    def openapi_spec(self) -> Any:
        return _Page(api_page())
