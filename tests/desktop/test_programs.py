"""Whole programs, in processes of their own: the examples are closed while a kernel runs, and end at once, with code 0.

Their pictures, on a screen in memory, are in `.screens`; `BGSIM_PICTURES=docs/images` renews those of the documents.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest
from windows import ROOT, SCREENS, run_program

HAS_QT = importlib.util.find_spec("qtpy") is not None
HAS_TK = importlib.util.find_spec("tkinter") is not None
needs_qt = pytest.mark.skipif(not HAS_QT, reason="qtpy is not installed")
needs_tk = pytest.mark.skipif(not HAS_TK, reason="this Python has no tkinter")

ENDS_WITHIN_S = 2.0
"""From the close of the window to the end of the process: a second, and what a busy machine takes to unload Qt."""

STEPS = """
import faulthandler, runpy, sys, time

faulthandler.dump_traceback_later(50)  # a bit before a program that hangs is killed

# The window may be held up for longer than a job takes: no step waits for one job to be seen running.

def in_turn(steps):
    waited = [next(steps)]
    def step():
        if waited[0]():
            waited[0] = next(steps, lambda: False)
    return step

def computed(job, replicates):
    return job.done() or job.partial().replicates >= replicates

def something_runs(window):  # of twenty million replicates, if nothing else
    return any(job.running() for job in window.jobs.jobs)

def steps(window, move, drawn, compute_precisely, take_picture, close):
    job = lambda: window.latest.job
    yield lambda: computed(job(), 150_000)
    for value in range(79, 71, -1):  # drags
        move(value)
        yield lambda: True
    yield lambda: computed(job(), 200_000) and drawn()
    compute_precisely()
    yield lambda: job().done() or job().status().rate
    take_picture()
    move(90)
    yield lambda: computed(job(), 1) and something_runs(window)
    print("closed at", time.time(), flush=True)
    close()
"""

QT = """
from qtpy import QtCore, QtWidgets

execute = QtWidgets.QApplication.exec

def take_picture(window):
    window.table.repaint()
    window.grab().save(sys.argv[1])

def run(*_):
    (window,) = [w for w in QtWidgets.QApplication.topLevelWidgets() if w.windowTitle()]
    window.resize(780, 560)
    timer = QtCore.QTimer(window)
    todo = steps(
        window, window.slider.setValue, lambda: len(window.histogram.counts), window.precise.click,
        lambda: take_picture(window), window.close,
    )
    timer.timeout.connect(in_turn(todo))
    timer.start(10)
    return execute()

QtWidgets.QApplication.exec = run
"""

TK = """
import tkinter

loop = tkinter.Tk.mainloop

def take_picture(window):
    window.update()
    from PIL import ImageGrab
    x, y, w, h = window.winfo_rootx(), window.winfo_rooty(), window.winfo_width(), window.winfo_height()
    ImageGrab.grab(bbox=(x, y, x + w, y + h), xdisplay="").save(sys.argv[1])

def run(window, *_):
    next_step = in_turn(steps(
        window, window.scale.set, window.histogram.find_all, window.precise.invoke,
        lambda: take_picture(window), window.destroy,
    ))
    def step():
        next_step()
        window.after(10, step)
    window.after(10, step)
    loop(window)

tkinter.Tk.mainloop = run
"""


def check_end(code: str, folder: Path, **environment: str) -> None:
    done = run_program(code, folder=folder, **environment)
    ended = time.time()
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "propagateSizeHints" not in line], done.stderr
    took = ended - float(done.stdout.split("closed at")[1])
    print(f"ended {took:.2f} s after the close")
    assert took < ENDS_WITHIN_S


def picture_of(name: str) -> Path:
    SCREENS.mkdir(exist_ok=True)
    return ROOT / os.environ.get("BGSIM_PICTURES", SCREENS) / name


def example(driver: str, name: str, picture: Path) -> str:
    path = ROOT / "examples" / name
    return f"{STEPS}{driver}\nsys.argv = [{str(path)!r}, {str(picture)!r}]\nrunpy.run_path({str(path)!r}, run_name='__main__')\n"


@needs_qt
@pytest.mark.parametrize("platform", ["offscreen", "xcb"])
def test_the_example_of_qt(tmp_path: Path, display: str, platform: str) -> None:
    name = f"desktop_qt_{platform}_{os.environ['QT_API']}.png" if platform == "offscreen" else "desktop_qt.png"
    check_end(example(QT, "desktop_qt.py", picture_of(name)), tmp_path, DISPLAY=display, QT_QPA_PLATFORM=platform)
    assert picture_of(name).stat().st_size > 5000


@needs_tk
def test_the_example_of_tk(tmp_path: Path, display: str) -> None:
    check_end(example(TK, "desktop_tk.py", picture_of("desktop_tk.png")), tmp_path, DISPLAY=display)
    assert picture_of("desktop_tk.png").stat().st_size > 5000


HOLDS_OUT = """
import sys, time
import bgsim
from crash_kernels import stubborn

def closes(jobs, close):
    def look():
        if jobs.jobs[0].running():
            print("closed at", time.time(), flush=True)
            close()
    return look
"""

ENDS_OF_QT = {
    "the window is closed": """
with bgsim.Engine() as engine:
    jobs = QtJobs(engine, window)
    jobs.submit(stubborn, replicates=1)
    look.timeout.connect(closes(jobs, window.close))
    sys.exit(application.exec())
""",
    "nobody closes the engine": """
engine = bgsim.Engine()
jobs = QtJobs(engine)
jobs.submit(stubborn, replicates=1)
look.timeout.connect(closes(jobs, application.quit))
application.exec()
""",
    "the program ends without the application's loop": """
engine = bgsim.Engine()
jobs = QtJobs(engine, window)
job = jobs.submit(stubborn, replicates=1)
while not job.running():
    time.sleep(0.001)
print("closed at", time.time(), flush=True)
""",
}


@needs_qt
@pytest.mark.parametrize("how", ENDS_OF_QT)
def test_a_kernel_that_does_not_stop_keeps_no_application_of_qt(tmp_path: Path, how: str) -> None:
    """It is a plain function that sleeps, and takes no notice of the engine."""
    begin = """
from qtpy import QtCore, QtWidgets
from bgsim.ui.qt import QtJobs

application = QtWidgets.QApplication([])
window = QtWidgets.QWidget()
window.show()
look = QtCore.QTimer()
look.start(10)
"""
    check_end(HOLDS_OUT + begin + ENDS_OF_QT[how], tmp_path)


@needs_tk
@pytest.mark.parametrize("how", ["root.destroy", "root.quit"])
def test_a_kernel_that_does_not_stop_keeps_no_application_of_tk(tmp_path: Path, display: str, how: str) -> None:
    """`quit` leaves the loop and destroys nothing, so the program closes the engine."""
    program = f"""
import tkinter
from bgsim.ui.tk import TkJobs

root = tkinter.Tk()
with bgsim.Engine() as engine:
    jobs = TkJobs(engine, root)
    jobs.submit(stubborn, replicates=1)
    look = closes(jobs, {how})

    def again():
        root.after(10, again)
        look()

    root.after(10, again)
    root.mainloop()
    engine.close(cancel=True, timeout_s=0.5)
"""
    check_end(HOLDS_OUT + program, tmp_path, DISPLAY=display)
