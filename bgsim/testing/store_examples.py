"""Keys, columns and journal entries for the tests of a store, and functions to store them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.environment import joined
from bgsim.parameters.parameter_set import ParameterSet, ResultKey
from bgsim.storage import Columns, DeadLetter, PendingRequest, Record, ScheduledRequest, Store
from bgsim.storage.history import Delivery, JobRow
from bgsim.storage.times import time_text
from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

OLD, NEW = "numpy 2.3.0, numba 0.61.0", "numpy 2.4.6, numba 0.68.1"
"""Two versions that rows may be computed with."""

WAIT_S = 30.0
"""Bound on any wait: reached only by a bug."""

_MANY_ROWS = 10_000
"""Rows drawn at once; fewer rows are their first ones."""


def example_key(x: float = 1.0, seed: int = 0, simulation: str = "tests.model", **more: Any) -> ResultKey:
    """Return a key; another one for each combination of arguments."""
    return ResultKey(simulation, "f" * 32, seed, ParameterSet({"x": float(x), **more}))


def example_columns(key: ResultKey, replicates: int) -> dict[str, NDArray[Any]]:
    """Return the columns that a simulation would compute: a function of key and replicate alone."""
    rng = np.random.default_rng(int(key.hash[:8], 16))
    rows = rng.random((max(_MANY_ROWS, replicates), 4))[:replicates]
    return {
        "value": np.ascontiguousarray(rows[:, 0]),
        "count": (rows[:, 1] * 50).astype(np.int64),
        "won": rows[:, 2] < 0.3,
        "path": np.ascontiguousarray(rows[:, 1:4].astype(np.float32)),
    }


def versioned_columns(key: ResultKey, *runs: tuple[int, str]) -> Columns:
    """Return `example_columns` with versions: each run is a number of rows and the versions that computed them."""
    found = Columns(example_columns(key, sum(count for count, _ in runs)))
    found.versions = joined(runs)
    return found


def example_summary(key: ResultKey, *ends: int, versions: Iterable[str] = ()) -> Columns:
    """Return a summary of `example_columns`, with a tally of each up to each end, and the pair ``"value*count"``.

    Parameters
    ----------
    key : ResultKey
    *ends : int
        Numbers of replicates, ascending.
    versions : iterable of str
        Of each tally; unknown by default.
    """
    rows, spans = example_columns(key, ends[-1]), list(zip((0, *ends), ends, strict=False))
    found, pairs = Columns(), []
    for name, values in rows.items():
        tallies = [Tally(values.dtype, values.shape[1:]) for _ in spans]
        for tally, (first, end) in zip(tallies, spans, strict=True):
            tally.add(values[first:end])
        found[name] = _column(spans, tallies)
    for first, end in spans:
        pairs.append(PairTally())
        pairs[-1].add(rows["value"][first:end], rows["count"][first:end])
    found["value*count"] = _column(spans, pairs)
    texts = [*versions] or [""] * len(spans)
    found.versions = joined((end - first, text) for (first, end), text in zip(spans, texts, strict=True))
    return found


def _column(spans: Iterable[tuple[int, int]], tallies: Iterable[Tally | PairTally]) -> TallyColumn:
    return TallyColumn([Segment(a, b - a, tally) for (a, b), tally in zip(spans, tallies, strict=True)])


def equal_columns(a: Mapping[str, Any] | None, b: Mapping[str, Any]) -> bool:
    """Tell whether columns are equal bit by bit, in the same order."""
    return a is not None and list(a) == list(b) and all(_equal(a[name], b[name]) for name in a)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, TallyColumn) or isinstance(b, TallyColumn):
        return bool(a == b)
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def example_request(number: int, owner: str = "a", **more: Any) -> PendingRequest:
    """Return a request; a higher number was submitted later."""
    given = PendingRequest(f"r{number}", "tests.model", '{"x": 1.0}', "0", 10, "{}", time_text(number), owner=owner)
    return replace(given, **more)


def example_letter(number: int) -> DeadLetter:
    """Return a dead letter with two attempts; a higher number failed later."""
    attempts = '[{"at": "x", "error": "first", "traceback": "t"}, {"at": "y", "error": "second", "traceback": "t"}]'
    return DeadLetter(f"d{number}", "tests.model", "{}", "0", 10, "{}", time_text(0), time_text(number), attempts)


def example_schedule(name: str = "s", **more: Any) -> ScheduledRequest:
    """Return a schedule."""
    given = ScheduledRequest(
        name, "m", "{}", "0", 1, "{}", "0 3 * * *", "Europe/Zurich", "run", False, None, time_text(0)
    )
    return replace(given, **more)


def example_job(number: int, **more: Any) -> JobRow:
    """Return a job of a history that has not ended; a higher number was submitted later."""
    given = JobRow(
        f"j{number}", "", "", "", "", "tests.model", '{"x": 1.0}', "0", 10, "{}", "[]", "", time_text(number)
    )
    return replace(given, **more)


def example_delivery(number: int, **more: Any) -> Delivery:
    """Return a pending delivery; a higher number was made, and is due, later."""
    when = time_text(number)
    url, secret = "https://example.com/hook", "whsec_c2VjcmV0"
    given = Delivery(f"msg_{number:024x}", "j0", "job.completed", url, secret, "{}", when, 0, when)
    return replace(given, **more)


def store_error(
    store: Store, key: ResultKey | Record, columns: Mapping[str, NDArray[Any]], **options: Any
) -> Exception | None:
    """Store columns, wait until they are durable, and return the error, None if there was none."""
    errors: list[Exception | None] = []
    store.store(key, columns, on_stored=errors.append, **options)
    store.flush()
    assert len(errors) == 1, f"on_stored was called {len(errors)} times"
    return errors[0]


def store_now(store: Store, key: ResultKey, replicates: int, workspace: str | None = None) -> None:
    """Store `example_columns` and wait until they are durable."""
    error = store_error(store, key, example_columns(key, replicates), workspace=workspace)
    assert error is None, repr(error)


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """Call each function in a thread of its own, all at the same moment; return what they return."""
    barrier = threading.Barrier(len(functions))
    found: dict[int, Any] = {}
    errors: list[BaseException] = []

    def call(index: int, function: Callable[[], Any]) -> None:
        try:
            barrier.wait(WAIT_S)
            found[index] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), "a thread did not come back"
    if errors:
        raise errors[0]
    return [found[index] for index in range(len(functions))]


class StoreMaker:
    """Makes the store of a test; override `make_store`."""

    def make_store(self, tmp_path: Path) -> Store:
        """Return an open, empty store.

        Parameters
        ----------
        tmp_path : Path
            An empty directory.
        """
        raise NotImplementedError

    @contextmanager
    def opened(self, tmp_path: Path) -> Iterator[Store]:
        """Make a store, and close it in the end."""
        store = self.make_store(tmp_path)
        try:
            yield store
        finally:
            store.close()
