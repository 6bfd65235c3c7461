"""Webhooks: messages about the ends of jobs, by the Standard Webhooks (https://www.standardwebhooks.com).

A message is a row of the history, written with the end of its job. It is sent until it is answered with a status from
200 to 299, so it may come twice; its ``webhook-id`` stays the same. Of several processes on a file, and of the threads
of one, one sends it at a time: it sets when the message is due next before it begins.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from bgsim.checks import check_text, one_of, refused
from bgsim.clock import Clock
from bgsim.errors import InvalidInputError, StoreError, start_thread
from bgsim.parameters.nesting import read_json
from bgsim.service.posting import Poster, PostError, check_url
from bgsim.storage.history import Delivery, History, JobRow
from bgsim.storage.times import seconds_of, time_text
from bgsim.threads.locks import Condition, Lock, Thread

logger = logging.getLogger("bgsim.service")

EVENTS = ("job.completed", "job.failed", "job.cancelled", "job.dead_lettered")
_ENDS = EVENTS[:3]
"""What a webhook is told of that names no events."""

RETRY_AFTER_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""After the first attempt, the second, and so on; one more than these are made."""

CLAIM_S = 120.0
"""A message that a process took, and did not come back with, is due again after this time."""

_PREFIX = "whsec_"
_LEAST_SECRET, _MOST_SECRET = 24, 64
"""Bytes of a secret."""

_MOST_PARAMETERS = 2000
"""Characters of a job's parameters in a message; its address has them all."""

_THREADS = 4
_PATIENCE_S = 2.0
"""The end of a service waits so long for a thread that asks for the addresses of a name."""

_AT_ONCE = 256
_MOST_WAIT_S = 60.0
"""After this time a thread looks again: another process may have left messages, and clocks may be set."""


def check_webhook(value: object, allow_private: bool = False) -> dict[str, Any]:
    """Return a webhook as the history keeps it, or refuse it.

    Parameters
    ----------
    value : mapping
        ``url``; ``secret``, ``whsec_`` and the Base64 of 24 to 64 bytes; and ``events``, a list of `EVENTS`, by default
        the three ends of a job.
    allow_private : bool
        Whether the address may be one of this machine or of a private network.

    Returns
    -------
    dict
        With these three entries.

    Raises
    ------
    InvalidInputError
        Its `field` is such as ``webhook.url``. No error quotes a secret.
    """
    if not isinstance(value, Mapping):
        raise InvalidInputError("webhook must be an object with url, secret and events", field="webhook")
    unknown = next((name for name in value if name not in ("url", "secret", "events")), None)
    if unknown is not None:
        raise InvalidInputError(
            f"webhook must have {one_of(('url', 'secret', 'events'), str(unknown))}",
            field="webhook",
            value=str(unknown),
        )
    url = value.get("url")
    check_url("webhook.url", url, allow_private=allow_private)
    secret = value.get("secret")
    if not isinstance(secret, str) or _key_of(secret) is None:
        raise InvalidInputError(
            f"webhook.secret must be {_PREFIX} and, without a space, the Base64 of {_LEAST_SECRET} to {_MOST_SECRET} "
            "random bytes",
            field="webhook.secret",
        )
    return {"url": url, "secret": secret, "events": _checked_events(value.get("events") or list(_ENDS))}


def _checked_events(given: object) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise refused("webhook.events", given, f"a list of {', '.join(EVENTS)}")
    for event in given:
        if event not in EVENTS:
            raise refused("webhook.events", event, one_of(EVENTS, check_text("webhook.events", event)))
    return list(dict.fromkeys(given))


