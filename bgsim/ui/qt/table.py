"""All jobs of a window as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.ui.desktop.rows import COLUMNS, Row, Rows, press
from bgsim.ui.qt.binding import QtCore, QtWidgets, check_thread

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.ui.qt.jobs import QtJobs

INTERVAL_MS = 200

_PROGRESS = COLUMNS.index("Progress")


class JobsModel(QtCore.QAbstractTableModel):
    """The rows of a `JobTable`, the newest first; for views of your own."""

    def __init__(self, jobs: QtJobs, parent: Any = None) -> None:
        check_thread("JobsModel")
        super().__init__(parent)
        self._rows = Rows()
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.refresh)
        jobs.submitted.connect(self.add)
        jobs.progressed.connect(self._look_at)
        jobs.finished.connect(self._look_at)
        for job in jobs.jobs:
            self.add(job)

    def add(self, job: Job) -> None:
        """Show a job, in the row of the one that it supersedes if there is one."""
        place = self._rows.place_of(job)
        if place is None:
            self.beginInsertRows(QtCore.QModelIndex(), 0, 0)
            self._rows.all.insert(0, Row(job))
            self.endInsertRows()
        else:
            self._rows.all[place] = Row(job)
            self._changed(place)
        if not self._timer.isActive():
            self._timer.start(INTERVAL_MS)

    def refresh(self) -> None:
        """Look at the jobs now."""
        for number in self._rows.refresh():
            self._changed(number)
        while (surplus := self._rows.surplus()) is not None:
            self.beginRemoveRows(QtCore.QModelIndex(), surplus, surplus)
            del self._rows.all[surplus]
            self.endRemoveRows()
        if self._rows.rest:
            self._timer.stop()

    def row(self, number: int) -> Row:
        """Return a row."""
        return self._rows.all[number]

    def rowCount(self, parent: Any = None) -> int:  # noqa: N802 - Qt's name
        """Return the number of rows, for Qt."""
        return 0 if parent is not None and parent.isValid() else len(self._rows.all)

    def columnCount(self, parent: Any = None) -> int:  # noqa: N802 - Qt's name
        """Return the number of columns, for Qt."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802 - Qt's name
        """Return the name of a column, for Qt."""
        is_name = role == QtCore.Qt.ItemDataRole.DisplayRole and orientation == QtCore.Qt.Orientation.Horizontal
        return COLUMNS[section] if is_name else None

    def data(self, index: Any, role: int = 0) -> Any:
        """Return what stands in a cell, for Qt."""
        roles, row = QtCore.Qt.ItemDataRole, self._rows.all[index.row()]
        if role == roles.DisplayRole:
            return row.texts[index.column()]
        if role == roles.ToolTipRole:
            return row.note
        if role == roles.AccessibleTextRole:
            return f"{COLUMNS[index.column()]} {row.texts[index.column()]}"
        return row.line["fraction"] if role == roles.UserRole else None

    def _look_at(self, job: Job, _: Any = None) -> None:
        for number in self._rows.refresh_job(job):
            self._changed(number)

    def _changed(self, number: int) -> None:
        self.dataChanged.emit(self.index(number, 0), self.index(number, len(COLUMNS) - 1))


class _Bars(QtWidgets.QStyledItemDelegate):
    """Paints progress as a bar."""

    def paint(self, painter: Any, option: Any, index: Any) -> None:
        """Paint a cell, for Qt."""
        bar = QtWidgets.QStyleOptionProgressBar()
        bar.rect = option.rect.adjusted(3, 3, -3, -3)
        bar.state = option.state | QtWidgets.QStyle.StateFlag.State_Horizontal
        bar.palette, bar.fontMetrics, bar.direction = option.palette, option.fontMetrics, option.direction
        bar.minimum, bar.maximum = 0, 1000
        bar.progress = round(1000 * index.data(QtCore.Qt.ItemDataRole.UserRole))
        bar.text, bar.textVisible = index.data(), True
        bar.textAlignment = QtCore.Qt.AlignmentFlag.AlignCenter
        style = QtWidgets.QApplication.style() if option.widget is None else option.widget.style()
        style.drawControl(QtWidgets.QStyle.ControlElement.CE_ProgressBar, bar, painter, option.widget)


class JobTable(QtWidgets.QTableView):
    """The jobs of a `QtJobs`: their state, progress, rate and the time left, the newest first.

    The context menu pauses, resumes and cancels the selected jobs; the Delete key cancels them. A job takes the row of
    the one that it supersedes. Of jobs that have ended the newest 200 are kept, without their results.

    Parameters
    ----------
    jobs : QtJobs
    parent : QWidget, optional
    """

    def __init__(self, jobs: QtJobs, parent: Any = None) -> None:
        check_thread("JobTable")
        super().__init__(parent)
        self._model = JobsModel(jobs, self)
        self.setModel(self._model)
        self.setItemDelegateForColumn(_PROGRESS, _Bars(self))
        self.setAccessibleName("Jobs")
        views = QtWidgets.QAbstractItemView
        self.setSelectionBehavior(views.SelectionBehavior.SelectRows)
        self.setEditTriggers(views.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)  # the key goes to the next widget
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.verticalHeader().hide()
        self.horizontalHeader().setStretchLastSection(True)
        for column, width in enumerate((170, 210, 120, 80)):
            self.setColumnWidth(column, width)

    def selected(self) -> list[Job]:
        """Return the selected jobs that have not ended."""
        rows = [self._model.row(index.row()) for index in self.selectionModel().selectedRows()]
        return [row.job for row in rows if row.job is not None]

    def press(self, action: str) -> None:
        """``pause``, ``resume`` or ``cancel`` the selected jobs."""
        for job in self.selected():
            press(job, action)
        self._model.refresh()

    def menu(self) -> Any:
        """Return the context menu for what is selected."""
        menu = QtWidgets.QMenu(self)
        chosen = self.selected()
        for action, can in (
            ("pause", any(not job.paused for job in chosen)),
            ("resume", any(job.paused for job in chosen)),
            ("cancel", bool(chosen)),
        ):
            entry = menu.addAction(action.title())
            entry.setData(action)
            entry.setEnabled(can)
        return menu

    def contextMenuEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Open the menu, for Qt."""
        menu = self.menu()
        chosen = menu.exec(event.globalPos())
        if chosen is not None:
            self.press(chosen.data())
        menu.deleteLater()

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Cancel by the Delete key, for Qt."""
        if event.key() == QtCore.Qt.Key.Key_Delete:
            self.press("cancel")
        else:
            super().keyPressEvent(event)
