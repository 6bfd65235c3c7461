"""Runs and the store: what is loaded before a run computes, and what is stored when it ends. All without the lock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bgsim.environment import versions_of
from bgsim.running.looks import usable
from bgsim.running.stages import Stage
from bgsim.running.stored import load_stored

if TYPE_CHECKING:
    from bgsim.kernels.plain import ChunkRunner
    from bgsim.running.events import Events
    from bgsim.running.finish import Finish
    from bgsim.running.kept import Room
    from bgsim.running.run import Run
    from bgsim.running.state import State

logger = logging.getLogger("bgsim.engine")


@dataclass(slots=True)
class Prepared:
    """What a run needs before its chunks can be taken.

    Attributes
    ----------
    room : Room
    runner : callable or None
        None if nothing has to be computed.
    """

    room: Room
    runner: ChunkRunner | None


class Storing:
    """Uses the store for runs. A store that fails costs no result."""

    def __init__(self, state: State, events: Events, finish: Finish) -> None:
        self._state = state
        self._store = state.store
        self._finish = finish
        self._events = events

    def prepare(self, run: Run) -> Prepared:
        """Load what is stored of a run, make room for what is wanted, and compile it; by one worker."""
        request, target, stored = run.request, run.replicates, None
        if any(job.recovered for job in list(run.jobs)):
            # That it runs has to be known before it does: a crash that comes at once would blame no job, for ever.
            self._try(run, self._events.journal.flush)
        if not run.length:
            if request.cache == "use" and not self._finish.is_still_missed(run, self._state.clock.monotonic()):
                stored, _ = self._try(run, lambda: load_stored(self._store, request, target)) or (None, "")
                stored = usable(request.precision, stored)
            elif request.cache == "refresh":
                self._try(run, lambda: self._store.delete(request.key.hash))
        held = len(next(iter(stored.values()))) if stored else 0
        room = run.kept.room(target, stored, versions_of(stored, held) if stored else ())
        runner = run.computation.runner
        if runner is None and max(held, run.length) < target:
            runner = request.simulation.prepare(request.parameters, request.revision)
        return Prepared(room, runner)

    def store(self, run: Run) -> bool | None:
        """Hand the finished replicates to the store; a store in memory has them when this returns.

        Returns
        -------
        bool or None
            None means that the store's thread settles the run later. Else the caller does: True says that the journal
            has let go of its jobs.
        """
        replicates, request = run.prefix, run.request
        workspaces: list[str] = []
        if run.stage is Stage.COMPLETE:
            wanted = [job.request.workspace for job in run.members.values()]
            workspaces = [workspace for workspace in dict.fromkeys(wanted) if workspace is not None]
        shown = replicates if run.looks is None else run.replicates
        if replicates == run.from_store:
            self._place(run, shown, workspaces)
            return False
        first = workspaces.pop(0) if workspaces and shown == replicates else None
        run.kept.close()
        caller: int | None = threading.get_ident()  # until the store has returned
        told = False  # by then

        def on_stored(error: Exception | None) -> None:
            nonlocal told
            if threading.get_ident() != caller:
                self._settle(run, error)
            elif not told:
                told = True
                self._note(run, error)
                self._tell(run, error)

        try:
            self._store.store(
                request.key,
                run.result_columns(replicates),
                workspace=first,
                held=run.held,
                on_stored=on_stored,
                finishes=self._finished(run),
            )
        except Exception as error:  # a store that breaks its contract must not lose a result
            on_stored(error)
        else:
            if workspaces:
                self._place(run, shown, workspaces)
        caller = None
        return run.store_error is None if told else None

    def _note(self, run: Run, error: Exception | None) -> None:
        """Note that a result is durable, or why it is not."""
        run.store_error = self._state.store_error = None if error is None else str(error)

    @staticmethod
    def _tell(run: Run, error: Exception | None) -> None:
        """Log what became of a result; without the lock."""
        name = run.request.simulation.name
        if error is not None:
            logger.warning("a result of %s is delivered but not stored: %s", name, error)
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %d replicates stored as %s", name, run.completed, run.request.key.hash[:12])

    def _settle(self, run: Run, error: Exception | None) -> None:
        """Settle a run; in the store's thread, when it knows what became of the result."""
        with self._state.lock:
            if run in self._state.storing:  # or a store that breaks its contract has said so twice
                self._note(run, error)
                self._state.lock.defer(partial(self._tell, run, error))
                self._finish.settle(run, self._state.now(), left_journal=error is None)

    def _finished(self, run: Run) -> list[str]:
        """Return the jobs that leave the journal in the commit that stores the run.

        Not those that fail, which leave it when their dead letter is written, nor those that a closed engine leaves to
        the next one.
        """
        if self._events.owner is None or run.error is not None:
            return []
        return [job.id for job in run.jobs if job.pending_error is None]

    def flush(self) -> None:
        """Wait for what was handed to the store; if it fails, the jobs that wait for it stay as they are."""
        try:
            self._store.flush()
        except Exception as error:
            self._state.store_error = str(error)
            logger.warning("the store cannot be waited for: %s", error)

    def _try(self, run: Run, action: Callable[[], Any]) -> Any:
        """Use the store; if it fails, take note and go on without."""
        try:
            return action()
        except Exception as error:
            run.store_error = self._state.store_error = str(error)
            logger.warning(
                "the store cannot serve %s, which goes on without it: %s", run.request.simulation.name, error
            )
            return None

    def _place(self, run: Run, replicates: int, workspaces: list[str]) -> None:
        for workspace in workspaces:
            self._try(run, lambda w=workspace: self._store.place(run.request.key, replicates, w))  # type: ignore[misc]
