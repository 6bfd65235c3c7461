"""Whole numbers on the command line, as people write them."""

from __future__ import annotations

import decimal
from typing import Any

import click

from bgsim.errors import brief

_MULTIPLES = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}

_MOST_DIGITS = 40
"""Of a number with an exponent; ``1e999999999`` would take all memory."""


class Count(click.ParamType):  # type: ignore[type-arg] # at run time it takes one from click 8.3 on
    """An integer, also as ``1e6``, ``2M``, ``10k``, ``1.5k`` or ``1_000``.

    Parameters
    ----------
    least, most : int, optional
        The range, both ends included. By default what takes the number checks it.
    """

    name = "integer"

    def __init__(self, least: int | None = None, most: int | None = None) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or refuse what is none."""
        found = value if isinstance(value, int) else read(str(value))
        if found is None:
            self.fail(f"{brief(value)} is not a valid integer; write it as 2000000, 2_000_000, 2e6 or 2M.", param, ctx)
        if (self._least is not None and found < self._least) or (self._most is not None and found > self._most):
            self.fail(f"{brief(found)} is not in the range from {self._least} to {self._most}.", param, ctx)
        return found


def read(text: str) -> int | None:
    """Return the integer that a text stands for; None if it is none."""
    try:
        return int(text)
    except ValueError:
        pass
    multiple = _MULTIPLES.get(text[-1:], 1)
    try:
        number = decimal.Decimal(text[:-1] if multiple > 1 else text)
    except decimal.InvalidOperation:
        return None
    if not number.is_finite() or number.adjusted() > _MOST_DIGITS:
        return None
    with decimal.localcontext(prec=2 * _MOST_DIGITS):
        product = number * multiple
        return int(product) if product == product.to_integral_value() else None
