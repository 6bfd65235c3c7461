"""``bgsim sweep`` and the files that commands write: points, designs, failures, what is kept and what is overwritten."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import run_main

MODEL = """
import os
import bgsim
from dataclasses import dataclass

@dataclass(frozen=True)
class P:
    x: float = 1.0
    word: str = "a"
    count: int = 1

@bgsim.simulation(outputs={"a": "f8", "is_big": "?", "path": ("f8", "count")}, compile=False)
def walk(p: P, rng):
    if p.x < 0:
        raise ValueError(f"x is {p.x}")
    return rng.random() + p.x, p.x > 2, [p.x] * p.count

@bgsim.simulation(outputs={"a": "f8"}, compile=False)
def takes_any(p, rng):
    return float(len(p.word))

@bgsim.simulation(outputs={"z": "c16"}, compile=False)
def wave(p: P, rng):
    return p.x * 1j

@bgsim.simulation(outputs={"x": "f8"})
def slow(p, rng):
    total = p.x
    for _ in range(20_000):
        total += rng.random()
    return total
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    name = f"swept_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BGSIM_STORE", str(tmp_path / "s.db"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *filter(None, sys.path)])
    return tmp_path


def model(folder: Path, attribute: str = "walk") -> str:
    return f"{next(folder.glob('swept_*.py')).name}:{attribute}"


def sweep(folder: Path, *arguments: str, code: int = 0) -> str:
    found, out, err = run_main("sweep", model(folder), "-n", "20", *arguments)
    assert found == code, err
    return out if not code else err


def points(folder: Path, *arguments: str) -> list[dict[str, object]]:
    return [point["parameters"] for point in json.loads(sweep(folder, *arguments, "--json"))["points"]]


def test_a_grid_is_a_table_with_parameters_and_means(folder: Path) -> None:
    lines = sweep(folder, "--set", "x=1,2.5", "--set", "word=a,b", "--set", "count=2").splitlines()
    assert lines[0].split() == ["x", "word", "a", "is_big"]
    assert [line.split()[:2] for line in lines[1:5]] == [["1", "a"], ["1", "b"], ["2.5", "a"], ["2.5", "b"]]
    assert all("±" in line for line in lines[1:5])
    assert lines[5] == "no single number: path; --output writes arrays to a .nc file"


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("x=1,2", [1.0, 2.0]),
        ("x= 1 , 2 ", [1.0, 2.0]),
        ("x=1e-1,inf", [0.1, "inf"]),
        ("word=a,b c", ["a", "b c"]),
        ('word="a,b",c', ["a,b", "c"]),
        ('word=[a,b],"{x"', ["[a,b]", "{x"]),
        ("count=3,1", [3, 1]),
    ],
)
def test_commas_part_values_but_for_brackets_and_quotes(folder: Path, setting: str, values: list[object]) -> None:
    name = setting.partition("=")[0]
    assert points(folder, "--set", setting) == [{name: value} for value in values]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "x=1:2"], "the range 1:2 needs --design; without one, give values: x=1,2"),
        (["--set", "x=1"], "a sweep needs two values or more, as in --set KEY=90,95,100; bgsim run takes one point"),
        ([], "a sweep needs two values or more"),
        (["--set", "x=1,,2"], "--set x has an empty value"),
        (["--set", "x=1,2,1"], "--set x gives 1 twice"),
        (["--set", 'word="a,b'], "a quote is not closed"),
        (["--set", "word=[a,b"], "brackets are not closed"),
        (["--set", "x=1,2", "--set", "x=3,4"], "--set gives x twice"),
        (["--set", "xx=1,2"], "did you mean 'x'?"),
        (["--set", "x=1,abc"], "parameter 'x' must be a float"),
        (["--set", "x=1,2", "--design", "sobol", "--points", "4"], "a design takes one value, or a range LOW:HIGH"),
        (["--set", "x=1:2", "--design", "sobol"], "points must be given for a design"),
        (["--set", "x=1:2:lin", "--design", "latin", "--points", "4"], "a range is LOW:HIGH or LOW:HIGH:log"),
        (["--set", "x=1,2", "--points", "4"], "--points goes with --design"),
        (["--csv", "rows.csv", "--set", "x=1,2"], "--csv gives all parameters"),
        (["--csv", "rows.csv"], "rows.csv cannot be read"),
        (["--set", "x=1,2", "--output", "s.npz"], "--output must end in .csv or .parquet or .nc"),
        (["--set", "x=1,2", "--priority", "hihg"], "did you mean 'high'?"),
    ],
)
def test_what_is_no_sweep_is_refused_before_anything_runs(folder: Path, arguments: list[str], message: str) -> None:
    assert message in sweep(folder, *arguments, code=2)
    assert not (folder / "s.db").exists() or "parameter" in message or "mean" in message or "points" in message


