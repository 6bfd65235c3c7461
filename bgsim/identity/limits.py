"""What cannot be followed: it reaches names, code or data that are made or found only at run time."""

from __future__ import annotations

import builtins
import importlib
import io
import os
import runpy
import sys
from typing import Any

_NAMES = "it reaches names that are made at run time"
_CODE = "it runs code that is made at run time"
_MODULES = "it imports modules by names that are made at run time"
_OUTSIDE = "it reads what is outside of the program"

_REASONS: tuple[tuple[Any, str], ...] = (
    (builtins.globals, _NAMES),
    (sys.modules, _NAMES),
    (sys._getframe, _NAMES),
    (builtins.eval, _CODE),
    (builtins.exec, _CODE),
    (builtins.compile, _CODE),
    (runpy.run_module, _CODE),
    (runpy.run_path, _CODE),
    (builtins.__import__, _MODULES),
    (importlib.import_module, _MODULES),
    (importlib.reload, _MODULES),
    (io.open, _OUTSIDE),
    (builtins.input, _OUTSIDE),
    (os.environ, _OUTSIDE),
    (os.getenv, _OUTSIDE),
)
_BY_ADDRESS = {id(thing): (thing, why) for thing, why in _REASONS}


def why_not(value: Any) -> str | None:
    """Return why something of the standard library cannot be followed, None if it can."""
    found = _BY_ADDRESS.get(id(value))
    return None if found is None else found[1]
