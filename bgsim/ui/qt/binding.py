"""Qt, by whichever binding qtpy finds; ``QT_API=pyqt6`` chooses one."""

from __future__ import annotations

import sys
import warnings

from bgsim.errors import GuiError, MissingExtraError

try:
    from qtpy import PYSIDE_VERSION, QtCore, QtWidgets
except ImportError as error:  # also where a library of the system is missing
    raise MissingExtraError(
        f"bgsim.ui.qt needs qtpy, and PySide6 or PyQt6: pip install qtpy PySide6-Essentials ({error})"
    ) from error

if PYSIDE_VERSION == "6.12.0" and sys.version_info < (3, 12):
    warnings.warn(
        "PySide6 6.12.0 drops a reference to True with each signal, and Python 3.11 ends when the last is gone; "
        'pip install "PySide6-Essentials!=6.12.0"',
        RuntimeWarning,
        stacklevel=2,
    )

__all__ = ["QtCore", "QtWidgets", "check_thread"]


def check_thread(what: str) -> None:
    """Refuse to make something elsewhere than in the application's thread.

    Raises
    ------
    GuiError
        If there is no application with windows, or this is another thread.
    """
    application = QtWidgets.QApplication.instance()
    if not isinstance(application, QtWidgets.QApplication):
        raise GuiError(f"{what} needs an application; make a QApplication first")
    if QtCore.QThread.currentThread() != application.thread():
        raise GuiError(f"{what} is for the thread of the QApplication; make and call it there")
