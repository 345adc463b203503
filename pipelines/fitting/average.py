"""Several boosters as one, whose raw score is the mean of theirs.

Trees add up, so the trees of all, each leaf divided by how many boosters there are, are such a booster: `predict` and
`pred_contrib` stay what they are, and who serves it sees no difference. Trees are put together in LightGBM's text
format (`GBDT::SaveModelToString`): a header that lists the length of each tree, the trees, and what follows them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import lightgbm as lgb

_SIZES = re.compile(r"^tree_sizes=.*$", re.MULTILINE)
_NUMBER = re.compile(r"^Tree=\d+$", re.MULTILINE)
_LEAVES = re.compile(r"^num_leaves=(\d+)$", re.MULTILINE)
_END = "end of trees"


def average(boosters: Sequence[lgb.Booster]) -> lgb.Booster:
    """A booster whose raw score is the mean of the raw scores of `boosters`, which have the same columns.

    Raises:
        ValueError: there are none, or their columns differ.
    """
    if not boosters:
        raise ValueError("no boosters to average")
    if any(booster.feature_name() != boosters[0].feature_name() for booster in boosters):
        raise ValueError("boosters of different columns cannot be averaged")
    if len(boosters) == 1:
        return boosters[0]
    return scale_leaves(_together([booster.model_to_string(num_iteration=-1) for booster in boosters]), len(boosters))


def leaf_counts(text: str) -> list[int]:
    """How many leaves each tree of a model in text format has, in order."""
    return [int(count) for count in _LEAVES.findall(text)]


def scale_leaves(text: str, divisor: int) -> lgb.Booster:
    """The model in text format with every leaf divided."""
    scaled = lgb.Booster(model_str=text)
    for tree, leaves in enumerate(leaf_counts(text)):
        for leaf in range(leaves):
            scaled.set_leaf_output(tree, leaf, scaled.get_leaf_output(tree, leaf) / divisor)
    return scaled


def _together(texts: Sequence[str]) -> str:
    trees = [tree for text in texts for tree in _trees(text)]
    numbered = [_NUMBER.sub(f"Tree={number}", tree, count=1) for number, tree in enumerate(trees)]
    head, tail = texts[0][: texts[0].index("Tree=0\n")], texts[0][texts[0].index(_END) :]
    sizes = " ".join(str(len(tree.encode("utf-8"))) for tree in numbered)
    return _SIZES.sub(f"tree_sizes={sizes}", head, count=1) + "".join(numbered) + tail


def _trees(text: str) -> list[str]:
    """Each tree's part of the text, with the blanks after it."""
    body = text[text.index("Tree=0\n") : text.index(_END)]
    starts = [found.start() for found in _NUMBER.finditer(body)]
    return [body[start:end] for start, end in zip(starts, [*starts[1:], len(body)], strict=True)]
