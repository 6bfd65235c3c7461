"""The service behind the routes: an engine, its history, who may do what, and what clients are told."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from bgsim.errors import RequestNotFoundError
from bgsim.job_status import JobState
from bgsim.request import read_request
from bgsim.service.access import Access, Caller
from bgsim.service.closing import Closing
from bgsim.service.events import EventLog
from bgsim.service.metrics import Metrics
from bgsim.service.names import Simulations
from bgsim.service.problems import ProblemError
from bgsim.service.recorder import Live, Recorder
from bgsim.service.replays import Replays
from bgsim.service.rows import row_of_request
from bgsim.service.searching import read_query, search
from bgsim.service.views import JobView, read_object, view_of
from bgsim.service.webhooks import Sender, check_webhook, deliveries_of
from bgsim.storage.history import AuditRow
from bgsim.storage.times import time_text
from bgsim.threads.locks import Latch, Lock, Thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgsim.engine import Engine
    from bgsim.request import Request
    from bgsim.service.settings import ServiceSettings
    from bgsim.storage.history import Delivery, JobRow
    from bgsim.storage.journal import DeadLetter

ENGINE_S = 0.25
"""How often the streams are told what the whole engine does, if that has changed."""

UPKEEP_S = 60.0
"""How often what is old is forgotten."""


class Service:
    """An engine behind HTTP, without the HTTP. Any thread may call any method.

    Attributes
    ----------
    engine : Engine
    settings : ServiceSettings
    history : History
    access : Access
    simulations : Simulations
    recorder : Recorder
    events : EventLog
    closing : Closing
    metrics : Metrics
    sender : Sender
        Of webhooks.
    draining : bool
        Whether it takes no more jobs.
    """

    def __init__(self, engine: Engine, settings: ServiceSettings) -> None:
        self.engine = engine
        self.settings = settings
        self.history = engine.store.history
        self.access = Access(self.history, engine.clock.time)
        self.simulations = Simulations(settings)
        self.events = EventLog()
        self.closing = Closing()
        self._webhooks = [self.checked_webhook(webhook) for webhook in settings.webhooks]
        self.metrics = Metrics(engine, lambda: self.events.streams)
        self.sender = Sender(self.history, settings.allow_private_webhooks, clock=engine.clock)
        self.recorder = Recorder(engine, self.history, self.simulations, self._deliveries, self._tell)
        self.replays = Replays()
        self.draining = False
        self.is_ready = False
        # Guards the next two; nothing is called under it.
        self._lock = Lock()
        self._in_hand: set[tuple[str, str]] = set()  # idempotency keys of requests that are being answered
        self._requests: dict[str, deque[float]] = {}  # by token, the times of its requests of the last minute
        self._is_closing = Latch()
        self._ticker: Thread | None = None

    def begin(self) -> None:
        """Take over what the engine has, and start the threads."""
        self.recorder.begin()
        self.sender.start()
        self._ticker = Thread(self._tick, name="bgsim-service")
        self._ticker.start()
        self.is_ready = True

    def close(self) -> None:
        """End every stream and stop the threads; the engine goes on. Again does no harm."""
        self.is_ready = False
        self._is_closing.set()
        self.events.close()
        self.closing.close()
        if self._ticker is not None:
            self._ticker.join()
        self.sender.close()
        self.replays.close()
        self.recorder.close()

    # ---- jobs ----------------------------------------------------------------------------------------

    def take(self, row: JobRow, request: Request) -> Live | JobRow:
        """Have the engine run a request, and return the job when no crash loses it.

        If its idempotency key stands for another job, return the row of that.
        """
        return self.recorder.submit(row, lambda: self.engine.submit_request(request, job_id=row.id))

    def new_row(self, caller: Caller, request: Request, **more: str) -> JobRow:
        """Return the row of a job that a caller asks for, with a new id; `more` are attributes of `JobRow`."""
        job_id = self.engine.new_job_id(request.simulation)
        return row_of_request(request, job_id, self.engine.clock.time(), token=caller.token, **more)

    def start(self, caller: Caller, request: Request, *, webhook: str = "") -> Live:
        """Submit a job without a key for a caller; return when no crash loses it.

        Raises
        ------
        ProblemError
            If the caller may not, or the service takes no more jobs.
        """
        self.check_limits(caller, request)
        with self.submitting(caller, ""):
            live = self.take(self.new_row(caller, request, webhook=webhook), request)
        assert isinstance(live, Live)  # it has no key
        return live

    def run_again(self, caller: Caller, kept: JobRow | DeadLetter, changes: Mapping[str, Any], *, webhook: str) -> Live:
        """Run a job that has ended again, with changes; a dead letter of its id goes."""
        simulation = self.simulations.find(kept.simulation)
        request = read_request(simulation, kept.parameters, kept.seed, kept.replicates, kept.options, dict(changes))
        live = self.start(caller, request, webhook=webhook)
        with contextlib.suppress(RequestNotFoundError):  # after that, or a crash between them would lose it
            self.engine.discard(kept.id)
        return live

    def cancel(self, live: Live) -> None:
        """Cancel a job, so that it stays cancelled whatever happens.

        Raises
        ------
        ProblemError
            409 if it is too late.
        """
        self.recorder.changed(live.row.id, cancel_asked=True)
        if not live.job.cancel() and not live.job.cancelled():
            raise ProblemError(409, f"{live.row.id} is {live.job.state.value}, so it cannot be cancelled")
        self.history.ask_cancel([live.row.id])  # last: a store that is locked or full keeps no job running

    def change(self, job_id: str, **columns: Any) -> None:
        """Change columns of a row, in the store and of the job that runs."""
        self.history.change_job(job_id, **columns)
        self.recorder.changed(job_id, **columns)

    def search(self, caller: Caller, **filters: Any) -> list[JobRow]:
        """Return the rows of jobs that filters mean and the caller sees; see `bgsim.service.searching.read_query`."""
        query, wanted = read_query(caller.tenant or None, **filters)
        return search(self.history, self.recorder, query, wanted)

    # ---- limits --------------------------------------------------------------------------------------

    def check_limits(self, caller: Caller, request: Request) -> None:
        """Refuse a job that is too large for the caller's role.

        Raises
        ------
        ProblemError
            422.
        """
        limits = self.settings.limits_of(caller.role)
        for value, limit, what in (
            (request.replicates, limits.max_replicates, "replicates"),
            (request.size_bytes, limits.max_result_bytes, "bytes of result"),
        ):
            if value > limit:
                less = "ask for less" if request.precision is None else "give the precision a smaller maximum"
                raise ProblemError(
                    422, f"{value:,} {what} are more than the {limit:,} of the role {caller.role}; {less}"
                )

    @contextlib.contextmanager
    def submitting(self, caller: Caller, key: str) -> Iterator[None]:
        """Let a job be submitted in a block, unless the caller has too many, or the same request is in hand.

        Raises
        ------
        ProblemError
            409, 429, 503.
        """
        if self.draining or self._is_closing.wait(0) or self.engine.closed:
            raise ProblemError(503, "the service is closing and takes no more jobs", headers={"Retry-After": "5"})
        limits = self.settings.limits_of(caller.role)
        open_jobs = sum(live.row.token == caller.token for live in self.recorder.all_live())
        if open_jobs >= limits.max_open_jobs:
            raise ProblemError(
                429,
                f"this token has {open_jobs} jobs that have not ended, and may have {limits.max_open_jobs}; wait, or "
                "cancel some",
                headers={"Retry-After": str(self.retry_after_s())},
            )
        place = caller.token, key
        with self._lock:
            if key and place in self._in_hand:
                raise ProblemError(
                    409,
                    "a request with this Idempotency-Key is being answered; send it again",
                    headers={"Retry-After": "1"},
                )
            self._in_hand.add(place)
        try:
            yield
        finally:
            with self._lock:
                self._in_hand.discard(place)

    def count_request(self, caller: Caller) -> None:
        """Count a request of a token.

        Raises
        ------
        ProblemError
            429, with the seconds until there is room again.
        """
        most, now = self.settings.limits_of(caller.role).requests_per_minute, time.monotonic()
        with self._lock:
            times = self._requests.setdefault(caller.token, deque())
            while times and times[0] <= now - 60.0:
                times.popleft()
            if len(times) < most:
                times.append(now)
                return
            wait_s = times[0] + 60.0 - now
        raise ProblemError(
            429,
            f"this token has sent {most} requests in a minute, as many as its role may",
            headers={"Retry-After": str(max(1, round(wait_s + 0.5)))},
        )

    def retry_after_s(self) -> int:
        """Return in how many seconds the queue may have room, from how long the newest jobs ran."""
        run_s = self.engine.stats().run_time_s.p50
        return 1 if math.isnan(run_s) else min(60, max(1, round(run_s / self.engine.config.max_concurrent_simulations)))

    def note(self, caller: Caller, action: str, target: str, status: int, detail: str) -> None:
        """Write into the audit what a caller has asked for, and what came of it."""
        at = time_text(self.engine.clock.time())
        self.history.add_audit(AuditRow(at, caller.token, caller.tenant, caller.role, action, target, status, detail))

    # ---- webhooks ------------------------------------------------------------------------------------

    def checked_webhook(self, webhook: Mapping[str, Any]) -> dict[str, Any]:
        """Return a webhook as the history keeps it, or refuse it."""
        given = dict(webhook)
        if not given.get("secret"):
            given["secret"] = self.settings.webhook_secret
        found: dict[str, Any] = check_webhook(given, allow_private=self.settings.allow_private_webhooks)
        return found

    def _deliveries(self, row: JobRow) -> Sequence[Delivery]:
        own = read_object(row.webhook)
        webhooks = [*self._webhooks, own] if own else self._webhooks
        return deliveries_of(row, webhooks, time_text(self.engine.clock.time())) if webhooks else ()

    # ---- what clients are told -------------------------------------------------------------------------

    def view(self, job_id: str, prefix: str) -> JobView:
        """Return a job as it is now.

        Raises
        ------
        ProblemError
            404 if there is none.
        """
        found = self.recorder.find(job_id)
        if found is None:
            raise ProblemError(404, f"there is no job {job_id!r}")
        return view_of(*found, prefix)

    def told_of_change(self, job_id: str, prefix: str) -> JobView:
        """Return a job after a change, and tell the streams of it."""
        view = self.view(job_id, prefix)
        self.events.add("job.changed", job_id, view.tenant or "", {"job": _short(view)})
        return view

    def _tell(self, name: str, live: Live) -> None:
        """Tell the streams what happened to a job; in the thread of the callbacks."""
        row = live.row
        self.metrics.job(name, live)
        if name == "job.progress":
            if self.events.streams:
                self.events.show(name, row.id, row.tenant, {"job": _short(view_of(row, live.job, "", whole=False))})
            return
        shown = {"job": _short(view_of(row, live.job, "", whole=False))}
        self.events.add(name, row.id, row.tenant, shown)
        if name == "job.failed":
            self.events.add("job.dead_lettered", row.id, row.tenant, shown)
        if row.state and (row.webhook or self._webhooks):
            self.sender.wake()

    def _tick(self) -> None:
        """Tell the streams what the engine does, and forget what is old, until the service is closed."""
        told: Any = None
        upkeep_at = time.monotonic()
        while not self._is_closing.wait(ENGINE_S):
            if time.monotonic() >= upkeep_at:
                upkeep_at = time.monotonic() + UPKEEP_S
                self._forget()
            if self.events.streams and not self.engine.closed:
                now = self.engine_state()
                if now != told:
                    told = now
                    self.events.show("engine", "", None, now)

    def engine_state(self) -> dict[str, Any]:
        """Return what the engine does, in short."""
        states: Counter[str] = Counter()
        rate = 0.0
        for live in self.recorder.all_live():
            state = live.job.state
            states[state.value] += 1
            if state is JobState.RUNNING:
                rate += live.job.status().rate or 0.0
        workers = [msgspec.to_builtins(worker) for worker in self.engine.at_work()]
        return {
            "states": dict(states),
            "workers": workers,
            "replicates_per_second": rate,
            "paused": self.engine.paused,
            "draining": self.draining,
        }

    def _forget(self) -> None:
        now = self.engine.clock.time()
        with contextlib.suppress(Exception):  # of the store: the next minute comes
            before = time_text(max(0.0, now - self.settings.history_s))
            self.history.forget_jobs(before, self.settings.history_jobs)
            self.history.forget_deliveries(before)
            self.history.forget_audit(before)


def _short(view: JobView) -> JobView:
    view.parameters = None
    return view
