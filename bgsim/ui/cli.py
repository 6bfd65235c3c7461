"""The command line: ``bgsim list``, ``describe`` and ``explain``; the other commands are in modules of their own.

Standard output carries data only; progress and remarks go to standard error. With ``--json`` standard output is one
document, also where the command fails.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click

from bgsim import __version__
from bgsim.errors import (
    BgsimError,
    CompileError,
    InvalidInputError,
    JobTimeoutError,
    MissingExtraError,
    SimulationNotFoundError,
    StoreError,
)
from bgsim.parameters.fields import Field, brief
from bgsim.parameters.parameter_class import parameter_class
from bgsim.registry import find_simulation, simulation_names
from bgsim.simulation import Simulation
from bgsim.tables import Table
from bgsim.ui.computing import EXIT_CODES, name_argument
from bgsim.ui.interrupts import exit_code, handle_signals
from bgsim.ui.naming import simulation_of
from bgsim.ui.stores import default_store, json_option, opened_store, store_option
from bgsim.ui.streams import (
    INTERRUPTED,
    StandardOutputError,
    give_up_output,
    remark,
    remark_of_click,
    say,
    say_json,
    say_json_error,
    set_up,
    show,
)
from bgsim.ui.verbosity import verbose_option

if TYPE_CHECKING:
    from bgsim.storage import Store


class Commands(dict[str, click.Command]):
    """Commands by name; those of other modules are imported when they are asked for, or completion would be slow."""

    elsewhere: ClassVar[dict[str, str]] = {
        "completion": "completion:completion",
        "run": "run_cli:run",
        "serve": "serve_cli:serve",
        "store": "store_cli:store_group",
        "sweep": "sweep_cli:sweep",
        "token": "token_cli:token_group",
    }

    def get(self, name: str, default: Any = None) -> Any:
        """Return a command, importing it."""
        if name in self.elsewhere and name not in self.keys():
            module, _, attribute = self.elsewhere[name].partition(":")
            self[name] = getattr(importlib.import_module(f"bgsim.ui.{module}"), attribute)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self.elsewhere), **dict.fromkeys(self.keys())})


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}, commands=Commands())
@click.version_option(__version__, prog_name="bgsim")
@verbose_option
def cli() -> None:
    """Run simulations: reproducible, with progress, stopped and resumed at will, answered from the store."""


@cli.command("list")
@json_option
def list_simulations(as_json: bool) -> None:
    """List the simulations that can be run by name."""
    rows = [(short, target, _described(short)) for short, target in simulation_names().items()]
    if as_json:
        say_json([dict(zip(("name", "target", "description"), row, strict=True)) for row in rows])
    else:
        show(Table(("name", "module:attribute", "what it is"), rows, most=None))


def _described(short: str) -> str:
    try:
        return (find_simulation(short).__doc__ or "").strip().partition("\n")[0]
    except SimulationNotFoundError as error:
        return f"cannot be loaded: {error}"


@cli.command()
@name_argument
@json_option
def describe(name: str, as_json: bool) -> None:
    """Describe a simulation: its parameters with types, defaults and units, and its outputs."""
    simulation = simulation_of(name)
    if as_json:
        say_json(_description(simulation))
        return
    say(f"{simulation.name}\n")
    if simulation.__doc__:
        say(f"{inspect.cleandoc(simulation.__doc__)}\n")
    found = simulation.parameters_class
    if found is None:
        say("Parameters: any, given with --set KEY=VALUE")
    else:
        declared = parameter_class(found)
        headings = ("parameter", "type", "default", "unit", "range", "")
        rows = [
            (f.name, f.type_name, _default_text(f), f.limits.unit, f.limits.describe(), f.limits.doc)
            for f in declared.fields
        ]
        rows += [
            (argument, "", "", "", "", "taken by the class, which derives others from it")
            for argument in declared.arguments
            if argument not in declared.names
        ]
        show(Table(headings, rows, most=None).trimmed())
        if hasattr(found, "from_file"):
            say("or all of them from a file, with --scenario FILE")
    say()
    show(
        Table(("output", "what it is"), [(output.name, output.describe()) for output in simulation.outputs], most=None)
    )
    say(f"\nFingerprint {simulation.fingerprint}")


def _description(simulation: Simulation) -> dict[str, Any]:
    found = simulation.parameters_class
    fields = parameter_class(found).fields if found is not None else None
    return {
        "simulation": simulation.name,
        "description": inspect.cleandoc(simulation.__doc__ or ""),
        "parameters": None if fields is None else [_field_json(f) for f in fields],
        "scenario": hasattr(found, "from_file"),
        "outputs": [{"name": output.name, "description": output.describe()} for output in simulation.outputs],
        "fingerprint": simulation.fingerprint,
    }


def _field_json(given: Field) -> dict[str, Any]:
    limits = given.limits
    return {
        "name": given.name,
        "type": given.type_name,
        "required": given.required,
        "derived": given.derived,
        "default": None if given.required or given.derived else given.new_default(),
        "unit": limits.unit,
        "range": limits.describe(),
        "description": limits.doc,
    }


def _default_text(given: Field) -> str:
    if given.derived:
        return "derived"
    return "required" if given.required else brief(given.new_default())


@cli.command()
@name_argument
@click.option("--result", help="First digits of a stored result's hash; by default the last one of other code.")
@store_option
@json_option
def explain(name: str, result: str | None, store: Path | None, as_json: bool) -> None:
    """Show what makes up a simulation's identity, and how it differs from a stored result's.

    The store answers with a result only if the identity is the one that the result was computed with.
    """
    simulation, unused = simulation_of(name), ""
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
    from bgsim.storage.explain import why_not_used  # noqa: PLC0415 - completion needs no store

    described = store.get(result_hash)
    if described is None:
        return ""
    columns = store.load(result_hash, 1 if described.keep == "columns" else None)
    return why_not_used(simulation, described.parameters, columns)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; the entry point of the ``bgsim`` script. Without `arguments`, with those of the process."""
    handle_signals()
    given = list(sys.argv[1:] if arguments is None else arguments)
    set_up(as_json="--json" in given)
    try:
        cli.main(given, prog_name="bgsim", standalone_mode=False)
        sys.stdout.flush()
    except (StandardOutputError, BrokenPipeError) as error:
        give_up_output()
        if isinstance(error, StandardOutputError):
            remark(f"error: {error}")
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort, click.ClickException, BgsimError, OSError) as error:
        code, text = _failure(error)
        say_json_error(type(error).__name__, text, code)
        if isinstance(error, OSError) and not isinstance(error, BgsimError):  # of a file that --output names
            give_up_output()
        sys.exit(code)
    sys.exit(0)


def _failure(error: BaseException) -> tuple[int, str]:
    """Say on standard error why a command failed; return its exit code, and the text."""
    if isinstance(error, click.ClickException):
        remark_of_click(error)
        return 2, error.format_message()
    if isinstance(error, KeyboardInterrupt | click.Abort):  # click makes the second of the first
        return exit_code(), INTERRUPTED
    text = str(error)
    if isinstance(error, JobTimeoutError):
        text += "; finished replicates are kept, and the same command goes on"
    remark(f"error: {text}")
    if isinstance(error, JobTimeoutError):
        return 124, text
    is_input = isinstance(
        error, InvalidInputError | SimulationNotFoundError | StoreError | CompileError | MissingExtraError
    )
    return 2 if is_input else 1, text
