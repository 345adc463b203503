"""`python -m serving`: the service with the profile's settings, inside one workspace."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import random
import shutil
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import bentoml
import httpx

from feature_repo.configuration import ConfigurationError
from pipelines.console import UserError
from pipelines.events.opening import check_journal, check_states
from pipelines.settings import Settings
from serving.api.metrics import METRICS_FOLDER
from serving.exposure import check_host
from serving.observing import logs
from serving.observing.tracing import check_exporter
from serving.second_signal import end_at_second_signal
from serving.settings import service_settings

logger = logging.getLogger("bentoml.twin")

READY_SECONDS = 60.0
# Below those that Linux lends to connections: the server listens only seconds after its port was chosen.
_UNLENT_PORTS = (20_000, 32_768)
_TRIES = 50


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C, then end what runs; at a second one end at once. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving", description="Serve predictions over HTTP.")
    parser.add_argument("--host", help="address to listen on (default: of the profile)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free one (default: of the profile)")
    parser.add_argument("--workspace", help="whose models and state to serve (default: TWIN_WORKSPACE, or default)")
    options = parser.parse_args(arguments)
    try:
        settings = service_settings(options.workspace)
        check_journal(settings)
        check_states(settings)
        host = _address(options.host or settings.profile.service.host)
        check_host(host, settings.profile.service.require_keys)
        check_exporter(settings.profile.service.tracing)
        port = _free_port(host, settings.profile.service.port if options.port is None else options.port)
    except (ConfigurationError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot listen there: {error}; choose another with --port or --host", file=sys.stderr)
        return 1
    metrics = _prepare_environment(settings, port)
    logs.configure(settings.profile.service.log_format)
    # Telling is a convenience: it must never keep the server from ending.
    threading.Thread(target=_tell_when_ready, args=(host, port, settings), daemon=True).start()
    try:
        _serve(host, port)
    finally:
        shutil.rmtree(metrics, ignore_errors=True)
    return 0


def _serve(host: str, port: int) -> None:
    from serving.service import CustomerTwin  # reads the environment prepared above

    service: bentoml.Service[object] = CustomerTwin
    end_at_second_signal()
    try:
        service.serve_http(host=host, port=port)
    except KeyboardInterrupt:
        return


def _prepare_environment(settings: Settings, port: int) -> Path:
    """What BentoML and its workers read; two servers of one workspace share nothing that is deleted at start.

    Returns the folder where workers leave their numbers, without those of a service that was here before. BentoML
    has one folder for all services of a home, and empties it at each start.
    """
    metrics = settings.workspace.root / "metrics" / str(port)
    os.environ["TWIN_WORKSPACE"] = settings.workspace.name
    os.environ["BENTOML_HOME"] = str(settings.workspace.bentoml_home)
    os.environ[METRICS_FOLDER] = str(metrics)
    shutil.rmtree(metrics, ignore_errors=True)
    return metrics


def _address(host: str) -> str:
    """An IP address, as BentoML wants it; a name is looked up.

    Raises:
        OSError: the name is not known.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return socket.gethostbyname(host)


def _free_port(host: str, port: int) -> int:
    """`port`, or a free one for 0.

    Raises:
        ValueError: not a port.
        OSError: someone else listens there.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"--port: expected 0 to 65535, got {port}")
    if port:
        return _bound(host, port)
    for _ in range(_TRIES):
        with suppress(OSError):
            return _bound(host, random.randrange(*_UNLENT_PORTS))  # noqa: S311 (no secret)
    return _bound(host, 0)


def _bound(host: str, port: int) -> int:
    """The port, that somebody can listen on now. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        chosen: int = probe.getsockname()[1]
        return chosen


def _tell_when_ready(host: str, port: int, settings: Settings) -> None:
    """Print one line as soon as the server is ready, or up without being ready."""
    url = _url(host, port)
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        where = f"{url} (workspace {settings.workspace.name})"
        _tell(f"ready: {where}" if answer.is_success else f"up but not ready: {where}: {answer.text}", settings)
        return


def _tell(text: str, settings: Settings) -> None:
    """For people a line of its own; for a collector of logs, one as all others are."""
    if settings.profile.service.log_format == "json":
        logger.info("%s", text)
    else:
        print(text, flush=True)


def _url(host: str, port: int) -> str:
    """Where a client on this machine finds the server."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"


if __name__ == "__main__":
    sys.exit(main())
