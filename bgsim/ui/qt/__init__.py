"""Jobs in a Qt window, by qtpy: with PySide6 or PyQt6.

::

    jobs = QtJobs(engine, parent=window)
    jobs.progressed.connect(show)
    jobs.completed.connect(draw)
    job = jobs.submit(asian_call, p, replicates=10**6, supersede="preview", debounce_s=0.1)
    layout.addWidget(JobBar(job))

All is made and called in the thread of the application, once there is one.
"""

from bgsim.ui.qt.bar import JobBar
from bgsim.ui.qt.jobs import QtJobs
from bgsim.ui.qt.latest import Latest
from bgsim.ui.qt.post import to_gui
from bgsim.ui.qt.table import JobTable

__all__ = ["JobBar", "JobTable", "Latest", "QtJobs", "to_gui"]
