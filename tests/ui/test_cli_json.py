"""``--json``: each command prints one document, also where it fails; ``-v`` tells on standard error what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from command import run_main

from bgsim.ui.cli import cli


def commands(group: click.Group = cli, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.commands:
        command = group.commands.get(name)
        if isinstance(command, click.Group):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name), command


WITHOUT = {("serve",), ("completion",)}  # one runs until it is ended, the other prints a script


def test_every_command_takes_json() -> None:
    for path, command in commands():
        has = any("--json" in parameter.opts for parameter in command.params)
        assert has == (path not in WITHOUT), path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("json") / "s.db"
    for seed in ("1", "2"):
        run_main("run", "european_call", "-n", "20", "--seed", seed, "--store", str(path))
    return path


def document(store: Path, *arguments: str, code: int = 0) -> object:
    stored = [] if arguments[0] in ("list", "describe") else ["--store", str(store)]
    found, out, err = run_main(*arguments, "--json", *stored)
    assert found == code, err
    assert len(out.splitlines()) == 1
    return json.loads(out)


def test_each_prints_one_document(store: Path, tmp_path: Path) -> None:
    (newest, _) = found = document(store, "store", "ls")
    assert [result["seed"] for result in found] == [2, 1]
    assert document(store, "store", "show", newest["hash"])["hash"] == newest["hash"]
    assert {row["name"] for row in document(store, "list")} >= {"battle", "european_call"}
    described = document(store, "describe", "european_call")
    strike = next(row for row in described["parameters"] if row["name"] == "strike")
    assert (strike["default"], strike["unit"], strike["type"], strike["required"]) == (
        100.0,
        "currency",
        "float",
        False,
    )
    assert described["outputs"] == [{"name": "payoff", "description": "float64 scalar"}]
    assert document(store, "explain", "european_call")["simulation"] == "bgsim.models.options.european_call"
    assert document(store, "store", "jobs") == []
    assert list(document(store, "store", "slots")) == ["bgsim.models.options.european_call"]
    assert document(store, "store", "check")["ok"] is True
    assert document(store, "store", "export", newest["hash"], str(tmp_path / "r.npz"))["bytes"] > 0
    made = document(store, "token", "new", "--name", "me")
    assert [row["id"] for row in document(store, "token", "ls")] == [made["id"]]
    assert document(store, "token", "revoke", made["token"]) == [made["id"]]
    swept = document(store, "sweep", "european_call", "-n", "20", "--set", "strike=90,100")
    assert [point["parameters"] for point in swept["points"]] == [{"strike": 90.0}, {"strike": 100.0}]


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["run", "nothing"], 2, "SimulationNotFoundError"),
        (["run", "european_call", "-n", "x"], 2, "BadParameter"),
        (["run", "european_call", "--set", "strike=-1"], 2, "ParameterError"),
        (["run", "asian_call", "-n", "1G", "--timeout", "0.01", "--set", "steps=1"], 2, "InvalidInputError"),
        (["store", "show", "zz"], 2, "StoreError"),
        (["store", "lss"], 2, "NoSuchCommand"),
        (["token", "revoke", "zz"], 2, "StoreError"),
    ],
)
def test_a_failure_is_a_document_too(store: Path, arguments: list[str], code: int, kind: str) -> None:
    error = document(store, *arguments, code=code)["error"]
    assert (error["type"], error["exit_code"]) == (kind, code)
    assert error["message"]


def test_verbose_tells_what_happens(store: Path) -> None:
    for arguments in (["-v", "run", "european_call"], ["run", "european_call", "--verbose"]):
        _, out, err = run_main(*arguments, "-n", "20", "--seed", "1", "--store", str(store), "--json")
        assert json.loads(out)["from_store"] == 20
        assert "20 replicates answered from the store" in err
    _, _, err = run_main("run", "european_call", "-v", "-n", "25", "--seed", "1", "--store", str(store))
    assert "bgsim: bgsim.models.options.european_call: 20 replicates from the store" in err
    assert "25 replicates stored as" in err
    _, _, err = run_main("run", "european_call", "-n", "25", "--seed", "1", "--store", str(store))
    assert "from the store" in err
    assert "answered" not in err


def test_what_json_lacks_is_null_or_text(capsys: pytest.CaptureFixture[str]) -> None:
    from bgsim.ui.streams import say_json

    say_json(
        {
            "a": [float("nan"), (float("inf"), -np.inf)],
            "b": np.array([1.0, np.nan]),
            "c": complex(np.nan, 1),
            "d": np.float32("nan"),
        }
    )
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {"a": [None, ["inf", "-inf"]], "b": [1.0, None], "c": [None, 1.0], "d": None}
