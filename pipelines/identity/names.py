"""Names in Thai and in any romanisation of it: what they have in common in writing.

A Thai name has one spelling in Thai and many in English (สุวรรณรัตน์: Suwannarat, Suvannarath, Suwanarat).
The Royal Institute's romanisation by PyThaiNLP and whatever somebody wrote are both reduced to the skeleton
of their consonants, in classes that the spellings confuse: aspirates with their plain sound, voiced with
unvoiced, finals as Thai speaks them (r and l as n, s and ch as t). Vowels go, and so do h, and y and w
that are part of a vowel. Skeletons block; names that are alike prove nothing alone.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import JaroWinkler

# Of words of names in the two scripts 92 of 96 pairs reach it, and 129 of 4,512 that are not one name.
ALIKE = 0.8

_THAI = re.compile("[\u0e00-\u0e7f]")
_WITHIN = re.compile("['’`-]")
_NOT_NAME = re.compile(r"[^\w\u0e00-\u0e7f]+|[\d_]+")
_TITLES = {"mr", "mrs", "ms", "miss", "khun", "dr", "k"}
# Thai titles stand before the name without a blank; what follows has to begin like a syllable.
_THAI_TITLE = re.compile("^(?:นางสาว|น\\.ส\\.|นาย|นาง|คุณ|ดร\\.|ด\\.ช\\.|ด\\.ญ\\.)\\s*(?=[ก-ฮเ-ไ]..)")
_SOUNDS = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"ch|sh|j", "C"), (r"ph|bh|b", "p"), (r"th|dh|d", "t"), (r"kh|gh|g(?!$)|q|c", "k"), (r"x", "ks"),
        (r"v", "w"), (r"z", "s"), (r"ng?k?(?=n?g)|ng", "n"), (r"[rl](?=n)", ""), (r"[rl]$", "n"), (r"[sC]$", "t"),
        (r"[wy](?![aeiouy])", ""), (r"g", "k"), (r"[^a-zC]", ""), (r"[aeiouh]", ""), (r"(.)\1+", r"\1"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A name without its title, in lower case: the given name, and the family name ("" where there is none)."""

    given: str
    family: str

    @property
    def thai(self) -> bool:
        return _THAI.search(self.given) is not None

    @property
    def keys(self) -> tuple[str, str]:
        """The skeletons of both, to block by."""
        return skeleton(self.given), skeleton(self.family)


def read_name(text: str) -> Name | None:
    """The name that `text` holds: the first word, and the last; None where it holds no letter. Never raises."""
    clean = unicodedata.normalize("NFC", text).strip().lower()
    clean = _WITHIN.sub("", _THAI_TITLE.sub("", clean))
    words = [word for word in _NOT_NAME.split(clean) if word]
    while len(words) > 1 and words[0] in _TITLES:
        words.pop(0)
    if not words:
        return None
    return Name(words[0], words[-1] if len(words) > 1 else "")


@lru_cache(maxsize=1 << 16)
def skeleton(word: str) -> str:
    """The consonants of a word in Thai or Latin letters, in classes of sound; the word itself if it has none.

    The first use reads PyThaiNLP's dictionary, some 0.6 s; a Thai word takes some 0.2 ms.
    """
    latin = _romanised(word) if _THAI.search(word) else word
    plain = unicodedata.normalize("NFKD", latin).encode("ascii", "ignore").decode().lower()
    for pattern, sound in _SOUNDS:
        plain = pattern.sub(sound, plain)
    return plain.lower() or latin


def similarity(left: Name, right: Name) -> float:
    """From 0 to 1: how alike the names are, the less alike of given and family name; in one script by letters
    or sound, whichever is more alike, in two by sound."""
    return min(alike(left.given, right.given), alike(left.family, right.family))


def alike(left: str, right: str) -> float:
    """From 0 to 1: how alike two words of names are. An empty one is alike to nothing but another."""
    if not left or not right:
        return float(left == right)
    by_sound = JaroWinkler.similarity(skeleton(left), skeleton(right))
    if bool(_THAI.search(left)) != bool(_THAI.search(right)):
        return by_sound
    return max(by_sound, JaroWinkler.similarity(left, right))


def _romanised(word: str) -> str:
    # It would make a folder in the user's home, and fetch what it misses.
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    os.environ.setdefault("PYTHAINLP_OFFLINE", "1")
    from pythainlp.transliterate import romanize

    return romanize(word, engine="royin")
