"""Jobs in a Qt application without a screen, with the binding that QT_API names: threads, bounds, deletion, ends."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import types
import weakref
from typing import Any

import pytest
from kernels import fragile, one_draw, spin
from windows import SCREENS, for_a_while, until

from bgsim import Engine, Job, UpdateType
from bgsim.errors import GuiError
from bgsim.models.options import asian_call
from bgsim.progress import ProgressBus
from bgsim.testing import Gate, gated

qtpy = pytest.importorskip("qtpy", reason="qtpy, or a binding of Qt, is not installed", exc_type=ImportError)
pytest.importorskip("qtpy.QtWidgets", reason="a library of the system is missing", exc_type=ImportError)

from qtpy import QtCore, QtGui, QtTest, QtWidgets  # noqa: E402

from bgsim.ui.desktop.rows import MOST_ROWS  # noqa: E402
from bgsim.ui.qt import JobBar, JobTable, QtJobs, to_gui  # noqa: E402
from bgsim.ui.qt.table import JobsModel  # noqa: E402

pytestmark = pytest.mark.usefixtures("application")


@pytest.fixture
def events(application: Any) -> Any:
    def handle() -> None:
        application.processEvents()
        application.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)

    return handle


class Told(QtCore.QObject):
    """Slots that write down what they are told, and where."""

    def __init__(self, jobs: QtJobs, parent: Any = None) -> None:
        super().__init__(parent)
        self.told: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        jobs.progressed.connect(self.progressed)
        jobs.finished.connect(self.finished)
        jobs.completed.connect(self.completed)

    def _note(self, *what: Any) -> None:
        self.threads.add(threading.get_ident())
        self.told.append(what)

    def progressed(self, job: Job, update: Any) -> None:
        self._note("progressed", job.id, update)

    def finished(self, job: Job) -> None:
        assert job.done()
        self._note("finished", job.id)

    def completed(self, job: Job) -> None:
        self._note("completed", job.id)

    def of(self, what: str) -> list[Any]:
        return [told[1] for told in self.told if told[0] == what]


def test_the_binding_is_the_one_that_is_asked_for() -> None:
    assert os.environ["QT_API"] == qtpy.API


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="True is immortal")
def test_the_binding_drops_no_reference_to_true(events: Any) -> None:
    """PySide6 6.12.0 did with each signal, until the process died; bgsim.ui.qt warns of it."""
    with Engine(immediate=True) as engine:
        jobs = QtJobs(engine)
        before = sys.getrefcount(True)
        for seed in range(100):
            jobs.submit(one_draw, replicates=1, seed=seed)
        until(lambda: not jobs.jobs, events)
        assert sys.getrefcount(True) > before - 50


def test_all_slots_are_called_in_the_applications_thread(events: Any) -> None:
    with Engine(workers=2) as engine:
        jobs = QtJobs(engine)
        told = Told(jobs)
        good = [jobs.submit(asian_call, {"strike": 90.0 + n}, replicates=20_000) for n in range(8)]
        bad = jobs.submit(fragile, {"fails_at": 1.0}, replicates=5)
        stopped = jobs.submit(one_draw, replicates=5, delay_s=60.0)
        stopped.cancel()
        until(lambda: not jobs.jobs, events)
        again = jobs.submit(asian_call, {"strike": 90.0}, replicates=20_000)  # the store answers at once
        assert again.done()
        until(lambda: not jobs.jobs, events)
        for_a_while(events, 0.1)
    ids = sorted(job.id for job in (*good, bad, stopped, again))
    assert told.threads == {threading.get_ident()}
    assert sorted(told.of("finished")) == ids
    assert sorted(told.of("completed")) == sorted(job.id for job in (*good, again))
    for name in ids:
        assert [what for what, job_id, *_ in told.told if job_id == name and what != "completed"][-1] == "finished"


def test_ten_thousand_updates_against_a_slow_slot_post_a_bounded_number_of_events(
    events: Any, hold: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot sleeps as long as a plot takes; the newest update comes, and the window has its turns between."""
    shown, posted, turns = [], [], []

    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        relay = jobs._relay
        post = relay._post
        monkeypatch.setattr(relay, "_post", lambda: (posted.append(None), post()))

        def slow(job: Job, update: Any) -> None:
            time.sleep(0.02)
            shown.append(update.sequence)

        jobs.progressed.connect(slow)
        other = QtCore.QTimer()
        other.timeout.connect(lambda: turns.append(None))
        other.start(1)
        job = jobs.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        bus: ProgressBus = engine._scheduler.bus

        def publish() -> None:
            for number in range(10_000):
                bus.publish(job.id, UpdateType.PROGRESS, replicates_completed=number, total_replicates=10_000)
                time.sleep(0)

        publisher = threading.Thread(target=publish)
        began = time.monotonic()
        publisher.start()
        until(lambda: not publisher.is_alive(), events)
        took = time.monotonic() - began
        newest = bus.current(job.id).sequence
        until(lambda: shown[-1] == newest, events)
        assert len(shown) <= 31 * took + 3
        assert len(posted) <= len(shown) + 2
        assert len(turns) >= len(shown) / 2
        assert shown == sorted(set(shown))
        hold.open()
        until(lambda: not jobs.jobs, events)


