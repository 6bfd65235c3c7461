"""Log records of jobs: each record made within a job carries its id, and is kept with it.

The `logging` module makes records through a factory; the one that `install` puts in front of it adds ``job_id`` to
every record (empty outside of jobs), so any handler may show it: ``logging.Formatter("%(job_id)s %(message)s")``.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from bgsim.errors import printable
from bgsim.tables import Table
from bgsim.threads.locks import Lock

MAX_RECORDS = 1000
"""How many records of a job are kept, the newest."""

LOGGERS = (
    "bgsim.engine", "bgsim.jobs.executor", "bgsim.kernels.compiled", "bgsim.notebook", "bgsim.progress",
    "bgsim.service", "bgsim.service.access", "bgsim.storage",
)  # fmt: skip
"""All loggers of bgsim."""

_log: ContextVar[JobLog | None] = ContextVar("bgsim_job_log", default=None)
_install_lock = Lock()
_installed = False


class JobLog:
    """The newest records of one job; any thread may append and read."""

    __slots__ = ("job_id", "records")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.records: deque[logging.LogRecord] = deque(maxlen=MAX_RECORDS)

    def enter(self) -> None:
        """Take what is logged in the present context from now on."""
        install()
        _log.set(self)


def make_printable(record: logging.LogRecord) -> bool:
    """Keep what a record quotes, such as a text from a file, from acting on a terminal; a filter of bgsim's loggers."""
    record.msg, record.args = printable(record.getMessage()), None
    if record.exc_info and not record.exc_text:
        record.exc_text = printable(logging.Formatter().formatException(record.exc_info))
    return True


def _shield(logger: logging.Logger) -> None:
    """Report what a handler or filter raises as handlers of the library do, so that it costs no job.

    Where bgsim logs, futures may wait for what comes next.
    """
    handle, reporter = logger.handle, logging.Handler()

    def handle_safely(record: logging.LogRecord) -> None:
        try:
            handle(record)
        except Exception:
            reporter.handleError(record)

    logger.handle = handle_safely  # type: ignore[method-assign]


for _name in LOGGERS:
    logging.getLogger(_name).addFilter(make_printable)
    _shield(logging.getLogger(_name))


def records_table(records: Sequence[logging.LogRecord]) -> Table:
    """Return a table of log records."""
    rows = [
        (time.strftime("%H:%M:%S", time.localtime(r.created)), r.levelname, r.name, r.getMessage()) for r in records
    ]
    return Table(("time", "level", "logger", "message"), rows)


def install() -> None:
    """Have records carry the id of their job; a second call does nothing."""
    global _installed  # noqa: PLW0603 - one factory a process
    with _install_lock:
        if _installed:
            return
        _installed = True
        make = logging.getLogRecordFactory()

    def make_with_job(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        log = _log.get()
        record.job_id = log.job_id if log is not None else ""
        if log is not None:
            log.records.append(record)
        return record

    logging.setLogRecordFactory(make_with_job)