def test_a_design_fills_ranges(folder: Path) -> None:
    found = points(folder, "--set", "x=1:2", "--set", "count=1:3", "--design", "sobol", "--points", "8", "--seed", "3")
    assert len(found) == 8
    assert all(1 <= point["x"] <= 2 and point["count"] in (1, 2, 3) for point in found)
    log = points(folder, "--set", "x=1:100:log", "--design", "latin", "--points", "4")
    assert sum(point["x"] < 10 for point in log) == 2


def test_rows_of_a_file_are_points(folder: Path) -> None:
    (folder / "rows.csv").write_text("x,word,count\n1,a,2\n2,,2\n3,b,2\n")
    assert points(folder, "--csv", "rows.csv") == [
        {"x": 1.0, "word": "a"}, {"x": 2.0, "word": "a"}, {"x": 3.0, "word": "b"},
    ]  # fmt: skip
    (folder / "rows.csv").write_text("x\n")
    assert "has no rows below its heading" in sweep(folder, "--csv", "rows.csv", code=2)


def test_points_that_fail_are_shown_and_the_others_kept(folder: Path) -> None:
    code, out, err = run_main("sweep", model(folder), "-n", "20", "--set", "x=1,-1,2", "--output", "s.csv")
    assert code == 1
    lines = out.splitlines()
    assert lines[0].split() == ["x", "a", "is_big", "error"]
    assert "failed: " in lines[2]
    assert "x is -1.0" in lines[2]
    assert "1 of 3 points have no result; the first failed: " in err
    with (folder / "s.csv").open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["completed", "failed", "completed"]
    code, out, _ = run_main("sweep", model(folder), "-n", "20", "--set", "x=1,-1,2", "--json")
    found = json.loads(out)
    assert code == 1
    assert [point["state"] for point in found["points"]] == ["completed", "failed", "completed"]
    assert [point["outputs"] is None for point in found["points"]] == [False, True, False]
    assert [point["from_store"] for point in found["points"]] == [20, 0, 20]


def test_times_and_rates_are_in_the_json(folder: Path) -> None:
    first = json.loads(sweep(folder, "--set", "x=1,2", "--json"))
    assert first["elapsed_s"] > 0
    assert first["compiling_s"] == 0
    assert first["replicates_per_s"] == pytest.approx(40 / first["elapsed_s"], rel=0.01)
    again = json.loads(sweep(folder, "--set", "x=1,2", "--json"))
    assert again["replicates_per_s"] is None
    one = json.loads(run_main("run", model(folder), "-n", "20", "--set", "x=7", "--json")[1])
    assert one["replicates_per_s"] == pytest.approx(20 / one["elapsed_s"], rel=0.01)
    assert one["from_store"] == 0


@pytest.mark.parametrize("suffix", ["csv", "parquet", "nc"])
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_tables_are_written_in_every_form(folder: Path, command: str, suffix: str) -> None:
    import pandas
    import xarray

    settings = ["--set", "x=1,2"] if command == "sweep" else ["--set", "x=1"]
    code, _, err = run_main(command, model(folder), "-n", "5", *settings, "--output", f"o.{suffix}")
    assert code == 0, err
    if suffix == "nc":
        with xarray.open_dataset(folder / "o.nc") as found:
            assert found["a"].shape == ((2,) if command == "sweep" else (5,))
            assert float(np.asarray(found["is_big"]).sum()) == 0
    else:
        frame = (pandas.read_csv if suffix == "csv" else pandas.read_parquet)(folder / f"o.{suffix}")
        assert len(frame) == (2 if command == "sweep" else 5)
    assert {path.suffix for path in folder.iterdir()} <= {".py", ".db", f".{suffix}", "", ".db-wal", ".db-shm"}
    assert not list(folder.glob(".bgsim-*"))


def test_a_file_is_not_overwritten_unasked(folder: Path) -> None:
    (folder / "o.csv").write_text("precious")
    for command in (["run", model(folder), "--set", "x=1"], ["sweep", model(folder), "--set", "x=1,2"]):
        code, out, err = run_main(*command, "-n", "3", "--output", "o.csv")
        assert (code, out) == (2, "")
        assert "--output: o.csv exists; --force overwrites it" in err
        assert (folder / "o.csv").read_text() == "precious"
        assert not (folder / "s.db").exists()  # nothing was computed
    code, _, _ = run_main("run", model(folder), "--set", "x=1", "-n", "3", "--output", "o.csv", "--force")
    assert code == 0
    assert len((folder / "o.csv").read_text().splitlines()) == 4


def test_a_run_that_fails_leaves_the_old_file_and_no_new_one(folder: Path) -> None:
    (folder / "o.csv").write_text("precious")
    for name in ("o.csv", "new.csv"):
        code, _, _ = run_main("run", model(folder), "--set", "x=-1", "-n", "3", "--output", name, "--force")
        assert code == 1
    assert (folder / "o.csv").read_text() == "precious"
    assert not (folder / "new.csv").exists()


