"""ProblemError documents (RFC 9457): what a request that cannot be served is answered with.

Every error of bgsim has its status here, and its text says what to do. An error that is no error of bgsim's is a fault
of the service: it is logged with its traceback, and answered without.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from bgsim.errors import (
    BgsimError,
    EngineClosedError,
    InvalidInputError,
    MissingExtraError,
    NotStoredError,
    ParameterError,
    QueueFullError,
    RequestNotFoundError,
    SimulationNotFoundError,
    StoreError,
    brief,
    nearest,
    text_of,
)

logger = logging.getLogger("bgsim.service")

MEDIA_TYPE = "application/problem+json"


class FieldProblem(msgspec.Struct, omit_defaults=True):
    """What is wrong with one field of a request."""

    detail: str
    pointer: str = ""
    """A JSON pointer into the body, such as `#/parameters/strike`."""
    parameter: str = ""
    """The name of a query parameter or a header."""
    value: str = ""
    allowed: str = ""
    nearest: str = ""


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """Why a request is not served, and what to do."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: list[FieldProblem] = []


class ProblemError(Exception):
    """A request cannot be served.

    Attributes
    ----------
    status : int
    detail : str
        What is wrong, and what to do.
    errors : sequence of FieldProblem
    headers : mapping of str to str
        Of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def document(self) -> bytes:
        """Return the document as JSON."""
        title = HTTPStatus(self.status).phrase
        return msgspec.json.encode(ProblemDocument(title, self.status, self.detail, errors=self.errors))


_STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (InvalidInputError, 422),
    (SimulationNotFoundError, 404),
    (RequestNotFoundError, 404),
    (NotStoredError, 409),
    (QueueFullError, 503),
    (EngineClosedError, 503),
    (StoreError, 503),
    (MissingExtraError, 501),
)


def problem_of(error: BaseException, *, place: str = "#/") -> ProblemError:
    """Return the problem that an error is.

    Parameters
    ----------
    error : BaseException
    place : str
        Where the fields of the request stand: the beginning of a JSON pointer; empty for the query.
    """
    if isinstance(error, ProblemError):
        return error
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    if status is None or not isinstance(error, BgsimError):
        logger.error("a request failed", exc_info=error)
        return ProblemError(500, "the service has failed at this request, and has logged why; the others go on")
    errors = [_field_problem(error, place)] if isinstance(error, InvalidInputError) and error.field else []
    headers = {"Retry-After": "1"} if status == 503 else {}
    return ProblemError(status, text_of(error), errors=errors, headers=headers)


def _field_problem(error: InvalidInputError, place: str) -> FieldProblem:
    where = {"parameter": error.field}
    if place:
        inner = "parameters/" if isinstance(error, ParameterError) and error.field != "parameters" else ""
        where = {"pointer": f"{place}{inner}{_escaped(error.field)}"}
    text = str(error)
    allowed, meant = re.search(r"must (?:be|satisfy) (.*?)(?:; got|$)", text), re.search(r"did you mean '(.*?)'", text)
    return FieldProblem(
        text,
        **where,
        value=brief(error.value) if error.value is not None else "",
        allowed=allowed[1].partition("; did you mean")[0] if allowed else "",
        nearest=meant[1] if meant else "",
    )


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1").replace(".", "/")


# ---- bodies and queries that are not of the declared type ----------------------------------------------

_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def malformed(error: msgspec.DecodeError, kind: type, given: Any, *, place: str = "#/") -> ProblemError:
    """Return the problem of a body or a query that is not of its declared type, in our own words.

    Parameters
    ----------
    error : msgspec.DecodeError
    kind : type
        The declared one.
    given : object
        What was given, as plain values.
    place : str
        As for `problem_of`.
    """
    text, _, path = str(error).partition(" - at `$")
    steps = re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", path)
    names = [name or index for name, index in steps]
    value, owner = _at(given, names), kind
    for name in names:
        owner = _type_of(owner, name)
    name = ".".join(names) or "the body"
    unknown = re.search(r"unknown field `(.*)`", text)
    missing = re.search(r"missing required field `(.*)`", text)
    if unknown:
        known = _fields_of(owner)
        field, detail = unknown[1], f"there is no {unknown[1]!r} here{nearest(unknown[1], known)}"
        detail += f" (there are {', '.join(known)})" if known else ""
        return _of_field([*names, field], detail, place, allowed=", ".join(known), near=nearest(field, known))
    if missing:
        return _of_field([*names, missing[1]], f"{missing[1]} must be given", place)
    allowed, near = _allowed(text, owner, value)
    return _of_field(names, f"{name} must be {allowed}{near}; got {brief(value)}", place, value, allowed, near)


def _of_field(
    names: list[str], detail: str, place: str, value: Any = None, allowed: str = "", near: str = ""
) -> ProblemError:
    where = {"pointer": place + "/".join(map(_escaped, names))} if place else {"parameter": ".".join(names)}
    meant = re.search(r"did you mean '(.*?)'", near)
    shown = "" if value is None else brief(value)
    found = FieldProblem(detail, **where, value=shown, allowed=allowed, nearest=meant[1] if meant else "")
    return ProblemError(422, detail, errors=[found])


def _at(given: Any, names: Sequence[str]) -> Any:
    for name in names:
        try:
            given = given[int(name)] if isinstance(given, list) else given[name]
        except (LookupError, TypeError, ValueError):
            return None
    return given


def _type_of(owner: Any, name: str) -> Any:
    """Return the declared type of a field of a struct; of what has no fields, itself."""
    for part in _parts(owner):
        for field in getattr(part, "__struct_fields__", ()):
            if field == name:
                return msgspec.structs.fields(part)[part.__struct_fields__.index(name)].type
    return owner


def _parts(kind: Any) -> tuple[Any, ...]:
    """Return a type and what it is a union or annotation of."""
    inner = getattr(kind, "__args__", ())
    return (kind, *(part for one in inner for part in _parts(one)))


def _fields_of(owner: Any) -> list[str]:
    return [name for part in _parts(owner) for name in getattr(part, "__struct_encode_fields__", ())]


def _allowed(text: str, owner: Any, value: Any) -> tuple[str, str]:
    """Return what is allowed, in words, and the nearest allowed word."""
    words = [word for part in _parts(owner) for word in getattr(part, "__args__", ()) if isinstance(word, str)]
    if words:
        return f"one of {', '.join(words)}", nearest(value, words)
    expected = text.removeprefix("Expected ").partition(", got")[0]
    kinds = " or ".join(
        [_WORDS.get(word, word) for word in re.findall(r"`([^`]*)`", expected) for word in word.split(" | ")]
    )
    bounds = re.sub(r"`[^`]*`", "", expected).replace("matching regex", "").strip()
    bounds = re.sub(r">= (\S+)", r"of \1 or more", bounds)
    bounds = re.sub(r"<= (\S+)", r"of at most \1", bounds)
    return f"{kinds or 'another value'} {bounds}".strip(), ""
