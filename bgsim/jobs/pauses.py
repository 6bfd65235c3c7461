"""The verbs of an engine that hold jobs back: all of them, or those of one simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgsim.registry import find_if_named

if TYPE_CHECKING:
    from bgsim.running.scheduler import Scheduler
    from bgsim.simulation import Simulation


class PauseVerbs:
    """What `bgsim.Engine` does to jobs together; any thread may call any method."""

    _scheduler: Scheduler

    def pause(self) -> None:
        """Start nothing more; what runs stops after its present replicates, and loses nothing."""
        self._scheduler.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._scheduler.resume()
        if self._scheduler.config.immediate:
            self._scheduler.drive()

    def pause_simulation(self, simulation: Simulation | str, *, tenant: str | None = None) -> int:
        """Pause the jobs of a simulation, and those to come, until `resume_simulation`; other jobs go on.

        As by `Job.pause`, nothing is lost. A job that is resumed by itself goes on. What the store has is answered all
        the same.

        Parameters
        ----------
        simulation : Simulation or str
        tenant : str, optional
            Only this tenant's jobs; by default all.

        Returns
        -------
        int
            How many jobs it has paused now.
        """
        self._scheduler.check_process()
        return self._scheduler.holds.pause(find_if_named(simulation).name, tenant)

    def resume_simulation(self, simulation: Simulation | str, *, tenant: str | None = None) -> int:
        """Let the jobs go on that `pause_simulation` has paused; return how many. Those paused by hand stay so."""
        scheduler = self._scheduler
        scheduler.check_process()
        resumed = scheduler.holds.resume(find_if_named(simulation).name, tenant)
        if scheduler.config.immediate:
            scheduler.drive()
        return resumed

    def paused_simulations(self) -> list[tuple[str, str | None]]:
        """Return the name of each simulation that is paused, with the tenant whose jobs are; None for all."""
        return self._scheduler.holds.paused()
