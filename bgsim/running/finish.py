"""The end of a run: its finished replicates go to the store, and its jobs to their terminal states."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bgsim.errors import SimulationChangedError
from bgsim.job import JobState

if TYPE_CHECKING:
    from bgsim.running.run import Run
    from bgsim.running.scheduler import Scheduler

logger = logging.getLogger("bgsim.engine")


class Settlement:
    """Stores and settles the runs of a scheduler. A store that fails costs no result.

    Attributes
    ----------
    store_error : str or None
        Why the store refused its latest use; guarded by the engine's lock.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._store = scheduler.store
        self.store_error: str | None = None

    def is_to_keep(self, run: Run) -> bool:
        """Tell whether the store is to hear of a run that has ended; if not, it is to be settled at once."""
        if isinstance(run.error, SimulationChangedError):
            return False  # what is done may be of other code than the key says
        return run.cache != "off" and self._scheduler.config.auto_store_completed and run.prefix > 0

    def keep(self, run: Run) -> None:
        """Hand the finished replicates to the store; settle the run when they are durable. Without the lock."""
        replicates = run.prefix
        complete = not run.stopping
        workspaces = list(dict.fromkeys(job.workspace for job in run.jobs.values() if complete and job.workspace))
        if replicates == run.from_store:
            self._place(run, replicates, workspaces)
            with self._scheduler.lock:
                self.settle(run)
        else:
            for column in run.columns:
                column.flags.writeable = False
            keeper = threading.get_ident()
            try:
                self._store.store(
                    run.key,
                    run.result_columns(replicates),
                    workspace=workspaces[0] if workspaces else None,
                    held=run.from_store,
                    on_stored=lambda error: self._stored(run, error, keeper),
                    finishes=self._finished(run),
                )
            except Exception as error:  # a store that breaks its contract must not lose a result
                self._stored(run, error, keeper)
                return
            self._place(run, replicates, workspaces[1:])

    def _finished(self, run: Run) -> list[str]:
        """Return the jobs that leave the journal in the commit that stores the run.

        Not those that fail, which leave it when their dead letter is written, nor those that a closed engine leaves to
        the next one.
        """
        if not self._scheduler.ledger.journals or run.error is not None:
            return []
        return [job.id for job in run.jobs.values() if job.record.pending_error is None]

    def try_store(self, run: Run, action: Callable[[], Any]) -> Any:
        """Use the store; if it fails, take note and go on without. Without the lock."""
        try:
            return action()
        except Exception as error:
            run.store_error = self.store_error = str(error)
            logger.warning("the store cannot serve %s, which goes on without it: %s", run.simulation.name, error)
            return None

    def flush(self) -> None:
        """Wait for what was handed to the store; if it fails, the jobs that wait for it stay as they are."""
        try:
            self._store.flush()
        except Exception as error:
            self.store_error = str(error)
            logger.warning("the store cannot be waited for: %s", error)

    def _place(self, run: Run, replicates: int, workspaces: list[str]) -> None:
        for workspace in workspaces:
            self.try_store(run, lambda w=workspace: self._store.place(run.key, replicates, w))  # type: ignore[misc]

    def _stored(self, run: Run, error: Exception | None, keeper: int) -> None:
        """Take the store's word that a result is durable, or why it is not; in its thread or a worker's."""
        run.store_error = None if error is None else str(error)
        if error is not None:
            logger.warning("a result of %s is delivered but not stored: %s", run.simulation.name, error)
        with self._scheduler.lock:
            if run in self._scheduler.runs.letting_go:  # or a store that breaks its contract has said so twice
                self.store_error = run.store_error
                self.settle(run, stored=True, elsewhere=threading.get_ident() != keeper)

    def settle(self, run: Run, *, stored: bool = False, elsewhere: bool = False) -> None:
        """End a run's jobs; under the lock.

        Parameters
        ----------
        stored : bool
            Whether the store was asked to keep it.
        elsewhere : bool
            Whether done-callbacks must not run in this thread: the store's has results to store.
        """
        ledger = self._scheduler.ledger
        letter = True
        left_journal = stored and run.store_error is None  # in the commit that stored the result
        for job in list(run.jobs.values()):
            job.record.from_store = min(run.from_store, job.replicates)
            job.record.store_error = run.store_error
            error = run.error or job.record.pending_error
            if error is not None:
                ledger.end(job, JobState.FAILED, error=error, letter=letter, elsewhere=elsewhere)
                letter = False
            elif run.stopping:
                ledger.end(job, JobState.CANCELLED, left_journal=left_journal, elsewhere=elsewhere)
            else:
                if job.record.started_at is None:  # it joined while the run was suspended, or was paused
                    ledger.start(job)
                columns = run.result_columns(job.replicates)
                ledger.end(job, JobState.COMPLETED, columns=columns, left_journal=left_journal, elsewhere=elsewhere)
        self._scheduler.runs.settled(run)
