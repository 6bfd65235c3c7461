"""A control whose newest value wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.ui.desktop.latest import finished_so_far, with_defaults
from bgsim.ui.qt.binding import QtCore

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgsim.job import Job
    from bgsim.request import JobOptions


class Latest(QtCore.QObject):
    """A control, and the newest job of its values; made by `QtJobs.bind_latest`, and deleted with the control.

    Signals
    -------
    drawn(result)
        A result was handed to ``draw``.

    Attributes
    ----------
    job : Job or None
        The newest.
    """

    drawn = QtCore.Signal(object)

    def __init__(
        self,
        jobs: Any,
        control: Any,
        make_parameters: Callable[[], Any],
        draw: Callable[[Any], Any],
        live: bool,
        submit: Callable[..., Job],
        options: JobOptions,
    ) -> None:
        super().__init__(control)
        self.job: Job | None = None
        self._make_parameters = make_parameters
        self._submit = submit
        self._options = with_defaults(options)
        self.drawn.connect(draw)  # as any slot: it is not called once its object is deleted
        jobs.completed.connect(self._completed)
        if live:
            jobs.progressed.connect(self._progressed)
        control.valueChanged.connect(self._moved)

    def submit(self) -> Job:
        """Compute the present values; connect this to other controls that `make_parameters` reads."""
        self.job = self._submit(self._make_parameters(), **self._options)
        return self.job

    def _moved(self, *_: Any) -> None:
        self.submit()

    def _completed(self, job: Job) -> None:
        if job is self.job:
            self.drawn.emit(job.result())

    def _progressed(self, job: Job, _: Any) -> None:
        if job is self.job and (found := finished_so_far(job)) is not None:
            self.drawn.emit(found)
