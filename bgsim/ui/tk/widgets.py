"""One job as a bar with buttons, and all jobs of a window as a table, by ttk."""

from __future__ import annotations

import tkinter
from tkinter import ttk
from typing import TYPE_CHECKING, Any

from bgsim.ui.desktop.rows import COLUMNS, Row, Rows, press
from bgsim.ui.job_line import NO_JOB, job_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgsim.job import Job
    from bgsim.ui.tk.jobs import TkJobs

INTERVAL_MS = 100
STEPS = 1000

_CELLS = 10
"""Of a bar made of characters, for a table of ttk has texts alone."""


class _Ticker:
    """Calls something again and again by a widget's `after`, until it returns False or the widget is destroyed."""

    def __init__(self, widget: tkinter.Misc, call: Callable[[], bool]) -> None:
        self._widget = widget
        self._call = call
        self._timer: str | None = None
        widget.bind("<Destroy>", self._destroyed, add="+")

    def start(self) -> None:
        """Call now, and then again."""
        self.stop()
        if self._call():
            self._timer = self._widget.after(INTERVAL_MS, self.start)

    def stop(self) -> None:
        """Call no more, until the next `start`."""
        if self._timer is not None:
            self._widget.after_cancel(self._timer)
            self._timer = None

    def _destroyed(self, event: Any) -> None:
        if event.widget is self._widget:
            self.stop()


class JobBar(ttk.Frame):
    """How far a job is, its rate and the time left, with buttons to pause and to cancel it.

    It looks at the job ten times a second until that has ended, and then no more.

    Parameters
    ----------
    master : tkinter.Misc
    job : Job, optional
        One that has ended is shown as it ended.
    """

    def __init__(self, master: tkinter.Misc, job: Job | None = None) -> None:
        super().__init__(master)
        self._job: Job | None = None
        self._name, self._state, self._numbers = ttk.Label(self), ttk.Label(self), ttk.Label(self)
        self._bar = ttk.Progressbar(self, maximum=STEPS)
        self._pause = ttk.Button(self, text="Pause", command=self._press_pause)
        self._cancel = ttk.Button(self, text="Cancel", command=self._press_cancel)
        self._name.grid(row=0, column=0, sticky="w")
        self._state.grid(row=0, column=1, sticky="w", padx=10)
        self._numbers.grid(row=0, column=2, sticky="e")
        self._bar.grid(row=1, column=0, columnspan=3, sticky="ew")
        self._pause.grid(row=1, column=3, padx=(10, 4))
        self._cancel.grid(row=1, column=4)
        self.columnconfigure(1, weight=1)
        self._ticker = _Ticker(self, self.refresh)
        self.set_job(job)

    def set_job(self, job: Job | None) -> None:
        """Show another job, or none."""
        self._job = job
        if job is None:
            self._show(NO_JOB)
        self._ticker.start()

    def refresh(self) -> bool:
        """Look at the job now; return whether it has not ended."""
        if self._job is None:
            return False
        line = job_line(self._job)
        self._show(line)
        if line["ended"]:
            self._job = None  # and its result need not stay
        return self._job is not None

    def _show(self, line: dict[str, Any]) -> None:
        self._name.configure(text=line["name"])
        self._state.configure(text=": ".join(filter(None, (line["word"], line["error"] or line["detail"]))))
        self._numbers.configure(text="  ·  ".join(filter(None, (line["count"], line["rate"], line["left"]))))
        self._bar.configure(value=STEPS * line["fraction"])
        resumes = "resume" in line["actions"]
        self._pause.configure(text="Resume" if resumes else "Pause")
        self._pause.state(["!disabled" if resumes or "pause" in line["actions"] else "disabled"])
        self._cancel.state(["!disabled" if "cancel" in line["actions"] else "disabled"])

    def _press_pause(self) -> None:
        press(self._job, str(self._pause.cget("text")).lower())
        self.refresh()

    def _press_cancel(self) -> None:
        press(self._job, "cancel")
        self.refresh()


