"""Schedules over HTTP: in words, with the next runs, changed, run now, and a tenant's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served import Served, served, token

NIGHTLY = {"simulation": "walk", "replicates": 10, "cron": "30 2 * * 1-5", "name": "nightly", "tags": ["night"]}


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True) as running:
        yield running


def test_a_schedule_is_shown_in_words_with_its_next_five_runs(one: Served) -> None:
    answer = one.http.post("/v1/schedules", json=NIGHTLY | {"timezone": "Europe/Berlin", "parameters": {"steps": 2}})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/schedules/nightly")
    found = answer.json()
    assert found["words"] == "At 02:30 on Monday through Friday"
    assert len(found["next_runs"]) == 5
    assert found["next_runs"] == sorted(found["next_runs"])
    assert (found["parameters"]["steps"], found["tags"], found["last_run_at"]) == (2, ["night"], None)
    assert one.http.get(answer.headers["location"]).json() == found
    assert one.http.get("/v1/schedules").json() == {"schedules": [found]}


def test_its_name_is_the_simulations_unless_it_is_given(one: Served) -> None:
    body = {name: value for name, value in NIGHTLY.items() if name != "name"}
    assert one.http.post("/v1/schedules", json=body).json()["name"] == "kernels.walk"
    assert one.http.get("/v1/schedules/kernels.walk").status_code == 200


def test_it_is_run_now_and_its_times_stay(one: Served) -> None:
    before = one.http.post("/v1/schedules", json=NIGHTLY).json()
    job = one.http.post("/v1/schedules/nightly/run")
    assert (job.status_code, job.headers["location"]) == (202, f"/v1/jobs/{job.json()['id']}")
    assert one.until(job.json()["id"])[-1][0] == "job.completed"
    assert (job.json()["tags"], job.json()["replicates"]) == (["night"], 10)
    assert one.http.get("/v1/schedules/nightly").json() == before


def test_it_is_paused_resumed_changed_and_deleted(one: Served) -> None:
    one.http.post("/v1/schedules", json=NIGHTLY)
    paused = one.http.patch("/v1/schedules/nightly", json={"paused": True}).json()
    assert (paused["paused"], paused["next_runs"]) == (True, [])
    changed = one.http.patch(
        "/v1/schedules/nightly", json={"cron": "@hourly", "replicates": 7, "priority": "low"}
    ).json()
    assert (changed["paused"], changed["cron"], changed["replicates"]) == (True, "@hourly", 7)
    assert (changed["words"], changed["options"]["priority"]) == ("At the start of every hour", "low")
    assert changed["tags"] == ["night"]
    resumed = one.http.patch("/v1/schedules/nightly", json={"paused": False}).json()
    assert len(resumed["next_runs"]) == 5
    assert one.http.delete("/v1/schedules/nightly").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/run")):
        assert one.http.request(method, f"/v1/schedules/nightly{path}").status_code == 404
    assert one.http.get("/v1/schedules").json() == {"schedules": []}


def test_a_paused_one_may_be_made(one: Served) -> None:
    assert one.http.post("/v1/schedules", json=NIGHTLY | {"paused": True}).json()["paused"]


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        ({"cron": "61 * * * *"}, 422, "five fields"),
        ({"cron": "* " * 60}, 422, "of at most 100"),
        ({"cron": "0 0 30 2 *"}, 422, "bad day-of-month"),
        ({"timezone": "Europe/Berlim"}, 422, "did you mean 'Europe/Berlin'"),
        ({"misfire": "never"}, 422, "one of once, skip, all"),
        ({"name": "a/b"}, 422, "name"),
        ({"name": ""}, 422, "name"),
        ({"simulation": "os:system"}, 404, "cannot name a module"),
        ({"replicates": 10**12}, 422, "of the role"),
        ({"parameters": {"stps": 1}}, 422, "did you mean 'steps'"),
    ],
)
def test_what_is_no_schedule_is_refused(one: Served, more: dict[str, Any], status: int, told: str) -> None:
    answer = one.http.post("/v1/schedules", json=NIGHTLY | more)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text
    assert one.http.get("/v1/schedules").json() == {"schedules": []}


def test_a_name_is_taken_once_and_changes_are_checked(one: Served) -> None:
    one.http.post("/v1/schedules", json=NIGHTLY)
    again = one.http.post("/v1/schedules", json=NIGHTLY)
    assert (again.status_code, "PATCH" in again.json()["detail"]) == (409, True)
    for changes in ({}, {"cron": "x"}, {"parameters": {"stps": 1}}, {"replicates": 0}, {"crom": "@daily"}):
        assert one.http.patch("/v1/schedules/nightly", json=changes).status_code == 422
    assert one.http.get("/v1/schedules/nightly").json()["cron"] == NIGHTLY["cron"]


def test_two_tenants_have_a_schedule_of_one_name(one: Served) -> None:
    """Each sees its own; who sees all names the tenant."""
    with one.client(token(one, "operator", "a")) as a, one.client(token(one, "operator", "b")) as b:
        assert a.post("/v1/schedules", json=NIGHTLY).status_code == 201
        assert b.get("/v1/schedules/nightly").status_code == 404
        assert b.post("/v1/schedules", json=NIGHTLY | {"cron": "@daily"}).status_code == 201
        assert a.get("/v1/schedules/nightly").json()["cron"] == NIGHTLY["cron"]
        assert [each["tenant"] for each in b.get("/v1/schedules").json()["schedules"]] == ["b"]
        assert b.get("/v1/schedules/nightly", params={"tenant": "a"}).json()["tenant"] == "b"
        everything = one.http.get("/v1/schedules").json()["schedules"]
        assert [(each["name"], each["tenant"]) for each in everything] == [("nightly", "a"), ("nightly", "b")]
        assert one.http.get("/v1/schedules/nightly").status_code == 404
        assert one.http.get(everything[0]["links"]["self"]).json() == everything[0]
        job = one.http.post(everything[0]["links"]["run"]).json()
        assert (job["tenant"], job["workspace"]) == ("a", "a/kernels.walk")
        assert a.get(f"/v1/jobs/{job['id']}").status_code == 200
        assert b.get(f"/v1/jobs/{job['id']}").status_code == 404
        one.until(job["id"])
        assert b.delete("/v1/schedules/nightly").status_code == 204
        assert a.get("/v1/schedules/nightly").status_code == 200
