"""The demo: a made-up retailer from nothing to predictions."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pipelines.catalogue import NO_ACTION
from pipelines.cli.data import ingest_file
from pipelines.cli.identity import match
from pipelines.cli.model_steps import CHURN
from pipelines.cli.models import run_all, train_model
from pipelines.cli.output import settings_of
from pipelines.cli.service import ask, prepare_service, told
from pipelines.console import UserError

if TYPE_CHECKING:
    from pipelines.settings import Settings

_STOP_SECONDS = 20.0
ACTIONS = "next_best_action"
# What the search for parameters may take here, and the random one again: more finds nothing better on so little data.
_TUNING_SECONDS = 20.0
# How the service says that it is up.
_ANSWERS = ("ready: ", "up but not ready: ")


def register_commands(app: typer.Typer) -> None:
    app.command("demo")(demo_command)


def demo_command(
    context: typer.Context,
    customers: Annotated[
        int | None, typer.Option(min=50, help="customers to make up [default: configs/demo.yaml]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="another seed, another retailer")] = None,
    generate_only: Annotated[bool, typer.Option("--generate-only", help="write the source files, and no more")] = False,
    ingest_only: Annotated[bool, typer.Option("--ingest-only", help="write and ingest them, and no more")] = False,
) -> None:
    """From nothing to predictions and decisions on a made-up retailer: its files, the whole run, the service, answers.

    Example: twin --workspace demo demo
    """
    from pipelines.demo import generate, load_demo_config, source_files
    from pipelines.privacy import make_demo_key

    settings = settings_of(context)
    _refuse_foreign_events(settings)
    chosen = {name: value for name, value in (("customers", customers), ("seed", seed)) if value is not None}
    config = load_demo_config(settings.config_dir / "demo.yaml").model_copy(update=chosen)
    print(generate(config, settings.workspace.sources).text(), end="\n\n")
    if generate_only:
        return
    if make_demo_key(settings.workspace):
        print(f"personal data is encrypted with a key of the demo's own: {settings.workspace.demo_key}", end="\n\n")
    for source, file in source_files(settings.workspace.sources):
        report, _ = ingest_file(settings, source, file)
        print(report.text(), end="\n\n")
    print(match(settings).text(), end="\n\n")
    if ingest_only:
        return
    churn = settings.model(CHURN)
    tune = churn.tune.model_copy(update={"budget_seconds": min(churn.tune.budget_seconds, _TUNING_SECONDS)})
    run_all(settings, churn.model_copy(update={"tune": tune}))
    _ask_the_service(settings, decides=_learn_actions(settings))


def _refuse_foreign_events(settings: Settings) -> None:
    """A made-up retailer must not end up among real customers."""
    from pipelines.events.lake import sources_in

    foreign = [name for name in sources_in(settings.workspace.lake) if not name.startswith("demo_")]
    if foreign:
        raise UserError(
            f"workspace {settings.workspace.name!r} holds events of {', '.join(foreign)}: "
            "the demo needs a workspace of its own, such as: twin --workspace demo demo"
        )


def _learn_actions(settings: Settings) -> bool:
    """Learn what actions change, and have that decide, although so small a retailer cannot prove its worth.

    False where the retailer is even too small to learn it.
    """
    from pipelines.register import promote
    from pipelines.tracking import CHAMPION, alias_version, versions

    config = settings.action_model(ACTIONS)
    try:
        train_model(settings, config)
    except UserError as error:
        print(f"what actions change cannot be learned here, so nothing is decided: {error}", end="\n\n")
        return False
    if alias_version(settings, config.name, CHAMPION) is None:
        newest, reason = str(versions(settings, config.name)[-1].version), "to show decisions in the demo"
        print(f'$ twin promote {config.name} {newest} --despite-gates --reason "{reason}"')
        print(promote(settings, config, newest, reason, despite_gates=True).text(), end="\n\n")
    return True


def _decide(settings: Settings, url: str) -> None:
    """A plan for everybody, then a single decision for one whom the plan contacts and for one whom it does not."""
    import pandas as pd

    from pipelines.cli.decide import ask as ask_decision
    from pipelines.cli.decide import told as told_decision
    from pipelines.decide_batch import decide_all

    budget = 2000 * 10 ** settings.tracking_plan.currencies["THB"]
    print("\n$ twin decide --all --budget 2000")
    summary = decide_all(settings, budget)
    print(summary.text())
    plan = pd.read_parquet(summary.path, columns=["customer_id", "action", "holdout"]).query("not holdout")
    for contacted in (plan["action"] != NO_ACTION, plan["action"] == NO_ACTION):
        for customer in plan.loc[contacted, "customer_id"].head(1):
            print(f"\n$ twin decide {customer}")
            answer = ask_decision(url, customer, False, f"demo-{customer}")
            print("\n".join(told_decision(answer, settings.tracking_plan.currencies)))


def _ask_the_service(settings: Settings, decides: bool) -> None:
    with running_service(settings) as url:
        shown = _examples(settings, url)
        print(f"\nThe service answers at {url}:\n$ twin predict {' '.join(shown)} --reasons")
        print("\n".join(told(ask(url, shown, reasons=True))))
        if decides:
            _decide(settings, url)
    _show(settings, shown[0])
    workspace = settings.workspace
    print(
        f"\nReviewer's report: {workspace.artefacts(CHURN) / 'report.html'}"
        f"\nData Docs:         {workspace.data_docs}"
        "\nNext: make serve, make mlflow"
    )


def _show(settings: Settings, customer: str) -> None:
    """The twin of one customer."""
    from pipelines.twin.rules import Section
    from pipelines.twin.words import lines_of
    from pipelines.twin.workspace import show

    print(f"\n$ twin show {customer}")
    print("\n".join(lines_of(show(settings, customer, None, get_args(Section)))))


@contextmanager
def running_service(settings: Settings) -> Iterator[str]:
    """The prediction service on a free port, up from its ready line to the end of the block.

    Raises:
        UserError: it does not become ready.
    """
    command = [*prepare_service(settings), "--port", "0"]
    log = settings.workspace.root / "service.log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        # BentoML says things of its own first; a service that ends closes its output.
        told = next((line for line in process.stdout or [] if line.startswith(_ANSWERS)), "it ended")
        if not told.startswith("ready: "):
            raise UserError(f"the service did not become ready: {told.strip()}; see {log}")
        yield told.split()[1]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _examples(settings: Settings, url: str, most: int = 4) -> list[str]:
    """Customers from the lowest to the highest risk among those the model is about, evenly apart."""
    import pandas as pd

    from pipelines.artefacts import PREDICTIONS

    tested = pd.read_parquet(settings.workspace.artefacts(CHURN) / PREDICTIONS, columns=["customer_id"])
    customers = sorted(tested["customer_id"].unique())[: settings.profile.service.maximum_customers]
    answers = [item for item in ask(url, customers, reasons=False)["results"] if item["in_population"]]
    ranked = [item["customer_id"] for item in sorted(answers, key=lambda item: item["probability"])]
    places = sorted({round(i * (len(ranked) - 1) / (most - 1)) for i in range(most)}) if ranked else []
    return [ranked[place] for place in places]
