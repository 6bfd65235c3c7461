"""How a computation goes to other processes: the task that a chunk becomes, and what is made of the reply."""

from __future__ import annotations

import logging
import os
import pickle
import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from bgsim.backends import shipping
from bgsim.backends.attestation import PROBES, agree, described, digest_of, probe_indices, this_environment
from bgsim.backends.base import ChunkFailedError, ChunkLostError, ShutOutError
from bgsim.backends.remote import ChunkTask, host_here
from bgsim.checks import check_word
from bgsim.control import DONE, FRACTION, GO, ORDER, PROBING, YIELD, new_control_block
from bgsim.errors import ChunkTooLargeError
from bgsim.summaries.tallies import tallies_of_bytes
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bgsim.backends.attestation import Digest
    from bgsim.backends.base import Chunk, Computation, Lane
    from bgsim.backends.remote import Reply
    from bgsim.backends.shipping import Shipment
    from bgsim.backends.turnstile import Turnstile
    from bgsim.control import Control
    from bgsim.logs import JobLog

Bits: TypeAlias = Literal["attest", "trust"]

DEFAULT_CHUNK_BYTES = 64 * 2**20

logger = logging.getLogger("bgsim.engine")

_SMALL_PAYLOAD = 2**14
"""Bytes that go with every chunk; a larger payload is left out where a process has answered to it before."""

_MOST_UNATTESTED = 3
"""If this many processes are lost and none has answered, probes are left out: one of them may be the reason."""


class Senders:
    """The senders of a backend, one for each computation. Any thread may call.

    Parameters
    ----------
    bits : {"attest", "trust"}
        Whether other processes have to agree on probes.

    Raises
    ------
    InvalidInputError
    """

    def __init__(self, bits: Bits) -> None:
        host_here()
        check_word("bits", bits, get_args(Bits))
        self._attests = bits == "attest"
        self._lock = Lock()  # guards the next
        self._senders: weakref.WeakKeyDictionary[Computation, Sender] = weakref.WeakKeyDictionary()

    def of(self, computation: Computation, most_bytes: int) -> Sender:
        """Return the sender of a computation, whose chunks may take `most_bytes`.

        Raises
        ------
        ChunkTooLargeError
        """
        with self._lock:
            found = self._senders.get(computation)
            if found is None:
                found = Sender(computation, attests=self._attests, most_bytes=most_bytes)
                self._senders[computation] = found
            return found


