"""A backend of a Dask cluster: workers that come, go and die, and may be other machines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import secrets
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

from bgsim.backends.base import ChunkLostError, ShutOutError
from bgsim.backends.dask_worker import compute_chunk, set_order
from bgsim.backends.executor import DEFAULT_CHUNK_BYTES, Bits
from bgsim.backends.sending import Sent
from bgsim.backends.turnstile import Turnstile
from bgsim.checks import check_integer, check_number, check_word, refused
from bgsim.control import DONE, FRACTION, GO, ORDER, new_control_block
from bgsim.errors import BackendError, MissingExtraError, text_of
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.backends.base import Chunk, Computation, Host
    from bgsim.backends.remote import Reply, Task

CONNECT_S = 10.0
"""How long a scheduler is waited for that is given by its address."""

RECONNECT_S = 30.0
"""How long a scheduler is waited for that has gone away."""

_LOOK_S = 2.0
"""After this time the workers are looked for again, though no message has said that one has come or gone."""

_CHECK_S = 0.25
"""So often the connection is looked at."""


def _connected(client: Any) -> Any:
    """Return a client of our own: topics have one subscriber in each, and the caller's may be asynchronous.

    Parameters
    ----------
    client : distributed.Client or str
    """
    try:
        import distributed  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtraError("a Dask cluster needs distributed: pip install distributed") from error
    if isinstance(client, distributed.Client):
        if client.scheduler is None or client.status != "running":
            raise BackendError(f"the Dask client is {client.status}; make another")
        address, security = client.scheduler.address, client.security
    elif isinstance(client, str):
        address, security = client, None
    else:
        raise refused("client", client, "a distributed.Client, or the address of a scheduler")
    try:
        return distributed.Client(address, security=security, timeout=CONNECT_S, set_as_default=False, name="bgsim")
    except (OSError, ValueError, TypeError) as error:
        raise BackendError(f"no Dask scheduler at {address!r}: {text_of(error)}") from error


def _threads_of(identity: Any) -> dict[str, int]:
    """Return the workers of a scheduler, by address, with their numbers of threads."""
    return {address: info["nthreads"] for address, info in identity["workers"].items()}


class DaskBackend:
    """Has the workers of a Dask cluster compute, which may be other machines.

    Cancel, pause, preemption and progress work as with threads: an order reaches a running kernel through the cluster.
    Workers may come and go at any time. The chunk of one that is gone is computed again, and a replicate that ends
    every worker is named.

    Parameters
    ----------
    client : distributed.Client or str
        A client, or the address of the scheduler, such as ``"tcp://10.0.0.1:8786"``.
    bits : {"attest", "trust"}
        Whether a worker has to compute four replicates to the same bits as this process before its results count. One
        that does not is shut out, and `Engine.health` names it.
    chunk_target_ms : float
        How long a chunk should take: long, since the scheduler takes about a millisecond for each.
    max_chunk_bytes : int
        The most that the rows of a chunk may take; one replicate has to fit.

    Raises
    ------
    BackendError
        If no scheduler answers at the address.
    MissingExtraError
        If distributed is not installed.
    InvalidInputError

    Notes
    -----
    Whoever can reach a Dask scheduler can run code on its workers, and a worker's reply is unpickled here: use Dask's
    TLS, or a network of your own.
    """

    name = "dask"
    is_here = False

    def __init__(
        self,
        client: Any,
        *,
        bits: Bits = "attest",
        chunk_target_ms: float = 500.0,
        max_chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    ) -> None:
        check_word("bits", bits, get_args(Bits))
        self.chunk_s = check_number("chunk_target_ms", chunk_target_ms, "a number above 0", zero=False) / 1000
        self.chunk_bytes = check_integer("max_chunk_bytes", max_chunk_bytes)
        self._attests = bits == "attest"
        self._cluster = getattr(client, "cluster", None)
        self._client = _connected(client)
        self._topic = f"bgsim-{secrets.token_hex(8)}"
        self._lock = Lock()  # guards the next three
        self._places: dict[str, _Place] = {}
        self._waiting: dict[str, _Lane] = {}  # by the name of the chunk
        self._sent: weakref.WeakKeyDictionary[Computation, Sent] = weakref.WeakKeyDictionary()
        self._host: Host | None = None
        # The client's loop alone uses what follows.
        self._gone: set[str] = set()
        self._has_news = asyncio.Event()
        self._is_closed = False

    @property
    def cores(self) -> int:
        """The threads of the workers that are there."""
        return max(1, sum(place.threads for place in list(self._places.values())))

    def want(self, cores: int) -> None:
        """Ask the cluster for so many cores; it may bring them later, or fewer.

        A cluster that adapts to its load sees no more of a job than the chunks in hand, so it does not grow by itself.

        Parameters
        ----------
        cores : int

        Raises
        ------
        BackendError
            If the client was not made of a cluster that can be scaled.
        """
        cores = check_integer("cores", cores, least=0)
        if self._cluster is None or not hasattr(self._cluster, "scale"):
            raise BackendError(
                "the client knows the scheduler alone: scale the cluster where it was made, or make the client of it, "
                "as in DaskBackend(Client(cluster))"
            )
        threads = [place.threads for place in list(self._places.values())]
        self._cluster.scale(math.ceil(cores / max(threads, default=1)))

    def open(self, host: Host) -> None:
        """Add a lane for each thread of each worker, and one more a worker, so that none waits for its next chunk.

        Workers that come later are added then.
        """
        if self._host is not None:
            raise BackendError("this backend belongs to an engine already; make one for each")
        self._host = host
        self._set_workers(set(), _threads_of(self._client.sync(self._client.scheduler.identity)))
        self._client.loop.add_callback(self._watch)

    def close(self) -> None:
        """Leave the cluster, which goes on."""

        def close_here() -> None:
            self._is_closed = True
            self._has_news.set()

        self._loop_call(close_here)
        for place in list(self._places.values()):
            for lane in place.lanes:
                lane.lose("the engine is closed")
        if self._client.status == "running":
            for topic in ("all", self._topic):
                self._client.unsubscribe_topic(topic)
        self._client.close(timeout=2)

    def alerts(self) -> list[str]:
        """Return what is to be known of it."""
        if self._places:
            return []
        address = self._client.scheduler.address if self._client.scheduler else "the scheduler"
        return [f"the Dask cluster at {address} has no workers; jobs wait until one comes"]

    # ---- workers that come and go --------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow the cluster until the backend is closed; in the client's loop."""
        loop = asyncio.get_running_loop()
        looked_at, is_subscribed = -math.inf, False
        lost_at: float | None = None
        while not self._is_closed:
            if self._client.status == "running":
                lost_at = None
                if not is_subscribed:
                    self._client.subscribe_topic(self._topic, self._progressed)
                    self._client.subscribe_topic("all", self._changed)
                    is_subscribed = True
                if self._has_news.is_set() or loop.time() > looked_at + _LOOK_S:
                    self._has_news.clear()
                    gone, self._gone = self._gone, set()
                    with suppress(OSError, asyncio.TimeoutError):
                        identity = await self._client.scheduler.identity()
                        await loop.run_in_executor(None, self._set_workers, gone, _threads_of(identity))
                        looked_at = loop.time()
            else:
                lost_at = loop.time() if lost_at is None else lost_at
                is_subscribed = False
                await loop.run_in_executor(None, self._set_workers, set(self._places), {})
                if self._client.status == "closed" or loop.time() > lost_at + RECONNECT_S:
                    if not self._is_closed:
                        await loop.run_in_executor(None, self._fail)
                    return
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._has_news.wait(), _CHECK_S)

    def _changed(self, event: Any) -> None:  # in the client's loop
        what = event[1]
        if what.get("action") == "remove-worker":
            self._gone.add(what["worker"])
        if what.get("action") in ("add-worker", "remove-worker"):
            self._has_news.set()

    def _set_workers(self, gone: set[str], there: dict[str, int]) -> None:
        """Take the workers that there are; those that have gone, and come again under their address, are others."""
        assert self._host is not None
        with self._lock:
            leaving = [place for address, place in self._places.items() if address in gone or address not in there]
            for place in leaving:
                del self._places[place.address]
            coming = [_Place(self, address, there[address]) for address in there if address not in self._places]
            self._places |= {place.address: place for place in coming}
        for place in leaving:
            for lane in place.lanes:
                lane.lose(f"the worker {place.address} is gone")
                self._host.remove(lane)
        for place in coming:
            for lane in place.lanes:
                self._host.add(lane)

    def _fail(self) -> None:
        assert self._host is not None
        self._host.fail(BackendError(f"the Dask scheduler has gone away, and has not come back in {RECONNECT_S:g} s"))

    # ---- chunks --------------------------------------------------------------------------------------

    def sent(self, computation: Computation) -> Sent:
        """Return how a computation is sent."""
        with self._lock:
            found = self._sent.get(computation)
            if found is None:
                found = self._sent[computation] = Sent(computation, attests=self._attests, most_bytes=self.chunk_bytes)
            return found

    def submit(self, lane: _Lane, task: Task) -> str:
        """Have a lane's worker compute a task; return the name by which orders find it."""
        name = f"bgsim-{secrets.token_hex(8)}"
        with self._lock:
            self._waiting[name] = lane
        answer = lane.answer

        async def compute() -> None:
            future = None
            try:
                future = self._client.submit(
                    compute_chunk, task, name, self._topic, key=name, workers=[lane.place], allow_other_workers=False,
                    pure=False, retries=0,
                )  # fmt: skip
                reply = await self._client.gather(future, asynchronous=True)
            except BaseException as error:
                _settle(answer, None, error)
            else:
                _settle(answer, reply, None)
            finally:
                with self._lock:
                    del self._waiting[name]
                if future is not None:
                    future.release()

        self._loop_call(compute)
        return name

    def send_order(self, address: str, name: str, order: int) -> None:
        """Send an order after a chunk; in any thread, without waiting."""

        async def send() -> None:
            with suppress(Exception):  # the worker has gone
                await self._client.run(set_order, name, order, workers=[address], wait=False)

        self._loop_call(send)

    def _loop_call(self, function: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._client.loop.add_callback(function)

    def _progressed(self, event: Any) -> None:  # in the client's loop
        for name, (done, fraction) in event[1]["chunks"].items():
            lane = self._waiting.get(name)
            if lane is not None and lane.chunk_name == name:
                lane.control[DONE], lane.control[FRACTION] = done, fraction


class _Place:
    """A worker of the cluster, with its lanes."""

    def __init__(self, backend: DaskBackend, address: str, threads: int) -> None:
        self.address = address
        self.threads = threads
        turnstile = Turnstile()
        self.lanes = [_Lane(backend, address, turnstile) for _ in range(threads + 1)]


class _Lane:
    writes_in_place = False
    sees_orders = True

    def __init__(self, backend: DaskBackend, address: str, turnstile: Turnstile) -> None:
        self._backend = backend
        self._turnstile = turnstile
        self.place = address
        self.control = new_control_block()
        self.chunk_name = ""
        self.answer: concurrent.futures.Future[Reply] = concurrent.futures.Future()
        self._lost = ""

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        """Have the worker compute a chunk; see `bgsim.backends.base.Lane`."""
        sent = self._backend.sent(chunk.computation)
        task = sent.task(chunk, self.place)
        try:
            with self._turnstile.passing(alone=chunk.alone):
                reply = self._answer(task) if self.control[ORDER] == GO else None
        except ChunkLostError as error:
            raise sent.lost(self.place, error) from error
        return (0, 0.0) if reply is None else sent.take(task, chunk, reply, self)

    def _answer(self, task: Task) -> Reply:
        self.answer = concurrent.futures.Future()
        self.chunk_name = self._backend.submit(self, task)
        if self._lost:  # before there was an answer to be lost
            self.lose(self._lost)
        if self.control[ORDER] != GO:  # before there was a name to send it after
            self.ordered()
        try:
            return self.answer.result()
        except ChunkLostError:
            raise
        except (concurrent.futures.CancelledError, asyncio.CancelledError, OSError) as error:
            why = f"the connection to {self.place} is lost: {type(error).__name__}: {text_of(error)}"
            raise ChunkLostError(why, self.place, blames=False) from error
        except Exception as error:
            raise ShutOutError(f"it cannot compute chunks: {type(error).__name__}: {text_of(error)}") from error
        finally:
            self.chunk_name = ""

    def ordered(self) -> None:
        """Send the order after the chunk."""
        name = self.chunk_name
        if name:
            self._backend.send_order(self.place, name, int(self.control[ORDER]))

    def lose(self, why: str) -> None:
        """Give up what it waits for."""
        self._lost = why
        _settle(self.answer, None, ChunkLostError(why, self.place))


def _settle(answer: concurrent.futures.Future[Reply], reply: Reply | None, error: BaseException | None) -> None:
    """Give an answer, unless it has come already."""
    with suppress(concurrent.futures.InvalidStateError):
        if error is not None:
            answer.set_exception(error)
        elif reply is not None:
            answer.set_result(reply)
