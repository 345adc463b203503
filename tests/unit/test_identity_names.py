"""Names in two scripts: what they share in sound, and that little follows from it."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.demo.names import FAMILY, GIVEN
from pipelines.identity.names import ALIKE, Name, alike, read_name, similarity, skeleton

# Somebody's name in Thai, and as they write it in English: made up, in the spellings that one meets.
PEOPLE = (
    ("สมชาย ใจดี", "Somchai Jaidee"), ("วิชัย ศรีสุข", "Vichai Srisook"), ("สุภาพร ทองดี", "Supaphon Tongdee"),
    ("ประเสริฐ บุญมาก", "Prasert Boonmark"), ("กิตติพงษ์ วงศ์สวัสดิ์", "Kittiphong Wongsawasdi"),
    ("ณัฐวุฒิ แก้วมณี", "Natthawut Kaewmanee"), ("พิมพ์ชนก แสงทอง", "Pimchanok Sangthong"),
    ("จิราพร มีสุข", "Chiraphorn Meesook"), ("อนุชา รุ่งเรือง", "Anucha Roongrueang"),
    ("ธนวัฒน์ พูลสวัสดิ์", "Tanawat Poolsawat"), ("ปวีณา ศิริวัฒน์", "Paveena Siriwat"),
    ("ชัยวัฒน์ เจริญสุข", "Chaiwat Charoensook"), ("มณีรัตน์ ทองคำ", "Maneerat Thongkam"),
    ("สุดารัตน์ แซ่ลิ้ม", "Sudarath Saelim"), ("ศิริพร คำแสน", "Siripon Kumsaen"), ("มานพ งามดี", "Manop Ngamdee"),
)  # fmt: skip


def _read(text: str) -> Name:
    name = read_name(text)
    assert name is not None
    return name


def test_a_name_is_found_again_in_the_other_script_and_others_are_not() -> None:
    pairs = [(_read(thai), _read(english)) for thai, english in PEOPLE]
    found = sum(similarity(thai, english) >= ALIKE for thai, english in pairs)
    wrong = sum(similarity(pairs[i][0], pairs[j][1]) >= ALIKE for i, j in permutations(range(len(pairs)), 2))
    print(f"{found} of {len(pairs)} names found in the other script, {wrong} false of {len(pairs) * (len(pairs) - 1)}")
    assert (found, wrong) == (16, 0)


def test_words_of_names_by_sound() -> None:
    """The figures beside ALIKE: each word against its usual romanisation, and against all the others."""
    found = wrong = 0
    for words in (GIVEN, FAMILY):
        found += sum(alike(thai, english.lower()) >= ALIKE for thai, english in words)
        wrong += sum(alike(one[0], other[1].lower()) >= ALIKE for one, other in permutations(words, 2))
    print(f"{found} of 96 words found, {wrong} false of 4512")
    assert (found, wrong) == (92, 129)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("สมชาย ใจดี", ("สมชาย", "ใจดี")),
        ("นายสมชาย ใจดี", ("สมชาย", "ใจดี")),
        ("นางสาว สุภาพร  ทองดี", ("สุภาพร", "ทองดี")),
        ("น.ส.สุภาพร ทองดี", ("สุภาพร", "ทองดี")),
        ("คุณสมชาย", ("สมชาย", "")),
        ("คุณากร ใจดี", ("คุณากร", "ใจดี")),
        ("Mr. Somchai Jaidee", ("somchai", "jaidee")),
        ("KHUN MRS Malee", ("malee", "")),
        ("Mary-Ann O'Brien", ("maryann", "obrien")),
        ("Somchai K. Jaidee", ("somchai", "jaidee")),
        ("Khun", ("khun", "")),
    ],
)
def test_titles_go_and_given_and_family_name_stay(text: str, expected: tuple[str, str]) -> None:
    name = _read(text)
    assert (name.given, name.family) == expected


@pytest.mark.parametrize("text", ["", "  ", "12345", "...", "-"])
def test_what_holds_no_letter_is_no_name(text: str) -> None:
    assert read_name(text) is None


def test_one_word_is_not_alike_to_none() -> None:
    assert alike("สมชาย", "") == 0.0
    assert alike("", "") == 1.0


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), st.text(alphabet="กขคงจฉชญฐณดตถทธนบปผพภมยรลวศสหอฮะาิีุูเแโใไ์่้ ", max_size=30)))
def test_no_text_raises(text: str) -> None:
    name = read_name(text)
    if name is not None:
        assert all(skeleton(word) == skeleton(word) for word in (name.given, name.family))
        assert similarity(name, name) == 1.0


def test_romanisation_writes_nothing_into_the_users_home(tmp_path: Path) -> None:
    """PyThaiNLP would make ~/pythainlp-data at its first use."""
    program = "from pipelines.identity.names import skeleton; print(skeleton('สมชาย'))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHAINLP")}
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, env={**environment, "HOME": str(tmp_path)}, capture_output=True, check=True)
    assert ran.stdout.decode().strip() == "smc"
    assert list(tmp_path.iterdir()) == []