def _key_of(secret: str) -> bytes | None:
    """Return the bytes of a secret, None if it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if secret.startswith(_PREFIX) and _LEAST_SECRET <= len(key) <= _MOST_SECRET else None


def deliveries_of(row: JobRow, webhooks: Sequence[Mapping[str, Any]], now: str) -> list[Delivery]:
    """Return the messages about the end of a job, each due at once.

    Parameters
    ----------
    row : JobRow
        That has ended. One that failed is a dead letter, too.
    webhooks : sequence of dict
        As `check_webhook` returns them.
    now : str
        As a store writes times.
    """
    events = [f"job.{row.state}", *(["job.dead_lettered"] if row.state == "failed" else [])]
    found = []
    for event in events:
        payload = ""
        for number, webhook in enumerate(webhooks):
            if event in webhook.get("events", ()):
                payload = payload or json.dumps({"type": event, "timestamp": now, "data": {"job": _described(row)}})
                url, secret = (str(webhook.get(name, "")) for name in ("url", "secret"))
                of = "\0".join((row.id, event, row.ended_at or "", str(number), url))
                message = f"msg_{hashlib.sha256(of.encode()).hexdigest()[:24]}"  # the same for the same end
                found.append(Delivery(message, row.id, event, url, secret, payload, now, 0, now))
    return found


def _described(row: JobRow) -> dict[str, Any]:
    """Return a job as a message shows it; its names are those of the API."""
    size = len(row.parameters)
    return {
        "id": row.id,
        "simulation": row.simulation,
        "short_name": row.simulation.rpartition(".")[2],
        "parameters": _read(row.parameters) if size <= _MOST_PARAMETERS else {"...": f"{size:,} characters"},
        "replicates": row.replicates,
        "seed": _read(row.seed),
        "tags": _read(row.tags),
        "tenant": row.tenant or None,
        "state": row.state,
        "submitted_at": row.submitted_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "replicates_completed": row.replicates_completed,
        "from_store": row.from_store,
        "retries": row.retries,
        "error": row.error or None,
        "store_error": row.store_error or None,
    }


def _read(text: str) -> Any:
    try:
        return read_json(text)
    except (ValueError, TypeError):  # damage
        return None


class Sender:
    """Sends the messages of a history. Any thread may call any method.

    Parameters
    ----------
    history : History
    allow_private : bool
        Whether they may go to addresses of this machine and of private networks.
    clock : Clock, optional
        Says what is due; the system's by default.
    poster : Poster, optional
        By default one that heeds `allow_private`.
    """

    def __init__(
        self,
        history: History,
        allow_private: bool = False,
        *,
        clock: Clock | None = None,
        poster: Poster | None = None,
    ) -> None:
        self._history = history
        self._clock = clock or Clock()
        self._poster = poster or Poster(allow_private=allow_private)
        # Guards all below; nothing that waits is called under it.
        self._lock = Lock()
        self._changed = Condition(self._lock.raw)
        self._wakes = 0
        self._closing = False
        self._failed_before = False
        self._busy: set[str] = set()  # hosts to which a message is being sent; of a slow one, one thread waits
        self._threads: list[Thread] = []

    def start(self) -> None:
        """Start the threads that send."""
        self._threads = [Thread(self._run, name=f"bgsim-webhooks-{number}") for number in range(_THREADS)]
        for thread in self._threads:
            start_thread(thread)

    def wake(self) -> None:
        """Have a thread look for what is due."""
        with self._lock:
            self._wakes += 1
            self._changed.notify()

    def close(self) -> None:
        """End the threads; what is being sent is tried again by the next service. Again does no harm."""
        with self._lock:
            self._closing = True
            self._changed.notify_all()
        self._poster.close()
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def step(self) -> float:
        """Send all that is due; return in how many seconds to look again.

        Raises
        ------
        StoreError
            If the store cannot be used.
        """
        while True:
            now = self._clock.time()
            taken = self._take(now)
            if not isinstance(taken, Delivery):
                return taken
            self.wake()  # another thread, for what else is due
            host = _host_of(taken.url)
            try:
                self._send(taken)
            finally:
                with self._lock:
                    self._busy.discard(host)
                self.wake()  # one that has passed this host over

    def _run(self) -> None:
        while True:
            with self._lock:
                seen = self._wakes
            wait_s = self._look()
            with self._lock:
                self._changed.wait_for(partial(self._is_asked, seen), wait_s)
                if self._closing:
                    return

    def _is_asked(self, seen: int) -> bool:
        return self._closing or self._wakes != seen

    def _look(self) -> float:
        try:
            wait_s = self.step()
        except StoreError as error:
            if not self._failed_before:
                logger.warning("webhooks wait for the store: %s", error)
            self._failed_before = True
            return RETRY_AFTER_S[0]
        self._failed_before = False
        return wait_s

    def _take(self, now: float) -> Delivery | float:
        """Take a message that is due, and its host; if there is none, return in how many seconds to look again."""
        text = time_text(now)
        for found in self._history.due_deliveries(text, _AT_ONCE):
            host = _host_of(found.url)
            with self._lock:
                if self._closing:
                    break
                if host in self._busy:
                    continue
                self._busy.add(host)
            taken = replace(found, due_at=time_text(now + CLAIM_S))
            try:
                if self._history.claim_delivery(found.id, found.due_at, taken.due_at):
                    return taken
            except BaseException:
                self._release(host)
                raise
            self._release(host)
        following = self._history.next_delivery_at(text)
        return _MOST_WAIT_S if following is None else _seconds_until(following, now)

    def _release(self, host: str) -> None:
        with self._lock:
            self._busy.discard(host)

    def _send(self, taken: Delivery) -> None:
        """Make an attempt, and note what came of it."""
        status, error = 0, ""
        try:
            status = self._attempt(taken)
        except PostError as refusal:
            error = str(refusal)
            if self._closing:  # that is the cause
                self._history.claim_delivery(taken.id, taken.due_at, time_text(self._clock.time()))
                return
        attempts = min(max(0, taken.attempts), len(RETRY_AFTER_S)) + 1  # of a damaged row, any number
        done = replace(taken, attempts=attempts, status=status, error=error)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            done = replace(done, state="delivered")
        else:
            done = replace(done, error=error or _meaning_of(status))
            if status == HTTPStatus.GONE or attempts > len(RETRY_AFTER_S):
                logger.warning("message %s about %s is given up: %s", done.id, done.job, done.error)
                done = replace(done, state="failed")
            else:
                done = replace(done, due_at=time_text(self._clock.time() + RETRY_AFTER_S[attempts - 1]))
        self._history.put_delivery(done)

    def _attempt(self, delivery: Delivery) -> int:
        body, at = delivery.payload.encode(), str(int(self._clock.time()))
        key = _key_of(delivery.secret)
        if key is None:
            raise PostError("its secret cannot be read")
        signature = hmac.digest(key, f"{delivery.id}.{at}.".encode() + body, hashlib.sha256)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "bgsim",
            "webhook-id": delivery.id,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }
        return self._poster.post(delivery.url, body, headers)


def _host_of(url: str) -> str:
    try:
        return check_url("url", url, allow_private=True).host
    except InvalidInputError:  # damage; it fails alone
        return url


def _seconds_until(text: str, now: float) -> float:
    try:
        return min(_MOST_WAIT_S, max(0.0, seconds_of(text) - now))
    except ValueError:  # damage
        return _MOST_WAIT_S


def _meaning_of(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"status {status}: redirects are not followed"
    return f"status {status}"
