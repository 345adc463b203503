"""A twin in words: the newest of what is long, and how much there is beside it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.twin.words import lines_of


def cited(number: int) -> dict[str, Any]:
    return {"event": "Order Completed", "at": f"2026-01-{number:02}T10:00:00.000000Z", "channel": "web",
            "source": "web", "event_id": f"o{number}"}  # fmt: skip


def contact(number: int) -> dict[str, Any]:
    return {**cited(number), "event": "Email Delivered", "action": None}


def of(**sections: Any) -> list[str]:
    return lines_of({"customer_id": "c1", "as_of": "2026-02-01T00:00:00.000000Z", **sections})


@pytest.mark.parametrize(
    ("count", "shown", "more"), [(0, 0, ""), (6, 6, ""), (9, 6, "  and 3 before (--json has all)")]
)
def test_contacts_are_the_newest_six(count: int, shown: int, more: str) -> None:
    lines = of(contacts=[contact(number) for number in range(count, 0, -1)])
    assert [line for line in lines if "Email Delivered" in line] == [
        f"  2026-01-{number:02} 10:00  web: Email Delivered (o{number})" for number in range(count, count - shown, -1)
    ]
    assert lines[-1] == (more or lines[-1])
    assert any("before" in line for line in lines) == bool(more)


def test_a_path_shows_its_newest_steps_first() -> None:
    path = [{"stage": f"s{n}", "at": cited(n)["at"], "moved_by": cited(n)} for n in range(1, 9)]
    now = {"description": "has bought", "features": {}, "evidence": [cited(n) for n in range(1, 6)]}
    lines = of(stage={"stage": "s8", "since": cited(8)["at"], "now": now, "path": path, "path_is_whole": True})
    steps = [line.split("  ")[2].split(",")[0] for line in lines if "moved by" in line]
    assert steps == ["s8", "s7", "s6", "s5", "s4", "s3"]
    assert "  and 2 before (--json has all)" in lines
    (seen,) = (line for line in lines if line.startswith("  seen in"))
    assert (seen.count("Order Completed"), seen.endswith(" and 2 more")) == (3, True)
