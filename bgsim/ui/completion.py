"""Completion in bash, zsh and fish: commands, options and files by click, names and parameters here.

Nothing here imports numba, but to complete the parameters of a simulation that imports it itself.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from bgsim.errors import BgsimError
from bgsim.priority import Priority
from bgsim.registry import simulation_names
from bgsim.ui.streams import say

if TYPE_CHECKING:
    from bgsim.simulation import Simulation

_VARIABLE = "_BGSIM_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


_IN_SHELLS = """
\b
bash  eval "$(bgsim completion bash)"    in ~/.bashrc
zsh   eval "$(bgsim completion zsh)"     in ~/.zshrc, after compinit
fish  bgsim completion fish | source     in ~/.config/fish/config.fish
"""


@click.command(epilog=_IN_SHELLS)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes bgsim's commands, simulations and parameters."""
    found = get_completion_class(shell)
    assert found is not None
    say(found(context.find_root().command, {}, "bgsim", _VARIABLE).source().rstrip())


def complete_simulation(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a simulation, or of a file that defines one."""
    names = [CompletionItem(name) for name in simulation_names() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def complete_priority(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete a priority."""
    return [p.name.lower() for p in reversed(Priority) if p.name.lower().startswith(incomplete.lower())]


def complete_setting(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``KEY=`` of ``--set`` with the parameters of the simulation that the line names."""
    found = None if "=" in incomplete else _named(context)
    if found is None or found.parameters_class is None:
        return []
    from bgsim.parameters.parameter_class import fields_of  # noqa: PLC0415 - names alone need it not

    return [
        CompletionItem(f"{field.name}=", help=_described(field))
        for field in fields_of(found.parameters_class)
        if field.name.startswith(incomplete) and not field.derived and f"{field.name}=" not in _given(context)
    ]


def complete_output(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``OUTPUT=`` of ``--until`` with the outputs of which there is a mean."""
    found = None if "=" in incomplete else _named(context)
    outputs = () if found is None else found.outputs
    return [CompletionItem(f"{o.name}=") for o in outputs if o.is_real_number and o.name.startswith(incomplete)]


def _named(context: click.Context) -> Simulation | None:
    """Return the simulation that the line names, if it does and there is one."""
    name = context.params.get("name") or next(iter(context.args), None)  # click keeps it there while --set has no value
    if not name:
        return None
    from bgsim.ui.naming import simulation_of  # noqa: PLC0415 - names alone need it not

    quiet = io.StringIO()  # what the module prints would be read as completions
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        warnings.simplefilter("ignore")
        try:
            return simulation_of(name)
        except BgsimError:
            return None


def _given(context: click.Context) -> set[str]:
    """Return the keys that the line has set already."""
    return {f"{setting.partition('=')[0]}=" for setting in context.params.get("settings") or ()}


def _described(field: Any) -> str:
    return ", ".join(text for text in (field.type_name, field.limits.unit, field.limits.describe()) if text)
