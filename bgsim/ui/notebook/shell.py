"""IPython's part: what is a notebook, and what happens at the end of a cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bgsim.threads.locks import Lock
from bgsim.ui.notebook.job_state import INTERRUPTED

if TYPE_CHECKING:
    from bgsim.ui.notebook.updater import Card


def kernel_shell() -> Any:
    """Return the shell of the notebook's kernel that this process is; None in a terminal, or without IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell if getattr(shell, "kernel", None) is not None else None


class CellEnds:
    """Has cards saved at the end of each cell, in its thread, and told of an interrupt."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards all below; a leaf
        self._shell: Any = None
        self._cards: list[Card] = []

    def add(self, card: Card, shell: Any) -> None:
        """Save a card from the end of this cell on."""
        with self._lock:
            self._cards.append(card)
            is_new, self._shell = shell is not self._shell, shell
        if is_new:
            shell.events.register("post_run_cell", self._ended)

    def _ended(self, result: Any) -> None:
        note = INTERRUPTED if isinstance(getattr(result, "error_in_exec", None), KeyboardInterrupt) else ""
        with self._lock:
            cards = list(self._cards)
        for card in cards:
            card.cell_ended(note)
        with self._lock:
            self._cards = [card for card in self._cards if not card.ended or card not in cards]


CELL_ENDS = CellEnds()
"""The process's."""
