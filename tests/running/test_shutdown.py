"""The end of engines and of processes: Ctrl-C, exceptions, interpreter exit, forks, and closing from anywhere."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from crash_kernels import hooked
from forked import in_child
from kernels import one_draw
from paths import TESTS

import bgsim
from bgsim.errors import EngineClosedError, StoreError
from bgsim.job import JobState
from bgsim.running.lock import EngineLock
from bgsim.running.shutdown import end_threads
from bgsim.running.task_chooser import TaskChooser
from bgsim.running.workers import Workers
from bgsim.storage import MemoryStore, ResultStore
from bgsim.testing import Gate, gated, parts

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
ignore_fork_warning = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

SPIN = """
@bgsim.simulation(outputs={'x': 'i8'})
def spin(p, rng, control):
    x = 1
    for i in range(200_000_000_000):
        if POLLS and bgsim.stop_requested(control):
            return -1
        x = x * 6364136223846793005 + rng.integers(0, 7)
    return x
"""

PRELUDE = """
import os, signal, sys, threading
import bgsim
from crash_kernels import HOOKS, hooked, patient, stubborn

def here():
    print('here', flush=True)
"""


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], timeout_s: float = HANDSHAKE_S) -> tuple[int, str, str]:
    """Return exit code, output and errors of a process that has to end by itself, within a bound."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # with its children, which may never end
        process.kill()
        process.communicate()
        raise
    return process.returncode, out, err


def run(code: str, timeout_s: float = HANDSHAKE_S) -> tuple[int, str, str]:
    return end(start(code), timeout_s)


def interrupt(code: str) -> tuple[int, str, str]:
    """Start a process, press Ctrl-C when it says that it is there, and return how it ended.

    CPython loses a signal that comes between its last look and the system call in which a thread goes to sleep, so it is
    pressed again, as a person would, where nothing has come of it for long.
    """
    process = start(code)
    assert process.stdout.readline() == "here\n", process.communicate()
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(HANDSHAKE_S / 4)
            break
    return end(process)


# ---- Ctrl-C ------------------------------------------------------------------------------------------

WAITS = {
    "result": "job.result()",
    "exception": "job.exception()",
    "updates": "for update in job.updates(): pass",
    "all updates": "for update in engine.subscribe(): pass",
    "drain": "engine.drain()",
    "close": "engine.close()",
    "batch": "engine.submit_many(patient, [None] * 3, replicates=1, allow_deduplication=False).results()",
    "as_completed": "list(engine.as_completed([job]))",
    "map": "list(engine.map(patient, [None] * 3, replicates=1, allow_deduplication=False))",
    "leaving the block": "pass",
    "nothing": "threading.Event().wait()",
}


@pytest.mark.skipif(os.name != "posix", reason="signals are sent to one process")
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_ctrl_c_comes_back_with_nothing_but_keyboard_interrupt(wait: str, tmp_path: Path) -> None:
    """Wherever it waits: what is done is stored, and one traceback ends in KeyboardInterrupt."""
    path = tmp_path / "s.db"
    code, out, err = interrupt(
        "reached = threading.Event()\n"
        "kept = []\n"
        f"with bgsim.Engine({str(path)!r}, workers=2) as engine:\n"
        "    def stop_at_30():\n"
        "        kept.append(1)\n"
        "        if len(kept) == 30:\n"
        "            reached.set()\n"
        "    other = engine.submit(patient, replicates=1)\n"
        "    next(other.updates())\n"
        "    HOOKS.append(stop_at_30)\n"
        "    job = engine.submit(hooked, replicates=1_000_000, seed=1)\n"
        "    reached.wait()\n"
        "    here()\n"
        f"    {wait}\n"
    )
    assert (code, out) == (-signal.SIGINT, "")
    assert err.count("Traceback") == 1, err
    assert err.endswith("KeyboardInterrupt\n")
    store = ResultStore(path)
    (result,) = store.results()
    assert result.replicates >= 30
    columns = store.load(result.hash, 30)
    assert columns["x"].tolist() == [bgsim.replicate_rng(1, i).standard_normal() for i in range(30)]
    assert store.journal.interrupted() == []  # what was cancelled is not wanted any more
    store.close()


