"""What a figure is drawn of, by matplotlib: each function draws one thing into given axes.

Colours are those of the style in force, so that a figure fits into a paper or onto a dark slide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis.distribution import INNER
from bgsim.analysis.extras import load
from bgsim.analysis.provenance import described
from bgsim.analysis.summary import mean_with_error
from bgsim.errors import InvalidInputError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bgsim.analysis.distribution import Distribution
    from bgsim.simulation import Simulation

NO_RESULT = "no result"

_LONGEST_LABEL = 32
_OUTER = (0.05, 0.95)


def panels(count: int, ax: Any) -> list[Axes]:
    """Return axes for so many panels: of a new figure, or those that the caller gives.

    Raises
    ------
    InvalidInputError
        If the caller gives another number of them.
    MissingExtraError
        If matplotlib is not installed.
    """
    pyplot = load("matplotlib.pyplot", "plot()")
    if ax is not None:
        given = list(np.ravel(np.asarray(ax, object)))
        if len(given) != count:
            raise InvalidInputError(
                f"ax must have a place for each of {count} panels; got {len(given)}. A named output has fewer",
                field="ax",
                value=ax,
            )
        return given
    columns = min(3, count)
    rows = math.ceil(count / columns)
    size = None if count == 1 else (4.2 * columns, 3.4 * rows)
    _, grid = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for spare in grid.ravel()[count:]:
        spare.remove()
    return list(grid.ravel()[:count])


def chosen(names: Sequence[str], output: str | None, kind: str) -> list[str]:
    """Return the outputs to draw: the named one, or all that can be drawn.

    Raises
    ------
    InvalidInputError
    """
    if output is not None and output not in names:
        raise InvalidInputError(
            f"{output!r} cannot be drawn{nearest(output, names)}; an output must be {kind}: "
            f"{', '.join(names) or 'none is'}",
            field="output",
            value=output,
        )
    if not names:
        raise InvalidInputError(f"there is nothing to draw: no output is {kind}", field="output")
    return [output] if output is not None else list(names)


def as_given(axes: list[Axes]) -> Any:
    """Return axes as a caller wants them: the only ones, or an array."""
    return axes[0] if len(axes) == 1 else np.array(axes, object)


def parameter_label(simulation: Simulation, name: str) -> str:
    """Return a parameter with its unit: by its description, if that is short, else by its name."""
    attributes = described(simulation).get(name, {})
    text, unit = attributes.get("long_name", ""), attributes.get("units", "")
    return (text if 0 < len(text) <= _LONGEST_LABEL else name) + (f" [{unit}]" if unit else "")


def histogram(ax: Axes, name: str, found: Distribution) -> None:
    """Draw the distribution of a scalar output, with its mean; integers by whole bins."""
    ax.set(xlabel=name, ylabel="replicates")
    edges, counts = found.bars()
    if not len(counts):
        return
    ax.hist(edges[:-1], list(edges), weights=counts, color="C0", alpha=0.85)
    if found.kind in "iu":
        integer_ticks(ax.xaxis)
    mean, error = found.center()
    if math.isfinite(mean):
        ax.axvline(mean, color="C1", label=f"mean {mean_with_error(mean, error)}")
        ax.legend(frameon=False)
    ax.margins(x=0.02)


def proportion(ax: Axes, name: str, found: Distribution, confidence: float) -> None:
    """Draw how often a boolean output is false and true, with Wilson's interval."""
    mean, (low, high) = found.mean(), found.interval(confidence)
    for place, bar in enumerate(((1 - mean, 1 - high, 1 - low), (mean, low, high))):
        ax.bar(place, bar[0], 0.6, color="C0", alpha=0.85)
        _error_bar(ax, place, *bar)
    ax.set(xlabel=name, ylabel="proportion of replicates", ylim=(0, 1.02), xlim=(-0.7, 1.7))
    ax.set_xticks([0, 1], ["false", "true"])


def fan(ax: Axes, name: str, axis: str, found: Distribution, confidence: float) -> None:
    """Draw an array output over its axis: median and quantiles, or the proportion of a boolean one."""
    places = np.arange(found.shape[0])
    if found.kind == "b":
        band(ax, places, found.mean(), *found.interval(confidence), f"{100 * confidence:g} % interval")
        ax.legend(frameon=False)
        ax.set(xlabel=axis, ylabel=f"proportion of {name}", ylim=(0, 1.02))
    else:
        cuts = found.quantiles((*_OUTER, *INNER, 0.5))
        ax.fill_between(places, cuts[0], cuts[1], color="C0", alpha=0.2, lw=0, label="5 to 95 %")
        ax.fill_between(places, cuts[2], cuts[3], color="C0", alpha=0.35, lw=0, label="25 to 75 %")
        ax.plot(places, cuts[4], color="C0", label="median")
        ax.set(xlabel=axis, ylabel=name)
        ax.legend(frameon=False)
    integer_ticks(ax.xaxis)
    ax.margins(x=0)


