"""What putting a request did."""

from __future__ import annotations

from dataclasses import dataclass

from bgsim.queue.entry import Entry
from bgsim.queue.request import SimulationRequest


@dataclass(slots=True, eq=False)
class Placement:
    """What `put` did.

    Attributes
    ----------
    entry : Entry
        The entry that serves the request.
    joined : bool
        Whether it was there before.
    dropped : tuple of SimulationRequest
        Superseded requests that have left the queue: they waited, or the newer one goes on with the same run.
    to_cancel : tuple of SimulationRequest
        Superseded requests that are being processed; the caller should cancel them.
    """

    entry: Entry
    joined: bool
    dropped: tuple[SimulationRequest, ...] = ()
    to_cancel: tuple[SimulationRequest, ...] = ()
