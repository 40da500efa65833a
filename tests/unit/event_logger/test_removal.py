"""Removing a run: whole, only where nobody writes it, and never by a name that is no run's."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import pytest
from tests.support.rundir import CID, write_run

from basis.event_logger.directories import STATE_DIR, LogDirectoryManager
from basis.event_logger.removal import remove
from basis.models.errors import ComponentError, InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_sealed_run_goes_whole_even_while_others_are_written(tmp_path: Path) -> None:
    write_run(tmp_path, [1000.0])
    (tmp_path / STATE_DIR).mkdir()
    lock = tmp_path / STATE_DIR / "abc.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remove(LogDirectoryManager(tmp_path), CID, None, {"f" * 32}) == 1
    assert [path.name for path in tmp_path.iterdir()] == [STATE_DIR]
    assert remove(LogDirectoryManager(tmp_path), CID, None, ()) == 0


def test_a_run_that_is_written_stays(tmp_path: Path) -> None:
    run = write_run(tmp_path, [1000.0], sealed=False)
    manager = LogDirectoryManager(tmp_path)
    with pytest.raises(ComponentError, match="RUN-002"):
        remove(manager, CID, None, {CID})
    (tmp_path / STATE_DIR).mkdir()
    lock = tmp_path / STATE_DIR / "abc.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ComponentError, match="RUN-002"):
            remove(manager, CID, None, ())
        assert run.metadata.is_file()
        assert remove(manager, CID, lock, ()) == 1, "its own lock, and it writes no such run: a crash left it"


def test_what_a_crash_left_is_cleared(tmp_path: Path) -> None:
    write_run(tmp_path, [1000.0], sealed=False)
    left = tmp_path / (".removed-" + "f" * 32) / "7"
    left.mkdir(parents=True)
    (left / "api.log").write_text("{}")
    (tmp_path / STATE_DIR).mkdir()
    (tmp_path / STATE_DIR / "abc.lock").write_text("")  # of a process that is gone
    assert remove(LogDirectoryManager(tmp_path), CID, None, ()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [STATE_DIR]


def test_a_damaged_run_can_go(tmp_path: Path) -> None:
    write_run(tmp_path, [1000.0]).metadata.write_bytes(b"{")
    assert remove(LogDirectoryManager(tmp_path), CID, None, {CID}) == 1


@pytest.mark.parametrize("cid", ["", "..", "../x", STATE_DIR, "A" * 32, CID + "/7"])
def test_only_the_name_of_a_run_is_taken(tmp_path: Path, cid: str) -> None:
    (tmp_path / STATE_DIR).mkdir()
    with pytest.raises(InputError, match="RUN-001"):
        remove(LogDirectoryManager(tmp_path / "logs"), cid, None, ())
    assert (tmp_path / STATE_DIR).is_dir()
