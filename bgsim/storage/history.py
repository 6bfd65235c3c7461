"""The history: jobs also after their end, access tokens, what is to be delivered, and who did what.

Every store has a history, as it has a journal: ``sqlite.file_history`` keeps it in the store's file, ``memory_history``
in memory. The journal has what has not ended, for recovery; the history has what people ask for afterwards.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bgsim.storage.rows import NO_COLUMN
from bgsim.tables import in_short

KEY_AGE_S = 86_400.0
"""An idempotency key is free again when the job that has it was submitted longer ago."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job, from its submission to after its end.

    Attributes
    ----------
    id : str
        Unique for ever.
    tenant : str
        Whose it is; empty for nobody's.
    token : str
        Id of the token that asked for it; empty for none.
    idempotency_key, request_hash : str
        As the request gave it, and the SHA-256 of the request; empty for none.
    simulation : str
        Its name.
    parameters, seed : str
        JSON, and decimal: as a `Record` has them.
    replicates : int
    options : str
        A JSON object: the other arguments of `Engine.submit`.
    tags : str
        A JSON list of texts.
    webhook : str
        A JSON object with ``url``, ``secret`` and ``events``; empty for none. `repr` leaves it out.
    submitted_at : str
        ISO-8601, UTC, as all times here.
    cancel_asked : bool
        Whether somebody wants it to be cancelled.
    state : str
        Empty until it has ended; then ``completed``, ``failed`` or ``cancelled``.
    started_at, ended_at : str or None
    replicates_completed, from_store, retries : int
        Of its end: finished replicates, those of them from the store, and tries after the first.
    error, store_error : str
        Empty for none.
    result_hash : str
        The store's hash of its result; empty if it has none.
    """

    id: str
    tenant: str
    token: str
    idempotency_key: str
    request_hash: str
    simulation: str
    parameters: str
    seed: str
    replicates: int
    options: str
    tags: str
    webhook: str = field(repr=False)
    submitted_at: str
    cancel_asked: bool = False
    state: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    replicates_completed: int = 0
    from_store: int = 0
    retries: int = 0
    error: str = ""
    store_error: str = ""
    result_hash: str = ""

    def __repr__(self) -> str:
        return in_short(f"JobRow {self.id}", f"{self.state or 'open'}, {self.simulation}, {self.parameters}")


OF_END = (
    "state",
    "started_at",
    "ended_at",
    "replicates_completed",
    "from_store",
    "retries",
    "error",
    "store_error",
    "result_hash",
)
"""The fields of a `JobRow` that its end sets; the others stay as they are."""

CHANGEABLE = ("tags", "options", "cancel_asked")
"""The fields of a `JobRow` that `History.change_job` takes."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An access token; its text is known to its holder alone.

    Attributes
    ----------
    id : str
    digest : str
        SHA-256 of the secret, in hexadecimal digits.
    role, tenant, name : str
        The tenant is empty for all.
    created_at : str
    expires_at, revoked_at : str or None
    """

    id: str
    digest: str = field(repr=False)
    role: str
    tenant: str
    name: str
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is to be sent, or was.

    Attributes
    ----------
    id : str
        ``msg_`` and 24 hexadecimal digits; the same in each attempt.
    job, event : str
    url, secret : str
        Where to, and what signs it; `repr` leaves both out.
    payload : str
        JSON.
    created_at : str
    attempts : int
        Made so far.
    due_at : str
        When the next one is to be made.
    state : str
        ``pending``, ``delivered`` or ``failed``.
    status : int
        Of the last answer; 0 if there was none.
    error : str
        Of the last attempt; empty for none.
    """

    id: str
    job: str
    event: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    payload: str = field(repr=False)
    created_at: str
    attempts: int
    due_at: str
    state: str = "pending"
    status: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What somebody did.

    Attributes
    ----------
    at : str
    token, tenant, role : str
        Whose request it was.
    action, target : str
        Such as ``POST /v1/jobs``, and the id of what it acted on.
    status : int
        Of the answer.
    detail : str
    id : int
        Its number, which the history gives.
    """

    at: str
    token: str
    tenant: str
    role: str
    action: str
    target: str
    status: int
    detail: str
    id: int = field(default=0, metadata=NO_COLUMN)


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs are meant, the newest first. What is not given does not matter.

    Attributes
    ----------
    tenant : str or None
    states : tuple of str
        As `JobRow.state`; any if there are none.
    simulation : str or None
        Its name, or the last part of it.
    tag : str or None
    parameters : mapping of str to object
        Values that parameters have, as JSON has them; the numbers 1 and 1.0 are one.
    since, until : str or None
        When they were submitted, as a store writes times; both ends are included.
    ids : collection of str or None
    before : (str, str) or None
        `submitted_at` and `id` of the last job of the page before.
    limit : int
    """

    tenant: str | None = None
    states: tuple[str, ...] = ()
    simulation: str | None = None
    tag: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None
    ids: Collection[str] | None = None
    before: tuple[str, str] | None = None
    limit: int = 50


