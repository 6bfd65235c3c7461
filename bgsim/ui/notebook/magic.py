"""``%%simulate``: the last function of a cell as a simulation in the background, shown by its card."""

from __future__ import annotations

import ast
import typing
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.errors import InvalidInputError, OutputError, brief
from bgsim.parameters.fields import parsed
from bgsim.simulation import Simulation
from bgsim.ui.counts import read
from bgsim.ui.notebook.default import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_DTYPES = {"b": "?", "i": "i8", "u": "u8", "f": "f8", "c": "c16"}
_ANNOTATED = {bool: "?", int: "i8", float: "f8", complex: "c16"}


def register(shell: Any) -> None:
    """Make ``%%simulate`` known to IPython; for ``%load_ext bgsim``."""
    from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring  # noqa: PLC0415 - there is an IPython

    @magic_arguments()
    @argument("name", nargs="?", default="job", help="the variable that gets the job")
    @argument("-n", "--replicates", default="100_000", help="how many, such as 1e6")
    @argument("--seed", type=int, default=0)
    @argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="a parameter")
    @argument("--outputs", nargs="+", default=[], metavar="NAME:DTYPE", help="by default, what the function returns")
    @argument("--plain", action="store_true", help="run it as plain Python")
    def simulate(line: str, cell: str) -> Any:
        """Run the cell, and its last function as a simulation in the background."""
        given = parse_argstring(simulate, line)
        count, settings = read_count(given.replicates), read_settings(given.settings)
        if not shell.run_cell(cell, store_history=False).success:
            return None
        name = last_function(cell)
        made = as_simulation(shell.user_ns.get(name), cell, settings, given.outputs, compile=not given.plain)
        job = engine().submit(made, settings, replicates=count, seed=given.seed, supersede=f"%%simulate {given.name}")
        shell.user_ns |= {name: made, given.name: job}
        return job

    shell.register_magic_function(simulate, magic_kind="cell", magic_name="simulate")


def read_count(text: str) -> int:
    """Return a number of replicates, as the command line takes it: ``1000``, ``1_000``, ``1e6`` or ``2M``."""
    count = read(text)
    if count is None:
        raise InvalidInputError(
            f"--replicates must be an integer, such as 1e6 or 2M; got {text!r}", field="replicates", value=text
        )
    return count


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return parameters that are given as ``KEY=VALUE``."""
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InvalidInputError(f"--set takes KEY=VALUE; got {setting!r}", field="set", value=setting)
        found[name] = parsed(value)
    return found


def last_function(cell: str) -> str:
    """Return the name of the last function that a cell defines."""
    names = [node.name for node in ast.parse(cell).body if isinstance(node, ast.FunctionDef)]
    if not names:
        raise InvalidInputError("%%simulate needs a cell that defines a function", field="cell")
    return names[-1]


def as_simulation(
    function: Any, cell: str, settings: Mapping[str, Any], outputs: Sequence[str], *, compile: bool = True
) -> Simulation:
    """Return the simulation of a cell's function; one that is decorated already is taken as it is."""
    if isinstance(function, Simulation):
        return function
    declared = dict([read_output(text) for text in outputs]) or infer_outputs(function, cell, settings)
    return Simulation(function, outputs=declared, compile=compile)


def read_output(text: str) -> tuple[str, Any]:
    """Return an output that is given as ``NAME:DTYPE``; of ``NAME`` alone it is a float."""
    name, _, dtype = text.partition(":")
    return name, dtype or "f8"


def infer_outputs(function: Callable[..., Any], cell: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs of a function: by its annotation, else by what its first replicate returns in plain Python.

    Their names are those of the variables that the last line of the function returns.

    Raises
    ------
    OutputError
        If they are no numbers and no arrays of numbers.
    """
    kinds = _annotated(function)
    if kinds is None:
        trial = Simulation(function, outputs={"value": "f8"}, compile=False)
        returned = trial.replay(trial.bind(dict(settings)), 0, 0)
        kinds = [_kind(value) for value in (returned if isinstance(returned, tuple) else (returned,))]
    names = _names(function.__name__, cell)
    if len(names) != len(kinds) or len(set(names)) != len(names):
        names = [f"value{i}" for i in range(len(kinds))] if len(kinds) > 1 else ["value"]
    return dict(zip(names, kinds, strict=True))


def _annotated(function: Callable[..., Any]) -> list[str] | None:
    try:
        hint = typing.get_type_hints(function).get("return")
    except Exception:  # an annotation may be any text
        return None
    hints = typing.get_args(hint) if typing.get_origin(hint) is tuple else (hint,)
    return [_ANNOTATED[h] for h in hints] if hints and all(h in _ANNOTATED for h in hints) else None


def _kind(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in _DTYPES:
        raise OutputError(f"%%simulate cannot tell the dtype of {brief(value)}; give --outputs NAME:DTYPE ...")
    dtype = _DTYPES[array.dtype.kind]
    return (dtype, array.shape) if array.ndim else dtype


def _names(function: str, cell: str) -> list[str]:
    """Return the names of what the last return of a function returns; "value" for what has none."""
    node = next(n for n in reversed(ast.parse(cell).body) if isinstance(n, ast.FunctionDef) and n.name == function)
    returns = [n for n in ast.walk(node) if isinstance(n, ast.Return)]
    last = max(returns, key=lambda n: n.lineno).value if returns else None
    parts = last.elts if isinstance(last, ast.Tuple) else [last]
    return [part.id if isinstance(part, ast.Name) else "value" for part in parts]
