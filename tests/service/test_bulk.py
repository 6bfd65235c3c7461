"""One action on all jobs that match: counted first, 500 at a time, an empty filter refused, each failure told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served import Served, served, token

import bgsim.service.routes.bulk


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True) as running:
        yield running


def act(one: Served, action: str, http: Any = None, **more: Any) -> Any:
    answer = (http or one.http).post("/v1/bulk", json={"action": action, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def later(one: Served, count: int, **more: Any) -> list[str]:
    """Submit jobs that start in an hour."""
    return [one.submit(seed=seed, delay_s=3600, **more)["id"] for seed in range(count)]


def state(one: Served, job_id: str) -> str:
    return str(one.job(job_id)["state"])


def test_they_are_counted_first_and_nothing_happens(one: Served) -> None:
    jobs = later(one, 3, tags=["x"])
    later(one, 2, tags=["y"])
    found = act(one, "cancel", filter={"tag": "x"}, dry_run=True)
    assert (found["matched"], found["done"], found["more"], found["ids"]) == (3, 0, False, jobs[::-1])
    assert {state(one, job_id) for job_id in jobs} == {"delayed"}
    assert act(one, "cancel", filter={"tag": "x"})["done"] == 3
    assert {state(one, job_id) for job_id in jobs} == {"cancelled"}
    assert act(one, "cancel", filter={"simulation": "one_draw"})["done"] == 2


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"state": "delayed"}, 4),
        ({"state": ["running", "delayed"]}, 4),
        ({"state": "running"}, 0),
        ({"state": "completed"}, 0),
        ({"simulation": "walk"}, 2),
        ({"simulation": "kernels.walk", "tag": "x"}, 1),
        ({"parameters": {"steps": 2}}, 1),
        ({"since": "1 h"}, 4),
        ({"until": "1 h"}, 0),
        ({"tag": "none"}, 0),
    ],
)
def test_all_that_is_given_must_hold(one: Served, filters: dict[str, Any], count: int) -> None:
    later(one, 2)
    one.submit("walk", parameters={"steps": 2}, delay_s=3600, tags=["x"])
    one.submit("walk", parameters={"steps": 3}, delay_s=3600)
    one.submit(seed=9, wait=30)
    assert act(one, "cancel", filter=filters, dry_run=True)["matched"] == count


@pytest.mark.parametrize("filters", [{}, {"state": ""}, {"state": []}, {"tag": "", "parameters": {}, "ids": []}])
def test_an_empty_filter_is_refused(one: Served, filters: dict[str, Any]) -> None:
    later(one, 1)
    answer = one.http.post("/v1/bulk", json={"action": "cancel", "filter": filters})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/filter")


@pytest.mark.parametrize(
    "body",
    [
        {"action": "cancel"},
        {"action": "cancle", "filter": {"tag": "x"}},
        {"action": "cancel", "filter": {"state": "runing"}},
        {"action": "cancel", "filter": {"since": "yesterday"}},
        {"action": "cancel", "filter": {"owner": "me"}},
        {"action": "cancel", "filter": {"tag": "x"}, "cursor": "x"},
        {"action": "cancel", "filter": {"ids": ["x"] * 501}},
    ],
)
def test_what_is_no_filter_is_refused(one: Served, body: dict[str, Any]) -> None:
    assert one.http.post("/v1/bulk", json=body).status_code == 422


def test_a_request_does_so_many_and_says_where_the_next_goes_on(one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgsim.service.routes.bulk, "MOST", 2)
    jobs = later(one, 5)
    cursor, done = "", []
    while cursor is not None:
        found = act(one, "cancel", filter={"ids": jobs}, cursor=cursor)
        done.append((found["matched"], found["done"], found["more"]))
        cursor = found["next"]
    assert done == [(5, 2, True), (3, 2, True), (1, 1, False)]
    assert {state(one, job_id) for job_id in jobs} == {"cancelled"}


def test_jobs_are_paused_and_resumed_each_once(one: Served) -> None:
    jobs = later(one, 2)
    assert act(one, "pause", filter={"ids": jobs})["done"] == 2
    assert {state(one, job_id) for job_id in jobs} == {"suspended"}
    assert act(one, "pause", filter={"ids": jobs})["matched"] == 0
    assert act(one, "resume", filter={"state": "suspended"})["done"] == 2
    assert {state(one, job_id) for job_id in jobs} == {"delayed"}


def test_dead_letters_are_run_again_or_discarded_together(one: Served) -> None:
    fails = {"simulation": "fragile", "parameters": {"fails_at": 1.0}}
    jobs = [one.submit(**fails, seed=seed, wait=30)["id"] for seed in range(3)]
    one.submit("fragile", parameters={"fails_at": 0.0}, wait=30)
    assert act(one, "discard", filter={"ids": jobs[:1]})["done"] == 1
    again = act(one, "retry", filter={"state": "failed"})
    assert (again["matched"], again["done"], again["ids"]) == (2, 2, jobs[:0:-1])
    listed = one.http.get("/v1/jobs", params={"simulation": "fragile"}).json()["jobs"]
    for job in listed:
        one.until(job["id"])
    assert len(listed) == 6
    letters = one.http.get("/v1/dead-letters").json()["dead_letters"]
    assert {each["id"] for each in letters} == {job["id"] for job in listed[:2]}, "they have failed again"


def test_what_cannot_be_done_is_told_job_by_job(one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them ends between the count and the action."""
    jobs = later(one, 3)
    real = bgsim.service.routes.bulk._ACTIONS["cancel"]

    def cancel(call: Any, row: Any) -> None:
        if row.id == jobs[1]:
            next(job for job in one.engine.jobs() if job.id == row.id).cancel()
            one.until(row.id)
        real(call, row)

    monkeypatch.setitem(bgsim.service.routes.bulk._ACTIONS, "cancel", cancel)
    found = act(one, "cancel", filter={"ids": jobs})
    assert (found["matched"], found["done"]) == (3, 2)
    assert [(failure["id"], "ended" in failure["detail"]) for failure in found["failed"]] == [(jobs[1], True)]


def test_a_tenant_acts_on_its_own_jobs_alone(one: Served) -> None:
    with one.client(token(one, "operator", "a")) as a, one.client(token(one, "admin", "b")) as b:
        mine, other = one.submit(http=a, delay_s=3600)["id"], one.submit(http=b, delay_s=3600)["id"]
        assert act(one, "cancel", http=a, filter={"ids": [mine, other]})["ids"] == [mine]
        assert act(one, "cancel", http=a, filter={"simulation": "one_draw"})["matched"] == 0
        assert state(one, other) == "delayed"


def test_who_may_not_submit_may_not_run_again(one: Served) -> None:
    with one.client(token(one, "viewer")) as viewer:
        for action in ("cancel", "pause", "resume", "retry", "discard"):
            assert viewer.post("/v1/bulk", json={"action": action, "filter": {"tag": "x"}}).status_code == 403
