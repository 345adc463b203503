"""Mailings of a grocer, which people chose and nobody drew: an associational report, and a policy that is not promoted.

`python -m tests.studies.grocery_actions` prints Markdown.
"""

from __future__ import annotations

from pipelines.artefacts import EVALUATION, REGISTRATION, TRAINING, read_json
from pipelines.settings import CHECKOUT, Workspace
from tests.real_data import DATA
from tests.sources_table import FILES
from tests.studies.run import twin

MODEL = "grocery_mailing"
SOURCES = ("grocery_baskets", "grocery_mailings")
WORKSPACE = "study-actions-grocery"


def figures() -> str:
    """Policies as the log has them, and what `twin promote` answers."""
    workspace = Workspace(WORKSPACE)
    folder = workspace.artefacts(MODEL)
    if not (folder / REGISTRATION).exists():
        for source in SOURCES:
            _must(workspace, "ingest", "--source", source, str(DATA / FILES[source]))
        _must(workspace, "train", MODEL)
    training, evaluation = read_json(folder / TRAINING), read_json(folder / EVALUATION)
    registration = read_json(folder / REGISTRATION)
    refused = [
        _refused(workspace, "promote", MODEL, registration["version"]),
        _refused(workspace, "promote", MODEL, registration["version"], "--despite-gates"),
    ]
    lines = [
        f"### mailings (grocery)\n\n{training['rows']:,} decisions to learn from, {evaluation['test_rows']:,} later "
        "ones to judge by; money is a quarter of what is spent, and a mailing costs nothing here.\n",
        "| policy | money a decision (DR) | effective decisions | acted |", "| --- | --- | --- | --- |",
        *(
            f"| {row['title']} | {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] | "
            f"{row['effective_sample_size']:,.0f} | {row['acted']:.0%} |"
            for row in sorted(evaluation["policies"], key=lambda row: -row["value"])
        ),
        "", *evaluation["verdict_sentences"],
        f"\nRegistered as version {registration['version']}, {registration['alias']}; gates failed: "
        f"{', '.join(gate['name'] for gate in registration['gates'] if not gate['passed'])}.\n",
        "```", *refused, "```",
    ]  # fmt: skip
    return "\n".join(lines)


def _must(workspace: Workspace, *arguments: str) -> None:
    done = twin(workspace, CHECKOUT / "configs", *arguments)
    if done.returncode:
        raise SystemExit(done.stderr)


def _refused(workspace: Workspace, *arguments: str) -> str:
    """The command and its refusal; an accepted one is a failed study."""
    done = twin(workspace, CHECKOUT / "configs", *arguments)
    if not done.returncode:
        raise SystemExit(f"twin {' '.join(arguments)} was not refused")
    return f"$ twin {' '.join(arguments)}\n{done.stderr.strip()}"


if __name__ == "__main__":
    print(figures())
