"""Dead letters over HTTP: the jobs that failed for good, to be run again or discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from bgsim.parameters.nesting import read_json
from bgsim.service.routes.bodies import RetryChanges
from bgsim.service.routes.jobs import accepted, read_parameters
from bgsim.service.routes.tenants import absent, tenant_of
from bgsim.service.routing import Answer, Call, Routes
from bgsim.service.views import MOST_LISTED, JobView, parameters_of, read_object

if TYPE_CHECKING:
    from bgsim.storage.journal import DeadLetter

routes = Routes()

_MOST_OF_A_TEXT = 4000
"""Characters of an error or a traceback in a list; a letter by itself has what is kept of them."""


class LettersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which dead letters are listed."""

    simulation: str = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class AttemptView(msgspec.Struct):
    """A try that failed."""

    at: str
    error: str
    traceback: str


class LetterView(msgspec.Struct):
    """A job that failed for good."""

    id: str
    simulation: str
    short_name: str
    parameters: dict[str, Any]
    replicates: int
    seed: int
    submitted_at: str
    failed_at: str
    error: str
    attempts: list[AttemptView]
    tags: list[str]
    tenant: str | None
    links: dict[str, str]


class LetterList(msgspec.Struct):
    """The newest dead letters, and how many there are."""

    dead_letters: list[LetterView]
    total: int


@routes.get("/dead-letters", "read", query=LettersQuery, answer=LetterList, statuses=(422,))
def list_letters(call: Call) -> Answer:
    """List the jobs that failed for good, the newest first, with the errors of all tries."""
    wanted = call.query.simulation
    found = [
        letter
        for letter in call.service.engine.dead_letters()
        if call.caller.sees(tenant_of(letter))
        and (not wanted or wanted in (letter.simulation, letter.simulation.rpartition(".")[2]))
    ]
    shown = [_view(call, letter, whole=False) for letter in found[: call.query.limit]]
    return Answer(LetterList(shown, len(found)))


@routes.get("/dead-letters/{id}", "read", answer=LetterView, statuses=(404,))
def show_letter(call: Call) -> Answer:
    """Show a dead letter, with its tracebacks."""
    return Answer(_view(call, find_letter(call, call.path["id"]), whole=True))


@routes.post(
    "/dead-letters/{id}/retry", "submit", body=RetryChanges, answer=JobView, status=202, statuses=(404, 422, 503)
)
def retry_letter(call: Call) -> Answer:
    """Run a dead letter again, as it was or with changes; it is no dead letter any more."""
    letter = find_letter(call, call.path["id"])
    changes = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not None}
    return accepted(call, retry(call, letter, changes))


@routes.delete("/dead-letters/{id}", "control", status=204, statuses=(404,))
def discard_letter(call: Call) -> Answer:
    """Discard a dead letter; what is finished of its result stays in the store."""
    call.service.engine.discard(find_letter(call, call.path["id"]).id)
    return Answer(None, 204)


def find_letter(call: Call, letter_id: str) -> DeadLetter:
    """Return a dead letter that the caller sees.

    Raises
    ------
    ProblemError
        404.
    """
    letters = [letter for letter in call.service.engine.dead_letters() if call.caller.sees(tenant_of(letter))]
    for letter in letters:
        if letter.id == letter_id:
            return letter
    raise absent("dead letter", letter_id, [letter.id for letter in letters])


def retry(call: Call, letter: DeadLetter, changes: dict[str, Any]) -> str:
    """Submit a dead letter again; return the id of the new job."""
    service = call.service
    if "parameters" in changes:
        simulation = service.simulations.find(letter.simulation)
        changes = {**changes, "parameters": read_parameters(simulation, changes["parameters"])}
    before = service.recorder.row(letter.id)
    live = service.run_again(call.caller, letter, changes, webhook="" if before is None else before.webhook)
    return live.row.id


def _view(call: Call, letter: DeadLetter, *, whole: bool) -> LetterView:
    options = read_object(letter.options)
    tags = options.get("tags")
    at = call.link(f"/dead-letters/{letter.id}")
    return LetterView(
        id=letter.id,
        simulation=letter.simulation,
        short_name=letter.simulation.rpartition(".")[2],
        parameters=parameters_of(letter.parameters, most=None if whole else MOST_LISTED),
        replicates=letter.replicates,
        seed=int(letter.seed),
        submitted_at=letter.submitted_at,
        failed_at=letter.failed_at,
        error=letter.error if whole else _short(letter.error),
        attempts=_attempts(letter, whole=whole),
        tags=[str(tag) for tag in tags] if isinstance(tags, list) else [],
        tenant=tenant_of(letter) or None,
        links={"self": at, "retry": f"{at}/retry", "job": call.link(f"/jobs/{letter.id}")},
    )


def _attempts(letter: DeadLetter, *, whole: bool) -> list[AttemptView]:
    try:
        found = read_json(letter.attempts)
    except ValueError:  # damage
        return []
    texts = [
        [str(one.get(name, "")) for name in ("at", "error", "traceback")] for one in found if isinstance(one, dict)
    ]
    return [AttemptView(at, *((error, trace) if whole else map(_short, (error, trace)))) for at, error, trace in texts]


def _short(text: str) -> str:
    """Return the end of a text that is too long for a list: a traceback ends with what was raised."""
    return text if len(text) <= _MOST_OF_A_TEXT else f"... {text[-_MOST_OF_A_TEXT:]}"
