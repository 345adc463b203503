"""What the report on actions says, section by section, from the figures of `evaluation.json` and what was explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.artefacts import Dataset
from pipelines.canvas import Image
from pipelines.next_best_action.report_page import Banner, Section, ShownExample, Table
from pipelines.next_best_action.report_plots import curves_image, plain_curves_image, values_image
from pipelines.settings.models import ActionModelConfig

if TYPE_CHECKING:
    from pipelines.next_best_action.report import Explanation

Figures = Mapping[str, Any]
_SHOWN = 12
_BUDGET_NAMES = {"chosen": "by effect (this model)", "propensity": "by propensity", "random": "at random"}
_ORDER_NAMES = {"effect": "by effect", "propensity": "by propensity", "random": "random"}
_ESTIMATORS = {"dm": "DM", "ips": "IPS", "snips": "SNIPS", "dr": "DR", "switch_dr": "Switch-DR", "dr_os": "DRos"}

LIMITS = (
    "An effect is that of one action on one customer with all else as it was in the log; many contacts at once, or "
    "another season, may change it.",
    "What an action does after the horizon, and to other customers, is not counted.",
    "A reason says what moved the model's expectation of the effect. It does not say that changing the input would "
    "change the effect.",
    "The value of a policy is its mean over decisions like those of the test; it says little of any one customer.",
    "Policies were compared on the test; the highest of several looks better than it is. The choice itself was made "
    "on other rows.",
)


def banner(evaluation: Figures) -> Banner:
    """Whether somebody drew the actions; without that nothing here says what an action changes."""
    if evaluation["randomised"]:
        text = "Every action of the log was drawn with a known chance: differences between arms are what actions do."
        return Banner("RANDOMISED", text, False)
    text = (
        "Nobody drew these actions. Their chances are estimated from what is known of the customers, and whatever "
        "else decided is part of every figure below. It must not decide about anybody on this ground."
    )
    return Banner("ASSOCIATIONAL", text, True)


def all_sections(
    config: ActionModelConfig, dataset: Dataset, evaluation: Figures, training: Figures, explained: Explanation
) -> list[Section]:
    """In the order of the page."""
    return [
        _decides(config, dataset, evaluation),
        Section("Does it help?", verdict=[*evaluation["verdict_sentences"], evaluation["recommendation"]]),
        _arms(evaluation),
        _policies(evaluation),
        _budget(evaluation),
        _rankings(evaluation, explained),
        _support(evaluation),
        *_reasons(evaluation, explained),
        _segments(evaluation, explained),
        _examples(evaluation, explained),
        Section("Limits", notes=[*LIMITS, *evaluation["notes"]]),
        _made(config, dataset, evaluation, training),
    ]


def _decides(config: ActionModelConfig, dataset: Dataset, evaluation: Figures) -> Section:
    made = dataset.manifest
    text = (
        f"For each customer it expects what every action changes in the reward ({evaluation['reward']}) within "
        f"{config.label.horizon} of it. A decision takes the action whose effect, in money and less its cost, is the "
        f"largest, and none where no effect is worth its cost.",
        f"It tells {', '.join(evaluation['actions'])} apart from {evaluation['control']}. Learned from "
        f"{evaluation['train_rows']:,} decisions, tested on {evaluation['test_rows']:,} later ones of "
        f"{evaluation['test_customers']:,} customers; events from {_day(made.data_start)} to {_day(made.data_end)}.",
    )
    return Section("What it decides", text=text)


def _arms(evaluation: Figures) -> Section:
    rows = [
        (
            item["arm"], f"{item['rows']:,}", _percent(item["share"]), _number(item["mean_reward"]),
            f"{item['lowest_propensity']:.4g} to {item['highest_propensity']:.4g}",
        )
        for item in evaluation["arms"]
    ]  # fmt: skip
    head = ("Arm", "Decisions", "Share", f"Mean reward ({evaluation['reward']})", "Propensity")
    return Section("Arms of the test", tables=[Table("As the log has them.", head, rows)])


def _policies(evaluation: Figures) -> Section:
    unit = _money(evaluation)
    ordered = sorted(evaluation["policies"], key=lambda item: -item["value"])
    own = next(item["title"] for item in ordered if item["name"] == "chosen")
    gains = {item["against"]: item for item in evaluation["gains"]}
    rows = [
        (
            item["title"], _within(item), _within(gains[item["name"]], True) if item["name"] in gains else "–",
            _percent(item["acted"]), _number(item["spent"]), f"{item['effective_sample_size']:,.0f}",
        )
        for item in ordered
    ]  # fmt: skip
    head = ("Policy", f"Value, {unit}", f"This model gains, {unit}", "Acts on", "Spends", "Effective decisions")
    caption = f"Value of a decision, net of costs, by {_ESTIMATORS[evaluation['judged_by']]}, with 95 % intervals."
    tables = [Table(caption, head, rows, own), _estimates(ordered, own)]
    image = values_image([(item["title"], item["value"], item["low"], item["high"]) for item in ordered], own, unit)
    notes = [f"{item['title']}: {warning}." for item in ordered for warning in item["warnings"]]
    return Section("All policies on the same test", tables=tables, images=[image], notes=notes)


def _estimates(ordered: Sequence[Figures], own: str) -> Table:
    names = [name for name in _ESTIMATORS if all(name in item["estimates"] for item in ordered)]
    rows = [(item["title"], *(_range(*item["estimates"][name]) for name in names)) for item in ordered]
    return Table("The same values by each estimator.", ("Policy", *(_ESTIMATORS[name] for name in names)), rows, own)


def _budget(evaluation: Figures) -> Section:
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for point in evaluation["budget"]:
        line = lines.setdefault(_BUDGET_NAMES.get(point["policy"], point["policy"]), [])
        line.append((point["budget"], point["value"], point["low"], point["high"]))
    if not lines:
        return Section("What a budget buys", text=("There is no curve: no action costs anything or can be counted.",))
    unit = _money(evaluation)
    # Where no action costs anything, a budget counts actions.
    spends = unit if any(item["spent"] > 0 for item in evaluation["policies"]) else "actions"
    title = "What is brought over no action, at each budget"
    images = [curves_image(lines, f"budget, {spends} a decision", f"gain over no action, {unit} a decision", title)]
    rows = [
        (
            _BUDGET_NAMES.get(item["policy"], item["policy"]), _number(item["budget"]), _number(item["spent"]),
            _percent(item["acted"]), _within(item, True),
        )
        for item in evaluation["budget"]
    ]  # fmt: skip
    head = ("Targeting", f"Budget, {spends}", "Spent", "Acts on", f"Gain, {unit} a decision")
    return Section("What a budget buys", tables=[Table(title + ".", head, rows)], images=images)


def _rankings(evaluation: Figures, explained: Explanation) -> Section:
    rows = [
        (
            f"{item['action']}, {_ORDER_NAMES.get(item['by'], item['by'])}", f"{item['rows']:,}",
            *(_interval(item[name]) for name in ("qini", "auuc", "uplift", "dr_gain")),
        )
        for item in evaluation["rankings"]
    ]  # fmt: skip
    head = ("Order of customers", "Decisions", "Qini", "AUUC", "Uplift at 20 %", "DR gain at 20 %")
    caption = f"In units of the reward ({evaluation['reward']}), 95 % intervals over customers."
    images: list[Image] = []
    for action, curves in explained.curves.items():
        lines = {_ORDER_NAMES.get(name, name): points for name, points in curves.items()}
        if lines:
            title = f"Qini curve of {action} against {evaluation['control']}"
            images.append(plain_curves_image(lines, "share acted on", f"Q, {evaluation['reward']}", title))
    text = (
        "Are those put first the ones whom an action changes? A curve above that of a random order says so. Formulas "
        "are those of pipelines/uplift/metrics.py; the area is not divided by that of a perfect order.",
    )
    return Section("How good is the order of customers?", text=text, tables=[Table(caption, head, rows)], images=images)


def _support(evaluation: Figures) -> Section:
    found = evaluation["support"]
    rows = [
        ("Effective sample size", f"{found['effective_sample_size']:,.0f} decisions, "
         f"{_percent(found['effective_share'])} of the test"),
        ("Overlap", f"{_percent(found['overlap'])} of the decisions are ones that this model could make"),
        ("Never logged", f"{_percent(found['mass_never_logged'])} of its choices"),
        ("Mean importance weight", f"{found['mean_weight']:.3f} ± {found['mean_weight_error']:.3f}; 1 is right"),
        ("Largest weights", ", ".join(f"{weight:.4g}" for weight in found["largest_weights"])),
    ]  # fmt: skip
    table = Table("What the log can say of this model's policy.", ("What", "Figure"), rows)
    return Section("Overlap", tables=[table], notes=found["warnings"])


def _reasons(evaluation: Figures, explained: Explanation) -> Iterator[Section]:
    unit = evaluation["reward"]
    for action, found in explained.reasons.items():
        title = f"Who is changed by {action}"
        if action not in explained.images:
            text = ("One effect for all was chosen: no input moves it, so there is nothing to explain.",)
            yield Section(title, text=text)
            continue
        rows = [
            (
                item.meaning, f"{item.effect:.4g}", str(item.effect_rank or "–"), f"{item.response:.4g}",
                str(item.response_rank or "–"), _direction(item.direction),
            )
            for item in found.inputs[:_SHOWN]
        ]  # fmt: skip
        head = ("Input", "Effect", "Rank", "Response", "Rank", "Higher values")
        caption = (
            f"Mean absolute contribution (SHAP) in {unit} over {explained.rows:,} decisions. Contributions add up to "
            "the effect of every row to 1e-9. An input that is high for the response and low for the effect tells who "
            "buys, not who is changed."
        )
        yield Section(title, tables=[Table(caption, head, rows)], images=explained.images[action])


def _segments(evaluation: Figures, explained: Explanation) -> Section:
    own = [
        (
            item.action, f"{item.of}: {item.band}", f"{item.rows:,}", f"{item.predicted:.4g}",
            _range(item.observed, item.low, item.high), "yes" if item.agrees else "no",
        )
        for item in explained.segments
    ]  # fmt: skip
    head = ("Action", "Part of the test", "Decisions", "Predicted", "Observed", "Within")
    caption = (
        f"Effects in {evaluation['reward']}: the mean that is predicted, and what the log says (doubly robust), with "
        "its 95 % interval. Of twenty parts one misses by chance."
    )
    tables = [Table(caption, head, own)]
    if evaluation["segments"]:
        tables.append(_slices(evaluation))
    return Section("The effect in parts of the test", tables=tables)


def _slices(evaluation: Figures) -> Table:
    rows = [
        (
            f"{item['slice']}: {item['band']}", f"{item['rows']:,}", _within(item, True),
            ", ".join(f"{arm} {_percent(share)}" for arm, share in item["shares"].items()),
        )
        for item in evaluation["segments"]
    ]  # fmt: skip
    head = ("Part of the test", "Decisions", f"Gain over no action, {_money(evaluation)}", "What the model chooses")
    return Table("What its policy brings in each slice.", head, rows)


def _examples(evaluation: Figures, explained: Explanation) -> Section:
    unit = evaluation["reward"]
    shown = [
        ShownExample(
            f"{example.action}: {example.role}",
            f"Expected effect {example.effect:+.4g} {unit} (mean {example.base:+.4g}); expected with the action: "
            f"{example.response:.4g}.",
            example.reasons,
        )
        for example in explained.examples
    ]
    text = () if shown else ("There are none where one effect holds for all.",)
    return Section("Single decisions", text=text, examples=shown)


def _made(config: ActionModelConfig, dataset: Dataset, evaluation: Figures, training: Figures) -> Section:
    made = dataset.manifest
    rows = [
        ("Owner", config.owner),
        ("Assignments", ", ".join(source.event for source in config.label.assigned_by)),
        ("Horizon", f"{config.label.horizon}, after a gap of {config.label.gap}"),
        ("Data", f"{_day(made.data_start)} to {_day(made.data_end)}"),
        ("Features", f"{len(made.features)} of service {made.feature_service}, spec {made.spec_hash}"),
        ("Dataset", f"{made.dataset_hash}, lake version {made.lake_version}"),
        ("Learner", evaluation["learner"]),
        ("Model", evaluation["model_hash"]),
        ("Champion then", str(evaluation["champion_version"] or "none")),
        *((str(key), str(value)) for key, value in training.get("params", {}).items()),
    ]
    return Section("How it was made", tables=[Table("", ("What", "Which"), rows)])


def _money(evaluation: Figures) -> str:
    return str(evaluation["currency"] or "money")


def _within(item: Figures, signed: bool = False) -> str:
    return _range(item["value"], item["low"], item["high"], signed)


def _interval(item: Figures) -> str:
    return _range(item["estimate"], item["low"], item["high"])


def _range(value: float | None, low: float | None, high: float | None, signed: bool = False) -> str:
    return f"{_number(value, signed)} [{_number(low, signed)}, {_number(high, signed)}]"


def _number(value: float | None, signed: bool = False) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:{'+' if signed else ''}.4g}".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _direction(value: float | None) -> str:
    if value is None:
        return "do not vary"
    if abs(value) < 0.3:
        return "no one direction"
    return "more effect" if value > 0 else "less effect"


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1_000_000, tz=UTC).date().isoformat()
