"""What the command line draws: a live progress bar, and a summary that reads well."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from bgsim.progress import ProgressUpdate, format_duration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.job import Job
    from bgsim.result import ColumnSummary, SimulationResult
    from bgsim.storage import Store

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BINS = 14
_LINE_INTERVAL_S = 2.0


def show_progress(job: Job, console: Console) -> None:
    """Show a job's updates until it ends: a bar on a terminal, a line now and then elsewhere."""
    if console.is_terminal:
        _show_bar(job, console)
    else:
        _show_lines(job.updates(), console)


def _show_bar(job: Job, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("[cyan]{task.fields[rest]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("queued", total=1.0, count="", rest="")
        for update in job.updates():
            progress.update(
                task,
                description=update.current_phase,
                completed=update.fraction,
                count=f"{update.replicates_completed:,}/{update.total_replicates:,}",
                rest=_rest(update),
            )


def _rest(update: ProgressUpdate) -> str:
    rate = update.metadata.get("rate")
    parts = [f"{rate:,.0f}/s"] if rate else []
    if update.estimated_time_remaining_ms is not None:
        parts.append(f"{format_duration(update.estimated_time_remaining_ms)} left")
    return ", ".join(parts)


def _show_lines(updates: Iterable[ProgressUpdate], console: Console) -> None:
    last = time.monotonic()
    for update in updates:
        if update.update_type.is_terminal or time.monotonic() - last >= _LINE_INTERVAL_S:
            last = time.monotonic()
            console.print(str(update), markup=False, highlight=False, soft_wrap=True)


def data_console() -> Console:
    """Return a console on standard output, wide enough for any table where that is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = 200
    return console


def summary_table(result: SimulationResult) -> Table:
    """Return a table of the scalar outputs with a small histogram of each."""
    table = Table(box=None, pad_edge=False)
    for heading, justify in (
        ("output", "left"), ("mean ± standard error", "right"), ("5 %", "right"), ("50 %", "right"), ("95 %", "right"),
        ("distribution", "left"),
    ):  # fmt: skip
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name, summary in result.summary().items():
        if np.ndim(summary.mean):
            table.add_row(name, f"an array of {np.shape(summary.mean)} each")
            continue
        proportion = result[name].dtype.kind == "b"
        cells = ["" if proportion else f"{q:.6g}" for q in summary.quantiles.values()]
        table.add_row(name, estimate(summary, percent=proportion), *cells, histogram(result[name]))
    return table


def estimate(summary: ColumnSummary, *, percent: bool = False) -> str:
    """Return the mean with its standard error, to two digits of the latter."""
    scale, unit = (100.0, " %") if percent else (1.0, "")
    mean, error = scale * summary.mean, scale * summary.standard_error
    if not (math.isfinite(error) and error > 0):
        return f"{mean:.6g}{unit}"
    digits = min(12, max(0, 1 - math.floor(math.log10(error))))
    return f"{mean:.{digits}f} ± {error:.{digits}f}{unit}"


def histogram(column: NDArray[Any]) -> str:
    """Return a column's distribution as one line of blocks between its least and its largest value."""
    if column.dtype.kind not in "biuf" or not len(column):
        return ""
    values = column.astype(float)
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    low, high = values.min(), values.max()
    whole = column.dtype.kind in "biu" and high - low < _BINS
    bins = int(high - low) + 1 if whole else _BINS
    counts, _ = np.histogram(values, bins, (low - 0.5, high + 0.5) if whole else None)
    heights = np.ceil(counts / counts.max() * (len(_BLOCKS) - 1)).astype(int)
    return f"{low:.4g} {''.join(_BLOCKS[h] for h in heights)} {high:.4g}"


def slots_table(store: Store) -> Table:
    """Return a table of the workspaces' primary and secondary slots."""
    table = Table(box=None, pad_edge=False)
    for heading in ("workspace", "slot", "result", "replicates", "generation", "placed at"):
        table.add_column(heading, justify="right" if heading in ("replicates", "generation") else "left", no_wrap=True)
    for workspace in store.workspaces():
        pair = store.slots(workspace)
        for name, slot in (("primary", pair.primary), ("secondary", pair.secondary)):
            if slot is None:
                table.add_row(workspace.rpartition(".")[2], name, "empty")
            else:
                placed = slot.placed_at[:19].replace("T", " ")
                table.add_row(
                    workspace.rpartition(".")[2],
                    name,
                    slot.hash[:12],
                    f"{slot.replicates:,}",
                    str(slot.generation),
                    placed,
                )
    return table
