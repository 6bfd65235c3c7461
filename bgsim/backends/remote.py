"""What runs in another process: it makes a simulation again, compiles it once, and computes chunks.

`compute` is called with a `ChunkTask` by whatever carries it there, an executor or Dask, and returns a `Reply`. The
tasks of one run share a `_Program`.
"""

from __future__ import annotations

import contextvars
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bgsim.backends.attestation import digest_of, disagreements, this_environment
from bgsim.control import DONE, FRACTION, PROBING, PROCESS
from bgsim.errors import SimulationChangedError, named_text, short_text, start_thread
from bgsim.logs import JobLog
from bgsim.streams import stream_key
from bgsim.summaries.tallies import RowCounter
from bgsim.threads.locks import Lock, Thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.backends.attestation import Digest
    from bgsim.control import Control
    from bgsim.kernels.plain import ChunkRunner

_MOST_PROGRAMS = 16
"""Are kept, those used last."""

Refusal: TypeAlias = Literal["", "unknown", "missing", "code", "versions"]
"""Why nothing is computed: the payload was left out and is not known; it cannot be made of it; the name is that of
other code; the versions differ."""


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """A chunk on its way to another process.

    Attributes
    ----------
    key : str
        Names the simulation and its parameters.
    payload : bytes
        Both, pickled; empty where they are known already.
    fingerprint : str
        What the simulation's has to be; empty if the payload has the code itself.
    seed, first, count : int
    probes : tuple of int
        Replicates whose hash is wanted; empty where the process is trusted.
    environment : mapping of str to str
        What versions have to agree with, if there are probes.
    job_id : str
        Of what is logged.
    keeps_rows : bool
        Whether the rows are wanted, or tallies of them.
    """

    key: str
    payload: bytes
    fingerprint: str
    seed: int
    first: int
    count: int
    probes: tuple[int, ...]
    environment: Mapping[str, str]
    job_id: str
    keeps_rows: bool


@dataclass(slots=True)
class Reply:
    """What came of it.

    Attributes
    ----------
    process : int
        The id of the process.
    sees_orders : bool
        Whether an order reaches the kernel.
    is_twin : bool
        Whether the process is on the engine's host, with the same versions, and the code compiled: it has computed no
        probes.
    done : int
    elapsed_s : float
        In the kernel.
    columns : tuple of ndarray, or of bytes
        Of the replicates that are done: an array of each output, or the bytes of each tally.
    error : bytes
        What the simulation raised, pickled; empty if it did not.
    digest : tuple of bytes
        The hash of each probe; empty for none.
    refusal : str
    why : str
        In words, for a refusal or an error.
    environment : mapping of str to str
        Of this process, if it was to be attested.
    records : list of dict
        Attributes of what was logged, by plain simulations.
    """

    process: int = field(default_factory=os.getpid)
    sees_orders: bool = True
    is_twin: bool = False
    done: int = 0
    elapsed_s: float = 0.0
    columns: tuple[Any, ...] = ()
    error: bytes = b""
    digest: Digest = ()
    refusal: Refusal = ""
    why: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)


class _RefusedError(Exception):
    def __init__(self, refusal: Refusal, why: str = "") -> None:
        super().__init__(refusal, why)
        self.refusal = refusal
        self.why = why


def compute(task: ChunkTask, control: Control, *, is_on_host: bool = False) -> Reply:
    """Compute a chunk; in any thread.

    Parameters
    ----------
    task : ChunkTask
    control : Control
        Of this chunk alone.
    is_on_host : bool
        Whether this is the engine's host. There, with the same versions, compiled code cannot but compute the same
        bits: the process is a twin, and leaves out the probes.
    """
    begin()
    control[PROCESS] = os.getpid()
    reply = Reply()
    program = _program(task.key)
    try:
        if task.probes:
            reply.environment = this_environment()
        compiles = program.make(task)
        reply.is_twin = is_on_host and compiles and reply.environment == task.environment
        if task.probes and not reply.is_twin:
            digest = program.digest(task, control)
            if digest is None:
                return reply  # an order came first
            reply.digest = digest
    except _RefusedError as refused:
        reply.refusal, reply.why = refused.refusal, refused.why
    else:
        program.compute(task, control, reply)
    return reply


def keep(key: str, payload: bytes) -> None:
    """Keep the payload of tasks that come without theirs."""
    _program(key).payload = payload


_begun: set[int] = set()
"""The ids of processes, as a fork copies it."""


def host_here() -> None:
    """Note that this is an engine's process, which does not end with its parent, though its own threads compute."""
    _begun.add(os.getpid())


