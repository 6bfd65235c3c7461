"""Fixtures for all tests: nothing leaks, nothing sleeps, races are forced by handshake."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Machine code is kept from one run of the tests to the next, and apart from that of the user.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "numba"))

from bgsim import testing
from bgsim.testing import HANDSHAKE_S, Gate

# A parent that ignores Ctrl-C (nohup, a job runner, `&` in a script) hands that down to us and to all whom we start.
# Python then installs no handler, so what tests send and raise would be lost: here we are as at a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, so that a change and not chance makes a test fail; BGSIM_EXPLORE=1 looks for others.
settings.register_profile(
    "bgsim",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize="BGSIM_EXPLORE" not in os.environ,
)
settings.load_profile("bgsim")


def _our_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if "bgsim" in t.name}


def _open_databases() -> set[str]:
    """Return the SQLite files that this process has open, where the system can tell."""
    directory = Path("/proc/self/fd")
    if not directory.is_dir():
        return set()
    found = set()
    for entry in os.listdir(directory):  # noqa: PTH208 - entries vanish while we look
        try:
            target = os.readlink(directory / entry)  # noqa: PTH115
        except OSError:
            continue
        if ".db" in target:
            found.add(target)
    return found


def in_child(check: Callable[[], None]) -> None:
    """Run something in a forked child and see that it went well."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            check()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread of ours or an open database behind."""
    threads, files = _our_threads(), _open_databases()
    yield
    deadline = time.monotonic() + 5.0
    while (left := _our_threads() - threads) and time.monotonic() < deadline:
        for thread in left:
            if thread.ident is not None:  # it is being started
                thread.join(max(0.0, deadline - time.monotonic()))
    assert not _our_threads() - threads, "the test left threads running"
    assert not _open_databases() - files, "the test left databases open"


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate() -> Iterator[Gate]:
    found = Gate()
    yield found
    found.open()


@pytest.fixture
def hold() -> Iterator[Gate]:
    """A gate named "a" for the simulation `gated`; open when the test ends."""
    with testing.gate("a") as made:
        yield made


@pytest.fixture
def in_threads() -> Callable[..., list[object]]:
    """Run functions at once, each in a thread, starting on a barrier; return what they return, raise what they raise."""

    def run(*functions: Callable[[], object]) -> list[object]:
        barrier = threading.Barrier(len(functions))
        results: list[object] = [None] * len(functions)
        errors: list[BaseException] = []

        def call(index: int, function: Callable[[], object]) -> None:
            barrier.wait(HANDSHAKE_S)
            try:
                results[index] = function()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=call, args=item, daemon=True) for item in enumerate(functions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads), "a thread hangs"
        if errors:
            raise errors[0]
        return results

    return run
