"""A fork beside stores in use: the child inherits nothing of SQLite, and both sides go on."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import HANDSHAKE_S
from forked import in_child
from store_helpers import columns, key, same, store_now

from bgsim.errors import StoreError
from bgsim.storage import ResultStore
from bgsim.storage.sqlite import forks
from bgsim.storage.sqlite.task import Task
from bgsim.threads import signals

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path: Path) -> Iterator[ResultStore]:
    opened = ResultStore(path)
    store_now(opened, key(1), 10)
    yield opened
    opened.close()


def open_files(path: Path) -> list[str]:
    return [name for name in map(_target, Path("/proc/self/fd").iterdir()) if name.startswith(str(path))]


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def fork_in_a_thread(check: Callable[[], None]) -> tuple[threading.Thread, list[BaseException]]:
    """Fork in another thread; return it once it waits for the users of SQLite."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            in_child(check)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not forks.GUARD.forking and thread.is_alive():
        thread.join(0.001)
    return thread, failed


def read_elsewhere(store: ResultStore) -> tuple[threading.Thread, threading.Event]:
    """Return a thread that reads, once it does, and what lets it leave."""
    reading, leave = threading.Event(), threading.Event()

    def read() -> None:
        with store._file.readers.reading():
            reading.set()
            leave.wait(HANDSHAKE_S)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert reading.wait(HANDSHAKE_S)
    return thread, leave


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not tell which files are open")
def test_a_child_inherits_no_open_file_and_the_parent_opens_its_own_again(store: ResultStore, path: Path) -> None:
    assert open_files(path)

    def check() -> None:
        assert open_files(path) == []

    in_child(check)
    assert same(store.load(key(1)), columns(key(1), 10))
    store_now(store, key(2), 20)
    assert open_files(path)


