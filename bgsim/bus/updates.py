"""Progress updates, as values and as text."""

from __future__ import annotations

import enum
import html
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from bgsim.errors import printable
from bgsim.tables import in_short

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""The metadata of an update published without any."""


class UpdateType(enum.IntEnum):
    """The kind of an update; a job has at most one STARTED, any number of PROGRESS, and one terminal update."""

    STARTED = 0
    PROGRESS = 1
    COMPLETED = 2
    FAILED = 3
    CANCELLED = 4

    @property
    def is_terminal(self) -> bool:
        """Whether it is the kind of a job's last update."""
        return self >= UpdateType.COMPLETED


class ProgressUpdate(NamedTuple):
    """The state of one job at one moment. Immutable.

    Attributes
    ----------
    simulation_id : str
        The job's id.
    sequence : int
        Numbers the job's updates from 1; gaps are conflated progress.
    update_type : UpdateType
    fraction : float
        Finished part of the replicates, 0 to 1.
    replicates_completed, total_replicates : int
    estimated_time_remaining_ms : float or None
        None without an estimate.
    current_phase : str
        ``queued``, ``compiling``, ``running``, ``storing``, or the terminal state.
    messages : tuple of str
        Notes for the user.
    timestamp : float
        Seconds since the epoch.
    metadata : mapping
        Read-only. ``simulation``, ``workspace``, and where known ``rate`` (replicates a second) and ``from_store``
        (replicates).
    """

    simulation_id: str
    sequence: int
    update_type: UpdateType
    fraction: float = 0.0
    replicates_completed: int = 0
    total_replicates: int = 0
    estimated_time_remaining_ms: float | None = None
    current_phase: str = "queued"
    messages: tuple[str, ...] = ()
    timestamp: float = 0.0
    metadata: Mapping[str, Any] = NOTHING

    @property
    def update_id(self) -> str:
        """Unique among all updates."""
        return f"{self.simulation_id}:{self.sequence}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return {
            **self._asdict(),
            "update_id": self.update_id,
            "update_type": self.update_type.name,
            "messages": list(self.messages),
            "metadata": dict(self.metadata),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (*self[:-1], dict(self.metadata))

    def __str__(self) -> str:
        text = f"{self.current_phase} {format_share(self.fraction, self.replicates_completed, self.total_replicates)}"
        if self.estimated_time_remaining_ms is not None and not self.update_type.is_terminal:
            text += f", {format_duration(self.estimated_time_remaining_ms)} left"
        return "; ".join((text, *self.messages))

    def __repr__(self) -> str:
        return in_short(f"update {self.update_id}", str(self))

    def _repr_html_(self) -> str:
        return format_bar(self.fraction, str(self))


def _made_again(*fields: Any) -> ProgressUpdate:
    """Return an update that was pickled; no pickle takes read-only metadata."""
    return ProgressUpdate._make((*fields[:-1], MappingProxyType(fields[-1])))


def format_share(fraction: float, completed: int, total: int) -> str:
    """Return how much is done: ``"42.0 % (420,000/1,000,000)"``."""
    return f"{100 * fraction:.1f} % ({completed:,}/{total:,})"


def format_bar(fraction: float, text: str) -> str:
    """Return a bar with a text beside it as HTML that needs no script and no widget."""
    return f'<progress value="{fraction:.4f}" max="1"></progress> <code>{html.escape(printable(text))}</code>'


_CENTURY_MS = 100 * 365.25 * 86_400_000


def format_duration(milliseconds: float) -> str:
    """Return a duration with the unit that fits: ``"250 ms"``, ``"3.1 s"``, ``"4 min 05 s"``, ``"2 h 10 min"``."""
    if milliseconds >= _CENTURY_MS:
        return "more than a century"
    if round(milliseconds) < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
