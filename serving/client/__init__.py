"""A client of the service. It needs httpx and pydantic, and nothing of what the service runs on."""

from serving.client.client import TwinClient
from serving.client.failures import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFault,
    TwinError,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from serving.client.transport import Patience

__all__ = [
    "Conflict",
    "Forbidden",
    "InvalidRequest",
    "NotFound",
    "Patience",
    "ServerFault",
    "TwinClient",
    "TwinError",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
]
