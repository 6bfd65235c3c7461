"""Jobs, as the signals of an object in the application's thread."""

from __future__ import annotations

import math
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from bgsim.ui.desktop.relay import INTERVAL_S, Relay, end_with_application
from bgsim.ui.qt.binding import QtCore, QtWidgets, check_thread
from bgsim.ui.qt.latest import Latest
from bgsim.ui.qt.post import to_gui

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bgsim.engine import Engine
    from bgsim.job import Job
    from bgsim.parameters.parameter_class import P
    from bgsim.precision import Precision
    from bgsim.progress import ProgressUpdate
    from bgsim.request import JobOptions
    from bgsim.result import SimulationResult
    from bgsim.simulation import Simulation


class QtJobs(QtCore.QObject):
    """Submits jobs, and tells of them by signals in the application's thread.

    Signals
    -------
    submitted(job)
        A job is watched from now on.
    progressed(job, update)
        The newest `ProgressUpdate` of a job, at most 30 a second a job. The updates between are dropped.
    finished(job)
        The job has ended, however it did: once a job, after its last ``progressed``. ``job.cancelled()`` and
        ``job.exception()`` say how. A superseded job finishes, too, mostly cancelled, and perhaps after the newer one.
    completed(job)
        After ``finished``, if the job has a result and no newer one has superseded it: what is to be drawn.

    Guarantees
    ----------
    - Slots are called in the application's thread.
    - Once a job has been superseded by a newer one of the same word, its ``progressed`` and ``completed`` come no more.
    - At most one event is posted at a time, however many updates there are.
    - Nothing comes after this object or a slot's object has been deleted. The jobs go on; to end them with a window,
      call `cancel` when it closes.
    - When the application quits, the engine cancels what runs, keeping finished replicates, and closes, in about half
      a second at most.

    Parameters
    ----------
    engine : Engine
    parent : QObject, optional
        Deletes this object with itself; a window.
    close_at_quit : bool
        Close the engine when the application quits. False where it goes on after that.

    Raises
    ------
    GuiError
        If there is no QApplication, or this is not its thread.
    """

    submitted = QtCore.Signal(object)
    progressed = QtCore.Signal(object, object)
    finished = QtCore.Signal(object)
    completed = QtCore.Signal(object)

    def __init__(self, engine: Engine, parent: Any = None, *, close_at_quit: bool = True) -> None:
        check_thread("QtJobs")
        super().__init__(parent)
        self.engine = engine
        self._close_at_quit = close_at_quit
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.deliver)
        self._relay = relay = Relay(partial(to_gui(), partial(_deliver, weakref.ref(self))))
        # No closure: the garbage collector may take that apart, in another thread, while PyQt6 calls it.
        self.destroyed.connect(relay.end)
        QtWidgets.QApplication.instance().aboutToQuit.connect(self._quit)

    @property
    def jobs(self) -> list[Job]:
        """Those whose ``finished`` is still to come, the oldest first."""
        return self._relay.jobs

    def submit(
        self,
        simulation: Simulation[P] | str,
        parameters: P | Mapping[str, Any] | None = None,
        *,
        replicates: int | Precision,
        **options: Unpack[JobOptions],
    ) -> Job[P]:
        """Submit a job and watch it.

        Parameters
        ----------
        simulation, parameters, replicates, **options
            As for `Engine.submit`, which also says what is raised.

        Raises
        ------
        GuiError
            If this is another thread.
        """
        self._relay.check_thread()
        return self.watch(self.engine.submit(simulation, parameters, replicates=replicates, **options))

    def watch(self, job: Job[P]) -> Job[P]:
        """Tell of a job that was submitted elsewhere, such as one of a sweep; return it."""
        self._relay.watch(self.engine, job)
        self.submitted.emit(job)
        return job

    def bind_latest(
        self,
        control: Any,
        make_parameters: Callable[[], P | Mapping[str, Any]],
        simulation: Simulation[P] | str,
        replicates: int | Precision,
        draw: Callable[[SimulationResult], Any],
        *,
        live: bool = False,
        **options: Unpack[JobOptions],
    ) -> Latest:
        """Compute whenever a control moves, and draw the newest result; a job of an older value is dropped.

        Parameters
        ----------
        control : QWidget
            With a signal ``valueChanged``: a slider, a dial, a spin box.
        make_parameters : callable
            Returns the parameters for the present values.
        simulation, replicates
        draw : callable
            Called with the result of the newest job, in the application's thread.
        live : bool
            Also call `draw` with the replicates that are finished, as they become more.
        **options
            As for `submit`. By default the priority is high, and a value is computed when none has followed it for
            0.1 s; ``max_wait_s`` bounds that for a control that does not rest.

        Returns
        -------
        Latest
            It has submitted the present value.
        """
        latest = Latest(
            self, control, make_parameters, draw, live, partial(self.submit, simulation, replicates=replicates), options
        )
        latest.submit()
        return latest

    def cancel(self) -> None:
        """Cancel all jobs whose ``finished`` is still to come."""
        for job in self.jobs:
            job.cancel()

    def deliver(self) -> None:
        """Emit what is due now. A timer does so; call it in tests, to wait for nothing."""
        self._relay.check_thread()
        if self._relay.closed:
            return
        self._timer.start(_ms(INTERVAL_S))  # for a slot that opens a dialog, during which the others go on
        again_s = self._relay.deliver(self)
        if self._relay.closed:  # by a slot, and the timer may be deleted
            return
        if again_s is None:
            self._timer.stop()
        else:
            self._timer.start(_ms(again_s))

    def _quit(self) -> None:
        self._relay.close()
        self._timer.stop()
        if self._close_at_quit:
            end_with_application(self.engine)

    # ---- what the relay tells ------------------------------------------------------------------------

    def job_progressed(self, job: Job, update: ProgressUpdate) -> None:
        """Emit ``progressed``."""
        self.progressed.emit(job, update)

    def job_finished(self, job: Job) -> None:
        """Emit ``finished``."""
        self.finished.emit(job)

    def job_completed(self, job: Job) -> None:
        """Emit ``completed``."""
        self.completed.emit(job)


def _deliver(reference: weakref.ref[QtJobs]) -> None:
    jobs = reference()
    if jobs is not None:
        jobs.deliver()


def _ms(seconds: float) -> int:
    return max(1, math.ceil(1000 * seconds))
