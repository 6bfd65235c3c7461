"""What a subscriber asks for: which updates, and where."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple

from bgsim.bus.updates import UpdateType
from bgsim.checks import check_integer, check_text, one_of, refused
from bgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from bgsim.bus.updates import ProgressUpdate


class Filter(NamedTuple):
    """Lets an update pass to which all of this applies.

    Attributes
    ----------
    jobs : tuple of str or None
        Each once. The bus looks subscriptions up by job, so these are not compared again.
    min_type : UpdateType
    simulation, workspace : str or None
        What the update's metadata have to say.
    where : callable or None
        The subscriber's predicate, which is not called here but where the update goes.
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
            If one is of a wrong kind.
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

    def with_job(self, job: str) -> Filter:
        """Return a filter that lets one more job pass."""
        return self._replace(jobs=(*(self.jobs or ()), job))

    def passes(self, update: ProgressUpdate) -> bool:
        """Tell whether the update is wanted, as far as that shows without the predicate."""
        return not (
            update.update_type < self.min_type
            or (self.simulation is not None and update.metadata.get("simulation") != self.simulation)
            or (self.workspace is not None and update.metadata.get("workspace") != self.workspace)
        )


def job_ids(job: Any) -> tuple[str, ...] | None:
    """Return the ids of one job or several, each given as a job or by its id; None for all jobs."""
    if job is None:
        return None
    one = isinstance(job, str) or hasattr(job, "id") or not isinstance(job, Iterable)
    found = [getattr(each, "id", each) for each in ([job] if one else job)]
    for each in found:
        if not isinstance(each, str):
            raise refused("job", each, "a job, its id, or several")
    return tuple(dict.fromkeys(found))


def check_delivery(callback: Any, maxlen: Any, executor: Any, loop: Any) -> None:
    """Check how a subscriber wants her updates.

    Raises
    ------
    InvalidInputError
        If that cannot be.
    """
    if callback is not None and not callable(callback):
        raise refused("callback", callback, "callable")
    check_integer("maxlen", maxlen)
    for field, value, kind in (("executor", executor, Executor), ("loop", loop, asyncio.AbstractEventLoop)):
        if value is None:
            continue
        if not isinstance(value, kind):
            raise refused(field, value, f"a {kind.__name__}")
        if callback is None:
            raise InvalidInputError(f"{field} is for callbacks; give one, or iterate", field=field, value=value)
    if executor is not None and loop is not None:
        raise InvalidInputError("give either executor or loop, for a callback has one place", field="loop", value=loop)
    if loop is None and inspect.iscoroutinefunction(callback):
        raise InvalidInputError(
            f"callback is a coroutine function, which loop= would await; got {callback!r}",
            field="callback",
            value=callback,
        )
