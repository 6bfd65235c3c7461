"""The audit over HTTP: who has asked for what, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import msgspec
from msgspec import Meta

from bgsim.service.routing import Answer, Call, Routes

routes = Routes()


class AuditQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which entries are listed."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Annotated[int, Meta(ge=1, le=2**62)] | None = None


class AuditView(msgspec.Struct):
    """A request that changed something, or was refused."""

    id: int
    at: str
    token: str
    tenant: str
    role: str
    action: str
    target: str
    status: int
    detail: str


class AuditList(msgspec.Struct):
    """Entries, the newest first, and the `before` that goes on with older ones."""

    entries: list[AuditView]
    next: int | None = None


@routes.get("/audit", "manage", query=AuditQuery, answer=AuditList, statuses=(422,))
def list_audit(call: Call) -> Answer:
    """List who has asked for what change, and what came of it, the newest first."""
    limit = call.query.limit
    found = call.service.history.audit(call.caller.tenant or None, limit + 1, call.query.before)
    entries = [AuditView(**asdict(row)) for row in found[:limit]]
    return Answer(AuditList(entries, entries[-1].id if len(found) > limit else None))
