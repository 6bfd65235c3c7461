"""The plain form of a compiled function, all that it calls included.

A jitted function called from plain Python runs compiled, and is compiled for that first. Its plain form runs in the
interpreter at once, can be stepped through, and lets parts be replaced: the stand-in of an empty function may write a
log.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any


def plain_form(function: Callable[..., Any], replacing: dict[Any, Any] | None = None) -> Callable[..., Any]:
    """Return the plain Python form of a function.

    Parameters
    ----------
    function : callable
        A function or a numba dispatcher. What it calls by the names of its module's globals, and what these call, is
        taken in its plain form, too, as far as it is of the same package.
    replacing : dict of function to function, optional
        Stand-ins for functions that are called.

    Returns
    -------
    callable
        A copy; the original and its module stay as they are.
    """
    copy: Callable[..., Any] = _copy(_plain(function), dict(replacing or {}))
    return copy


def _plain(function: Any) -> Any:
    return getattr(function, "py_func", function)


def _copy(function: Any, made: dict[Any, Any]) -> Any:
    if function in made:
        return made[function]
    scope = dict(function.__globals__)
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    made[function] = copy
    package = function.__module__.partition(".")[0]
    for name in function.__code__.co_names:
        called = _plain(scope.get(name))
        if isinstance(called, types.FunctionType) and called.__module__.partition(".")[0] == package:
            scope[name] = _copy(called, made)
    return copy
