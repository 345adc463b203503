"""Read one YAML file into one typed object, and say everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

try:
    # In C, several times faster; a PyYAML that was built without libyaml lacks it.
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

Model = TypeVar("Model", bound=BaseModel)


class ConfigModel(BaseModel):
    """Base of every configuration object: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in configuration or input, worded for the person who has to mend it."""

    field: str
    expected: str
    got: str
    hint: str = ""
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: {self.field}" if self.file else self.field
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: expected {self.expected}, got {self.got}{hint}"


class ConfigurationError(ValueError):
    """Everything that is wrong with the configuration, one `Problem` a mistake."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"{count} mistake{'s' if count != 1 else ''} in the configuration"
        super().__init__("\n  ".join([heading, *map(str, self.problems)]))


def read_yaml(path: Path) -> Any:
    """Parse a YAML file (safe subset).

    Raises:
        ConfigurationError: the file is missing, is not YAML, or says a key twice.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        content = loader.get_single_data()
    except FileNotFoundError:
        problem = Problem("file", "a readable file", "nothing there", "check the path", str(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = Problem("file", "YAML in UTF-8", " ".join(str(error).split()), "", str(path))
    except OSError as error:
        problem = Problem("file", "a readable file", str(error.strerror), "check the path", str(path))
    else:
        if loader.repeated:
            raise ConfigurationError([_repeated(key, line, path.name) for key, line in loader.repeated])
        return content
    raise ConfigurationError([problem])


class _Loader(SafeLoader):
    """YAML's safe subset; notes keys that stand twice in one place, of which YAML would keep the last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[tuple[str, int]] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    self.repeated.append((key.value, key.start_mark.line + 1))
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _repeated(key: str, line: int, file: str) -> Problem:
    return Problem(key, "each key once", f"it again in line {line}", "remove one of them", file)


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Read `path` into `model`.

    Raises:
        ConfigurationError: with every mistake of the file, not only the first.
    """
    return parse(read_yaml(path), model, file=path.name)


def parse(raw: Any, model: type[Model], file: str = "") -> Model:
    """Check `raw` (what YAML gave) against `model`.

    Raises:
        ConfigurationError: with every mistake, not only the first.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(problems_of(error, file, model)) from None


def problems_of(error: ValidationError, file: str = "", model: type[BaseModel] | None = None) -> list[Problem]:
    """Pydantic's findings in our wording; values are cut so that no document is echoed back."""
    items = error.errors(include_url=False)
    return [_problem(item, file, model) for item in items if not _follows(item, items)]


def _follows(item: Any, items: Iterable[Any]) -> bool:
    """Whether a list seems too short only because of mistakes in its elements, which are told themselves."""
    place = item["loc"]
    return item["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and len(other["loc"]) > len(place) for other in items
    )


def _problem(item: Any, file: str, model: type[BaseModel] | None) -> Problem:
    field = ".".join(str(part) for part in item["loc"]) or "(whole document)"
    if item["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) if model is not None and len(item["loc"]) == 1 else ""
        hint = f"known here: {known}" if known else "remove it, or check its spelling and indentation"
        return Problem(field, "no such key", "an unknown key", hint, file)
    if item["type"] == "missing":
        return Problem(field, "a value", "nothing", "add this key", file)
    if item["type"] in ("model_type", "model_attributes_type"):
        return Problem(field, "keys and their values", _short(item["input"]) if item["input"] else "nothing", "", file)
    return Problem(field, _lower_first(item["msg"]), _short(item["input"]), "", file)


def _lower_first(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return message[:1].lower() + message[1:]


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
