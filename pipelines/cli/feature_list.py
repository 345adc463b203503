"""`twin features list`: what every feature means, whose it is, and which models read it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import AsJson, as_text, settings_of

if TYPE_CHECKING:
    from feature_repo.spec import Feature, FeatureSpec, RequestFeature, RequestView, View
    from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class ListedFeature:
    """A feature for people. `models` read it by their configuration, `champions` are registered versions that do."""

    name: str
    meaning: str
    view: str
    owner: str
    services: tuple[str, ...]
    models: tuple[str, ...]
    champions: tuple[str, ...]

    @property
    def readers(self) -> str:
        return ", ".join([*self.models, *self.champions]) or "no model"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for; None is all."""

    service: str | None = None
    view: str | None = None
    model: str | None = None
    owner: str | None = None
    search: str | None = None

    def takes(self, feature: ListedFeature) -> bool:
        return (
            self.service in (None, *feature.services)
            and self.view in (None, feature.view)
            and self.model in (None, *feature.models, *(name.split(" ")[0] for name in feature.champions))
            and self.owner in (None, feature.owner)
            and (self.search is None or self.search.lower() in f"{feature.name} {feature.meaning}".lower())
        )


def listed_features(settings: Settings) -> list[ListedFeature]:
    """Every feature of the spec, in the order of its views, those of calls last."""
    from feature_repo.words import words_of
    from pipelines.champions import registered_champions

    spec, champions = settings.features, registered_champions(settings)
    services = {name: set(spec.service_features(name)) for name in spec.services}
    models = settings.all_models
    return [
        ListedFeature(
            feature.name,
            words_of(spec, feature.name),
            view.name,
            view.owner,
            tuple(name for name, members in services.items() if feature.name in members),
            tuple(n for n, model in models.items() if feature.name in services.get(model.feature_service, ())),
            tuple(f"{c.model} version {c.version} (champion)" for c in champions if feature.name in c.features),
        )
        for view, feature in _features(spec)
    ]


def _features(spec: FeatureSpec) -> Iterator[tuple[View | RequestView, Feature | RequestFeature]]:
    for view in spec.views:
        yield from ((view, feature) for feature in view.features)
    for of_calls in spec.request_views:
        yield from ((of_calls, feature) for feature in of_calls.features)


def list_command(
    context: typer.Context,
    service: Annotated[str | None, typer.Option(help="only what this feature service has")] = None,
    view: Annotated[str | None, typer.Option(help="only this view's")] = None,
    model: Annotated[str | None, typer.Option(help="only what this model reads")] = None,
    owner: Annotated[str | None, typer.Option(help="only what these people own")] = None,
    search: Annotated[str | None, typer.Option(help="only with this text in name or meaning")] = None,
    json: AsJson = False,
) -> None:
    """Every feature with its meaning in words, its view, owner, and the models that read it.

    In a pipe: a line each, the columns parted by tabs.

    Example: twin features list --model churn --search order
    """
    settings = settings_of(context)
    every, wanted = listed_features(settings), Wanted(service, view, model, owner, search)
    _check(settings, wanted, every)
    found = [feature for feature in every if wanted.takes(feature)]
    if json:
        print(as_text([asdict(feature) for feature in found]))
    elif sys.stdout.isatty():
        _show(settings.features, found)
    else:
        for f in found:
            print(f.name, f.meaning, f.view, f.owner, f.readers, sep="\t")
    counted = f"{len(found)} of {len(every)} features, spec {settings.features.hash}"
    print(counted, file=sys.stdout if sys.stdout.isatty() else sys.stderr)


def _check(settings: Settings, wanted: Wanted, every: Sequence[ListedFeature]) -> None:
    """Raises UserError for names that nothing has: an empty list would look like an answer."""
    from feature_repo.configuration import Problem
    from pipelines.console import UserError

    known = {
        "service": set(settings.features.services),
        "view": {view.name for view in settings.features.views},
        "model": {*settings.all_models, *(name.split(" ")[0] for feature in every for name in feature.champions)},
        "owner": {feature.owner for feature in every},
    }
    problems = [
        Problem(f"--{option}", f"one of: {', '.join(sorted(names))}", repr(asked))
        for option, names in known.items()
        if (asked := getattr(wanted, option)) is not None and asked not in names
    ]
    if problems:
        raise UserError("No feature can be of that.", problems)


def _show(spec: FeatureSpec, found: Sequence[ListedFeature]) -> None:
    """A table a view, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for view in spec.views:
        mine = [feature for feature in found if feature.view == view.name]
        if not mine:
            continue
        table = Table(title=f"{view.name}: {view.description} ({view.owner})", title_justify="left", expand=True)
        table.add_column("feature", overflow="fold", ratio=4)
        table.add_column("meaning", ratio=5)
        table.add_column("read by", ratio=2)
        for feature in mine:
            table.add_row(feature.name, feature.meaning, feature.readers)
        console.print(table)
