"""Summaries and precisions over HTTP: asked for, followed, answered, and after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, served
from summarised import coin, plain

import bgsim

PRECISION = {"output": "value", "standard_error": 0.03, "minimum": 64, "maximum": 20_000}
RULE = bgsim.Precision("value", standard_error=0.03, minimum=64, maximum=20_000)
NEEDED = 2048  # at a standard deviation of 1


@pytest.fixture
def one() -> Iterator[Served]:
    with served() as running:
        running.service.simulations.add(plain)
        running.service.simulations.add(coin)
        yield running


def ask(one: Served, wait: float = 30, **body: Any) -> Any:
    headers = {"Prefer": f"wait={wait}"}
    answer = one.http.post("/v1/jobs", json={"simulation": "plain", "seed": 2, **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(one: Served, path: str, body: Any) -> Any:
    answer = one.http.post(path, json=body)
    assert answer.status_code == 422, answer.text
    return answer.json()


def test_a_summary_has_no_rows_and_says_what_to_ask_for(one: Served) -> None:
    job = ask(one, replicates=500, keep="summary")
    assert (job["keep"], job["precision"], job["replicates_completed"]) == ("summary", None, 500)
    answer = one.http.get(job["links"]["result"])
    assert answer.status_code == 409
    assert f"/jobs/{job['id']}/summary" in answer.json()["detail"]
    assert one.http.get(f"/v1/jobs/{job['id']}/replicates/3").status_code == 200


def test_its_statistics_are_those_of_python(one: Served) -> None:
    job = ask(one, replicates=500, keep="summary")
    query = {"histogram": "value", "bins": 8, "quantiles": "0.1, 0.9"}
    found = one.http.get(job["links"]["summary"], params=query).json()
    result: Any = bgsim.run(plain, replicates=500, seed=2, keep="summary")
    expected = result.summary((0.1, 0.9))["value"]
    assert found["outputs"]["value"]["mean"] == expected.mean
    assert found["outputs"]["value"]["quantiles"] == {"0.1": expected.quantiles[0.1], "0.9": expected.quantiles[0.9]}
    assert found["outputs"]["hit"]["valid"] == 500
    assert found["histogram"]["counts"] == result.histogram("value", 8).counts.tolist()
    assert found["stopping"] is None
    for quantiles in ("2", "half", "nan"):
        refused = one.http.get(job["links"]["summary"], params={"quantiles": quantiles})
        assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "quantiles")


def test_quantiles_are_chosen_of_rows_as_well(one: Served) -> None:
    job = ask(one, replicates=500)
    found = one.http.get(job["links"]["summary"], params={"quantiles": "0.25"}).json()
    assert list(found["outputs"]["value"]["quantiles"]) == ["0.25"]


def test_a_precision_stops_where_it_stops_in_python(one: Served) -> None:
    job = ask(one, precision=PRECISION, keep="summary")
    assert (job["state"], job["fraction"]) == ("completed", 1.0)
    assert (job["replicates"], job["total_replicates"], job["replicates_completed"]) == (20_000, NEEDED, NEEDED)
    assert bgsim.Precision(**job["precision"]) == RULE
    found = one.http.get(job["links"]["summary"]).json()
    assert (found["replicates"], found["total_replicates"]) == (NEEDED, NEEDED)
    expected = bgsim.run(plain, replicates=RULE, seed=2).stopping
    assert expected is not None
    assert (found["stopping"]["replicates"], found["stopping"]["reached"]) == (expected.replicates, True)
    looks = [(look["replicates"], look["outputs"]["value"]["error"]) for look in found["stopping"]["looks"]]
    assert looks == [(look.replicates, look.outputs["value"].error) for look in expected.looks]
    refused = one.http.get(f"/v1/jobs/{job['id']}/replicates/{NEEDED}")
    assert (refused.status_code, refused.json()["errors"][0]["detail"]) == (
        422,
        f"index must be from 0 to {NEEDED - 1:,}; got '{NEEDED}'",
    )


def test_its_rows_are_those_that_were_needed(one: Served) -> None:
    job = ask(one, precision=PRECISION)
    found = one.http.get(job["links"]["result"], params={"columns": "value"}).json()
    assert (found["replicates"], len(found["columns"]["value"])) == (NEEDED, NEEDED)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "replicates"),
        ({"replicates": 5, "precision": PRECISION}, "replicates"),
        ({"precision": {"output": "value"}}, "standard_error"),
        ({"precision": {"output": "none", "relative": 0.1}}, "output"),
        ({"precision": {"output": "value", "relative": 0.1, "standard_error": 1.0}}, "relative"),
        ({"precision": {"output": "value", "half_width": 0.1, "minimum": 9, "maximum": 8}}, "maximum"),
        ({"precision": {"output": "value", "half_width": -1}}, "precision.half_width"),
        ({"replicates": 5, "keep": "rows"}, "keep"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(one: Served, body: Any, field: str) -> None:
    found = problem(one, "/v1/jobs", {"simulation": "plain", **body})
    assert field.rpartition(".")[2] in str(found["errors"][0]), found


def test_the_most_that_a_precision_may_need_is_within_the_limits_of_the_role(one: Served) -> None:
    found = problem(one, "/v1/jobs", {"simulation": "plain", "precision": {**PRECISION, "maximum": 10**12}})
    assert "give the precision a smaller maximum" in found["detail"]


def test_points_of_a_sweep_have_each_their_own_number(one: Served) -> None:
    body = {
        "simulation": "coin",
        "precision": PRECISION | {"standard_error": 0.01},
        "keep": "summary",
        "grid": {"mean": [1.0, 2.0]},
    }
    sweep = one.http.post("/v1/sweeps", json=body).json()
    for job in one.http.get(sweep["links"]["jobs"]).json()["jobs"]:
        one.until(job["id"])
    points = one.http.get(sweep["links"]["self"]).json()["points"]
    assert [(point["fraction"], point["replicates_completed"]) for point in points] == [(1.0, 1024), (1.0, 1024)]
    assert points[1]["means"]["value"] == pytest.approx(2.5, abs=0.05)


def test_a_schedule_runs_until_a_precision(one: Served) -> None:
    body = {"simulation": "plain", "precision": PRECISION, "keep": "summary", "cron": "0 0 1 1 *", "name": "yearly"}
    made = one.http.post("/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    assert bgsim.Precision(**made.json()["options"]["precision"]) == RULE
    assert made.json()["options"]["keep"] == "summary"
    job = one.http.post(made.json()["links"]["run"]).json()
    one.until(job["id"])
    assert one.job(job["id"])["replicates_completed"] in (1024, 2048)


def test_a_job_that_is_run_again_has_its_precision(one: Served) -> None:
    job = ask(one, precision=PRECISION, keep="summary")
    again = one.http.post(f"/v1/jobs/{job['id']}/retry").json()
    one.until(again["id"])
    found = one.job(again["id"])
    assert (found["keep"], found["total_replicates"]) == ("summary", NEEDED)
    assert found["precision"] == job["precision"]


def test_after_a_restart_its_summary_is_still_there(tmp_path: Path) -> None:
    with served(tmp_path / "s.db") as first:
        first.service.simulations.add(plain)
        job = ask(first, precision=PRECISION, keep="summary")
        before = first.http.get(job["links"]["summary"]).json()
    with served(tmp_path / "s.db") as second:
        second.service.simulations.add(plain)
        assert second.job(job["id"])["fraction"] == 1.0
        after = second.http.get(job["links"]["summary"]).json()
    assert after == before
    assert after["stopping"]["reached"] is True


def test_a_summary_of_fewer_replicates_than_the_store_has_is_answered(one: Served) -> None:
    """No stored piece ends at 100, so the store alone has no summary of so many."""
    ask(one, replicates=500, keep="summary")
    job = ask(one, replicates=100, keep="summary")
    found = one.http.get(job["links"]["summary"])
    assert (found.status_code, found.json()["replicates"]) == (200, 100)
