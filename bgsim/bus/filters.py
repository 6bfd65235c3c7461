"""Which updates a subscriber asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from bgsim.bus.updates import UpdateType
from bgsim.checks import check_text, one_of, refused

if TYPE_CHECKING:
    from bgsim.bus.updates import ProgressUpdate


class Filter(NamedTuple):
    """The conditions on an update; all of them must hold.

    Attributes
    ----------
    jobs : tuple of str or None
        Each once. `passes` does not compare them: the bus finds the subscribers to a job by its channel.
    min_type : UpdateType
    simulation, workspace : str or None
        Compared with the update's metadata.
    where : callable or None
        The subscriber's predicate. `passes` does not call it; the subscription does, before it hands the update over.
    """

    jobs: tuple[str, ...] | None
    min_type: UpdateType
    simulation: str | None
    workspace: str | None
    where: Callable[[ProgressUpdate], Any] | None

    @classmethod
    def of(
        cls,
        job: Any = None,
        min_type: Any = UpdateType.STARTED,
        completions_only: bool = False,
        simulation: Any = None,
        workspace: Any = None,
        where: Callable[[ProgressUpdate], Any] | None = None,
    ) -> Filter:
        """Return the filter that a subscriber's arguments describe.

        Raises
        ------
        InvalidInputError
            If an argument has the wrong type or value.
        """
        try:
            least = UpdateType(min_type)
        except ValueError:
            names = [f"UpdateType.{kind.name}" for kind in UpdateType]
            raise refused("min_type", min_type, one_of(names, str(min_type))) from None
        if where is not None and not callable(where):
            raise refused("where", where, "callable")
        simulation = getattr(simulation, "name", simulation)
        for field, value in (("simulation", simulation), ("workspace", workspace)):
            if value is not None:
                check_text(field, value, allowed="a name")
        return cls(job_ids(job), UpdateType.COMPLETED if completions_only else least, simulation, workspace, where)

    def passes(self, update: ProgressUpdate) -> bool:
        """Tell whether the update is wanted, but for its job and the predicate."""
        return not (
            update.update_type < self.min_type
            or (self.simulation is not None and update.metadata.get("simulation") != self.simulation)
            or (self.workspace is not None and update.metadata.get("workspace") != self.workspace)
        )


def job_ids(job: Any) -> tuple[str, ...] | None:
    """Return the ids of one or several jobs, given as jobs or ids; None stays None, for all jobs."""
    if job is None:
        return None
    one = isinstance(job, str) or hasattr(job, "id") or not isinstance(job, Iterable)
    found = [getattr(each, "id", each) for each in ([job] if one else job)]
    for each in found:
        if not isinstance(each, str):
            raise refused("job", each, "a job, its id, or several")
    return tuple(dict.fromkeys(found))
