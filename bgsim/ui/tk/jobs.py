"""Jobs, as callbacks in the thread of a tkinter window."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from bgsim.ui.desktop.latest import finished_so_far, with_defaults
from bgsim.ui.desktop.relay import INTERVAL_S, Relay, end_with_application

if TYPE_CHECKING:
    import tkinter
    from collections.abc import Callable, Mapping

    from bgsim.engine import Engine
    from bgsim.job import Job
    from bgsim.parameters.parameter_class import P
    from bgsim.precision import Precision
    from bgsim.progress import ProgressUpdate
    from bgsim.request import JobOptions
    from bgsim.result import SimulationResult
    from bgsim.simulation import Simulation

_C = TypeVar("_C", bound="Callable[..., Any]")


class TkJobs:
    """Submits jobs, and calls back in the thread of a window.

    Guarantees
    ----------
    - Callbacks come in the window's thread, which looks for news 30 times a second while a job is awaited.
    - Once a job has been superseded by a newer one of the same word, its `on_progress` and `on_completed` come no more.
    - What a callback raises goes to ``report_callback_exception`` of the application, as what any callback of tkinter
      raises; the others go on.
    - Nothing comes after the window has been destroyed. The jobs go on; to end them with a window, call `cancel` when
      it closes.
    - When the application is destroyed, the engine cancels what runs, keeping finished replicates, and closes, in about
      half a second at most.

    Parameters
    ----------
    engine : Engine
    root : tkinter.Misc
        The window, or any widget that ends with what the callbacks touch.
    close_at_quit : bool
        Close the engine when the application is destroyed. False where it goes on after that.
    """

    def __init__(self, engine: Engine, root: tkinter.Misc, *, close_at_quit: bool = True) -> None:
        self.engine = engine
        self.root = root
        self._application: Any = root.nametowidget(".")
        self._relay = Relay()
        self._timer: str | None = None
        self._callbacks: dict[str, list[Callable[..., Any]]] = {
            "submitted": [],
            "progress": [],
            "finished": [],
            "completed": [],
        }
        root.bind("<Destroy>", self._destroyed, add="+")
        if close_at_quit:
            self._application.bind("<Destroy>", self._quit, add="+")

    @property
    def jobs(self) -> list[Job]:
        """Those of which `on_finished` is still to tell, the oldest first."""
        return self._relay.jobs

    # ---- callbacks -----------------------------------------------------------------------------------

    def on_submitted(self, callback: _C) -> _C:
        """Call this with each job that is watched from now on."""
        self._callbacks["submitted"].append(callback)
        return callback

    def on_progress(self, callback: _C) -> _C:
        """Call this with a job and its newest `ProgressUpdate`, at most 30 times a second a job."""
        self._callbacks["progress"].append(callback)
        return callback

    def on_finished(self, callback: _C) -> _C:
        """Call this with a job that has ended, however it did: once, after its last progress.

        ``job.cancelled()`` and ``job.exception()`` say how. A superseded job finishes, too, mostly cancelled, perhaps
        after the newer one.
        """
        self._callbacks["finished"].append(callback)
        return callback

    def on_completed(self, callback: _C) -> _C:
        """Call this, after `on_finished`, with a job that has a result, if no newer one has superseded it."""
        self._callbacks["completed"].append(callback)
        return callback

    def forget(self, callback: Callable[..., Any]) -> None:
        """Call this no more."""
        for callbacks in self._callbacks.values():
            if callback in callbacks:
                callbacks.remove(callback)

    # ---- jobs ----------------------------------------------------------------------------------------

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
        self._call("submitted", job)
        if self._timer is None:
            self._wait(0.0)
        return job

    def bind_latest(
        self,
        scale: Any,
        make_parameters: Callable[[], P | Mapping[str, Any]],
        simulation: Simulation[P] | str,
        replicates: int | Precision,
        draw: Callable[[SimulationResult], Any],
        *,
        live: bool = False,
        **options: Unpack[JobOptions],
    ) -> Latest:
        """Compute whenever a scale moves, and draw the newest result; a job of an older value is dropped.

        Parameters
        ----------
        scale : widget or tkinter.Variable
            A widget with a ``command``, which is called as before, or a variable, for widgets without one.
        make_parameters : callable
            Returns the parameters for the present values.
        simulation, replicates
        draw : callable
            Called with the result of the newest job, in the thread of the window.
        live : bool
            Also call `draw` with the replicates that are finished, as they become more.
        **options
            As for `submit`. By default the priority is high, and a value is computed when none has followed it for
            0.1 s; ``max_wait_s`` bounds that for a scale that does not rest.

        Returns
        -------
        Latest
            It has submitted the present value.
        """
        latest = Latest(
            self, scale, make_parameters, draw, live, partial(self.submit, simulation, replicates=replicates), options
        )
        latest.submit()
        return latest

    def cancel(self) -> None:
        """Cancel all jobs of which `on_finished` is still to tell."""
        for job in self.jobs:
            job.cancel()

    # ---- delivering ----------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Call back what is due now. A timer does so; call it in tests, to wait for nothing."""
        self._relay.check_thread()
        if self._relay.closed:
            return
        self._wait(INTERVAL_S)  # for a callback that opens a dialog, during which the others go on
        again_s = self._relay.deliver(self)
        if self._relay.closed:
            return
        if self._relay.jobs:
            self._wait(INTERVAL_S if again_s is None else again_s)
        else:
            self._stop()

    def job_progressed(self, job: Job, update: ProgressUpdate) -> None:
        """Call back."""
        self._call("progress", job, update)

    def job_finished(self, job: Job) -> None:
        """Call back."""
        self._call("finished", job)

    def job_completed(self, job: Job) -> None:
        """Call back."""
        self._call("completed", job)

    def _call(self, what: str, *arguments: Any) -> None:
        for callback in list(self._callbacks[what]):
            if self._relay.closed:
                return
            try:
                callback(*arguments)
            except Exception:
                self._application.report_callback_exception(*sys.exc_info())

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = self.root.after(max(1, math.ceil(1000 * seconds)), self.deliver)

    def _stop(self) -> None:
        if self._timer is not None:
            self.root.after_cancel(self._timer)
            self._timer = None

    def _destroyed(self, event: Any) -> None:
        if event.widget is self.root:
            self._stop()
            self._relay.close()

    def _quit(self, event: Any) -> None:
        if event.widget is self._application:
            end_with_application(self.engine)


