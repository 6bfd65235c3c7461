"""What belongs to a tenant: names within it, and what a caller of one may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.errors import nearest
from bgsim.service.problems import ProblemError
from bgsim.service.views import read_object

if TYPE_CHECKING:
    from collections.abc import Collection

    from bgsim.service.routing import Call
    from bgsim.simulation import Simulation


def tenant_of(kept: Any) -> str:
    """Return whose a request of the journal is; empty for nobody's."""
    found = read_object(kept.options).get("tenant")
    return found if isinstance(found, str) else ""


def workspace_of(call: Call, name: str) -> str:
    """Return the store's name of a workspace, which the caller may give with its tenant or without."""
    tenant = call.caller.tenant
    return name if not tenant or name.startswith(f"{tenant}/") else f"{tenant}/{name}"


def check_shared(call: Call, what: str) -> None:
    """Refuse a caller of one tenant what concerns them all.

    Raises
    ------
    ProblemError
        403.
    """
    if call.caller.tenant:
        raise ProblemError(403, f"{what} concerns all tenants; that takes a token without a tenant")


def absent(what: str, name: str, known: Collection[str] = ()) -> ProblemError:
    """Return the problem of something that is not there, or that the caller may not see."""
    return ProblemError(404, f"there is no {what} {name!r}{nearest(name, known)}")


def find_simulation(call: Call, name: str) -> Simulation:
    """Return a simulation that is served, or of which the caller sees a job that has not ended.

    Raises
    ------
    ProblemError, SimulationNotFoundError
        404.
    """
    for live in call.service.recorder.all_live():
        simulation = live.job.simulation
        if name in (simulation.name, simulation.short_name) and call.caller.sees(live.row.tenant):
            return simulation
    return call.service.simulations.find(name)