def begin() -> None:
    """Do what comes before the first task of a process: Ctrl-C in its terminal is the parent's to act on.

    It ends with its parent, also where that is killed: a pool's process would wait for another task for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None or os.getpid() in _begun:
        return
    _begun.add(os.getpid())
    start_thread(Thread(_end_with, parent, name="bgsim-parent"))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "pthread_sigmask"):  # it was blocked until now
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_with(parent: Any) -> None:
    try:
        parent.join()
    except ValueError:  # loky's processes know no parent that can be waited for, and see to their end themselves
        return
    os._exit(1)


class _Program:
    """A simulation with parameters in this process; for any number of threads.

    Attributes
    ----------
    payload : bytes
        What it is made of, if that came before the first task.
    """

    def __init__(self) -> None:
        self.payload = b""
        self._lock = Lock()  # guards what follows; held while it is made, for others need the same
        self._simulation: Any = None
        self._parameters: Any = None
        self._runner: ChunkRunner | None = None
        self._digests: dict[tuple[int, tuple[int, ...]], Digest] = {}

    def make(self, task: ChunkTask) -> bool:
        """Make it ready, or refuse; return whether it is compiled."""
        if task.probes and (differ := disagreements(task.environment, this_environment())):
            raise _RefusedError("versions", ", ".join(differ))
        with self._lock:
            if self._runner is not None:
                return bool(self._simulation.compiles)
            payload, self.payload = task.payload or self.payload, b""
            if not payload:
                raise _RefusedError("unknown")
            self._simulation, self._parameters = _loaded(payload)
            revision = self._simulation.revision()
            if task.fingerprint and revision.identity.fingerprint != task.fingerprint:
                raise _RefusedError("code")
            self._runner = self._simulation.prepare(self._parameters, revision)
            return bool(self._simulation.compiles)

    def digest(self, task: ChunkTask, control: Control) -> Digest | None:
        """Return the hash of the probes, which are computed once; None if an order came first."""
        key = task.seed, task.probes
        with self._lock:
            found = self._digests.get(key)
            if found is None:
                control[PROBING] = 1
                columns = self._simulation.new_columns(self._parameters, len(task.probes))
                found = digest_of(lambda first, rows: self._run(task.seed, first, rows, control), columns, task.probes)
                control[DONE] = control[FRACTION] = control[PROBING] = 0
                if found is not None:
                    self._digests[key] = found
            return found

    def compute(self, task: ChunkTask, control: Control, reply: Reply) -> None:
        """Compute a chunk of it."""
        chunk = self._rows if task.keeps_rows else self._tallies
        columns, run = chunk(task, control)
        log = None if self._simulation.compiles else JobLog(task.job_id)
        began = time.perf_counter()
        try:
            if log is None:
                reply.done = run()
            else:
                context = contextvars.copy_context()
                context.run(log.enter)
                reply.done = context.run(run)
        except BaseException as error:  # whatever it is, the job's caller gets it
            reply.done = 0 if isinstance(error, SimulationChangedError) else int(control[DONE])
            reply.error, reply.why = pickled_error(error), short_text(error)
        reply.elapsed_s = time.perf_counter() - began
        reply.columns = tuple([column[: reply.done] if task.keeps_rows else column.to_bytes() for column in columns])
        if log is not None:
            reply.records = [_plain(record) for record in log.records]

    def _rows(self, task: ChunkTask, control: Control) -> tuple[tuple[Any, ...], Callable[[], int]]:
        """Return columns for a chunk, and what computes it."""
        columns = self._simulation.new_columns(self._parameters, task.count)
        return columns, partial(self._run, task.seed, task.first, columns, control)

    def _tallies(self, task: ChunkTask, control: Control) -> tuple[tuple[Any, ...], Callable[[], int]]:
        """Return tallies for a chunk, and what computes and counts it."""
        assert self._runner is not None
        stream = _stream() if self._simulation.compiles else None
        counter = RowCounter(self._runner, self._simulation, self._parameters)
        return counter.tallies, partial(counter, stream, stream_key(task.seed), task.first, task.count, control)

    def _run(self, seed: int, first: int, columns: tuple[NDArray[Any], ...], control: Control) -> int:
        assert self._runner is not None
        stream = _stream() if self._simulation.compiles else None
        return self._runner(stream, stream_key(seed), first, columns, control)


def _loaded(payload: bytes) -> Any:
    try:
        with suppress(SystemError):  # CPython 3.11 has it when two threads parse code at once
            return pickle.loads(payload)
        return pickle.loads(payload)
    except Exception as error:  # of a module that it imports, too
        raise _RefusedError("missing", short_text(error)) from error


_lock = Lock()
_programs: OrderedDict[str, _Program] = OrderedDict()
_threads = threading.local()


def _program(key: str) -> _Program:
    with _lock:
        found = _programs.pop(key, None) or _Program()
        _programs[key] = found
        while len(_programs) > _MOST_PROGRAMS:
            _programs.popitem(last=False)
        return found


def _stream() -> Any:
    from bgsim.kernels.stream import WorkerStream  # noqa: PLC0415 - imports numba

    found = getattr(_threads, "stream", None)
    if found is None:
        found = _threads.stream = WorkerStream()
    return found


def pickled_error(error: BaseException) -> bytes:
    """Return what a simulation raised so that another process can read it, with where that was as a note."""
    where = f"raised in process {os.getpid()}:\n{''.join(traceback.format_exception(error))}"
    try:
        error.add_note(where)
        found = pickle.dumps(error)
        if not isinstance(pickle.loads(found), BaseException):
            raise TypeError("it is no exception any more")
    except Exception:  # of the error's own class
        stand_in = RuntimeError(named_text(error))
        stand_in.add_note(where)
        found = pickle.dumps(stand_in)
    return found


def _plain(record: logging.LogRecord) -> dict[str, Any]:
    """Return the attributes of a record that any process can read."""
    found = {name: value for name, value in vars(record).items() if isinstance(value, str | int | float)}
    if record.exc_info and not record.exc_text:
        found["exc_text"] = logging.Formatter().formatException(record.exc_info)
    return found | {"msg": record.getMessage(), "args": None, "exc_info": None}
