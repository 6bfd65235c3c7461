"""``bgsim store``: what it prints for people, and for programs."""

from __future__ import annotations

import json
import re
import sqlite3

import numpy as np
import pytest
from click.testing import CliRunner
from store_helpers import columns, key, store_now

from bgsim.errors import InvalidInputError, StoreError
from bgsim.storage import ResultStore
from bgsim.ui.cli import cli
from bgsim.ui.store_cli import store_group

W = "tests.model"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "s.db"
    store = ResultStore(path)
    store_now(store, key(1), 100, W)
    store_now(store, key(2), 200, W)
    store_now(store, key(3, seed=5), 50)
    store.close()
    return path


def run(path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["store", *arguments, "--store", str(path)])
    assert result.exit_code == code, result.output
    return result.output


def run_json(path, *arguments: str, code: int = 0):
    return json.loads(run(path, *arguments, "--json", code=code))


def test_ls(path) -> None:
    heading, *lines = run(path, "ls").splitlines()
    assert heading.split() == ["result", "simulation", "replicates", "seed", "x", "stored"]
    assert [line.split()[:5] for line in lines] == [
        [key(3, seed=5).hash[:12], "model", "50", "5", "3"],
        [key(2).hash[:12], "model", "200", "0", "2"],
        [key(1).hash[:12], "model", "100", "0", "1"],
    ]
    found = run_json(path, "ls")
    assert [r["replicates"] for r in found] == [50, 200, 100]
    assert found[0]["parameters"] == {"x": 3.0}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "x=2"], [2.0]),
        (["--set", "x=1.5..3"], [3.0, 2.0]),
        (["--set", "x=2.."], [3.0, 2.0]),
        (["--set", "x=..2"], [2.0, 1.0]),
        (["--set", "x=1e-400..1e400"], [3.0, 2.0, 1.0]),
        (["--set", "x=.."], []),
        (["--seed", "0"], [2.0, 1.0]),
        (["--seed", "0e0"], [2.0, 1.0]),
        (["-n", "1"], [3.0]),
        (["-n", "2k"], [3.0, 2.0, 1.0]),
        (["--simulation", "model", "--since", "1 h"], [3.0, 2.0, 1.0]),
        (["--since", "2999-01-01"], []),
        (["--simulation", "other"], []),
    ],
)
def test_ls_shows_what_is_asked_for(path, arguments, expected) -> None:
    assert [r["parameters"]["x"] for r in run_json(path, "ls", *arguments)] == expected
    assert len(run(path, "ls", *arguments).splitlines()) == 1 + len(expected)


def test_ls_refuses_what_it_cannot_read(path) -> None:
    assert "--set takes KEY=VALUE or KEY=LOW..HIGH; got 'x'" in run(path, "ls", "--set", "x", code=2)
    reversed_range = run(path, "ls", "--set", "x=3..1", code=2)
    assert "--set takes KEY=LOW..HIGH with LOW at most HIGH; got 'x=3..1'" in reversed_range
    assert "--set gives x twice" in run(path, "ls", "--set", "x=1", "--set", "x=2", code=2)
    for arguments, text in (
        (["--set", "y=1"], "has a parameter 'y'"),
        (["--since", "soon"], "since must be a datetime"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            CliRunner().invoke(cli, ["store", "ls", *arguments, "--store", str(path)], catch_exceptions=False)


def test_show(path) -> None:
    text = run(path, "show", key(2).hash[:8])
    assert key(2).hash in text
    assert re.search(r"^ *x +2\.0$", text, re.MULTILINE)
    assert "value" in text
    found = run_json(path, "show", key(2).hash)
    assert found["summary"]["value"]["mean"] == pytest.approx(columns(key(2), 200)["value"].mean())
    with pytest.raises(StoreError, match="no stored results begin with"):
        CliRunner().invoke(cli, ["store", "show", "zz", "--store", str(path)], catch_exceptions=False)


def test_slots(path) -> None:
    assert key(2).hash[:12] in run(path, "slots")
    found = run_json(path, "slots")
    assert found[W]["primary"]["hash"] == key(2).hash
    assert found[W]["secondary"]["generation"] == 1


@pytest.mark.parametrize("workspace", [[], [W], ["model"]])
def test_compare(path, workspace) -> None:
    text = run(path, "compare", *workspace)
    assert "2.0 instead of 1.0" in text
    assert "paired" in text
    found = run_json(path, "compare", *workspace)
    assert found["parameters"] == {"x": [2.0, 1.0]}
    assert found["outputs"]["value"]["low"] < found["outputs"]["value"]["high"]
    assert "there are tests.model" in run(path, "compare", "nobody", code=2)


def test_export_rm_and_import(path, tmp_path) -> None:
    file = tmp_path / "r.npz"
    assert run(path, "export", key(2).hash[:8], str(file)) == ""
    assert np.load(file)["value"].tobytes() == columns(key(2), 200)["value"].tobytes()
    assert "exists; --force overwrites it" in run(path, "export", key(2).hash[:8], str(file), code=2)
    said = run_json(path, "export", key(2).hash[:8], str(file), "--force")
    assert said == {"hash": key(2).hash, "path": str(file), "bytes": file.stat().st_size}
    assert run(path, "rm", key(2).hash[:8]).split() == [key(2).hash]
    assert len(run_json(path, "ls")) == 2
    assert run_json(path, "import", str(file)) == [key(2).hash]
    assert len(run_json(path, "ls")) == 3


def test_clean(path) -> None:
    assert "0 results" in run(path, "clean")
    found = run_json(path, "clean", "--max-bytes", "0")
    assert found["removed"] == [key(3, seed=5).hash]
    assert len(run_json(path, "ls")) == 2


def test_check(path) -> None:
    assert "all is well" in run(path, "check")
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE blocks SET data = zeroblob(9) WHERE hash = ?", (key(1).hash,))
    connection.close()
    assert key(1).hash in run(path, "check", code=1)
    assert not run_json(path, "check", code=1)["ok"]
    assert run_json(path, "check", "--repair")["repaired"]
    assert run_json(path, "check")["ok"]


def test_every_command_takes_json() -> None:
    for name, command in store_group.commands.items():
        assert "--json" in [option for p in command.params for option in p.opts], name


def test_a_store_that_is_not_there(tmp_path) -> None:
    assert "there is no store" in run(tmp_path / "no.db", "ls", code=2)
