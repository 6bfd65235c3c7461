"""What computes chunks, as an engine sees it: the values that a chunk is made of, lanes, and backends.

::

    engine ──a worker (thread) for each lane──> Lane.compute(chunk) ──> the kernel, here or elsewhere
       │                                            ^
       └─order: yield or stop──> lane.control ──────┘   and in it: how many replicates are done

A backend has *lanes*, and a lane computes one chunk at a time. The engine gives each lane a worker, a thread that takes
chunks from the queue in the order of urgency and waits in `Lane.compute`. So queue, preemption, retries, progress and
store are the same whatever computes; a lane of another machine is a thread that waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import contextvars

    import numpy as np
    from numpy.typing import NDArray

    from bgsim.control import Control
    from bgsim.errors import BackendError
    from bgsim.kernels.plain import ChunkRunner
    from bgsim.logs import JobLog
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation


class Computation:
    """What a run computes: replicate i is a function of simulation, parameters, seed and i.

    Attributes
    ----------
    simulation : Simulation
    fingerprint : str
        The identity of the simulation's code.
    parameters : ParameterSet
    seed : int
    replicates : int
        How many were asked for first.
    compiles : bool
        Whether numba compiles it.
    stream_key : ndarray of uint64, shape (2,)
        The key of the seed's streams.
    keeps_rows : bool
        Whether a chunk's rows are kept, or counted in tallies.
    runner : callable or None
        What computes chunks in this process; None until it is compiled.
    context, log : contextvars.Context, JobLog
        Of the first job's submission: plain Python runs in a copy of the one and writes to the other. Compiled code can
        reach neither, and has None.
    """

    __slots__ = (
        "__weakref__", "compiles", "context", "fingerprint", "keeps_rows", "log", "parameters", "replicates", "runner",
        "seed", "simulation", "stream_key",
    )  # fmt: skip

    def __init__(
        self,
        simulation: Simulation,
        fingerprint: str,
        parameters: ParameterSet,
        seed: int,
        replicates: int,
        stream_key: NDArray[np.uint64],
        *,
        compiles: bool,
        keeps_rows: bool = True,
    ) -> None:
        self.simulation = simulation
        self.fingerprint = fingerprint
        self.parameters = parameters
        self.seed = seed
        self.replicates = replicates
        self.stream_key = stream_key
        self.compiles = compiles
        self.keeps_rows = keeps_rows
        self.runner: ChunkRunner | None = None
        self.context: contextvars.Context | None = None
        self.log: JobLog | None = None


@dataclass(slots=True, eq=False)
class Chunk:
    """Consecutive replicates of a computation, and a place for them.

    Attributes
    ----------
    computation : Computation
    first, count : int
    columns : tuple of ndarray, or of tallies
        An array for each output, its first axis the `count` replicates. Where no rows are kept, the lane puts a tally
        of each output and of each pair here; see `bgsim.summaries`.
    alone : bool
        Whether it may end the process that computes it: nothing else is to be computed there meanwhile.
    """

    computation: Computation
    first: int
    count: int
    columns: tuple[Any, ...]
    alone: bool = False


class Seats:
    """Where some lanes compute: a number of chunks at a time, and those that come later wait for the end of one.

    The engine's lock guards it.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: dict[Any, float] = {}  # those that have a chunk, and since when; the first come first

    @property
    def are_taken(self) -> bool:
        """Whether another chunk would wait."""
        return len(self._workers) >= self._count

    def take(self, worker: Any, now: float) -> None:
        """Note that a worker has a chunk."""
        self._workers[worker] = now

    def leave(self, worker: Any) -> None:
        """Note that it has none any more."""
        del self._workers[worker]

    def held_up(self, before: float) -> list[Any]:
        """Return the workers, if one more than there are seats has had its chunk since before a time; else none.

        Which of their chunks is the one that waits is not known: they may arrive in another order.
        """
        waits = any(since < before for since in list(self._workers.values())[self._count :])
        return list(self._workers) if waits else []


