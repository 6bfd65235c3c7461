"""The price of an Asian call in a window of Qt: the newest value of a slider wins, and a histogram fills in."""

import sys

from qtpy import QtCore, QtGui, QtWidgets

import bgsim
from bgsim.models.options import AsianCall, asian_call
from bgsim.ui.qt import JobBar, JobTable, QtJobs


class Histogram(QtWidgets.QWidget):
    counts = ()

    def paintEvent(self, event):  # noqa: ARG002, N802 - Qt's name
        with QtGui.QPainter(self) as painter:
            for number, count in enumerate(self.counts):
                width, height = self.width() / len(self.counts), self.height() * count / max(self.counts)
                bar = QtCore.QRectF(number * width, self.height() - height, width - 1, height)
                painter.fillRect(bar, self.palette().highlight())


class Window(QtWidgets.QWidget):
    def __init__(self, engine):
        super().__init__(windowTitle="Asian call")
        self.jobs = QtJobs(engine, parent=self)
        self.slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, minimum=60, maximum=100, value=80)
        self.strike, self.price = QtWidgets.QLabel(), QtWidgets.QLabel()
        self.precise = QtWidgets.QPushButton("Compute precisely", clicked=self.compute_precisely)
        self.histogram, self.bar, self.table = Histogram(minimumHeight=260), JobBar(), JobTable(self.jobs)
        layout = QtWidgets.QGridLayout(self)
        for column, widget in enumerate((self.strike, self.slider, self.price, self.precise)):
            layout.addWidget(widget, 0, column)
        for row, widget in enumerate((self.histogram, self.bar, self.table), 1):
            layout.addWidget(widget, row, 0, 1, 4)
        self.latest = self.jobs.bind_latest(self.slider, self.parameters, asian_call, 500_000, self.draw, live=True)
        self.jobs.progressed.connect(lambda *_: self.bar.set_job(self.latest.job))

    def parameters(self):
        self.strike.setText(f"Strike {self.slider.value()}")
        return AsianCall(strike=float(self.slider.value()))

    def draw(self, result):
        self.price.setText(f"{result['payoff'].mean():.3f} after {result.replicates:,} paths")
        self.histogram.counts = self.latest.job.histogram("payoff", bins=60).counts
        self.histogram.update()

    def compute_precisely(self):
        self.jobs.submit(asian_call, self.parameters(), replicates=20_000_000, seed=1, priority="low")


if __name__ == "__main__":
    application = QtWidgets.QApplication(sys.argv)
    with bgsim.Engine() as engine:
        window = Window(engine)
        window.show()
        sys.exit(application.exec())
