"""Commands about what answers: the prediction service, its client, and MLflow's pages."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.configuration import Problem
from pipelines.cli.output import AsJson, as_text, settings_of
from pipelines.console import UserError

if TYPE_CHECKING:
    from pipelines.settings import Settings

Url = Annotated[str | None, typer.Option(help="where the service is [default: the profile's address]")]


def register_commands(app: typer.Typer) -> None:
    app.command("serve")(serve_command)
    app.command("predict")(predict_command)
    app.command("mlflow")(mlflow_command)


def prepare_service(settings: Settings) -> list[str]:
    """Put the champions there are into BentoML's model store; returns the command that serves them. Raises as there."""
    export_champions(settings)
    return [sys.executable, "-m", "serving", "--workspace", settings.workspace.name]


def export_champions(settings: Settings) -> None:
    """Put the champions there are into BentoML's model store.

    Raises:
        UserError: no model has a champion.
    """
    from pipelines.register import export_challenger, export_champion
    from pipelines.register.follow import export_or_keep
    from pipelines.tracking import CHAMPION, alias_version

    configured = [*settings.models.values(), *settings.action_models.values()]
    with_champion = [config for config in configured if alias_version(settings, config.name, CHAMPION) is not None]
    if not with_champion:
        # The first to be asked for says what to do.
        for config in configured:
            export_champion(settings, config)
    for config in with_champion:
        kept = export_or_keep(settings, config)
        if kept is not None:
            print(f"note: the champion of {config.name} is the one before: {kept}", file=sys.stderr)
        if config.name in settings.models:
            export_challenger(settings, config)


def serve_command(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="address to listen on [default: the profile's]")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on [default: the profile's]")] = None,
) -> None:
    """Serve predictions until Ctrl-C.

    Example: twin --workspace demo serve --port 3000
    """
    command = prepare_service(settings_of(context))
    command += ["--host", host] if host else []
    command += ["--port", str(port)] if port is not None else []
    # The service takes this process over: a signal to it is a signal to the service.
    os.execv(command[0], command)


def predict_command(
    context: typer.Context,
    customers: Annotated[list[str], typer.Argument(help="customer ids")],
    reasons: Annotated[bool, typer.Option("--reasons", help="say why")] = False,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Ask the running service about customers. Where it requires a key, set it as TWIN_API_KEY.

    Example: twin --workspace demo predict C000001 --reasons
    """
    service = settings_of(context).profile.service
    answer = ask(url or f"http://{service.host}:{service.port}", customers, reasons)
    print(as_text(answer) if json else "\n".join(told(answer)))


def ask(url: str, customers: list[str], reasons: bool) -> dict[str, Any]:
    """The service's answer about `customers`.

    Raises:
        UserError: the service does not answer, or refuses.
    """
    import httpx

    body = {"customer_ids": customers, "reasons": reasons}
    key = os.environ.get("TWIN_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.post(f"{url}/v1/predict_many", json=body, headers=headers, timeout=30.0, trust_env=False)
    except httpx.TransportError as error:
        raise UserError(f"no service answers at {url} ({error}); start it with: twin serve") from None
    answer: dict[str, Any] = response.json()
    if response.status_code in (401, 403):
        problem = Problem("TWIN_API_KEY", "a key with the scope predict", "another" if key else "nothing")
        raise UserError(f"the service answered {response.status_code}: {answer['error']['message']}", [problem])
    if response.is_error:
        raise UserError(f"the service answered {response.status_code}: {answer['error']['message']}")
    return answer


def told(answer: dict[str, Any]) -> list[str]:
    """The answer as a person would read it."""
    lines = [f"{answer['model']} version {answer['model_version']}, as of {answer['as_of']}"]
    for item in answer["results"]:
        lines += _told_customer(item)
    return lines


def _told_customer(item: dict[str, Any]) -> list[str]:
    if item.get("error"):
        return [f"  {item['customer_id']:<10} {item['error']['message']}"]
    note = "  (not of the kind the model was trained on)" if item["in_population"] is False else ""
    head = f"  {item['customer_id']:<10} {item['probability']:>6.1%} {_bar(item['probability'])}{note}"
    return [head, *(_told_reason(reason) for reason in item.get("reasons") or [])]


def _told_reason(reason: dict[str, Any]) -> str:
    from feature_repo.reasons import format_value

    points = 100 * reason["change_in_probability"]
    value = format_value(float("nan") if reason["value"] is None else reason["value"])
    return f"{'':>12} {points:>+6.1f} points  {reason['meaning']}: {value}"


def _bar(share: float, width: int = 20) -> str:
    full = round(share * width)
    return "█" * full + "·" * (width - full)


def mlflow_command(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="port to listen on")] = 5000,
) -> None:
    """Open MLflow's pages on the workspace's runs and models, until Ctrl-C.

    Example: twin --workspace demo mlflow
    """
    workspace = settings_of(context).workspace
    if not (workspace.mlruns / "mlflow.db").exists():
        raise UserError(f"nothing was trained in workspace {workspace.name!r} yet: twin run")
    print(f"MLflow: http://127.0.0.1:{port} (workspace {workspace.name})", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", workspace.tracking_uri]
    os.execv(sys.executable, [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"])
