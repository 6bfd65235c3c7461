"""Executors whose processes are killed, never begin, do not let go, or are on another host; and what they leave behind."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from crash_kernels import Once, cut_short, deaf
from forked import in_child

import bgsim
from bgsim.backends import ExecutorBackend
from bgsim.control import PROCESS
from bgsim.errors import BackendError
from bgsim.job import JobState
from bgsim.testing import HANDSHAKE_S, Gate, gated
from bgsim.testing.backend_examples import Walk, assert_same, has_moved, long, of_one_thread, wait_until, walk

needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

SLOW = Walk(steps=2, work=2_000)
"""Of about 20 microseconds."""


def processes_of(engine: bgsim.Engine) -> list[int]:
    """Return the ids of the processes of a backend's present pool."""
    return list(engine.backend.pool.begun().executor._processes or ())


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def computing(engine: bgsim.Engine) -> set[int]:
    """Return the processes that have begun with a chunk."""
    return {int(lane.control[PROCESS]) for lane in engine.backend._lanes if lane.is_waiting} - {0}


# ---- processes that end ------------------------------------------------------------------------------


@needs_kill
def test_processes_that_are_killed_again_and_again_cost_no_byte() -> None:
    """Each in the middle of a chunk, as often as the job has moved."""
    expected = of_one_thread(walk, SLOW, replicates=60_000, seed=3)
    with bgsim.Engine(backend=ExecutorBackend(workers=2)) as engine:
        job = engine.submit(walk, SLOW, replicates=60_000, seed=3)
        for _ in range(4):
            has_moved(job, above=job.status().replicates_completed)
            number = engine.backend.pool.begun().number
            for process in computing(engine):
                os.kill(process, signal.SIGKILL)
                break
            wait_until(lambda number=number: job.done() or engine.backend.pool.begun().number > number, "another pool")
        assert_same(job.result(HANDSHAKE_S), expected)


@needs_kill
@pytest.mark.parametrize("kind", ["own", "loky"])
def test_a_process_that_is_killed_while_it_replies_holds_nothing_up(kind: str, tmp_path: Path) -> None:
    """The executor's own thread waits for the rest of the reply, for ever, and the other process for its turn."""
    backend = ExecutorBackend(workers=2)
    if kind == "loky":
        loky = pytest.importorskip("loky")
        backend = ExecutorBackend(lambda: loky.get_reusable_executor(2), workers=2)
    with bgsim.Engine(backend=backend) as engine:
        job = engine.submit(cut_short, Once(str(tmp_path / "happened")), replicates=300)
        result = job.result(HANDSHAKE_S)
        assert_same(result, of_one_thread(cut_short, Once(str(tmp_path / "happened")), replicates=300))
        assert engine.backend.pool.begun().number == 1


@needs_kill
@pytest.mark.parametrize("kind", ["own", "loky"])
def test_processes_that_wait_for_each_other_are_killed_with_the_engine(kind: str, tmp_path: Path) -> None:
    """One has replied, and keeps the lock for replies, which another needs for its end."""
    make = None
    if kind == "loky":
        loky = pytest.importorskip("loky")
        make = lambda: loky.get_reusable_executor(2)  # noqa: E731
    with bgsim.Engine(backend=ExecutorBackend(make, workers=2)) as engine:
        engine.submit(walk, SLOW, replicates=20_000).result(HANDSHAKE_S)  # so that there are two processes
        job = engine.submit(cut_short, Once(str(tmp_path / "happened"), ends=False), replicates=1)
        assert job.result(HANDSHAKE_S).replicates == 1
        processes, manager = processes_of(engine), engine.backend.pool.begun().executor._executor_manager_thread
        assert len(processes) == 2
    wait_until(lambda: not any(map(is_alive, processes)), "its processes have ended")
    wait_until(lambda: not manager.is_alive(), "the executor's thread has ended")


