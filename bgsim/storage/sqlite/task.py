"""What the writer's thread is given to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bgsim.storage.base import OnStored

Work = Callable[[Any], None]

T = TypeVar("T")


@dataclass(slots=True)
class Task:
    """Work for the writer.

    Attributes
    ----------
    work : callable
        Gets the connection, in a savepoint; it may be called again if the group cannot be committed.
    done : callable
        Gets None when it is durable, or the error.
    size_bytes : int
        Counts against `bgsim.storage.sqlite.writer.BACKLOG_BYTES`.
    alone : bool
        Outside of any transaction, for statements that SQLite allows only there.
    closed : bool
        Alone, and with the writer's connection closed: it gets None.
    patient : bool
        It waits for `bgsim.storage.sqlite.writer.LINGER_S`, to share a transaction with the next tasks.
    ends : tuple of str
        Requests that leave the journal with it, if it does not fail.
    """

    work: Work
    done: OnStored
    size_bytes: int = 0
    alone: bool = False
    closed: bool = False
    patient: bool = False
    ends: tuple[str, ...] = ()


class Tasks(Protocol):
    """Hands tasks to the writer."""

    def submit(self, task: Task) -> None:
        """Hand over a task."""

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have the writer do something, wait until it is durable, and return what it returned, or raise StoreError."""
