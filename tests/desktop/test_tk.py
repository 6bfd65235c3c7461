"""Jobs in a window of tkinter on a screen in memory: threads, exceptions, destruction, sliders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kernels import fragile, one_draw, spin
from windows import for_a_while, until

from bgsim import Engine, Job
from bgsim.errors import GuiError
from bgsim.models.options import asian_call
from bgsim.testing import Gate, gated

tkinter = pytest.importorskip("tkinter", reason="this Python has no tkinter", exc_type=ImportError)

from bgsim.ui.tk import JobBar, JobTable, TkJobs  # noqa: E402


@pytest.fixture
def root(display: str) -> Iterator[Any]:
    made = tkinter.Tk()
    made.raised = []
    made.report_callback_exception = lambda kind, error, _: made.raised.append(error)
    yield made
    if not is_gone(made):
        made.update()  # or ttk tells widgets that are gone of its theme
        made.destroy()


def is_gone(root: Any) -> bool:
    try:
        return not root.winfo_exists()
    except tkinter.TclError:
        return True


class Told:
    """Callbacks that write down what they are told, and where."""

    def __init__(self, jobs: TkJobs) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        jobs.on_progress(lambda job, update: self._note("progressed", job.id))
        jobs.on_finished(lambda job: self._note("finished", job.id))
        jobs.on_completed(lambda job: self._note("completed", job.id))

    def _note(self, *what: Any) -> None:
        self.threads.add(threading.get_ident())
        self.told.append(what)

    def of(self, what: str) -> list[Any]:
        return [told[1] for told in self.told if told[0] == what]


def test_all_callbacks_are_called_in_the_windows_thread(root: Any) -> None:
    with Engine(workers=2) as engine:
        jobs = TkJobs(engine, root)
        told = Told(jobs)
        good = [jobs.submit(asian_call, {"strike": 90.0 + n}, replicates=20_000) for n in range(8)]
        bad = jobs.submit(fragile, {"fails_at": 1.0}, replicates=5)
        stopped = jobs.submit(one_draw, replicates=5, delay_s=60.0)
        stopped.cancel()
        until(lambda: not jobs.jobs, root.update)
        again = jobs.submit(asian_call, {"strike": 90.0}, replicates=20_000)  # the store answers at once
        assert again.done()
        until(lambda: not jobs.jobs, root.update)
    assert told.threads == {threading.get_ident()}
    assert sorted(told.of("finished")) == sorted(job.id for job in (*good, bad, stopped, again))
    assert sorted(told.of("completed")) == sorted(job.id for job in (*good, again))
    assert root.raised == []


def test_the_timer_rests_when_nothing_is_awaited(root: Any) -> None:
    with Engine(workers=1) as engine:
        jobs = TkJobs(engine, root)
        assert jobs._timer is None
        jobs.submit(one_draw, replicates=3)
        assert jobs._timer is not None
        until(lambda: not jobs.jobs, root.update)
        assert jobs._timer is None


def test_what_a_callback_raises_is_reported_and_the_others_are_called(root: Any) -> None:
    with Engine(workers=1) as engine:
        jobs = TkJobs(engine, root)

        @jobs.on_finished
        def wrong(job: Job) -> None:
            raise ValueError(job.id)

        told = Told(jobs)
        made = [jobs.submit(one_draw, replicates=3, seed=seed) for seed in range(3)]
        until(lambda: not jobs.jobs, root.update)
        assert sorted(map(str, root.raised)) == sorted(told.of("finished")) == sorted(job.id for job in made)
        jobs.forget(wrong)
        jobs.submit(one_draw, replicates=3, seed=9)
        until(lambda: not jobs.jobs, root.update)
        assert len(root.raised) == 3


def test_a_window_destroyed_in_mid_run_harms_nothing(root: Any, hold: Gate) -> None:
    """The job goes on, and nothing is called any more; another window of the application still is."""
    with Engine(workers=1) as engine:
        window = tkinter.Toplevel(root)
        gone, stays = TkJobs(engine, window), TkJobs(engine, root)
        told, other = Told(gone), Told(stays)
        job = gone.submit(gated, {"name": "a"}, replicates=3)
        JobBar(window, job).pack()
        JobTable(window, gone).pack()
        hold.wait_until_reached()
        until(lambda: told.told, root.update)
        stays.watch(job)
        window.destroy()
        before = len(told.told)
        hold.open()
        until(lambda: other.of("completed"), root.update)
        assert job.done()
        for_a_while(root.update, 0.1)
        gone.deliver()
        assert len(told.told) == before
        assert not engine.closed
        assert root.raised == []


def test_the_end_of_the_application_closes_the_engine(root: Any) -> None:
    """What runs is cancelled; nobody waits for it."""
    engine = Engine(workers=1)
    jobs = TkJobs(engine, root)
    told = Told(jobs)
    job = jobs.submit(spin, replicates=10)
    until(lambda: told.told, root.update)
    root.destroy()
    assert engine.closed
    assert job.cancelled()
    assert told.of("finished") == []


def test_an_engine_may_outlive_the_application(root: Any) -> None:
    with Engine(workers=1) as engine:
        TkJobs(engine, root, close_at_quit=False)
        root.destroy()
        assert engine.submit(one_draw, replicates=3).result().replicates == 3


def test_it_is_for_the_windows_thread_alone(root: Any) -> None:
    with Engine(immediate=True) as engine:
        jobs = TkJobs(engine, root)

        def elsewhere() -> None:
            for call in (lambda: jobs.submit(one_draw, replicates=1), jobs.deliver):
                with pytest.raises(GuiError, match="the window's thread"):
                    call()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert engine.jobs() == []


# ---- sliders -----------------------------------------------------------------------------------------


def scale_of(root: Any, kind: str, before: list[Any]) -> tuple[Any, Callable[[], float], Callable[[float], None]]:
    """Return what is bound, what reads it, and what moves it."""
    if kind == "variable":
        variable = tkinter.DoubleVar(root)
        return variable, variable.get, variable.set
    if kind == "ttk":
        scale = tkinter.ttk.Scale(root, to=1000, command=before.append)
    else:
        scale = tkinter.Scale(root, to=1000, command=before.append)
    scale.pack()
    return scale, scale.get, scale.set


@pytest.mark.parametrize("kind", ["tk", "ttk", "variable"])
def test_two_hundred_moves_in_two_seconds_show_one_result(root: Any, kind: str) -> None:
    """As users may test their own: an immediate engine, a clock that is set, and nothing to wait for."""
    import tkinter.ttk  # noqa: F401

    drawn: list[Any] = []
    before: list[Any] = []
    with Engine(immediate=True) as engine:
        jobs = TkJobs(engine, root)
        told = Told(jobs)
        bound, read, move = scale_of(root, kind, before)
        latest = jobs.bind_latest(bound, lambda: {"strike": 80.0 + read() / 10}, asian_call, 2_000, drawn.append)
        for value in range(1, 201):
            move(value)
            root.update()
            engine.clock.advance(0.01)
        assert drawn == []
        engine.clock.advance(0.1)
        jobs.deliver()
        assert [result.parameters["strike"] for result in drawn] == [100.0]
        until(lambda: not jobs.jobs, root.update)
        assert len(drawn) == 1
        assert told.of("completed") == [latest.job.id]
        assert len(told.of("finished")) == len(set(told.of("finished"))) >= 201
        assert kind == "variable" or float(before[-1]) == 200.0
        assert root.raised == []
        if kind != "variable":
            move(300)
            root.update()
            bound.destroy()
            engine.clock.advance(0.2)
            until(lambda: not jobs.jobs, root.update)
            assert len(drawn) == 1


def test_the_newest_wins_while_kernels_run(root: Any) -> None:
    """Each value is begun and cut short by the next; what is drawn is never an older one after a newer."""
    asian_call.warmup()
    drawn: list[Any] = []
    with Engine(workers=1) as engine:
        jobs = TkJobs(engine, root)
        value = tkinter.DoubleVar(root)
        jobs.bind_latest(
            value, lambda: {"strike": 80.0 + value.get()}, asian_call, 100_000, drawn.append, live=True, debounce_s=0.0
        )
        for number in range(1, 30):
            value.set(number)
            for_a_while(root.update, 0.02)
        until(lambda: not jobs.jobs, root.update)
        strikes = [result.parameters["strike"] for result in drawn]
        assert strikes == sorted(strikes)
        assert (strikes[-1], drawn[-1].replicates) == (109.0, 100_000)


# ---- widgets -----------------------------------------------------------------------------------------


def test_a_bar_pauses_resumes_and_cancels(root: Any) -> None:
    with Engine(workers=1) as engine:
        job = engine.submit(spin, replicates=1)
        bar = JobBar(root, job)
        bar.pack()

        def shows(word: str) -> bool:
            return str(bar._state.cget("text")).startswith(word)

        until(lambda: shows("running"), root.update)
        bar._pause.invoke()
        until(lambda: shows("paused"), root.update)
        assert bar._pause.cget("text") == "Resume"
        bar._pause.invoke()
        until(lambda: bar._pause.cget("text") == "Pause", root.update)
        bar._cancel.invoke()
        until(lambda: shows("cancelled"), root.update)
        assert job.cancelled()
        assert bar._cancel.instate(["disabled"])
        until(lambda: bar._ticker._timer is None, root.update)
        failed = engine.submit(fragile, {"fails_at": 1.0}, replicates=5)
        failed.exception()
        bar.set_job(failed)
        assert "the draw is too small" in bar._state.cget("text")
        bar.set_job(None)
        assert bar._pause.instate(["disabled"])


def test_a_table_shows_all_jobs_and_cancels_the_selected(root: Any) -> None:
    with Engine(workers=1) as engine:
        jobs = TkJobs(engine, root)
        first = jobs.submit(spin, replicates=1)
        table = JobTable(root, jobs)
        table.pack()
        second = jobs.submit(one_draw, replicates=5, delay_s=60.0, supersede="preview")
        third = jobs.submit(one_draw, replicates=6, delay_s=60.0, supersede="preview")
        assert second.cancelled()
        assert table.get_children() == (third.id, first.id)
        until(lambda: str(table.set(first.id, "State")).startswith("running"), root.update)
        table.selection_set(first.id)
        table.press("pause")
        until(lambda: str(table.set(first.id, "State")).startswith("paused"), root.update)
        table.focus_force()
        root.update()
        table.event_generate("<Delete>")
        until(lambda: str(table.set(first.id, "State")).startswith("cancelled"), root.update)
        table.selection_set(third.id)
        assert table.selected() == [third]
        third.cancel()
        until(lambda: table._ticker._timer is None, root.update)
        assert table.selected() == []
        assert root.raised == []
