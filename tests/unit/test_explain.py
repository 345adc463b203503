"""The report of a small model: complete, self-contained, additive, and the same each time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import shap

from feature_repo.reasons import AdditivityError
from pipelines.artefacts import (
    EVALUATION,
    MODEL,
    MODEL_CARD,
    REPORT,
    REPORT_FIGURES,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.console import UserError
from pipelines.evaluate import evaluate
from pipelines.explain import ExplainSummary, explain
from pipelines.explain.contributions import example_rows, explain_rows, reach
from pipelines.settings import Settings
from tests.reference import churn_artefacts

MEANINGS = {"noise": "a number <b>without</b> meaning", "order_completed_count_lifetime": "number of orders so far"}


class Page(HTMLParser):
    """What a browser would load or read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.captioned: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self._open.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if tag == "img":
            self.images.append(found)
        if tag == "figcaption":
            self.captioned.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "figcaption" in self._open:
            self.captioned[-1] += data


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = churn_artefacts.settings(tmp_path_factory.mktemp("checkout"))
    churn_artefacts.save_all(made.workspace.artefacts("churn"), churn_artefacts.dataset())
    evaluate(made, churn_artefacts.config())
    return made


@pytest.fixture(scope="module")
def folder(settings: Settings) -> Path:
    return settings.workspace.artefacts("churn")


@pytest.fixture(scope="module")
def summary(settings: Settings) -> ExplainSummary:
    return explain(settings, churn_artefacts.config(), MEANINGS, rows=300)


@pytest.fixture(scope="module")
def text(summary: ExplainSummary) -> str:
    return Path(summary.report).read_text(encoding="utf-8")


def test_page_loads_nothing_from_elsewhere(text: str) -> None:
    page = Page(text)
    assert page.addresses
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in text
    assert not re.search(r"url\((?!data:)", text)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_every_picture_has_words_and_a_caption(text: str) -> None:
    page = Page(text)
    assert len(page.images) >= 3 + len(churn_artefacts.FEATURES)
    assert all(len(image["alt"] or "") > 40 for image in page.images)
    assert len(page.captioned) == len(page.images)
    assert all(len(caption.split()) > 5 for caption in page.captioned)


def test_page_says_what_a_reviewer_asks(text: str, folder: Path) -> None:
    for phrase in (
        "at least one event “Order Completed” in the 90 days before", "60 days after it hold no such event",
        "What this should not be used for", "path-dependent", "300 of", "logistic regression", "BG/NBD",
        "by chance alone", "number of orders so far",
    ):  # fmt: skip
        assert phrase in text, phrase
    for sentence in read_json(folder / EVALUATION)["verdict_sentences"]:
        assert sentence.partition(": ")[0].rstrip(".") in text


def test_page_says_what_is_left_out_and_how_far_off_it_is_on_average(text: str, folder: Path) -> None:
    assert "between 2021-04-25 and 2021-06-24" in text
    assert "(60 days) reaches past 2021-06-24" in text
    assert "events without a known customer" in text
    own = next(m for m in read_json(folder / EVALUATION)["models"] if m["name"] == "lightgbm_tuned")
    rows = sum(item["rows"] for item in own["curve"])
    said = sum(item["rows"] * item["mean_probability"] for item in own["curve"]) / rows
    assert f"On average the model said {100 * said:.1f} %" in text


def test_summary_says_where_all_is_and_how_far_the_reasons_agree(summary: ExplainSummary) -> None:
    assert Path(summary.card).name == MODEL_CARD
    assert Path(summary.card).exists()
    assert set(summary.section_seconds) >= {"contributions", "interactions", "stability", "page"}
    assert "(Jaccard): 1.00 over seeds" in summary.text()


def test_words_from_outside_are_escaped(text: str) -> None:
    assert "&lt;b&gt;without&lt;/b&gt;" in text
    assert "<b>without" not in text


