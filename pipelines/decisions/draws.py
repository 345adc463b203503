"""Draws that anybody can repeat: SHA-256 of what they depend on, read as numbers.

A draw is uniform over the 2^53 equally spaced numbers of [0, 1), so that a chance p is met to within 2^-53.
"""

from __future__ import annotations

import hashlib


def seed_of(salt: str, decision_id: str, customer_id: str) -> str:
    """What the draw of a decision comes from: 64 hexadecimal digits."""
    return _digest("exploration", salt, decision_id, customer_id).hex()


def in_holdout(salt: str, customer_id: str, share: float) -> bool:
    """Whether a customer is in the group that gets nothing: the same answer for ever, with a chance of `share`."""
    return share > 0.0 and _uniform(_digest("holdout", salt, customer_id)[:8]) < share


def draw(seed: str, share: float, choices: int) -> int | None:
    """With a chance of `share` one of 0 to choices - 1, each equally likely; else None, which means the best."""
    if share <= 0.0:
        return None
    whether, which = uniforms(seed)
    return None if whether >= share else int(which * choices)


def uniforms(seed: str) -> tuple[float, float]:
    """The two numbers in [0, 1) of a draw: whether it is one, and which choice it is."""
    numbers = hashlib.sha256(seed.encode()).digest()
    return _uniform(numbers[:8]), _uniform(numbers[8:16])


def chances(share: float, choices: int) -> tuple[float, float]:
    """The chance of the best choice, and that of each other one: `draw` with the best where it says None."""
    each = share / choices
    return 1.0 - each * (choices - 1), each


def _digest(*parts: str) -> bytes:
    # Lengths keep ("a", "bc") and ("ab", "c") apart.
    told = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest()


def _uniform(eight_bytes: bytes) -> float:
    return (int.from_bytes(eight_bytes, "big") >> 11) * 2.0**-53
