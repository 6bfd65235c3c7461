"""The command line: ``bgsim run``, ``list`` and ``describe``; ``store`` is in `bgsim.ui.store_cli`.

Standard output carries data only; progress and remarks go to standard error.
"""

from __future__ import annotations

import csv
import inspect
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from bgsim import __version__
from bgsim.checks import normal_name
from bgsim.config import EngineConfig
from bgsim.engine import Engine
from bgsim.environment import as_json as versions_as_json
from bgsim.environment import mixture
from bgsim.errors import (
    BgsimError,
    CompileError,
    InvalidInputError,
    JobTimeoutError,
    MissingExtraError,
    SimulationNotFoundError,
    StoreError,
)
from bgsim.job import Job, JobState
from bgsim.kernels.outputs import flat_columns
from bgsim.parameters.fields import Field, brief, parsed
from bgsim.parameters.parameter_class import parameter_class
from bgsim.priority import Priority
from bgsim.registry import find_simulation, simulation_names
from bgsim.result import SimulationResult
from bgsim.simulation import Simulation
from bgsim.storage import Store
from bgsim.storage.explain import why_not_used
from bgsim.storage.npz import write_arrays
from bgsim.ui.counts import Count
from bgsim.ui.history_cli import store_jobs
from bgsim.ui.interrupts import STOPPING, end_at_once, exit_code, handle_signals
from bgsim.ui.serve_cli import serve
from bgsim.ui.store_cli import default_store, opened_store, store_group, store_option
from bgsim.ui.streams import (
    FilePath,
    StandardOutputError,
    give_up_output,
    remark,
    remark_console,
    remark_of_click,
    say,
    say_json,
    set_up,
    show,
)
from bgsim.ui.terminal import show_progress, summary_table
from bgsim.ui.token_cli import token_group

EXIT_CODES = """
\b
Exit codes:
  0    done
  1    the simulation failed
  2    bad input: an option, a parameter, a scenario, a store
  124  longer than --timeout
  130  interrupted with Ctrl-C; finished replicates are kept
  143  the same by SIGTERM, and 129 by SIGHUP
"""

_CANCEL_GRACE_S = 10.0


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bgsim")
def cli() -> None:
    """Run simulations: reproducible, with progress, stopped and resumed at will, answered from the store."""


