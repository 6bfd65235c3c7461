"""Signatures of the reference: a function that takes `**options: Unpack[...]` shows the options one by one."""

from __future__ import annotations

from typing import Any

import griffe


class Unpacked(griffe.UnpackTypedDictExtension):  # type: ignore[misc,unused-ignore]
    """Leaves the docstring alone: it says where the options are described, so no list without words follows it."""

    def on_function(self, *, func: griffe.Function, **given: Any) -> None:
        """Expand the signature alone."""
        docstring, func.docstring = func.docstring, None
        super().on_function(func=func, **given)
        func.docstring = docstring
