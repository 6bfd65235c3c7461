"""What outlives a crash: the requests that it interrupted, and the dead letters of what failed for good."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgsim.checks import check_file_path, check_text, refused
from bgsim.errors import EngineClosedError, InvalidInputError, QueueFullError, RequestNotFoundError, StoreError
from bgsim.parameters.nesting import read_json
from bgsim.storage.journal import DeadLetter, PendingRequest, letters_table, pending_table
from bgsim.storage.times import time_text
from bgsim.tables import Listing
from bgsim.threads.signals import is_interrupt

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.request import Request
    from bgsim.running.scheduler import Scheduler
    from bgsim.running.submitter import Submitter

logger = logging.getLogger("bgsim.engine")

MAX_CRASHES = 3
"""A request that ran in this many crashes is not tried again: it is a dead letter."""

_HEARTBEAT_S = 10.0
"""Well below the time after which an owner that is silent counts as dead."""


class Heartbeat:
    """A periodic task of the timers: journals that the engine lives."""

    def __init__(self, scheduler: Scheduler, owner: str) -> None:
        self._scheduler = scheduler
        self._owner = owner
        self._due_at = scheduler.clock.monotonic() + _HEARTBEAT_S

    def wait_s(self) -> float:
        """Return in how many seconds the next one is due."""
        return max(0.0, self._due_at - self._scheduler.clock.monotonic())

    def run(self) -> None:
        """Say it, if it is due."""
        now = self._scheduler.clock.monotonic()
        if now >= self._due_at:
            self._due_at = now + _HEARTBEAT_S
            self._scheduler.journal.heartbeat(self._owner)


class Recovery:
    """Requests that a crash interrupted, and dead letters, of one store. Any thread may call any method."""

    def __init__(self, submitter: Submitter, owner: str | None) -> None:
        self._submitter = submitter
        self._journal = submitter.scheduler.journal
        self._owner = owner
        self._clock = submitter.scheduler.clock

    def interrupted(self) -> Listing[PendingRequest]:
        """Return the requests whose engine is gone, the oldest first."""
        return Listing(self._journal.interrupted() if self._owner is not None else (), pending_table)

    def recover(self, ids: Iterable[str] | None) -> list[Job]:
        """Take interrupted requests over and submit them again; see `Engine.recover`."""
        if self._owner is None:
            return []
        wanted = None if ids is None else _checked(ids)
        known = [
            pending.id
            for pending in self._journal.interrupted()
            if (wanted is None or pending.id in wanted) and self._submitter.find(pending.simulation) is not None
        ]
        jobs = []
        for pending in self._journal.claim(self._owner, known):
            try:
                if pending.crashes >= MAX_CRASHES:
                    raise InvalidInputError(f"the process has crashed {pending.crashes} times while it ran")
                # What it has stored itself is not computed again, also if it asked for a result anew.
                request = self._submitter.read(pending, {"cache": "use"} if pending.stored else None)
                job = self._submitter.submit(request, job_id=pending.id, recovered=pending, block=True)
            except (EngineClosedError, QueueFullError):
                raise  # it stays in the journal, and is interrupted when this engine is closed
            except (MemoryError, OSError, RecursionError) as error:  # the moment's: it stays there as well
                logger.warning("%s cannot be recovered now, and waits for the next engine: %s", pending.id, error)
            except Exception as error:  # whatever its module or its options raise, the others have to be recovered
                if is_interrupt(error):
                    raise
                logger.warning("%s cannot be recovered, and is a dead letter now: %s", pending.id, error)
                self._bury(pending, error)
            else:
                jobs.append(job)
                if job.done():
                    self._journal.remove(pending.id)  # the store had its result
        return jobs

    def _bury(self, pending: PendingRequest, error: Exception) -> None:
        now = time_text(self._clock.time())
        attempt = {"at": now, "error": f"{type(error).__name__}: {error}", "traceback": ""}
        shared = {f.name: getattr(pending, f.name) for f in fields(DeadLetter) if hasattr(pending, f.name)}
        self._journal.add_dead_letter(DeadLetter(**shared, failed_at=now, attempts=json.dumps([attempt])))
        self._journal.remove(pending.id)

    # ---- dead letters --------------------------------------------------------------------------------

    def dead_letters(self) -> Listing[DeadLetter]:
        """Return what failed for good, the newest first."""
        return Listing(self._journal.dead_letters(), letters_table)

    def retry(self, letter_id: str, changes: dict[str, Any]) -> Job:
        """Submit a dead letter again, with changes, and take it out; see `Engine.retry`."""
        check_text("letter_id", letter_id)
        letter = next((letter for letter in self._journal.dead_letters() if letter.id == letter_id), None)
        if letter is None:
            raise _unknown(letter_id)
        request = self._submitter.read(letter, changes)
        job_id = self._submitter.new_id(request.simulation)
        self._announce(job_id, request)
        taken = None
        try:
            taken = self._journal.take_dead_letter(letter_id)
            if taken is None:
                raise _unknown(letter_id)  # another process was faster
            job = self._submitter.submit(request, job_id=job_id)
        except BaseException:
            if taken is not None:
                self._journal.add_dead_letter(taken)
            self._journal.remove(job_id)
            raise
        if job.done():
            self._journal.remove(job_id)
        return job

    def _announce(self, job_id: str, request: Request) -> None:
        """Have it durable that something will be submitted, before its dead letter goes: a crash would lose it."""
        if self._owner is None:
            return
        self._journal.add(request.pending(job_id, self._owner, self._clock.time()))
        self._journal.flush()

    def discard(self, letter_id: str) -> DeadLetter:
        """Take a dead letter out and return it."""
        letter = self._journal.take_dead_letter(check_text("letter_id", letter_id))
        if letter is None:
            raise _unknown(letter_id)
        return letter

    def export(self, path: str | Path) -> int:
        """Write the dead letters to a ``.json`` or ``.csv`` file; return how many; see `Engine.export_dead_letters`."""
        target = check_file_path("path", path)
        if target.suffix not in (".json", ".csv"):
            raise refused("path", path, "a path that ends in .json or .csv")
        try:
            return self._write_letters(target)
        except OSError as error:
            raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error

    def _write_letters(self, target: Path) -> int:
        rows = [asdict(letter) for letter in self._journal.dead_letters()]
        if target.suffix == ".json":
            for row in rows:
                row |= {name: _value(row[name]) for name in ("parameters", "options", "attempts")}
            target.write_text(json.dumps(rows, indent=2), encoding="utf-8")
        else:
            with target.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, [f.name for f in fields(DeadLetter)])
                writer.writeheader()
                writer.writerows(rows)
        return len(rows)


def _value(text: str) -> Any:
    """Return the value of a JSON text; the text itself, in a damaged row, if it is none."""
    try:
        return read_json(text)
    except ValueError:
        return text


def _checked(ids: Iterable[str]) -> set[str]:
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise refused("ids", ids, "the ids of requests, as interrupted() has them")
    return {check_text("ids", one) for one in ids}


def _unknown(letter_id: str) -> RequestNotFoundError:
    return RequestNotFoundError(f"there is no dead letter {letter_id!r}; engine.dead_letters() lists them")
