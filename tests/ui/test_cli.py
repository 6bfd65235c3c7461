"""The command line, as a user runs it: a process of its own, and where it matters a terminal."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ENCOUNTERS

import bgsim
from bgsim.models.options import EuropeanCall, european_call

LONG = """
import bgsim
from dataclasses import dataclass

@dataclass(frozen=True)
class P:
    n: int = 20_000

@bgsim.simulation(outputs={"x": "f8"})
def slow(p: P, rng):
    '''Sum many draws.'''
    total = 0.0
    for _ in range(p.n):
        total += rng.random()
    return total

@bgsim.simulation(outputs={"x": "f8"})
def fails(p, rng):
    x = rng.random()
    if x >= 0.0:
        raise ValueError("no luck")
    return x

@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def takes_text(p, rng):
    return float(len(p.word)) + p.number
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(LONG)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "BGSIM_STORE": str(folder / "runs.db"), "COLUMNS": "100", "TERM": "xterm"}


def bgsim_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bgsim", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env=environment(folder),
        check=False,
    )


def test_run_prints_data_on_standard_output_only(folder: Path) -> None:
    done = bgsim_command(folder, "run", "european_call", "-n", "1000", "--seed", "3", "--set", "strike=90", "--json")
    assert done.returncode == 0
    data = json.loads(done.stdout)
    expected = bgsim.run(european_call, EuropeanCall(strike=90.0), replicates=1000, seed=3).summary()["payoff"]
    assert data["outputs"]["payoff"]["mean"] == expected.mean
    assert data["outputs"]["payoff"]["standard_error"] == expected.standard_error
    assert (data["replicates"], data["seed"], data["from_store"], data["parameters"]["strike"]) == (1000, 3, 0, 90.0)
    assert "completed 100.0 %" in done.stderr
    again = bgsim_command(folder, "run", "european_call", "-n", "1000", "--seed", "3", "--set", "strike=90", "--json")
    assert json.loads(again.stdout)["from_store"] == 1000
    assert "1,000 of them from the store" in again.stderr


def test_the_summary_is_a_table(folder: Path) -> None:
    done = bgsim_command(folder, "run", "battle", "--scenario", str(ENCOUNTERS / "ogre_bridge.json"), "-n", "500")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["output", "mean"]
    won = next(line for line in lines if line.startswith("party_won"))
    assert "±" in won
    assert "%" in won


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_columns_are_written_to_a_file(folder: Path, suffix: str) -> None:
    output = folder / f"columns.{suffix}"
    done = bgsim_command(folder, "run", "european_call", "-n", "20", "--output", str(output))
    assert done.returncode == 0, done.stderr
    expected = bgsim.run(european_call, replicates=20)["payoff"].tolist()
    if suffix == "npz":
        with np.load(output) as found:
            assert found["payoff"].tolist() == expected
    else:
        with output.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["payoff"]) for row in rows] == expected
        assert [int(row["replicate"]) for row in rows] == list(range(20))


