"""What a window of Qt feels of 10,000 updates: `QtJobs`, a queued signal an update, and superqt's throttle.

A thread sends the updates as fast as it can, to a slot that takes a millisecond, as one that draws does. A timer beside
it tells how long the window does not get a turn. Without a screen.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.harness import Case, installed, report
from bgsim import Engine, simulation, stop_requested
from bgsim.progress import UpdateType

UPDATES = 10_000
SLOT_S = 0.001
ROUNDS = 5


@simulation(outputs={"x": "f8"})
def until_cancelled(p: Any, rng: Any, control: Any) -> float:
    while not stop_requested(control):
        pass
    return rng.random()


class Window:
    """A slot that draws, and what was felt while updates came."""

    def __init__(self, events: Callable[[], None]) -> None:
        self._events = events
        self.shown: list[int] = []
        self._turns: list[float] = []

    def draw(self, number: int) -> None:
        self.shown.append(number)
        busy_until = time.perf_counter() + SLOT_S
        while time.perf_counter() < busy_until:
            pass

    def turn(self) -> None:
        self._turns.append(time.perf_counter())

    def feel(self, send: Callable[[], None]) -> tuple[float, float]:
        """Return seconds from the last update to the drawing of it, and the longest time between two turns."""
        ended: list[float] = []

        def run() -> None:
            send()
            ended.append(time.perf_counter())

        self.turn()
        sender = threading.Thread(target=run)
        sender.start()
        while not ended or self.shown[-1:] != [UPDATES - 1]:
            self._events()
        sender.join()
        lag = time.perf_counter() - ended[0]
        self.turn()
        return lag, max(after - before for before, after in itertools.pairwise(self._turns))


def contenders(stack: ExitStack) -> dict[str, Callable[[Window], Callable[[], None]]]:
    """Return what connects a window, and then sends all updates; by name."""
    from qtpy import QtCore
    from superqt.utils import qthrottled

    from bgsim.ui.qt import QtJobs

    engine = stack.enter_context(Engine(workers=1))
    stack.callback(engine.close, cancel=True)

    class Sender(QtCore.QObject):
        told = QtCore.Signal(int)

        def send(self) -> None:
            for number in range(UPDATES):
                self.told.emit(number)

    def ours(window: Window) -> Callable[[], None]:
        jobs = QtJobs(engine, close_at_quit=False)
        stack.callback(jobs.deleteLater)
        job = jobs.submit(until_cancelled, replicates=1, allow_deduplication=False, cache="off")
        bus = engine._scheduler.bus  # noqa: SLF001 - a kernel is sampled ten times a second

        def draw(_: Any, update: Any) -> None:
            if update.total_replicates == UPDATES:
                window.draw(update.replicates_completed)

        def send() -> None:
            for number in range(UPDATES):
                bus.publish(job.id, UpdateType.PROGRESS, replicates_completed=number, total_replicates=UPDATES)

        jobs.progressed.connect(draw)
        return send

    def queued(window: Window) -> Callable[[], None]:
        sender = Sender()
        sender.told.connect(window.draw, QtCore.Qt.ConnectionType.QueuedConnection)
        return sender.send

    def throttled(window: Window) -> Callable[[], None]:
        sender = Sender()
        sender.told.connect(qthrottled(window.draw, timeout=33), QtCore.Qt.ConnectionType.QueuedConnection)
        return sender.send

    return {"QtJobs": ours, "superqt's qthrottled": throttled, "a queued signal an update": queued}


def main() -> None:
    """Print what a window feels."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if not installed("qtpy", "superqt"):
        return
    from qtpy import QtCore, QtWidgets

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    lags: dict[str, Case] = {}
    gaps: dict[str, Case] = {}
    drawn: dict[str, list[int]] = {}
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            for name, connect in contenders(stack).items():
                window, timer = Window(application.processEvents), QtCore.QTimer()
                timer.timeout.connect(window.turn)
                timer.start(1)
                lag, gap = window.feel(connect(window))
                timer.stop()
                lags.setdefault(name, Case(name, lambda: None)).seconds.append(lag)
                gaps.setdefault(name, Case(name, lambda: None)).seconds.append(gap)
                drawn.setdefault(name, []).append(len(window.shown))
    report(f"from the last of {UPDATES:,} updates to its drawing", list(lags.values()), unit="ms")
    report("the longest time in which a timer gets no turn", list(gaps.values()), unit="ms")
    for name, counts in drawn.items():
        print(f"  {name:40} drew {sorted(counts)[len(counts) // 2]:,} times")


if __name__ == "__main__":
    main()
