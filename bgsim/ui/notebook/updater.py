"""The one thread of a process that brings its cards up to date: ten times a second at most, and what has changed.

It ends when no card is left that can change, and starts with the next. It takes less than a hundredth of a core: the
longer a round takes, the longer it waits for the next.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.errors import NoThreadError, start_thread
from bgsim.threads.locks import Condition, Lock, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bgsim.ui.notebook.sources import Source

logger = logging.getLogger("bgsim.notebook")

INTERVAL_S = 0.1
"""Between two rounds, at the least."""

IDLE_S = 1.0
"""Between two looks at a card that does not change, and between two rounds if none does."""

SHARE = 0.008
"""The part of a core that the thread may take."""


class Front(Protocol):
    """Where a card is shown."""

    interval_s: float

    def begin(self, state: dict[str, Any]) -> None:
        """Show the first state."""

    def show(self, state: dict[str, Any]) -> None:
        """Show a state in place of the one before."""

    def end(self, state: dict[str, Any]) -> None:
        """Show the last state, so that it stays."""

    def save(self, state: dict[str, Any]) -> None:
        """Bring up to date what is saved, as part of the cell that ends in this thread."""


class Card:
    """One source, shown in one place. Any thread may call any method.

    Parameters
    ----------
    source : Source
    again : callable
        Called with the card when it can change again.
    clock : callable
        Seconds that do not run backwards.

    Attributes
    ----------
    first : dict
        The state that it begins with.
    rests : bool
        Whether nothing changes until the front end says something.
    ended : bool
        Whether nothing changes any more.
    """

    def __init__(
        self, source: Source, again: Callable[[Card], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._again = again
        self._clock = clock
        # Guards all below, and calls of the source's `state` and of the front. The engine's lock may be taken under it.
        self._lock = Lock()
        self._front: Front | None = None
        self._note = ""
        self._views: set[str] | None = None  # those on the screen; None until one has said so
        self._is_due_at, self._wait_s = -math.inf, 0.0
        self.first = self._shown = self._saved = source.state(clock(), "")
        self.ended = self.rests = bool(self.first["ended"])

    def begin(self, front: Front) -> None:
        """Show it for the first time."""
        with self._lock:
            self._front = front
            front.begin(self.first)
            self._is_due_at = self._clock() + front.interval_s

    def update(self) -> bool:
        """Show what has changed, if it is on the screen or will not change again; return whether something has."""
        with self._lock:
            if self.ended or self._front is None:
                return False
            over, now = self._source.is_over(), self._clock()
            if not over and (self._views == set() or now < self._is_due_at):
                return False
            try:
                return self._update(self._front, now, over=over)
            except Exception:  # of the front end, to which there may be no connection any more
                logger.debug("a card is not shown any more", exc_info=True)
                self.ended = self.rests = True
                return False

    def _update(self, front: Front, now: float, *, over: bool) -> bool:
        state = self._source.state(now, self._note)
        changed = state != self._shown
        self._wait_s = front.interval_s if changed else min(IDLE_S, max(front.interval_s, 1.5 * self._wait_s))
        self._is_due_at = now + self._wait_s
        if changed:
            self._shown = state
            front.show(state)
        if state["ended"]:
            self.ended = True
            front.end(state)
        self.rests = over
        return changed

    def cell_ended(self, note: str) -> None:
        """Bring up to date what is saved, at the end of a cell and in its thread.

        A view on the screen would be made anew, so a card that moves and has one waits until it rests.

        Parameters
        ----------
        note : str
            Said by the card from now on, if it is not empty.
        """
        with self._lock:
            self._note = note or self._note
            self._is_due_at = -math.inf
        self.update()
        with self._lock:
            may = self.rests or self._views is None
            if self._front is not None and may and self._shown is not self._saved:
                self._saved = self._shown
                self._front.save(self._shown)

    def receive(self, message: Mapping[str, Any]) -> None:
        """Do what the front end asks for: a button, a slider, or that a view is or is not on the screen."""
        if "view" in message:
            with self._lock:
                views = self._views = self._views or set()
                (views.add if message.get("shown") else views.discard)(str(message["view"]))
        else:
            self._source.do(message)
        with self._lock:
            self._is_due_at = -math.inf
        self.update()
        if not self.rests:
            self._again(self)


class Updater:
    """Has a thread while there is a card that can change."""

    def __init__(self, cost: Callable[[], float] = time.thread_time) -> None:
        self._cost = cost
        self._lock = Lock()  # guards all below; a leaf
        self._changed = Condition(self._lock.raw)
        self._cards: list[Card] = []
        self._thread: Thread | None = None

    @property
    def cards(self) -> list[Card]:
        """Those that can change."""
        with self._lock:
            return list(self._cards)

    def add(self, card: Card) -> None:
        """Keep a card up to date until it rests; one that is kept already is looked at soon."""
        if card.rests:
            return
        with self._lock:
            if card not in self._cards:
                self._cards.append(card)
            starts = self._thread is None
            if starts:
                self._thread = Thread(self._run, name="bgsim-notebook")
            thread = self._thread
            self._changed.notify_all()
        if starts and thread is not None:
            try:
                start_thread(thread)
            except NoThreadError as error:
                logger.warning("cards do not move: %s", error)
                with self._lock:
                    self._thread = None

    def _run(self) -> None:
        idle = INTERVAL_S
        while True:
            began = self._cost()
            moved = sum([card.update() for card in self.cards])
            spent = self._cost() - began
            idle = INTERVAL_S if moved else min(IDLE_S, 1.5 * idle)
            with self._lock:
                self._cards = [card for card in self._cards if not card.rests]
                if not self._cards:
                    self._thread = None
                    return
                self._changed.wait(max(idle, spent / SHARE))


UPDATER = Updater()
"""The process's."""