def test_your_own_module_is_found_and_its_settings_are_read(folder: Path) -> None:
    done = bgsim_command(
        folder, "run", "mine:takes_text", "-n", "2", "--set", "word=abc", "--set", "number=0.5", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"]["x"]["mean"] == 3.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "asian_cal"], "did you mean 'asian_call'"),
        (["run", "asian_call", "--set", "stirke=1"], "did you mean 'strike'"),
        (["run", "asian_call", "--set", "strike=abc"], "parameter 'strike' (in currency) must be a float"),
        (["run", "asian_call", "--set", "strike"], "--set takes KEY=VALUE"),
        (["run", "asian_call", "--set", "strike=90,100"], "--set strike: one value, since `bgsim sweep` takes several"),
        (["run", "asian_call", "--set", "volatility=nan"], "must not be NaN"),
        (["run", "asian_call", "--set", "steps=0"], "1 <= x"),
        (["run", "asian_call", "-n", "0"], "replicates must be an integer of 1 or more"),
        (["run", "asian_call", "--priority", "urgent"], "critical, high, normal, low"),
        (["run", "asian_call", "--workers", "0"], "workers must be"),
        (["run", "asian_call", "--output", "x.txt"], ".csv or .npz"),
        (["run", "asian_call", "--output", "nowhere/x.csv"], "no directory nowhere"),
        (["run", "asian_call", "--scenario", "x.json"], "reads no scenario"),
        (["run", "battle"], "must be given"),
        (["run", "battle", "--scenario", "x.json", "--set", "a=1"], "either --scenario or --set"),
        (["run", "battle", "--scenario", "x.json"], "x.json cannot be read"),
        (["run", "asian_call", "--store", "."], "is a directory"),
        (["run", "asian_call", "--store", "nowhere/x.db"], "does not exist"),
        (["run", "asian_call", "--nonsense"], "No such option"),
        (["describe", "battel"], "did you mean 'battle'"),
    ],
)
def test_bad_input_exits_with_2_and_says_what_to_do(folder: Path, arguments: list[str], message: str) -> None:
    done = bgsim_command(folder, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_why_a_job_failed_is_said_once(folder: Path) -> None:
    done = bgsim_command(folder, "run", "mine:takes_text", "-n", "2", "--set", "word=abc", "--set", "number=text")
    assert done.returncode != 0
    assert "failed 0.0 % (0/2)\n" in done.stderr
    assert done.stderr.count("Error") <= 1
    lines = done.stderr.splitlines()
    assert len(set(lines)) == len(lines)


def test_another_programs_database_is_left_untouched(folder: Path) -> None:
    path = folder / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    before = path.read_bytes()
    done = bgsim_command(folder, "run", "european_call", "-n", "10", "--store", str(path))
    assert done.returncode == 2
    assert "another program's SQLite database" in done.stderr
    assert path.read_bytes() == before
    assert sorted(p.name for p in folder.glob("other.db*")) == ["other.db"]


def test_a_failing_simulation_exits_with_1(folder: Path) -> None:
    done = bgsim_command(folder, "run", "mine:fails", "-n", "5")
    assert done.returncode == 1
    assert "replicate 0 of mine.fails raised ValueError: no luck" in done.stderr
    assert "to replay it" in done.stderr


def test_a_time_out_exits_with_124(folder: Path) -> None:
    done = bgsim_command(folder, "run", "mine:slow", "-n", "10000000", "--timeout", "0.3")
    assert done.returncode == 124
    assert "the same command goes on" in done.stderr


def wait_for_progress(process: subprocess.Popen[str]) -> str:
    """Return the first line of progress that shows finished replicates."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("running ") and not line.startswith("running 0.0 %"):
            return line
    raise AssertionError("the run ended without progress")


def test_ctrl_c_keeps_the_finished_replicates_and_running_again_resumes(folder: Path) -> None:
    command = [sys.executable, "-m", "bgsim", "run", "mine:slow", "-n", "4000000", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment(folder)
    )
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["error"]["type"] == "interrupted"
    assert "interrupted;" in err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    again = bgsim_command(
        folder, "run", "mine:slow", "-n", "4000000", "--json", "--set", "n=20000", "--timeout", "0.01"
    )
    assert again.returncode == 124
    with sqlite3.connect(folder / "runs.db") as store:
        (kept,) = store.execute("SELECT replicates FROM results").fetchone()
    store.close()
    assert 0 < kept < 4_000_000
    fewer = bgsim_command(folder, "run", "mine:slow", "-n", str(kept), "--json")
    assert json.loads(fewer.stdout)["from_store"] == kept


@pytest.mark.skipif(os.name != "posix", reason="elsewhere no parent hands down that Ctrl-C is ignored")
def test_ctrl_c_that_the_parent_ignores_does_not_end_a_run(folder: Path) -> None:
    """As `nohup bgsim run` and a script's `bgsim run &` want it: a second signal would end it at once."""
    command = [sys.executable, "-m", "bgsim", "run", "mine:slow", "-n", "4000000", "--json"]
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
    )
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert json.loads(out)["error"]["exit_code"] == 128 + signal.SIGTERM


def test_a_live_bar_is_drawn_on_a_terminal(folder: Path) -> None:
    """A real pseudo-terminal: the bar is redrawn in place, and the data goes elsewhere."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bgsim", "run", "mine:slow", "-n", "60000"],
        stdout=subprocess.PIPE,
        stderr=slave,
        cwd=folder,
        env=environment(folder),
    )
    os.close(slave)
    shown = b""
    while True:
        ready, _, _ = select.select([master], [], [], 60)
        assert ready, "nothing was drawn"
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    out, _ = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 0
    assert "━".encode() in shown
    assert b"%" in shown
    assert b"\x1b[" in shown
    assert b"output" in out
    assert b"\x1b[" not in out


def test_list_and_describe(folder: Path) -> None:
    listed = bgsim_command(folder, "list").stdout
    assert "asian_call" in listed
    assert "battle" in listed
    described = bgsim_command(folder, "describe", "asian_call").stdout
    for part in ("Asian call path", "strike", "currency", "100.0", "steps", "int", "payoff", "float64 scalar"):
        assert part in described
    assert "--scenario FILE" in bgsim_command(folder, "describe", "battle").stdout
    assert "any, given with --set" in bgsim_command(folder, "describe", "mine:fails").stdout


def test_help_lists_the_exit_codes(folder: Path) -> None:
    for arguments in ((), ("run",)):
        text = bgsim_command(folder, *arguments, "--help").stdout
        for code in ("0 ", "1 ", "2 ", "124 ", "130 "):
            assert f"  {code}" in text


def test_slots_are_shown(folder: Path) -> None:
    assert "no store" in bgsim_command(folder, "store", "slots").stderr
    for seed in ("1", "2"):
        bgsim_command(folder, "run", "european_call", "-n", "10", "--seed", seed)
    shown: Any = bgsim_command(folder, "store", "slots").stdout
    assert "primary" in shown
    assert "secondary" in shown
    assert len(bgsim_command(folder, "store", "ls").stdout.splitlines()) == 3
