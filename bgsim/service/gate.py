"""What stands before every request: its host, the prefix of a proxy, the headers of each answer, and the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from bgsim.errors import printable
from bgsim.service.problems import MEDIA_TYPE, ProblemError
from bgsim.service.settings import LOOPBACK

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from bgsim.service.core import Service

logger = logging.getLogger("bgsim.service.access")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", POLICY.encode()),
]


class Gate:
    """ASGI middleware. Below it the path has no prefix; ``scope["bgsim.prefix"]`` is what links begin with."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self.service = service
        settings = service.settings
        self._hosts = {*LOOPBACK, settings.host.lower(), f"[{settings.host.lower()}]", *map(str.lower, settings.hosts)}
        self._any_host = "*" in self._hosts
        self._prefix = settings.prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, and add the headers that every answer has."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499
        mounted = scope.get("root_path", "")
        prefix = mounted + self._prefix
        path = scope["path"].removeprefix(mounted)
        if self._prefix and (path == self._prefix or path.startswith(f"{self._prefix}/")):
            path = path.removeprefix(self._prefix)
        shown = path or "/"
        inner = {**scope, "path": shown, "root_path": "", "bgsim.prefix": prefix}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            if not self._any_host and _host_of(scope) not in self._hosts:
                await _refuse_host(send_with_headers)
            else:
                await self._app(inner, receive, send_with_headers)
        finally:
            milliseconds = 1000 * (time.perf_counter() - began)
            logger.info("%s %s %d %.1f ms", scope["method"], printable(shown), status, milliseconds)


def _host_of(scope: Scope) -> str:
    """Return the name in the ``Host`` header, without its port."""
    host: str = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "").lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


async def _refuse_host(send: Send) -> None:
    problem = ProblemError(421, "this name is not served here; start the service with --allow-host NAME to serve it")
    body = problem.document()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