@pytest.mark.parametrize("how", ["deleteLater", "parent", "garbage"])
def test_a_window_deleted_in_mid_run_harms_nothing(events: Any, hold: Gate, how: str) -> None:
    """The job goes on, and nothing is called any more."""
    with Engine(workers=1) as engine:
        window = QtWidgets.QWidget()
        jobs = QtJobs(engine, None if how == "garbage" else window)
        told = Told(jobs)
        bar, table = JobBar(parent=window), JobTable(jobs, window)
        job = jobs.submit(gated, {"name": "a"}, replicates=3)
        bar.set_job(job)
        hold.wait_until_reached()
        until(lambda: told.told, events)
        reference, relay = weakref.ref(jobs), jobs._relay
        if how == "garbage":
            del jobs, bar, table
            window.deleteLater()
            window = None
            gc.collect()
            for_a_while(events, 0.05)
            gc.collect()
            assert reference() is None
        elif how == "parent":
            delete(window)
        else:
            window.deleteLater()
            for_a_while(events, 0.05)
        assert relay.closed
        before = len(told.told)
        hold.open()
        assert len(job.result()["x"]) == 3
        for_a_while(events, 0.15)
        assert len(told.told) == before
        if how != "garbage":
            jobs.deliver()  # a timer of Tk or a test may still call it


def delete(what: Any) -> None:
    """Delete an object at once, as C++ does."""
    if qtpy.PYSIDE6:
        import shiboken6

        shiboken6.delete(what)
    else:
        from PyQt6 import sip

        sip.delete(what)


def test_the_garbage_collector_may_delete_it_where_a_lock_is_held(hold: Gate) -> None:
    """It may run within any line that makes an object, also below a lock of the engine or the bus."""
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        jobs.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        with engine._scheduler.lock, engine._scheduler.bus._channels.lock:
            delete(jobs)
        hold.open()


def test_a_slot_whose_object_is_gone_is_not_called(events: Any, hold: Gate) -> None:
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        parent = QtWidgets.QWidget()
        gone, stays = Told(jobs, parent), Told(jobs)
        job = jobs.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        until(lambda: stays.told, events)
        delete(parent)
        before = len(gone.told)
        hold.open()
        until(lambda: stays.of("completed"), events)
        assert stays.of("finished") == [job.id]
        assert len(gone.told) == before


def test_qt_calls_no_closure_when_the_jobs_are_deleted(events: Any) -> None:
    """The garbage collector, in a worker, may take a closure apart while it is called; that crashes PyQt6."""
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        relay = jobs._relay
        jobs.submit(spin, replicates=3)
        closures = [f.__closure__ for f in gc.get_objects() if type(f) is types.FunctionType and f.__closure__]
        assert not [
            cells for cells in closures if any(_content(cell) is relay or _content(cell) is jobs for cell in cells)
        ]
        jobs.deleteLater()
        until(lambda: relay.closed, events)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def test_a_slot_may_delete_the_jobs_that_call_it(events: Any) -> None:
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        seen = []

        def end(job: Job) -> None:
            seen.append(job.id)
            delete(jobs)

        jobs.finished.connect(end)
        for seed in range(3):
            jobs.submit(one_draw, replicates=3, seed=seed)
        until(lambda: seen, events)
        for_a_while(events, 0.1)
        assert len(seen) == 1


