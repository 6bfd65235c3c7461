"""What docs/how-to/desktop.md says works: each of its blocks of code is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from test_programs import check_end, needs_qt, needs_tk
from windows import ROOT

import bgsim
from bgsim.models.options import AsianCall, asian_call

PAGE = (ROOT / "docs" / "how-to" / "desktop.md").read_text()
BLOCKS = {
    section.partition("\n")[0]: re.findall(r"^```py\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)
}

pytestmark = pytest.mark.filterwarnings("default")  # other packages have warnings of their own


def block(heading: str) -> str:
    (code,) = BLOCKS[heading]
    return code


def test_every_block_is_one_of_these() -> None:
    assert {heading for heading, blocks in BLOCKS.items() if blocks} == {
        "Qt",
        "Tk",
        "How to test it",
    }
    for heading in ("Qt", "Tk"):
        assert len([line for line in block(heading).splitlines() if line.strip()]) <= 25


QT = """
import time
from qtpy import QtCore, QtWidgets

execute = QtWidgets.QApplication.exec

def run(*_):
    def look():
        (window,) = [w for w in QtWidgets.QApplication.topLevelWidgets() if w.isVisible()]
        if any("1,000,000 paths" in label.text() for label in window.findChildren(QtWidgets.QLabel)):
            window.findChild(QtWidgets.QSlider).setValue(110)
            timer.stop()
            QtCore.QTimer.singleShot(400, lambda: (print("closed at", time.time(), flush=True), window.close()))
    timer = QtCore.QTimer(QtWidgets.QApplication.instance())
    timer.timeout.connect(look)
    timer.start(10)
    return execute()

QtWidgets.QApplication.exec = run
"""

TK = """
import time, tkinter

loop = tkinter.Tk.mainloop

def run(root, *_):
    def close():
        print("closed at", time.time(), flush=True)
        root.destroy()
    def look():
        if any("1,000,000 paths" in str(w.cget("text")) for w in root.winfo_children() if w.winfo_class() == "TLabel"):
            root.after(400, close)
        else:
            root.after(10, look)
    look()
    loop(root)

tkinter.Tk.mainloop = run
"""


@needs_qt
def test_the_program_for_qt(tmp_path: Path) -> None:
    check_end(QT + block("Qt"), tmp_path)


@needs_tk
def test_the_program_for_tk(tmp_path: Path, display: str) -> None:
    check_end(TK + block("Tk"), tmp_path, DISPLAY=display)


@needs_qt
def test_the_test_of_a_slider(application: Any) -> None:
    from qtpy import QtWidgets

    from bgsim.ui.qt import QtJobs

    slider = QtWidgets.QSlider()
    slider.setRange(80, 120)
    slider.setValue(100)
    names = {
        "bgsim": bgsim,
        "QtJobs": QtJobs,
        "slider": slider,
        "asian_call": asian_call,
        "parameters": lambda: AsianCall(strike=float(slider.value())),
    }
    exec(block("How to test it"), names)
    assert len(names["drawn"]) == 1  # type: ignore[arg-type]