@pytest.mark.skipif(os.name != "posix", reason="signals are sent to one process")
def test_ctrl_c_comes_back_though_a_kernel_does_not_let_go(tmp_path: Path) -> None:
    code, out, err = interrupt(
        f"with bgsim.Engine({str(tmp_path / 's.db')!r}, workers=2) as engine:\n"
        "    job = engine.submit(stubborn, replicates=1)\n"
        "    next(job.updates())\n"
        "    here()\n"
        "    job.result()\n"
    )
    assert (code, out, err.count("Traceback")) == (-signal.SIGINT, "", 1), err


@pytest.mark.skipif(os.name != "posix", reason="signals are sent to one process")
def test_ctrl_c_that_is_caught_leaves_an_engine_that_goes_on() -> None:
    """As in a notebook."""
    code, out, err = interrupt(
        "with bgsim.Engine(workers=1) as engine:\n"
        "    job = engine.submit(patient, replicates=1)\n"
        "    next(job.updates())\n"
        "    try:\n"
        "        here()\n"
        "        job.result()\n"
        "    except KeyboardInterrupt:\n"
        "        print(job.state.value, job.cancel())\n"
        "    print(engine.submit(hooked, replicates=3).result().replicates)\n"
    )
    assert (code, out, err) == (0, "running True\n3\n", "")