def test_a_dialog_in_a_slot_does_not_hold_the_others_up(events: Any) -> None:
    """A message box runs the event loop within the slot."""
    with Engine(workers=2) as engine:
        jobs = QtJobs(engine)
        told, opened = Told(jobs), []

        def dialog(job: Job) -> None:
            if not opened:
                opened.append(job.id)
                until(lambda: len(told.of("finished")) == 2, events)
                opened.append("closed")

        jobs.finished.connect(dialog)
        jobs.submit(one_draw, replicates=3)
        jobs.submit(asian_call, replicates=50_000)
        until(lambda: "closed" in opened, events)
        until(lambda: len(told.of("completed")) == 2, events)


def test_it_is_made_in_the_applications_thread_alone() -> None:
    errors: list[str] = []
    with Engine(immediate=True) as engine:
        jobs = QtJobs(engine)

        def elsewhere() -> None:
            for call in (
                lambda: QtJobs(engine), JobBar, lambda: JobsModel(jobs), lambda: JobTable(jobs), to_gui,
                lambda: jobs.submit(one_draw, replicates=1), jobs.deliver,
            ):  # fmt: skip
                with pytest.raises(GuiError) as caught:
                    call()
                errors.append(str(caught.value))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(errors) == 7
        assert engine.jobs() == []


def test_a_subscriber_of_the_bus_is_called_by_the_same_post(events: Any) -> None:
    seen: list[tuple[int, Any]] = []
    with Engine(workers=1) as engine:
        engine.subscribe(lambda u: seen.append((threading.get_ident(), u.update_type)), post=to_gui())
        engine.submit(one_draw, replicates=3).result()
        until(lambda: seen and seen[-1][1] is UpdateType.COMPLETED, events)
    assert {thread for thread, _ in seen} == {threading.get_ident()}


# ---- sliders -----------------------------------------------------------------------------------------


def bound(jobs: QtJobs, drawn: list[Any], **options: Any) -> tuple[Any, Any]:
    slider = QtWidgets.QSlider()
    slider.setRange(0, 1000)
    latest = jobs.bind_latest(
        slider, lambda: {"strike": 80.0 + slider.value() / 10}, asian_call, 2_000, drawn.append, **options
    )
    return slider, latest


def test_two_hundred_moves_in_two_seconds_show_one_result_by_the_clock_of_a_test(events: Any) -> None:
    """As users may test their own: an immediate engine, a clock that is set, and nothing to wait for."""
    with Engine(immediate=True) as engine:
        jobs, drawn = QtJobs(engine), []
        slider, latest = bound(jobs, drawn)
        for value in range(1, 201):
            slider.setValue(value)
            engine.clock.advance(0.01)
            events()
        assert drawn == []
        engine.clock.advance(0.1)
        jobs.deliver()
        assert [result.parameters["strike"] for result in drawn] == [100.0]
        assert latest.job.done()
        for_a_while(events, 0.1)
        assert len(drawn) == 1
        slider.deleteLater()
        for_a_while(events, 0.02)
        assert jobs.submit(asian_call, {"strike": 100.0}, replicates=2_000).done()
        for_a_while(events, 0.1)
        assert len(drawn) == 1


def test_two_hundred_moves_in_two_seconds_show_one_result(events: Any) -> None:
    asian_call.warmup()
    with Engine(workers=2) as engine:
        jobs, drawn = QtJobs(engine), []
        told = Told(jobs)
        slider, latest = bound(jobs, drawn, debounce_s=0.5)  # this machine may be busy
        for value in range(1, 201):
            slider.setValue(value)
            for_a_while(events, 0.01)
        until(lambda: drawn, events)
        until(lambda: not jobs.jobs, events)
        assert [result.parameters["strike"] for result in drawn] == [100.0]
        assert told.of("completed") == [latest.job.id]
        assert len(told.of("finished")) == len(set(told.of("finished"))) == 201


