"""Commands about models: each step of a training run, and all of them in order."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.data import ingest_file
from pipelines.cli.output import AsJson, ModelName, as_text, plain, settings_of, tell
from pipelines.console import UserError
from pipelines.state_build import build_state

if TYPE_CHECKING:
    from pipelines.cli.output import Summary
    from pipelines.settings import Settings
    from pipelines.settings.models import ModelConfig

CHURN = "churn"


def register_commands(app: typer.Typer) -> None:
    app.command("run")(run_command)
    for name, meaning in _HELP.items():
        app.command(name, help=f"{meaning}\n\nExample: twin {name} churn")(_command_of(name))
    app.command("register")(register_command)
    app.command("train")(train_command)
    app.command("report")(report_command)


def make_dataset(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.dataset import build_dataset
    from pipelines.feature_store import open_feature_store
    from pipelines.spec_versions import SpecVersions

    # The model that is made of it is registered with what its features are, also if they are changed meanwhile.
    SpecVersions(settings.workspace.specs).remember(settings.features.hash, settings.spec_file)
    return build_dataset(settings, config, open_feature_store(settings))


def search(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.tracking import champion
    from pipelines.tune import tune

    present = champion(settings, config)
    params = present.manifest.get("params") if present else None  # a linear one has none
    return tune(settings, config, also_try=[params] if params else [])


def fit(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.train import train

    return train(settings, config)


def compare(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.evaluate import evaluate
    from pipelines.tracking import champion

    present = champion(settings, config)
    return evaluate(settings, config, present.file if present else None, present.inputs if present else None)


def report(settings: Settings, config: ModelConfig) -> Summary:
    from feature_repo.words import words_of
    from pipelines.explain import explain

    meanings = {name: words_of(settings.features, name) for name in settings.features.by_name}
    return explain(settings, config, meanings)


def publish(settings: Settings, config: ModelConfig, name: str | None = None) -> Summary:
    from pipelines.register import TUNED, export_champion, register

    registration = register(settings, config, name=name or TUNED)
    if registration.is_champion:
        # A service that runs takes it from there.
        export_champion(settings, config)
    return registration


STEPS = {
    "dataset": make_dataset,
    "tune": search,
    "fit": fit,
    "evaluate": compare,
    "explain": report,
    "register": publish,
}


_HELP = {
    "dataset": "Snapshots, labels and point-in-time features.",
    "tune": "Search for parameters; stopped in the middle, it goes on where it was.",
    "fit": "Fit and calibrate the tuned and the default model.",
    "evaluate": "Compare with the baselines, out of time, with intervals.",
    "explain": "Write the reviewer's report.",
}


def _command_of(step: str) -> Callable[..., None]:
    def command(context: typer.Context, model: ModelName = CHURN, json: AsJson = False) -> None:
        _step(context, step, model, json)

    return command


def register_command(
    context: typer.Context,
    model: ModelName = CHURN,
    simple: Annotated[
        str | None,
        typer.Option("--model", help="a simple model in place of the tuned one: logistic or bg_nbd_calibrated"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Log everything in MLflow, register the model, and make it champion if it passes its gates.

    Example: twin register churn --model logistic
    """
    if simple is None:
        _step(context, "register", model, json)
        return
    settings = settings_of(context)
    with _steps_before("register"):
        tell(publish(settings, settings.model(model), simple), json)


def run_all(settings: Settings, config: ModelConfig, quiet: bool = False) -> dict[str, Summary]:
    """States of all events, then every step of the model, each one's result printed as it comes.

    Raises:
        UserError: a critical expectation fails, or a step cannot do its work.
    """
    from pipelines.validate import raise_if_critical, validate_lake

    # First, because it moves live events into the lake, which is what is validated and learned from.
    results: dict[str, Summary] = {"state": build_state(settings)}
    validation = validate_lake(settings)
    results["validate"] = validation
    _say(results, quiet)
    raise_if_critical(validation)
    return results | train_model(settings, config, quiet)


def train_model(settings: Settings, config: ModelConfig, quiet: bool = False) -> dict[str, Summary]:
    """Every step of the model on what is in the lake, each one's result printed as it comes.

    Raises:
        UserError: a step cannot do its work.
    """
    results: dict[str, Summary] = {}
    for name, step in STEPS.items():
        results[name] = step(settings, config)
        if not quiet:
            print(results[name].text(), end="\n\n")
    return results


def _say(results: dict[str, Summary], quiet: bool) -> None:
    if not quiet:
        for summary in results.values():
            print(summary.text(), end="\n\n")


def run_command(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="a file to ingest first")] = None,
    source: Annotated[str | None, typer.Option("--source", "-s", help="the mapping of the file")] = None,
    model: Annotated[str, typer.Option(help="a file of configs/models, without .yaml")] = CHURN,
    json: AsJson = False,
) -> None:
    """The whole way: ingest a file, validate, features, tune, train, evaluate, explain, register.

    Example: twin run --source online_retail online_retail.csv.gz
    """
    if (file is None) != (source is None):
        raise typer.BadParameter("a file and --source go together")
    settings = settings_of(context)
    config = settings.model(model)
    results: dict[str, Summary] = {}
    if file is not None and source is not None:
        results["ingest"], validation = ingest_file(settings, source, file)
        if validation is not None:
            results["validate_batch"] = validation
        _say(results, json)
    results |= run_all(settings, config, quiet=json)
    if json:
        print(as_text({name: plain(summary) for name, summary in results.items()}))
        return
    print(f"Next: twin --workspace {settings.workspace.name} serve")


def train_command(context: typer.Context, model: ModelName = CHURN, json: AsJson = False) -> None:
    """A model from what is in the lake: dataset, tune, fit, evaluate, explain, register.

    Example: twin train churn
    """
    settings = settings_of(context)
    results = train_model(settings, settings.model(model), quiet=json)
    if json:
        print(as_text({name: plain(summary) for name, summary in results.items()}))


def _step(context: typer.Context, name: str, model: str, json: bool) -> None:
    settings = settings_of(context)
    config = settings.model(model)
    with _steps_before(name):
        tell(STEPS[name](settings, config), json)


@contextmanager
def _steps_before(name: str) -> Iterator[None]:
    """Raises UserError where a file of an earlier step is missing."""
    try:
        yield
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise UserError(f"{missing} is not there yet: run the steps before {name!r}, or `twin run`") from error


def report_command(
    context: typer.Context,
    model: ModelName = CHURN,
    open_page: Annotated[bool, typer.Option("--open", help="open it in a browser")] = False,
) -> None:
    """Say where the reviewer's report is, or open it.

    Example: twin report churn --open
    """
    settings = settings_of(context)
    path = settings.workspace.artefacts(settings.model(model).name) / "report.html"
    if not path.exists():
        raise UserError(f"there is no report of {model} yet: twin --workspace {settings.workspace.name} run")
    print(path)
    if open_page:
        webbrowser.open(path.as_uri())
