"""What controls whose newest value wins have in common; it knows no toolkit."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.request import JobOptions
    from bgsim.result import SimulationResult

DEBOUNCE_S = 0.1
"""A value that is followed by another within this time is not computed."""

_numbers = itertools.count(1)


def with_defaults(options: JobOptions) -> JobOptions:
    """Return the options of a control's jobs: a word of their own to supersede by, high priority, and a debounce."""
    defaults: JobOptions = {"supersede": f"latest-{next(_numbers)}", "debounce_s": DEBOUNCE_S, "priority": "high"}
    return {**defaults, **options}


def finished_so_far(job: Job) -> SimulationResult | None:
    """Return what is finished of a job, to be drawn; None if there is nothing yet, or its result comes at once."""
    if job.done():
        return None
    partial = job.partial()
    return partial if partial.replicates else None
