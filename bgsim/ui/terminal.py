"""What the command line draws: live progress bars and tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from bgsim.analysis.summary import example, mean_with_error, span
from bgsim.errors import printable
from bgsim.progress import BatchProgress, ProgressUpdate, UpdateType, batch_of, format_duration
from bgsim.tables import Table, shown
from bgsim.ui.streams import cell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.job import Job
    from bgsim.jobs.batch import Batch
    from bgsim.storage import Store
    from bgsim.summaries.of_columns import AnyResult
    from bgsim.summaries.tally import Tally

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BINS = 14
_LINE_INTERVAL_S = 2.0
_LEAST_OF_NAME, _LEAST_OF_BAR, _MOST_OF_BAR = 8, 5, 40
"""Columns."""
_ROWS = 10
"""How many running jobs have a bar, below that of the whole."""


def show_progress(jobs: Job | Iterable[Job], console: Console) -> None:
    """Show updates until a job, or the last of several, has ended; this thread and rich's draw.

    A terminal shows one live display: a bar for each running job and, of several jobs, one for the whole. Elsewhere a
    line is written every two seconds.
    """
    watched = list(jobs) if isinstance(jobs, Iterable) else [jobs]
    if len(watched) > 1:
        _show_batch(batch_of(watched), console)
    elif not console.is_terminal:
        _show_lines(watched[0].updates(), console)
    else:
        with live_display(console) as display:
            row = display.add_task("queued", total=1.0, count="", rest="")
            for update in watched[0].updates():
                show_row(display, row, update)


def show_batch(batch: Batch, console: Console, varied: Sequence[str]) -> None:
    """Show the same of a batch, whose jobs may not all be submitted yet; a row has the values of what varies."""
    names: dict[str, str] = {}

    def name_of(job_id: str) -> str:
        if job_id not in names:
            for job in batch.submitted():
                names[job.id] = ", ".join(shown(job.parameters[name]) for name in varied)
        return names.get(job_id, job_id)

    _show_batch(batch.progress(), console, name_of)


def _show_batch(updates: BatchProgress, console: Console, name_of: Callable[[str], str] = str) -> None:
    if console.is_terminal:
        _show_bars(updates, console, name_of)
    else:
        _show_lines(updates, console)


def _show_bars(batch: BatchProgress, console: Console, name_of: Callable[[str], str]) -> None:
    with live_display(console) as display:
        whole = display.add_task("all", total=1.0, count="", rest="")
        rows: dict[str, TaskID] = {}
        for state in batch:
            running = {update.simulation_id: update for update in batch.running[:_ROWS]}
            for gone in rows.keys() - running.keys():
                display.remove_task(rows.pop(gone))
            for job, update in running.items():
                if job not in rows:
                    rows[job] = display.add_task("", total=1.0, count="", rest="")
                show_row(display, rows[job], update, name=f"{name_of(job)} ")
            display.update(whole, description=state.jobs_ended, completed=state.fraction, rest=state.outlook)


class _Line(ProgressColumn):
    """A row: name, bar and per cent, and of count and rest what there is room for.

    One column draws it all, since rich would shrink the bar first.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.display: Progress | None = None

    def render(self, task: Task) -> Text:
        """Return the line of a task, no wider than the terminal."""
        width = self._console.width - 1
        names = [cell_len(other.description) for other in (self.display.tasks if self.display is not None else [task])]
        name_width = min(max(names), max(_LEAST_OF_NAME, width // 3))
        line = Text(task.description)
        line.truncate(name_width, overflow="ellipsis", pad=True)
        fraction = min(1.0, max(0.0, task.completed / (task.total or 1.0)))
        line.append(" ").append(self._bar(fraction, max(_LEAST_OF_BAR, min(_MOST_OF_BAR, width // 4))))
        line.append(f" {100 * fraction:3.0f}%", "progress.percentage")
        for part, style in ((task.fields["count"], ""), (task.fields["rest"], "cyan")):
            if part and line.cell_len + 1 + cell_len(part) <= width:
                line.append(" ").append(part, style)
        return line

    def _bar(self, fraction: float, width: int) -> Text:
        halves = int(2 * width * fraction)
        done = "━" * (halves // 2) + "╸" * (halves % 2)
        left = ("━" if self._console.color_system else " ") * (width - len(done))
        return Text(done, "bar.finished" if fraction == 1 else "bar.complete").append(left, "bar.back")


def live_display(console: Console) -> Progress:
    """Return a display whose rows `show_row` fills."""
    line = _Line(console)
    line.display = Progress(line, console=console, transient=True)
    return line.display


def show_row(display: Progress, row: TaskID, update: ProgressUpdate, name: str = "") -> None:
    """Show an update in a row of the display."""
    rate = update.metadata.get("rate")
    rest = [f"{rate:,.0f}/s"] if rate else []
    if update.estimated_time_remaining_ms is not None:
        rest.append(f"{format_duration(update.estimated_time_remaining_ms)} left")
    display.update(
        row,
        description=cell(name + update.current_phase),
        completed=update.fraction,
        count=f"{update.replicates_completed:,}/{update.total_replicates:,}",
        rest=cell(", ".join([*rest, *update.messages])),
    )


def _show_lines(updates: Iterable[ProgressUpdate] | BatchProgress, console: Console) -> None:
    """Write a line now and then, and how it ended; why a job failed is for the one who asks for its result."""
    last = time.monotonic()
    text = ""
    for update in updates:
        is_failure = isinstance(update, ProgressUpdate) and update.update_type is UpdateType.FAILED
        text = str(update).partition("; ")[0] if is_failure else str(update)
        if time.monotonic() - last >= _LINE_INTERVAL_S:
            last = time.monotonic()
            console.print(printable(text), soft_wrap=True)
            text = ""
    if text:  # the last update, which tells how it ended
        console.print(printable(text), soft_wrap=True)


def summary_table(result: AnyResult) -> Table:
    """Return a table of the outputs with a small histogram of each scalar one."""
    headings = ("output", "mean ± standard error", "5 %", "50 %", "95 %", "distribution")
    proportions = [output.name for output in result.simulation.outputs if output.dtype.kind == "b"]
    rows = []
    for output, summary in result.summary().items():
        if summary.mean is None:
            rows.append((output, example(result[output]), *[""] * 4))
            continue
        name = f"{output}, {summary.valid_text}" if summary.has_nan else output
        if np.ndim(summary.mean):
            spans = map(span, (summary.mean, *summary.quantiles.values()))
            rows.append((f"{name} {np.shape(summary.mean)}", *spans, ""))
            continue
        proportion = output in proportions
        cells = ["" if proportion else f"{q:.6g}" for q in summary.quantiles.values()]
        mean = mean_with_error(summary.mean, summary.standard_error, percent=proportion)
        rows.append((name, mean, *cells, _distribution(result, output)))
    return Table(headings, rows, most=None)


def _distribution(result: AnyResult, output: str) -> str:
    from bgsim.summaries.result import SummaryResult  # noqa: PLC0415 - completion needs none of it

    return histogram_of_tally(result.tally(output)) if isinstance(result, SummaryResult) else histogram(result[output])


def histogram(column: NDArray[Any]) -> str:
    """Return a column's distribution as one line of blocks between its least and its largest value."""
    if column.dtype.kind not in "biuf" or not len(column):
        return ""
    values = column.astype(float)
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    low, high = values.min(), values.max()
    bins, whole = _bins_of(column.dtype, low, high)
    if whole:
        places = values - low
    else:  # halves, for the difference of two doubles may be none
        width = high / 2 - low / 2
        places = (values / 2 - low / 2) / (width or 1.0) * bins
    return _blocks(low, np.bincount(places.astype(int).clip(0, bins - 1), minlength=bins), high)


def histogram_of_tally(tally: Tally) -> str:
    """Return the same of an output of which a summary is kept, from its buckets."""
    from bgsim.summaries.histogram import histogram as counted  # noqa: PLC0415 - completion needs none of it

    buckets = tally.buckets()
    is_finite = np.isfinite(buckets.low) & np.isfinite(buckets.high)
    if not is_finite.any():
        return ""
    low, high = float(buckets.low[is_finite][0]), float(buckets.high[is_finite][-1])
    bins, whole = _bins_of(tally.dtype, low, high)
    edges = np.arange(low, high + 2) if whole else 2 * np.linspace(low / 2, high / 2, bins + 1)
    if np.diff(edges).min() > 0:
        return _blocks(low, counted(buckets, edges, tally.count).counts, high)
    return _blocks(low, np.array([1] + [0] * (bins - 1)), high)  # all values are one, or as near as doubles are


def _bins_of(dtype: np.dtype[Any], low: float, high: float) -> tuple[int, bool]:
    """Return the number of bins, and whether each is of one integer."""
    whole = dtype.kind in "biu" and high - low < _BINS
    return int(high - low) + 1 if whole else _BINS, whole


def _blocks(low: float, counts: NDArray[np.int64], high: float) -> str:
    heights = np.ceil(counts / counts.max() * (len(_BLOCKS) - 1)).astype(int)
    return f"{low:.4g} {''.join(_BLOCKS[h] for h in heights)} {high:.4g}"


def slots_table(store: Store) -> Table:
    """Return a table of the workspaces' primary and secondary slots."""
    rows: list[tuple[Any, ...]] = []
    for workspace in store.workspaces():
        pair, name = store.slots(workspace), workspace.rpartition(".")[2]
        for slot_name, slot in (("primary", pair.primary), ("secondary", pair.secondary)):
            if slot is None:
                rows.append((name, slot_name, "empty", "", "", ""))
            else:
                placed = slot.placed_at[:19].replace("T", " ")
                rows.append((name, slot_name, slot.hash[:12], slot.replicates, slot.generation, placed))
    return Table(("workspace", "slot", "result", "replicates", "generation", "placed at"), rows, most=None)
