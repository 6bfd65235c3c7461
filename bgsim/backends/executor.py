"""A backend of any `concurrent.futures.Executor`: processes of this host, or whatever an executor reaches."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

from bgsim.backends.base import ChunkLostError, Seats
from bgsim.backends.blocks import Blocks
from bgsim.backends.pool import Pool, another_like, compute_at, ended, processes
from bgsim.backends.sending import DEFAULT_CHUNK_BYTES, Bits, Senders
from bgsim.backends.turnstile import Turnstile
from bgsim.checks import check_integer, check_number, refused
from bgsim.control import DONE, PROBING, PROCESS
from bgsim.errors import BackendError, named_text, text_of
from bgsim.threads.cores import cores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor, Future

    from bgsim.backends.base import Chunk, Host
    from bgsim.backends.pool import Begun, MakeExecutor
    from bgsim.backends.remote import ChunkTask, Reply

DEFAULT_CHUNK_MS = 200.0

_LOOK_S = 1.0
"""Between two looks at the processes of an executor that has not answered; it notices an end by itself much sooner."""


class ExecutorBackend:
    """Has an executor compute: for kernels that hold Python's lock, or may end their process.

    On this host a cancel, a pause and progress work as with threads, through memory that the processes share. On
    another host the kernel sees an order when its chunk ends. A process that ends costs no result: its chunk is
    computed again, and a replicate that ends every process is named.

    Parameters
    ----------
    executor : Executor or callable, optional
        Anything with ``submit``, which stays open; or a function that returns one, which is closed with the engine. A
        broken executor is replaced by what the function returns next; one of `concurrent.futures.ProcessPoolExecutor`
        or of loky by another like it. By default a pool of processes of this host.
    workers : int, optional
        How many tasks the executor runs at a time; by default as many as it says, or as this process may use cores.
    bits : {"attest", "trust"}
        ``"attest"`` asks each process for the versions of this one. A process of another host, or whose processor or
        libc differ, also has to compute four replicates to the same bits before its results count, and any process if
        the simulation is plain Python. ``"trust"`` asks for nothing.
    chunk_target_ms : float
        How long a chunk should take. Where orders do not reach, this is how long a cancel takes.
    max_chunk_bytes : int
        The most that the rows of a chunk may take; one replicate has to fit.

    Raises
    ------
    InvalidInputError

    Examples
    --------
    >>> from bgsim.backends import ExecutorBackend
    >>> from bgsim.models.options import asian_call
    >>> with bgsim.Engine(backend=ExecutorBackend(workers=2)) as engine:
    ...     result = engine.submit(asian_call, replicates=1000, seed=7).result()
    >>> len(result["payoff"])
    1000
    """

    name = "executor"
    is_here = False

    def __init__(
        self,
        executor: Executor | MakeExecutor | None = None,
        *,
        workers: int | None = None,
        bits: Bits = "attest",
        chunk_target_ms: float = DEFAULT_CHUNK_MS,
        max_chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    ) -> None:
        made = executor if hasattr(executor, "submit") else None
        if made is None and executor is not None and not callable(executor):
            raise refused("executor", executor, "an Executor, or a function that returns one")
        said = getattr(made, "_max_workers", None)
        self.cores = check_integer("workers", (said or cores()) if workers is None else workers)
        self.chunk_s = check_number("chunk_target_ms", chunk_target_ms, "a number above 0", zero=False) / 1000
        self.senders = Senders(bits)
        self.chunk_bytes = check_integer("max_chunk_bytes", max_chunk_bytes)
        make = another_like(made) if made is not None else executor or processes(self.cores)
        self.pool = Pool(made, make)  # type: ignore[arg-type] # what is callable and has no `submit`
        self.turnstile = Turnstile()
        self.seats = Seats(self.cores)
        self.is_here_too = False  # processes of this host have been seen
        self.is_elsewhere = False  # those of another host have
        self._blocks: Blocks | None = None
        self._lanes: list[ExecutorLane] = []

    def open(self, host: Host) -> None:
        """Add the lanes: one more than it runs tasks, so that none waits for the next."""
        if self._blocks is not None:
            raise BackendError("this backend belongs to an engine already; make one for each")
        self._blocks = Blocks(self.cores + 1)
        self.pool.open()
        self._lanes = [ExecutorLane(self, self._blocks, number) for number in range(self.cores + 1)]
        for lane in self._lanes:
            host.add(lane)

    def close(self) -> None:
        """Shut down the executor, if it was made here; end its processes that have not let go of a kernel."""
        self.pool.close([int(lane.control[PROCESS]) for lane in self._lanes if lane.is_waiting])
        if self._blocks is not None:
            self._blocks.close()

    def alerts(self) -> list[str]:
        """Return what is to be known of it."""
        return [self.pool.error] if self.pool.error else []


class ExecutorLane:
    """Has an executor compute; see `bgsim.backends.base.Lane`."""

    place = "executor"
    writes_in_place = False

    def __init__(self, backend: ExecutorBackend, blocks: Blocks, number: int) -> None:
        self._backend = backend
        self._pool = backend.pool
        self._at = blocks.place(number)
        self.control = blocks.block(number)
        self.seats = backend.seats
        self.is_waiting = False
        self._order: Future[None] = concurrent.futures.Future()

    @property
    def sees_orders(self) -> bool:
        """Whether an order reaches the kernel at once: no process of another host has been seen."""
        return not self._backend.is_elsewhere

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        """Have the executor compute a chunk; see `bgsim.backends.base.Lane`."""
        self._order = concurrent.futures.Future()
        sender = self._backend.senders.of(chunk.computation, self._backend.chunk_bytes)
        return sender.compute(chunk, self, self._backend.turnstile, self._answer)

    def _answer(self, task: ChunkTask) -> Reply | None:
        """Return the reply to a task; None if an order came before it had begun."""
        begun, was_sent = self._pool.begun(), False
        try:
            if not self._is_before_order(begun.greeting, begun):
                return None
            begun.greeting.result()
            self.control[PROCESS] = 0
            future = self._pool.submit(begun.executor, compute_at, task, self._at)
            self.is_waiting = was_sent = True
            if not self._is_before_order(future, begun) and _is_cancelled(future):
                return None
            self._wait((future,), begun)
            reply: Reply = future.result()
        except concurrent.futures.BrokenExecutor as error:
            self._pool.replace(begun, error)
            why, source = f"a process of the executor has ended ({text_of(error)})", f"executor {begun.number}"
            raise self._lost(why, source, was_sent=was_sent) from error
        except Exception as error:  # such as: shut down by its owner; cannot pickle, or import bgsim there
            raise BackendError(f"the executor does not compute chunks: {named_text(error)}") from error
        finally:
            self.is_waiting = False
        if reply.sees_orders:
            self._backend.is_here_too = True
        else:
            self._backend.is_elsewhere = True
        return reply

    def _lost(self, why: str, source: str, *, was_sent: bool) -> ChunkLostError:
        """Return a loss, with the replicate in hand where its process has written that down."""
        has_begun = bool(self.control[PROCESS])
        would_tell = self._backend.is_here_too and not self._backend.is_elsewhere
        blames = was_sent and (has_begun or not would_tell)
        is_known = has_begun and not self.control[PROBING]
        return ChunkLostError(why, source, blames=blames, at=int(self.control[DONE]) if is_known else None)

    def _is_before_order(self, future: Future[Any], begun: Begun) -> bool:
        """Wait for a future or an order; tell whether the future is done."""
        self._wait((future, self._order), begun)
        return future.done()

    def _wait(self, futures: Sequence[Future[Any]], begun: Begun) -> None:
        """Wait for the first of some futures, and look now and then whether the executor can still reply."""
        dead: set[int] = set()
        while not concurrent.futures.wait(futures, _LOOK_S, concurrent.futures.FIRST_COMPLETED).done:
            before, dead = dead, ended(begun.executor)
            if before & dead:
                self._pool.release(begun)

    def ordered(self) -> None:
        """Take back what has not begun; the kernel reads the control block itself."""
        if not self._order.done():
            self._order.set_result(None)


def _is_cancelled(future: Future[Reply]) -> bool:
    """Take back what has not begun, if that can be done."""
    try:
        return future.cancel()
    except NotImplementedError:  # Parsl's
        return False
