"""A job as the API shows it."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bgsim.parameters.parameter_set import ParameterSet
from bgsim.service.rows import ended_row, time_of

if TYPE_CHECKING:
    from bgsim.job import Job, JobStatus
    from bgsim.storage.history import JobRow

MOST_LISTED = 2000
"""Characters of parameters in a list; a job by itself has them all."""


class WaitingFor(msgspec.Struct):
    """Why a job does not run."""

    reason: str
    position: int | None = None
    estimated_wait_s: float | None = None


class JobView(msgspec.Struct):
    """A job: what was asked for, where it is, and how it ended.

    With a `precision`, `replicates` is the most that may be needed, and `total_replicates` what is expected by now.
    """

    id: str
    simulation: str
    short_name: str
    replicates: int
    seed: int
    priority: str
    state: str
    phase: str
    fraction: float
    replicates_completed: int
    total_replicates: int
    keep: str
    from_store: int
    submitted_at: str
    started_at: str | None
    ended_at: str | None
    retries: int
    tags: list[str]
    links: dict[str, str]
    parameters: dict[str, Any] | None = None
    precision: dict[str, Any] | None = None
    position: int | None = None
    estimated_wait_s: float | None = None
    waiting_for: WaitingFor | None = None
    rate: float | None = None
    estimated_time_remaining_s: float | None = None
    compiling_s: float | None = None
    overdue_s: float | None = None
    error: str | None = None
    store_error: str | None = None
    workspace: str | None = None
    tenant: str | None = None
    group: str | None = None
    webhook: str | None = None


def plain(value: Any) -> Any:
    """Return a value as JSON shows it to people: arrays as lists, complex numbers as pairs."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)  # a subclass of str, too


def parameters_of(text: str, *, most: int | None = None) -> dict[str, Any]:
    """Return the parameters of a row; of more than so many characters only how many there are."""
    if most is not None and len(text) > most:
        return {"...": f"{len(text):,} characters; the job itself has them"}
    try:
        found: dict[str, Any] = plain(ParameterSet.values_from_json(text))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):  # damage
        return {"...": "cannot be read"}
    return found


def view_of(
    row: JobRow, job: Job | None, prefix: str, *, whole: bool = True, status: JobStatus | None = None
) -> JobView:
    """Return a job as the API shows it.

    Parameters
    ----------
    row : JobRow
    job : Job or None
        Its handle, while it has not ended.
    prefix : str
        Of the links.
    whole : bool
        Whether with all of its parameters.
    status : JobStatus, optional
        What it is doing; asked of the job by default.
    """
    options = read_object(row.options)
    if job is not None and not row.state and job.moved_to.is_terminal:
        row, job = ended_row(row, job), None  # its end is being written
    status = status or (None if job is None else job.status())
    view = JobView(
        id=row.id,
        simulation=row.simulation,
        short_name=row.simulation.rpartition(".")[2],
        replicates=row.replicates,
        seed=int(row.seed),
        priority=str(options.get("priority", "normal")) if job is None else job.priority.name.lower(),
        state=row.state or "queued",
        phase=row.state or "queued",
        fraction=row.replicates_completed / total_of(row),
        replicates_completed=row.replicates_completed,
        total_replicates=total_of(row),
        keep=str(options.get("keep", "columns")),
        precision=read_object(options["precision"]) if "precision" in options else None,
        from_store=row.from_store,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        retries=row.retries,
        tags=tags_of(row),
        links=links_of(row, prefix),
        parameters=parameters_of(row.parameters, most=None if whole else MOST_LISTED),
        error=row.error or None,
        store_error=row.store_error or None,
        workspace=options.get("workspace"),
        tenant=row.tenant or None,
        group=options.get("group"),
        webhook=read_object(row.webhook).get("url"),
    )
    if status is not None and not row.state:
        _show_status(view, status)
        if job is not None:
            view.started_at = time_of(job, job.started_at)
    elif not row.state:
        view.waiting_for = WaitingFor("this process does not run it: another one has it, or its simulation is unknown")
    return view


def _show_status(view: JobView, status: JobStatus) -> None:
    view.state, view.phase = status.state.value, status.phase
    for name in (
        "fraction", "replicates_completed", "total_replicates", "from_store", "position", "estimated_wait_s", "rate",
        "estimated_time_remaining_s", "compiling_s", "overdue_s", "error", "store_error",
    ):  # fmt: skip
        setattr(view, name, getattr(status, name))
    view.retries = status.attempts
    reason = getattr(status, "waiting_for", None)
    if reason is not None:
        view.waiting_for = WaitingFor(reason, status.position, status.estimated_wait_s)


def total_of(row: JobRow) -> int:
    """Return how many replicates are the whole of a job: once a precision is reached, fewer than may be needed."""
    return max(1, row.replicates_completed if row.state == "completed" else row.replicates)


def tags_of(row: JobRow) -> list[str]:
    """Return the tags of a row."""
    try:
        found = json.loads(row.tags)
    except ValueError:
        return []
    return [str(tag) for tag in found] if isinstance(found, list) else []


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object of a row's column; an empty one if there is none."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def links_of(row: JobRow, prefix: str) -> dict[str, str]:
    """Return where else a job is, and what can be done with it now."""
    at = f"{prefix}/v1/jobs/{row.id}"
    links = {"self": at, "events": f"{at}/events", "summary": f"{at}/summary", "logs": f"{at}/logs"}
    if row.state:
        links["result"] = f"{at}/result"
    else:
        links |= {verb: f"{at}/{verb}" for verb in ("cancel", "pause", "resume")}
    return links
