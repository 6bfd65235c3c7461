"""``bgsim store jobs``: what it lists, and what it leaves out."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from command import run_main
from odd_rows import execute
from store_helpers import history_job

from bgsim.storage import ResultStore
from bgsim.storage.times import time_text


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        history = store.history
        history.add_job(history_job(0, webhook='{"url": "https://example.com", "secret": "whsec_c2VjcmV0"}'))
        history.add_job(history_job(1, simulation="other.walk", tenant="lab", tags='["a", "b"]'))
        history.end_job(history_job(2, state="failed", ended_at=time_text(3), error="it\x1b[31m raised\nand so on"))
    return path


def lines(path, *arguments: str) -> list[list[str]]:
    code, out, err = run_main("store", "jobs", "--store", str(path), *arguments)
    assert code == 0, err
    return [line.split() for line in out.splitlines()]


def test_jobs_are_listed_the_newest_first(path) -> None:
    heading, *rows = lines(path)
    assert heading == ["job", "simulation", "replicates", "state", "submitted", "tenant", "tags", "error"]
    assert [row[:4] for row in rows] == [
        ["j2", "model", "10", "failed"],
        ["j1", "walk", "10", "open"],
        ["j0", "model", "10", "open"],
    ]
    assert rows[1][-3:] == ["lab", "a", "b"]
    assert rows[0][-2:] == ["it\\x1b[31m", "raised"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--state", "open"], "j1 j0"),
        (["--state", "open", "--state", "failed"], "j2 j1 j0"),
        (["--state", "cancelled"], ""),
        (["--simulation", "walk"], "j1"),
        (["--tag", "a", "--tenant", "lab"], "j1"),
        (["-n", "1"], "j2"),
    ],
)
def test_those_that_are_meant(path, arguments, expected) -> None:
    assert " ".join(row[0] for row in lines(path, *arguments)[1:]) == expected


def test_json_has_all_but_the_secret(path) -> None:
    _, out, _ = run_main("store", "jobs", "--store", str(path), "--json")
    found = json.loads(out)
    assert [(row["id"], row["state"], row["parameters"], row["webhook"]) for row in found] == [
        ("j2", "failed", {"x": 1.0}, None),
        ("j1", "open", {"x": 1.0}, None),
        ("j0", "open", {"x": 1.0}, "https://example.com"),
    ]
    assert "c2VjcmV0" not in out


def test_an_odd_row_and_an_odd_state(path) -> None:
    execute(
        path, "UPDATE jobs SET tags = '5', parameters = 'no', webhook = '[]', submitted_at = 'soon' WHERE id = 'j0'"
    )
    assert lines(path)[1][:4] == ["j0", "model", "10", "open"]
    code, out, err = run_main("store", "jobs", "--store", str(path), "--state", "fialed")
    assert (code, out) == (2, "")
    assert "did you mean 'failed'" in err