def as_text(value: str) -> str:
    """Return a text as matplotlib writes it: a dollar begins no formula, and an underscore hides no line's label."""
    plain = value.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def integer_ticks(axis: Any) -> None:
    """Have an axis of whole numbers say no others, unless the caller has chosen ticks."""
    ticker = load("matplotlib.ticker", "plot()")
    if isinstance(axis.get_major_locator(), ticker.AutoLocator):
        axis.set_major_locator(ticker.MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def few_ticks(axis: Any) -> None:
    """Have an axis so few ticks that their numbers do not meet, unless the caller has chosen them."""
    locator = axis.get_major_locator()
    if isinstance(locator, load("matplotlib.ticker", "plot()").AutoLocator):
        locator.set_params(nbins=6)


def band(ax: Axes, places: Any, center: Any, low: Any, high: Any, label: str, **line: Any) -> None:
    """Draw a line with its interval."""
    ax.fill_between(places, low, high, color="C0", alpha=0.25, lw=0, label=label)
    ax.plot(places, center, color="C0", **line)


def marks(ax: Axes, places: Any, center: Any, low: Any, high: Any, label: str) -> None:
    """Draw single points with their intervals."""
    around = np.maximum(0.0, [center - low, high - center])
    ax.errorbar(places, center, around, fmt="o", color="C0", ecolor=ax.xaxis.label.get_color(), capsize=3, label=label)


def heat_map(ax: Axes, label: str, x: Any, y: Any, values: NDArray[Any]) -> None:
    """Draw values over a plane, ``values[i, j]`` at ``x[j]`` and ``y[i]``; what is NaN is hatched."""
    if not values.size:
        return
    across, up = _edges(x), _edges(y)
    mesh = ax.pcolormesh(across, up, np.ma.masked_invalid(values), shading="flat", rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label=label)
    missing = np.isnan(values)
    if missing.any():
        hatch_missing(ax, across, up, missing)
    ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]])


def hatch_missing(ax: Axes, x: NDArray[Any], y: NDArray[Any], missing: NDArray[np.bool_]) -> None:
    """Hatch the cells without a result, and say what that means above the axes."""
    patches = load("matplotlib.patches", "plot()")
    color = ax.xaxis.label.get_color()
    style = {"facecolor": "none", "edgecolor": color, "hatch": "////", "lw": 0.0, "alpha": 0.7}
    for i, j in np.argwhere(missing):
        ax.add_patch(patches.Rectangle((x[j], y[i]), x[j + 1] - x[j], y[i + 1] - y[i], **style))
    proxy = patches.Patch(**{**style, "label": NO_RESULT})
    legend_above(ax, handles=[proxy])


def legend_above(ax: Axes, **more: Any) -> None:
    """Put the legend above the axes, where it covers nothing."""
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0.2, **more)


def mark_missing(ax: Axes, places: Any) -> None:
    """Mark where points have no result, at the foot of the axes."""
    if len(places):
        style: dict[str, Any] = {"color": "C3", "ls": "none", "marker": "x", "clip_on": False, "label": NO_RESULT}
        ax.plot(places, [0.02] * len(places), transform=ax.get_xaxis_transform(), **style)


def difference(ax: Axes, name: str, mean: Any, low: Any, high: Any, label: str) -> None:
    """Draw a difference with its interval, beside the line of no difference."""
    none = {"color": ax.xaxis.label.get_color(), "lw": 0.8, "ls": "--", "zorder": 0}
    if np.ndim(mean):
        band(ax, np.arange(len(mean)), mean, low, high, label)
        ax.axhline(0, **none)
        ax.set(xlabel=f"{name}, element", ylabel=f"difference of {name}")
        integer_ticks(ax.xaxis)
        ax.margins(x=0)
    else:
        ax.errorbar(mean, 0, xerr=[[mean - low], [high - mean]], fmt="o", color="C0", capsize=4, label=label)
        ax.axvline(0, **none)
        ax.set(xlabel=f"difference of {name}", yticks=[], ylim=(-1, 1))
    legend_above(ax, fontsize="small")  # within the axes its mark looks like another difference


def _error_bar(ax: Axes, place: float, mean: float, low: float, high: float) -> None:
    around = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
    ax.errorbar(place, mean, around, color=ax.xaxis.label.get_color(), capsize=3, lw=1.2)


def _edges(centers: Any) -> NDArray[np.float64]:
    """Return the edges of cells around centers, half-way between neighbours."""
    centers = np.asarray(centers, float)
    if (centers == centers[0]).all():
        half = max(0.5, abs(centers[0]) * 1e-6)  # beside a large number 0.5 is nothing
        return np.linspace(centers[0] - half, centers[0] + half, len(centers) + 1)
    middles = (centers[1:] + centers[:-1]) / 2
    return np.array([2 * centers[0] - middles[0], *middles, 2 * centers[-1] - middles[-1]])
