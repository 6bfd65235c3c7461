"""Fixtures for all tests: nothing leaks, nothing sleeps, two events force each race."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SLOW = (
    "backends/test_dask_contract.py",
    "backends/test_dask_faults.py",
    "backends/test_executor_faults.py",
    "backends/test_contract_of_backends.py",
    "bus/test_progress_stateful.py",
    "fuzz/",
    "identity/test_identity.py::test_overloads_and_intrinsics_of_the_users_own_count",
    "identity/test_identity_edits.py",
    "identity/test_identity_machine.py",
    "identity/test_identity_reads.py::test_an_installed_module",
    "jobs/test_recovery.py",
    "kernels/",
    "models/",
    "parameters/test_parameter_class.py::test_all_ways_in_construct_once_and_agree",
    "queue/test_queue_manager_races.py::test_in_a_storm_every_request_ends_exactly_once",
    "queue/test_queue_manager_stateful.py",
    "precision/test_coverage.py",
    "running/test_determinism.py",
    "running/test_engine.py::test_the_interpreter_exits_with_a_kernel_running",
    "running/test_shutdown.py",
    "running/test_soak.py",
    "schedules/test_cron.py::test_every_minute_of_weeks_in_which_clocks_are_set",
    "schedules/test_schedule.py::TestAnyClock",
    "storage/test_codec.py::test_every_array_comes_back_bit_for_bit",
    "storage/test_history.py::test_a_row_with_odd_values_costs_itself_alone",
    "storage/test_history_stateful.py",
    "storage/test_store_faults.py",
    "storage/test_store_processes.py",
    "storage/test_store_stateful.py",
    "test_dist.py::",
    "test_package.py::test_every_command_exists",
    "test_package.py::test_every_python_snippet_runs",
    "test_site.py",
    "test_troubleshooting.py",
    "test_types.py::test_a_",
    "ui/",
)
"""What `make test-fast` leaves out, by the beginning of path and name: all that takes long by itself or in sum."""

# The tests keep machine code from one run to the next, apart from the user's. The processes of pytest-xdist share the
# folder: bgsim writes each file of machine code in one step, under the name of what it was compiled from.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "numba"))

from bgsim import testing  # noqa: E402 - numba reads the folder when it is imported
from bgsim.testing import HANDSHAKE_S, Gate  # noqa: E402

# A parent that ignores Ctrl-C (nohup, a job runner, `&` in a script) hands that down to this process and its children.
# Python then installs no handler, and the signals that tests send would be lost. So install it, as at a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, so that a test fails by a change and not by chance; BGSIM_EXPLORE=1 looks for new ones.
settings.register_profile(
    "bgsim",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize="BGSIM_EXPLORE" not in os.environ,
)
settings.load_profile("bgsim")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def _our_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if "bgsim" in t.name}


def _open_databases() -> set[str]:
    """Return the SQLite files that this process has open, where the system can tell."""
    directory = Path("/proc/self/fd")
    if not directory.is_dir():
        return set()
    found = set()
    for entry in os.listdir(directory):  # noqa: PTH208 - entries vanish meanwhile
        try:
            target = os.readlink(directory / entry)  # noqa: PTH115
        except OSError:
            continue
        if ".db" in target:
            found.add(target)
    return found


def _handlers() -> dict[int, object]:
    """Return the handler of each signal but the one of pytest-timeout."""
    return {
        number: signal.getsignal(number) for number in signal.valid_signals() if number != getattr(signal, "SIGALRM", 0)
    }


@pytest.fixture(autouse=True, scope="session")
def no_bytecode() -> None:
    """Compile no module that a test imports: Python takes an edit of the same second and length for no edit."""
    sys.dont_write_bytecode = True


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread of bgsim, an open database or another handler of a signal behind."""
    threads, files, handlers = _our_threads(), _open_databases(), _handlers()
    yield
    deadline = time.monotonic() + 5.0
    while (left := _our_threads() - threads) and time.monotonic() < deadline:
        for thread in left:
            if thread.ident is not None:  # it is being started
                thread.join(max(0.0, deadline - time.monotonic()))
    assert not _our_threads() - threads, "the test left threads running"
    assert not _open_databases() - files, "the test left databases open"
    assert handlers == _handlers(), "the test left a signal with another handler"


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
    """Run functions at once, each in a thread, from a barrier; return their results, or raise the first error."""

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
