"""What ``bgsim run`` and ``bgsim sweep`` share: options, the engine, and what a signal does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bgsim.errors import BackendError, InvalidInputError
from bgsim.priority import Priority
from bgsim.ui.completion import complete_output, complete_priority, complete_setting, complete_simulation
from bgsim.ui.counts import Count
from bgsim.ui.interrupts import STOPPING, end_at_once, exit_code
from bgsim.ui.stores import default_store, json_option, store_option
from bgsim.ui.streams import INTERRUPTED, remark, say_json_error
from bgsim.ui.verbosity import verbose_option

if TYPE_CHECKING:
    from bgsim.backends import Backend
    from bgsim.engine import Engine
    from bgsim.precision import Precision

_F = TypeVar("_F", bound=Callable[..., Any])

PRIORITIES = tuple(p.name.lower() for p in reversed(Priority))

DEFAULT_REPLICATES = 100_000

CANCEL_GRACE_S = 10.0

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

name_argument = click.argument("name", shell_complete=complete_simulation)


def set_option(text: str) -> Callable[[_F], _F]:
    """Return the option ``--set``, whose keys can be completed."""
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help=text, shell_complete=complete_setting
    )


def computing_options(command: _F) -> _F:
    """Add the options of a command that computes."""
    for option in reversed(
        [
            click.option("-n", "--replicates", type=Count(), help="By default 100,000; with --until at most."),
            click.option(
                "--until",
                metavar="OUTPUT=PRECISION",
                help="As many as that needs: payoff=0.01 is the standard error, payoff=0.1% an error relative to the "
                "mean, payoff=±0.02 half of the interval.",
                shell_complete=complete_output,
            ),
            click.option(
                "--keep",
                type=click.Choice(("columns", "summary")),
                default="columns",
                show_default=True,
                help="Every replicate, or a summary whose size does not grow.",
            ),
            click.option("--seed", type=Count(), default=0, show_default=True),
            click.option(
                "--priority",
                default="normal",
                show_default=True,
                help=", ".join(PRIORITIES),
                shell_complete=complete_priority,
            ),
            click.option("--workers", type=Count(), help="Threads; by default one a core."),
            click.option("--dask", metavar="ADDRESS", help="Have the workers of this Dask scheduler compute instead."),
            click.option("--timeout", "timeout_s", type=float, help="Seconds that it may run; of a sweep each point."),
            click.option("--workspace", help="Its slots get the result; by default the simulation's name."),
            click.option("--refresh", is_flag=True, help="Compute anew instead of taking from the store."),
            store_option,
            json_option,
            verbose_option,
        ]
    ):
        command = option(command)
    return command


def job_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return what `Engine.submit` takes of the options of a command."""
    return {
        "replicates": replicates_of(options),
        "keep": options["keep"],
        "seed": options["seed"],
        "priority": Priority.of(options["priority"]),
        "timeout_s": options["timeout_s"],
        "workspace": options["workspace"],
        "cache": "refresh" if options["refresh"] else "use",
    }


def replicates_of(options: dict[str, Any]) -> int | Precision:
    """Return how many replicates the options want: a number, or what says when there are enough."""
    if options["until"] is None:
        return DEFAULT_REPLICATES if options["replicates"] is None else options["replicates"]
    from bgsim.precision import parse_until  # noqa: PLC0415 - completion needs none of it

    precision, most = parse_until(options["until"]), options["replicates"]
    if most is None:
        return precision
    if most < 2:
        raise click.UsageError("-n has to be 2 or more with --until, which needs a standard error")
    return replace(precision, minimum=min(most, precision.minimum), maximum=most)


@contextmanager
def engine_for(options: dict[str, Any]) -> Iterator[Engine]:
    """Give an engine as the options of a command want it; the first signal within is raised as KeyboardInterrupt.

    That a cluster has no workers is said first; what becomes wrong later is logged, or in the progress.
    """
    if options["dask"] is not None and options["workers"] is not None:
        raise click.UsageError("--workers are threads of this process, and with --dask a cluster computes: give one")
    from bgsim.config import EngineConfig  # noqa: PLC0415 - completion needs no engine
    from bgsim.engine import Engine  # noqa: PLC0415

    threads = {"workers": options["workers"]} if options["workers"] is not None else {}
    config = EngineConfig.of(None, {"journal": False, **threads})  # the same command resumes without it
    store: Path = options["store"] or default_store()
    backend = None if options["dask"] is None else _cluster(options["dask"])
    with STOPPING, Engine(store, config=config, backend=backend) as engine:
        for alert in engine.backend.alerts():
            remark(f"warning: {alert}")
        yield engine


def _cluster(address: str) -> Backend:
    """Return the backend of a Dask cluster; any signal ends the process while a scheduler is waited for."""
    from bgsim.backends import DaskBackend  # noqa: PLC0415 - an extra

    try:
        return DaskBackend(address)
    except BackendError as error:
        raise InvalidInputError(
            f"--dask: {error} Give the address that it prints when it begins, such as tcp://10.0.0.1:8786",
            field="dask",
            value=address,
        ) from error


def end_with_nothing(interrupted: str) -> None:
    """End the process after a signal that came before a replicate was done; `interrupted` says when it came."""
    remark(f"{interrupted}; no replicate was done, so there is nothing to keep")
    say_json_error(INTERRUPTED, INTERRUPTED, exit_code())
    end_at_once()
