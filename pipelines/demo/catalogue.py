"""What the shop sells: categories of products in order of price."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

# category, prefix of its product ids, names, lowest and highest price in baht
_CATEGORIES: tuple[tuple[str, str, tuple[str, ...], int, int], ...] = (
    ("food", "FD", ("Jasmine rice", "ข้าวหอมมะลิ", "Fish sauce", "น้ำพริกเผา", "Dried mango", "Coconut milk"), 35, 480),
    ("drinks", "DR", ("Thai tea", "กาแฟคั่ว", "Oolong tea", "น้ำผึ้งป่า", "Cold brew", "Soy milk"), 25, 420),
    ("beauty", "BE", ("Sunscreen", "ครีมบำรุงผิว", "Lipstick", "Serum", "สบู่สมุนไพร", "Perfume"), 89, 1890),
    ("home", "HO", ("Pillow", "ผ้าปูที่นอน", "Rice cooker", "Fan", "ชุดจานชาม", "Lamp"), 149, 3490),
    ("fashion", "FA", ("Linen shirt", "ผ้าซิ่น", "Sandals", "Tote bag", "เสื้อยืด", "Sneakers"), 190, 2990),
    ("baby", "BA", ("Diapers", "นมผง", "Baby wipes", "Stroller toy", "ขวดนม", "Play mat"), 79, 1690),
    ("pets", "PE", ("Cat food", "อาหารสุนัข", "Cat litter", "Leash", "ขนมแมว", "Scratching post"), 45, 1290),
    ("electronics", "EL", ("Earphones", "พาวเวอร์แบงก์", "Smart plug", "Speaker", "สายชาร์จ", "Web camera"), 129, 4990),
)
PER_CATEGORY = 24
CATEGORY_NAMES = tuple(category[0] for category in _CATEGORIES)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Products as columns: product k stands in category k // PER_CATEGORY, cheapest first. Prices in satang."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    categories: tuple[str, ...]
    prices: NDArray[np.int64]


@cache
def catalogue() -> Catalogue:
    """The one catalogue; prices rise geometrically within a category and end in 9 baht."""
    ids, names, categories, prices = [], [], [], []
    for category, prefix, nouns, low, high in _CATEGORIES:
        steps = np.geomspace(low, high, PER_CATEGORY)
        for index, price in enumerate(steps):
            ids.append(f"{prefix}{index + 1:03d}")
            names.append(f"{nouns[index % len(nouns)]} {index // len(nouns) + 1}")
            categories.append(category)
            prices.append(100 * (int(price) // 10 * 10 + 9))
    return Catalogue(tuple(ids), tuple(names), tuple(categories), np.array(prices, dtype=np.int64))


def choose(
    rng: np.random.Generator, favourite: NDArray[np.int64], level: NDArray[np.float64], width: int
) -> NDArray[np.int64]:
    """`width` products for each customer: half of them of the favourite category, near the price level.

    `favourite` (n,) is a category's index, `level` (n,) is 0 (cheapest) to 1; returns (n, width) product indices.
    """
    shape = (len(favourite), width)
    other = rng.integers(0, len(CATEGORY_NAMES), shape)
    category = np.where(rng.random(shape) < 0.5, favourite[:, None], other)
    rank = level[:, None] * (PER_CATEGORY - 1) + rng.normal(0.0, 4.0, shape)
    return category * PER_CATEGORY + np.clip(np.rint(rank), 0, PER_CATEGORY - 1).astype(np.int64)
