"""What happens, as streams of server-sent events.

The newest events other than progress are kept in a ring, numbered; a client that comes back says the number of the last
one that it has, and gets those after it, or ``resync`` if they are gone. Progress is not kept: each stream sends the
newest of each job, at most four times a second. A stream is a place in the ring, not a buffer of its own. So a client
that does not read costs nothing, delays nobody, and loses no event while the ring has it.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from bgsim.threads.locks import Lock

RING = 10_000
"""Events that are kept."""

PROGRESS_S = 0.25
"""Between two of a job's progress events, in one stream."""

HEARTBEAT_S = 15.0
"""After this time without an event a stream sends a comment, so that no proxy takes it for dead."""

_MOST_AT_ONCE = 200
"""Events in one write."""

_MOST_DIGITS = 20
"""Of an event's number."""

COMMENT = b": still here\n\n"


class Event(NamedTuple):
    """What is sent, and who may see it: a tenant, or with None only those who see all."""

    number: int
    job: str
    tenant: str | None
    text: bytes


class EventLog:
    """The ring and the newest progress, and the streams that wait for more. Any thread may call any method."""

    def __init__(self, ring: int = RING, clock: Callable[[], float] = time.monotonic) -> None:
        self.epoch = secrets.token_hex(4)
        self.clock = clock
        # Guards all below; nothing is called under it.
        self._lock = Lock()
        self._ring: deque[Event] = deque(maxlen=ring)
        self._newest = 0  # number of the newest event
        self._marks = itertools.count(1)
        self._progress: dict[str, Event] = {}  # by job; here the number is one of `_marks`
        self._streams: set[Stream] = set()
        self._closed = False

    def add(self, name: str, job: str, tenant: str | None, data: Any) -> None:
        """Keep an event, and wake the streams."""
        body = msgspec.json.encode(data)
        with self._lock:
            self._newest += 1
            head = f"id: {self.epoch}-{self._newest}\nevent: {name}\ndata: ".encode()
            self._ring.append(Event(self._newest, job, tenant, head + body + b"\n\n"))
            self._progress.pop(job, None)
            streams = list(self._streams)
        _wake(streams)

    def show(self, name: str, job: str, tenant: str | None, data: Any) -> None:
        """Have the streams send this, unless a newer one of the same job comes before."""
        text = f"event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
        with self._lock:
            self._progress[job] = Event(next(self._marks), job, tenant, text)
            streams = list(self._streams)
        _wake(streams)

    def forget(self, job: str) -> None:
        """Drop the progress of a job."""
        with self._lock:
            self._progress.pop(job, None)

    @property
    def streams(self) -> int:
        """How many clients follow."""
        return len(self._streams)

    @property
    def closed(self) -> bool:
        """Whether every stream ends."""
        return self._closed

    def close(self) -> None:
        """End every stream, at once."""
        with self._lock:
            self._closed = True
            streams = list(self._streams)
        _wake(streams)

    def follow(self, last_id: str, sees: Callable[[Event], bool]) -> Stream:
        """Return a stream that begins after the event with this id; without one, with what comes from now on."""
        with self._lock:
            epoch, _, number = last_id.rpartition("-")
            place, missed = self._newest, False
            if last_id:
                oldest = self._ring[0].number if self._ring else self._newest + 1
                known = (
                    epoch == self.epoch
                    and number.isascii()
                    and number.isdecimal()
                    and len(number) < _MOST_DIGITS
                    and oldest - 1 <= int(number) <= self._newest
                )
                place, missed = (int(number), False) if known else (self._newest, True)
            return Stream(self, place, sees, missed=missed)

    def join(self, stream: Stream) -> None:
        """Wake a stream from now on."""
        with self._lock:
            self._streams.add(stream)

    def leave(self, stream: Stream) -> None:
        """Wake a stream no more."""
        with self._lock:
            self._streams.discard(stream)

    def after(self, number: int) -> tuple[list[Event], bool]:
        """Return events after this one, and whether some between were dropped."""
        with self._lock:
            if not self._ring or number >= self._newest:
                return [], False
            first = self._ring[0].number
            start = max(0, number + 1 - first)
            return list(itertools.islice(self._ring, start, start + _MOST_AT_ONCE)), number + 1 < first

    def resync(self) -> tuple[int, bytes]:
        """Return the number of the newest event, and what tells a client to ask for everything anew."""
        with self._lock:
            return self._newest, f"id: {self.epoch}-{self._newest}\nevent: resync\ndata: {{}}\n\n".encode()

    def progress_after(self, mark: int) -> list[Event]:
        """Return the newest progress of the jobs that have some after this mark."""
        with self._lock:
            return [event for event in self._progress.values() if event.number > mark]


