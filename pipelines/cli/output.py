"""What commands share: the chosen workspace, and results as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from pipelines.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
ModelName = Annotated[str, typer.Argument(help="a file of configs/models, without .yaml")]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for all commands."""

    workspace: str | None

    def settings(self) -> Settings:
        """Raises ConfigurationError with every mistake of the configuration, but for what can be offered.

        Commands that decide or learn by that raise its mistakes; an action that has expired must stop no ingest.
        """
        from pipelines.settings import load_settings

        return load_settings(self.workspace, catalogue="apart")


def settings_of(context: typer.Context) -> Settings:
    """The settings of the workspace that was chosen for this call."""
    choice: Choice = context.obj
    return choice.settings()


class Summary(Protocol):
    """Every step returns one: a frozen dataclass that can say itself in words."""

    def text(self) -> str: ...


def tell(summary: Summary, as_json: bool) -> None:
    """Print a step's result for a person or for a program."""
    print(as_text(plain(summary)) if as_json else summary.text())


def as_text(content: Any) -> str:
    """JSON for a program, one document."""
    return json.dumps(content, ensure_ascii=False, indent=1)


def plain(value: Any) -> Any:
    """A dataclass as JSON can hold it."""
    if hasattr(value, "__dataclass_fields__"):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