def test_what_the_child_stores_stays_when_the_parent_closes_first(store: ResultStore, path: Path) -> None:
    """The last to close a file moves its log away: the child's locks have to be its own for that."""
    opened, closed = os.pipe(), os.pipe()

    def check() -> None:
        mine = ResultStore(path)
        store_now(mine, key(2), 20)
        os.write(opened[1], b".")
        os.read(closed[0], 1)
        store_now(mine, key(3), 30)
        os._exit(0)  # without closing: what it stored is durable

    child = os.fork()
    if child == 0:
        try:
            check()
        finally:
            os._exit(1)
    os.read(opened[0], 1)
    store.close()
    os.write(closed[1], b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for end in opened + closed:
        os.close(end)
    again = ResultStore(path)
    assert [again.count(key(x)) for x in (1, 2, 3)] == [10, 20, 30]
    assert again.check().ok
    again.close()


def test_a_fork_waits_for_a_commit_and_the_child_can_write(store: ResultStore, path: Path, gate) -> None:
    def check() -> None:
        mine = ResultStore(path)
        assert mine.count(key(2)) == 20
        store_now(mine, key(3), 30)
        mine.close()

    store.store(key(2), columns(key(2), 20))
    store._file.submit(Task(gate.stop_here, lambda _: None))
    gate.wait_until_reached()
    thread, failed = fork_in_a_thread(check)
    other = threading.Thread(target=store_now, args=(store, key(4), 40), daemon=True)
    other.start()
    other.join(0.05)
    assert thread.is_alive()
    gate.open()
    thread.join(HANDSHAKE_S)
    other.join(HANDSHAKE_S)
    assert not failed
    assert [store.count(key(x)) for x in (1, 2, 3, 4)] == [10, 20, 30, 40]


def test_a_fork_waits_for_a_reader_that_may_read_on_and_new_ones_wait_for_the_fork(
    store: ResultStore, path: Path
) -> None:
    late: list[int] = []
    with store._file.readers.reading(snapshot=True) as reader:
        reader.execute("SELECT * FROM results").fetchone()
        thread, failed = fork_in_a_thread(lambda: ResultStore(path).close())
        assert store.count(key(1)) == 10  # by the thread that the fork waits for
        other = threading.Thread(target=lambda: late.append(store.count(key(1))), daemon=True)
        other.start()
        other.join(0.05)
        assert thread.is_alive()
        assert late == []
    thread.join(HANDSHAKE_S)
    other.join(HANDSHAKE_S)
    assert (failed, late) == ([], [10])


def test_a_fork_does_not_wait_for_ever(
    store: ResultStore, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The child refuses the busy file; the idle one is closed."""
    monkeypatch.setattr(forks, "PATIENCE_S", 0.01)
    idle = ResultStore(path.with_name("idle.db"))

    def check() -> None:
        for _ in range(2):
            with pytest.raises(StoreError, match="was in use when this process forked"):
                ResultStore(path)
            in_child(lambda: None)  # which does not make it usable
        assert open_files(idle.path) == []
        ResultStore(idle.path).close()

    with caplog.at_level(logging.WARNING, "bgsim.storage"), store._file.readers.reading():
        thread, failed = fork_in_a_thread(check)
        thread.join(HANDSHAKE_S)
    assert not thread.is_alive()
    assert not failed
    assert "the child cannot use it" in caplog.text
    in_child(lambda: ResultStore(path).close())
    idle.close()


def test_threads_that_fork_at_once_take_turns(store: ResultStore, path: Path) -> None:
    def check() -> None:
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM results").fetchone()[0] >= 1

    failed: list[BaseException] = []

    def fork() -> None:
        try:
            for _ in range(5):
                in_child(check)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=fork, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    handler = signal.getsignal(signal.SIGINT)
    for x in range(2, 40):
        store.store(key(x), columns(key(x), x))
        store.count(key(x))
        if x % 8 == 0:
            in_child(check)  # here, too, where Ctrl-C is held back
    assert signal.getsignal(signal.SIGINT) is handler
    for thread in threads:
        thread.join(HANDSHAKE_S)
        assert not thread.is_alive()
    store.flush()
    assert not failed
    assert store.check().ok
    assert [store.count(key(x)) for x in range(2, 40)] == list(range(2, 40))


def test_a_store_of_the_parent_is_refused_in_the_child(store: ResultStore) -> None:
    def check() -> None:
        for use in (lambda: store.count(key(1)), lambda: store_now(store, key(2), 3), store.flush):
            with pytest.raises(StoreError, match="opened before a fork; open it anew in the child"):
                use()

    in_child(check)


def test_a_file_that_went_away_over_a_fork_is_refused_as_ever(store: ResultStore, path: Path) -> None:
    in_child(lambda: None)
    path.unlink()
    with pytest.raises(StoreError, match="deleted or replaced"):
        store_now(store, key(2), 20)
    assert not path.exists()


def test_a_thread_that_is_interrupted_while_it_has_a_connection_keeps_no_fork_waiting(
    store: ResultStore, path: Path
) -> None:
    """Ctrl-C before it can give the connection back."""
    taken, go = threading.Event(), threading.Event()

    def take_and_lose() -> None:
        lease = store._file.readers.take()
        assert lease.connection is not None
        del lease
        taken.set()
        go.wait(HANDSHAKE_S)

    thread = threading.Thread(target=take_and_lose, daemon=True)
    thread.start()
    assert taken.wait(HANDSHAKE_S)
    other, failed = fork_in_a_thread(lambda: ResultStore(path).close())
    other.join(HANDSHAKE_S)
    assert not other.is_alive()
    go.set()
    thread.join(HANDSHAKE_S)
    assert not failed


def test_a_file_that_cannot_be_opened_keeps_no_fork_waiting(store: ResultStore, path: Path) -> None:
    """Though the error, and with it the frames that raised it, is kept."""
    store._file.readers.drop()
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(StoreError) as kept:
        store.count(key(1))
    other, failed = fork_in_a_thread(lambda: None)
    other.join(HANDSHAKE_S)
    assert kept.tb is not None
    assert not failed
    assert not forks.GUARD.uses


def test_a_signal_handler_that_forks_waits_for_the_fork_in_which_it_came(store: ResultStore) -> None:
    handled = threading.Event()

    def fork_too(*_: object) -> None:
        assert not forks.GUARD.forking
        in_child(lambda: None)
        handled.set()

    reader, leave = read_elsewhere(store)

    def interrupt_and_leave() -> None:
        while not forks.GUARD.forking:
            leave.wait(0.001)
        signal.raise_signal(signal.SIGUSR1)
        while not signals._came:
            leave.wait(0.001)
        leave.set()

    before = signal.signal(signal.SIGUSR1, fork_too)
    try:
        other = threading.Thread(target=interrupt_and_leave, daemon=True)
        other.start()
        in_child(lambda: None)
        assert handled.wait(HANDSHAKE_S)
    finally:
        signal.signal(signal.SIGUSR1, before)
    for thread in (reader, other):
        thread.join(HANDSHAKE_S)


FORKS_WITHIN_A_FORK = """
import os, signal, threading
from pathlib import Path
from bgsim.storage.sqlite import forks
import concurrent.futures.thread  # it registers a lock of its own for forks, if it has not yet

def fork(*_):
    if os.fork() == 0:
        os._exit(0)
    os.wait()

def use():
    with forks.Use(Path("s.db")):
        used.set()
        while not forks.GUARD.forking:
            leave.wait(0.001)
        signal.raise_signal(signal.SIGUSR1)
        leave.wait(0.1)

signal.signal(signal.SIGUSR1, fork)
used, leave = threading.Event(), threading.Event()
thread = threading.Thread(target=use, daemon=True)
thread.start()
used.wait()
fork()
print("came out")
"""


def test_a_fork_within_a_fork_waits_for_no_lock_of_the_standard_librarys() -> None:
    """Whatever is imported first."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS_WITHIN_A_FORK],
        capture_output=True,
        text=True,
        timeout=HANDSHAKE_S,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("came out\n", "")


def test_ctrl_c_while_a_fork_waits_comes_after_it_and_the_files_are_closed(store: ResultStore, path: Path) -> None:
    reader, leave = read_elsewhere(store)

    def interrupt_and_leave() -> None:
        while not forks.GUARD.forking:
            leave.wait(0.001)
        _thread.interrupt_main()
        while not signals._came:
            leave.wait(0.001)
        leave.set()

    other = threading.Thread(target=interrupt_and_leave, daemon=True)
    other.start()

    def check() -> None:
        assert open_files(path) == []

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_child(check)
        threading.Event().wait(HANDSHAKE_S)
    assert time.monotonic() - began < HANDSHAKE_S / 2, "it did not wake the thread that waits"
    for thread in (reader, other):
        thread.join(HANDSHAKE_S)


def test_the_limit_counts_what_the_child_has_stored(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    noise = np.random.default_rng(1).random(12_500)  # 100 kB
    with closing(ResultStore(path, max_storage_bytes=1_000_000)) as store:
        store_now(store, key(1), 1)

        def check() -> None:
            with closing(ResultStore(path, max_storage_bytes=1_000_000)) as mine:
                for x in range(2, 11):
                    mine.store(key(x), {"a": noise})
                mine.flush()

        in_child(check)
        for x in range(11, 16):
            store.store(key(x), {"a": noise})
        store.flush()
        assert store.size()[1] <= 1_000_000


@pytest.mark.parametrize("at", [0, 100])
def test_a_file_that_is_damaged_after_a_fork_is_repaired_as_ever(at: int, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        store_now(store, key(1), 1000)
        store.cleanup()
        in_child(lambda: None)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\xff" * 2000)
        assert store.check(repair=True).repaired
        store_now(store, key(2), 10)
        assert store.count(key(2)) == 10


def test_a_child_may_close_a_store_of_its_parent(store: ResultStore) -> None:
    """Also if another thread was handing something over when it forked."""
    store._file.writer._lock.raw.acquire()  # held by a thread that the child does not have
    try:
        in_child(store.close)
    finally:
        store._file.writer._lock.raw.release()
    assert store.count(key(1)) == 10
