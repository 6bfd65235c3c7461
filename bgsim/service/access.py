"""Who may do what: roles and their verbs, callers, and the session of a browser.

A caller shows a token, in the header ``Authorization`` or as the cookie that a browser got for one. A store without
tokens is served to this machine alone: one printed address has a one-time token, which becomes such a cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from starlette.requests import cookie_parser

from bgsim.service.problems import ProblemError
from bgsim.service.tokens import verify
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgsim.storage.history import History

Verb: TypeAlias = Literal["read", "submit", "control", "schedule", "manage"]
"""What a route asks of its caller: see jobs; submit; change jobs; change schedules; the engine and the audit."""

ROLES: Mapping[str, tuple[Verb, ...]] = {
    "viewer": ("read",),
    "operator": ("read", "submit", "control", "schedule"),
    "admin": ("read", "submit", "control", "schedule", "manage"),
}

COOKIE = "bgsim_session"
"""The start of the cookie's name. A port follows, for browsers give all ports of a host the same cookies."""

LOCAL = "local"
"""The id of the token of a store that has none."""

_UNAUTHORIZED = {"WWW-Authenticate": 'Bearer realm="bgsim"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes
    ----------
    token : str
        The id of the token.
    role : str
    tenant : str
        Empty: sees all.
    by_cookie : bool
        Whether a browser sent the token by itself.
    """

    token: str
    role: str
    tenant: str = ""
    by_cookie: bool = False

    def may(self, verb: Verb) -> bool:
        """Tell whether the role has a verb."""
        return verb in ROLES.get(self.role, ())

    def sees(self, tenant: str) -> bool:
        """Tell whether the caller sees what belongs to a tenant."""
        return not self.tenant or self.tenant == tenant


class Access:
    """Recognises callers. Any thread may call any method.

    Attributes
    ----------
    is_local : bool
        Whether the store had no token when the service began, so that this process has one of its own.
    token : str
        That one, or empty.
    """

    def __init__(self, history: History, clock: Callable[[], float]) -> None:
        self._history = history
        self._clock = clock
        self.is_local = not history.tokens()
        self.token = f"bgs_{LOCAL}_{secrets.token_urlsafe(32)}" if self.is_local else ""
        self._lock = Lock()  # guards the next
        self._one_time = secrets.token_urlsafe(32)

    @property
    def one_time(self) -> str:
        """What a browser gets the cookie for, once."""
        return self._one_time

    def redeem(self, one_time: str) -> str | None:
        """Return the token that a one-time token stands for, or None; from then on that stands for nothing."""
        with self._lock:
            if not self.is_local or not hmac.compare_digest(_digest(one_time), _digest(self._one_time)):
                return None
            self._one_time = secrets.token_urlsafe(32)
        return self.token

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Return who asks.

        Raises
        ------
        ProblemError
            401, without saying more than that the token is none.
        """
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme:
            found = self._known(text.strip()) if scheme.lower() == "bearer" else None
        else:
            cookies = cookie_parser(headers.get("cookie", ""))  # which takes the odd ones that other programs set
            text = cookies.get(_cookie_name(headers), "")
            found = self._known(text, by_cookie=True) if text else None
        if found is None:
            what = "this token is unknown, expired or revoked" if scheme or text else "a token is needed"
            raise ProblemError(
                401,
                f"{what}; send one that `bgsim token new` has made, as Authorization: Bearer bgs_...",
                headers=_UNAUTHORIZED,
            )
        return found

    def _known(self, text: str, *, by_cookie: bool = False) -> Caller | None:
        if self.is_local and hmac.compare_digest(_digest(text), _digest(self.token)):
            return Caller(LOCAL, "admin", by_cookie=by_cookie)
        row = verify(self._history, text, self._clock())
        return None if row is None else Caller(row.id, row.role, row.tenant, by_cookie)


def check_verb(caller: Caller, verb: Verb) -> None:
    """Refuse a caller whose role lacks a verb.

    Raises
    ------
    ProblemError
        403.
    """
    if not caller.may(verb):
        having = " or ".join(role for role, verbs in ROLES.items() if verb in verbs)
        raise ProblemError(403, f"a {caller.role} may not {verb}; that takes the role {having}")


def check_origin(headers: Mapping[str, str], scheme: str) -> None:
    """Refuse a change that another site has a browser ask for, with the cookie of this one.

    Raises
    ------
    ProblemError
        403.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site == "same-origin":
        return
    if site is None and origin == f"{scheme}://{headers.get('host', '')}":
        return
    raise ProblemError(403, "a change by cookie must come from the service's own page; a program sends a token instead")


def _cookie_name(headers: Mapping[str, str]) -> str:
    _, _, port = headers.get("host", "").rpartition(":")
    return f"{COOKIE}_{port}" if port.isdecimal() and port.isascii() else COOKIE


def cookie_header(headers: Mapping[str, str], token: str, path: str, *, is_secure: bool) -> str:
    """Return the header that sets the cookie, or, for an empty token, deletes it; `headers` are the request's."""
    age = "; Max-Age=0" if not token else ""
    return (
        f"{_cookie_name(headers)}={token}; Path={path}; HttpOnly; SameSite=Strict{'; Secure' if is_secure else ''}{age}"
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