def test_a_broken_instance_is_replaced_when_an_engine_begins() -> None:
    """It is broken before there is an engine."""
    with ProcessPoolExecutor(1, initializer=os._exit, initargs=(1,)) as executor:
        assert isinstance(executor.submit(int).exception(HANDSHAKE_S), BrokenExecutor)
        vars(executor)["_initializer"] = None  # for those like it
        with bgsim.Engine(backend=ExecutorBackend(executor)) as engine:
            assert_same(engine.submit(walk, replicates=50).result(HANDSHAKE_S), of_one_thread(walk, replicates=50))


class Breaking(ThreadPoolExecutor):
    """Does its first tasks, and is broken from then on."""

    def __init__(self, good: int) -> None:
        super().__init__(1)
        self.good = good

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.good -= 1
        if self.good < 0:
            raise BrokenExecutor("it broke")
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize("good", [0, 1, 2])
def test_an_instance_that_breaks_and_that_nothing_replaces_is_named(good: int) -> None:
    """As the fault of the backend; a later job fails with the same."""
    with Breaking(good) as executor:
        backend = ExecutorBackend(executor, workers=1)
        if not good:
            with pytest.raises(BackendError, match="it broke.*a function that returns an executor"):
                bgsim.Engine(backend=backend)
            return
        with bgsim.Engine(backend=backend) as engine:
            for seed in (1, 2):
                error = engine.submit(walk, replicates=2000, seed=seed).exception(HANDSHAKE_S)
                assert type(error) is BackendError
                assert "nothing makes another" in str(error)
                assert "a function that returns an executor" in str(error)
            assert any("it broke" in alert for alert in engine.health().alerts)
            assert not engine.health().healthy


def test_an_executor_that_its_owner_shuts_down_is_named() -> None:
    """While an engine computes with it, and before there is one."""
    with ThreadPoolExecutor(1) as executor, bgsim.Engine(backend=ExecutorBackend(executor)) as engine:
        assert engine.submit(walk, replicates=5).result(HANDSHAKE_S).replicates == 5
        executor.shutdown()
        error = engine.submit(walk, replicates=500, seed=1).exception(HANDSHAKE_S)
        assert type(error) is BackendError
        assert "after shutdown" in str(error)
    with pytest.raises(BackendError, match="takes no tasks: RuntimeError: cannot schedule new futures after shutdown"):
        bgsim.Engine(backend=ExecutorBackend(executor))


# ---- processes that do not let go --------------------------------------------------------------------


@needs_kill
def test_a_kernel_that_ignores_its_order_is_killed_with_the_engine() -> None:
    """Its process is ours, and nobody else's work is in it."""
    engine = bgsim.Engine(backend=ExecutorBackend(workers=1))
    job = engine.submit(deaf, replicates=1)
    wait_until(lambda: job.status().fraction, "the kernel runs")
    processes = processes_of(engine)
    assert engine.close(cancel=True, timeout_s=0.1) == [job]
    wait_until(lambda: not any(map(is_alive, processes)), "its processes have ended")
    wait_until(job.done, "the job has ended")
    assert engine.backend.pool.begun().number == 0  # no other pool was made for what was killed