@cli.command(epilog=EXIT_CODES)
@click.argument("name")
@click.option("--scenario", type=FilePath(), help="A file with the parameters, for simulations that read one.")
@click.option("--rules", help="With --scenario: the rule set, if the simulation has several.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A parameter; may be given many times.")
@click.option("-n", "--replicates", type=Count(), default=100_000, show_default=True)
@click.option("--seed", type=Count(), default=0, show_default=True)
@click.option(
    "--priority", default="normal", show_default=True, help=", ".join(p.name.lower() for p in reversed(Priority))
)
@click.option("--workers", type=Count(), help="Threads; by default one a core.")
@click.option("--timeout", "timeout_s", type=float, help="Seconds that it may run.")
@click.option("--workspace", help="Its slots get the result; by default the simulation's name.")
@click.option("--refresh", is_flag=True, help="Compute anew instead of taking from the store.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--output", type=FilePath(), help="Write the columns to this .npz or .csv file.")
def run(
    name: str,
    scenario: Path | None,
    rules: str | None,
    settings: tuple[str, ...],
    replicates: int,
    seed: int,
    priority: str,
    workers: int | None,
    timeout_s: float | None,
    workspace: str | None,
    refresh: bool,
    store: Path | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Run NAME, a simulation of `bgsim list` or your own MODULE:ATTRIBUTE, and print a summary.

    Stored replicates are not computed again: the same command answers at once, and after Ctrl-C it goes on.
    """
    write = _writer(output)
    simulation = find_simulation(name)
    parameters = _parameters(simulation, scenario, rules, settings)
    began = time.monotonic()
    threads = {"workers": workers} if workers is not None else {}
    config = EngineConfig.of(None, {"journal": False, **threads})  # the same command resumes without it
    with STOPPING, Engine(store or default_store(), config=config) as engine:
        job = engine.submit(
            simulation,
            parameters,
            replicates=replicates,
            seed=seed,
            priority=Priority.of(priority),
            timeout_s=timeout_s,
            workspace=workspace,
            cache="refresh" if refresh else "use",
        )
        result = _watch(job, engine)
        status = job.status()
        if write is not None:
            write(result)
    if as_json:
        say_json(_as_json(result, status.from_store))
    else:
        show(summary_table(result))
    elapsed = time.monotonic() - began
    source = f", {status.from_store:,} of them from the store" if status.from_store else ""
    remark(f"{replicates:,} replicates in {elapsed:.2f} s{source}")
    mixed = mixture(result.versions)
    if mixed and not as_json:
        remark(mixed)
    if status.store_error:
        remark(f"warning: the result is not stored: {status.store_error}")


@cli.command("list")
def list_simulations() -> None:
    """List the simulations that can be run by name."""
    for short, target in simulation_names().items():
        try:
            text = _first_line(find_simulation(short))
        except SimulationNotFoundError as error:
            text = f"cannot be loaded: {error}"
        say(f"{short:16} {target:40} {text}")


@cli.command()
@click.argument("name")
def describe(name: str) -> None:
    """Describe a simulation: its parameters with types, defaults and units, and its outputs."""
    simulation = find_simulation(name)
    say(f"{simulation.name}\n")
    say(f"{(simulation.__doc__ or '').strip()}\n")
    say("Parameters:")
    if simulation.parameters_class is None:
        say("  any, given with --set KEY=VALUE")
    else:
        declared = parameter_class(simulation.parameters_class)
        for field in declared.fields:
            details = [field.type_name, _default_text(field), field.limits.unit, field.limits.describe()]
            say(f"  {field.name:22} {', '.join(d for d in [*details, field.limits.doc] if d)}")
        for argument in declared.arguments:
            if argument not in declared.names:
                say(f"  {argument:22} taken by the class, which derives others from it")
        if hasattr(simulation.parameters_class, "from_file"):
            say("  or all of them from a file, with --scenario FILE")
    say("\nOutputs:")
    for output in simulation.outputs:
        say(f"  {output.name:22} {output.describe()}")
    say(f"\nFingerprint {simulation.fingerprint}")


@cli.command()
@click.argument("name")
@click.option("--result", help="First digits of a stored result's hash; by default the last one of other code.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def explain(name: str, result: str | None, store: Path | None, as_json: bool) -> None:
    """Show what makes up a simulation's identity, and how it differs from a stored result's.

    The store answers with a result only if the identity is the one that the result was computed with.
    """
    simulation, unused = find_simulation(name), ""
    if store is None and result is None and not default_store().exists():
        found = simulation.explain()
    else:
        with opened_store(store) as opened:
            found = simulation.explain(opened, result)
            if found.stored is not None and found.stored_fingerprint == found.fingerprint:
                unused = _why_not_used(simulation, opened, found.stored)
    if as_json:
        say_json({**found.as_json(), "unused": unused or None})
    else:
        say(str(found))
    if unused:
        remark(f"that result is not used, since {unused}; the next computed one will replace it")
    if found.stored is None:
        remark(f"no result of {found.simulation} is stored; the name, with its module, is part of the identity")


def _why_not_used(simulation: Simulation, store: Store, result_hash: str) -> str:
    """Say why a stored result of a simulation's code is not used; empty if it is."""
    described, columns = store.get(result_hash), store.load(result_hash, 1)
    return "" if described is None else why_not_used(simulation, described.parameters, columns)


store_group.add_command(store_jobs)
cli.add_command(store_group)
cli.add_command(token_group)
cli.add_command(serve)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; the entry point of the ``bgsim`` script. Without `arguments`, with those of the process."""
    handle_signals()
    set_up()
    try:
        cli.main(arguments, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        remark_of_click(error)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(exit_code())
    except JobTimeoutError as error:
        remark(f"error: {error}; finished replicates are kept, and the same command goes on")
        sys.exit(124)
    except StandardOutputError as error:
        give_up_output()
        remark(f"error: {error}")
        sys.exit(1)
    except (InvalidInputError, SimulationNotFoundError, StoreError, CompileError, MissingExtraError) as error:
        remark(f"error: {error}")
        sys.exit(2)
    except BgsimError as error:
        remark(f"error: {error}")
        sys.exit(1)
    except BrokenPipeError:
        give_up_output()
        sys.exit(1)
    except OSError as error:  # of standard output, or of a file that --output names
        give_up_output()
        remark(f"error: {error}")
        sys.exit(1)
    sys.exit(0)


def _watch(job: Job, engine: Engine) -> SimulationResult:
    """Show progress until the job ends; Ctrl-C cancels the job.

    Where no replicate is done there is nothing to keep: a compilation, which may take long, is not waited for.
    """
    try:
        show_progress(job, remark_console())
        return job.result()
    except KeyboardInterrupt:
        status = job.status()
        if not status.state.is_terminal and status.replicates_completed == status.from_store:
            remark(f"interrupted while {status.phase}; no replicate was done, so there is nothing to keep")
            end_at_once()
        job.cancel()
        engine.close(timeout_s=_CANCEL_GRACE_S)
        status = job.status()
        if status.state is JobState.CANCELLED:
            done = f"{status.replicates_completed:,} of {status.total_replicates:,} replicates"
            if status.store_error is None:
                remark(
                    f"interrupted; {done} are kept in {engine.store.location}, and the same command goes on from there"
                )
            else:
                remark(f"interrupted; {done} were done, but could not be kept: {status.store_error}")
        raise


def _parameters(simulation: Simulation, scenario: Path | None, rules: str | None, settings: tuple[str, ...]) -> Any:
    parameters_class = simulation.parameters_class
    if scenario is None:
        if rules is not None:
            raise click.UsageError("--rules goes with --scenario")
        return _read_settings(simulation, settings)
    if settings:
        raise click.UsageError("give either --scenario or --set")
    if not hasattr(parameters_class, "from_file"):
        raise click.UsageError(f"{simulation.name} reads no scenario; use --set KEY=VALUE")
    from_file = parameters_class.from_file  # type: ignore[union-attr]
    if rules is None:
        return from_file(scenario)
    if "rules" not in inspect.signature(from_file).parameters:
        raise click.UsageError(f"{simulation.name} has no rule sets; leave out --rules")
    return from_file(scenario, rules=rules)


def _read_settings(simulation: Simulation, settings: tuple[str, ...]) -> dict[str, Any]:
    found = simulation.parameters_class
    known = {f.name: f for f in parameter_class(found).fields} if found else {}
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes KEY=VALUE; got {setting!r}")
        name = normal_name(name)
        if name in values:
            raise click.UsageError(f"--set gives {name} twice")
        values[name] = known[name].parse(text) if name in known else parsed(text)
    return values


def _writer(output: Path | None) -> Callable[[SimulationResult], None] | None:
    """Check the path, before any work starts; return the function that writes the columns there."""
    if output is None:
        return None
    writers = {".npz": _write_npz, ".csv": _write_csv}
    if output.suffix not in writers:
        raise click.UsageError(f"--output must end in {' or '.join(writers)}; got {output}")
    try:
        if not output.parent.is_dir():
            raise click.UsageError(f"--output: there is no directory {output.parent}")
        if output.is_dir():
            raise click.UsageError(f"--output: {output} is a directory")
        output.open("ab").close()
    except OSError as error:
        raise click.UsageError(f"--output: {output} cannot be written: {error.strerror}") from error
    return partial(writers[output.suffix], output)


def _write_npz(path: Path, result: SimulationResult) -> None:
    with path.open("wb") as file:
        write_arrays(file, result)


def _write_csv(path: Path, result: SimulationResult) -> None:
    columns = flat_columns(result)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["replicate", *columns])
        writer.writerows(zip(range(result.replicates), *(c.tolist() for c in columns.values()), strict=True))


def _as_json(result: SimulationResult, from_store: int) -> dict[str, Any]:
    outputs = {}
    for name, s in result.summary().items():
        values = {n: getattr(s, n) for n in ("count", "valid", "mean", "sd", "standard_error", "minimum", "maximum")}
        outputs[name] = {**values, "quantiles": {f"{q:g}": v for q, v in s.quantiles.items()}}
    return {
        "simulation": result.simulation.name,
        "fingerprint": result.simulation.fingerprint,
        "parameters": json.loads(result.parameters.to_json()),
        "seed": result.seed,
        "replicates": result.replicates,
        "from_store": from_store,
        "versions": versions_as_json(result.versions),
        "outputs": outputs,
    }


def _default_text(field: Field) -> str:
    if field.derived:
        return "derived"
    return "required" if field.required else f"default {brief(field.new_default())}"


def _first_line(simulation: Simulation) -> str:
    return (simulation.__doc__ or "").strip().partition("\n")[0]
