"""Packages that bgsim does without, until a caller asks for what they do."""

from __future__ import annotations

import importlib
from typing import Any

from bgsim.errors import MissingExtraError


def load(module: str, asked: str) -> Any:
    """Import a module of an optional package for what was asked for.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{asked} needs {package}: pip install {package}") from error