class JobTable(ttk.Treeview):
    """The jobs of a `TkJobs`: their state, progress, rate and the time left, the newest first.

    The context menu pauses, resumes and cancels the selected jobs; the Delete key cancels them. A job takes the row of
    the one that it supersedes. Of jobs that have ended the newest 200 are kept, without their results.

    Parameters
    ----------
    master : tkinter.Misc
    jobs : TkJobs
    height : int
        In rows.
    """

    def __init__(self, master: tkinter.Misc, jobs: TkJobs, height: int = 6) -> None:
        super().__init__(master, columns=COLUMNS, show="headings", height=height)
        for column, width in zip(COLUMNS, (180, 200, 180, 80, 110), strict=True):
            self.heading(column, text=column, anchor="w")
            self.column(column, width=width, stretch=column == "State")
        self._rows = Rows()
        self._ticker = _Ticker(self, self.refresh)
        self._menu = tkinter.Menu(self, tearoff=False)
        for action in ("pause", "resume", "cancel"):
            self._menu.add_command(label=action.title(), command=lambda action=action: self.press(action))  # type: ignore[misc]
        self.bind("<Button-3>", self._open_menu)
        self.bind("<Delete>", lambda _: self.press("cancel"))
        self._jobs = jobs
        jobs.on_submitted(self.add)
        jobs.on_progress(self._look_at)
        jobs.on_finished(self._look_at)
        self.bind("<Destroy>", self._destroyed, add="+")
        for job in jobs.jobs:
            self.add(job)

    def add(self, job: Job) -> None:
        """Show a job, in the row of the one that it supersedes if there is one."""
        place, row = self._rows.place_of(job), Row(job)
        if place is None:
            self._rows.all.insert(0, row)
            self.insert("", 0, iid=job.id)
        else:
            self.delete(self._rows.all[place].job_id)
            self._rows.all[place] = row
            self.insert("", place, iid=job.id)
        self._show(row)
        self._ticker.start()

    def refresh(self) -> bool:
        """Look at the jobs now; return whether one has not ended."""
        for number in self._rows.refresh():
            self._show(self._rows.all[number])
        while (surplus := self._rows.surplus()) is not None:
            self.delete(self._rows.all.pop(surplus).job_id)
        return not self._rows.rest

    def selected(self) -> list[Job]:
        """Return the selected jobs that have not ended."""
        chosen = set(self.selection())
        return [row.job for row in self._rows.all if row.job is not None and row.job_id in chosen]

    def press(self, action: str) -> None:
        """``pause``, ``resume`` or ``cancel`` the selected jobs."""
        for job in self.selected():
            press(job, action)
        self.refresh()

    def _show(self, row: Row) -> None:
        texts = list(row.texts)
        done = round(_CELLS * row.line["fraction"])
        texts[COLUMNS.index("Progress")] = f"{'█' * done}{'░' * (_CELLS - done)} {texts[COLUMNS.index('Progress')]}"
        self.item(row.job_id, values=texts)

    def _look_at(self, job: Job, _: Any = None) -> None:
        for number in self._rows.refresh_job(job):
            self._show(self._rows.all[number])

    def _destroyed(self, event: Any) -> None:
        if event.widget is self:
            for callback in (self.add, self._look_at):
                self._jobs.forget(callback)

    def _open_menu(self, event: Any) -> None:
        under = self.identify_row(event.y)
        if under and under not in self.selection():
            self.selection_set(under)
        chosen = self.selected()
        can = {"Pause": any(not j.paused for j in chosen), "Resume": any(j.paused for j in chosen), "Cancel": chosen}
        for number, label in enumerate(can):
            self._menu.entryconfigure(number, state="normal" if can[label] else "disabled")
        self._menu.tk_popup(event.x_root, event.y_root)
