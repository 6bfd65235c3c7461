"""``--keep summary`` and ``--until``: what is printed and written, how many replicates it takes, and going on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run_main
from test_cli import bgsim_command, environment, folder, wait_for_progress  # noqa: F401 - a fixture

import bgsim
from bgsim.ui.terminal import histogram, histogram_of_tally, summary_table

MODEL = """
import bgsim
from dataclasses import dataclass

@dataclass(frozen=True)
class P:
    x: float = 1.0

@bgsim.simulation(outputs={"a": "f8", "is_big": "?", "path": ("f8", 2)}, compile=False)
def draw(p: P, rng):
    a = p.x * rng.random()
    return a, a > 0.5, [a, -a]
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"kept_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BGSIM_STORE", str(tmp_path / "s.db"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *filter(None, sys.path)])
    return f"{name}.py"


def run(*arguments: str, code: int = 0, command: str = "run") -> tuple[str, str]:
    found, out, err = run_main(command, *arguments)
    assert found == code, err
    return out, err


def test_a_summary_prints_the_table_of_the_rows(model: str) -> None:
    rows, _ = run(model, "-n", "500")
    kept, err = run(model, "-n", "500", "--keep", "summary")
    cells = [[line.split("  ") for line in text.splitlines()] for text in (rows, kept)]
    assert "500 replicates in" in err
    assert "precision" not in err
    for ours, theirs in zip(*cells, strict=True):
        assert ours[0] == theirs[0]
    for text in (rows, kept):
        a, is_big = text.splitlines()[1:3]
        assert "±" in a
        assert "%" in is_big
        assert a[-1].isdigit()  # the end of its small histogram
    assert rows.splitlines()[2] == kept.splitlines()[2]  # of a boolean all is exact
    assert "path (2,)" in kept


def test_json_says_what_is_kept_and_where_it_stopped(model: str) -> None:
    plain = json.loads(run(model, "-n", "500", "--json")[0])
    assert (plain["keep"], plain["stopping"]) == ("columns", None)
    found = json.loads(run(model, "--keep", "summary", "--until", "a=0.004", "--json")[0])
    stopping = found["stopping"]
    assert (found["keep"], found["replicates"], stopping["replicates"]) == ("summary", 8192, 8192)
    assert stopping["reached"] is True
    assert [(look["replicates"], look["reached"]) for look in stopping["looks"]] == [(4096, False), (8192, True)]
    assert stopping["looks"][1]["outputs"]["a"]["error"] <= 0.004
    assert bgsim.Precision.from_json(json.dumps(stopping["precision"])) == bgsim.Precision("a", standard_error=0.004)
    assert found["outputs"]["a"]["count"] == 8192


