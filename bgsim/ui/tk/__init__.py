"""Jobs in a window of tkinter, which most Pythons have.

::

    jobs = TkJobs(engine, root)
    jobs.bind_latest(scale, make_parameters, asian_call, 10**5, draw)
    JobBar(root, jobs.submit(asian_call, p, replicates=10**6)).pack(fill="x")

All is made and called in the thread of the window.
"""

from bgsim.errors import MissingExtraError

try:
    import tkinter as tkinter
except ImportError as error:
    raise MissingExtraError(
        f"bgsim.ui.tk needs tkinter, which this Python lacks; on Debian: apt install python3-tk ({error})"
    ) from error

from bgsim.ui.tk.jobs import Latest, TkJobs
from bgsim.ui.tk.widgets import JobBar, JobTable

__all__ = ["JobBar", "JobTable", "Latest", "TkJobs"]
