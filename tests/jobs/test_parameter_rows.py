"""Parameter sets from tables: lines, files and DataFrames, with errors that name row and column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import bgsim
from bgsim.errors import InvalidInputError, ParameterError


@dataclass(frozen=True)
class Row:
    strike: float = bgsim.parameter(100.0, gt=0)
    steps: int = 10
    label: str = ""
    weights: tuple[float, ...] = ()


@bgsim.simulation(outputs={"y": "f8"}, compile=False)
def row(p: Row, rng: Any) -> float:
    return p.strike + rng.random()


@bgsim.simulation(outputs={"y": "f8"}, compile=False)
def free(p: Any, rng: Any) -> float:
    return p.x + rng.random()


LINES = ["strike, label ,steps,weights", '90,7,1e3,"[1, 2]"', "", "  110 , a b,,", ",,5,"]
EXPECTED = [
    {"strike": 90.0, "label": "7", "steps": 1000, "weights": (1.0, 2.0)},
    {"strike": 110.0, "label": "a b", "steps": 10, "weights": ()},
    {"strike": 100.0, "label": "", "steps": 5, "weights": ()},
]


def test_lines_are_parameter_sets() -> None:
    assert [dict(p) for p in bgsim.parameter_sets(row, LINES)] == EXPECTED
    assert bgsim.parameter_sets(row, ["strike\tsteps", "90.5\t3"])[0]["strike"] == 90.5
    assert bgsim.parameter_sets(row, ["strike;weights", "1;[1,2]"])[0]["weights"] == (1.0, 2.0)
    found = bgsim.parameter_sets(free, ["x,on,word", "1,true,a b", "2.5,,"])
    assert [dict(p) for p in found] == [{"on": True, "word": "a b", "x": 1}, {"x": 2.5}]


def test_a_mark_of_byte_order_belongs_to_no_name() -> None:
    assert bgsim.parameter_sets(row, ["\ufeffstrike", "1"])[0]["strike"] == 1.0


@pytest.mark.parametrize("lines", [[], [""], ["\n", "1\n"], ["\ufeff \r\n", "1"]])
def test_lines_without_a_heading_are_refused(lines: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="source must be lines of text, the first with the names of the param"):
        bgsim.parameter_sets(row, lines)


def test_a_file_is_parameter_sets(tmp_path: Path) -> None:
    path = tmp_path / "sets.csv"
    path.write_text("\n".join(LINES), encoding="utf-8-sig")
    assert [dict(p) for p in bgsim.parameter_sets(row, path)] == EXPECTED
    assert bgsim.parameter_sets(row, str(path)) == bgsim.parameter_sets(row, LINES)
    path.write_text("strike\n1\n-2\n")
    with pytest.raises(
        ParameterError, match=r"sets.csv, line 3, column 'strike': parameter 'strike' .*; got -2"
    ) as caught:
        bgsim.parameter_sets(row, path)
    assert (caught.value.field, caught.value.value) == ("strike", -2.0)
    path.write_bytes(b"strike\n\xff\n")
    for bad in (path, tmp_path / "none.csv", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            bgsim.parameter_sets(row, bad)


def test_a_frame_is_parameter_sets() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"strike": [90, 110, None], "steps": [1000, None, 5], "label": ["7", "a b", None]})
    expected = [{**p, "weights": ()} for p in EXPECTED]
    assert [dict(p) for p in bgsim.parameter_sets(row, frame)] == expected
    assert [dict(p) for p in bgsim.parameter_sets(row, frame.convert_dtypes())] == expected
    with pytest.raises(ParameterError, match="row 'b', column 'steps': parameter 'steps' must be an int"):
        bgsim.parameter_sets(row, pandas.DataFrame({"steps": [1, 2.5]}, index=["a", "b"]))
    with bgsim.Engine(immediate=True) as engine:
        batch = engine.submit_many(row, bgsim.parameter_sets(row, frame), replicates=2)
        assert [job.parameters["strike"] for job in batch] == [90.0, 110.0, 100.0]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["strike,stepps", "1,2"], "line 2, column 'stepps': Row has no parameter 'stepps'; did you mean 'steps'"),
        (["strike", "x"], "line 2, column 'strike': parameter 'strike' must be a float"),
        (["strike", "1,2"], "line 2 has 2 cells, and the heading 1"),
        (["strike,", "1,2"], "each column must have a name of its own"),
        (["strike,strike", "1,2"], "each column must have a name of its own"),
        (["strike", '"' + "a" * 200_000 + '"'], "line 2: field larger than field limit"),
        ([], "lines of text, the first with the names"),
        ([1, 2], "lines of text"),
        (["strike", 2], "iterator should return strings"),
        (5, "source must be a DataFrame, the path of a CSV file, or its lines; got 5"),
        ({"strike": [1]}, "source must be a DataFrame"),
        ("", "source must be the path of a file"),
    ],
)
def test_a_wrong_table_is_refused_by_row_and_column(source: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        bgsim.parameter_sets(row, source)