def test_a_close_that_was_interrupted_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C during the close keeps neither the store open nor what is pending with a dead engine."""
    store = ResultStore(tmp_path / "s.db")
    engine = bgsim.Engine(store, workers=1)
    engine.pause()
    engine.submit(one_draw, replicates=1, delay_s=3600.0)
    join = parts(engine).timers.join

    def interrupted_join() -> None:
        monkeypatch.setattr(parts(engine).timers, "join", join)
        raise KeyboardInterrupt

    monkeypatch.setattr(parts(engine).timers, "join", interrupted_join)
    monkeypatch.setattr("bgsim.running.shutdown.end_threads_soon", end_threads)
    monkeypatch.setattr(parts(engine).events, "release", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        engine.close(timeout_s=0)
    monkeypatch.undo()
    assert store.journal.interrupted() == []
    engine.close()
    assert parts(engine).bus.closed
    assert parts(engine).events.owner is None
    store.close()


# ---- an exception in the block -----------------------------------------------------------------------


def test_an_exception_in_the_block_keeps_what_is_done(tmp_path: Path, gate: Gate, monkeypatch: Any) -> None:
    path = tmp_path / "s.db"
    done: list[int] = []

    def stop_at_20() -> None:
        done.append(1)
        if len(done) == 20:
            gate.stop_here()

    monkeypatch.setattr("crash_kernels.HOOKS", [stop_at_20])
    with pytest.raises(ZeroDivisionError), bgsim.Engine(path, workers=1) as engine:
        job = engine.submit(hooked, replicates=1_000_000)
        waiting = engine.submit(hooked, replicates=5, delay_s=3600.0, seed=1)
        gate.wait_until_reached()
        monkeypatch.setattr("crash_kernels.HOOKS", [])
        threading.Thread(target=gate.open).start()
        raise ZeroDivisionError
    assert job.cancelled()
    assert waiting.cancelled()
    with bgsim.Engine(path) as engine:
        assert engine.interrupted() == []
        (result,) = engine.store.results()
        assert result.replicates >= 20


# ---- the interpreter's exit --------------------------------------------------------------------------

KERNELS = {
    "compiled, polls": ("POLLS = True\n" + SPIN + "spin.warmup()\n", "spin"),
    "compiled, does not poll": ("POLLS = False\n" + SPIN + "spin.warmup()\n", "spin"),
    "plain, polls": ("", "patient"),
    "plain, does not poll": ("", "stubborn"),
}


@pytest.mark.parametrize(("setup", "name"), KERNELS.values(), ids=KERNELS.keys())
@pytest.mark.parametrize("stored", [False, True], ids=["memory", "file"])
def test_the_interpreter_exits_while_kernels_run(setup: str, name: str, stored: bool, tmp_path: Path) -> None:
    """An engine that nobody closed: no hang, no crash, no message."""
    store = repr(str(tmp_path / "s.db")) if stored else "None"
    assert run(
        setup + f"engine = bgsim.Engine({store}, workers=2)\n"
        f"jobs = [engine.submit({name}, replicates=5, seed=seed) for seed in range(4)]\n"
        "next(jobs[0].updates())\n"
        "print('leaving')\n"
    ) == (0, "leaving\n", "")


WATCHERS = {
    "a thread, one job": "threading.Thread(target=lambda: list(job.updates())).start()",
    "a thread, all jobs": "threading.Thread(target=lambda: list(engine.subscribe())).start()",
    "a daemon": "threading.Thread(target=lambda: list(engine.subscribe()), daemon=True).start()",
    "a thread that waits for the result": "threading.Thread(target=lambda: job.exception()).start()",
    "a pool": "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor().submit(list, job.updates())",
    "a callback": "engine.subscribe(lambda update: None)",
    "a callback that hangs": "engine.subscribe(lambda update: threading.Event().wait())",
}


@pytest.mark.parametrize("watch", WATCHERS.values(), ids=WATCHERS.keys())
def test_the_interpreter_exits_though_somebody_watches(watch: str) -> None:
    """Whoever iterates over updates comes to their end; who waits for a result is told that it was cancelled."""
    code, out, err = run(
        "engine = bgsim.Engine(workers=1)\n"
        "job = engine.submit(patient, replicates=1)\n"
        "next(job.updates())\n"
        f"{watch}\n"
        "print('leaving')\n"
    )
    assert (code, out) == (0, "leaving\n")
    assert err == "" or (err.count("Traceback") == 1 and "CancelledError" in err)


def test_a_result_that_was_reported_is_there_after_the_exit(tmp_path: Path) -> None:
    """An engine on a file that nobody closed, with more under way."""
    path = tmp_path / "s.db"
    code, out, err = run(
        f"engine = bgsim.Engine({str(path)!r}, workers=1)\n"
        "for seed in range(5):\n"
        "    engine.submit(hooked, replicates=50, seed=seed).result()\n"
        "jobs = [engine.submit(hooked, replicates=1_000_000, seed=seed) for seed in range(5, 9)]\n"
    )
    assert (code, out, err) == (0, "", "")
    store = ResultStore(path)
    assert {int(r.record.seed) for r in store.results()} >= set(range(5))
    assert store.check().ok
    assert store.journal.interrupted() == []
    store.close()


def test_the_interpreter_exits_by_an_exception_and_by_sys_exit(tmp_path: Path) -> None:
    for leave, code in (("raise SystemExit(3)", 3), ("1 / 0", 1)):
        found, out, err = run(
            f"engine = bgsim.Engine({str(tmp_path / 's.db')!r})\nengine.submit(patient, replicates=1)\n{leave}\n"
        )
        assert (found, out, err.count("Traceback")) == (code, "", code == 1)


# ---- forks -------------------------------------------------------------------------------------------


@needs_fork
@ignore_fork_warning
@pytest.mark.parametrize("stored", [False, True], ids=["memory", "file"])
def test_a_forked_child_is_told_and_the_parent_goes_on(tmp_path: Path, hold: Gate, stored: bool) -> None:
    path = tmp_path / "s.db"
    with bgsim.Engine(path if stored else None, workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        assert hold.reached.wait(HANDSHAKE_S)
        finished = engine.submit(one_draw, replicates=1, seed=1)

        def check() -> None:
            for refused in (
                lambda: engine.submit(one_draw, replicates=1),
                lambda: engine.submit_many(one_draw, [None], replicates=1).results(),
                lambda: list(engine.map(one_draw, [None], replicates=1)),
                lambda: engine.status(job.id),
                engine.jobs,
                engine.pause,
                engine.resume,
                engine.drain,
                engine.subscribe,
                job.cancel,
                job.pause,
                lambda: job.set_priority("high"),
                job.status,
                job.updates,
                job.partial,
                lambda: job.estimate("x"),
                job.result,
                job.exception,
            ):
                try:
                    refused()
                except EngineClosedError as error:
                    assert "forked child" in str(error)
                else:
                    raise AssertionError("it was not refused")
            assert engine.close() == []
            assert engine not in bgsim.engines()
            if stored:
                try:
                    engine.interrupted()
                except StoreError as error:
                    assert "fork" in str(error)
            with bgsim.Engine(path if stored else None, workers=1) as mine:  # as the message says
                assert mine.submit(one_draw, replicates=3, seed=2).result(HANDSHAKE_S).replicates == 3

        in_child(check)
        hold.go_on.set()
        assert job.result(HANDSHAKE_S).replicates == 1
        assert finished.result(HANDSHAKE_S).replicates == 1
        if stored:
            assert engine.store.check().ok
            assert engine.submit(one_draw, replicates=3, seed=2, cache="only").result().replicates == 3


@needs_fork
def test_a_forked_child_exits_as_a_program_does(tmp_path: Path) -> None:
    """Its exit closes nothing of the parent's, and does not hang; the parent's store is whole."""
    path = tmp_path / "s.db"
    code, out, err = run(
        "import warnings; warnings.simplefilter('ignore')\n"
        f"engine = bgsim.Engine({str(path)!r}, workers=2)\n"
        "job = engine.submit(patient, replicates=1)\n"
        "next(job.updates())\n"
        "if os.fork() == 0:\n"
        "    with engine:\n"
        "        pass\n"
        "    del engine, job\n"
        "    sys.exit(0)\n"
        "assert os.wait()[1] == 0\n"
        "print(engine.submit(hooked, replicates=40).result().replicates, job.state.value, engine.store.check().ok)\n"
        "engine.close(cancel=True)\n"
    )
    assert (code, out, err) == (0, "40 running True\n", "")


def _child_of_fork(engine: bgsim.Engine) -> str:
    try:
        engine.submit(one_draw, replicates=1)
    except EngineClosedError as error:
        return str(error)
    return "nothing"


def _child_of_spawn(path: str) -> int:
    with bgsim.Engine(path, workers=1) as engine:
        return engine.submit("crash_kernels.hooked", replicates=7, seed=9).result().replicates


_ENGINES: list[bgsim.Engine] = []


def _say(queue: Any) -> None:
    queue.put(_child_of_fork(_ENGINES[0]))


@needs_fork
@ignore_fork_warning
def test_multiprocessing_with_fork_is_told_and_with_spawn_shares_the_store(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with bgsim.Engine(path, workers=1) as engine:
        _ENGINES.append(engine)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_say, args=(queue,))
        child.start()
        assert "forked child" in queue.get()
        child.join(HANDSHAKE_S)
        assert child.exitcode == 0
        _ENGINES.clear()
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(_child_of_spawn, str(path)).result(HANDSHAKE_S) == 7
        assert engine.submit(hooked, replicates=7, seed=9, cache="only").result().replicates == 7


# ---- closing -----------------------------------------------------------------------------------------


def test_closing_twice_and_submitting_after_it(tmp_path: Path, in_threads: Any) -> None:
    engine = bgsim.Engine(tmp_path / "s.db", workers=1)
    job = engine.submit(one_draw, replicates=3)
    assert in_threads(*[engine.close] * 4) == [[]] * 4
    assert engine.close(cancel=True) == []
    assert job.state is JobState.COMPLETED
    for refused in (
        lambda: engine.submit(one_draw, replicates=1),
        lambda: engine.submit_many(one_draw, [None], replicates=1).results(),
        lambda: engine.sweep(one_draw, {}, replicates=1).results(),
        lambda: next(engine.map(one_draw, [None], replicates=1)),
        engine.subscribe,
    ):
        with pytest.raises(EngineClosedError):
            refused()
    assert (job.cancel(), job.pause(), job.resume()) == (False, False, False)
    assert job.result().replicates == 3
    assert engine.status(job.id).state is JobState.COMPLETED
    assert engine.drain(0)


CALLBACKS = {
    "done": lambda engine, job, close: job.add_done_callback(close),
    "subscriber": lambda engine, job, close: engine.subscribe(close, completions_only=True),
}


@pytest.mark.parametrize("attach", CALLBACKS.values(), ids=CALLBACKS.keys())
@pytest.mark.parametrize("stored", [False, True], ids=["memory", "file"])
def test_closing_from_a_callback_ends_everything(attach: Any, stored: bool, tmp_path: Path, hold: Gate) -> None:
    engine = bgsim.Engine(tmp_path / "s.db" if stored else None, workers=1)
    closed = threading.Event()

    def close(_: object) -> None:
        assert engine.close(cancel=True) == []
        closed.set()

    job = engine.submit(gated, {"name": "a"}, replicates=1)
    other = engine.submit(one_draw, replicates=1, delay_s=3600.0)
    attach(engine, job, close)
    hold.go_on.set()
    assert closed.wait(HANDSHAKE_S)
    concurrent.futures.wait([job, other], HANDSHAKE_S)
    assert job.state is JobState.COMPLETED
    assert other.cancelled()
    engine.close()


def test_closing_from_a_kernel_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain simulation may close the engine that runs it, however odd."""
    engine = bgsim.Engine(tmp_path / "s.db", workers=1)
    monkeypatch.setattr("crash_kernels.HOOKS", [lambda: engine.close(cancel=True)])
    job = engine.submit(hooked, replicates=3)
    concurrent.futures.wait([job], HANDSHAKE_S)
    assert job.state.is_terminal
    engine.close()