class Lane(Protocol):
    """Computes one chunk at a time, for one worker.

    Attributes
    ----------
    control : Control
        The engine writes the order, with its lock held; the lane has the kernel see it, and writes how many replicates
        are done and the fraction of the one in hand.
    place : str
        Where it computes: an address, or empty for this process. A run shuts out places, not lanes.
    writes_in_place : bool
        Whether a row is in the chunk's columns as soon as the control block counts it; else all come at the end.
    sees_orders : bool
        Whether an order reaches the kernel; else it is seen when the chunk has come back.
    seats : Seats or None
        It shares them with the lanes beside which it computes; None where no chunk ever waits.
    """

    control: Control
    place: str
    writes_in_place: bool

    @property
    def seats(self) -> Seats | None:
        """Where it computes, beside other lanes."""

    @property
    def sees_orders(self) -> bool:
        """Whether an order reaches the kernel."""

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        """Compute a chunk into its columns; in the worker's thread, which waits.

        Returns
        -------
        (int, float)
            How many replicates are done, from the first on: all, or fewer after an order. The seconds that the kernel
            took.

        Raises
        ------
        ChunkLostError
            If what computed it is gone.
        ShutOutError
            If what is at this place would compute other bits.
        ChunkFailedError
            If the simulation raises, elsewhere.
        BackendError
            If nothing of this computation can be computed by this backend.
        BaseException
            Whatever the simulation raises in this process; slot ``DONE`` of `control` says how many replicates are
            done.
        """

    def ordered(self) -> None:
        """Pass on an order that has just been written to `control`; in any thread, under the engine's lock."""


class Host(Protocol):
    """The engine, as a backend sees it. Any thread may call."""

    def add(self, lane: Lane) -> None:
        """Give a lane a worker."""

    def remove(self, lane: Lane) -> None:
        """End the worker of a lane, once what the lane computes has come back or is lost."""

    def fail(self, error: BackendError) -> None:
        """Fail each run that still has rows to compute, and each later one."""


class Backend(Protocol):
    """Where an engine's chunks are computed.

    Attributes
    ----------
    name : str
        In a word or two, for people.
    is_here : bool
        Whether it computes in threads of the engine's process.
    cores : int
        How many chunks it computes at the same time, at present, 0 for none; it may have more lanes, which wait their
        turn.
    chunk_s : float
        How long a chunk should take: long where it costs something to send one.
    chunk_bytes : int
        The most that the rows of a chunk may take.
    """

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def is_here(self) -> bool:
        """Whether it computes in this process."""

    @property
    def cores(self) -> int:
        """How many chunks it computes at the same time."""

    @property
    def chunk_s(self) -> float:
        """How long a chunk should take."""

    @property
    def chunk_bytes(self) -> int:
        """The most that the rows of a chunk may take."""

    def open(self, host: Host) -> None:
        """Begin, and add the lanes that there are; of one engine, once."""

    def close(self) -> None:
        """End. No lane computes, or one that does has ignored its order for as long as the engine waits."""

    def alerts(self) -> list[str]:
        """Return what is wrong with it, a sentence each."""


class ChunkLostError(Exception):
    """What computed a chunk is gone.

    Parameters
    ----------
    why : str
    source : str
        Names what is gone: chunks that were lost with it have the same.
    blames : bool
        Whether the chunk may be what ended it.
    at : int or None
        Which replicate of the chunk was in hand, counted from its first; None if that is not known.
    """

    def __init__(self, why: str, source: str, *, blames: bool = True, at: int | None = None) -> None:
        super().__init__(why)
        self.source = source
        self.blames = blames
        self.at = at


class ChunkFailedError(Exception):
    """A simulation raised in another process.

    Parameters
    ----------
    done : int
        How many replicates of the chunk are done.
    cause : BaseException
    """

    def __init__(self, done: int, cause: BaseException) -> None:
        super().__init__(done, cause)
        self.done = done
        self.cause = cause


class ShutOutError(Exception):
    """What is at a lane's place must not compute this: it would compute other bits, or cannot make it."""
