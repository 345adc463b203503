"""How tests are dealt out to workers: a file as a whole, and a group of files as a whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.conftest import FilesAndGroups


def test_a_file_is_one_piece_of_work_and_so_is_a_group() -> None:
    scheduling = FilesAndGroups(SimpleNamespace(getvalue=lambda _: ["popen"]))  # type: ignore[arg-type]
    pieces = {
        "tests/unit/test_a.py::test_one": "tests/unit/test_a.py",
        "tests/unit/test_a.py::TestIt::test_two[b@c::d]": "tests/unit/test_a.py",
        "tests/unit/test_a.py::TestIt::test_two[b@c::d]@spark": "spark",
        "tests/parity/test_b.py::test_three@spark": "spark",
    }
    assert {test: scheduling._split_scope(test) for test in pieces} == pieces


@pytest.mark.xdist_group("together")
def test_a_workers_tests_say_their_group(request: pytest.FixtureRequest) -> None:
    """xdist tells groups by names alone; where a version of pytest keeps them as they were, groups are lost."""
    by_groups = request.config.getoption("loadgroup", False)
    assert request.node.nodeid.endswith("@together") == by_groups
