"""Where messages of triggers are delivered, and how patiently. Secrets stand in the environment alone."""

from __future__ import annotations

import base64
import binascii
import os
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from feature_repo.configuration import ConfigModel

SECRET_VARIABLE = "TWIN_WEBHOOK_SECRET"  # noqa: S105 (its name, not the secret)
_PREFIX = "whsec_"
# Of the Standard Webhooks specification.
_LEAST_BYTES, _MOST_BYTES = 24, 64


class Endpoint(ConfigModel):
    """One receiver. It gets the messages of `triggers`, or of all where those are not named.

    `secret_variable` names the variable of the environment that holds the secret its messages are signed with.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")
    url: str
    triggers: tuple[str, ...] | None = None
    secret_variable: str = Field(default=SECRET_VARIABLE, pattern=r"^[A-Z][A-Z0-9_]{0,99}$")

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: str) -> str:
        """Raises ValueError for a scheme or a host that nothing is sent to."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("a URL") from None
        if not host or parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("a URL with a host, without user, password and fragment")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
            raise ValueError("https, or http to an address of this machine")
        return url

    def takes(self, trigger: str) -> bool:
        return self.triggers is None or trigger in self.triggers


class TriggersProfile(ConfigModel):
    """Some rules begin to hold with time alone: every customer is looked at once in `look_again_hours`."""

    look_again_hours: float = Field(default=6.0, gt=0)


class WebhooksProfile(ConfigModel):
    """How messages are delivered. An attempt ends after `timeout_seconds`, whatever the receiver does.

    After the n-th failure the next attempt is `first_delay_seconds` × 2^(n-1) later, at most `maximum_delay_seconds`,
    less up to half of it by chance; after `attempts` of them the message has failed.
    """

    endpoints: tuple[Endpoint, ...] = ()
    attempts: int = Field(default=12, ge=1, le=100)
    first_delay_seconds: float = Field(default=5.0, gt=0)
    maximum_delay_seconds: float = Field(default=6 * 3600.0, gt=0)
    timeout_seconds: float = Field(default=15.0, gt=0, le=30)
    keep_days: int = Field(default=30, ge=1, description="whole days after which a message that is done is removed")

    @model_validator(mode="after")
    def _names_differ(self) -> WebhooksProfile:
        names = [endpoint.name for endpoint in self.endpoints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"endpoints each with a name of its own; twice: {', '.join(twice)}")
        return self


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone: nothing is looked up."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def secret_of(endpoint: Endpoint) -> str | None:
    """The secret of an endpoint out of the environment; None where there is none that can be used."""
    text = os.environ.get(endpoint.secret_variable, "")
    if not text.startswith(_PREFIX):
        return None
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return text if _LEAST_BYTES <= len(key) <= _MOST_BYTES else None