def test_close_with_a_time_out_says_what_still_ran_and_the_next_engine_finds_it(tmp_path: Path, hold: Gate) -> None:
    """Nobody who waits for one of them waits for ever."""
    path = tmp_path / "s.db"
    engine = bgsim.Engine(path, workers=1, max_concurrent_simulations=1)
    running = engine.submit(gated, {"name": "a"}, replicates=1)
    assert hold.reached.wait(HANDSHAKE_S)
    queued = engine.submit(one_draw, replicates=5)
    delayed = engine.submit(one_draw, replicates=6, seed=1, delay_s=3600.0)
    paused = engine.submit(one_draw, replicates=7, seed=2)
    paused.pause()
    assert engine.close(timeout_s=0) == [running, queued, delayed, paused]
    assert [job.cancelled() for job in (queued, delayed, paused)] == [True] * 3
    assert all(job.started_at is None for job in (queued, delayed, paused)), "none began on the way"
    assert running.state is JobState.CANCELLING
    hold.go_on.set()
    concurrent.futures.wait([running], HANDSHAKE_S)
    assert running.cancelled()
    with bgsim.Engine(path, workers=1) as engine:
        found = engine.interrupted()
        assert [request.id for request in found] == [running.id, queued.id, delayed.id, paused.id]
        assert [request.started for request in found] == [False] * 4, "an orderly end is no crash"
        jobs = engine.recover([queued.id, paused.id])
        assert [job.result(HANDSHAKE_S).replicates for job in jobs] == [5, 7]


