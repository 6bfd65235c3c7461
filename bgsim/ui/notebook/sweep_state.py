"""What a card says of a batch or a sweep: one bar, and a mark for each point, coloured by its mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bgsim.bus.rate import Rate
from bgsim.errors import brief
from bgsim.jobs.sweep import Sweep
from bgsim.ui import text
from bgsim.ui.notebook.job_state import scalar_outputs

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.jobs.batch import Batch

MOST_CELLS = 1024
"""Marks of a card; of more points, several share one."""

MOST_ROWS = 32
"""A map has at most as many, or it becomes a strip."""

STRIP = 32
"""Marks of a line of a strip that has several."""

LEVELS = 15
"""Of the colour scale, from 0 on."""

NOT_YET, RUNNING, DONE, FAILED, CANCELLED = "not-yet", "running", "done", "failed", "cancelled"


class Point:
    """What is known of one job of the batch; it keeps no job that has ended."""

    __slots__ = ("error", "kind", "label", "mean", "part", "shown")

    def __init__(self, label: str) -> None:
        self.label = label
        self.kind = NOT_YET
        self.part = 0.0  # of its replicates that is done
        self.mean = math.nan
        self.shown = self.error = ""

    @property
    def title(self) -> str:
        """What hovering says."""
        ended = {DONE: self.shown or "done", FAILED: self.error, CANCELLED: "cancelled", NOT_YET: "not started"}
        return f"{self.label}: {ended.get(self.kind) or f'{self.part:.0%} done'}"

    def read(self, job: Job, output: str | None) -> None:
        """Take a look at its job."""
        if job.started_at is None and not job.done():
            return
        status = job.status()
        self.part = status.fraction
        if not job.done():
            self.kind = RUNNING
            return
        self.kind = {"completed": DONE, "failed": FAILED}.get(status.state.value, CANCELLED)
        self.error = brief(status.error or "failed", 300)[1:-1] if self.kind == FAILED else ""
        if output is not None and self.kind == DONE:
            estimate = job.estimate(output)
            self.mean, self.shown = float(estimate.mean), text.with_error(estimate)


class BatchReader:
    """Reads a batch again and again; a point that has ended is read once. For one thread at a time.

    Parameters
    ----------
    batch : Batch
        It is not kept.
    """

    def __init__(self, batch: Batch) -> None:
        self.columns, self.axes = _layout(batch)
        self._points = [Point(label) for label in _labels(batch)]
        self._open = list(range(len(self._points)))
        self._rate = Rate()
        self._output: str | None = None
        self._about = ""
        self._each = ""

    def state(self, batch: Batch, now: float, note: str = "") -> dict[str, Any]:
        """Return what a card says of it; JSON alone.

        Parameters
        ----------
        batch : Batch
        now : float
            Seconds, by a clock that does not run backwards.
        note : str
            Said of it while it has not ended.
        """
        self._read(batch.submitted())
        ended = batch.done()
        if ended:
            self._give_up_the_rest()
        counts = {kind: sum(p.kind == kind for p in self._points) for kind in (RUNNING, DONE, FAILED, CANCELLED)}
        part = sum(p.part for p in self._points)
        self._rate.observe(now, part)
        size = len(self._points)
        finished = counts[DONE] + counts[FAILED] + counts[CANCELLED]
        lost = sum(1 - p.part for p in self._points if p.kind in (FAILED, CANCELLED))
        word = _word(counts, ended=ended)
        return {
            "kind": "batch",
            "name": self._about or f"{size:,} jobs",
            "about": self._replicates_text(),
            "word": word,
            "colour": {"completed": "done", "queued": "waiting"}.get(word, word),
            "detail": _detail(counts),
            "fraction": round(part / size, 4) if size else 1.0,
            "moving": False,
            "count": f"{finished:,} of {size:,} points",
            "rate": "",
            "left": "" if ended else text.left(self._rate.remaining_s(size - part - lost)),
            "map": self._map(),
            "note": "" if ended else note,
            "actions": [] if ended else ["cancel"],
            "ended": ended,
        }

    def _read(self, jobs: list[Job]) -> None:
        if jobs and self._output is None and not self._about:
            simulation = jobs[0].simulation
            self._output = next(iter(scalar_outputs(simulation)), None)
            self._about = f"{simulation.short_name}, {len(self._points):,} points"
            self._each = _each(jobs[0])
        still = []
        for number in self._open:
            if number < len(jobs):
                self._points[number].read(jobs[number], self._output)
            if self._points[number].kind in (NOT_YET, RUNNING):
                still.append(number)
        self._open = still

    def _give_up_the_rest(self) -> None:
        for number in self._open:  # those that were never submitted
            self._points[number].kind = CANCELLED

    def _replicates_text(self) -> str:
        names = " × ".join(f"{axis['name']} ({axis['size']})" for axis in self.axes)
        return " · ".join(filter(None, (names, self._each)))

    def _map(self) -> dict[str, Any]:
        """Return the marks: of each its kind, its level of colour, or -1, and what hovering says."""
        means = [p.mean for p in self._points if math.isfinite(p.mean)]
        low, high = (min(means), max(means)) if means else (0.0, 0.0)
        step = math.ceil(len(self._points) / MOST_CELLS)
        if step == 1:
            cells = [[p.kind, _level(p.mean, low, high), p.title] for p in self._points]
        else:
            groups = [self._points[i : i + step] for i in range(0, len(self._points), step)]
            cells = [_together(group, low, high) for group in groups]
        return {
            "columns": self.columns if step == 1 else STRIP,
            "axes": self.axes if step == 1 else [],
            "cells": cells,
            "output": self._output or "",
            "low": text.end(low) if means else "",
            "high": text.end(high) if means else "",
        }


def _each(job: Job) -> str:
    """Return how many replicates each job has, or until when each goes on."""
    precision = job.request.precision
    if precision is None:
        return f"{job.replicates:,} replicates each"
    return f"each until {text.precision(precision)}"


def _layout(batch: Batch) -> tuple[int, list[dict[str, Any]]]:
    """Return how many marks a line has, and the axes: down and across, across alone, or none."""
    if not isinstance(batch, Sweep) or math.prod(map(len, batch.grid.values())) != len(batch):
        return min(len(batch), STRIP), []
    axes: list[dict[str, Any]] = [
        {"name": name, "size": len(values), "first": text.value(values[0], 12), "last": text.value(values[-1], 12)}
        for name, values in batch.grid.items()
        if len(values) > 1
    ]
    if len(axes) == 1:
        return (axes[0]["size"] if axes[0]["size"] <= 2 * STRIP else STRIP), axes
    if len(axes) == 2 and axes[0]["size"] <= MOST_ROWS and axes[1]["size"] <= 2 * STRIP:
        return axes[1]["size"], axes
    return min(len(batch), STRIP), axes


def _labels(batch: Batch) -> list[str]:
    if isinstance(batch, Sweep):
        return [", ".join(f"{name} {text.value(v)}" for name, v in point.items()) for point in batch.points]
    return [f"job {number}" for number in range(len(batch))]


def _level(mean: float, low: float, high: float) -> int:
    if not math.isfinite(mean):
        return -1
    return round(LEVELS * (mean - low) / (high - low)) if high > low else LEVELS // 2


def _together(points: list[Point], low: float, high: float) -> list[Any]:
    """Return one mark of several points."""
    kinds = [p.kind for p in points]
    kind = next((k for k in (FAILED, RUNNING, CANCELLED, NOT_YET) if k in kinds), DONE)
    means = [p.mean for p in points if math.isfinite(p.mean)]
    level = _level(sum(means) / len(means), low, high) if means else -1
    failed = next((f"; {p.title}" for p in points if p.kind == FAILED), "")
    return [kind, level, f"{kinds.count(DONE)} of {len(points)} done, from {points[0].label} on{failed}"]


def _word(counts: dict[str, int], *, ended: bool) -> str:
    if ended:
        return next((word for word in (FAILED, CANCELLED) if counts[word]), "completed")
    return "running" if any(counts.values()) else "queued"


def _detail(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[kind]:,} {kind}" for kind in (FAILED, CANCELLED) if counts[kind])
