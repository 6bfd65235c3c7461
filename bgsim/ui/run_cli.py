"""``bgsim run``: one simulation, with progress, resumed and answered from the store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgsim.ui.computing import (
    CANCEL_GRACE_S,
    EXIT_CODES,
    computing_options,
    end_with_nothing,
    engine_for,
    job_options,
    name_argument,
    set_option,
)
from bgsim.ui.naming import simulation_of
from bgsim.ui.output_files import OF_RESULT, check_format, force_option, output_option, write
from bgsim.ui.settings import parameters_of
from bgsim.ui.streams import FilePath, remark, remark_console, say_json, show

if TYPE_CHECKING:
    from bgsim.engine import Engine
    from bgsim.job import Job
    from bgsim.summaries.of_columns import AnyResult


@click.command(epilog=EXIT_CODES)
@name_argument
@click.option("--scenario", type=FilePath(), help="A file with the parameters, for simulations that read one.")
@click.option("--rules", help="With --scenario: the rule set, if the simulation has several.")
@set_option("A parameter; may be given many times.")
@computing_options
@output_option(tuple(OF_RESULT), "every replicate")
@force_option
def run(
    name: str,
    scenario: Path | None,
    rules: str | None,
    settings: tuple[str, ...],
    output: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run NAME and print a summary.

    NAME is a simulation of `bgsim list`, or yours: my_model.py, my_model.py:walk, MODULE or MODULE:ATTRIBUTE.

    Stored replicates are not computed again: the same command answers at once, and after Ctrl-C it goes on.
    """
    from bgsim.environment import mixture  # noqa: PLC0415 - completion needs none of it
    from bgsim.ui.reports import result_json, stopping_text  # noqa: PLC0415
    from bgsim.ui.terminal import summary_table  # noqa: PLC0415

    if output is not None:
        if options["keep"] == "summary":
            raise click.UsageError(
                "--output writes every replicate, and --keep summary keeps none: leave one of them out. "
                "`bgsim store export` writes a summary that is stored"
            )
        check_format(output, OF_RESULT, force=force)
    simulation = simulation_of(name)
    parameters = parameters_of(simulation, scenario, rules, settings)
    began = time.monotonic()
    with engine_for(options) as engine:
        job = engine.submit(simulation, parameters, **job_options(options))
        result = _watch(job, engine)
        status = job.status()
        elapsed_s = time.monotonic() - began
        if output is not None:
            write(result, output, OF_RESULT)
    if as_json:
        say_json(result_json(job, status, elapsed_s))
    else:
        show(summary_table(result))
    source = f", {status.from_store:,} of them from the store" if status.from_store else ""
    reached = "" if job.stopping is None else f"; {stopping_text(job.stopping)}"
    remark(f"{result.replicates:,} replicates in {elapsed_s:.2f} s{source}{reached}")
    mixed = mixture(result.versions)
    if mixed and not as_json:
        remark(mixed)
    if status.store_error:
        remark(f"warning: the result is not stored: {status.store_error}")


def _watch(job: Job, engine: Engine) -> AnyResult:
    """Show progress until the job ends; Ctrl-C cancels the job.

    Where no replicate is done there is nothing to keep: a compilation, which may take long, is not waited for.
    """
    from bgsim.job_status import JobState  # noqa: PLC0415
    from bgsim.ui.terminal import show_progress  # noqa: PLC0415

    try:
        show_progress(job, remark_console())
        return job.result()
    except KeyboardInterrupt:
        status = job.status()
        if not status.state.is_terminal and status.replicates_completed == status.from_store:
            end_with_nothing(f"interrupted while {status.phase}")
        job.cancel()
        engine.close(timeout_s=CANCEL_GRACE_S)
        status = job.status()
        if status.state is JobState.CANCELLED:
            total = "" if job.request.precision else f" of {status.total_replicates:,}"
            done = f"{job.partial().replicates:,}{total} replicates"
            if status.store_error is None:
                remark(
                    f"interrupted; {done} are kept in {engine.store.location}, and the same command goes on from there"
                )
            else:
                remark(f"interrupted; {done} were done, but could not be kept: {status.store_error}")
        raise
