"""Tables: of what is printed, and as HTML of the last line of a notebook's cell."""

from __future__ import annotations

import html
import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex, TypeVar, overload

from bgsim.checks import is_integer, is_number
from bgsim.errors import brief, printable

_T = TypeVar("_T")

MOST_ROWS = 20
"""Rows of a table that are shown, unless its maker says otherwise."""

_MOST_IN_SHORT = 200

_LARGEST = 10**18
"""Integers below it are written in full."""

_NUMBER = re.compile(
    r"[-+]?([\d,]+(\.\d+)?|\.\d+|inf|nan)(e[-+]?\d+)?( ± \S+)?( ?(%|ms|s|min|h|days?|bytes|[kMG]?B))?",
    re.IGNORECASE,
)

# Each cell carries its style: marimo, e-mails and saved reports have no style sheet for it. Colours are inherited; the
# grey of the lines is half transparent, so that it shows on white as on black.
_LINE = "1px solid rgba(128,128,128,.4)"
_TABLE = (
    "color:inherit;font-size:inherit;font-variant-numeric:tabular-nums;"
    "border-collapse:collapse;border-spacing:0;margin:.3em 0"
)
_CELL = "padding:.2em .8em;vertical-align:top;white-space:pre-line;text-align:"
_NAME = _CELL.replace("pre-line", "nowrap")


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its `str` has aligned columns, its `_repr_html_` carries its own style.

    Attributes
    ----------
    headings : sequence of str
        None at all for a table of names and values; each row then begins with its name.
    rows : sequence of sequences
        Cells: a text stands as it is, a number is written to 6 digits, None is left empty.
    title, remark : str
        Lines above and below.
    most : int or None
        So many rows are shown, with the number of those that are left out; None shows all.

    Notes
    -----
    A column of which more than half are numbers, or texts of numbers, is aligned to the right.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    remark: str = ""
    most: int | None = MOST_ROWS

    def __str__(self) -> str:
        headings, rows, right = self.texts()
        lines = [headings, *rows] if headings else rows
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  " + "  ".join(map(_aligned, line, widths, right)).rstrip() for line in lines]
        return "\n".join([printable(part) for part in (self.title, *text, *self.remarks()) if part])

    def _repr_html_(self) -> str:
        rows = [[shown(cell) for cell in row] for row in self._shown_rows()]
        right = self._numeric_columns(rows)
        head = "".join(map(_heading, self.headings, right))
        body = "".join(["<tr>" + "".join(map(self._cell, range(len(row)), row, right)) + "</tr>" for row in rows])
        return (
            (f"<div><b>{escaped(self.title)}</b></div>" if self.title else "")
            + f'<table style="{_TABLE}">'
            + (f"<thead><tr>{head}</tr></thead>" if head else "")
            + f"<tbody>{body}</tbody></table>"
            + "".join([f'<div style="white-space:pre-line">{escaped(remark)}</div>' for remark in self.remarks()])
        )

    def texts(self, *, whole: bool = False) -> tuple[list[str], list[list[str]], list[bool]]:
        """Return headings and rows as texts in one line each, and which columns are aligned to the right.

        A text is cut to what a table for people needs, or not before 1,000 characters if it is to be whole.
        """
        rows = [_cut(row, whole=whole) for row in self._shown_rows()]
        return _cut(self.headings), rows, self._numeric_columns(rows)

    def remarks(self) -> list[str]:
        """Return the lines below the table."""
        left_out = len(self.rows) - len(self._shown_rows())
        return [*([f"... and {left_out:,} more"] if left_out else []), *([self.remark] if self.remark else [])]

    def trimmed(self) -> Table:
        """Return the table without the columns in which nothing stands."""
        used = [i for i in range(len(self.headings)) if any(shown(row[i]) for row in self.rows)]
        rows = [[row[i] for i in used] for row in self.rows]
        return replace(self, headings=[self.headings[i] for i in used], rows=rows)

    def _cell(self, index: int, text: str, right: bool) -> str:
        if not self.headings and index == 0:
            return f'<th scope="row" style="{_NAME}left;font-weight:600">{escaped(text)}</th>'
        return f'<td style="{_CELL}{"right" if right else "left"}">{escaped(text)}</td>'

    def _numeric_columns(self, rows: Sequence[Sequence[str]]) -> list[bool]:
        """Say of each column whether more than half of what stands in it are numbers; none of names and values."""
        columns = [[row[i] for row in rows if row[i]] for i in range(len(self.headings))]
        return [2 * sum(map(_is_number, column)) > len(column) for column in columns] or [False] * (
            len(rows[0]) if rows else 0
        )

    def _shown_rows(self) -> Sequence[Sequence[Any]]:
        return self.rows[: self.most]


class Tabular(ABC):
    """What a notebook shows as a table; so does its `repr`, unless the class has its own."""

    __slots__ = ()

    @abstractmethod
    def _table(self) -> Table:
        """Return what is shown."""

    def __repr__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()


class Listing(list[_T]):
    """A list that is shown as a table, and so are its slices; in all else a list."""

    def __init__(self, items: Iterable[_T], table: Callable[[Sequence[_T]], Table]) -> None:
        super().__init__(items)
        self._table_of = table

    @overload
    def __getitem__(self, index: SupportsIndex) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Listing[_T]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> _T | Listing[_T]:
        if isinstance(index, slice):
            return Listing(super().__getitem__(index), self._table_of)
        return super().__getitem__(index)

    def __repr__(self) -> str:
        return str(self._table_of(self)) if self else "[]"

    def _repr_html_(self) -> str:
        return self._table_of(self)._repr_html_() if self else "<div>an empty list</div>"


def in_short(kind: str, text: str) -> str:
    """Return the `repr` of an object: what it is, and its text, all in one line of at most `_MOST_IN_SHORT`."""
    room = _MOST_IN_SHORT - len(kind) - 4
    line = " ".join(printable(text).split())
    return f"<{kind}: {line if len(line) <= room else line[: room - 3] + '...'}>"


class HasCard:
    """What a notebook shows as a card that moves; `bgsim.ui.notebook` makes it, imported when a notebook asks."""

    __slots__ = ()

    def _ipython_display_(self) -> None:
        """Show a card, in a notebook of IPython."""
        _cards().display(self)

    def _display_(self) -> Any:
        """Return what marimo shows."""
        return _cards().marimo(self)


def _cards() -> Any:
    return importlib.import_module("bgsim.ui.notebook")


def shown(cell: object) -> str:
    """Return a cell's text: a float to 6 digits, an integer with its thousands apart, None as an empty text."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if is_integer(cell):
        return f"{cell:,}" if abs(cell) < _LARGEST else brief(cell, 80)
    if is_number(cell):
        return f"{cell:.6g}"
    return brief(cell, 80)


def _cut(row: Sequence[Any], *, whole: bool = False) -> list[str]:
    """Return the texts of a row; the last of them may be long."""
    if whole:
        return [_in_one_line(shown(cell), 1000) for cell in row]
    last = len(row) - 1
    return [_in_one_line(shown(cell), 120 if i == last else 60) for i, cell in enumerate(row)]


def _in_one_line(text: str, most: int) -> str:
    line = printable(text).replace("\n", " ").replace("\t", " ")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def escaped(text: str) -> str:
    """Return a text as HTML that shows it, and does nothing else."""
    return html.escape(printable(text))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _heading(text: str, right: bool) -> str:
    side = "right" if right else "left"
    return f'<th scope="col" style="{_NAME}{side};font-weight:600;border-bottom:{_LINE}">{escaped(text)}</th>'