class History(abc.ABC):
    """Jobs, tokens, deliveries and an audit log. Any thread may call any method.

    `note_job`, `end_job` and `add_audit` take microseconds, wait for nothing and never raise. Their changes become
    durable soon; a store that cannot be written logs that once, and tries again with the next change. All other methods
    see these changes, are durable when they return, and raise a `StoreError` if the store cannot be used.
    """

    # ---- jobs ----------------------------------------------------------------------------------------

    @abc.abstractmethod
    def add_job(self, row: JobRow) -> JobRow | None:
        """Note a job that was asked for, durably.

        Returns
        -------
        JobRow or None
            None if it was added. Else the job that is there, and nothing was changed: it has the same `token` and
            `idempotency_key`, and was submitted less than `KEY_AGE_S` before this one; or it has the same id.
            Of several callers one alone adds, across processes.
        """

    @abc.abstractmethod
    def note_job(self, row: JobRow) -> None:
        """Note a job, without its idempotency key, unless its id is there."""

    @abc.abstractmethod
    def end_job(
        self,
        row: JobRow,
        deliveries: Sequence[Delivery] = (),
        on_written: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """Note the end of a job, and what is to be delivered of it, in one transaction.

        Parameters
        ----------
        row : JobRow
            If its id is there, the fields `OF_END` are set, and the others stay.
        deliveries : sequence of Delivery
        on_written : callable, optional
            Gets None when this is durable, or the error; called once, in another thread or before this returns.
        """

    @abc.abstractmethod
    def job(self, id: str) -> JobRow | None:
        """Return a job, None if there is none of this id."""

    @abc.abstractmethod
    def job_by_key(self, token: str, idempotency_key: str, now: str) -> JobRow | None:
        """Return the job for which `add_job` would refuse another one with this key at a time; None if it would not."""

    @abc.abstractmethod
    def jobs(self, query: JobQuery) -> list[JobRow]:
        """Return the jobs that are meant, by `submitted_at` and `id`, the newest first."""

    @abc.abstractmethod
    def count_jobs(self, query: JobQuery) -> int:
        """Return how many jobs are meant, whatever the query's limit."""

    @abc.abstractmethod
    def tally(self) -> dict[tuple[str, str, str], int]:
        """Return how many jobs there are, by tenant, simulation and state; it looks at all of them."""

    @abc.abstractmethod
    def open_jobs(self) -> list[JobRow]:
        """Return the jobs that have not ended, the oldest first."""

    @abc.abstractmethod
    def change_job(self, id: str, **columns: Any) -> bool:
        """Set some of the fields `CHANGEABLE`; return whether the job is there."""

    @abc.abstractmethod
    def ask_cancel(self, ids: Iterable[str]) -> None:
        """Set `cancel_asked` of these jobs, in one transaction."""

    @abc.abstractmethod
    def forget_jobs(self, before: str, most: int) -> int:
        """Delete the jobs that ended before a time, and the oldest ended beyond a number; return how many."""

    # ---- tokens --------------------------------------------------------------------------------------

    @abc.abstractmethod
    def add_token(self, row: TokenRow) -> None:
        """Add a token of a new id."""

    @abc.abstractmethod
    def token(self, id: str) -> TokenRow | None:
        """Return a token, None if there is none of this id."""

    @abc.abstractmethod
    def tokens(self) -> list[TokenRow]:
        """Return all tokens, the oldest first."""

    @abc.abstractmethod
    def revoke_token(self, id: str, at: str) -> bool:
        """Note that a token counts no more; return False if there is none, or it was revoked before."""

    # ---- deliveries ----------------------------------------------------------------------------------

    @abc.abstractmethod
    def due_deliveries(self, now: str, limit: int) -> list[Delivery]:
        """Return pending deliveries that are due, the first due first; of those to one `url`, the first alone."""

    @abc.abstractmethod
    def next_delivery_at(self, now: str) -> str | None:
        """Return when the next pending delivery is due that is not due yet, None if there is none."""

    @abc.abstractmethod
    def claim_delivery(self, id: str, due_at_seen: str, new_due_at: str) -> bool:
        """Take a pending delivery, and set when the next caller may; True to one caller alone, across processes."""

    @abc.abstractmethod
    def put_delivery(self, delivery: Delivery) -> None:
        """Set attempts, due time, state, status and error of a delivery that is there."""

    @abc.abstractmethod
    def deliveries(self, job: str | None = None, state: str | None = None, limit: int = 100) -> list[Delivery]:
        """Return deliveries, the newest first."""

    @abc.abstractmethod
    def forget_deliveries(self, before: str) -> int:
        """Delete what was made before a time, also what could not be delivered since; return how many."""

    # ---- audit ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def add_audit(self, row: AuditRow) -> None:
        """Note what somebody did; its `id` is ignored."""

    @abc.abstractmethod
    def audit(self, tenant: str | None, limit: int, before_id: int | None = None) -> list[AuditRow]:
        """Return what was done, of one tenant or by all, the newest first, before the entry with a number."""

    @abc.abstractmethod
    def forget_audit(self, before: str) -> int:
        """Delete what was done before a time; return how many entries."""
