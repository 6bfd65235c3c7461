"""Simulations whose jobs are paused together, and those to come with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bgsim.running.lifecycle import Lifecycle
    from bgsim.running.state import State


class Holds:
    """Pauses and resumes the jobs of a simulation; each method takes the engine's lock itself."""

    def __init__(self, state: State, lifecycle: Lifecycle) -> None:
        self._state = state
        self._lifecycle = lifecycle

    def pause(self, simulation: str, tenant: str | None) -> int:
        """Pause the jobs of a simulation, of one tenant or of all, and those to come; return how many there are."""
        state = self._state
        with state.lock:
            now = state.now()
            state.held.add((simulation, tenant))
            found = [job for job in state.jobs.values() if not job.paused and state.holds(job)]
            for job in found:
                job.held = self._lifecycle.pause_job(job, now)
            return sum(job.held for job in found)

    def resume(self, simulation: str, tenant: str | None) -> int:
        """Let them go on, but for those that were paused by hand; return how many."""
        state = self._state
        with state.lock:
            now = state.now()
            state.held.discard((simulation, tenant))
            found = [job for job in state.jobs.values() if job.held and not state.holds(job)]
            resumed = sum([self._lifecycle.resume_job(job, now) for job in found])
            self._lifecycle.admit(now)
            return resumed

    def paused(self) -> list[tuple[str, str | None]]:
        """Return which simulations are paused, of which tenant; None for all."""
        with self._state.lock.plain:
            return sorted(self._state.held, key=lambda pair: (pair[0], pair[1] or ""))
