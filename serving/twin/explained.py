"""Why a model said what it said of one customer: every contribution, which add up to its score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.model_inputs import ALIVE, NO_ORDER
from feature_repo.reasons import Reason, check_additive, reason_codes
from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from feature_repo.words import words_of
from pipelines.model_store import EFFECTS
from pipelines.served_search import Served, find_served
from pipelines.settings import Settings
from serving.api.errors import ApiError, ErrorDetail
from serving.champion import MODEL_MISSING, Champion, StoredChampion, find_champion

_RHYTHM = "buying_rhythm"
_OF_CALL = "this_call"


@dataclass(frozen=True, slots=True)
class Group:
    """What the features of one view contribute together, in log-odds."""

    view: str
    contribution: float
    features: int


@dataclass(frozen=True, slots=True)
class Explained:
    """`base_value` and all `contributions`, the strongest first, add up to `log_odds`; those left out are 0.

    `groups` is None where the spec of the model is not here any more.
    """

    probability: float
    log_odds: float
    base_value: float
    contributions: tuple[Reason, ...]
    groups: tuple[Group, ...] | None
    in_population: bool | None


def explain(champion: Champion, values: Sequence[FeatureValue], spec: FeatureSpec | None) -> Explained:
    """Why `champion` says what it says of features as they were read, in its order.

    Raises:
        AdditivityError: contributions do not add up to the score; nothing of this may be shown.
    """
    features = np.array([values], dtype=np.float64)
    columns = champion.columns(features)
    contributions, scores = champion.contributions(columns), champion.scores(columns)
    check_additive(contributions, scores)
    names = champion.inputs.names
    reasons = reason_codes(contributions[0], columns[0], names, len(names), _meanings(champion, spec))
    return Explained(
        probability=float(champion.probabilities(columns)[0]),
        log_odds=float(scores[0]),
        base_value=float(contributions[0, -1]),
        contributions=reasons,
        groups=None if spec is None else _groups(reasons, spec),
        in_population=champion.in_population(features)[0],
    )


def _groups(reasons: Sequence[Reason], spec: FeatureSpec) -> tuple[Group, ...]:
    of_view: dict[str, list[float]] = defaultdict(list)
    for reason in reasons:
        of_view[_view(reason.feature, spec)].append(reason.contribution)
    made = [Group(view, sum(parts), len(parts)) for view, parts in of_view.items()]
    return tuple(sorted(made, key=lambda group: (-abs(group.contribution), group.view)))


def _view(feature: str, spec: FeatureSpec) -> str:
    if feature in (ALIVE, NO_ORDER):
        return _RHYTHM
    return spec.by_name[feature].view if feature in spec.by_name else _OF_CALL


def _meanings(champion: Champion, spec: FeatureSpec | None) -> Mapping[str, str]:
    words = {} if spec is None else {name: words_of(spec, name) for name in champion.features}
    return words | champion.inputs.words()


def served_under(
    settings: Settings, request_id: str, customer_ids: Collection[str] | None, model: str | None
) -> Served:
    """What was served under a request id, of the customer with these ids and of one model where they are named.

    Raises ApiError: 404 where the log has nothing of it, 400 where it has several customers and none is named.
    """
    found = [
        one
        for one in find_served(settings.workspace.served, request_id, customer_ids)
        if model is None or one.reads.model == model
    ]
    if not found:
        hint = "the log is written four times a second, keeps `served_log.keep_days`, and a `share` of the requests"
        detail = ErrorDetail(field="request_id", expected="that of a prediction in the log", got="another", hint=hint)
        raise ApiError(404, "unknown_request", "this prediction is not in the log", [detail])
    if len({(one.vector.customer_id, one.reads.id, one.vector.as_of) for one in found}) > 1:
        hint = "name one with customer_id, and one model with model"
        detail = ErrorDetail(field="request_id", expected="that of one prediction", got="that of several", hint=hint)
        raise ApiError(400, "several_predictions", "several predictions have this request id", [detail])
    return found[0]


def champion_of(settings: Settings, served: Served) -> Champion:
    """The version that was served. Raises ApiError: 410 where it is not here any more, or is no longer what it was."""
    model, version = served.reads.model, served.reads.version
    stored = _stored(settings, model, version)
    if stored is None or stored.kind == EFFECTS or stored.features != served.reads.features:
        hint = f"the log keeps what it read; to explain it, put version {version} back into the model store"
        detail = ErrorDetail(field="request_id", expected="a version in the model store", got="one removed", hint=hint)
        raise ApiError(410, "model_gone", f"version {version} of the model {model} is not here any more", [detail])
    return stored.load()


def _stored(settings: Settings, model: str, version: str) -> StoredChampion | None:
    try:
        return find_champion(settings.workspace.bentoml_home, model, version)
    except ApiError as error:
        if error.code == MODEL_MISSING:
            return None
        raise
