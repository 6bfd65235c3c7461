"""What the store has of a request: used only if it is what the simulation declares."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bgsim.kernels.outputs import unlike_declared
from bgsim.storage import Columns

if TYPE_CHECKING:
    from bgsim.request import Request
    from bgsim.storage import Store

logger = logging.getLogger("bgsim.engine")


def load_stored(store: Store, request: Request, replicates: int) -> tuple[Columns | None, str]:
    """Return the first replicates of a request's result, or as many as are stored, and why what is stored is not used.

    A file may have been edited, or come from elsewhere. What is not used stays until the computed result replaces it.

    Returns
    -------
    Columns or None
    str
        Empty if the columns are the simulation's, or nothing is stored.
    """
    columns = store.load(request.key, replicates)
    if columns is None:
        return None, ""
    simulation = request.simulation
    pairs = simulation.pairs if request.keep == "summary" else None
    why = unlike_declared(simulation.outputs, request.parameters, columns, pairs)
    if why:
        logger.warning(
            "the stored result %s of %s is not used, since %s; it is computed again, and replaced",
            request.key.hash, simulation.name, why,
        )  # fmt: skip
        return None, why
    if len(columns[simulation.outputs[0].name]) > replicates:  # a store that breaks its contract
        return Columns.first(columns, replicates) or None, ""
    return columns, ""