def test_a_link_keeps_pointing_to_its_file_and_a_device_is_written(folder: Path) -> None:
    (folder / "real.csv").write_text("old")
    (folder / "link.csv").symlink_to("real.csv")
    code, _, _ = run_main("run", model(folder), "--set", "x=1", "-n", "3", "--output", "link.csv", "--force")
    assert code == 0
    assert (folder / "link.csv").is_symlink()
    assert len((folder / "real.csv").read_text().splitlines()) == 4


def test_a_link_to_no_file_stays_and_its_file_is_made(folder: Path) -> None:
    (folder / "link.csv").symlink_to("real.csv")
    code, _, err = run_main("run", model(folder), "--set", "x=-1", "-n", "3", "--output", "link.csv")
    assert code == 1, err
    assert (folder / "link.csv").is_symlink()
    assert not (folder / "real.csv").exists()  # the run failed
    code, _, err = run_main("run", model(folder), "--set", "x=1", "-n", "3", "--output", "link.csv")
    assert code == 0, err
    assert (folder / "link.csv").is_symlink()
    assert len((folder / "real.csv").read_text().splitlines()) == 4
    (folder / "lost.csv").symlink_to("no_folder/real.csv")
    code, _, err = run_main("run", model(folder), "--set", "x=1", "--output", "lost.csv")
    assert code == 2
    assert "lost.csv cannot be written" in err


def test_a_folder_that_takes_no_file_is_told_before_anything_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    (folder / "o.csv").write_text("old")
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    for name in ("o.csv", "new.csv"):
        code, out, err = run_main("run", model(folder), "--set", "x=1", "-n", "3", "--output", name, "--force")
        assert (code, out) == (2, "")
        assert f"--output: {name} cannot be written: Permission denied" in err
    assert (folder / "o.csv").read_text() == "old"
    assert not (folder / "s.db").exists()


@pytest.mark.parametrize(
    "command", [["sweep", "--set", "x=1,2", "--output", "o.parquet"], ["run", "--output", "o.npz"]]
)
def test_what_a_library_cannot_write_is_an_error_and_the_old_file_stays(
    folder: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow has no complex numbers, and says so by an exception of its own; a disk may be full."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bgsim.storage.npz.write_arrays", full)
    file = folder / command[-1]
    file.write_text("old")
    code, out, err = run_main(command[0], model(folder, "wave"), "-n", "3", *command[1:], "--force", "--json")
    assert code == 1
    assert f"error: {file.name} cannot be written: " in err
    assert json.loads(out)["error"]["exit_code"] == 1
    assert file.read_text() == "old"
    assert not list(folder.glob(".bgsim-*"))


def test_a_missing_package_is_told_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run_main("run", model(folder), "--set", "x=1", "--output", "o.parquet")
    assert code == 2
    assert "a .parquet file needs pyarrow: pip install pyarrow" in err
    assert not (folder / "s.db").exists()


def test_a_netcdf_file_needs_a_writer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("netCDF4", "h5netcdf", "scipy"):
        monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run_main("run", model(folder), "--set", "x=1", "--output", "o.nc")
    assert code == 2
    assert "a .nc file needs netCDF4: pip install netCDF4" in err


def on_terminal(command: list[str], answer: bytes) -> tuple[int, str]:
    """Run a command whose standard input and error are a terminal, and answer its question."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bgsim", *command], stdin=slave, stderr=slave, stdout=subprocess.DEVNULL
    )
    os.close(slave)
    out = b""
    while b"[y/N]" not in out:
        out += os.read(master, 65536)
    os.write(master, answer)
    while True:
        try:
            out += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    return process.wait(), out.decode()


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0)])
def test_at_a_terminal_it_asks(folder: Path, answer: bytes, code: int) -> None:
    (folder / "o.csv").write_text("precious")
    found, said = on_terminal(["run", model(folder), "--set", "x=1", "-n", "3", "--output", "o.csv"], answer)
    assert found == code, said
    assert "o.csv exists. Overwrite it?" in said
    assert ("nothing was done" in said) == bool(code)
    assert ((folder / "o.csv").read_text() == "precious") == bool(code)


def test_ctrl_c_keeps_the_finished_points_and_the_same_command_goes_on(folder: Path) -> None:
    command = [
        "sweep",
        model(folder, "slow"),
        "-n",
        "1500",
        "--set",
        f"x={','.join(map(str, range(40)))}",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "bgsim", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    seen = ""
    while not seen.startswith(tuple(f"{n} of 40" for n in range(1, 40))):
        seen = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "points are finished and kept in" in err
    assert "Traceback" not in err
    code, out, err = run_main(*command, "--json")
    assert code == 0, err
    stored = [point["from_store"] for point in json.loads(out)["points"]]
    assert max(stored) == 1500
    assert len(stored) == 40
