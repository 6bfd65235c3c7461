"""Who is told of each job that an engine takes, in the thread of the callbacks."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bgsim.checks import NotPicklable, refused
from bgsim.threads.locks import Lock
from bgsim.threads.signals import interruptibly, is_interrupt

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.progress import ProgressBus
    from bgsim.running.state import State

logger = logging.getLogger("bgsim.engine")


class Submissions(NotPicklable):
    """What `Engine.on_submit` returns: it has a callback called with each new job. Any thread may call any method.

    The bus gives a turn to one callback after the other, so an update of a job may come in its turn before the job
    does. `tell` closes that gap.
    """

    instead = "call on_submit of the other process's engine"

    def __init__(self, state: State, bus: ProgressBus, callback: Callable[[Job], Any]) -> None:
        if not callable(callback):
            raise refused("callback", callback, "callable")
        self._state = state
        self._bus = bus
        self._callback = callback
        self._lock = Lock()  # guards the next two; nothing is called under it
        self._waiting: deque[Job] = deque()
        self._tells = False
        bus.call(self.tell)  # at once, so that the bus has its thread: it is not to be started under the engine's lock
        with state.lock:
            state.submissions += (self._note,)

    def unsubscribe(self) -> None:
        """Call nothing any more. More than once does no harm."""
        with self._state.lock:
            self._state.submissions = tuple(note for note in self._state.submissions if note != self._note)
        with self._lock:
            self._waiting.clear()

    def tell(self) -> None:
        """Call the callback with each job that the engine has taken and that it has not had, the oldest first.

        A callback of `Engine.subscribe` that calls this first has each job before its first update.
        """
        with self._lock:
            if self._tells:  # another thread does, or a caller of this
                return
            self._tells = True
        while (job := self._next()) is not None:
            try:
                interruptibly(self._callback, job)
            except BaseException as error:
                if is_interrupt(error) or not isinstance(error, Exception):
                    with self._lock:
                        self._tells = False
                    raise
                logger.exception("a callback of on_submit raised: %r", self._callback)

    def _note(self, job: Job) -> None:
        """Take a new job; under the engine's lock."""
        with self._lock:
            self._waiting.append(job)
        self._bus.call(self.tell)

    def _next(self) -> Job | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._tells = False
            return None
