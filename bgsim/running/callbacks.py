"""A thread for the done-callbacks of jobs whose end the store reports, so that they hold up no other result.

The standard library's `ThreadPoolExecutor` would do, but that the interpreter waits for its threads at exit: a callback
that never returns would keep the process alive.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("bgsim.engine")


class CallbackThread:
    """Calls what it is given, one after the other, in a thread that starts with the first. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below; nothing is called under it
        self._arrived = threading.Condition(self._lock)
        self._waiting: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def post(self, action: Callable[[], None]) -> None:
        """Call something soon; after `close` at once, in this thread."""
        with self._lock:
            if not self._closed:
                self._waiting.append(action)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="bgsim-callbacks", daemon=True)
                    self._thread.start()
                self._arrived.notify()
                return
        action()

    def close(self, timeout_s: float | None) -> None:
        """Call what waits, then stop; wait for that, except from one of the calls."""
        with self._lock:
            self._closed = True
            self._arrived.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    if self._closed:
                        return
                    self._arrived.wait()
                action = self._waiting.popleft()
            try:
                action()
            except BaseException:
                logger.exception("a done-callback raised")
            del action