def test_where_no_order_reaches_the_status_says_so(hold: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another host, on which the path of the control blocks leads nowhere: a cancel ends with the chunk."""
    monkeypatch.setattr("bgsim.backends.pool.attached", lambda place: None)
    with ThreadPoolExecutor(1) as executor:
        backend = ExecutorBackend(executor, bits="trust")
        with bgsim.Engine(backend=backend) as engine:
            assert_same(engine.submit(walk, replicates=50).result(HANDSHAKE_S), of_one_thread(walk, replicates=50))
            job = engine.submit(gated, {"name": "a"}, replicates=1)
            hold.wait_until_reached()
            assert job.status().waiting_for is None
            assert engine.health().ok
            assert job.cancel()
            assert job.state is JobState.CANCELLING
            assert job.status().waiting_for == "the end of the chunks in hand, whose kernels no order reaches"
            hold.open()
            wait_until(job.done, "the chunk has ended")
            assert job.cancelled()
            assert job.partial().replicates == 1


def test_what_has_not_begun_is_taken_back(hold: Gate) -> None:
    """The executor is busy with another's task: a cancelled job does not wait for it."""
    with ThreadPoolExecutor(1) as executor, bgsim.Engine(backend=ExecutorBackend(executor)) as engine:
        assert engine.submit(walk, replicates=5).result(HANDSHAKE_S).replicates == 5
        executor.submit(hold.stop_here)
        hold.wait_until_reached()
        job = engine.submit(walk, replicates=500, seed=1)
        wait_until(lambda: any(lane.is_waiting for lane in engine.backend._lanes), "a chunk is sent")
        assert job.cancel()
        wait_until(job.done, "the job has ended")
        assert job.cancelled()
        hold.open()


class Holding(ThreadPoolExecutor):
    """Returns futures that cannot be cancelled, as Parsl does."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)

        def cancel() -> bool:
            raise NotImplementedError

        future.cancel = cancel  # type: ignore[method-assign]
        return future


def test_a_future_that_cannot_be_cancelled_is_waited_for() -> None:
    """Its kernel sees the order."""
    with Holding(1) as executor, bgsim.Engine(backend=ExecutorBackend(executor)) as engine:
        job = engine.submit(long, replicates=1)
        wait_until(lambda: job.status().fraction, "the kernel runs")
        assert job.cancel()
        wait_until(job.done, "the job has ended")
        assert job.cancelled()


# ---- what is left behind -----------------------------------------------------------------------------

SCRIPT = """
import os, signal
import bgsim
bgsim.Engine  # first, so that the standard library's pool of processes is imported after what closes engines at the exit
from bgsim.backends import ExecutorBackend
from bgsim.testing.backend_examples import *
from bgsim.control import PROCESS
from crash_kernels import deaf

""" + inspect.getsource(computing)


def start(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + code)
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, output and errors of a process that has to end by itself, within a bound."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, out, err


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    """Each process runs the script again, and ends before it does anything."""
    process = start(
        tmp_path,
        """
with bgsim.Engine(backend=ExecutorBackend(workers=1)) as engine:
    print(repr(engine.submit(walk, replicates=5).exception(60)))
""",
    )
    code, out, err = end(process)
    assert code == 0, err
    assert "BackendError" in out
    assert '`if __name__ == "__main__":`' in out
    assert "Replicate" not in out


@needs_kill
def test_the_interpreter_exits_with_a_kernel_that_ignores_its_order(tmp_path: Path) -> None:
    """Nothing is left: no process, no semaphore, no file."""
    process = start(
        tmp_path,
        """
if __name__ == "__main__":
    engine = bgsim.Engine(backend=ExecutorBackend(workers=2))
    job = engine.submit(deaf, replicates=1)
    wait_until(lambda: job.status().fraction, "the kernel runs")
    print(engine.backend._blocks._path, *engine.backend.pool.begun().executor._processes)
""",
    )
    code, out, err = end(process)
    assert (code, err) == (0, "")
    path, *processes = out.split()
    assert not Path(path).exists()
    wait_until(lambda: not any(is_alive(int(number)) for number in processes), "its processes have ended")


@needs_kill
def test_the_interpreter_does_not_wake_the_thread_of_a_pool_that_ends(tmp_path: Path) -> None:
    """It would print an error: the pipe by which it does so is closed first, and marked as closed then."""
    process = start(
        tmp_path,
        """
if __name__ == "__main__":
    import concurrent.futures.process, threading
    Wakeup = concurrent.futures.process._ThreadWakeup
    wakeup, exits = Wakeup.wakeup, threading.Event()

    def woken(self):
        if not self._closed and self._writer.closed:
            exits.set()
        wakeup(self)

    def close_slowly(self):
        self._writer.close()
        exits.wait(0.2)
        self._closed = True
        self._reader.close()

    Wakeup.wakeup, Wakeup.close = woken, close_slowly
    engine = bgsim.Engine(backend=ExecutorBackend(workers=2))
    job = engine.submit(deaf, replicates=1)
    wait_until(lambda: job.status().fraction, "the kernel runs")
""",
    )
    assert end(process) == (0, "", "")


@needs_kill
def test_broken_pools_leave_nothing(tmp_path: Path) -> None:
    """Neither while other pools follow, nor when the interpreter ends in the middle of a loss."""
    process = start(
        tmp_path,
        """
if __name__ == "__main__":
    engine = bgsim.Engine(backend=ExecutorBackend(workers=2))
    job = engine.submit(walk, Walk(2, 2000), replicates=10**7)
    for _ in range(3):
        has_moved(job, above=job.status().replicates_completed)
        number = engine.backend.pool.begun().number
        os.kill(next(iter(computing(engine) or engine.backend.pool.begun().executor._processes)), signal.SIGKILL)
        wait_until(lambda: engine.backend.pool.begun().number > number, "another pool")
    has_moved(job, above=job.status().replicates_completed)
    os.kill(next(iter(engine.backend.pool.begun().executor._processes)), signal.SIGKILL)
    print("the end")
""",
    )
    code, out, err = end(process)
    assert (code, out) == (0, "the end\n"), err
    assert "leaked" not in err
    assert "Traceback" not in err


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no process groups")
@pytest.mark.parametrize("when", ["at once", "while it computes"])
def test_ctrl_c_is_the_parents_alone(tmp_path: Path, when: str) -> None:
    """A terminal sends it to all processes; none but the one that the user started says anything."""
    process = start(
        tmp_path,
        f"""
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with bgsim.Engine(backend=ExecutorBackend(workers=2)) as engine:
        job = engine.submit(walk, Walk(2, 2000), replicates=10**7)
        if {when != "at once"}:
            has_moved(job)
        print("here", flush=True)
        job.result()
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = end(process)
    assert code in (1, -signal.SIGINT), err  # Python ends by the signal, where nothing else runs code at the exit
    assert err.count("Traceback") == 1, err
    assert err.count("KeyboardInterrupt") == 1, err


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_it_computes_harms_neither() -> None:
    """The child may use an engine of its own; the parent's goes on."""
    with bgsim.Engine(backend=ExecutorBackend(workers=2)) as engine:
        job = engine.submit(walk, SLOW, replicates=30_000, seed=5)
        has_moved(job)

        def check() -> None:
            with pytest.raises(bgsim.errors.EngineClosedError):
                engine.submit(walk, replicates=1)
            assert engine.close(cancel=True) == []

        in_child(check)
        assert_same(job.result(HANDSHAKE_S), of_one_thread(walk, SLOW, replicates=30_000, seed=5))


def test_an_executor_that_cannot_be_shut_down_leaves_no_file(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and all else is closed."""

    class Unwilling(ThreadPoolExecutor):
        def shutdown(self, *args: Any, **kwargs: Any) -> None:
            super().shutdown(*args, **kwargs)
            raise OSError("it does not end")

    engine = bgsim.Engine(backend=ExecutorBackend(lambda: Unwilling(1), workers=1))
    path = Path(engine.backend._blocks._path)
    assert engine.submit(walk, replicates=5).result(HANDSHAKE_S).replicates == 5
    engine.close()
    assert not path.exists()
    assert "the executor cannot be shut down: OSError: it does not end" in caplog.messages


def test_a_closed_engine_leaves_no_file_and_no_process() -> None:
    """Its own processes end; threads of it do, too."""
    with bgsim.Engine(backend=ExecutorBackend(workers=2)) as engine:
        engine.submit(walk, replicates=1000).result(HANDSHAKE_S)
        path, processes = Path(engine.backend._blocks._path), processes_of(engine)
        assert path.exists()
        assert processes
    assert not path.exists()
    wait_until(lambda: not any(map(is_alive, processes)), "its processes have ended")
