"""The lanes of a Dask cluster: each waits, in a thread of the engine, for what a worker of the cluster computes."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.backends.attestation import this_environment
from bgsim.backends.base import ChunkLostError, Seats, ShutOutError
from bgsim.backends.turnstile import Turnstile
from bgsim.control import GO, ORDER, new_control_block
from bgsim.errors import named_text, text_of

if TYPE_CHECKING:
    from bgsim.backends.base import Chunk
    from bgsim.backends.remote import ChunkTask, Reply
    from bgsim.backends.sending import Senders


class Cluster(Protocol):
    """The cluster, as a lane sees it. Any thread may call, and waits for nothing that travels."""

    @property
    def chunk_bytes(self) -> int:
        """The most that the rows of a chunk may take."""

    @property
    def senders(self) -> Senders:
        """What makes tasks of chunks."""

    def begin(self, lane: DaskLane, task: ChunkTask) -> DaskCall:
        """Have a lane's worker compute a task."""

    def give_up(self, call: DaskCall) -> None:
        """Let the cluster forget a task that nobody waits for any more."""

    def send_order(self, call: DaskCall, order: int) -> None:
        """Send an order after a chunk."""


@dataclass(slots=True, eq=False)
class DaskCall:
    """A chunk that a worker computes.

    Attributes
    ----------
    name : str
        By which orders find it.
    lane : DaskLane
    answer : Future
        None if an order came before it had begun.
    future : distributed.Future or None
        The loop of the link alone uses it.
    """

    name: str
    lane: DaskLane
    answer: concurrent.futures.Future[Reply | None] = field(default_factory=concurrent.futures.Future)
    future: Any = None

    def settle(self, reply: Reply | None) -> None:
        """Give an answer, unless it has come already."""
        with suppress(concurrent.futures.InvalidStateError):
            self.answer.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Give an error, unless there is an answer."""
        with suppress(concurrent.futures.InvalidStateError):
            self.answer.set_exception(error)


class DaskWorker:
    """A worker of the cluster, with its lanes."""

    def __init__(self, cluster: Cluster, address: str, threads: int) -> None:
        self.address = address
        self.threads = threads
        turnstile, seats = Turnstile(), Seats(threads)
        self.lanes = [DaskLane(cluster, address, turnstile, seats) for _ in range(threads + 1)]


class DaskLane:
    """Has a worker compute; see `bgsim.backends.base.Lane`.

    Attributes
    ----------
    control : Control
        Of this process: orders and counts travel.
    call : DaskCall or None
        The chunk in hand.
    """

    writes_in_place = False
    sees_orders = True

    def __init__(self, cluster: Cluster, address: str, turnstile: Turnstile, seats: Seats) -> None:
        self._cluster = cluster
        self._turnstile = turnstile
        self.place = address
        self.seats = seats
        self.control = new_control_block()
        self.call: DaskCall | None = None
        self._why_lost = ""

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        """Have the worker compute a chunk."""
        sender = self._cluster.senders.of(chunk.computation, self._cluster.chunk_bytes)
        return sender.compute(chunk, self, self._turnstile, self._answer)

    def _answer(self, task: ChunkTask) -> Reply | None:
        if self._why_lost:
            raise self._loss(blames=False)
        self.call = call = self._cluster.begin(self, task)
        if self._why_lost:  # before there was a call to be lost
            call.fail(self._loss(blames=False))
            self._cluster.give_up(call)
        if self.control[ORDER] != GO:  # before there was a call to send it after
            self.ordered()
        try:
            return call.answer.result()
        finally:
            self.call = None

    def ordered(self) -> None:
        """Send the order after the chunk."""
        call = self.call
        if call is not None:
            self._cluster.send_order(call, int(self.control[ORDER]))

    def lose(self, why: str, *, blames: bool) -> None:
        """Give up what it waits for, for good: the engine has removed it, or is closed."""
        self._why_lost = why
        call = self.call
        if call is not None:
            call.fail(self._loss(blames=blames))
            self._cluster.give_up(call)

    def _loss(self, *, blames: bool) -> ChunkLostError:
        return ChunkLostError(self._why_lost, self.place, blames=blames)


def meaning_of(error: BaseException, future: Any, client: Any, place: str) -> Exception:
    """Return what it means to a lane that a task has no result."""
    if future is not None and future.status == "error":
        if type(error).__name__ == "KilledWorker":
            return ChunkLostError(f"the worker {place} is gone: {text_of(error)}", place)
        return ShutOutError(f"it cannot compute chunks: {named_text(error)}{_advice_on(error)}")
    if client.status == "running" and not isinstance(
        error, concurrent.futures.CancelledError | asyncio.CancelledError | OSError
    ):  # the task cannot be sent, or the reply not be read
        return ShutOutError(f"it cannot be sent chunks: {named_text(error)}{_advice_on(error)}")
    why = f"the connection to {place} is lost: {named_text(error)}"
    return ChunkLostError(why, place, blames=False)


def _advice_on(error: BaseException) -> str:
    """Return what to do if bgsim is not there."""
    if isinstance(error, ImportError) and str(error.name).partition(".")[0] == "bgsim":
        return f"; install it there: pip install bgsim=={this_environment()['bgsim']}"
    return ""
