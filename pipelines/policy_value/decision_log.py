"""Logged decisions of a file or of a dataset, as arrays with the names that stand behind them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from pipelines.artefacts import DATASET, DATASET_MANIFEST, read_json
from pipelines.console import UserError
from pipelines.policy_value.cross_fit import Context, estimated_chances
from pipelines.policy_value.logged import Array, Logged
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig

# A text column with more values than this is a name, not a context.
MOST_VALUES = 200


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """`actions` are named in the order of their numbers. `frame` has the rows as read, in the order of `logged`.

    `otherwise` is what an action that is not eligible gives way to, None where everything is eligible to everybody.
    `associational` says that nobody drew the actions, and that propensities are estimated.
    """

    logged: Logged
    actions: tuple[str, ...]
    context: Context
    frame: pd.DataFrame
    otherwise: str | None = None
    associational: bool = False
    by_customer: bool = True


COLUMNS = ("action", "reward", "propensity", "customer_id")


def read_file(
    path: Path,
    context: tuple[str, ...] = (),
    prefixes: tuple[str, ...] = (),
    called: Mapping[str, str] | None = None,
) -> DecisionLog:
    """Decisions of a CSV (also .csv.gz) or Parquet file with columns action, reward, propensity and customer_id.

    `called` says what the file calls them, where it is something else.

    Without customer_id every row is a customer; without propensity it is estimated. Columns that begin with one of
    `prefixes` name actions too, which may never have been chosen.

    Raises:
        UserError: with every mistake of the file's columns.
    """
    names = dict(called or {})
    frame = _renamed(_read(path, [names.get(name, name) for name in ("action", "customer_id")]), names)
    problems = [
        Problem(
            names.get(name, name),
            "a column",
            f"none; there are: {', '.join(map(str, frame.columns[:20]))}",
            "",
            path.name,
        )
        for name in dict.fromkeys(("action", "reward", *context))
        if name not in frame.columns
    ]
    for name in ("reward", "propensity"):
        if name in frame.columns and pd.to_numeric(frame[name], errors="coerce").isna().any():
            problems.append(Problem(name, "a number in every row", _first(frame[name]), "", path.name))
    problems += [
        Problem(name, "a value in every row", f"{int(frame[name].isna().sum()):,} empty", "", path.name)
        for name in ("action", "customer_id")
        if name in frame.columns and frame[name].isna().any()
    ]
    if problems or frame.empty:
        problems = problems or [Problem("decisions", "at least one", "none", "", path.name)]
        raise UserError(f"{path.name} does not hold decisions that can be judged", problems)
    actions = tuple(sorted({*frame["action"].astype(str), *_named(frame, prefixes)}))
    eligible = np.ones((len(frame), len(actions)), dtype=bool)
    return _log(frame, frame["reward"], actions, eligible, context_of(frame, context), None)


def read_logged(settings: Settings, config: ActionModelConfig) -> DecisionLog:
    """Decisions of the dataset of a model of actions, rewards as its label says; features are the context.

    Raises:
        UserError: the dataset is not built yet, or is of another version.
    """
    folder = settings.workspace.artefacts(config.name)
    if not (folder / DATASET).exists():
        how = f"twin --workspace {settings.workspace.name} dataset {config.name}"
        raise UserError(f"There are no decisions of {config.name} yet: {how}; or name a file with --file")
    frame = pd.read_parquet(folder / DATASET)
    missing = [name for name in ("customer_id", "action", "propensity", "label", "eligible") if name not in frame]
    if missing:
        raise UserError(f"The dataset of {config.name} lacks {', '.join(missing)}; build it again.")
    features = tuple(read_json(folder / DATASET_MANIFEST)["features"])
    control = config.label.control
    named = {name for names in frame["eligible"].dropna() for name in names}
    actions = tuple(dict.fromkeys([control, *sorted({*frame["action"], *named})]))
    chosen = np.array([actions.index(name) for name in frame["action"]])
    eligible = eligible_arms(frame["eligible"].tolist(), actions, unsaid_arms(frame))
    # What was chosen, and no action, can be chosen.
    eligible[np.arange(len(frame)), chosen] = True
    eligible[:, 0] = True
    if frame["propensity"].isna().any():
        frame = frame.drop(columns="propensity")
    return _log(frame, frame["label"], actions, eligible, context_of(frame, features), control)


def context_of(frame: pd.DataFrame, names: tuple[str, ...]) -> Context:
    """Numbers as they are, text as codes in the order of its values.

    Raises:
        UserError: a column is neither, or is text with too many values to be a context.
    """
    columns, categorical, problems = [], [], []
    for place, name in enumerate(names):
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            columns.append(values.to_numpy(dtype=np.float64, na_value=np.nan))
            continue
        codes, found = pd.factorize(values.astype("string"), sort=True)
        if len(found) > MOST_VALUES:
            problems.append(Problem(name, f"numbers, or at most {MOST_VALUES} texts", f"{len(found):,} texts"))
        columns.append(np.where(codes < 0, np.nan, codes))
        categorical.append(place)
    if problems:
        raise UserError("The context cannot be learned from", problems)
    return Context(np.column_stack(columns) if columns else np.empty((len(frame), 0)), tuple(categorical))


def _log(
    frame: pd.DataFrame,
    reward: pd.Series[Any],
    actions: tuple[str, ...],
    eligible: NDArray[np.bool_],
    context: Context,
    otherwise: str | None,
) -> DecisionLog:
    numbers = {name: number for number, name in enumerate(actions)}
    action = np.asarray(frame["action"].astype(str).map(numbers), dtype=np.int64)
    known = "customer_id" in frame.columns
    cluster = pd.factorize(frame["customer_id"])[0].astype(np.int64) if known else np.arange(len(frame))
    associational = "propensity" not in frame.columns
    chances: Array = (
        estimated_chances(context, action, eligible, cluster)
        if associational
        else frame["propensity"].to_numpy(dtype=np.float64)
    )
    logged = Logged(action, reward.to_numpy(dtype=np.float64), chances, eligible, cluster)
    return DecisionLog(logged, actions, context, frame, otherwise, associational, known)


def _named(frame: pd.DataFrame, prefixes: tuple[str, ...]) -> set[str]:
    return {name[len(start) :] for start in prefixes for name in frame.columns if start and name.startswith(start)}


def unsaid_arms(rows: pd.DataFrame) -> frozenset[str]:
    """What could be chosen in rows of a dataset that do not say it (`eligible` is None): what was in any of them.

    A campaign that drew between two actions could not have chosen a third one that decisions know.
    """
    return frozenset(rows.loc[rows["eligible"].isna(), "action"])


def eligible_arms(
    named: Sequence[Sequence[str] | None], arms: Sequence[str], unsaid: Collection[str]
) -> NDArray[np.bool_]:
    """Which arms each row could get, bool (n, k): those that it names, else those of `unsaid`."""
    made = np.empty((len(named), len(arms)), dtype=bool)
    made[:] = [arm in unsaid for arm in arms]
    for at, own in enumerate(named):
        if own is not None:
            made[at] = [arm in own for arm in arms]
    return made


def _renamed(frame: pd.DataFrame, called: Mapping[str, str]) -> pd.DataFrame:
    """With our names; a column that has one of them already and is not meant gives way."""
    ours = {theirs: name for name, theirs in called.items()}
    kept = frame.drop(columns=[name for name in called if name in frame.columns and name not in ours])
    return kept.rename(columns=ours)


def _read(path: Path, texts: Sequence[str]) -> pd.DataFrame:
    text: dict[Hashable, type[str]] = dict.fromkeys(texts, str)
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            return frame.astype(
                {name: "string" for name in text if name in frame.columns and frame[name].notna().all()}
            )
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, dtype=text, low_memory=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{path.name} cannot be read: {error}") from None
    raise UserError(f"{path.name} is not a .csv, .csv.gz or .parquet file.")


def _first(values: pd.Series[Any]) -> str:
    """How many are no number, and the row of the first; not its content, which may be of a person."""
    wrong = pd.to_numeric(values, errors="coerce").isna()
    return f"something else in {int(wrong.sum()):,} rows, first in row {int(np.argmax(wrong)) + 1:,}"
