"""Replays of single replicates, bounded in time.

Python cannot be stopped from outside, and a replay runs the simulation as plain Python, which may take minutes. So one
thread replays, one replicate after the other, and a request waits for it for a few seconds only. What it computes then
is kept for the next request.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bgsim.parameters.parameter_set import ParameterSet
from bgsim.service.problems import ProblemError
from bgsim.service.views import plain
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.simulation import Simulation
    from bgsim.storage.history import JobRow

WAITED_S = 10.0
"""How long a request waits."""

_KEPT = 100
_WAITING = 4
"""Replays that may wait for the thread."""


class Replays:
    """Replays replicates. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards the next two
        self._futures: OrderedDict[tuple[str, int], Future[Any]] = OrderedDict()
        self._executor: ThreadPoolExecutor | None = None

    def replay(self, simulation: Simulation, row: JobRow, index: int) -> Future[Any]:
        """Return the future of what a replicate returns, by output.

        Raises
        ------
        ProblemError
            503 if too many wait.
        """
        key = row.id, index
        with self._lock:
            future = self._futures.get(key)
            if future is None:
                if sum(not other.done() for other in self._futures.values()) >= _WAITING:
                    raise ProblemError(503, "other replays are running; ask again", headers={"Retry-After": "5"})
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(1, thread_name_prefix="bgsim-replay")
                future = self._futures[key] = self._executor.submit(_replay, simulation, row, index)
                while len(self._futures) > _KEPT:
                    self._futures.popitem(last=False)
        return future

    def close(self) -> None:
        """Start no more; one that runs goes on to its end."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)


def replayed(future: Future[Any], index: int) -> Any:
    """Return what a replicate returned.

    Raises
    ------
    ProblemError
        422 if it raised; 503 if it has not ended.
    """
    if not future.done():
        raise ProblemError(
            503, f"replicate {index} takes longer than {WAITED_S:g} s; ask again", headers={"Retry-After": "5"}
        )
    try:
        return future.result()
    except ProblemError:
        raise
    except Exception as error:
        raise ProblemError(422, f"replicate {index} raises {type(error).__name__}: {error}") from error


def _replay(simulation: Simulation, row: JobRow, index: int) -> Any:
    values = ParameterSet.values_from_json(row.parameters)
    parameters = simulation.bind(ParameterSet.restore(values, simulation.parameters_class))
    found, names = simulation.replay(parameters, int(row.seed), index), [o.name for o in simulation.outputs]
    if isinstance(found, tuple) and len(found) == len(names):
        return {name: plain(value) for name, value in zip(names, found, strict=True)}
    return {names[0]: plain(found)} if len(names) == 1 else plain(found)
