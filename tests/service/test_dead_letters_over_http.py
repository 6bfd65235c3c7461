"""Dead letters over HTTP: listed without weight, shown with tracebacks, run again, discarded, and a tenant's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served import Served, served, token

FAILS = {"simulation": "fragile", "parameters": {"fails_at": 1.0}}


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True) as running:
        yield running


def letter(one: Served, **more: Any) -> Any:
    job = one.submit(**FAILS, wait=30, **more)
    assert job["state"] == "failed"
    return one.http.get(f"/v1/dead-letters/{job['id']}").json()


def test_a_letter_has_what_was_asked_for_and_why_it_failed(one: Served) -> None:
    found = letter(one, seed=4, tags=["x"], retry={"retries": 1, "delay_s": 0.0})
    assert (found["seed"], found["replicates"], found["tags"]) == (4, 100, ["x"])
    assert found["parameters"] == {"fails_at": 1.0}
    assert "the draw is too small" in found["error"]
    assert "ValueError" in found["attempts"][-1]["traceback"]
    assert one.http.get(found["links"]["job"]).json()["state"] == "failed"
    listed = one.http.get("/v1/dead-letters").json()
    assert (listed["total"], [each["id"] for each in listed["dead_letters"]]) == (1, [found["id"]])


def test_a_list_is_bounded_and_filtered(one: Served) -> None:
    letters = [letter(one, seed=seed) for seed in range(3)]
    newest = one.http.get("/v1/dead-letters", params={"limit": 2}).json()
    assert (newest["total"], [each["seed"] for each in newest["dead_letters"]]) == (3, [2, 1])
    assert one.http.get("/v1/dead-letters", params={"simulation": "walk"}).json()["dead_letters"] == []
    assert one.http.get("/v1/dead-letters", params={"simulation": "kernels.fragile"}).json()["total"] == 3
    assert len({each["id"] for each in letters}) == 3


def test_it_is_run_again_with_changes_and_is_no_letter_then(one: Served) -> None:
    found = letter(one, tags=["x"])
    answer = one.http.post(found["links"]["retry"], json={"parameters": {"fails_at": 0.0}, "replicates": 7})
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{answer.json()['id']}")
    assert one.until(answer.json()["id"])[-1][0] == "job.completed"
    job = one.job(answer.json()["id"])
    assert (job["replicates"], job["tags"], job["parameters"]) == (7, ["x"], {"fails_at": 0.0})
    assert one.http.get("/v1/dead-letters").json()["total"] == 0
    assert one.http.post(found["links"]["retry"]).status_code == 404


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parameters": {"fails": 1.0}}, "did you mean 'fails_at'"),
        ({"replicates": 0}, "of 1 or more"),
        ({"replicates": 10**12}, "of the role"),
        ({"tenant": "b"}, "no 'tenant' here"),
    ],
)
def test_it_stays_when_it_cannot_be_run_so(one: Served, changes: dict[str, Any], told: str) -> None:
    found = letter(one)
    answer = one.http.post(found["links"]["retry"], json=changes)
    assert (answer.status_code, told in answer.json()["detail"]) == (422, True), answer.text
    assert one.http.get("/v1/dead-letters").json()["total"] == 1


def test_it_is_discarded(one: Served) -> None:
    found = letter(one)
    assert one.http.delete(found["links"]["self"]).status_code == 204
    assert one.http.delete(found["links"]["self"]).status_code == 404
    assert one.http.get("/v1/dead-letters").json()["total"] == 0


def test_a_letter_is_its_tenants_alone(one: Served) -> None:
    with one.client(token(one, "operator", "a")) as a, one.client(token(one, "admin", "b")) as b:
        job = one.submit(**FAILS, http=a, wait=30)
        at = f"/v1/dead-letters/{job['id']}"
        assert b.get("/v1/dead-letters").json() == {"dead_letters": [], "total": 0}
        assert [b.get(at).status_code, b.post(f"{at}/retry").status_code, b.delete(at).status_code] == [404] * 3
        assert a.get(at).json()["tenant"] == "a"
        again = a.post(f"{at}/retry", json={"parameters": {"fails_at": 0.0}}).json()
        assert again["tenant"] == "a"
        assert b.get(f"/v1/jobs/{again['id']}").status_code == 404
        one.until(again["id"])
