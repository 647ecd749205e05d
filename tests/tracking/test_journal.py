"""What was written once is there, whoever dies and whatever the disk says."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.records import HARMLESS, numbered
from tracking import journal
from tracking.engine.visit import Record


def lines_of(directory: Path) -> list[Record | None]:
    return [
        line for path in journal.segments(directory) for line in journal.read(path.read_bytes())
    ]


def test_a_record_comes_back_as_it_was(journal_dir: Path) -> None:
    odd = HARMLESS._replace(path="/\n\x00\u2028é\ud800", user_agent='"\\')
    assert journal.mine().append(odd)
    assert lines_of(journal_dir) == [odd]


def test_the_folder_and_its_files_are_private(journal_dir: Path) -> None:
    journal.mine().append(HARMLESS)
    assert journal_dir.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in journal_dir.iterdir()} == {0o600}


def test_a_state_folder_that_it_makes_is_private(tmp_path: Path) -> None:
    journal.folder(tmp_path / "state" / "journal")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_segment_that_could_not_get_its_name_is_tried_again(
    journal_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as moment:
        moment.setattr(Path, "rename", full)
        assert not journal.mine().append(numbered(1))
    assert journal.mine().append(numbered(2))
    assert lines_of(journal_dir) == [numbered(1), numbered(2)]


def test_nothing_is_opened_before_the_first_record(journal_dir: Path) -> None:
    journal.mine()
    assert journal.segments(journal_dir) == []


def test_many_threads_write_whole_lines(journal_dir: Path) -> None:
    own = journal.mine()

    def write(first: int) -> None:
        for number in range(first, first + 500):
            own.append(numbered(number))

    threads = [threading.Thread(target=write, args=(n * 500,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines_of(journal_dir)
    assert None not in written
    assert {line.request_id for line in written if line} == {f"{n:032x}" for n in range(4000)}


def test_a_full_segment_is_followed_by_the_next(journal_dir: Path) -> None:
    own = journal.Journal(journal.folder(journal_dir), segment_bytes=2000)
    for number in range(40):
        own.append(numbered(number))
    names = [path.name for path in journal.segments(journal_dir)]
    node = (journal_dir / "node").read_text()
    assert len(names) > 3
    assert {name.rpartition(".")[0] for name in names} == {f"{node}-{own.series}"}
    assert len(lines_of(journal_dir)) == 40


def test_the_owner_holds_the_lock_of_its_segment_only(journal_dir: Path) -> None:
    own = journal.Journal(journal.folder(journal_dir), segment_bytes=2000)
    for number in range(20):
        own.append(numbered(number))
    free = []
    for path in journal.segments(journal_dir):
        fd = os.open(path, os.O_RDONLY)
        if journal.lock(fd):
            free.append(path)
        os.close(fd)
    assert own.segment not in free
    assert len(free) == len(journal.segments(journal_dir)) - 1


def test_a_forked_child_writes_a_segment_of_its_own(journal_dir: Path) -> None:
    journal.mine().append(numbered(1))
    child = os.fork()
    if child == 0:
        journal.mine().append(numbered(2))
        os._exit(0)
    os.waitpid(child, 0)
    journal.mine().append(numbered(3))
    by_segment = [
        [line.request_id[-1] for line in journal.read(path.read_bytes()) if line]
        for path in journal.segments(journal_dir)
    ]
    assert sorted(by_segment) == [["1", "3"], ["2"]]


def _write_until_killed(directory: Path, written: int) -> None:
    own = journal.Journal(directory, 1 << 20)
    for number in range(written):
        own.append(numbered(number))
    os.kill(os.getpid(), signal.SIGKILL)


def test_kill_9_loses_nothing_that_was_written_and_frees_the_lock(journal_dir: Path) -> None:
    journal.folder(journal_dir)
    process = multiprocessing.get_context("fork").Process(
        target=_write_until_killed, args=(journal_dir, 100)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(lines_of(journal_dir)) == 100
    fd = os.open(journal.segments(journal_dir)[0], os.O_RDONLY)
    assert journal.lock(fd)
    os.close(fd)


def _write_on_a_full_disk(directory: Path, answers: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    own = journal.Journal(directory, 1 << 20)
    size = len(journal.framed(numbered(0)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size * 3 + 50, resource.RLIM_INFINITY))
    results = [own.append(numbered(number)) for number in range(6)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    results += [own.append(numbered(number)) for number in range(6, 9)]
    answers.write_text(f"{results} {own.dropped}")
    os._exit(0)


def test_after_a_short_write_the_next_line_is_whole(journal_dir: Path, tmp_path: Path) -> None:
    journal.folder(journal_dir)
    answers = tmp_path / "answers"
    process = multiprocessing.get_context("fork").Process(
        target=_write_on_a_full_disk, args=(journal_dir, answers)
    )
    process.start()
    process.join()
    assert answers.read_text() == f"{[True] * 3 + [False] + [True] * 5} 0"
    lines = lines_of(journal_dir)
    assert sorted(line.request_id[-1] for line in lines if line) == list("012345678")
    assert lines.count(None) == 1, "the line that was cut short is damaged, and is told"


def test_what_the_disk_does_not_take_waits_in_memory_within_a_bound(
    journal_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "HELD_BYTES", 100 * len(journal.framed(numbered(0))))
    journal_dir.parent.mkdir(exist_ok=True)
    journal_dir.write_text("a file where the folder should be")
    own = journal.Journal(journal_dir, 1 << 20)
    assert not any(own.append(numbered(number)) for number in range(110))
    assert len(caplog.messages) == 1, "told once"
    assert (own.take_dropped(), own.take_dropped()) == (10, 0)
    journal_dir.unlink()
    own.write_held()
    assert lines_of(journal_dir) == [numbered(number) for number in range(10, 110)]
    assert own.append(numbered(110)), "it goes on by itself"
    assert len(lines_of(journal_dir)) == 101


@pytest.mark.parametrize("moved", [False, True])
def test_a_segment_taken_away_while_it_is_written_is_noticed(
    journal_dir: Path, moved: bool, caplog: pytest.LogCaptureFixture
) -> None:
    own = journal.mine()
    for number in range(3):
        own.append(numbered(number))
    own.leave_removed(stored=1)
    assert own.take_dropped() == 0, "nothing is wrong yet"
    if moved:
        journal_dir.rename(journal_dir.with_name("elsewhere"))
    else:
        shutil.rmtree(journal_dir)
    own.leave_removed(stored=1)
    assert own.take_dropped() == 2
    assert "was removed while" in caplog.text
    own.append(numbered(3))
    assert lines_of(journal_dir) == [numbered(3)]


def test_a_segment_has_its_name_only_when_it_is_locked(
    journal_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(journal, "lock", lambda fd: seen.extend(journal.segments(journal_dir)))
    journal.mine().append(HARMLESS)
    assert seen == []
    assert len(journal.segments(journal_dir)) == 1


def test_of_many_processes_one_names_the_node(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        names = set(pool.map(lambda _: journal.node_id(tmp_path), range(64)))
    assert len(names) == 1
    assert len(names.pop()) == 32
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


records = st.builds(
    HARMLESS._replace,
    path=st.text(max_size=20),
    user_agent=st.text(max_size=20),
    status=st.integers(),
)


@settings(max_examples=50)
@given(st.lists(records, min_size=1, max_size=5), st.integers(0), st.integers(0, 255))
def test_one_damaged_byte_costs_one_line_and_is_noticed(
    kept: list[Record], place: int, byte: int
) -> None:
    framed = [journal.framed(record) for record in kept]
    damaged = bytearray(b"".join(framed))
    place %= len(damaged)
    changed = damaged[place] != byte
    damaged[place] = byte
    read = list(journal.read(bytes(damaged)))
    whole = [line for line in read if line is not None]
    assert all(line in kept for line in whole), "nothing is guessed"
    assert len(whole) >= len(kept) - 2 if changed else whole == kept