def test_close_with_a_time_out_keeps_finished_replicates(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next engine goes on from them."""
    path = tmp_path / "s.db"
    done: list[int] = []

    def say_so() -> None:
        done.append(1)
        if len(done) == 20:
            gate.stop_here()

    monkeypatch.setattr("crash_kernels.HOOKS", [say_so])
    engine = bgsim.Engine(path, workers=1)
    job = engine.submit(hooked, replicates=20_000)
    gate.wait_until_reached()
    threading.Thread(target=gate.open).start()
    assert engine.close(timeout_s=0) == [job]
    concurrent.futures.wait([job], HANDSHAKE_S)
    assert job.cancelled()
    monkeypatch.setattr("crash_kernels.HOOKS", [])
    with bgsim.Engine(path, workers=1) as engine:
        held_before = engine.store.results()[0].replicates
        assert held_before >= 20
        (again,) = engine.recover()
        assert (again.id, again.crashes) == (job.id, 0)
        assert again.result(HANDSHAKE_S).replicates == 20_000
        assert again.status().from_store == held_before


def test_leaving_the_block_waits_for_nothing_that_a_close_within_it_gave_up(hold: Gate) -> None:
    """Such as a window's, whose end closes the engine: a kernel that does not stop keeps the program no longer."""
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        assert engine.close(cancel=True, timeout_s=0) == [job]
    assert not job.done()
    hold.open()
    with pytest.raises(concurrent.futures.CancelledError):
        job.result(HANDSHAKE_S)


def test_an_immediate_engine_leaves_no_future_open() -> None:
    """What waits for a time that will not come any more is cancelled."""
    engine = bgsim.Engine(immediate=True)
    job = engine.submit(one_draw, replicates=1, delay_s=3600.0)
    assert engine.close() == [job]
    assert job.cancelled()


BLOCKERS = {
    "done-callback": lambda engine, job, block: job.add_done_callback(block),
    "subscriber": lambda engine, job, block: engine.subscribe(block, completions_only=True),
}


@pytest.mark.parametrize("attach", BLOCKERS.values(), ids=BLOCKERS.keys())
def test_a_callback_that_hangs_does_not_keep_close_beyond_its_time(
    attach: Any, gate: Gate, hold: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that waits for the thread that closes."""
    monkeypatch.setattr("bgsim.running.shutdown.CLOSE_GRACE_S", 0.01)
    engine = bgsim.Engine(workers=1)
    job = engine.submit(gated, {"name": "a"}, replicates=1)
    attach(engine, job, gate.stop_here)
    hold.go_on.set()
    gate.wait_until_reached()
    assert engine.close(cancel=True) == []
    gate.open()
    engine.close()


def test_an_engine_that_nobody_holds_ends_what_it_was_given(tmp_path: Path) -> None:
    """And lets go of its file and its threads, as the fixture of all tests sees."""
    store = ResultStore(tmp_path / "s.db")
    engine = bgsim.Engine(store, workers=1)
    threads = [worker._thread for worker in parts(engine).workers.all]
    jobs = [engine.submit(one_draw, replicates=10, seed=seed) for seed in range(5)]
    del engine
    gc.collect()
    assert [job.result(HANDSHAKE_S).replicates for job in jobs] == [10] * 5
    for thread in threads:
        thread.join(HANDSHAKE_S)
        assert not thread.is_alive()
    store.close()


def test_a_store_that_is_not_the_engines_stays_open(tmp_path: Path) -> None:
    for store in (MemoryStore(), ResultStore(tmp_path / "s.db")):
        for _ in range(2):
            with bgsim.Engine(store, workers=1) as engine:
                assert engine.submit(one_draw, replicates=2).result(HANDSHAKE_S).replicates == 2
        assert len(store.results()) == 1
        store.close()


# ---- what must not end a worker ----------------------------------------------------------------------


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_whose_text_cannot_be_made_fails_its_job_only() -> None:
    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def unspeakable(p: Any, rng: Any) -> float:
        raise Unspeakable

    with bgsim.Engine(workers=1) as engine:
        error = engine.submit(unspeakable, replicates=1).exception(HANDSHAKE_S)
        assert "raised Unspeakable: a text that cannot be made" in str(error)
        assert engine.submit(one_draw, replicates=1).result(HANDSHAKE_S).replicates == 1


def test_what_is_put_off_is_done_though_something_before_it_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Among that is what resolves futures."""
    lock, done = EngineLock(lambda: None), []

    def fail() -> None:
        raise ValueError("first")

    with lock:
        lock.defer(fail)
        lock.defer(lambda: done.append(not lock.raw.locked()))
    assert done == [True]
    assert "first" in caplog.text


def test_what_is_put_off_is_done_once(in_threads: Any) -> None:
    """By whoever put it off, though others enter as he leaves."""
    lock, done = EngineLock(lambda: None), []

    def use() -> None:
        for number in range(2000):
            with lock:
                if number % 3 == 0:
                    lock.defer(lambda number=number: done.append(number))

    in_threads(*[use] * 4)
    assert len(done) == 4 * 667


@pytest.mark.skipif(os.name != "posix", reason="raise_signal calls the handler at once")
def test_ctrl_c_under_the_lock_is_raised_when_all_is_done() -> None:
    """Half of a change would leave others waiting for ever; the handler is the caller's own before and after."""
    lock, done = EngineLock(lambda: None), []
    seen: list[int] = []

    def own(number: int, frame: Any) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def nested() -> None:
        with lock:
            signal.raise_signal(signal.SIGINT)
        done.append("put off")

    def use() -> None:
        with lock:
            lock.defer(nested)
            signal.raise_signal(signal.SIGINT)
            done.append("under the lock")

    before = signal.signal(signal.SIGINT, own)
    try:
        with pytest.raises(KeyboardInterrupt):
            use()
        assert done == ["under the lock", "put off"]
        assert seen == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is own
        assert not lock.raw.locked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    """Whoever starts a program so that Ctrl-C does not reach it (nohup, a job runner) finds it so under our lock, too."""
    lock, done = EngineLock(lambda: None), []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with lock:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
            done.append("under the lock")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["under the lock"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere no parent hands down that Ctrl-C is ignored")
def test_the_tests_of_ctrl_c_pass_where_the_parent_ignores_it() -> None:
    """As under nohup or a job runner: one that raises it, one that forks, and one that starts a command."""
    tests = [
        f"{__file__}::test_ctrl_c_in_a_call_of_an_immediate_engine_ends_it_at_once",
        f"{TESTS / 'storage' / 'test_forks.py'}::test_ctrl_c_while_a_fork_waits_comes_after_it_and_the_files_are_closed",
        f"{TESTS / 'ui' / 'test_cli.py'}::test_ctrl_c_keeps_the_finished_replicates_and_running_again_resumes",
    ]
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        timeout=3 * HANDSHAKE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


@needs_fork
def test_a_child_that_a_callback_forks_comes_out_of_the_lock() -> None:
    """It begins in another thread, as its main one, which has not held Ctrl-C back."""
    lock, forked = EngineLock(lambda: None), []

    def use() -> None:
        code = 1
        try:
            with lock:
                lock.defer(lambda: forked.append(os.fork()))
            code = 0
        finally:
            if forked == [0]:
                os._exit(code)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(HANDSHAKE_S)
    assert os.waitpid(forked[0], 0)[1] == 0


SUBMIT_AND_INTERRUPT = """
import random
rng = random.Random(5)
for _ in range(25):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with bgsim.Engine(workers=1, max_queue_size=10**6) as engine:
                for number in range(10**9):
                    job = engine.submit(hooked, replicates=1, seed=number)
                    if number == 50:
                        os.write(writer, b'x')
                    if number % 3 == 0:
                        job.cancel()
        except KeyboardInterrupt:
            code = 0 if not engine.jobs() else 2
        finally:
            os._exit(code)
    os.read(reader, 1)
    for _ in range(rng.randrange(2000)):  # some microseconds more, or less
        os.getpid()
    os.kill(child, signal.SIGINT)
    assert os.waitpid(child, 0)[1] == 0
print('done')
"""


@needs_fork
@pytest.mark.stress
def test_ctrl_c_at_any_moment_of_submitting_comes_back() -> None:
    """Nothing is torn, so that closing finds everything in order."""
    assert run(SUBMIT_AND_INTERRUPT, timeout_s=3 * HANDSHAKE_S) == (0, "done\n", "")


@pytest.mark.skipif(os.name != "posix", reason="raise_signal calls the handler at once")
@pytest.mark.parametrize(
    ("part", "where"),
    [
        (Workers, "next_task"),
        (TaskChooser, "_take"),
        (Workers, "prepare"),
        (Workers, "prepared"),
        (Workers, "computed"),
    ],
)
def test_ctrl_c_between_two_pieces_of_work_in_the_main_thread_loses_neither(
    part: type, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an immediate engine has taken is run, or taken again: no row is left as it was."""
    called, armed = getattr(part, where), []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if armed:
            armed.clear()
            signal.raise_signal(signal.SIGINT)
        return called(*args, **kwargs)

    monkeypatch.setattr(part, where, interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with bgsim.Engine(immediate=True) as engine:
            engine.pause()
            job = engine.submit(hooked, replicates=30)
            armed.append(True)
            with pytest.raises(KeyboardInterrupt):
                engine.resume()
            result = job.result()
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(zip(result["x"], result["n"], strict=True)) == [result.replay(index) for index in range(30)]


def test_ctrl_c_in_a_call_of_an_immediate_engine_ends_it_at_once() -> None:
    """And in what a call does with an engine it waits for the lock, and then goes on."""
    steps: list[str] = []

    def call() -> None:
        with EngineLock(lambda: None):
            signal.raise_signal(signal.SIGINT)
            steps.append("under a lock")
        steps.append("after it")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with bgsim.Engine(immediate=True) as engine:
            with suppress(KeyboardInterrupt):
                engine.executor().submit(call)
            assert steps == ["under a lock"]
            assert engine.submit(one_draw, replicates=1).result().replicates == 1
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="raise_signal calls the handler at once")
def test_ctrl_c_in_the_kernel_of_an_immediate_engine_ends_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no failure of the replicate: the job goes on when it is asked to."""
    calls: list[int] = []

    def interrupt_at_5() -> None:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("crash_kernels.HOOKS", [interrupt_at_5])
    with bgsim.Engine(immediate=True) as engine:
        with pytest.raises(KeyboardInterrupt):
            engine.submit(hooked, replicates=8)
        (job,) = engine.jobs()
        assert parts(engine).reader.status(job).replicates_completed == 4  # which does not go on
        assert job.result().replicates == 8
    assert len(calls) == 9
