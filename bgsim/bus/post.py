"""Where callbacks are called: a `Post` takes a callable and has it called elsewhere.

An executor and an asyncio loop each make one. Other event loops can as well::

    bus.subscribe(draw, post=lambda call: root.after(0, call))
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from bgsim.checks import refused
from bgsim.errors import InvalidInputError

Post = Callable[[Callable[[], Any]], Any]
"""Has a callable without arguments called once, elsewhere, and raises if it no longer can.

It may return a `concurrent.futures.Future` of the call.
"""


def to_executor(executor: Executor) -> Post:
    """Return a post to an executor."""
    return executor.submit


def to_loop(loop: asyncio.AbstractEventLoop) -> Post:
    """Return a post to an asyncio loop, which also awaits what the callable returns."""
    tasks: set[asyncio.Future[Any]] = set()  # the loop itself holds tasks weakly

    def begin(call: Callable[[], Any]) -> None:
        result = call()
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(result)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    return lambda call: loop.call_soon_threadsafe(begin, call)


def post_to(executor: Executor | None, loop: asyncio.AbstractEventLoop | None, post: Post | None) -> Post | None:
    """Return the post to the one of these that is given; None for the bus's own thread."""
    if executor is not None:
        return to_executor(executor)
    return post if loop is None else to_loop(loop)


def check_delivery(callback: Any, executor: Any, loop: Any, post: Any) -> None:
    """Check what a subscriber has called, and where.

    Raises
    ------
    InvalidInputError
        If an argument has the wrong type, or the arguments do not go together.
    """
    if callback is not None and not callable(callback):
        raise refused("callback", callback, "callable")
    _check_places(callback, executor, loop, post)
    if loop is None and inspect.iscoroutinefunction(callback):
        raise InvalidInputError(
            f"callback is a coroutine function, which loop= would await; got {callback!r}",
            field="callback",
            value=callback,
        )


def _check_places(callback: Any, executor: Any, loop: Any, post: Any) -> None:
    given = {field: at for field, at in (("executor", executor), ("loop", loop), ("post", post)) if at is not None}
    kinds = {"executor": Executor, "loop": asyncio.AbstractEventLoop}
    for field, value in given.items():
        if field == "post" and not callable(value):
            raise refused(field, value, "callable")
        if field in kinds and not isinstance(value, kinds[field]):
            raise refused(field, value, f"a {kinds[field].__name__}")
        if callback is None:
            raise InvalidInputError(f"{field} is for callbacks; give one, or iterate", field=field, value=value)
    if len(given) > 1:
        raise InvalidInputError(
            f"a callback is called in one place: give one of {', '.join(given)}", field=field, value=value
        )
