"""What every place for states has to do; one subclass a backend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from feature_repo.state.storage import SQLiteStateStorage, StateStorage, StoredState, grave

SPEC, OTHER = "spec-one", "spec-two"


def state(customer: str, position: int, newest: int = 0) -> StoredState:
    return StoredState(customer, position, newest, f"{customer} at {position}".encode())


class StateStorageContract:
    """Subclass it with a fixture `storage`."""

    def test_nothing_is_there_at_first(self, storage: StateStorage) -> None:
        assert storage.get_many(SPEC, ["c1"]) == {}
        assert storage.newest(SPEC) is None
        assert storage.count(SPEC) == 0
        assert storage.spec_hashes() == []

    def test_what_was_put_is_found(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 3, 30), state("ลูกค้า 'x", 4, 40)])
        assert storage.get_many(SPEC, ["ลูกค้า 'x", "c1", "c2"]) == {
            "c1": state("c1", 3, 30),
            "ลูกค้า 'x": state("ลูกค้า 'x", 4, 40),
        }
        assert storage.newest(SPEC) == 40
        assert storage.count(SPEC) == 2

    def test_an_older_position_never_overwrites_a_newer_one(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 5)])
        storage.put_many(SPEC, [state("c1", 4)])
        assert storage.get_many(SPEC, ["c1"])["c1"].position == 5

    def test_an_older_revision_never_overwrites_a_newer_one_and_is_told(self, storage: StateStorage) -> None:
        assert storage.put_many(SPEC, [replace(state("c1", 5), revision=2), state("c2", 1)]) == []
        assert storage.put_many(SPEC, [replace(state("c1", 9), revision=1), state("c2", 2)]) == ["c1"]
        assert storage.put_many(SPEC, [replace(state("c1", 3), revision=3)]) == []
        found = storage.get_many(SPEC, ["c1", "c2"])
        assert (found["c1"].position, found["c1"].revision, found["c2"].position) == (3, 3, 2)

    def test_a_grave_keeps_older_states_away_and_counts_for_nothing(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 5, 50)])
        storage.put_many(SPEC, [grave("c1", 5, 1)])
        assert storage.put_many(SPEC, [state("c1", 6, 60)]) == ["c1"]
        assert storage.count(SPEC) == 0
        assert storage.newest(SPEC) is None
        assert storage.get_many(SPEC, ["c1"])["c1"].data == b""

    def test_a_build_replaces_what_stands_there_and_removes_the_rest(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [replace(state("c1", 5), revision=2), state("c2", 1)])
        storage.put_many(OTHER, [state("c2", 1)])
        storage.replace_many(SPEC, [state("c1", 3)])
        storage.keep_only(SPEC, ["c1"])
        assert storage.get_many(SPEC, ["c1", "c2"]) == {"c1": state("c1", 3)}
        assert storage.count(OTHER) == 1

    def test_specs_stand_side_by_side(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 1)])
        storage.put_many(OTHER, [state("c1", 2)])
        assert storage.get_many(SPEC, ["c1"])["c1"].position == 1
        assert storage.spec_hashes() == [SPEC, OTHER]
        storage.remove_spec(SPEC)
        assert storage.get_many(SPEC, ["c1"]) == {}
        assert storage.count(OTHER) == 1

    def test_a_spec_is_built_once_it_has_a_note_and_until_it_is_removed(self, storage: StateStorage) -> None:
        assert storage.built_specs() == []
        storage.put_many(SPEC, [state("c1", 1)])
        assert storage.built_specs() == [], "a build that was cut off"
        storage.note(OTHER, 0)
        storage.note(SPEC, 3)
        assert storage.built_specs() == [SPEC, OTHER]
        storage.remove_spec(OTHER)
        assert storage.built_specs() == [SPEC]
        assert storage.noted(SPEC) == 3

    def test_as_many_states_of_a_spec_as_there_are_go(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state(f"c{i}", i) for i in range(1_234)])
        storage.put_many(OTHER, [state("c1", 1)])
        storage.note(SPEC, 1)
        storage.remove_spec(SPEC)
        assert (storage.count(SPEC), storage.spec_hashes(), storage.built_specs()) == (0, [OTHER], [])
        storage.remove_spec(SPEC)

    def test_the_erased_are_gone_from_every_spec_with_their_graves(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("gone", 1), state("other", 2)])
        storage.put_many(OTHER, [grave("gone", 3, 7), state("other", 2)])
        storage.erase(["gone", "never"])
        for spec in (SPEC, OTHER):
            assert storage.get_many(spec, ["gone", "other"]) == {"other": state("other", 2)}
        assert storage.put_many(OTHER, [state("gone", 1)]) == [], "no grave keeps a new twin away"

    def test_more_customers_than_one_query_holds(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state(f"c{i}", i) for i in range(2_345)])
        found = storage.get_many(SPEC, [f"c{i}" for i in range(3_000)])
        assert len(found) == 2_345

    def test_a_failing_batch_leaves_nothing_half_written(self, storage: StateStorage) -> None:
        def broken() -> object:
            yield state("c1", 1)
            raise RuntimeError("source went away")

        with pytest.raises(RuntimeError, match="went away"):
            storage.put_many(SPEC, broken())  # type: ignore[arg-type]
        assert storage.count(SPEC) == 0

    def test_readers_in_other_threads_see_whole_states(self, storage: StateStorage) -> None:
        torn: list[StoredState] = []

        def read() -> None:
            for _ in range(200):
                found = storage.get_many(SPEC, ["c1"]).get("c1")
                if found is not None and found.data != state("c1", found.position).data:
                    torn.append(found)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for position in range(100):
            storage.put_many(SPEC, [state("c1", position)])
        for thread in threads:
            thread.join()
        assert torn == []


class TestSQLite(StateStorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> SQLiteStateStorage:
        return SQLiteStateStorage(tmp_path / "deeper" / "state.db")

    def test_nothing_of_the_erased_is_left_in_the_file(self, tmp_path: Path) -> None:
        storage = SQLiteStateStorage(tmp_path / "state.db")
        storage.put_many(SPEC, [state(f"person-{n}", n) for n in range(500)])
        storage.erase(["person-7"])
        content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"person-8 at 8" in content
        assert b"person-7 at 7" not in content

    def test_a_kill_between_batches_keeps_whole_batches(self, tmp_path: Path) -> None:
        path = tmp_path / "state.db"
        script = f"""
            from pathlib import Path
            from feature_repo.state.storage import SQLiteStateStorage, StoredState
            storage = SQLiteStateStorage(Path({str(path)!r}))
            batch = 0
            while True:
                rows = [StoredState(f"{{batch}}-{{i}}", batch, 0, b"x" * 100) for i in range(50)]
                storage.put_many("spec", rows)
                print(batch, flush=True)
                batch += 1
        """
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(20)][-1]
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        count = SQLiteStateStorage(path).count("spec")
        assert count % 50 == 0
        assert count >= 50 * (acknowledged + 1)
