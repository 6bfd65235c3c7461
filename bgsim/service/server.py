"""The server: uvicorn in a thread of its own, and an orderly end."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bgsim.checks import NotPicklable
from bgsim.errors import InvalidInputError, start_thread
from bgsim.service.app import make_app
from bgsim.service.core import Service
from bgsim.threads.locks import Latch, Thread

if TYPE_CHECKING:
    from bgsim.engine import Engine
    from bgsim.service.settings import ServiceSettings

_START_S = 30.0
_CLOSE_S = 0.5
"""How long requests that are being answered may take when the server closes."""

_WRITTEN_S = 5.0
"""How long the ends of jobs may take to be written."""

_BACKLOG = 2048


class _Protocol(H11Protocol):
    """HTTP without uvicorn's own log of requests, which would show a one-time token; `Gate` writes one."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.access_log = False


class RunningService(NotPicklable):
    """A service that is being served; made by `bgsim.service.serve`. Use it in a ``with`` block, or `close` it.

    Attributes
    ----------
    service : Service
    url : str
        Where it is: ``"http://127.0.0.1:8517"``, with the prefix.
    """

    instead = "give others its url"

    def __init__(self, engine: Engine, settings: ServiceSettings) -> None:
        self.service = service = Service(engine, settings)
        _check_exposure(settings, has_tokens=not service.access.is_local)
        self._socket = _bound(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{port}{settings.prefix}"
        config = uvicorn.Config(
            make_app(service), lifespan="off", log_config=None, http=_Protocol, ws="none", server_header=False,
            timeout_graceful_shutdown=1, timeout_keep_alive=30,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = Thread(self._run, name="bgsim-http")
        self._error: BaseException | None = None
        self._begun = Latch()
        self._server.startup = self._started(self._server.startup)  # type: ignore[method-assign]
        try:
            service.begin()
            start_thread(self._thread)
            if not self._begun.wait(_START_S) or self._error is not None:
                raise InvalidInputError(f"the server did not start: {self._error or 'it took too long'}", field="host")
        except BaseException:
            self.close()
            raise

    @property
    def token(self) -> str:
        """A token of an admin for this process alone, if the store has none; else empty."""
        return self.service.access.token

    @property
    def page_url(self) -> str:
        """Where a browser begins; with a one-time token if the store has no tokens."""
        access = self.service.access
        return f"{self.url}/?token={access.one_time}" if access.is_local else f"{self.url}/"

    def drain(self, timeout_s: float) -> bool:
        """Take no more jobs, and wait for those that there are; return whether all have ended in time."""
        self.service.draining = True
        return self.service.engine.drain(timeout_s) and self.service.recorder.drain(_WRITTEN_S)

    def close(self) -> None:
        """End every stream and request, and stop the threads; the engine goes on. Again does no harm."""
        self.service.close()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():  # a client does not read
                self._server.force_exit = True
                self._thread.join()
        self._socket.close()

    def __enter__(self) -> RunningService:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<service at {self.url}>"

    def _started(self, startup: Any) -> Any:
        async def begin(*arguments: Any, **more: Any) -> None:
            await startup(*arguments, **more)
            self._begun.set()

        return begin

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # it is told to who waits for the start
            self._error = error
        finally:
            self._begun.set()


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    InvalidInputError
        Naming host and port, and why.
    """
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        raise InvalidInputError(
            f"host and port: cannot listen at {host}:{port}: {error}; give another port, or 0 for a free one",
            field="port",
            value=port,
        ) from error
    return bound


def _check_exposure(settings: ServiceSettings, *, has_tokens: bool) -> None:
    """Refuse to be reached from elsewhere by anybody."""
    if has_tokens or settings.is_loopback:
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(settings.host).is_loopback:
            return
    raise InvalidInputError(
        f"host {settings.host} can be reached from elsewhere, and the store has no tokens; make one first: "
        "bgsim token new --store FILE --role admin",
        field="host",
        value=settings.host,
    )
