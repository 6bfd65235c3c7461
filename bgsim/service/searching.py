"""Which jobs are meant: the filters of a list and of a bulk action."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bgsim.checks import one_of, refused
from bgsim.job_status import JobState
from bgsim.storage.history import JobQuery, JobRow
from bgsim.storage.times import moment_of, time_text

if TYPE_CHECKING:
    from bgsim.service.recorder import Recorder
    from bgsim.storage.history import History

STATES = tuple(state.value for state in JobState)


def read_query(
    tenant: str | None,
    *,
    states: str = "",
    simulation: str = "",
    tag: str = "",
    parameters: Mapping[str, Any] | None = None,
    since: str = "",
    until: str = "",
    ids: Collection[str] | None = None,
    limit: int = 50,
    before: tuple[str, str] | None = None,
) -> tuple[JobQuery, set[str]]:
    """Return what the history is asked, and the states that were asked for.

    The history knows one state of those that have not ended, and the end of the others a little late. So it is always
    asked for open jobs, too; what they have become the engine knows.

    Raises
    ------
    InvalidInputError
        Naming the filter.
    """
    wanted = {state.strip().lower() for state in states.split(",") if state.strip()}
    for state in sorted(wanted):
        if state not in STATES:
            raise refused("state", state, one_of(STATES, state))
    kept = ("", *sorted(state for state in wanted if JobState(state).is_terminal)) if wanted else ()
    times = {
        name: time_text(moment_of(name, text)) if text else None for name, text in (("since", since), ("until", until))
    }
    query = JobQuery(
        tenant=tenant, states=kept, simulation=simulation or None, tag=tag or None, parameters=dict(parameters or {}),
        since=times["since"], until=times["until"], ids=ids, before=before, limit=limit,
    )  # fmt: skip
    return query, wanted


def search(history: History, recorder: Recorder, query: JobQuery, wanted: set[str]) -> list[JobRow]:
    """Return the rows that a query means, the newest first, as they are now."""
    found: list[JobRow] = []
    while True:
        page = history.jobs(query)
        for row in page:
            now, job = recorder.as_it_is(row)
            state = now.state or ("queued" if job is None else job.state.value)
            if not wanted or state in wanted:
                found.append(now)
        if len(found) >= query.limit or len(page) < query.limit:
            return found[: query.limit]
        query = replace(query, before=(page[-1].submitted_at, page[-1].id))
