"""Figures of results and of sweeps; `bgsim.analysis.drawing` draws the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.analysis import drawing, statistics
from bgsim.analysis.dataset import cube_of, labels, variables_of
from bgsim.analysis.extras import load
from bgsim.analysis.intervals import check_confidence
from bgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bgsim.analysis.dataset import Variable
    from bgsim.analysis.distribution import Distribution
    from bgsim.analysis.points import Points
    from bgsim.kernels.outputs import Output

_MOST_TICKS = 8
"""Values of a grid that are written beside the axis; of more, matplotlib chooses round ones."""

_MOST_LINES = 10
"""With more lines a colour bar says which is which, in place of a legend."""


def plot_outputs(
    outputs: Iterable[Output], of: Callable[[Variable], Distribution], output: str | None, ax: Any, confidence: float
) -> Any:
    """Draw outputs of a result, which gives the distribution of each; see `SimulationResult.plot`."""
    check_confidence(confidence)
    found = _drawable(outputs, most=2)
    names = drawing.chosen(list(found), output, "real, with two dimensions at most")
    axes = drawing.panels(len(names), ax)
    for panel, name in zip(axes, names, strict=True):
        _draw_output(panel, found[name], of(found[name]), confidence)
    return drawing.as_given(axes)


def plot_points(points: Points, output: str | None, ax: Any, confidence: float) -> Any:
    """Draw outputs over the points of a batch; see `bgsim.jobs.tabulated.Tabulated.plot`."""
    check_confidence(confidence)
    varied = points.varied()
    if not varied or (points.grid and len(varied) > 2):
        raise InvalidInputError(
            f"a figure of a grid has one or two parameters; this batch varies {', '.join(varied) or 'none'}. "
            "Choose from to_xarray() or to_pandas()",
            field="batch",
        )
    found = _drawable(points.simulation.outputs, most=1 if len(varied) == 1 else 0)
    scalars = [name for name, variable in found.items() if not (variable.output.shape or variable.inner)]
    kind = "a real number, or a row of them"
    if len(varied) > 1:
        kind = "a real number over more than one parameter (choose from an array's by to_xarray())"
    names = drawing.chosen(list(found) if output is not None else scalars or list(found), output, kind)
    if len(varied) > 2:
        if len(names) > 1:
            raise InvalidInputError(
                f"name one output, to be drawn over each parameter: {', '.join(names)}", field="output"
            )
        axes = drawing.panels(len(varied), ax)
        _draw_effects(axes, points, varied, found[names[0]])
        return drawing.as_given(axes)
    axes = drawing.panels(len(names), ax)
    for panel, name in zip(axes, names, strict=True):
        if len(varied) == 1:
            _draw_line(panel, points, varied, found[name], confidence)
        else:
            _draw_plane(panel, points, varied, found[name])
    return drawing.as_given(axes)


def _drawable(outputs: Any, *, most: int) -> dict[str, Variable]:
    """Return the outputs of real numbers with so many dimensions at most."""
    return {
        variable.label: variable
        for variable in variables_of(outputs)
        if variable.dtype.kind in "biuf" and len(variable.output.shape) + len(variable.inner) <= most
    }


def _draw_output(ax: Axes, variable: Variable, values: Distribution, confidence: float) -> None:
    name = variable.label
    axes = [axis for axis, length in zip(_axis_names(variable), values.lengths, strict=True) if length != 1]
    if not values.shape:
        if values.kind == "b":
            drawing.proportion(ax, name, values, confidence)
        else:
            drawing.histogram(ax, name, values)
    elif len(values.shape) == 1:
        drawing.fan(ax, name, axes[0], values, confidence)
    else:
        mean = values.mean()
        drawing.heat_map(ax, f"mean of {name}", np.arange(mean.shape[1]), np.arange(mean.shape[0]), mean)
        ax.set(xlabel=axes[1], ylabel=axes[0])
        drawing.integer_ticks(ax.xaxis)
        drawing.integer_ticks(ax.yaxis)


def _draw_line(
    ax: Axes, points: Points, varied: Mapping[str, Sequence[Any]], variable: Variable, confidence: float
) -> None:
    """Draw a mean over one parameter with its interval, or a curve for each of its values."""
    (name, values), *_ = varied.items()
    places, ticks = _places(values)
    label = drawing.parameter_label(points.simulation, name)
    if variable.output.shape or variable.inner:
        _draw_curves(ax, points, variable, labels(values), label)
        return
    order = np.argsort(places, kind="stable")
    estimates = np.full((3, len(points)), np.nan)
    with statistics.quiet():
        for i, point in enumerate(points):
            if point.result is not None:
                found = point.result.distribution(variable)
                estimates[:, i] = found.mean(), *found.interval(confidence)
    x, (mean, low, high) = places[order], estimates[:, order]
    interval_label = f"{100 * confidence:g} % interval"
    if ticks is None:
        drawing.band(ax, x, mean, low, high, interval_label, marker="o", ms=4)
        drawing.few_ticks(ax.xaxis)
    else:
        drawing.marks(ax, x, mean, low, high, interval_label)
        ax.set_xticks(range(len(ticks)), ticks)
        ax.set_xlim(-0.5, len(ticks) - 0.5)
    drawing.mark_missing(ax, [place for place, point in zip(places, points, strict=True) if point.result is None])
    ax.set(xlabel=label, ylabel=_title(variable))
    if ticks is None:
        ax.legend(frameon=False)
    else:
        drawing.legend_above(ax)


def _draw_curves(ax: Axes, points: Points, variable: Variable, values: NDArray[Any], label: str) -> None:
    """Draw the mean of an array output over its axis, a line for each value of a parameter."""
    means = cube_of(points, variable, "mean")
    pyplot, matplotlib = load("matplotlib.pyplot", "plot()"), load("matplotlib", "plot()")
    few = len(means) <= _MOST_LINES or values.dtype.kind not in "iuf"
    shades = np.argsort(np.argsort(values, kind="stable")) if few else values
    seen = matplotlib.colors.ListedColormap(pyplot.get_cmap()(np.linspace(0.15, 0.9, 256)))  # also on white and black
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(shades.min(), shades.max()), seen)
    for mean, value, color in zip(means, values, scale.to_rgba(shades), strict=True):
        if not np.isnan(mean).all():
            text = f"{value:g}" if values.dtype.kind == "f" else drawing.as_text(str(value))
            ax.plot(np.arange(len(mean)), mean, color=color, label=text)
    if few and ax.get_legend_handles_labels()[1]:
        ax.legend(title=label, frameon=False)
    elif not few:
        ax.figure.colorbar(scale, ax=ax, label=label)
    ax.set(xlabel=_axis_names(variable)[0], ylabel=_title(variable))
    drawing.integer_ticks(ax.xaxis)
    ax.margins(x=0)


def _draw_effects(
    axes: Sequence[Axes], points: Points, varied: Mapping[str, Sequence[Any]], variable: Variable
) -> None:
    """Draw the mean of each point over each parameter in turn."""
    means = cube_of(points, variable, "mean")
    for ax, (name, values) in zip(axes, varied.items(), strict=True):
        places, ticks = _places(values)
        ax.plot(places, means, "o", ms=4, alpha=0.7, color="C0")
        drawing.mark_missing(ax, places[np.isnan(means)])
        if ticks is not None:
            ax.set_xticks(range(len(ticks)), ticks)
        else:
            drawing.few_ticks(ax.xaxis)
        ax.set(xlabel=drawing.parameter_label(points.simulation, name), ylabel=_title(variable))
        if ax.get_legend_handles_labels()[1]:
            ax.legend(frameon=False)


def _draw_plane(ax: Axes, points: Points, varied: Mapping[str, Sequence[Any]], variable: Variable) -> None:
    """Draw a mean over two parameters: as a heat map of a grid, else as coloured points."""
    means = cube_of(points, variable, "mean")
    (x_name, x_values), (y_name, y_values) = varied.items()
    if points.grid:
        (x, x_ticks), (y, y_ticks) = (_places(values) for values in points.grid.values())
        plane = means.reshape(len(x), len(y)).T
        across, up = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
        drawing.heat_map(ax, _title(variable), x[across], y[up], plane[np.ix_(up, across)])
    else:
        (x, x_ticks), (y, y_ticks) = _places(x_values), _places(y_values)
        there = ~np.isnan(means)
        shown = ax.scatter(x[there], y[there], c=means[there])
        ax.figure.colorbar(shown, ax=ax, label=_title(variable))
        if not there.all():
            ax.plot(x[~there], y[~there], "x", color="C3", label=drawing.NO_RESULT)
            drawing.legend_above(ax)
    for axis, places, ticks in ((ax.xaxis, x, x_ticks), (ax.yaxis, y, y_ticks)):
        if ticks is not None:
            axis.set_ticks(range(len(ticks)), ticks)
        elif points.grid and _has_room(places):
            axis.set_ticks(np.sort(places), [f"{place:g}" for place in np.sort(places)])
    ax.set_xlabel(drawing.parameter_label(points.simulation, x_name))
    ax.set_ylabel(drawing.parameter_label(points.simulation, y_name))


def _places(values: Sequence[Any]) -> tuple[NDArray[np.float64], list[str] | None]:
    """Return where values stand on an axis: numbers where they are, all else side by side, with its texts."""
    found = labels(values)
    if found.dtype.kind in "iuf":
        return found.astype(float), None
    names = list(dict.fromkeys(map(str, found)))
    return np.array([names.index(str(value)) for value in found], float), list(map(drawing.as_text, names))


def _has_room(places: NDArray[np.float64]) -> bool:
    """Tell whether each value can have a tick."""
    apart = np.diff(np.sort(places))
    return len(places) <= _MOST_TICKS and bool((apart * 2 * _MOST_TICKS > apart.sum()).all())


def _title(variable: Variable) -> str:
    return f"{'proportion' if variable.dtype.kind == 'b' else 'mean'} of {variable.label}"


def _axis_names(variable: Variable) -> list[str]:
    """Return how the axes of an array are called: by the parameter that gives the length, or by number."""
    declared = (*variable.output.shape, *variable.inner)
    return [
        length if isinstance(length, str) else f"{variable.label}, axis {axis}" for axis, length in enumerate(declared)
    ]
