"""Several processes on one file, and processes that are killed."""

from __future__ import annotations

import os
import subprocess

import pytest
from new_process import start_script
from paths import SUPPORT
from store_helpers import columns, key, same, summary

from bgsim.errors import StoreError
from bgsim.storage import ResultStore

SCRIPT = SUPPORT / "store_process.py"
ROUNDS = 200
LANES = 4


def start(*arguments: object) -> subprocess.Popen[str]:
    return start_script(SCRIPT, *arguments)


def finish(process: subprocess.Popen[str], text: str = "") -> str:
    out, err = process.communicate(text, timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_make_and_extend_one_file_end_right(tmp_path, count) -> None:
    """All open the file that is not there yet at once, extend one result by different steps, and lose nothing."""
    path = tmp_path / "s.db"
    processes = [start("write", path, number) for number in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        finish(process)
    store = ResultStore(path)
    assert same(store.load(key(0)), columns(key(0), 500 + count - 1))
    for number in range(count):
        for step in range(1, 11):
            of = key(100 * (number + 1) + step)
            assert same(store.load(of), columns(of, 20))
    assert store.check().problems == ()
    found = store.load(key(1))
    expected = summary(key(1), 500 + count - 1)
    assert all(column.tally() == expected[name].tally() for name, column in found.items())
    assert len(store.results()) == 2 + 10 * count
    store.close()


@pytest.mark.stress
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the rounds fork, to be quick")
def test_nothing_durable_is_lost_in_200_rounds_of_kill_9(tmp_path) -> None:
    """Four threads store while the process is killed; what was reported as durable is there, bit-equal."""
    lanes = [start("crash", tmp_path / f"{lane}.db", ROUNDS // LANES, lane) for lane in range(LANES)]
    for lane in lanes:
        rounds, replicates = map(int, finish(lane).split())
        assert rounds == ROUNDS // LANES
        assert replicates > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_gets_a_clear_error(tmp_path) -> None:
    """SQLite's connections and the writer's thread do not survive a fork."""
    store = ResultStore(tmp_path / "s.db")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            errors: list[Exception | None] = []
            store.store(key(), columns(key(), 3), on_stored=errors.append)
            assert "fork" in str(errors[0])
            try:
                store.count(key())
            except StoreError as error:
                code = 0 if "fork" in str(error) else 1
            store.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.count(key()) == 0
    store.close()
