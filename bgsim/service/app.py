"""The ASGI application: each declared route as an endpoint, the page, and the gate in front of all.

::

    request ──> Gate (host, prefix, headers, log) ──> endpoint ──thread──> caller, verb, quota, body ──> handler
                                                            └─ stream: events, columns
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.routing import Route as StarletteRoute

from bgsim.service.access import Caller, check_origin, check_verb
from bgsim.service.gate import Gate
from bgsim.service.openapi import document
from bgsim.service.pages import page_routes
from bgsim.service.problems import MEDIA_TYPE, ProblemError, problem_of
from bgsim.service.routes import (
    audit,
    bulk,
    dead_letters,
    engine,
    jobs,
    public,
    results,
    schedules,
    slots,
    statistics,
    sweeps,
)
from bgsim.service.routing import Answer, Call, Later, Route
from bgsim.service.streaming import Streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from bgsim.service.core import Service

logger = logging.getLogger("bgsim.service")

ROUTES: tuple[Route, ...] = (
    *jobs.routes, *results.routes, *public.routes, *statistics.routes, *engine.routes, *sweeps.routes,
    *schedules.routes, *dead_letters.routes, *bulk.routes, *slots.routes, *audit.routes,
)  # fmt: skip
"""Every route of the API."""

_NOBODY = Caller("", "")


def make_app(service: Service) -> ASGIApp:
    """Return the application of a service."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(f"/v1{route.path}", {})[route.method] = route
    routes: list[BaseRoute] = [
        StarletteRoute(path, _Endpoint(service, path, methods)) for path, methods in by_path.items()
    ]
    routes += [*_plain_routes(service), *page_routes(service)]

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    handlers = {HTTPException: _http_error, Exception: _error}
    starlette = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    starlette.router.redirect_slashes = False  # it would redirect to where no proxy's prefix is
    app: ASGIApp = starlette
    if service.settings.origins:
        app = CORSMiddleware(
            app,
            allow_origins=service.settings.origins,
            allow_methods=("GET", "POST", "PATCH", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer"),
            expose_headers=("ETag", "Link", "Location", "Retry-After"),
        )
    return Gate(app, service)


class _Endpoint:
    """One path of the API, with the routes of its methods."""

    def __init__(self, service: Service, path: str, methods: Mapping[str, Route]) -> None:
        self._service = service
        self._path = path
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        began, method = time.perf_counter(), request.method
        route = self._methods.get("GET" if method == "HEAD" else method)
        try:
            if route is None:
                allowed = ", ".join(sorted(self._methods))
                raise ProblemError(405, f"{self._path} takes {allowed}, not {method}", headers={"Allow": allowed})
            raw = await _body(request, self._service.settings.max_body_bytes)
            found = await run_in_threadpool(self._handle, route, request, raw)
            if isinstance(found, Later):
                await self._service.closing.wait(found.when_done, found.seconds)
                found = await run_in_threadpool(found.then)
            response = _response(found)
        except ClientDisconnect:
            response = Response(status_code=499)
        except Exception as error:
            response = problem_response(problem_of(error))
        self._service.metrics.request(method, f"/v1{self._path[3:]}", response.status_code, time.perf_counter() - began)
        return response

    def _handle(self, route: Route, request: Request, raw: bytes) -> Answer | Later:
        """Check a request and have its handler answer it; in a thread."""
        service, caller, status, detail = self._service, _NOBODY, 500, ""
        try:
            if route.verb is not None:
                caller = service.access.caller(request.headers)
                service.count_request(caller)
                if route.method != "GET" and caller.by_cookie:
                    check_origin(request.headers, request.url.scheme)
                check_verb(caller, route.verb)
            body = route.read_body(raw, request.headers.get("content-type", ""))
            query, parameters = route.read_query(request.query_params.multi_items())
            call = Call(
                service, caller, request.path_params, query, body, parameters, request.headers,
                request.scope["bgsim.prefix"], raw, request.url.scheme == "https",
            )  # fmt: skip
            answer: Answer | Later = route.handler(call)
            status, detail = _outcome(route, call, answer)
        except Exception as error:
            problem = problem_of(error, place="#/" if route.body else "")
            status = problem.status
            raise problem from error
        else:
            return answer
        finally:
            if route.method != "GET" and caller is not _NOBODY:
                service.note(caller, f"{route.method} /v1{route.path}", request.url.path, status, detail)


def _outcome(route: Route, call: Call, answer: Answer | Later) -> tuple[int, str]:
    """Return the status of an answer, and what the audit says of it: by default what was made."""
    if isinstance(answer, Later):
        return route.status, call.detail or answer.target
    return answer.status, call.detail or answer.headers.get("Location", "")


async def _body(request: Request, most: int) -> bytes:
    """Return the body of a request.

    Raises
    ------
    ProblemError
        413.
    """
    length = request.headers.get("content-length", "0")
    too_large = ProblemError(413, f"a body may have {most:,} bytes; send a scenario's file beforehand, or less")
    if not length.isdecimal() or int(length) > most:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _response(answer: Answer) -> Response:
    content = answer.content()
    if isinstance(content, AsyncIterable):
        return Streaming(content, answer.status, answer.headers, answer.media_type)
    if not isinstance(content, bytes):
        return Streaming(iterate_in_threadpool(content), answer.status, answer.headers, answer.media_type)
    media_type = answer.media_type if content else None
    return Response(content, answer.status, answer.headers, media_type)


def problem_response(problem: ProblemError) -> Response:
    """Return a problem document as a response."""
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(problem.document(), problem.status, headers, MEDIA_TYPE)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = "there is nothing at this address; the API begins at /v1" if status == 404 else str(error)
    return problem_response(ProblemError(status, detail))


async def _error(_: Request, error: Exception) -> Response:
    return problem_response(problem_of(error))


# ---- beside the API --------------------------------------------------------------------------------------


def _plain_routes(service: Service) -> Iterable[StarletteRoute]:
    described = msgspec.json.encode(document(ROUTES))

    async def openapi(_: Request) -> Response:
        return Response(described, media_type="application/json")

    async def live(_: Request) -> Response:
        return Response(b"alive\n", media_type="text/plain")

    async def ready(_: Request) -> Response:
        is_ready = service.is_ready and not service.draining and not service.engine.closed
        return Response(b"ready\n" if is_ready else b"not ready\n", 200 if is_ready else 503, media_type="text/plain")

    def metrics(request: Request) -> Response:
        try:
            caller = service.access.caller(request.headers)
            check_verb(caller, "read")
            if caller.tenant:
                raise ProblemError(403, "metrics are of all tenants; they take a token without a tenant")
        except ProblemError as problem:
            return problem_response(problem)
        from bgsim.service.metrics import CONTENT_TYPE  # noqa: PLC0415 - imported already

        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    plain: dict[str, Callable[[Request], Awaitable[Response] | Response]] = {
        "/v1/openapi.json": openapi,
        "/livez": live,
        "/readyz": ready,
        "/metrics": metrics,
    }
    return [StarletteRoute(path, endpoint, methods=["GET"]) for path, endpoint in plain.items()]
