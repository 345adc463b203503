"""A service that asks for no keys is for this machine alone."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal

import bentoml
import psutil

from feature_repo.configuration import ConfigurationError, Problem

logger = logging.getLogger("bentoml.twin")


def check_host(host: str, require_keys: bool) -> None:
    """Raises ConfigurationError where an IP address is not of this machine alone and no keys are asked for."""
    if require_keys or ipaddress.ip_address(host).is_loopback:
        return
    hint = "set `service.require_keys: true` in the profile to answer others"
    raise ConfigurationError(
        [Problem("--host", "an address of this machine alone, such as 127.0.0.1, as keys are not required", host, hint)]
    )


def end_where_exposed(require_keys: bool) -> None:
    """In a worker, see on which addresses it listens, and end the service where `check_host` refuses one.

    The host can be chosen on BentoML's own command line, of which no code of the service is told.
    Outside of a worker, such as in a test that runs the service in its own process, nothing is done.
    """
    if bentoml.server_context.worker_index is None:
        return
    connections = psutil.Process().net_connections(kind="tcp")
    try:
        for host in sorted({found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}):
            check_host(host, require_keys)
    except ConfigurationError as error:
        logger.error("the service ends: %s", error)
        os.kill(os.getppid(), signal.SIGTERM)
        raise
