"""What the tests of the store share: keys, columns that follow from them, and both stores."""

from __future__ import annotations

import numpy as np

from bgsim.environment import joined
from bgsim.parameters.parameter_set import ParameterSet, ResultKey
from bgsim.storage import Columns
from bgsim.storage.journal import PendingRequest
from bgsim.storage.times import time_text


def key(x: float = 1.0, seed: int = 0, simulation: str = "tests.model", **more: object) -> ResultKey:
    return ResultKey(simulation, "f" * 32, seed, ParameterSet({"x": float(x), **more}))


def columns(of: ResultKey, replicates: int) -> dict[str, np.ndarray]:
    """Return what a simulation would have computed: a function of key and replicate alone."""
    rng = np.random.default_rng(int(of.hash[:8], 16))
    rows = rng.random((10_000, 4))[:replicates] if replicates <= 10_000 else rng.random((replicates, 4))
    return {
        "value": np.ascontiguousarray(rows[:, 0]),
        "count": (rows[:, 1] * 50).astype(np.int64),
        "won": rows[:, 2] < 0.3,
        "path": np.ascontiguousarray(rows[:, 1:4].astype(np.float32)),
    }


OLD, NEW = "numpy 2.3.0, numba 0.61.0", "numpy 2.4.6, numba 0.68.1"


def versioned(of: ResultKey, *runs: tuple[int, str]) -> Columns:
    """Return `columns` of which these runs of rows, as (count, text), were computed with these versions."""
    found = Columns(columns(of, sum(count for count, _ in runs)))
    found.versions = joined(runs)
    return found


def same(a: dict[str, np.ndarray] | None, b: dict[str, np.ndarray]) -> bool:
    """Tell whether columns are bit-equal, in the same order."""
    return (
        a is not None
        and list(a) == list(b)
        and all(a[n].dtype == b[n].dtype and a[n].shape == b[n].shape and a[n].tobytes() == b[n].tobytes() for n in a)
    )


def store_now(store, of: ResultKey, replicates: int, workspace: str | None = None) -> None:
    """Store a result and wait until it is durable."""
    errors: list[Exception | None] = []
    store.store(of, columns(of, replicates), workspace=workspace, on_stored=errors.append)
    store.flush()
    assert errors == [None], repr(errors)


def request(number: int, owner: str = "a", **more: object) -> PendingRequest:
    """Return a request; a higher number was submitted later."""
    given = {"id": f"r{number}", "simulation": "tests.model", "parameters": '{"x": 1.0}', "seed": "0"}
    given |= {"replicates": 10, "options": "{}", "submitted_at": time_text(number), "owner": owner}
    return PendingRequest(**given | more)