def test_examples_add_up_and_carry_reasons(summary: ExplainSummary, folder: Path) -> None:
    figures = read_json(folder / REPORT_FIGURES)
    assert summary.gap <= 1e-9
    assert figures["worst_additivity_gap"] == summary.gap
    roles = [role for example in figures["examples"] for role in example["roles"]]
    assert {"lowest probability", "median", "highest probability"} <= set(roles)
    assert len(roles) == 7
    for example in figures["examples"]:
        total = example["base"] + example["others"] + sum(reason["contribution"] for reason in example["reasons"])
        assert total == pytest.approx(example["log_odds"], abs=1e-9)
        assert example["probability"] == pytest.approx(1 / (1 + np.exp(-example["log_odds"])))
    probabilities = [example["probability"] for example in figures["examples"]]
    assert probabilities[0] == min(probabilities)
    assert max(probabilities) == probabilities[4]


def test_figures_have_no_nan_and_importances_are_shares(folder: Path, summary: ExplainSummary) -> None:
    figures = json.loads((folder / REPORT_FIGURES).read_text(), parse_constant=lambda constant: pytest.fail(constant))
    assert sum(item["share"] for item in figures["importances"]) == pytest.approx(1.0)
    assert figures["importances"][0]["feature"] == summary.top_features[0]
    assert figures["rows_explained"] == 300 < figures["rows_available"]


def test_same_inputs_same_bytes(settings: Settings, folder: Path, text: str) -> None:
    figures = (folder / REPORT_FIGURES).read_bytes()
    explain(settings, churn_artefacts.config(), MEANINGS, rows=300)
    assert (folder / REPORT).read_text(encoding="utf-8") == text
    assert (folder / REPORT_FIGURES).read_bytes() == figures


def test_contributions_are_those_of_shaps_tree_explainer(folder: Path) -> None:
    booster = lightgbm.Booster(model_file=folder / MODEL)
    values = load_dataset(folder).features("test").to_numpy()[:50]
    explained = explain_rows(booster, values)
    expected = np.asarray(shap.TreeExplainer(booster).shap_values(values))
    assert explained.contributions == pytest.approx(expected, abs=1e-9)


class Crooked(lightgbm.Booster):
    """A booster whose contributions miss its score."""

    def predict(self, data, **options):  # type: ignore[no-untyped-def,override]
        result = super().predict(data, **options)
        return result + 1e-6 if options.get("raw_score") else result


def test_contributions_that_do_not_add_up_are_refused(folder: Path) -> None:
    with pytest.raises(AdditivityError):
        explain_rows(Crooked(model_file=folder / MODEL), load_dataset(folder).features("test").to_numpy()[:5])


def test_examples_name_the_surest_mistakes() -> None:
    chosen = example_rows(np.array([0.1, 0.9, 0.5, 0.2, 0.8]), np.array([1, 0, 1, 0, 1]))
    assert chosen[0] == ["lowest probability", "lowest probability of those with label 1"]
    assert chosen[1] == ["highest probability", "highest probability of those with label 0"]
    assert chosen[2] == ["median"]


def test_reach_by_hand() -> None:
    half = reach(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1.0, 0.0, 1.0, 0.0]), (0.25, 0.5))
    assert (half[0].rows, half[0].precision, half[0].recall, half[0].lift) == (1, 1.0, 0.5, 2.0)
    assert (half[1].rows, half[1].precision, half[1].recall, half[1].lowest_probability) == (2, 0.5, 0.5, 0.8)


def test_missing_or_foreign_artefacts_are_clear_errors(folder: Path, tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    with pytest.raises(UserError, match=r"nothing to explain yet(.|\n)*evaluate the model first"):
        explain(elsewhere, churn_artefacts.config())
    target = elsewhere.workspace.artefacts("churn")
    churn_artefacts.save_all(target, churn_artefacts.dataset(300))
    write_json(target / EVALUATION, {**read_json(folder / EVALUATION), "dataset_hash": "other"})
    with pytest.raises(UserError, match="evaluate the model again"):
        explain(elsewhere, churn_artefacts.config())
    assert not (target / REPORT).exists()
