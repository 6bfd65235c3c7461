"""A connection to a Dask cluster: a client of our own, in a loop and a thread of our own.

Topics have one subscriber in each client, and the caller's client may be asynchronous, or be closed; so this one is
apart from it. Where the scheduler goes away, another client is made: Dask's own reconnects for as long as it likes, and
prints an error when it is closed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from bgsim.checks import refused
from bgsim.errors import BackendError, MissingExtraError, start_thread, text_of
from bgsim.threads.locks import Future, Thread

CONNECT_S = 10.0
"""How long a scheduler is waited for that is given by its address."""

RECONNECT_S = 30.0
"""How long a scheduler is waited for that has gone away."""

_RETRY_S = 0.1
"""Between two tries to reach it."""

_CLOSE_S = 5.0
"""How long the end of the client is waited for."""


def _address_of(client: Any) -> tuple[str, Any]:
    """Return the address of a scheduler, and how to identify oneself there; None for as Dask is configured.

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
            raise BackendError(f"the Dask client is {client.status}; make another, or give the scheduler's address")
        return client.scheduler.address, client.security
    if isinstance(client, str):
        return client, None
    raise refused("client", client, "a distributed.Client, or the address of a scheduler")


async def _left(client: Any) -> None:
    """Close a client whose scheduler has gone away, in its own task: called instead of its `_reconnect`."""
    await client._close(fast=True)  # noqa: SLF001 - `close` would wait for the task that calls this


class Link:
    """A connection to a scheduler; the thread begins with it.

    Parameters
    ----------
    client : distributed.Client or str
        Whose scheduler it is, or its address.

    Attributes
    ----------
    address : str
    client : distributed.Client
        The present one, asynchronous; for the loop alone.

    Raises
    ------
    BackendError
        If no scheduler answers.
    MissingExtraError
    InvalidInputError
    """

    def __init__(self, client: Any) -> None:
        self.client: Any = None
        self.address, self._security = _address_of(client)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._has_ended = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_connected: Future[None] = Future()
        self._thread = Thread(self._run, name="bgsim-dask")
        start_thread(self._thread)
        try:
            self._is_connected.result()
        except Exception as error:
            self.close()
            raise BackendError(
                f"no Dask scheduler answers at {self.address!r}: {text_of(error)}. Is it running, and is it reached "
                "from this machine?"
            ) from error
        finally:
            if self.client is None:  # also when a signal's handler has ended the wait
                self.end()

    # ---- for any thread ------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have the loop call a function, without waiting; do nothing if it has ended."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def wait_for(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Have the loop run a coroutine, and return what it returns.

        Raises
        ------
        BackendError
            If that takes longer than a connection may.
        """
        assert self._loop is not None

        async def bounded() -> Any:
            return await asyncio.wait_for(function(*arguments), CONNECT_S)

        try:
            return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()
        except OSError as error:  # and a time-out is one
            raise BackendError(f"the Dask scheduler at {self.address} does not answer: {text_of(error)}") from error

    def end(self) -> None:
        """Have the client closed, and the thread end, without waiting."""
        self._has_ended = True
        if self._end is not None:  # else the thread finds that it has ended
            self.call(self._end.set)

    def close(self) -> None:
        """Have the client closed, and wait for the end of the thread, a few seconds at most."""
        self.end()
        self._thread.join(_CLOSE_S)

    # ---- in the loop ---------------------------------------------------------------------------------

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run a coroutine; it is cancelled at the end."""
        task = asyncio.ensure_future(function(*arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reconnect(self) -> bool:
        """Make another client once the scheduler is back; return False if that takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECONNECT_S
        while (left_s := deadline - loop.time()) > 0:
            try:
                self.client = await self._connected(left_s)
            except Exception:  # it is not there, or not ready
                await asyncio.sleep(_RETRY_S)
            else:
                return True
        return False

    async def _connected(self, timeout_s: float) -> Any:
        import distributed  # noqa: PLC0415 - an extra

        kind = type("Client", (distributed.Client,), {"_reconnect": _left})
        client = kind(
            self.address,
            security=self._security,
            timeout=timeout_s,
            asynchronous=True,
            set_as_default=False,
            name="bgsim",
        )
        try:
            await client
        except BaseException:
            await _closed(client)
            raise
        return client

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        if self._has_ended:
            self._end.set()
        connecting = asyncio.ensure_future(self._connected(CONNECT_S))
        ending = asyncio.ensure_future(self._end.wait())
        await asyncio.wait((connecting, ending), return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            connecting.cancel()
        try:
            self.client = await connecting
        except BaseException as error:
            ending.cancel()
            self._is_connected.set_exception(error)
            return
        self._is_connected.set_result(None)
        await ending
        await _closed(self.client)  # what waits for chunks ends by that
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _closed(self.client)  # the last thing that a task did may have been to make another


async def _closed(client: Any) -> None:
    with suppress(Exception):  # what remains of it ends with the loop
        await client.close(timeout=_CLOSE_S)
