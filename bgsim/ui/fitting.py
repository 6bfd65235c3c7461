"""Tables no wider than the terminal: what does not fit goes on below, and no number is ever cut.

A listing that is too wide loses its columns of one value first: they become a line above it. What is still too wide
goes on below, with the first column again, as pandas prints a wide frame. Where not even one column fits beside the
first, each row becomes lines of its own. Texts may be shortened, numbers and words with digits (hashes, times) are not.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from bgsim.errors import printable
from bgsim.tables import Table

_GAP = 2
_SHORT = 10
"""Texts may be shortened to so many columns."""


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    cells: list[str]
    right: bool

    @property
    def natural(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)), default=0)

    @property
    def least(self) -> int:
        """The width below which it does not go."""
        words = [cell_len(word) for word in self.heading.split()]
        return max([*map(_least, self.cells), *words], default=0)

    @property
    def is_constant(self) -> bool:
        return len(set(self.cells)) == 1 and bool(self.cells[0])


def lines_of(table: Table, width: int | None, *, listing: bool = False) -> list[str]:
    """Return the lines of a table, none wider than `width`; None is as wide as it needs.

    A column of a listing that has one value becomes part of a line above, where the table is too wide otherwise.
    A number that alone is wider than that is the one exception: it is broken, as the terminal
    would.
    """
    headings, rows, right = table.texts(whole=width is None)
    columns = [_Column(headings[i] if headings else "", [row[i] for row in rows], right[i]) for i in range(len(right))]
    if width is None or _width_of(columns) <= width:
        body = list(_block(columns, [column.natural for column in columns]))
        return [*_paragraph(table.title, width), *body, *_remarks(table, width)]
    above, columns = _shared(columns) if listing and len(rows) > 1 else ("", columns)
    body = list(_blocks(columns, width))
    return [*_paragraph(table.title, width), *_paragraph(above, width), *body, *_remarks(table, width)]


def shortened(text: str, room: int) -> str:
    """Return a text of at most `room` columns; a word with digits is left out rather than cut."""
    if cell_len(text) <= room:
        return text
    kept = ""
    for character in text:
        if cell_len(kept + character) >= room:
            break
        kept += character
    follows = text[len(kept)]
    if not (kept.endswith(" ") or follows == " "):
        before, space, word = kept.rpartition(" ")
        rest = text[len(kept) :].split(" ", 1)[0]
        if any(c.isdigit() for c in word + rest):
            kept = before + space
    return f"{kept.rstrip()}…" if kept.strip() else "…"


def _width_of(columns: Sequence[_Column]) -> int:
    return sum(column.natural + _GAP for column in columns) - _GAP


def _least(cell: str) -> int:
    if not any(c.isalpha() and c != "e" for c in cell):  # a number, a time, a drawing
        return cell_len(cell)
    with_digits = [cell_len(word) + 1 for word in cell.split() if any(c.isdigit() for c in word)]
    return min(cell_len(cell), max([_SHORT, *with_digits]))


def _shared(columns: list[_Column]) -> tuple[str, list[_Column]]:
    """Take the columns of one value out, but never the first; return a line that tells them."""
    taken = [c for c in columns[1:] if c.is_constant and c.heading]
    left = [c for c in columns if not any(c is other for other in taken)]
    told = ", ".join(f"{c.heading} {c.cells[0]}" for c in taken)
    return f"all: {told}" if told else "", left


def _blocks(columns: list[_Column], width: int) -> Iterator[str]:
    """Yield the lines of the columns, in blocks that each begin with the first."""
    if len(columns) <= 1 or any(columns[0].least + _GAP + c.least > width for c in columns[1:]):
        yield from _stacked(columns, width)
        return
    key, *rest = columns
    key_width = min(key.natural, max(key.least, width - _GAP - max(c.least for c in rest)))
    widths, block, is_first = [key_width], [key], True
    for column in rest:
        taken = sum(widths) + _GAP * len(widths)
        most = max(column.least, min(column.natural, width - key_width - _GAP))
        if taken + most > width and len(block) > 1:
            yield from _separated(_block(block, widths), is_first=is_first)
            widths, block, is_first = [key_width], [key], False
        widths.append(most)
        block.append(column)
    yield from _separated(_block(block, widths), is_first=is_first)


def _separated(lines: Iterator[str], *, is_first: bool) -> Iterator[str]:
    if not is_first:
        yield ""
    yield from lines


def _block(columns: Sequence[_Column], widths: Sequence[int]) -> Iterator[str]:
    """Yield the lines of a few columns: headings, in several lines where they are long, and cells."""
    heads = [_wrapped(column.heading, width) for column, width in zip(columns, widths, strict=True)]
    depth = max(map(len, heads), default=0)
    if any(column.heading for column in columns):
        for level in range(depth):
            yield _line([head[level - depth] if len(head) >= depth - level else "" for head in heads], columns, widths)
    for number in range(len(columns[0].cells) if columns else 0):
        yield _line([column.cells[number] for column in columns], columns, widths)


def _line(texts: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> str:
    parts = []
    for text, column, width in zip(texts, columns, widths, strict=True):
        shown = shortened(text, width)
        space = " " * (width - cell_len(shown))
        parts.append(space + shown if column.right else shown + space)
    return (" " * _GAP).join(parts).rstrip()


def _stacked(columns: Sequence[_Column], width: int) -> Iterator[str]:
    """Yield each row as lines of heading and cell; of no rows the headings."""
    if columns and not columns[0].cells:
        yield from _wrapped("  ".join(column.heading for column in columns), width)
    for number in range(len(columns[0].cells) if columns else 0):
        if number:
            yield ""
        for column in columns:
            cell = column.cells[number]
            together = f"{column.heading} {cell}".strip()
            if not cell:
                continue
            if cell_len(together) <= width:
                yield together
            else:
                yield from _wrapped(column.heading, width)
                yield from [f"  {line}" for line in _wrapped(cell, width - 2)]


def _remarks(table: Table, width: int | None) -> list[str]:
    return [line for remark in table.remarks() for line in _paragraph(remark, width)]


def _paragraph(text: str, width: int | None) -> list[str]:
    """Return a text in lines of a width; none of an empty text."""
    text = printable(text)
    return (
        text.splitlines() if width is None else [line for part in text.splitlines() for line in _wrapped(part, width)]
    )


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of a width, broken between words where that is possible."""
    if cell_len(text) <= width:
        return [text]
    if text.isascii() or cell_len(text) == len(text):
        return textwrap.wrap(text, max(1, width), break_on_hyphens=False)
    found = [""]
    for character in text:  # some are two columns wide
        if found[-1] and cell_len(found[-1] + character) > width:
            found.append("")
        found[-1] += character
    return found
