"""Warnings about a user's code, which point at its line and not at bgsim's."""

from __future__ import annotations

import sys
import warnings

from bgsim.errors import printable

_HOME = __file__.removesuffix("user_warnings.py")
"""How the names of bgsim's own files begin."""


class IdentityWarning(UserWarning):
    """A simulation reaches what cannot be followed, so its results are neither stored nor shared."""


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the line that called bgsim."""
    level, frame = 1, sys._getframe()  # noqa: SLF001 - CPython has no public name for it
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HOME):
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message), category, stacklevel=level)
