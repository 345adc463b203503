"""Random numbers by key: a day's draws depend on the seed, the purpose and the day, and on nothing else.

So a run with a later end draws the same days again, and one source's draws never shift another's.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def generator(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """A generator for this seed, purpose (any text) and keys (such as a day's index)."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(purpose.encode()), *keys]))


def tokens(seed: int, purpose: str, numbers: NDArray[np.int64]) -> list[str]:
    """16 hexadecimal digits for each number: stable, different for different numbers, and in no order."""
    return [f"{number:016x}" for number in _mix(seed, purpose, numbers).tolist()]


def uniforms(seed: int, purpose: str, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each number, which depends on nothing else."""
    return (_mix(seed, purpose, numbers) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(seed: int, purpose: str, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014), a bijection of 64-bit integers."""
    offset = np.uint64(generator(seed, purpose).integers(0, 2**63))
    mixed = (np.asarray(numbers).astype(np.uint64) + offset) * _GAMMA
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
