"""Parameter sets from a table: a DataFrame, a CSV file, or its lines; each row is checked."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.checks import check_file_path, normal_name, refused
from bgsim.errors import InvalidInputError, ParameterError, brief
from bgsim.parameters.fields import Field, parsed
from bgsim.parameters.parameter_class import P, fields_of
from bgsim.registry import find_if_named

if TYPE_CHECKING:
    import pandas

    from bgsim.parameters.parameter_set import ParameterSet
    from bgsim.simulation import Simulation

_DELIMITERS = ("\t", ";", ",")
"""The first that the heading has parts the cells."""


def parameter_sets(
    simulation: Simulation[P] | str, source: pandas.DataFrame | str | os.PathLike[str] | Iterable[str]
) -> list[ParameterSet[P]]:
    """Return a parameter set for each row of a table, for `Engine.submit_many`.

    A column is a parameter. An empty cell, or NaN in a DataFrame, takes the default.

    Parameters
    ----------
    simulation : Simulation or str
        As for `Engine.submit`.
    source : pandas.DataFrame, path of a CSV file, or iterable of str
        Lines are those of a CSV file. The first has the names of the parameters; commas, semicolons or tabs part the
        cells. A cell is read as JSON where it is JSON, such as ``0.3``, ``true`` or ``[1, 2]``, else as text.

    Returns
    -------
    list of ParameterSet

    Raises
    ------
    ParameterError
        Naming row and column, the value and what is allowed. Rows of a file are named by their lines.
    InvalidInputError
        If `source` is none of these, or has no heading.

    Examples
    --------
    >>> from bgsim.models.options import asian_call
    >>> [p["strike"] for p in bgsim.parameter_sets(asian_call, ["strike,volatility", "90,0.2", "100,"])]
    [90.0, 100.0]
    """
    found = find_if_named(simulation)
    fields = {f.name: f for f in fields_of(found.parameters_class)} if found.parameters_class is not None else {}
    return [_bound(found, place, row) for place, row in _rows(source, fields)]


def _bound(simulation: Simulation[P], place: str, row: dict[str, Any]) -> ParameterSet[P]:
    try:
        return simulation.bind(row)
    except InvalidInputError as error:
        column = f", column {error.field!r}" if error.field in row else ""
        raise ParameterError(f"{place}{column}: {error}", field=error.field, value=error.value) from error


def _rows(source: Any, fields: Mapping[str, Field]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each row stands, and what it gives."""
    if hasattr(source, "columns") and hasattr(source, "itertuples"):
        yield from _frame_rows(source, fields)
    elif isinstance(source, str | os.PathLike):
        path = check_file_path("source", source)
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield from _text_rows(file, fields, f"{path.name}, ")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{path} cannot be read: {error}", field="source", value=source) from error
    elif isinstance(source, Iterable) and not isinstance(source, bytes | Mapping):
        yield from _text_rows(source, fields, "")
    else:
        raise refused("source", source, "a DataFrame, the path of a CSV file, or its lines")


def _text_rows(lines: Iterable[Any], fields: Mapping[str, Field], file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    remaining = iter(lines)
    heading = next(remaining, None)
    if not isinstance(heading, str) or not heading.strip("\ufeff \t\r\n"):
        raise refused("source", heading, "lines of text, the first with the names of the parameters")
    heading = heading.removeprefix("\ufeff")  # of a file that was read as plain UTF-8
    delimiter = next((mark for mark in _DELIMITERS if mark in heading), ",")
    names = _checked_names(next(csv.reader([heading], delimiter=delimiter), []))
    reader = csv.reader(remaining, delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            place = f"{file}line {reader.line_num + 1}"
            if not any(cells):
                continue
            if len(cells) != len(names):
                raise ParameterError(
                    f"{place} has {len(cells)} cells, and the heading {len(names)}", field="source", value=cells
                )
            given = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
            yield place, {name: _read(text, fields.get(name)) for name, text in given.items() if text}
    except csv.Error as error:
        raise InvalidInputError(f"{file}line {reader.line_num + 1}: {error}", field="source") from error


def _frame_rows(frame: Any, fields: Mapping[str, Field]) -> Iterator[tuple[str, dict[str, Any]]]:
    names = _checked_names(list(frame.columns))
    for label, *cells in frame.itertuples(index=True, name=None):
        given = {n: _number(c, fields.get(n)) for n, c in zip(names, cells, strict=True) if not _is_missing(c)}
        yield f"row {brief(label)}", given


def _checked_names(names: list[Any]) -> list[str]:
    found = [normal_name(name.strip()) if isinstance(name, str) else name for name in names]
    for name in found:
        if not isinstance(name, str) or not name or found.count(name) > 1:
            raise InvalidInputError(
                f"each column must have a name of its own, that of a parameter; got {brief(found)}",
                field="source",
                value=found,
            )
    return found


def _read(text: str, field: Field | None) -> Any:
    return parsed(text) if field is None else _number(field.parse(text), field)


def _number(cell: Any, field: Field | None) -> Any:
    """Return a cell; that of an integer as one, also as ``1e3``, or where pandas has floats since one is missing."""
    value = cell.item() if isinstance(cell, np.generic) else cell
    whole = field is not None and field.annotation is int and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _is_missing(cell: Any) -> bool:
    """Tell whether a cell is None, NaN, NaT or `pandas.NA`, of which the last two are not equal to anything."""
    is_nan = isinstance(cell, float) and math.isnan(cell)
    return cell is None or is_nan or type(cell).__name__ in ("NAType", "NaTType")
