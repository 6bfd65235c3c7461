"""The history of jobs: each job that the engine gets has a row in the store, and the row says how it ended.

The row of a job that is asked for over HTTP is written before it is answered, so no crash loses it. At the next start a
row without an end whose job the journal no longer has is submitted again. That is right whatever happened, for a result
is a pure function, and what was finished of it is in the store.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bgsim.errors import BgsimError, RequestNotFoundError, StoreError
from bgsim.request import read_request
from bgsim.service.rows import ended_row, row_of
from bgsim.service.tallies import Tallies
from bgsim.storage import ResultStore
from bgsim.storage.times import time_text
from bgsim.threads.locks import Condition, Lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgsim.bus.subscription import Subscription
    from bgsim.engine import Engine
    from bgsim.job import Job
    from bgsim.progress import ProgressUpdate
    from bgsim.running.submissions import Submissions
    from bgsim.service.names import Simulations
    from bgsim.storage.history import Delivery, History, JobRow

logger = logging.getLogger("bgsim.service")

_MOST_UNSTORED, _MOST_UNSTORED_BYTES = 100, 256 * 2**20
"""Results that no store has are kept in memory: so many of the newest, and so many bytes."""

_MOST_UNWRITTEN = 10_000
"""Ends that the store refuses are kept in memory."""


@dataclass(slots=True)
class Live:
    """A job that has not ended, or whose end is not in the store yet.

    Attributes
    ----------
    job : Job
    row : JobRow
    is_written : bool
        Whether the store has its row, or cannot have it; else its end waits.
    has_ended : bool
        Whether the engine has told of its end.
    """

    job: Job
    row: JobRow
    is_written: bool = True
    has_ended: bool = False


class Recorder:
    """Keeps the history of an engine's jobs, and finds their handles. Any thread may call any method.

    Parameters
    ----------
    engine : Engine
    history : History
    simulations : Simulations
    deliveries : callable
        ``deliveries(row)`` returns what webhooks are to be told of a job that has ended.
    tell : callable
        ``tell(name, live)`` is told what happened to a job.
    """

    def __init__(
        self,
        engine: Engine,
        history: History,
        simulations: Simulations,
        deliveries: Callable[[JobRow], Sequence[Delivery]],
        tell: Callable[[str, Live], None],
    ) -> None:
        self._engine = engine
        self._history = history
        self._simulations = simulations
        self._deliveries = deliveries
        self._tell = tell
        # Guards the next four; nothing is called under it.
        self._lock = Lock()
        self._written = Condition(self._lock.raw)
        self._live: dict[str, Live] = {}
        self._expected: dict[str, JobRow] = {}  # rows of jobs that are about to be submitted
        self._dropped: set[str] = set()  # jobs that were taken back, until the engine has told of their end
        self._unstored: OrderedDict[str, Job] = OrderedDict()
        self.tallies = Tallies(history)
        self._submissions: Submissions | None = None
        self._updates: Subscription | None = None

    def begin(self) -> None:
        """Take over what the engine has, and see to what earlier services have left."""
        self._submissions = self._engine.on_submit(self._submitted)
        self._updates = self._engine.subscribe(self._updated)
        for job in self._engine.jobs():
            live = self._submitted(job)
            if job.moved_to.is_terminal and not live.has_ended:
                self._end(live)  # while this thread looked
            elif live.row.cancel_asked:  # by somebody whom the earlier service has answered
                job.cancel()
        self._settle_open_rows()

    def close(self) -> None:
        """Look no longer at the engine."""
        for handle in (self._submissions, self._updates):
            if handle is not None:
                handle.unsubscribe()

    def drain(self, timeout_s: float) -> bool:
        """Wait until the end of every job is written; return whether that came in time."""
        with self._lock:
            return self._written.wait_for(lambda: not self._live, timeout_s)

    # ---- finding -------------------------------------------------------------------------------------

    def live(self, job_id: str) -> Live | None:
        """Return a job that has not ended, or whose end is not in the store yet."""
        with self._lock:
            return self._live.get(job_id)

    def all_live(self) -> list[Live]:
        """Return all of them, the newest last."""
        with self._lock:
            return list(self._live.values())

    def find(self, job_id: str) -> tuple[JobRow, Job | None] | None:
        """Return the row of a job as it is now, with the job while it has not ended.

        Both are of one moment. A row without an end and without a job is of another process, or waits for one.
        """
        live = self.live(job_id)
        if live is None:
            row = self._history.job(job_id)
            return None if row is None else (row, None)
        if live.row.state:
            return live.row, None
        if live.job.moved_to.is_terminal:
            return ended_row(live.row, live.job), None  # the store is about to be told
        return live.row, live.job

    def as_it_is(self, row: JobRow) -> tuple[JobRow, Job | None]:
        """Return what a row that was read before has become, as `find` does."""
        return (row, None) if row.state else self.find(row.id) or (row, None)

    def row(self, job_id: str) -> JobRow | None:
        """Return the row of a job as it is now, also if the store is about to be told of its end."""
        found = self.find(job_id)
        return None if found is None else found[0]

    def in_memory(self, job_id: str) -> Job | None:
        """Return a job whose replicates memory has: it has not ended, or the store may not have exactly them."""
        with self._lock:
            live = self._live.get(job_id)
            return self._unstored.get(job_id) if live is None else live.job

    def changed(self, job_id: str, **columns: Any) -> None:
        """Take note of columns of a row that were changed."""
        with self._lock:
            live = self._live.get(job_id)
            if live is not None:
                live.row = replace(live.row, **columns)

    # ---- submitting ----------------------------------------------------------------------------------

    def submit(self, row: JobRow, submit: Callable[[], Job]) -> Live | JobRow:
        """Have a job submitted and written down; return it, or the row of the job that its key stands for.

        The engine gets the job first, and both are one transaction: the row, and what the journal has of the job. The
        end of a job that is not written down yet waits for that. A store that cannot be written stops no job without a
        key; a key would promise too much then.

        Raises
        ------
        StoreError
            If the row has a key, and cannot be written.
        """
        live = self._handed_over(row, submit)
        try:
            known = self._history.add_job(row)
        except StoreError as error:
            if row.idempotency_key:
                self._take_back(live)
                raise
            logger.warning("%s runs without being written down: %s", row.id, error)
            known = None
        if known is not None and known.id != row.id:  # another process was asked the same
            self._take_back(live)
            return known
        self._settled(live)
        return live

    def submit_soon(self, row: JobRow, submit: Callable[[], Job]) -> Live:
        """Have a job without a key submitted, and written down soon; the caller flushes the store when all are."""
        live = self._handed_over(row, submit)
        self._history.note_job(row)
        self._settled(live)
        return live

    def _handed_over(self, row: JobRow, submit: Callable[[], Job]) -> Live:
        with self._lock:
            self._expected[row.id] = row
        try:
            return self._submitted(submit())
        except BaseException:
            with self._lock:
                self._expected.pop(row.id, None)
            raise

    def _settled(self, live: Live) -> None:
        """Let a job end that is written down, or cannot be."""
        with self._lock:
            live.is_written, has_ended = True, live.has_ended
        if has_ended:
            self._end(live)

    def _take_back(self, live: Live) -> None:
        with self._lock:
            self._live.pop(live.row.id, None)
            self._dropped.add(live.row.id)
        live.job.cancel()
        self._tell("job.cancelled", live)

    def _submitted(self, job: Job) -> Live:
        """Note a job that the engine has taken, and return it; again does no harm.

        The thread of the callbacks and the one that has submitted it may both come here.
        """
        with self._lock:
            found = self._live.get(job.id)
            if found is not None:
                return found
            expected = self._expected.pop(job.id, None)
            if job.id in self._dropped:
                return Live(job, row_of(job))
            if expected is not None:
                self._live[job.id] = live = Live(job, expected, is_written=False)
        if expected is None:
            row = self._history.job(job.id)
            live = Live(job, row or row_of(job))
            if row is None:
                self._history.note_job(live.row)
            with self._lock:
                self._live[job.id] = live
        self._tell("job.submitted", live)
        return live

    def _updated(self, update: ProgressUpdate) -> None:
        if self._submissions is not None:
            self._submissions.tell()  # first: the callbacks take turns, and this one's may come before the job's own
        live = self.live(update.simulation_id)
        if live is None:
            if update.update_type.is_terminal:
                self._dropped.discard(update.simulation_id)
            return
        if not update.update_type.is_terminal:
            name = "job.started" if update.update_type.name == "STARTED" else "job.progress"
            self._tell(name, live)
            return
        with self._lock:
            live.has_ended = True
            if not live.is_written:
                return
        self._end(live)

    def _end(self, live: Live) -> None:
        job = live.job
        with self._lock:  # or a change of its row would be lost
            row = ended_row(live.row, job)
            if (
                row.state == "cancelled"
                and not row.cancel_asked
                and self._engine.closed
                and not self._engine.is_durable
            ):
                return  # a closing engine has left it in the journal, for the next one
            live.row = row
        is_exact = self._is_stored(row) and job.request.keep == "columns"  # a stored summary may end elsewhere
        if row.replicates_completed and not is_exact:
            self._keep_unstored(job)

        def written(error: Exception | None) -> None:
            with self._lock:
                if error is None or len(self._live) > _MOST_UNWRITTEN:
                    self._live.pop(job.id, None)
                self._written.notify_all()

        self._history.end_job(row, self._deliveries(row), written)
        self.tallies.changed()
        self._tell(f"job.{row.state}", live)

    def _is_stored(self, row: JobRow) -> bool:
        return bool(row.result_hash) and not row.store_error and self._engine.config.auto_store_completed

    def _keep_unstored(self, job: Job) -> None:
        with self._lock:
            self._unstored[job.id] = job
            while self._unstored and (
                len(self._unstored) > _MOST_UNSTORED
                or sum(kept.request.size_bytes for kept in self._unstored.values()) > _MOST_UNSTORED_BYTES
            ):
                self._unstored.popitem(last=False)

    # ---- what earlier services have left ---------------------------------------------------------------

    def _settle_open_rows(self) -> None:
        pending = self._pending_ids()
        letters = {letter.id: letter for letter in self._engine.dead_letters()}
        for row in self._history.open_jobs():
            if self.live(row.id) is not None or row.id in pending:
                continue
            try:
                self._settle(row, letters.get(row.id))
            except BgsimError as error:
                logger.warning("%s cannot go on: %s", row.id, error)

    def _settle(self, row: JobRow, letter: Any) -> None:
        now = time_text(self._engine.clock.time())
        status = None
        with suppress(RequestNotFoundError):
            status = self._engine.status(row.id)
        if letter is not None:
            ended = replace(row, state="failed", ended_at=letter.failed_at, error=letter.error)
        elif status is not None and status.state.is_terminal:
            done = status.replicates_completed
            ended = replace(row, state=status.state.value, ended_at=now, replicates_completed=done)
        elif row.cancel_asked:
            ended = replace(row, state="cancelled", ended_at=now)
        else:
            self._submit_again(row)
            return
        self._history.end_job(ended, self._deliveries(ended))

    def _submit_again(self, row: JobRow) -> None:
        simulation = self._simulations.known(row.simulation)
        if simulation is None:
            logger.warning("%s waits: its simulation %s is not served here", row.id, row.simulation)
            return
        request = read_request(simulation, row.parameters, row.seed, row.replicates, row.options)
        self.submit(row, lambda: self._engine.submit_request(request, job_id=row.id))

    def _pending_ids(self) -> set[str]:
        """Return the ids of the requests that the journal of the file has, whichever process runs them."""
        store = self._engine.store
        if not isinstance(store, ResultStore):
            return set()
        store.flush()
        with store.database() as database:
            return {row[0] for row in database.execute("SELECT id FROM requests")}