def test_it_takes_as_many_as_the_precision_needs_and_says_so(model: str) -> None:
    _, err = run(model, "--until", "a=0.004")
    assert "8,192 replicates in" in err
    assert err.splitlines()[-1].endswith("; the precision is reached")
    _, err = run(model, "--until", "a=0.004", "-n", "5000")
    assert "5,000 replicates in" in err
    why = "the standard error of a is 0.00407, not 0.004"
    assert err.splitlines()[-1].endswith(f"; the precision is not reached, and a larger -n lets it go on: {why}")
    assert "5,000 of them from the store" in err
    _, err = run(model, "--until", "a,is_big=±0.00001", "-n", "100")
    assert "the half width of a is " in err
    assert " and of is_big is " in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until", "b=0.1"], "one of a, is_big, path"),
        (["--until", "path=0.1"], "output of a Precision must be one real number"),
        (["--until", "a"], "--until must be like payoff=0.01"),
        (["--until", "a=0.1", "-n", "1"], "-n has to be 2 or more with --until"),
        (["--keep", "summary", "--output", "a.csv"], "--keep summary keeps none: leave one of them out"),
        (["--keep", "rows"], "'rows' is not one of 'columns', 'summary'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(model: str, arguments: list[str], message: str) -> None:
    _, err = run(model, *arguments, code=2)
    assert message in " ".join(err.split())
    assert "replicates in" not in err
    assert not Path("a.csv").exists()


def test_every_replicate_of_a_precision_can_be_written(model: str) -> None:
    run(model, "--until", "a=0.004", "--output", "rows.npz")
    with np.load("rows.npz") as rows:
        assert rows["a"].shape == (8192,)


def test_points_of_a_sweep_take_each_its_own_number(model: str) -> None:
    arguments = (model, "--set", "x=1,2", "--until", "a=0.004", "--keep", "summary", "--output")
    out, err = run(*arguments, "points.csv", command="sweep")
    lines = [line.split() for line in out.splitlines()[:3]]
    assert lines[0] == ["x", "a", "is_big", "replicates"]
    assert [line[-1] for line in lines[1:]] == ["8,192", "32,768"]
    assert "2 points of 40,960 replicates together in" in err
    assert err.splitlines()[-1].endswith("; all have reached the precision")
    header, *rows = [line.split(",") for line in Path("points.csv").read_text().splitlines()]
    assert [row[header.index("replicates")] for row in rows] == ["8192", "32768"]
    found = json.loads(run(*arguments[:-1], "--json", "-n", "10000", command="sweep")[0])
    assert (found["replicates"], found["keep"]) == (None, "summary")
    assert [point["replicates"] for point in found["points"]] == [8192, 10000]
    assert [point["stopping"]["reached"] for point in found["points"]] == [True, False]
    _, err = run(*arguments[:-1], "-n", "10000", command="sweep")
    assert "1 of them from the store" in err  # of 10,000 no stored piece ends there
    assert "1 of 2 have reached the precision, the others ended with the most that may be" in err


def test_points_that_take_the_same_number_have_no_column_of_it(model: str) -> None:
    out, err = run(model, "--set", "x=1,2", "-n", "50", "--keep", "summary", command="sweep")
    assert out.splitlines()[0].split() == ["x", "a", "is_big"]
    assert "2 points of 50 replicates in" in err
    assert "precision" not in err


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(folder: Path) -> None:  # noqa: F811
    wanted = ["run", "mine:slow", "--until", "x=0.0000001", "--keep", "summary", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bgsim", *wanted],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment(folder),
    )  # fmt: skip
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["type"] == "interrupted"
    kept = int(err.split("interrupted; ")[1].split()[0].replace(",", ""))
    assert f"{kept:,} replicates are kept in " in err
    again = bgsim_command(folder, *wanted, "-n", "4096")
    assert json.loads(again.stdout)["from_store"] == min(4096, kept)


@pytest.mark.parametrize(
    ("dtype", "of"),
    [
        ("f8", lambda rng: 2.0),
        ("f8", lambda rng: float("nan")),
        ("f8", lambda rng: float("inf")),
        ("i8", lambda rng: 7),
        ("?", lambda rng: True),
        ("f8", lambda rng: 5e-324),
        ("f8", lambda rng: 1.7e308 * (1 - 2 * (rng.random() < 0.5))),
        ("i4", lambda rng: rng.integers(0, 5)),
        ("f4", lambda rng: rng.random()),
    ],
)
def test_the_small_histogram_of_a_summary_is_that_of_its_rows(dtype: str, of: Any) -> None:
    draw = bgsim.simulation(lambda p, rng: of(rng), outputs={"x": dtype}, compile=False, name="drawn", depends_on=())
    with bgsim.Engine() as engine:
        rows = engine.submit(draw, replicates=400).result()
        kept: Any = engine.submit(draw, replicates=400, keep="summary").result()
    theirs, ours = histogram(rows["x"]), histogram_of_tally(kept.tally("x"))
    if dtype == "f4":  # where the edge of a bin cuts a bucket, some values are taken for its neighbour's
        assert (ours.split()[0], ours.split()[2], len(ours)) == (theirs.split()[0], theirs.split()[2], len(theirs))
    else:
        assert ours == theirs
    assert len(summary_table(kept).rows) == 1
