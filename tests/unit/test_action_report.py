"""The report on actions: complete in itself, every figure that of the evaluation, every reason adding up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.model_inputs import ModelInputs
from feature_repo.reasons import AdditivityError
from pipelines import next_best_action
from pipelines.artefacts import EVALUATION, PREDICTIONS, REPORT, REPORT_FIGURES, read_json, write_json
from pipelines.console import UserError
from pipelines.next_best_action.report import ActionReport, report
from pipelines.next_best_action.report_curves import qini_curve
from pipelines.next_best_action.report_reasons import explain_action
from pipelines.next_best_action.report_segments import segments_of
from pipelines.next_best_action.storage import load_effects
from pipelines.uplift.metrics import OneAction, ranking
from pipelines.uplift.rows import FittedEffects
from tests.unit.action_parts import ACTIONS, Made, made_up
from tests.unit.effect_parts import fitted_effects


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, ActionReport]:
    made = evaluated(made_up(tmp_path_factory.mktemp("reported")))
    return made, report(made.settings, made.config, {made.dataset.manifest.features[1]: "how <often> they buy"})


def evaluated(made: Made) -> Made:
    next_best_action.fit(made.settings, made.config)
    next_best_action.evaluate(made.settings, made.config)
    return made


def page_of(made: Made) -> str:
    return (made.folder / REPORT).read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_elsewhere(reported: tuple[Made, ActionReport]) -> None:
    page = page_of(reported[0])
    sources = re.findall(r"""(?:src|href|srcset|data|action)\s*=\s*["']([^"']*)""", page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"<script|<link|<iframe|@import|url\(", page)


def test_its_figures_are_those_of_the_evaluation(reported: tuple[Made, ActionReport]) -> None:
    made, _ = reported
    figures, evaluation = read_json(made.folder / REPORT_FIGURES), read_json(made.folder / EVALUATION)
    assert figures["evaluation"] == evaluation
    page = page_of(made)
    for policy in evaluation["policies"]:
        assert f"<td>{policy['title']}</td>" in page
        shown = f"{policy['value']:.4g} [{policy['low']:.4g}, {policy['high']:.4g}]".replace("-", "−")
        assert f"<td>{shown}</td>" in page
    for sentence in evaluation["verdict_sentences"]:
        assert f"<p>{escaped(sentence)}</p>" in page
    assert escaped(evaluation["recommendation"]) in page
    for point in evaluation["budget"]:
        assert f"{point['value']:+.4g} [{point['low']:+.4g}, {point['high']:+.4g}]".replace("-", "−") in page
    assert page.count("Qini curve of") >= 2
    assert "RANDOMISED" in page
    assert "ASSOCIATIONAL" not in page


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")


def test_what_turns_the_effects_round_is_named_first(reported: tuple[Made, ActionReport]) -> None:
    """The second feature does, for the two actions in opposite directions."""
    made, summary = reported
    second = made.dataset.manifest.features[1]
    found = read_json(made.folder / REPORT_FIGURES)["features"]
    for action, sign in zip(ACTIONS, (1, -1), strict=True):
        assert found[action][0]["feature"] == second == summary.strongest[action][0]
        assert found[action][0]["effect_rank"] == 1
        assert sign * found[action][0]["direction"] > 0.5
    page = page_of(made)
    assert "how &lt;often&gt; they buy" in page
    assert page.count("<article>") == 6


def test_contributions_to_effect_and_response_are_those_of_their_boosters() -> None:
    """The second action's effect is .125 + .7 first + .3 second, its response .5 + 2 second."""
    names = ("a", "b", "c", "d")
    fitted = fitted_effects(ModelInputs(names, names))
    columns = np.random.default_rng(1).exponential(2.0, (300, 4))
    found = explain_action(fitted, "line_coupon", columns, {"b": "meaning of b"})
    first, second = (
        np.asarray(fitted.boosters[name].predict(columns, pred_contrib=True)) for name in ("first", "second")
    )
    np.testing.assert_allclose(found.effect.contributions, 0.7 * first[:, :4] + 0.3 * second[:, :4], atol=1e-12)
    np.testing.assert_allclose(found.response.contributions, 2 * second[:, :4], atol=1e-12)
    assert found.effect.base == pytest.approx(0.125 + 0.7 * first[0, 4] + 0.3 * second[0, 4])
    inputs = {item.feature: item for item in found.inputs}
    sizes = np.abs(0.7 * first[:, :4] + 0.3 * second[:, :4]).mean(axis=0)
    assert [inputs[name].effect for name in names] == pytest.approx(sizes.tolist())
    assert [item.feature for item in found.inputs] == [names[at] for at in np.argsort(-sizes)]
    assert {inputs[name].response_rank for name in names} <= {1, 2, 3, 4, None}
    assert inputs["b"].meaning == "meaning of b"


def test_examples_are_the_extremes_with_their_reasons(reported: tuple[Made, ActionReport]) -> None:
    examples = read_json(reported[0].folder / REPORT_FIGURES)["examples"]
    by_role = {item["role"]: item for item in examples if item["action"] == "email_coupon"}
    largest, median, smallest = (by_role[f"{role} effect"]["effect"] for role in ("largest", "median", "smallest"))
    assert largest > median > smallest
    assert "raises the effect" in by_role["largest effect"]["reasons"][0]
    assert "lowers the effect" in by_role["smallest effect"]["reasons"][0]


def test_effects_in_quarters_are_what_the_log_says_of_them(reported: tuple[Made, ActionReport]) -> None:
    segments = read_json(reported[0].folder / REPORT_FIGURES)["effect_segments"]
    quarters = [item for item in segments if item["action"] == "email_coupon" and item["of"] == "predicted effect"]
    assert len(quarters) == 4
    assert [item["predicted"] for item in quarters] == sorted(item["predicted"] for item in quarters)
    assert quarters[0]["high"] < 0 < quarters[-1]["low"]
    assert sum(item["rows"] for item in quarters) == len(pd.read_parquet(reported[0].folder / PREDICTIONS))


def test_a_qini_curve_has_the_area_that_the_metric_says() -> None:
    generator = np.random.default_rng(4)
    treated = generator.random(90) < 0.5
    reward, scores = generator.poisson(1.0, 90).astype(float), generator.integers(0, 40, 90).astype(float)
    rows = OneAction(reward, treated, np.full(90, 0.5), np.zeros(90), np.arange(90))
    share, curve = np.array(qini_curve(rows, scores)).T
    area = np.trapezoid(curve, share) - curve[-1] / 2
    assert area == pytest.approx(ranking(rows, scores, 1.0).metrics(np.ones((1, 90)))[0, 0])
    random = np.array(qini_curve(rows, np.zeros(90)))
    assert random[:, 0].tolist() == [0.0, 1.0]


def test_parts_of_few_rows_are_left_out_and_empty_values_stand_apart() -> None:
    values = np.concatenate([np.arange(100.0), np.full(40, np.nan)])[:, None]
    effects = np.linspace(0, 1, 140)
    found = segments_of("a", effects, effects, np.arange(140), values, ["x"], ["x"])
    of_x = [item for item in found if item.of == "x"]
    assert [item.band for item in of_x] == ["empty"]
    assert of_x[0].rows == 40
    assert all(item.agrees for item in found)


def test_reasons_that_do_not_add_up_are_not_shown(reported: tuple[Made, ActionReport]) -> None:
    made, _ = reported
    fitted = load_effects(made.folder)

    class Wrong(FittedEffects):
        def contributions(self, action: str, columns: Any) -> Any:
            return super().contributions(action, columns) + 1e-6

    columns = made.dataset.inputs("test").to_numpy(dtype=np.float64)[:20]
    with pytest.raises(AdditivityError):
        explain_action(Wrong(fitted.model, fitted.boosters), ACTIONS[0], columns, {})


def test_what_nobody_drew_is_told_first(tmp_path: Path) -> None:
    made = evaluated(made_up(tmp_path, rows=900, drawn=False))
    summary = report(made.settings, made.config)
    page = page_of(made)
    assert 'class="banner alarm"' in page
    assert page.index("ASSOCIATIONAL") < page.index("<h2>")
    assert "ASSOCIATIONAL" in summary.text()


def test_one_effect_for_all_needs_no_reasons(tmp_path: Path) -> None:
    made = evaluated(made_up(tmp_path, np.tile([0.2, 0.5], (900, 1)), rows=900))
    summary = report(made.settings, made.config)
    assert read_json(made.folder / EVALUATION)["learner"] == "constant"
    assert summary.strongest == dict.fromkeys(ACTIONS, ())
    page = page_of(made)
    assert page.count("no input moves it") == 2
    assert "one effect for all" in summary.text()
    json.dumps(read_json(made.folder / REPORT_FIGURES), allow_nan=False)


def test_an_evaluation_of_another_model_makes_no_report(reported: tuple[Made, ActionReport], tmp_path: Path) -> None:
    made, _ = reported
    evaluation = read_json(made.folder / EVALUATION)
    before = page_of(made)
    try:
        write_json(made.folder / EVALUATION, {**evaluation, "model_hash": "another"})
        with pytest.raises(UserError, match="do not belong together"):
            report(made.settings, made.config)
    finally:
        write_json(made.folder / EVALUATION, evaluation)
    assert page_of(made) == before
    with pytest.raises(FileNotFoundError):
        report(replace(made.settings, workspace=replace(made.settings.workspace, checkout=tmp_path)), made.config)
