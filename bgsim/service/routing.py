"""Routes as declarations: what a request must be, who may send it, and what it is answered with.

A route checks its requests by the same declarations from which the OpenAPI document is made. Its handler is a plain
function that gets a `Call` and returns what is to be sent; it runs in a thread, and may block for milliseconds.
"""

from __future__ import annotations

import re
import string
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from bgsim.service.problems import ProblemError, malformed

if TYPE_CHECKING:
    from bgsim.service.access import Caller, Verb
    from bgsim.service.core import Service

_MOST_PARAMETERS = 50

PARAMETER = "parameter."
"""The beginning of a query's names that say what a parameter has to be."""


@dataclass(slots=True)
class Call:
    """A request, checked.

    Attributes
    ----------
    service : Service
    caller : Caller
    path : mapping of str to str
        What stands in the place of the names in the path.
    query, body : object
        Of the route's declared types.
    parameters : mapping of str to object
        What the query says parameters have to be, as in ``?parameter.strike=100``.
    headers : mapping of str to str
        By names in lower case.
    prefix : str
        The path under which the service is reached; empty or with a leading slash.
    raw : bytes
        The body as it came.
    is_secure : bool
        Whether it came by https.
    detail : str
        What the audit says of it; the handler may set it.
    """

    service: Service
    caller: Caller
    path: Mapping[str, str]
    query: Any
    body: Any
    parameters: Mapping[str, Any]
    headers: Mapping[str, str]
    prefix: str
    raw: bytes = b""
    is_secure: bool = False
    detail: str = ""

    def link(self, path: str) -> str:
        """Return an address of the API: ``link("/jobs")``; what is not ASCII in it is escaped."""
        return quote(f"{self.prefix}/v1{path}", safe=string.printable)


@dataclass(slots=True)
class Answer:
    """What a request is answered with.

    Attributes
    ----------
    body : object
        Encoded as JSON; bytes as they are; an iterator of bytes is streamed in a thread, an async one in the loop.
    status : int
    headers : dict of str to str
    media_type : str
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"

    def content(self) -> bytes | Iterator[bytes] | AsyncIterable[bytes]:
        """Return what is sent."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes | Iterator | AsyncIterable):
            return self.body
        return msgspec.json.encode(self.body)


@dataclass(slots=True)
class Later:
    """What a handler returns that waits; no thread waits meanwhile.

    Attributes
    ----------
    when_done : callable
        ``when_done(note)`` has ``note`` called when the wait is over, as `Job.when_done` does.
    seconds : float
        It waits no longer.
    then : callable
        Makes the answer, in a thread.
    target : str
        For the audit: what was made.
    """

    when_done: Callable[[Callable[[Any], object]], object]
    seconds: float
    then: Callable[[], Answer]
    target: str = ""


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes
    ----------
    method, path : str
        Such as ``"POST"``, ``"/jobs/{id}/cancel"``; below ``/v1``.
    verb : Verb or None
        What the caller must be allowed to do; None for what anybody may.
    handler : callable
    summary, description : str
        For the document.
    body, query, answer : type or None
        Declared with `msgspec.Struct`; an `answer` of None has no body.
    status : int
        When all is well.
    statuses : tuple of int
        The others that it may answer with.
    media_types : tuple of str
        What the answer may be.
    takes_parameters : bool
        Whether the query may have ``parameter.NAME=``.
    """

    method: str
    path: str
    verb: Verb | None
    handler: Handler
    summary: str
    description: str = ""
    body: type | None = None
    query: type | None = None
    answer: Any = None
    status: int = 200
    statuses: tuple[int, ...] = ()
    media_types: tuple[str, ...] = ("application/json",)
    takes_parameters: bool = False

    @property
    def names(self) -> list[str]:
        """The names in the path."""
        return re.findall(r"{(\w+)", self.path)

    def read_body(self, raw: bytes, content_type: str) -> Any:
        """Return a body as the declared type.

        Raises
        ------
        ProblemError
            400 if it is no JSON, 415 if it is said to be something else, 422 if it is not of that type.
        """
        if self.body is None:
            return None
        kind = content_type.partition(";")[0].strip().lower()
        if raw and kind != "application/json" and not kind.endswith("+json"):
            raise ProblemError(415, f"the body must be application/json; Content-Type says {kind or 'nothing'}")
        return read_json(raw or b"{}", self.body)

    def read_query(self, pairs: list[tuple[str, str]]) -> tuple[Any, dict[str, Any]]:
        """Return a query as the declared type, and what it says of parameters.

        Raises
        ------
        ProblemError
            422.
        """
        values: dict[str, str] = {}
        parameters: dict[str, Any] = {}
        for name, text in pairs:
            if self.takes_parameters and name.startswith(PARAMETER):
                parameters[name.removeprefix(PARAMETER)] = _scalar(text)
            else:
                values[name] = text
        if len(parameters) > _MOST_PARAMETERS:
            raise ProblemError(422, f"a query may filter by {_MOST_PARAMETERS} parameters; got {len(parameters)}")
        kind = self.query or NoQuery
        try:
            return msgspec.convert(values, kind, strict=False), parameters
        except msgspec.ValidationError as error:
            raise malformed(error, kind, values, place="") from error


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The query of a route that takes none."""


def read_json(raw: bytes, kind: type) -> Any:
    """Return JSON as a declared type.

    Raises
    ------
    ProblemError
        400, 422.
    """
    try:
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError as error:
            raise malformed(error, kind, msgspec.json.decode(raw)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"the body is no JSON: {error}") from error


def _scalar(text: str) -> Any:
    """Return what a text in a query is as JSON, or the text itself."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


class Routes(list[Route]):
    """The routes of a module.

    Examples
    --------
    ::

        routes = Routes()


        @routes.post("/jobs/{id}/cancel", "control", answer=Job, status=202, statuses=(404, 409))
        def cancel(call: Call) -> Answer:
            '''Cancel a job.'''
    """

    def get(self, path: str, verb: Verb | None, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a route that changes nothing."""
        return self._adding("GET", path, verb, declared)

    def post(self, path: str, verb: Verb | None, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a route that makes or does something."""
        return self._adding("POST", path, verb, declared)

    def patch(self, path: str, verb: Verb | None, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a route that changes something."""
        return self._adding("PATCH", path, verb, declared)

    def delete(self, path: str, verb: Verb | None, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a route that takes something away."""
        return self._adding("DELETE", path, verb, declared)

    def _adding(
        self, method: str, path: str, verb: Verb | None, declared: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            first, _, rest = (handler.__doc__ or "").strip().partition("\n")
            description = " ".join(rest.split())
            self.append(Route(method, path, verb, handler, first.rstrip("."), description, **declared))
            return handler

        return add
