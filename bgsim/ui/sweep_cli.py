"""``bgsim sweep``: a simulation over a grid of parameters, a design, or the rows of a CSV file."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bgsim.jobs.designs import DESIGNS
from bgsim.ui.computing import (
    CANCEL_GRACE_S,
    EXIT_CODES,
    computing_options,
    end_with_nothing,
    engine_for,
    job_options,
    name_argument,
    replicates_of,
    set_option,
)
from bgsim.ui.counts import Count
from bgsim.ui.naming import simulation_of
from bgsim.ui.output_files import OF_SWEEP, check_format, force_option, output_option, write
from bgsim.ui.settings import sweep_settings
from bgsim.ui.streams import FilePath, remark, remark_console, say_json, show

if TYPE_CHECKING:
    from bgsim.engine import Engine
    from bgsim.jobs.batch import Batch
    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation
    from bgsim.ui.reports import Point

_FAILED = 1


@click.command(epilog=EXIT_CODES)
@name_argument
@set_option("A parameter: KEY=90,95,100 varies it, KEY=90 does not; with --design KEY=90:110 or KEY=1:100:log.")
@click.option("--csv", "rows", type=FilePath(), help="Take the points from this file instead: a row each.")
@click.option("--design", type=click.Choice(DESIGNS), help="Fill the ranges evenly instead of combining values.")
@click.option("--points", type=Count(), help="Of the design; for sobol a power of 2.")
@computing_options
@output_option(tuple(OF_SWEEP), "a row a point")
@force_option
def sweep(
    name: str,
    settings: tuple[str, ...],
    rows: Path | None,
    design: Literal["sobol", "latin"] | None,
    points: int | None,
    output: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run NAME at each point of a grid, of a design or of a file, and print a table.

    All points share their random numbers, so that they can be compared. A point that is stored is not computed again:
    after Ctrl-C the same command goes on. With a point that failed the exit code is 1; the others are printed and
    written all the same.
    """
    from bgsim.jobs.parameter_rows import parameter_sets  # noqa: PLC0415 - completion needs none of it
    from bgsim.ui.reports import Point  # noqa: PLC0415

    if rows is not None and (settings or design):
        raise click.UsageError("--csv gives all parameters; leave out --set and --design")
    if points is not None and design is None:
        raise click.UsageError("--points goes with --design")
    if output is not None:
        check_format(output, OF_SWEEP, force=force)
    simulation = simulation_of(name)
    found = None if rows is not None else sweep_settings(simulation, settings, design=design is not None)
    if found is not None and not found.varied:
        what = "a range, as in --set KEY=90:110" if design else "two values or more, as in --set KEY=90,95,100"
        raise click.UsageError(f"a sweep needs {what}; bgsim run takes one point")
    sets = [] if rows is None else parameter_sets(simulation, rows)
    if rows is not None and not sets:
        raise click.UsageError(f"--csv: {rows} has no rows below its heading")
    began = time.monotonic()
    with engine_for(options) as engine:
        if found is None:
            batch: Batch = engine.submit_many(simulation, sets, **job_options(options))
        else:
            batch = engine.sweep(
                simulation, found.varied, found.fixed, design=design, points=points, **job_options(options)
            )
        names = _varied(sets) if found is None else list(found.varied)
        _watch(batch, engine, names)
        ended = [Point(job, {name: job.parameters[name] for name in names}) for job in batch]
        elapsed_s = time.monotonic() - began
        if output is not None:
            write(batch, output, OF_SWEEP)
    _report(simulation, ended, elapsed_s, options, as_json=as_json)


def _report(
    simulation: Simulation, points: list[Point], elapsed_s: float, options: dict[str, Any], *, as_json: bool
) -> None:
    """Print the table or JSON, and what is to be known besides; exit with 1 if a point failed."""
    from bgsim.ui.reports import sweep_table, times_json  # noqa: PLC0415

    statuses = [point.status for point in points]
    if as_json:
        say_json(
            {
                "simulation": simulation.name,
                "fingerprint": simulation.fingerprint,
                "seed": options["seed"],
                "replicates": None if options["until"] else replicates_of(options),
                "keep": options["keep"],
                **times_json(simulation, statuses, elapsed_s),
                "points": [point.as_json() for point in points],
            }
        )
    else:
        show(sweep_table(points))
    stored = sum(status.from_store == status.total_replicates for status in statuses)
    source = f", {stored:,} of them from the store" if stored else ""
    each = sum(s.total_replicates for s in statuses) if options["until"] else replicates_of(options)
    together = " together" if options["until"] else ""
    remark(f"{len(points):,} points of {each:,} replicates{together} in {elapsed_s:.2f} s{source}{_reached(points)}")
    for error in dict.fromkeys(status.store_error for status in statuses if status.store_error):
        remark(f"warning: a result is not stored: {error}")
    failed = [point for point in points if point.failed]
    if failed:
        remark(f"error: {len(failed):,} of {len(points):,} points have no result; the first {failed[0].why}")
        sys.exit(_FAILED)


def _reached(points: list[Point]) -> str:
    """Return how many points have reached the precision, as a part of a sentence; empty if none was asked for."""
    stops = [point.stopping for point in points if point.stopping is not None]
    reached = sum(stopping.reached for stopping in stops)
    if reached < len(stops):
        return f"; {reached:,} of {len(stops):,} have reached the precision, the others ended with the most that may be"
    return "; all have reached the precision" if stops else ""


def _varied(sets: list[ParameterSet]) -> list[str]:
    """Return the parameters whose values differ between rows; of a single row all."""
    texts = [json.loads(found.to_json()) for found in sets]
    names = list(texts[0])
    differ = [name for name in names if any(text.get(name) != texts[0].get(name) for text in texts)]
    return differ or names


def _watch(batch: Batch, engine: Engine, varied: list[str]) -> None:
    """Show progress until all points have ended; Ctrl-C cancels those that have not, and what is done is kept."""
    from bgsim.ui.terminal import show_batch  # noqa: PLC0415

    try:
        show_batch(batch, remark_console(), varied)
        batch.wait()
    except KeyboardInterrupt:
        statuses = [job.status() for job in batch.submitted()]
        if not any(status.replicates_completed for status in statuses):
            end_with_nothing("interrupted")
        batch.cancel()
        engine.close(timeout_s=CANCEL_GRACE_S)
        ended = sum(job.status().state.value == "completed" for job in batch.submitted())
        remark(
            f"interrupted; {ended:,} of {len(batch):,} points are finished and kept in {engine.store.location}, and "
            "the same command goes on from there"
        )
        raise
