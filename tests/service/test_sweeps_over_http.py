"""Sweeps over HTTP: a job a point, means that fill in, all or none, and a tenant's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Gate
from served import Served, served, token

import bgsim
from bgsim.models.options import european_call
from bgsim.service.routes.sweeps import MOST_POINTS
from bgsim.testing import gated

GRID = {"simulation": "walk", "replicates": 20, "seed": 3, "grid": {"steps": [2, 1, 3], "scale": [1.0, 2.0]}}


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True, engine={"max_queue_size": 20}) as running:
        running.service.simulations.add(gated)
        yield running


def ended(one: Served, sweep: Any) -> Any:
    """Return a sweep whose points have all ended."""
    for job in one.http.get(sweep["links"]["jobs"]).json()["jobs"]:
        one.until(job["id"])
    return one.http.get(sweep["links"]["self"]).json()


def test_each_point_is_a_job_and_its_means_are_those_of_python(one: Served) -> None:
    answer = one.http.post("/v1/sweeps", json=GRID | {"tags": ["mine"]})
    assert (answer.status_code, answer.json()["points"]) == (202, 6)
    assert answer.headers["location"] == answer.json()["links"]["self"]
    sweep = ended(one, answer.json())
    assert sweep["grid"] == GRID["grid"]
    assert [point["parameters"] for point in sweep["points"]] == [
        {"steps": steps, "scale": scale} for steps in (2, 1, 3) for scale in (1.0, 2.0)
    ]
    assert (sweep["completed"], sweep["failed"], sweep["total"]) == (6, 0, 6)
    assert sweep["parameters"] == {"label": ""}
    with bgsim.Engine() as engine:
        for point in sweep["points"]:
            result = engine.submit("kernels.walk", point["parameters"], replicates=20, seed=3).result()
            assert point["means"]["end"] == pytest.approx(result["end"].mean(), rel=1e-12)
            assert point["fraction"] == 1.0
    job = one.job(sweep["points"][0]["job"])
    assert job["tags"] == ["mine", sweep["tag"]]


def test_a_point_that_a_longer_result_answers_has_the_mean_of_its_own_replicates(one: Served) -> None:
    one.submit("walk", replicates=50, seed=3, parameters={"steps": 2, "scale": 1.0}, wait=30)
    sweep = ended(one, one.http.post("/v1/sweeps", json=GRID | {"grid": {"steps": [2, 1]}}).json())
    with bgsim.Engine() as engine:
        result = engine.submit("kernels.walk", {"steps": 2}, replicates=20, seed=3).result()
    assert sweep["points"][0]["means"]["end"] == pytest.approx(result["end"].mean(), rel=1e-12)


def test_a_point_that_runs_or_failed_says_so(one: Served, hold: Gate) -> None:
    body = {"simulation": "fragile", "replicates": 50, "grid": {"fails_at": [0.0, 1.0]}}
    sweep = ended(one, one.http.post("/v1/sweeps", json=body).json())
    assert [point["state"] for point in sweep["points"]] == ["completed", "failed"]
    assert "the draw is too small" in sweep["points"][1]["error"]
    assert (sweep["completed"], sweep["failed"]) == (1, 1)
    gates = {"simulation": "gated", "replicates": 1, "grid": {"name": ["", "a"]}}
    held = one.http.post("/v1/sweeps", json=gates).json()
    hold.wait_until_reached()
    states = [point["state"] for point in one.http.get(held["links"]["self"]).json()["points"]]
    assert states[1] == "running"
    hold.open()
    assert ended(one, held)["completed"] == 2


def test_a_point_that_was_run_again_is_shown_as_it_is_now(one: Served) -> None:
    body = {"simulation": "fragile", "replicates": 5, "grid": {"fails_at": [1.0, 0.0]}}
    sweep = ended(one, one.http.post("/v1/sweeps", json=body).json())
    again = one.http.post(f"/v1/dead-letters/{sweep['points'][0]['job']}/retry", json={"replicates": 1}).json()
    one.until(again["id"])
    now = one.http.get(sweep["links"]["self"]).json()
    assert [point["job"] for point in now["points"]] == [again["id"], sweep["points"][1]["job"]]
    assert now["total"] == 2


def test_a_design_fills_ranges(one: Served) -> None:
    body = {
        "simulation": "european_call", "replicates": 10, "design": "latin", "points": 5,
        "grid": {"strike": [90.0, 110.0], "volatility": [0.1, 0.4]},
    }  # fmt: skip
    sweep = ended(one, one.http.post("/v1/sweeps", json=body).json())
    assert sweep["total"] == 5
    assert all(90.0 <= point["parameters"]["strike"] <= 110.0 for point in sweep["points"])
    assert sweep["simulation"] == european_call.name


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        ({"grid": {}}, 422, "a parameter or more"),
        ({"grid": {"steps": []}}, 422, "sequences of one value or more"),
        ({"grid": {"steps": list(range(1, 1100))}}, 422, f"at most {MOST_POINTS:,} combinations; got 1,099"),
        ({"grid": {name: list(range(1000)) for name in "abcdefgh"}}, 422, "at most"),
        ({"grid": {"steps": [1, -1]}}, 422, "'steps'"),
        ({"grid": {"stps": [1]}}, 422, "did you mean 'steps'"),
        ({"points": 4}, 422, "points needs a design"),
        ({"design": "sobol", "points": 3, "grid": {"steps": [1, 9]}}, 422, "a power of 2"),
        ({"simulation": "wlk"}, 404, "did you mean 'walk'"),
        ({"replicates": 10**12}, 422, "of the role"),
        ({"grid": {"steps": list(range(1, 30))}}, 503, "do not fit"),
        ({"grid": {"steps": list(range(1, 600))}}, 429, "may have 500"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_point(
    one: Served, more: dict[str, Any], status: int, told: str
) -> None:
    answer = one.http.post("/v1/sweeps", json=GRID | more)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text
    assert one.http.get("/v1/jobs").json()["jobs"] == []


def test_a_sweep_is_its_tenants_alone(one: Served) -> None:
    with one.client(token(one, "operator", "a")) as a, one.client(token(one, "admin", "b")) as b:
        sweep = a.post("/v1/sweeps", json=GRID).json()
        assert b.get(sweep["links"]["self"]).status_code == 404
        assert a.get(sweep["links"]["self"]).json()["total"] == 6
        assert b.get(sweep["links"]["jobs"]).json()["jobs"] == []
        assert one.http.get(sweep["links"]["self"]).json()["total"] == 6
    for unknown in ("x", "0" * 16, "sweep:1", sweep["id"].upper()):
        assert one.http.get(f"/v1/sweeps/{unknown}").status_code == 404


def test_a_sweep_is_cancelled_by_its_tag(one: Served, hold: Gate) -> None:
    body = {"simulation": "gated", "replicates": 1, "grid": {"name": ["a", "b", "c"]}, "delay_s": 3600}
    sweep = one.http.post("/v1/sweeps", json=body).json()
    done = one.http.post("/v1/bulk", json={"action": "cancel", "filter": {"tag": sweep["tag"]}}).json()
    assert (done["matched"], done["done"]) == (3, 3)
    assert ended(one, sweep)["cancelled"] == 3
