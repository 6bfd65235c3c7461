"""Slots over HTTP: the two newest results of a workspace, and how they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import msgspec
import numpy as np
from msgspec import Meta

from bgsim.service.problems import ProblemError
from bgsim.service.routes.tenants import absent, workspace_of
from bgsim.service.routing import Answer, Call, Routes
from bgsim.service.views import parameters_of, plain

if TYPE_CHECKING:
    from bgsim.storage import Slot, SlotPair

routes = Routes()

_MOST_ELEMENTS = 10_000
"""Of an output that is compared."""


class CompareQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How sure the intervals are to be."""

    confidence: Annotated[float, Meta(gt=0, lt=1)] = 0.95


class WorkspaceList(msgspec.Struct):
    """The workspaces that have a result."""

    workspaces: list[str]


class SlotView(msgspec.Struct):
    """A result that a slot points at; `gone` where the store no longer has it."""

    hash: str
    replicates: int
    placed_at: str
    simulation: str | None = None
    short_name: str | None = None
    seed: int | None = None
    parameters: dict[str, Any] | None = None
    summary: dict[str, dict[str, Any]] | None = None
    gone: bool = False


class SlotsView(msgspec.Struct):
    """A workspace: its newest result, and the one before."""

    workspace: str
    primary: SlotView | None
    secondary: SlotView | None
    links: dict[str, str]


class DifferenceView(msgspec.Struct):
    """Mean of the primary's output less that of the secondary's, with its confidence interval."""

    difference: Any
    standard_error: Any
    low: Any
    high: Any
    replicates: int
    paired: bool
    valid: Any
    significant: Any


class ComparisonView(msgspec.Struct):
    """The two results of a workspace: the parameters that differ, and the differences of the outputs' means.

    Outputs that are large arrays are left out.
    """

    workspace: str
    confidence: float
    parameters: dict[str, list[Any]]
    outputs: dict[str, DifferenceView]
    left_out: list[str]


@routes.get("/slots", "read", answer=WorkspaceList)
def list_workspaces(call: Call) -> Answer:
    """List the workspaces that have a result."""
    tenant = call.caller.tenant
    names = call.service.engine.store.workspaces()
    return Answer(WorkspaceList([name for name in names if not tenant or name.startswith(f"{tenant}/")]))


# A workspace's name may have slashes, so the routes that end in a word come first.


@routes.get(
    "/slots/{workspace:path}/compare", "read", query=CompareQuery, answer=ComparisonView, statuses=(404, 409, 422)
)
def compare_slots(call: Call) -> Answer:
    """Compare the two results of a workspace, output by output.

    Results of one simulation and one seed share their random numbers, so their differences are taken pairwise.
    """
    name, pair = _found(call)
    _check_full(name, pair, "compared")
    _check_size(call, pair)
    found = call.service.engine.store.compare(name, confidence=call.query.confidence)
    outputs = {
        output: DifferenceView(
            plain(each.mean), plain(each.standard_error), plain(each.low), plain(each.high), each.replicates,
            each.paired, plain(each.valid), plain(each.significant),
        )
        for output, each in found.outputs.items()
        if np.size(each.mean) <= _MOST_ELEMENTS
    }  # fmt: skip
    left_out = [output for output in found.outputs if output not in outputs]
    parameters = {parameter: [plain(a), plain(b)] for parameter, (a, b) in found.parameters.items()}
    return Answer(ComparisonView(name, found.confidence, parameters, outputs, left_out))


@routes.post("/slots/{workspace:path}/swap", "control", answer=SlotsView, statuses=(404, 409))
def swap_slots(call: Call) -> Answer:
    """Exchange the two results of a workspace."""
    name, pair = _found(call)
    _check_full(name, pair, "swapped")
    return Answer(_view(call, name, call.service.engine.store.swap(name)))


@routes.get("/slots/{workspace:path}", "read", answer=SlotsView, statuses=(404,))
def show_slots(call: Call) -> Answer:
    """Show the two results of a workspace."""
    return Answer(_view(call, *_found(call)))


def _found(call: Call) -> tuple[str, SlotPair]:
    """Return the workspace that the path names, with its slots.

    Raises
    ------
    ProblemError
        404.
    """
    name = workspace_of(call, call.path["workspace"])
    pair = call.service.engine.store.slots(name)
    if pair.primary is None and pair.secondary is None:
        tenant = call.caller.tenant
        known = [
            one for one in call.service.engine.store.workspaces() if one.startswith(f"{tenant}/" if tenant else "")
        ]
        raise absent("workspace", name, known)
    return name, pair


def _check_full(name: str, pair: SlotPair, verb: str) -> None:
    if pair.primary is None or pair.secondary is None:
        raise ProblemError(
            409, f"workspace {name!r} has one of two results, so they cannot be {verb}; run it with other parameters"
        )


def _check_size(call: Call, pair: SlotPair) -> None:
    """Refuse to load what is larger than what the caller may have computed."""
    most = call.service.settings.limits_of(call.caller.role).max_result_bytes
    store = call.service.engine.store
    size = sum(found.stored_bytes for slot in pair if (found := store.get(slot.hash)) is not None)
    if size > 2 * most:
        raise ProblemError(422, f"the two results have {size:,} bytes, more than your role may have loaded")


def _view(call: Call, name: str, pair: SlotPair) -> SlotsView:
    at = call.link(f"/slots/{quote(name)}")
    return SlotsView(
        name,
        _slot(call, pair.primary),
        _slot(call, pair.secondary),
        {"self": at, "compare": f"{at}/compare", "swap": f"{at}/swap"},
    )


def _slot(call: Call, slot: Slot | None) -> SlotView | None:
    if slot is None:
        return None
    found = call.service.engine.store.get(slot.hash)
    if found is None:
        return SlotView(slot.hash, slot.replicates, slot.placed_at, gone=True)
    summary = {
        output: {word: plain(getattr(each, word)) for word in ("dtype", "mean", "sd", "minimum", "maximum")}
        for output, each in found.summary.items()
    }
    return SlotView(
        hash=slot.hash,
        replicates=slot.replicates,
        placed_at=slot.placed_at,
        simulation=found.simulation,
        short_name=found.simulation.rpartition(".")[2],
        seed=found.seed,
        parameters=parameters_of(found.record.parameters),
        summary=summary,
    )
