"""Sending a message to an address that a caller has named, and to no other machine than that.

A caller must not reach what only this machine can: so the name is resolved once, each of its addresses is checked, and
the connection goes to an address that was checked. Nothing of an answer but its status is read, and no redirect is
followed. An attempt ends in time whatever the other side does.
"""

from __future__ import annotations

import errno
import http.client
import io
import ipaddress
import os
import re
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bgsim.checks import refused
from bgsim.errors import InvalidInputError
from bgsim.threads.locks import Lock

_MOST_READ = 2**16
"""Bytes of an answer, for its status and its headers."""

_MOST_ADDRESSES = 4
"""Addresses of a name that are tried."""

_MOST_CHARACTERS = 2000

_HOST = re.compile(r"[a-z0-9._:-]+")

_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK)
"""Codes of a connection that is being made."""

_UNICAST = ipaddress.ip_network("2000::/3")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 addresses, as a network without IPv4 reaches them."""

Resolve = Callable[..., Sequence[tuple[Any, ...]]]
"""As `socket.getaddrinfo`."""


class PostError(Exception):
    """There was no answer; the text says why, and quotes nothing of the message, its address or its secret."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address that messages may be sent to.

    Attributes
    ----------
    is_secure : bool
        https.
    host : str
        A name or an address, in lower case, without brackets.
    port : int
    path : str
        With the query.
    """

    is_secure: bool
    host: str
    port: int
    path: str


def check_url(field: str, url: object, *, allow_private: bool = False) -> Target:
    """Return the parts of an address, or refuse it.

    What its name stands for is checked when a message is sent; here, an address that is written as one.

    Raises
    ------
    InvalidInputError
    """
    allowed = f"an http or https address of at most {_MOST_CHARACTERS} visible ASCII characters, without a password"
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise refused(field, url, allowed)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise refused(field, url if "@" not in url else "one with an @", allowed) from error
    if parts.username is not None or parts.password is not None:
        raise InvalidInputError(f"{field} must be {allowed}; got one with a name or a password", field=field)
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or port == 0 or len(url) > _MOST_CHARACTERS:
        raise refused(field, url, allowed)
    address = _address(host)
    if not allow_private and (host.rstrip(".") == "localhost" or (address is not None and not is_public(address))):
        raise refused(field, url, "an address that everybody can reach, unless the service allows private ones")
    is_secure = parts.scheme == "https"
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    return Target(is_secure, host, port or (443 if is_secure else 80), path)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])  # without the interface
    except ValueError:
        return None


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether an address belongs to the internet: neither to this machine nor to a network around it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _TRANSLATED:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _UNICAST and address.is_global and address.sixtofour is None
    return address.is_global and not address.is_multicast


class Poster:
    """Sends messages. Any thread may call any method.

    Parameters
    ----------
    allow_private : bool
        Whether they may go to addresses of this machine and of private networks.
    timeout_s : float
        How long an attempt may take, from the connection to the status of the answer.
    tls : ssl.SSLContext, optional
        By default the system's, which checks certificates.
    resolve : callable
        As `socket.getaddrinfo`.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout_s: float = 15.0,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._tls = tls
        self._resolve = resolve
        # Guards the next two; nothing that waits is called under it.
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._closed = False

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a message; return the status of the answer.

        Raises
        ------
        PostError
            If there is none, or the address is not allowed.
        """
        try:
            target = check_url("url", url, allow_private=self._allow_private)
            found = self._resolve(target.host, target.port, type=socket.SOCK_STREAM)
            self._check_addresses(found)
            return self._post(target, found, body, headers)
        except InvalidInputError:
            raise PostError("the address is not allowed") from None
        except TimeoutError:
            raise PostError(f"no answer within {self._timeout_s:g} s") from None
        except socket.gaierror:
            raise PostError("the name has no address") from None
        except ssl.SSLCertVerificationError as error:
            raise PostError(f"its certificate is not accepted: {error.verify_message}") from None
        except OSError as error:
            raise PostError(f"no connection: {error.strerror or type(error).__name__}") from None
        except (http.client.HTTPException, ValueError) as error:  # the latter: a name that is none
            raise PostError(f"no answer that makes sense ({type(error).__name__})") from None

    def close(self) -> None:
        """End what is being sent, with a `PostError`, and refuse what comes later."""
        with self._lock:
            self._closed = True
            for each in self._open:
                _wake(each)

    def _check_addresses(self, found: Sequence[tuple[Any, ...]]) -> None:
        """Refuse a name of which one address is not allowed: a name with several is resolved anew at will."""
        for *_, place in found:
            address = _address(str(place[0]))
            if not self._allow_private and (address is None or not is_public(address)):
                raise PostError("the name stands for an address of this machine or of a private network")

    def _post(self, target: Target, found: Sequence[tuple[Any, ...]], body: bytes, headers: Mapping[str, str]) -> int:
        deadline = time.monotonic() + self._timeout_s
        connection = self._connected(found, deadline)
        try:
            kind = http.client.HTTPSConnection if target.is_secure else http.client.HTTPConnection
            exchange = kind(target.host, target.port)
            if target.is_secure:
                connection = self._wrapped(connection, target.host)
                connection.settimeout(_left(deadline))  # in sum
                connection.do_handshake()
            exchange.sock = _Bounded(connection, deadline)
            exchange.request("POST", target.path, body, dict(headers))
            return exchange.getresponse().status
        finally:
            self._drop(connection)

    def _wrapped(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        """Return a connection with TLS, which has not begun. Meanwhile, `close` lets it be: Python would leak it."""
        with self._lock:
            self._open.discard(plain)
        context = self._tls or ssl.create_default_context()
        stream = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        try:
            self._guard(stream)
        except BaseException:
            self._drop(stream)
            raise
        return stream

    def _connected(self, found: Sequence[tuple[Any, ...]], deadline: float) -> socket.socket:
        error: OSError | None = None
        for family, kind, protocol, _, place in found[:_MOST_ADDRESSES]:
            made = socket.socket(family, kind, protocol)
            try:
                self._connect(made, place, deadline)
            except OSError as refusal:
                self._drop(made)
                error = refusal
            except BaseException:
                self._drop(made)
                raise
            else:
                return made
        raise error or PostError("the name has no address")

    def _connect(self, made: socket.socket, place: Any, deadline: float) -> None:
        """Begin to connect, and wait for it where `close` ends the wait."""
        made.setblocking(False)
        _check(made.connect_ex(place), *_UNDER_WAY)
        self._guard(made)
        with selectors.DefaultSelector() as ready:
            ready.register(made, selectors.EVENT_WRITE)
            if not ready.select(_left(deadline)):
                raise TimeoutError
        _check(made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _guard(self, made: socket.socket) -> None:
        """Have `close` end what waits for a socket, from now on."""
        with self._lock:
            self._open.add(made)
            if self._closed:
                raise PostError("the service is being closed")

    def _drop(self, made: socket.socket) -> None:
        with self._lock:
            self._open.discard(made)
        made.close()


def _wake(waiting: socket.socket) -> None:
    """Have a thread that waits for a socket wait no longer."""
    with suppress(OSError):  # it is not connected: its thread finds that there is an end
        socket.socket.shutdown(waiting, socket.SHUT_RDWR)  # what TLS does besides is not for another thread


def _check(code: int, *fine: int) -> None:
    """Raise the error of a system's code, unless that is 0 or one of these."""
    if code and code not in fine:
        raise OSError(code, os.strerror(code))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded(io.RawIOBase):
    """A connected socket, as `http.client` uses one: whatever comes, reading and writing end in time."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket = connected
        self._deadline = deadline
        self._room = _MOST_READ

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._deadline))
        self._socket.sendall(data)

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._room <= 0:
            raise http.client.HTTPException("the answer is too long")
        self._socket.settimeout(_left(self._deadline))
        count = self._socket.recv_into(buffer, min(len(buffer), self._room))
        self._room -= count
        return count
