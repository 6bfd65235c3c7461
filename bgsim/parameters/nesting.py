"""Texts from files: read only if they are nested no deeper than the parsers bear.

A parser raises RecursionError or MemoryError for a text that is nested too deeply, and does the same when its caller is
deep in the stack or memory is short. So the depth is counted before: what the text is to blame for is a ValueError,
and every other error is the moment's.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any

MAX_DEPTH = 200

_JSON_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PYTHON_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_LITERAL = re.compile(r"(?:[\[\](){},:\s]|\d|True|False)*")
"""What may stand between the texts of a literal: no sign, and so no depth but that of brackets."""

_STEPS = {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}


def read_json(text: object, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError, TypeError
        If it is none, or nested deeper than `MAX_DEPTH`.
    """
    if not isinstance(text, str):
        raise TypeError(f"it is no text but {type(text).__name__}")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(_JSON_TEXT.sub("", text))
    return json.loads(text, object_hook=object_hook)


def read_literal(text: str) -> Any:
    """Return the value of a Python literal of lists, tuples, dicts, texts, booleans and integers.

    Raises
    ------
    ValueError, SyntaxError
        If it is none, or nested deeper than `MAX_DEPTH`.
    """
    between = _PYTHON_TEXT.sub(" ", text)
    if _LITERAL.fullmatch(between) is None:
        raise ValueError(f"{text[:50]!r} is no literal of lists, texts and integers")
    _check_depth(between)
    return ast.literal_eval(text)


def _check_depth(outside: str) -> None:
    """Refuse a text that is nested too deeply, given without the texts in it."""
    steps = [_STEPS[c] for c in outside if c in _STEPS]
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