class Latest:
    """A scale, and the newest job of its values; made by `TkJobs.bind_latest`. It ends with the scale.

    Attributes
    ----------
    job : Job or None
        The newest.
    """

    def __init__(
        self,
        jobs: TkJobs,
        scale: Any,
        make_parameters: Callable[[], Any],
        draw: Callable[[Any], Any],
        live: bool,
        submit: Callable[..., Job],
        options: JobOptions,
    ) -> None:
        self.job: Job | None = None
        self._jobs = jobs
        self._scale = scale
        self._make_parameters = make_parameters
        self._draw = draw
        self._submit = submit
        self._options = with_defaults(options)
        self._command = ""
        jobs.on_completed(self._completed)
        if live:
            jobs.on_progress(self._progressed)
        if hasattr(scale, "trace_add"):
            scale.trace_add("write", self._moved)
        else:
            self._command = str(scale.cget("command"))
            scale.configure(command=self._moved)
            scale.bind("<Destroy>", self._destroyed, add="+")

    def submit(self) -> Job:
        """Compute the present values; call this when other widgets move that `make_parameters` reads."""
        self.job = self._submit(self._make_parameters(), **self._options)
        return self.job

    def _moved(self, *values: Any) -> None:
        if self._command:
            self._scale.tk.call(self._command, *values)
        self.submit()

    def _completed(self, job: Job) -> None:
        if job is self.job:
            self._draw(job.result())

    def _progressed(self, job: Job, _: Any) -> None:
        if job is self.job and (found := finished_so_far(job)) is not None:
            self._draw(found)

    def _destroyed(self, event: Any) -> None:
        if event.widget is self._scale:
            self._jobs.forget(self._completed)
            self._jobs.forget(self._progressed)
