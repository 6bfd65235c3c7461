"""Progress bars for scripts and notebooks; the calling thread draws them, and no other."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, TypeVar

from bgsim.bus.batch_progress import WatchedJob, batch_of
from bgsim.bus.updates import format_bar, format_duration
from bgsim.errors import MissingExtraError, printable

Jobs = TypeVar("Jobs", bound=WatchedJob | Iterable[WatchedJob])

_LOG_INTERVAL_S = 10.0
_GOES_ON = "interrupted: still running in the background; job.cancel() stops it, and {}(job) shows it again"


def tqdm_bar(jobs: Jobs, **options: Any) -> Jobs:
    """Show a tqdm bar until a job, or the last of several, has ended: ``tqdm_bar(job).result()``.

    A terminal shows a bar that is redrawn, a log a line every ten seconds, and a notebook a widget; for a notebook
    without widgets, use `notebook_bar`. An interrupt ends the bar, which says so, and not the jobs.

    Parameters
    ----------
    jobs : Job or iterable of Job
        Several jobs of one engine share a bar, weighted by their replicates.
    **options
        For ``tqdm``, such as ``file``, ``leave`` and ``desc``.

    Returns
    -------
    Job or iterable of Job
        The argument.

    Raises
    ------
    MissingExtraError
        If tqdm is not installed.
    """
    shown, updates = _watch(jobs)
    bar_class = _import("tqdm.auto", "pip install tqdm").tqdm

    class Bar(bar_class):  # type: ignore[misc, valid-type]
        monitor_interval = 0  # tqdm starts no thread

    name = printable(shown[0].simulation.name.rpartition(".")[2])
    options.setdefault("desc", name if len(shown) == 1 else f"{len(shown)} jobs")
    options.setdefault("total", sum(job.replicates for job in shown))
    # tqdm's own rate would count stored replicates as work.
    options.setdefault("bar_format", "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}")
    with Bar(unit="replicates", miniters=0, dynamic_ncols=True, **options) as bar:
        if not bar.gui and not getattr(bar.fp, "isatty", bool)():  # a widget is no log, though its stream is
            bar.mininterval = max(bar.mininterval, _LOG_INTERVAL_S)
        try:
            for update in updates:
                left = update.estimated_time_remaining_ms
                notes = update.messages if left is None else (f"{format_duration(left)} left", *update.messages)
                bar.set_postfix_str(printable("; ".join(notes)), refresh=False)
                bar.update(update.replicates_completed - bar.n)
        except KeyboardInterrupt:
            bar.set_postfix_str(_GOES_ON.format("tqdm_bar"))
            raise
    return jobs


def notebook_bar(jobs: Jobs) -> Jobs:
    """Show an HTML bar in a notebook until a job, or the last of several, has ended.

    One display of plain HTML is updated, so it needs no widgets and stays in the saved notebook. An interrupt ends the
    bar, which says so, and not the jobs.

    Parameters
    ----------
    jobs : Job or iterable of Job

    Returns
    -------
    Job or iterable of Job
        The argument.

    Raises
    ------
    MissingExtraError
        If IPython, which every notebook has, is not installed.
    """
    _, updates = _watch(jobs)
    display = _import("IPython.display", "it is part of Jupyter; elsewhere use tqdm_bar").display
    handle = update = None
    try:
        for update in updates:
            if handle is None:
                handle = display(update, display_id=True)
            else:
                handle.update(update)
    except KeyboardInterrupt:
        if handle is not None and update is not None:
            handle.update(_Bar(format_bar(update.fraction, f"{update}; {_GOES_ON.format('notebook_bar')}")))
        raise
    return jobs


class _Bar(str):
    """HTML of a bar, for IPython."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return self


def _watch(jobs: WatchedJob | Iterable[WatchedJob]) -> tuple[list[WatchedJob], Iterable[Any]]:
    """Return the jobs as a list, and their updates, combined if there are several."""
    shown = list(jobs) if isinstance(jobs, Iterable) else [jobs]
    return shown, shown[0].updates() if len(shown) == 1 else batch_of(shown)


def _import(module: str, remedy: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{module.partition('.')[0]} is not installed: {remedy}") from error
