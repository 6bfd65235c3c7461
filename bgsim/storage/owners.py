"""Which engines live: an engine is known by its host, its process and its heartbeat."""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from bgsim.storage.times import seconds_of, time_text

STALE_AFTER_S = 30.0
"""Where the process cannot be seen, an owner is dead when its heartbeat is older than this."""

_STATE, _START = 0, 19
"""Places in ``/proc/PID/stat``, counted behind the command's name: fields 3 and 22 of proc(5)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An engine that journals its requests.

    Attributes
    ----------
    owner : str
        Its name, unique for ever.
    host : str
    pid : int
    process_start : str
        Tells the process from a later one with the same PID; empty where it is unknown.
    heartbeat_at : str
        ISO-8601, UTC.
    """

    owner: str
    host: str
    pid: int
    process_start: str
    heartbeat_at: str

    @classmethod
    def here(cls, owner: str, now: float) -> Owner:
        """Return an owner that lives in this process."""
        return cls(owner, socket.gethostname(), os.getpid(), process_start(os.getpid()) or "", time_text(now))

    def is_alive(self, now: float) -> bool:
        """Tell whether the owner's process lives.

        On the same host an owner lives while its process exists: PID and start time are compared. Elsewhere, and where
        the start time is unknown, the heartbeat decides.

        Parameters
        ----------
        now : float
            Seconds since the epoch.
        """
        if self.host == socket.gethostname() and type(self.pid) is int:
            start = process_start(self.pid)
            if start is None:
                return False
            if start and self.process_start:
                return start == self.process_start
        try:
            return now - seconds_of(self.heartbeat_at) <= STALE_AFTER_S
        except (ValueError, TypeError, OverflowError):  # damage: no time, or not even text
            return False


def process_start(pid: int) -> str | None:
    """Return when a process of this host started, as a text to compare; None if there is none, empty if unknown."""
    if os.name != "posix":  # elsewhere os.kill would end it
        return ""
    try:
        if pid < 1:
            return None
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # another user's, and alive
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        if fields[_STATE] in (b"Z", b"X"):  # a zombie
            return None
        return f"{_boot()} {int(fields[_START])}"
    except (OSError, ValueError, IndexError):
        return ""


@functools.cache
def _boot() -> str:
    """Return the id of this run of the system, from whose begin process starts are counted."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
