"""The text of ``bgsim run --until``."""

from __future__ import annotations

import re
from typing import Any

from bgsim.checks import refused
from bgsim.errors import InvalidInputError
from bgsim.precision.rule import Precision

_FORM = re.compile(r"\s*(?P<names>[^=]*?)\s*=\s*(?P<sign>±|\+-|\+/-)?\s*(?P<number>[0-9.eE_+-]+)\s*(?P<percent>%)?\s*")
_ALLOWED = (
    "payoff=0.01 for a standard error, payoff=0.1% for an error relative to the mean, or payoff=±0.02 (also +-0.02) "
    "for half the width of the interval"
)


def parse_until(text: str) -> Precision:
    """Return the rule that a text means: ``payoff=0.01``, ``payoff=0.1%`` or ``payoff=±0.02``; ``a,b=0.01`` of two.

    Raises
    ------
    InvalidInputError
        Naming ``--until``, and what is allowed.
    """
    found = _FORM.fullmatch(text)
    if found is None or (found["sign"] and found["percent"]):
        raise refused("--until", text, f"like {_ALLOWED}")
    try:
        number = float(found["number"])
    except ValueError as error:
        raise refused("--until", text, f"like {_ALLOWED}") from error
    names = [name.strip() for name in found["names"].split(",")]
    number = number / 100 if found["percent"] else number
    kind = "relative" if found["percent"] else "half_width" if found["sign"] else "standard_error"
    given: dict[str, Any] = {kind: number}
    try:
        return Precision(names, **given)
    except InvalidInputError as error:
        raise InvalidInputError(f"--until {text}: {error}", field="--until", value=text) from error
