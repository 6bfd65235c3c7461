"""A backend of a Dask cluster: workers that come, go and die, and may be other machines."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import math
import pickle
import secrets
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bgsim.backends import dask_link
from bgsim.backends.dask_lanes import DaskCall, DaskLane, DaskWorker, meaning_of
from bgsim.backends.dask_link import Link
from bgsim.backends.dask_worker import Packed, keep_payload, set_orders
from bgsim.backends.sending import DEFAULT_CHUNK_BYTES, Bits, Senders
from bgsim.checks import check_integer, check_number
from bgsim.control import DONE, FRACTION
from bgsim.errors import BackendError, NoThreadError, text_of
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.backends.base import Host
    from bgsim.backends.remote import ChunkTask

logger = logging.getLogger("bgsim.engine")

_LOOK_S = 2.0
"""After this time the workers are looked for again, though no message has said that one has come or gone."""

_CHECK_S = 0.25
"""Seconds between two looks at the connection."""

_LARGE_PAYLOAD = 2**18
"""Bytes that go before the tasks, once a worker: Dask warns of large tasks."""

_MOST_PAYLOADS = 1000
"""Of so many it is known that a worker has them; one that is sent again does no harm."""

_TOPICS = 64
"""How many topics there are for progress; a scheduler keeps what was last said about each."""


class DaskBackend:
    """Has the workers of a Dask cluster compute, which may be other machines.

    Cancel, pause, preemption and progress work as with threads: an order reaches a running kernel through the cluster.
    Workers may come and go at any time. The chunk of one that is gone is computed again, and a replicate that ends
    every worker is named.

    Parameters
    ----------
    client : distributed.Client or str
        A client, or the address of the scheduler, such as ``"tcp://10.0.0.1:8786"``. The backend makes a client of its
        own, and leaves the caller's alone.
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
        self.chunk_s = check_number("chunk_target_ms", chunk_target_ms, "a number above 0", zero=False) / 1000
        self.senders = Senders(bits)
        self.chunk_bytes = check_integer("max_chunk_bytes", max_chunk_bytes)
        self._cluster = getattr(client, "cluster", None)
        self._link = Link(client)
        weakref.finalize(self, self._link.end).atexit = False  # if no engine ever opens it
        self._lock = Lock()  # guards the next
        self._places: dict[str, DaskWorker] = {}
        self._host: Host | None = None
        self._trouble = ""
        self._has_failed = False
        # The loop of the link alone uses what follows.
        self._topic = f"bgsim-{secrets.randbelow(_TOPICS)}"
        self._calls: dict[str, DaskCall] = {}
        self._orders: dict[str, dict[str, int]] = {}
        self._payloads: dict[tuple[str, str], asyncio.Future[Any]] = {}  # sent, by worker and key
        self._gone: dict[str, bool] = {}
        self._has_news: asyncio.Event | None = None

    @property
    def cores(self) -> int:
        """The threads of the workers that are there."""
        return sum(place.threads for place in list(self._places.values()))

    def want(self, cores: int) -> None:
        """Ask the cluster for a number of cores; it may bring them later, or fewer.

        A cluster that adapts to its load sees no more of a job than the chunks in hand, so it does not grow by itself:
        give ``cluster.adapt`` a `minimum`.

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
        if "cores" in inspect.signature(self._cluster.scale).parameters:
            self._cluster.scale(cores=cores)
            return
        threads = [place.threads for place in list(self._places.values())]
        self._cluster.scale(math.ceil(cores / max(threads, default=1)))

    def open(self, host: Host) -> None:
        """Add a lane for each thread of each worker, and one more a worker, so that none waits for its next chunk.

        Workers that come later are added then.
        """
        if self._host is not None:
            raise BackendError("this backend belongs to an engine already; make one for each")
        self._host = host
        self._set_workers({}, self._link.wait_for(self._workers))
        self._link.call(self._link.start, self._watch)

    def close(self) -> None:
        """Leave the cluster, which goes on."""
        for place in list(self._places.values()):
            for lane in place.lanes:
                lane.lose("the engine is closed", blames=False)
        self._link.call(self._unsubscribe)
        self._link.close()

    def alerts(self) -> list[str]:
        """Return what is to be known of it."""
        if self._trouble:
            return [self._trouble]
        if self._places or self._has_failed or self._host is None:
            return []
        return [f"the Dask cluster at {self._link.address} has no workers; jobs wait until one comes"]

    # ---- workers that come and go --------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow the cluster until the backend is closed; in the loop."""
        try:
            while await self._follow():
                pass
        except Exception as error:
            logger.exception("the Dask cluster at %s is not followed any more", self._link.address)
            await self._fail(f"the Dask cluster at {self._link.address} cannot be followed: {text_of(error)}")

    async def _follow(self) -> bool:
        """Follow the cluster through one connection, and find the next one; return False if there is none."""
        loop, client = asyncio.get_running_loop(), self._link.client
        has_news = self._has_news = asyncio.Event()
        client.subscribe_topic(self._topic, self._progressed)
        client.subscribe_topic("all", self._changed)
        has_news.set()  # of what came before the subscription
        looked_at = loop.time()
        while client.status == "running":
            if has_news.is_set() or loop.time() > looked_at + _LOOK_S:
                has_news.clear()
                gone, self._gone = self._gone, {}
                with suppress(OSError, asyncio.TimeoutError):
                    await self._in_thread(self._set_workers, gone, await self._workers())
                    looked_at = loop.time()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(has_news.wait(), _CHECK_S)
        self._trouble = f"the Dask scheduler at {self._link.address} has gone away; jobs wait until it is back"
        await self._in_thread(self._set_workers, dict.fromkeys(self._places, False), {})
        if not await self._link.reconnect():
            await self._fail(
                f"the Dask scheduler at {self._link.address} has gone away, and has not come "
                f"back in {dask_link.RECONNECT_S:g} s"
            )
            return False
        self._trouble = ""
        return True

    async def _workers(self) -> dict[str, int]:
        """Return the workers that there are, by address, with their numbers of threads."""
        return dict(await self._link.client.scheduler.ncores())

    async def _in_thread(self, function: Any, *arguments: Any) -> None:
        """Do what takes the engine's lock."""
        await asyncio.get_running_loop().run_in_executor(None, function, *arguments)

    async def _fail(self, why: str) -> None:
        assert self._host is not None
        self._trouble, self._has_failed = "", True
        await self._in_thread(
            self._host.fail,
            BackendError(f"{why}. Finished replicates are stored: submit the request again, to a new engine"),
        )

    def _unsubscribe(self) -> None:
        client = self._link.client
        if client.status == "running":
            for topic in ("all", self._topic):
                with suppress(ValueError):  # it was not subscribed to yet
                    client.unsubscribe_topic(topic)

    def _changed(self, event: Any) -> None:  # in the loop
        what = event[1]
        if not isinstance(what, dict) or what.get("action") not in ("add-worker", "remove-worker"):
            return
        if what["action"] == "remove-worker":
            self._gone[what["worker"]] = not what.get("expected", False)
        assert self._has_news is not None
        self._has_news.set()

    def _set_workers(self, gone: dict[str, bool], there: dict[str, int]) -> None:
        """Take the workers that there are; those that have gone, and come again under their address, are others.

        Parameters
        ----------
        gone : dict of str to bool
            Whether a chunk may be what has ended them.
        there : dict of str to int
        """
        assert self._host is not None
        with self._lock:
            leaving = [place for address, place in self._places.items() if address in gone or address not in there]
            for place in leaving:
                del self._places[place.address]
            coming = [DaskWorker(self, address, there[address]) for address in there if address not in self._places]
            self._places |= {place.address: place for place in coming}
        for place in leaving:
            for lane in place.lanes:
                self._host.remove(lane)  # all of them first, or one would be given the chunk that another has lost
            for lane in place.lanes:
                lane.lose(f"the worker {place.address} is gone", blames=gone.get(place.address, True))
        for place in coming:
            for lane in place.lanes:
                try:
                    self._host.add(lane)
                except NoThreadError as error:
                    logger.warning("the worker %s gets fewer chunks at a time: %s", place.address, error)

    # ---- chunks --------------------------------------------------------------------------------------

    def begin(self, lane: DaskLane, task: ChunkTask) -> DaskCall:
        """Have a lane's worker compute a task, without waiting."""
        call = DaskCall(f"bgsim-{secrets.token_hex(8)}", lane)
        self._link.call(self._link.start, self._compute, call, task)
        return call

    def give_up(self, call: DaskCall) -> None:
        """Let the cluster forget a task that nobody waits for any more, without waiting."""
        self._link.call(self._release, call)

    def send_order(self, call: DaskCall, order: int) -> None:
        """Send an order after a chunk, without waiting."""
        self._link.call(self._collect, call, order)

    async def _compute(self, call: DaskCall, task: ChunkTask) -> None:
        client, place = self._link.client, call.lane.place
        self._calls[call.name] = call
        try:
            if len(task.payload) > _LARGE_PAYLOAD:
                await self._send_payload(task, place)
                task = dataclasses.replace(task, payload=b"")
            if call.answer.done():  # an order, or a loss, came before
                return
            packed = pickle.dumps(Packed(task, call.name, self._topic))
            call.future = client.submit(
                pickle.loads, packed, key=call.name, workers=[place], allow_other_workers=False, pure=False, retries=0
            )
            reply = await client.gather(call.future)
            if reply is not None and reply.refusal:
                self._payloads.pop((place, task.key), None)  # it may not have it any more
            call.settle(reply)
        except BaseException as error:  # a cancelled future, and what a task may raise
            self._payloads.pop((place, task.key), None)
            call.fail(meaning_of(error, call.future, client, place))
        finally:
            self._release(call)

    async def _send_payload(self, task: ChunkTask, place: str) -> None:
        """Have a worker keep a payload, unless it has it; lanes that need the same wait for the first."""
        sending = self._payloads.get((place, task.key))
        if sending is None:
            run = self._link.client.run(keep_payload, task.key, task.payload, workers=[place])
            sending = self._payloads[place, task.key] = asyncio.ensure_future(run)
            if len(self._payloads) > _MOST_PAYLOADS:
                del self._payloads[next(iter(self._payloads))]
        await asyncio.shield(sending)

    def _release(self, call: DaskCall) -> None:
        self._calls.pop(call.name, None)
        if call.future is not None:
            call.future.release()  # `_compute` ends by that, if it waits

    def _collect(self, call: DaskCall, order: int) -> None:
        """Add an order to those that go to the same worker: all of a moment travel together."""
        address = call.lane.place
        if address not in self._orders:
            self._orders[address] = {}
            self._link.start(self._send_orders, address)
        self._orders[address][call.name] = order

    async def _send_orders(self, address: str) -> None:
        orders = self._orders.pop(address)
        with suppress(Exception):  # the worker has gone, or the scheduler
            answers = await self._link.client.run(set_orders, orders, workers=[address])
            for name in answers[address]:
                call = self._calls.get(name)
                if call is not None:  # it waits behind other tasks: why wait for those
                    call.settle(None)
                    self._release(call)

    def _progressed(self, event: Any) -> None:  # in the loop
        for name, (done, fraction) in event[1]["chunks"].items():
            call = self._calls.get(name)
            if call is not None and call.lane.call is call:
                call.lane.control[DONE], call.lane.control[FRACTION] = done, fraction
