"""One action on all jobs that match a filter: counted first, then at most 500 at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bgsim.errors import BgsimError, InvalidInputError, text_of
from bgsim.job_status import JobState
from bgsim.service.access import check_verb
from bgsim.service.problems import ProblemError
from bgsim.service.routes.jobs import cursor_of, read_cursor
from bgsim.service.routing import Answer, Call, Routes
from bgsim.service.searching import read_query, search

if TYPE_CHECKING:
    from bgsim.storage.history import JobQuery, JobRow

routes = Routes()

MOST = 500
"""Jobs that one request acts on."""

_MOST_COUNTED = 20_000
"""More are not counted."""

_MOST_TOLD = 1000
"""Characters of a filter that the audit keeps."""


class BulkFilter(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which jobs are meant; all of what is given must hold."""

    state: str | list[str] = ""
    simulation: str = ""
    tag: str = ""
    parameters: dict[str, Any] = {}
    since: str = ""
    until: str = ""
    ids: Annotated[list[str], Meta(max_length=MOST)] = []


class BulkBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done with which jobs."""

    action: Literal["cancel", "pause", "resume", "retry", "discard"]
    filter: BulkFilter
    dry_run: bool = False
    cursor: str = ""


class BulkFailure(msgspec.Struct):
    """A job on which it was not done, and why."""

    id: str
    detail: str


class BulkView(msgspec.Struct):
    """How many jobs match on which it can be done, on how many it was done, and where the next request goes on."""

    matched: int
    done: int
    failed: list[BulkFailure]
    more: bool
    next: str | None
    dry_run: bool
    ids: list[str]


_STATES = {
    "cancel": ("queued", "delayed", "running", "suspended"),
    "pause": ("queued", "delayed", "running", "suspended"),
    "resume": ("suspended",),
    "retry": ("failed", "cancelled"),
    "discard": ("failed",),
}
"""By action, the states in which it can be done; of jobs that failed it can be with the dead letters."""


@routes.post("/bulk", "control", body=BulkBody, answer=BulkView, statuses=(422, 429, 503))
def act(call: Call) -> Answer:
    """Cancel, pause, resume, run again or discard all jobs that match.

    With `dry_run` they are only counted. At most 500 are acted on; `next` is the `cursor` with which the same request
    goes on. An empty filter is refused. Of the jobs that failed, those that are dead letters are run again or
    discarded.
    """
    body = call.body
    if body.action == "retry":
        check_verb(call.caller, "submit")
    query, wanted = _query(call, body)
    jobs = _matching(call, query, wanted)
    rows = list(itertools.islice(jobs, MOST))
    others = _count_others(call, query, wanted, jobs) if len(rows) == MOST else 0
    failed: list[BulkFailure] = []
    if not body.dry_run:
        failed = [failure for row in rows if (failure := _try(call, row)) is not None]
        if body.action == "cancel":  # last: a store that is locked or full keeps no job running
            left = {failure.id for failure in failed}
            call.service.history.ask_cancel([row.id for row in rows if row.id not in left])
    done = 0 if body.dry_run else len(rows) - len(failed)
    meant = msgspec.json.encode(body.filter).decode()[:_MOST_TOLD]
    call.detail = f"{body.action} {done} of {len(rows) + others}: {meant}"
    return Answer(
        BulkView(
            matched=len(rows) + others,
            done=done,
            failed=failed,
            more=others > 0,
            next=cursor_of(rows[-1]) if others else None,
            dry_run=body.dry_run,
            ids=[row.id for row in rows],
        )
    )


def _try(call: Call, row: JobRow) -> BulkFailure | None:
    """Act on a job; return why that cannot be done."""
    action = call.body.action
    try:
        _ACTIONS[action](call, row)
    except (ProblemError, BgsimError) as error:
        return BulkFailure(row.id, text_of(error))
    if action in ("cancel", "pause", "resume"):
        call.service.told_of_change(row.id, call.prefix)
    return None


def _query(call: Call, body: BulkBody) -> tuple[JobQuery, set[str]]:
    """Return what the history is asked, and the states in which the action can be done and jobs are meant.

    Raises
    ------
    InvalidInputError
        If the filter says nothing, or something that cannot be.
    """
    given = body.filter
    words = given.state if isinstance(given.state, str) else ",".join(given.state)
    if not any((words, *msgspec.structs.astuple(given)[1:])):
        raise InvalidInputError(
            "filter must say which jobs are meant, and not be empty; give state, simulation, tag, parameters, since, "
            "until or ids",
            field="filter",
        )
    _, asked = read_query(None, states=words)
    possible = {state for state in _STATES[body.action] if not asked or state in asked}
    ids: Collection[str] | None = given.ids or None
    if possible == {"failed"}:
        letters = {letter.id for letter in call.service.engine.dead_letters()}
        ids = letters if ids is None else letters.intersection(ids)
    query, _ = read_query(
        call.caller.tenant or None,
        states=",".join(possible),
        simulation=given.simulation,
        tag=given.tag,
        parameters=given.parameters,
        since=given.since,
        until=given.until,
        ids=ids,
        limit=MOST,
        before=read_cursor(body.cursor),
    )
    return query, possible


def _count_others(call: Call, query: JobQuery, wanted: set[str], others: Iterator[JobRow]) -> int:
    """Return how many jobs match beyond the first `MOST`."""
    if "failed" in wanted or not all(JobState(state).is_terminal for state in wanted):
        return sum(1 for _ in itertools.islice(others, _MOST_COUNTED))
    return max(0, call.service.history.count_jobs(query) - MOST)  # all that the query means match


def _matching(call: Call, query: JobQuery, wanted: set[str]) -> Iterator[JobRow]:
    """Yield the jobs that match and on which the action can be done, the newest first."""
    fits = _fits(call, call.body.action)
    while wanted:
        page = search(call.service.history, call.service.recorder, query, wanted)
        yield from filter(fits, page)
        if len(page) < query.limit:
            return
        query = replace(query, before=(page[-1].submitted_at, page[-1].id))


def _fits(call: Call, action: str) -> Callable[[JobRow], bool]:
    """Return what tells whether an action can be done with a job in one of its states."""
    if action == "cancel":
        return lambda _: True
    if action in ("pause", "resume"):
        paused = action == "resume"
        live = call.service.recorder.live
        return lambda row: (found := live(row.id)) is not None and found.job.paused is paused
    letters = {letter.id for letter in call.service.engine.dead_letters()}
    return lambda row: row.state != "failed" or row.id in letters


def _cancel(call: Call, row: JobRow) -> None:
    live = _live(call, row)
    call.service.recorder.changed(live.row.id, cancel_asked=True)
    if not live.job.cancel() and not live.job.cancelled():
        raise ProblemError(409, f"it is {live.job.state.value}, so it cannot be cancelled")


def _pause(call: Call, row: JobRow) -> None:
    job = _live(call, row).job
    if not job.pause():
        raise ProblemError(409, f"it is {job.state.value}, so it cannot be paused")


def _resume(call: Call, row: JobRow) -> None:
    job = _live(call, row).job
    if not job.resume():
        raise ProblemError(409, f"it is {job.state.value} and not paused, so it cannot be resumed")


def _retry(call: Call, row: JobRow) -> None:
    call.service.run_again(call.caller, row, {}, webhook=row.webhook)


def _discard(call: Call, row: JobRow) -> None:
    call.service.engine.discard(row.id)


_ACTIONS: dict[str, Callable[[Call, Any], None]] = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "retry": _retry,
    "discard": _discard,
}


def _live(call: Call, row: JobRow) -> Any:
    found = call.service.recorder.live(row.id)
    if found is None or found.row.state:
        raise ProblemError(409, "it has ended, or another process runs it")
    return found
