"""Results for people and for programs: the table and the JSON of ``bgsim run`` and ``bgsim sweep``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.summary import mean_with_error
from bgsim.environment import as_json as versions_as_json
from bgsim.tables import Table, shown

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.job_status import JobStatus
    from bgsim.precision import Stopping
    from bgsim.simulation import Simulation
    from bgsim.summaries.of_columns import AnyResult


def result_json(job: Job, status: JobStatus, elapsed_s: float) -> dict[str, Any]:
    """Return what ``bgsim run --json`` prints of a job that has its result."""
    result: AnyResult = job.result()
    return {
        "simulation": result.simulation.name,
        "fingerprint": result.simulation.fingerprint,
        "parameters": json.loads(result.parameters.to_json()),
        "seed": result.seed,
        "replicates": result.replicates,
        "keep": job.request.keep,
        "stopping": stopping_json(job.stopping),
        "from_store": status.from_store,
        **times_json(result.simulation, [status], elapsed_s),
        "versions": versions_as_json(result.versions),
        "outputs": outputs_json(result),
    }


def times_json(simulation: Simulation, statuses: Iterable[JobStatus], elapsed_s: float) -> dict[str, Any]:
    """Return how long a command took, of that the compiler in this process, and the replicates a second besides."""
    computed = sum(status.replicates_completed - status.from_store for status in statuses)
    compiling_s = simulation.revision().compiled.took_s
    rest = elapsed_s - compiling_s
    return {
        "elapsed_s": round(elapsed_s, 6),
        "compiling_s": round(compiling_s, 6),
        "replicates_per_s": round(computed / rest, 3) if computed and rest > 0 else None,
    }


def outputs_json(result: AnyResult) -> dict[str, Any]:
    """Return the summary of each output."""
    outputs = {}
    for name, s in result.summary().items():
        values = {n: getattr(s, n) for n in ("count", "valid", "mean", "sd", "standard_error", "minimum", "maximum")}
        outputs[name] = {**values, "quantiles": {f"{q:g}": v for q, v in s.quantiles.items()}}
    return outputs


def stopping_json(stopping: Stopping | None) -> dict[str, Any] | None:
    """Return where a precision has ended a run, and what it saw at each look; None if none was asked for."""
    if stopping is None:
        return None
    looks = [
        {
            "replicates": look.replicates,
            "reached": look.reached,
            "outputs": {n: asdict(o) for n, o in look.outputs.items()},
        }
        for look in stopping.looks
    ]
    return {
        "replicates": stopping.replicates,
        "reached": stopping.reached,
        "precision": json.loads(stopping.rule.to_json()),
        "looks": looks,
    }


def stopping_text(stopping: Stopping) -> str:
    """Return whether a precision was reached, as a part of a sentence."""
    if stopping.reached:
        return "the precision is reached"
    what = "error" if stopping.rule.kind == "relative" else stopping.rule.kind.replace("_", " ")
    why = [
        f"of {name} says little: {found.doubt}"
        if found.doubt
        else f"of {name} is {found.error:.3g}, not {found.target:.3g}"
        for name, found in stopping.looks[-1].outputs.items()
        if not found.reached
    ]
    return f"the precision is not reached, and a larger -n lets it go on: the {what} {' and '.join(why)}"


class Point:
    """A point of a sweep when all has ended: where it is, and what became of it."""

    def __init__(self, job: Job, varied: Mapping[str, Any]) -> None:
        self.varied = varied
        self.status = job.status()
        self.stopping = job.stopping
        self.result = job.result() if self.status.state.value == "completed" else None

    @property
    def failed(self) -> bool:
        """Whether it has no result."""
        return self.result is None

    @property
    def why(self) -> str:
        """Say what became of it, if it has no result."""
        return f"{self.status.state.value}: {self.status.error}" if self.status.error else self.status.state.value

    def as_json(self) -> dict[str, Any]:
        """Return what ``bgsim sweep --json`` prints of it."""
        return {
            "parameters": dict(self.varied),
            "state": self.status.state.value,
            "error": self.status.error,
            "replicates": None if self.result is None else self.result.replicates,
            "stopping": stopping_json(self.stopping),
            "from_store": self.status.from_store,
            "elapsed_s": round(self.status.elapsed_s, 6),
            "outputs": None if self.result is None else outputs_json(self.result),
        }


def sweep_table(points: list[Point]) -> Table:
    """Return a table with a row a point: what varies, and of each output its mean and standard error."""
    names = list(points[0].varied)
    done = [point for point in points if point.result is not None]
    outputs = _scalar_outputs(done[0].result) if done and done[0].result is not None else []
    rows = []
    for point in points:
        means = _means(point.result, outputs) if point.result is not None else [""] * len(outputs)
        count = "" if point.result is None or point.stopping is None else shown(point.result.replicates)
        why = point.why if point.failed else ""
        rows.append([*(shown(point.varied[name]) for name in names), *means, count, why])
    headings = [*names, *outputs, "replicates", "error"]
    return Table(headings, rows, remark=_remark(done, outputs), most=None).trimmed()


def _scalar_outputs(result: AnyResult) -> list[str]:
    return [name for name, s in result.summary().items() if s.mean is not None and not np.ndim(s.mean)]


def _means(result: AnyResult, outputs: list[str]) -> list[str]:
    summary = result.summary()
    proportions = [output.name for output in result.simulation.outputs if output.dtype.kind == "b"]
    return [
        mean_with_error(summary[name].mean, summary[name].standard_error, percent=name in proportions)
        for name in outputs
    ]


def _remark(done: list[Point], outputs: list[str]) -> str:
    others = [name for name in (done[0].result or ()) if name not in outputs] if done else []
    return f"no single number: {', '.join(others)}; --output writes arrays to a .nc file" if others else ""
