"""``bgsim run --dask`` and ``bgsim sweep --dask``, with a cluster on this machine."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import distributed
import pytest
from command import run_main
from test_cli import bgsim_command, environment, folder  # noqa: F401 - the fixture

from bgsim.backends import dask_link


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made:
        made.wait_for_workers(2)
        yield made


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:  # noqa: F811
    return subprocess.Popen(
        [sys.executable, "-m", "bgsim", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
    )


def next_line_with(text: str, process: subprocess.Popen[str]) -> str:
    """Return the next line of standard error that has a text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"the command ended without {text!r}")


def wait_for_more(replicates: int, process: subprocess.Popen[str]) -> None:
    """Wait until more than so many replicates are done."""
    while int(next_line_with("running ", process).split("(")[1].split("/")[0].replace(",", "")) <= replicates:
        pass


def outputs(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["outputs"]


@pytest.mark.parametrize("simulation", ["european_call", "./mine.py:slow"])
def test_a_cluster_computes_the_same(folder: Path, cluster: distributed.LocalCluster, simulation: str) -> None:  # noqa: F811
    """Also what the workers cannot import."""
    command = ["run", simulation, "-n", "3000", "--json"]
    found = bgsim_command(folder, *command, "--dask", cluster.scheduler_address)
    assert found.stderr.splitlines()[-2].startswith("completed 100.0 % (3,000/3,000)")
    assert found.stderr.splitlines()[-1].startswith("bgsim: 3,000 replicates in ")
    assert "warning" not in found.stderr
    assert outputs(found) == outputs(bgsim_command(folder, *command, "--refresh"))


def test_a_sweep_is_the_same_table(folder: Path, cluster: distributed.LocalCluster) -> None:  # noqa: F811
    command = ["sweep", "european_call", "--set", "strike=90,95,100", "-n", "2000"]
    found = bgsim_command(folder, *command, "--dask", cluster.scheduler_address)
    assert found.returncode == 0, found.stderr
    assert "3 of 3 jobs, 100.0 %" in found.stderr
    assert found.stdout == bgsim_command(folder, *command, "--refresh").stdout


@pytest.mark.skipif(os.name != "posix", reason="signals are sent to one process")
def test_a_signal_keeps_the_finished_replicates_and_the_same_command_goes_on(folder: Path) -> None:  # noqa: F811
    """With one thread that computes, chunks come back in their order, so that some of them follow the first one."""
    kept = [0]
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as small:
        for number in (signal.SIGINT, signal.SIGTERM):
            process = start(folder, "run", "mine:slow", "-n", "4M", "--json", "--dask", small.scheduler_address)
            wait_for_more(kept[-1] + 1000, process)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            assert process.returncode == 128 + number, err
            assert json.loads(out)["error"]["type"] == "interrupted"
            assert "the same command goes on from there" in err
            assert "Traceback" not in err
            kept.append(int(err.split("interrupted; ")[1].split(" of ")[0].replace(",", "")))
            with closing(sqlite3.connect(folder / "runs.db")) as store:
                assert store.execute("SELECT replicates FROM results").fetchall() == [(kept[-1],)]
    assert kept == sorted(set(kept))


def test_a_cluster_without_workers_is_told_and_one_that_comes_computes(folder: Path) -> None:  # noqa: F811
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as empty:
        process = start(folder, "run", "european_call", "-n", "1000", "--json", "--dask", empty.scheduler_address)
        assert "jobs wait until one comes" in next_line_with("has no workers", process)
        assert next_line_with("waits for a worker", process).startswith("running 0.0 %")
        empty.scale(1)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)["replicates"] == 1000


def set_numba() -> None:
    """Have a worker say that it has another version."""
    from bgsim.backends import remote

    found = {**remote.this_environment(), "numba": "0.1"}
    remote.this_environment = lambda: found


@pytest.mark.parametrize(("others", "code"), [(1, 0), (2, 1)])
def test_a_worker_with_other_versions_is_told(folder: Path, others: int, code: int) -> None:  # noqa: F811
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as mixed,
        distributed.Client(mixed) as client,
    ):
        client.wait_for_workers(2)
        workers = sorted(client.scheduler_info()["workers"])[:others]
        client.run(set_numba, workers=workers)
        command = ["run", "european_call", "-n", "100000", "--json"]
        found = bgsim_command(folder, *command, "--dask", mixed.scheduler_address)
    assert found.returncode == code, found.stderr
    for worker in workers:
        assert f"{worker} computes nothing of it: it has other versions than this process of numba" in found.stderr
    if code:
        assert "bgsim: error: no worker can compute" in found.stderr.splitlines()[-1]
        assert "numba 0.1" in json.loads(found.stdout)["error"]["message"]
    else:
        assert outputs(found) == outputs(bgsim_command(folder, *command, "--refresh"))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.0.1", "missing port number"),
        ("smoke://10.0.0.1:8786", "unknown address scheme 'smoke'"),
        ("tcp://127.0.0.1:1", "Timed out"),
    ],
)
def test_an_address_without_a_scheduler_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setattr(dask_link, "CONNECT_S", 0.2)
    monkeypatch.setenv("BGSIM_STORE", str(tmp_path / "runs.db"))
    code, out, err = run_main("run", "european_call", "-n", "10", "--json", "--dask", address)
    assert (code, json.loads(out)["error"]["type"]) == (2, "InvalidInputError")
    (line,) = err.splitlines()
    assert line.startswith(f"bgsim: error: --dask: no Dask scheduler answers at {address!r}: ")
    assert why in line
    assert line.endswith("such as tcp://10.0.0.1:8786")


@pytest.mark.parametrize("command", [["run", "european_call"], ["sweep", "european_call", "--set", "strike=90,95"]])
def test_without_distributed_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setenv("BGSIM_STORE", str(tmp_path / "runs.db"))
    code, _, err = run_main(*command, "-n", "10", "--dask", "tcp://127.0.0.1:1")
    assert (code, err) == (2, "bgsim: error: a Dask cluster needs distributed: pip install distributed\n")


def test_threads_and_a_cluster_are_not_both_wanted() -> None:
    code, _, err = run_main("run", "european_call", "-n", "10", "--workers", "2", "--dask", "tcp://127.0.0.1:1")
    assert code == 2
    assert "--workers are threads of this process, and with --dask a cluster computes: give one" in err
