"""Numbers and times as a card writes them: short, and of the same width while they run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bgsim.analysis.summary import mean_with_error
from bgsim.errors import brief
from bgsim.progress import format_duration
from bgsim.tables import shown

if TYPE_CHECKING:
    from bgsim.live.estimates import Estimate
    from bgsim.precision import Precision

_UNITS = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))


def with_error(estimate: Estimate) -> str:
    """Return an estimate's mean and standard error, or a dash without one: ``"10.635 ± 0.015"``."""
    return mean_with_error(estimate.mean, estimate.standard_error) if estimate.valid else "–"


def rate(per_second: float | None) -> str:
    """Return a speed in replicates a second, with three digits: ``"1.35 M/s"``."""
    if not per_second:
        return ""
    for size, unit in _UNITS:
        if per_second >= size:
            return (
                f"{per_second / size:.3g}{unit}/s" if per_second < 1000 * size else f"{per_second / size:,.0f}{unit}/s"
            )
    return f"{per_second:.3g}/s"


def seconds(value: float) -> str:
    """Return how long something has taken so far: whole seconds, so that it does not flicker."""
    return format_duration(1000 * math.floor(value)) if value >= 60 else f"{math.floor(value)} s"


def left(remaining_s: float | None) -> str:
    """Return how long the rest will take, in steps that can be read: ``"about 4 s left"``."""
    if remaining_s is None or not math.isfinite(remaining_s):
        return ""
    return f"{seconds(remaining_s) if remaining_s >= 1 else 'under 1 s'} left"


def value(given: Any, most: int = 24) -> str:
    """Return a parameter's value in a few characters."""
    if isinstance(given, str):
        return given if len(given) <= most else given[: most - 1] + "…"
    text = shown(given) if isinstance(given, bool | int | float) else brief(given, most)
    return " ".join(text.split())


def setting(parameters: Any, most: int = 6) -> str:
    """Return the first parameters by name: ``"strike 100 · volatility 0.3"``."""
    parts = [f"{name} {value(given)}" for name, given in list(parameters.items())[:most]]
    if len(parameters) > most:
        parts.append("…")
    return " · ".join(parts)


def precision(asked: Precision) -> str:
    """Return what a precision asks for: ``"standard error of payoff 0.01"``."""
    outputs, target = " and ".join(asked.outputs), getattr(asked, asked.kind)
    if asked.kind == "relative":
        return f"error of {outputs} {100 * target:g} %"
    return f"{asked.kind.replace('_', ' ')} of {outputs} {target:g}"


def end(number: float) -> str:
    """Return the end of an axis, to four digits."""
    return f"{number:.4g}"