def test_a_live_slider_draws_what_is_finished_and_the_result_last(events: Any) -> None:
    asian_call.warmup()
    with Engine(workers=1) as engine:
        jobs, drawn = QtJobs(engine), []
        slider = QtWidgets.QSlider()
        jobs.bind_latest(slider, dict, asian_call, 400_000, drawn.append, live=True, debounce_s=0.0)
        until(lambda: drawn and drawn[-1].replicates == 400_000, events)
        counts = [result.replicates for result in drawn]
        assert counts == sorted(counts)
        assert 0 < counts[0] < 400_000


def test_the_newest_wins_while_kernels_run(events: Any) -> None:
    """Each value is begun and cut short by the next; what is drawn is never an older one after a newer."""
    asian_call.warmup()
    with Engine(workers=1) as engine:
        jobs, drawn = QtJobs(engine), []
        slider, _ = bound(jobs, drawn, debounce_s=0.0, live=True)
        for value in range(1, 40):
            slider.setValue(value)
            for_a_while(events, 0.01)
        until(lambda: not jobs.jobs, events)
        strikes = [result.parameters["strike"] for result in drawn]
        assert strikes == sorted(strikes)
        assert strikes[-1] == pytest.approx(83.9)


# ---- widgets -----------------------------------------------------------------------------------------


def press(button: Any) -> None:
    QtTest.QTest.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)


def test_a_bar_pauses_resumes_and_cancels(events: Any) -> None:
    with Engine(workers=1) as engine:
        job = engine.submit(spin, replicates=1)
        bar = JobBar(job)
        bar.show()
        until(lambda: bar._state.text().startswith("running"), events)
        press(bar._pause)
        until(lambda: bar._pause.text() == "Resume", events)
        until(lambda: bar._state.text().startswith("paused"), events)
        press(bar._pause)
        until(lambda: bar._pause.text() == "Pause", events)
        press(bar._cancel)
        until(lambda: bar._state.text().startswith("cancelled"), events)
        assert job.cancelled()
        assert not bar._cancel.isEnabled()
        assert not bar._timer.isActive()
        assert bar._cancel.accessibleName() == "Cancel spin"
        assert bar._bar.accessibleName() == "Progress of spin"


def test_a_bar_of_a_job_that_has_ended_or_of_none(events: Any) -> None:
    with Engine(workers=1) as engine:
        job = engine.submit(one_draw, replicates=10)
        job.result()
        bar = JobBar(job)
        assert bar._bar.value() == bar._bar.maximum()
        assert bar._state.text().startswith("completed")
        assert not bar._pause.isEnabled()
        failed = engine.submit(fragile, {"fails_at": 1.0}, replicates=5)
        failed.exception()
        bar.set_job(failed)
        assert "the draw is too small" in bar._state.text()
        bar.set_job(None)
        assert (bar._name.text(), bar._bar.value(), bar._cancel.isEnabled()) == ("", 0, False)
        for_a_while(events, 0.05)
        assert not bar._timer.isActive()


def text(table: Any, row: int, column: int) -> str:
    return table.model().index(row, column).data()


def test_a_table_shows_all_jobs_and_cancels_the_selected(events: Any) -> None:
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        first = jobs.submit(spin, replicates=1)
        table = JobTable(jobs)
        table.resize(700, 200)
        table.show()
        second = jobs.submit(one_draw, replicates=5, delay_s=60.0)
        assert [text(table, row, 0) for row in range(table.model().rowCount())] == [second.id, first.id]
        until(lambda: text(table, 1, 1).startswith("running"), events)
        table.selectRow(1)
        assert [action.text() for action in table.menu().actions() if action.isEnabled()] == ["Pause", "Cancel"]
        table.press("pause")
        until(lambda: text(table, 1, 1).startswith("paused"), events)
        assert [action.text() for action in table.menu().actions() if action.isEnabled()] == ["Resume", "Cancel"]
        QtTest.QTest.keyClick(table, QtCore.Qt.Key.Key_Delete)
        until(lambda: text(table, 1, 1).startswith("cancelled"), events)
        assert not [action.text() for action in table.menu().actions() if action.isEnabled()]
        second.cancel()
        until(lambda: text(table, 0, 1).startswith("cancelled"), events)
        for_a_while(events, 0.25)
        assert not table.model()._timer.isActive()
        assert table.model().headerData(0, QtCore.Qt.Orientation.Horizontal) == "Job"
        SCREENS.mkdir(exist_ok=True)
        assert table.grab().save(str(SCREENS / f"qt_table_{qtpy.API}.png"))


