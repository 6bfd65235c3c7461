"""The end of a run: whether the store is to have it, and the terminal states of its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.errors import SimulationChangedError
from bgsim.job import JobState

if TYPE_CHECKING:
    from bgsim.running.job_table import JobTable
    from bgsim.running.run import Run
    from bgsim.running.state import State

STORED_FOR_S = 10.0
"""How long a miss of the store holds, unless this engine has stored the result since. Another process may have
stored it meanwhile: then a worker computes the same numbers in vain."""


class Finish:
    """Ends runs; called under the engine's lock."""

    def __init__(self, state: State, jobs: JobTable) -> None:
        self._state = state
        self._jobs = jobs

    def is_to_store(self, run: Run) -> bool:
        """Tell whether the store is to have what is done of a run, or is to place it in a slot."""
        if run.request.cache == "off" or not self._state.config.auto_store_completed or not run.prefix:
            return False
        return not isinstance(run.error, SimulationChangedError)  # what is done may be of other code than the key says

    def settle(self, run: Run, now: float, *, left_journal: bool = False) -> None:
        """End a run's jobs, and let the runs begin that follow it.

        Parameters
        ----------
        left_journal : bool
            Whether its jobs left the journal in the commit that stored it.
        """
        letter, stopped = True, run.is_stopped
        for job in list(run.jobs):
            job.from_store = min(run.from_store, job.replicates)
            job.store_error = run.store_error
            error = run.error or job.pending_error
            if error is not None:  # its dead letter takes it out of the journal
                self._jobs.end(job, JobState.FAILED, now, error=error, letter=letter)
                letter = False
                continue
            columns = None
            if not stopped:
                if job.started_at is None:  # it joined while the run was suspended, or was paused
                    self._jobs.start(job, now)
                columns = run.result_columns(job.replicates)
            state = JobState.CANCELLED if stopped else JobState.COMPLETED
            self._jobs.end(job, state, now, columns=columns, in_journal=not left_journal)
        self._let_go(run, now)

    def _let_go(self, run: Run, now: float) -> None:
        state, identity = self._state, run.request.key.identity
        if run in state.storing:
            state.storing.remove(run)
        if run.chunk_rate and run.request.revision.compiles:
            self._note_pace(run)
        run.members.clear()
        run.last = None
        run.clear()  # a heap may keep the run for a while
        if state.by_key.get(identity) is run:
            del state.by_key[identity]
        if run.request.cache != "off":
            self._note_stored(identity, now)
        for follower in run.followers:
            follower.follows = None
            state.sleepers.wake_one_for(follower)

    def _note_pace(self, run: Run) -> None:
        pace = self._state.pace
        pace[run.pace_key] = run.chunk_rate
        pace.move_to_end(run.pace_key)
        if len(pace) > _PACES:
            pace.popitem(last=False)

    def _note_stored(self, identity: str, now: float) -> None:
        stored_at = self._state.stored_at
        stored_at[identity] = now
        stored_at.move_to_end(identity)
        while now - stored_at[oldest := next(iter(stored_at))] > STORED_FOR_S:
            del stored_at[oldest]

    def is_still_missed(self, run: Run, now: float) -> bool:
        """Tell whether the store, which had nothing for a run, need not be asked again."""
        if now - run.missed_at > STORED_FOR_S:
            return False
        return self._state.stored_at.get(run.request.key.identity, -1.0) < run.missed_at


_PACES = 1024
"""How many rates are remembered."""