class Sender:
    """Sends one computation, for the lanes of a backend. Any thread may call.

    A process that is no twin of this one attests with its first chunk: it computes the probes before that, and the
    engine's process does so when the reply is there. So a replicate that ends its process never ends the engine's.

    Parameters
    ----------
    computation : Computation
        That has its runner.
    attests : bool
        Whether other processes have to agree on probes.
    most_bytes : int
        The most that the rows of a chunk may take.

    Raises
    ------
    ChunkTooLargeError
        If one row takes more.
    """

    def __init__(self, computation: Computation, *, attests: bool, most_bytes: int) -> None:
        self._name = computation.simulation.name  # a reference to the computation would keep it alive for ever
        self._lock = Lock()  # guards the shipment and the digest, and is held while one is made: others need the same
        self._shipment: Shipment | None = None
        self._digest: Digest | None = None
        self._known_at: set[str] = set()
        self._has_answer = False
        self._lost_sources: set[str] = set()
        self._probes = probe_indices(computation.fingerprint, computation.replicates) if attests else ()
        row_bytes = sum(column.nbytes for column in computation.simulation.new_columns(computation.parameters, 1))
        if row_bytes > most_bytes:
            raise ChunkTooLargeError(
                f"one replicate of {computation.simulation.name} has {row_bytes:,} bytes of outputs, and the backend "
                f"sends {most_bytes:,} at a time: give it a larger max_chunk_bytes, or have the simulation return less"
            )

    def compute(
        self, chunk: Chunk, lane: Lane, turnstile: Turnstile, answer: Callable[[ChunkTask], Reply | None]
    ) -> tuple[int, float]:
        """Have a chunk computed elsewhere; returns and raises as `Lane.compute`.

        Parameters
        ----------
        chunk : Chunk
        lane : Lane
        turnstile : Turnstile
            Of what a chunk may end.
        answer : callable
            Sends a task and waits for the reply; None if an order came before it had begun.
        """
        task = self.task(chunk, lane.place)
        try:
            with turnstile.passing(alone=chunk.alone):
                reply = answer(task) if lane.control[ORDER] == GO else None
        except ChunkLostError as error:
            raise self.lost(task, lane.place, error) from error
        return (0, 0.0) if reply is None else self.take(task, chunk, reply, lane)

    def task(self, chunk: Chunk, place: str) -> ChunkTask:
        """Return the task of a chunk, for a place.

        Raises
        ------
        ShippingError
        """
        computation = chunk.computation
        with self._lock:
            if self._shipment is None:
                self._shipment = shipping.by_name(computation) or shipping.by_value(computation)
            shipment, probes = self._shipment, self._probes
            leaves_out = len(shipment.payload) > _SMALL_PAYLOAD and place in self._known_at
        return ChunkTask(
            shipment.key,
            b"" if leaves_out else shipment.payload,
            shipment.fingerprint,
            computation.seed,
            chunk.first,
            chunk.count,
            probes,
            this_environment() if probes else {},
            computation.log.job_id if computation.log is not None else "",
            computation.keeps_rows,
        )

    def lost(self, task: ChunkTask, place: str, error: ChunkLostError) -> ChunkLostError:
        """Return the loss of a task as it is to be counted.

        While no process has survived the probes, one of them may be why; also of a task that was sent with probes
        before they were left out.
        """
        with self._lock:
            self._known_at.discard(place)
            if self._has_answer or not task.probes or not error.blames or error.at is not None:
                return error
            self._lost_sources.add(error.source)
            if self._probes and len(self._lost_sources) >= _MOST_UNATTESTED:
                self._probes = ()
                logger.warning(
                    "%s: %d processes ended before they answered; others compute it without being attested",
                    self._name, len(self._lost_sources),
                )  # fmt: skip
        return ChunkLostError(str(error), error.source, blames=False)

    def take(self, task: ChunkTask, chunk: Chunk, reply: Reply, lane: Lane) -> tuple[int, float]:
        """Take what came of a chunk; returns and raises as `Lane.compute`."""
        for attributes in reply.records:
            _log(attributes, chunk.computation.log, is_from_here=reply.process == os.getpid())
        if reply.refusal:
            self._take_refusal(task, chunk.computation, reply, lane.place)
            return 0, 0.0
        if task.probes and not reply.is_twin and not self._agrees(task, chunk, reply, lane.control):
            return 0, 0.0
        with self._lock:
            self._has_answer = True
            self._known_at.add(lane.place)
        if not chunk.computation.keeps_rows:
            chunk.columns = tallies_of_bytes(chunk.computation.simulation, chunk.computation.parameters, reply.columns)
        else:
            for column, rows in zip(chunk.columns, reply.columns, strict=True):
                column[: reply.done] = rows
        if reply.error:
            raise ChunkFailedError(reply.done, _raised(reply))
        return reply.done, reply.elapsed_s

    def _agrees(self, task: ChunkTask, chunk: Chunk, reply: Reply, control: Control) -> bool:
        """Tell whether a process computes the same bits; False also if an order came first."""
        if not reply.digest:
            return False
        with self._lock:
            if self._digest is None:
                self._digest = _digest_here(task.probes, chunk.computation, _control_for_probes(reply, control))
            if self._digest is None:
                return False
        if not agree(self._digest, reply.digest):
            raise ShutOutError(f"it computes other bits of {self._name} than this process: {_both(reply)}")
        return True

    def _take_refusal(self, task: ChunkTask, computation: Computation, reply: Reply, place: str) -> None:
        """Send the code itself next, if its name does not do; else shut the place out."""
        with self._lock:
            self._known_at.discard(place)
            is_latest = self._shipment is None or self._shipment.key == task.key
            if reply.refusal == "unknown" or not is_latest:
                return  # the next task has the payload; or it travels by value by now
            if reply.refusal == "versions":
                raise ShutOutError(f"it has other versions than this process of {reply.why}: {_both(reply)}")
            why = " (there it is other code)" if reply.refusal == "code" else f" ({reply.why})"
            if not task.fingerprint:
                raise ShutOutError(f"it cannot make {self._name} of its code{why}")
            self._shipment = shipping.by_value(computation, why)


def _digest_here(probes: tuple[int, ...], computation: Computation, control: Control) -> Digest | None:
    from bgsim.kernels.stream import WorkerStream  # noqa: PLC0415 - imports numba

    runner, stream = computation.runner, WorkerStream() if computation.compiles else None
    assert runner is not None
    columns = computation.simulation.new_columns(computation.parameters, len(probes))

    def compute(first: int, rows: tuple[NDArray[Any], ...]) -> int:
        arguments = (stream, computation.stream_key, first, rows, control)
        if computation.context is None:
            return runner(*arguments)
        return computation.context.copy().run(runner, *arguments)  # as threads do: it may have a decimal precision

    control[PROBING] = 1
    found = digest_of(compute, columns, probes)
    control[DONE] = control[FRACTION] = control[PROBING] = 0
    return found


def _raised(reply: Reply) -> BaseException:
    try:
        found = pickle.loads(reply.error)
    except Exception:  # its class may be there only, or be odd
        found = None
    return found if isinstance(found, BaseException) else RuntimeError(reply.why)


def _control_for_probes(reply: Reply, control: Control) -> Control:
    """Return one without the order that has ended the chunk, or its rows were lost; but a cancel waits for a second."""
    probes_s = PROBES * reply.elapsed_s / max(1, reply.done)
    return new_control_block() if control[ORDER] == YIELD or probes_s < 1.0 else control


def _log(attributes: dict[str, object], log: JobLog | None, *, is_from_here: bool) -> None:
    """Keep a record with its job; have this process's handlers see it, if they have not."""
    record = logging.makeLogRecord(attributes)
    if log is not None:
        log.records.append(record)
    if not is_from_here:
        logging.getLogger(record.name).handle(record)


def _both(reply: Reply) -> str:
    return f"there {described(reply.environment)}; here {described(this_environment())}"