def test_a_bar_and_a_table_keep_no_result_alive(events: Any) -> None:
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        table = JobTable(jobs)
        job = jobs.submit(one_draw, replicates=10)
        bar = JobBar(job)
        until(lambda: not jobs.jobs and not bar._timer.isActive() and table.model().row(0).job is None, events)
        result = weakref.ref(job.result())
        del job
        gc.collect()
        engine.clean()
        until(lambda: gc.collect() is not None and result() is None, events)
        assert bar._state.text().startswith("completed")


def test_many_rows_take_no_long_look(events: Any) -> None:
    """A table of thousands of jobs looks at some in each turn, and at those that move when they do."""
    with Engine(workers=1, max_queue_size=5000) as engine:
        jobs = QtJobs(engine)
        jobs.submit(spin, replicates=1)
        for seed in range(1500):
            jobs.watch(engine.submit(one_draw, replicates=1, seed=seed))
        model = JobsModel(jobs)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            model.refresh()
            took.append(time.perf_counter() - began)
        assert min(took) < 0.05
        engine.close(cancel=True)
        until(lambda: not jobs.jobs, events)


def test_the_context_menu_cancels_what_is_under_it(events: Any) -> None:
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        table = JobTable(jobs)
        job = jobs.submit(one_draw, replicates=5, delay_s=60.0)
        table.show()
        at = table.visualRect(table.model().index(0, 0)).center()
        QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.MouseButton.RightButton, pos=at)
        assert table.selected() == [job]

        def choose() -> None:
            menu = QtWidgets.QApplication.activePopupWidget()
            if menu is not None:
                timer.stop()
                menu.setActiveAction(menu.actions()[-1])
                QtTest.QTest.keyClick(menu, QtCore.Qt.Key.Key_Return)

        timer = QtCore.QTimer()
        timer.timeout.connect(choose)
        timer.start(5)
        reason = QtGui.QContextMenuEvent.Reason.Mouse
        event = QtGui.QContextMenuEvent(reason, at, table.viewport().mapToGlobal(at))
        QtWidgets.QApplication.sendEvent(table.viewport(), event)
        assert job.cancelled()


def test_the_model_of_a_table_is_a_model(events: Any) -> None:
    """Qt's own tester looks at each insertion, change and removal."""
    with Engine(workers=1) as engine:
        jobs = QtJobs(engine)
        model = JobsModel(jobs)
        kind = QtTest.QAbstractItemModelTester.FailureReportingMode.Fatal
        tester = QtTest.QAbstractItemModelTester(model, kind)
        for seed in range(210):
            jobs.submit(one_draw, replicates=1, seed=seed, supersede=None if seed % 3 else "word")
            if seed % 40 == 0:
                until(lambda: not jobs.jobs, events)
        until(lambda: not jobs.jobs, events)
        assert 100 < model.rowCount() <= 200
        assert tester is not None


def test_of_jobs_that_have_ended_a_table_keeps_the_newest(application: Any) -> None:
    with Engine(immediate=True) as engine:
        jobs = QtJobs(engine)
        table = JobTable(jobs)
        made = [jobs.submit(one_draw, replicates=1, seed=seed) for seed in range(MOST_ROWS + 5)]
        jobs.deliver()
        model = table.model()
        model.refresh()
        assert model.rowCount() == MOST_ROWS
        assert model.row(0).job_id == made[-1].id