class Stream:
    """One client's place in the log; of the loop in which it is iterated over.

    Parameters
    ----------
    log : EventLog
    place : int
        The number of the last event that the client has.
    sees : callable
        Tells whether an event is for it.
    missed : bool
        Whether it has to be told that events are lost to it.
    first : iterable of bytes
        What is sent before all else.
    """

    def __init__(
        self, log: EventLog, place: int, sees: Callable[[Event], bool], *, missed: bool, first: Iterable[bytes] = ()
    ) -> None:
        self._log = log
        self._place = place
        self._sees = sees
        self.missed = missed
        self.first = list(first)
        self.ends_with: str | None = None  # the job with whose end it ends
        self.is_over = False  # whether that has ended already
        self.may_go_on: Callable[[], bool] = lambda: True  # asked now and then: a token may be revoked
        self._asked_at = log.clock()
        self._mark = 0
        self._next_progress = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None

    def wake(self) -> None:
        """Have it look for more; in any thread."""
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(woken.set)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._woken, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self._log.join(self)
        try:
            yield b"retry: 1000\n\n" + b"".join(self.first)
            while True:
                self._woken.clear()
                if self._log.clock() - self._asked_at >= HEARTBEAT_S:
                    self._asked_at = self._log.clock()
                    if not self.may_go_on():
                        return
                is_closed = self._log.closed  # before the last events are taken
                text, is_last = self._take()
                if text:
                    yield text
                if is_last or (is_closed and not text):
                    return
                if text:
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._patience_s())
                    continue
                if self._log.clock() >= self._next_progress and not self._log.progress_after(self._mark):
                    yield COMMENT
        finally:
            self._log.leave(self)

    def _patience_s(self) -> float:
        """Return how long to wait: until progress that is there may be sent, or a comment is due."""
        if self._log.progress_after(self._mark):
            return max(0.0, self._next_progress - self._log.clock())
        return HEARTBEAT_S

    def _take(self) -> tuple[bytes, bool]:
        """Return what is to be sent now, and whether that is the end."""
        events, dropped = self._log.after(self._place)
        texts: list[bytes] = []
        if dropped or self.missed:
            self.missed = False
            self._place, text = self._log.resync()
            return text, self.ends_with is not None  # its client comes back for what followed
        if events:
            self._place = events[-1].number
            texts = [event.text for event in events if self._sees(event)]
        is_last = self.is_over and len(events) < _MOST_AT_ONCE
        if self.ends_with is not None:
            is_last = is_last or any(event.job == self.ends_with and _is_end(event.text) for event in events)
        now = self._log.clock()
        if now >= self._next_progress and not is_last:
            newest = self._log.progress_after(self._mark)
            if newest:
                self._mark = max(event.number for event in newest)
                self._next_progress = now + PROGRESS_S
                texts += [event.text for event in newest if self._sees(event)]
        return b"".join(texts), is_last


ENDS = ("job.completed", "job.failed", "job.cancelled")


def _is_end(text: bytes) -> bool:
    head = text.partition(b"\ndata: ")[0]
    return any(head.endswith(f"event: {name}".encode()) for name in ENDS)


def _wake(streams: Iterable[Stream]) -> None:
    for stream in streams:
        stream.wake()
