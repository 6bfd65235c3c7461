"""Tables: the text, the HTML, and what neither may do."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgsim.tables import Table, Tabular, shown


def test_numbers_stand_right_and_names_left() -> None:
    table = Table(("name", "count", "mean"), [("a", 1_234_567, 2.5), ("long name", 3, None)], title="Two", remark="all")
    assert str(table) == (
        "Two\n  name           count  mean\n  a          1,234,567   2.5\n  long name          3\nall"
    )
    html = table._repr_html_()
    assert re.findall(r"text-align:(\w+)[^>]*>([^<]*)<", html) == [
        ("left", "name"), ("right", "count"), ("right", "mean"),
        ("left", "a"), ("right", "1,234,567"), ("right", "2.5"), ("left", "long name"), ("right", "3"), ("right", ""),
    ]  # fmt: skip


def test_names_and_values_need_no_headings() -> None:
    table = Table((), [("state", "running"), ("done", 12)])
    assert str(table) == "  state  running\n  done   12"
    assert "<thead>" not in table._repr_html_()
    assert table._repr_html_().count('<th scope="row"') == 2


@pytest.mark.parametrize("rows", [[], [()]])
def test_an_empty_table_has_its_headings_at_most(rows: list[tuple[str, ...]]) -> None:
    assert str(Table(("a", "b"), [])) == "  a  b"
    assert str(Table((), rows)).strip() == ""
    assert "<table" in Table((), rows)._repr_html_()


def test_many_rows_are_counted() -> None:
    table = Table(("i",), [(i,) for i in range(1000)])
    assert len(str(table).splitlines()) == 22
    assert str(table).endswith("\n... and 980 more")
    assert table._repr_html_().count("<tr>") == 21
    assert len(str(Table(("i",), [(i,) for i in range(1000)], most=None)).splitlines()) == 1001


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""), (True, "yes"), (np.False_, "np.False_"), (12_345, "12,345"), (10**400, "an integer of 1,329 bits"),
        (np.int64(7), "7"), (1 / 3, "0.333333"), (float("inf"), "inf"), (1.5e9, "1.5e+09"), ([1, 2], "[1, 2]"),
    ],
)  # fmt: skip
def test_a_cell_is_short(cell: object, text: str) -> None:
    assert shown(cell) == text


@given(st.text(), st.text(), st.text())
def test_what_is_shown_is_no_markup_and_acts_on_no_terminal(heading: str, cell: str, title: str) -> None:
    table = Table((heading,), [(cell + "<script>\x1b[2J\u202e",)], title=title, remark=title)
    html = table._repr_html_()
    assert set(re.findall(r"<(\W?\w*)", html)) <= {"table", "thead", "tbody", "tr", "th", "td", "div", "b"} | {
        "/table", "/thead", "/tbody", "/tr", "/th", "/td", "/div", "/b"
    }  # fmt: skip
    assert "&lt;script&gt;" in html
    assert all(c.isprintable() or c in "\n\t" or c.isspace() for c in str(table) + html)
    assert "\x1b" not in str(table) + html


def test_an_object_is_shown_by_its_table() -> None:
    class Thing(Tabular):
        def _table(self) -> Table:
            return Table((), [("a", "b")])

    assert repr(Thing()) == str(Thing()) == "  a  b"
    assert Thing()._repr_html_() == Table((), [("a", "b")])._repr_html_()


def test_what_is_long_is_cut_in_text_and_whole_in_html() -> None:
    table = Table(("name", "why"), [("n" * 100, "w" * 100), ("a", "w" * 200)])
    assert str(table).splitlines()[1:] == [f"  {'n' * 59}…  {'w' * 100}", f"  {'a'.ljust(60)}  {'w' * 119}…"]
    assert "w" * 200 in table._repr_html_()
