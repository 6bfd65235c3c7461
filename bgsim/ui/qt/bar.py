"""One job as a bar, with buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.ui.desktop.rows import press
from bgsim.ui.job_line import NO_JOB, job_line
from bgsim.ui.qt.binding import QtCore, QtWidgets, check_thread

if TYPE_CHECKING:
    from bgsim.job import Job

INTERVAL_MS = 100
STEPS = 1000


class JobBar(QtWidgets.QWidget):
    """How far a job is, its rate and the time left, with buttons to pause and to cancel it.

    It looks at the job ten times a second until that has ended, and then no more.

    Parameters
    ----------
    job : Job, optional
        One that has ended is shown as it ended.
    parent : QWidget, optional

    Raises
    ------
    GuiError
        If there is no QApplication, or this is not its thread.
    """

    def __init__(self, job: Job | None = None, parent: Any = None) -> None:
        check_thread("JobBar")
        super().__init__(parent)
        self._job: Job | None = None
        self._name, self._state, self._numbers = (QtWidgets.QLabel(self) for _ in range(3))
        self._bar = QtWidgets.QProgressBar(self)
        self._bar.setRange(0, STEPS)
        self._pause, self._cancel = QtWidgets.QPushButton("Pause", self), QtWidgets.QPushButton("Cancel", self)
        self._pause.clicked.connect(self._press_pause)
        self._cancel.clicked.connect(self._press_cancel)
        bold = self._name.font()
        bold.setBold(True)
        self._name.setFont(bold)
        self._lay_out()
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self.set_job(job)

    def _lay_out(self) -> None:
        grid = QtWidgets.QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self._name, 0, 0)
        grid.addWidget(self._state, 0, 1)
        grid.addWidget(self._numbers, 0, 2, QtCore.Qt.AlignmentFlag.AlignRight)
        grid.addWidget(self._bar, 1, 0, 1, 3)
        grid.addWidget(self._pause, 1, 3)
        grid.addWidget(self._cancel, 1, 4)
        grid.setColumnStretch(1, 1)
        grid.setHorizontalSpacing(10)
        policy = QtWidgets.QSizePolicy.Policy
        self.setSizePolicy(policy.Expanding, policy.Maximum)
        self._state.setSizePolicy(policy.Ignored, policy.Preferred)  # a long text does not widen the window
        self._bar.setFormat("%p %")

    def set_job(self, job: Job | None) -> None:
        """Show another job, or none."""
        self._job = job
        if job is None:
            self._show(NO_JOB)
        self._timer.start(INTERVAL_MS)
        self.refresh()

    def refresh(self) -> None:
        """Look at the job now."""
        if self._job is not None:
            line = job_line(self._job)
            self._show(line)
            if line["ended"]:
                self._job = None  # and its result need not stay
        if self._job is None:
            self._timer.stop()

    def _show(self, line: dict[str, Any]) -> None:
        self._name.setText(line["name"])
        self._state.setText(": ".join(filter(None, (line["word"], line["error"] or line["detail"]))))
        self._state.setToolTip(line["error"])
        self._numbers.setText("  ·  ".join(filter(None, (line["count"], line["rate"], line["left"]))))
        self._bar.setMaximum(0 if line["moving"] else STEPS)
        self._bar.setValue(round(STEPS * line["fraction"]))
        self._bar.setAccessibleName(f"Progress of {line['name']}")
        self._bar.setAccessibleDescription(line["word"])
        for button, action in (
            (self._pause, "resume" if "resume" in line["actions"] else "pause"),
            (self._cancel, "cancel"),
        ):
            button.setText(action.title())
            button.setEnabled(action in line["actions"])
            button.setAccessibleName(f"{action.title()} {line['name']}")

    def _press_pause(self) -> None:
        press(self._job, self._pause.text().lower())
        self.refresh()

    def _press_cancel(self) -> None:
        press(self._job, "cancel")
        self.refresh()
