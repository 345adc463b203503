"""Commands about models: each step of a training run, and all of them in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.data import ingest_file
from pipelines.cli.model_steps import CHURN, STEPS, doubt, evaluate_against, publish, steps_of, take_away
from pipelines.cli.output import AsJson, ModelName, as_text, plain, settings_of, tell
from pipelines.console import UserError
from pipelines.state_build import build_state

if TYPE_CHECKING:
    from pipelines.cli.output import Summary
    from pipelines.settings import AnyModelConfig, Settings


def register_commands(app: typer.Typer) -> None:
    app.command("run")(run_command)
    app.command("train")(train_command)
    own: dict[str, Callable[..., None]] = {
        "evaluate": evaluate_command,
        "leakage": leakage_command,
        "ablation": ablation_command,
        "register": register_command,
    }
    for name in STEPS:
        if name in own:
            app.command(name)(own[name])
        else:
            app.command(name, help=f"{_HELP[name]}\n\nExample: twin {name} churn")(_command_of(name))


_HELP = {
    "dataset": "Snapshots, labels and point-in-time features.",
    "tune": "Search for parameters; stopped in the middle, it goes on where it was.",
    "fit": "Fit and calibrate the tuned and the default model.",
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


def evaluate_command(
    context: typer.Context,
    model: ModelName = CHURN,
    truth: Annotated[
        str | None,
        typer.Option(help="a Parquet file of customer_id, as_of, probability; or `demo`: of the made-up retailer"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare with the baselines, out of time, with intervals: scores, profit, slices, the champion.

    Example: twin evaluate churn
    """
    from pipelines.cli.truth import read_truth

    settings = settings_of(context)
    if truth is None:
        _step(context, "evaluate", model, json)
        return
    config = settings.model(model)
    found = read_truth(settings, config, truth)
    with _steps_before("evaluate"):
        tell(evaluate_against(settings, config, found), json)


def run_all(settings: Settings, config: AnyModelConfig, quiet: bool = False) -> dict[str, Summary]:
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


def train_model(settings: Settings, config: AnyModelConfig, quiet: bool = False) -> dict[str, Summary]:
    """Every step of the model or companion on what is in the lake, each one's result printed as it comes.

    Raises:
        UserError: a step cannot do its work.
    """
    results: dict[str, Summary] = {}
    for name, step in steps_of(config).items():
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
    config = settings.learned(model)
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
    """A model or companion from what is in the lake: every step, from the dataset to the registered version.

    Example: twin train churn
    """
    settings = settings_of(context)
    results = train_model(settings, settings.learned(model), quiet=json)
    if json:
        print(as_text({name: plain(summary) for name, summary in results.items()}))


def _step(context: typer.Context, name: str, model: str, json: bool) -> None:
    settings = settings_of(context)
    config = settings.learned(model)
    steps = steps_of(config)
    if name not in steps:
        raise UserError(f"{model} has no step {name!r} of its own; its steps are {', '.join(steps)}")
    with _steps_before(name):
        tell(steps[name](settings, config), json)


@contextmanager
def _steps_before(name: str) -> Iterator[None]:
    """Raises UserError where a file of an earlier step is missing."""
    try:
        yield
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise UserError(f"{missing} is not there yet: run the steps before {name!r}, or `twin run`") from error


def leakage_command(
    context: typer.Context,
    model: ModelName = CHURN,
    rows: Annotated[int | None, typer.Option(min=1, help="rows that are made again from a log that is cut")] = None,
    json: AsJson = False,
) -> None:
    """Look for what the dataset holds and could not have known at the time: alarms with figures and thresholds.

    Example: twin leakage churn --rows 10000
    """
    settings = settings_of(context)
    config = settings.model(model)
    if rows is not None:
        config = config.model_copy(update={"leakage": config.leakage.model_copy(update={"truncated_rows": rows})})
    with _steps_before("leakage"):
        tell(doubt(settings, config), json)


def ablation_command(
    context: typer.Context,
    model: ModelName = CHURN,
    rows: Annotated[int | None, typer.Option(min=1, help="train on so many, not on what 15 s are enough for")] = None,
    json: AsJson = False,
) -> None:
    """What each ingredient of the model buys: the model made again without it, compared on the test.

    Example: twin ablation churn
    """
    settings = settings_of(context)
    with _steps_before("ablation"):
        tell(take_away(settings, settings.model(model), rows), json)
