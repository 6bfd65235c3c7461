"""Requests that nobody sends by accident: each is refused or served, and none leaves anything behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, served, token

import bgsim
from bgsim.errors import StoreError


@pytest.fixture
def one() -> Iterator[Served]:
    with served() as running:
        yield running


@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def δ_draw(p: Any, rng: Any) -> float:  # noqa: PLC2401 - the name is what is tried
    """A simulation whose name is not ASCII."""
    return rng.random()


@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def says_surrogates(p: Any, rng: Any) -> float:
    """Fails with a text that UTF-8 cannot have, such as the name of a file."""
    raise ValueError("no file \udc80")


def session(one: Served) -> str:
    """Return the cookie of the page."""
    return f"bgsim_session_{one.running.url.rpartition(':')[2]}={one.running.token}"


def test_an_origin_that_is_no_address_is_refused(one: Served) -> None:
    with one.client(Cookie=f"{session(one)}", Origin="http://[") as http:
        assert http.post("/v1/engine/pause").status_code == 403


@pytest.mark.parametrize("odd", ['x={"a":1}', "a b c", 'y="', "z=\x7f"])
def test_odd_cookies_of_other_programs_do_not_hide_the_session(one: Served, odd: str) -> None:
    with one.client(Cookie=f"{odd}; {session(one)}") as http:
        assert http.get("/v1/session").status_code == 200


def test_two_services_of_a_machine_leave_each_other_s_cookies_alone(one: Served) -> None:
    with served() as other, one.client() as browser:
        cookies = []
        for service in (one, other):
            made = browser.post(f"{service.running.url}/v1/session", json={"token": service.running.token})
            cookies.append(made.headers["set-cookie"].partition("=")[0])
        assert cookies[0] != cookies[1]
        for service in (one, other):
            assert browser.get(f"{service.running.url}/v1/session").status_code == 200


def test_a_last_event_id_of_any_length_is_answered(one: Served) -> None:
    job = one.submit(wait=30)
    seen = {"Last-Event-ID": f"{one.service.events.epoch}-{'9' * 5000}"}
    answer = one.http.get(f"/v1/jobs/{job['id']}/events", headers=seen)
    assert answer.status_code == 200
    assert "event: resync" in answer.text


def test_asking_for_the_head_of_a_stream_leaves_no_stream(one: Served) -> None:
    assert one.http.head("/v1/events").status_code == 200
    assert one.service.events.streams == 0


@pytest.mark.parametrize("space", ["\n", "\u2003", " "])
def test_columns_with_white_space_do_not_break_the_header(one: Served, space: str) -> None:
    job = one.submit(wait=30)
    answer = one.http.get(f"/v1/jobs/{job['id']}/result", params={"columns": f"x{space}", "count": 2})
    assert answer.status_code == 200
    assert len(answer.json()["columns"]["x"]) == 2
    again = one.http.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_invented_methods_are_one_label(one: Served) -> None:
    for number in range(5):
        assert one.http.request(f"FOO{number}", "/v1/jobs").status_code == 405
    text = one.http.get("/metrics").text
    assert "FOO" not in text
    assert 'bgsim_http_requests_total{method="other",route="/v1/jobs",status="405"} 5.0' in text


def test_a_simulation_whose_name_is_not_ascii_is_served(one: Served) -> None:
    one.service.simulations.add(δ_draw)
    answer = one.http.post("/v1/jobs", json={"simulation": "δ_draw", "replicates": 3}, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200
    assert one.http.get(answer.headers["location"]).json()["id"] == answer.json()["id"]
    for kind in ("application/json", "text/csv"):
        assert one.http.get(f"{answer.headers['location']}/result", headers={"Accept": kind}).status_code == 200


def test_a_failure_with_a_text_that_utf_8_cannot_have_is_listed(one: Served) -> None:
    one.service.simulations.add(says_surrogates)
    job = one.submit("says_surrogates", wait=30)
    assert job["state"] == "failed"
    letters = one.http.get("/v1/dead-letters").json()["dead_letters"]
    assert [letter["id"] for letter in letters] == [job["id"]]
    assert "\\udc80" in letters[0]["error"]


def test_the_longest_delays_are_shown(one: Served) -> None:
    for more in ({"delay_s": 1e308}, {"supersede": "x", "debounce_s": 1e308}):
        job = one.submit(seed=5, allow_deduplication=False, cache="off", **more)
        assert "more than a century" in one.job(job["id"])["waiting_for"]["reason"]


def test_a_tenant_is_not_told_that_a_job_was_forgotten(tmp_path: Path) -> None:
    with served(tmp_path / "runs.db", with_tokens=True) as one:
        job = one.submit(wait=30)
        assert one.service.recorder.drain(30)
        one.http.post("/v1/engine/clean", json={"older_than_s": 0})
        assert one.http.get(f"/v1/jobs/{job['id']}").status_code == 410
        with one.client(token(one, "viewer", "acme")) as http:
            assert http.get(f"/v1/jobs/{job['id']}").status_code == 404


@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_job_is_cancelled_before_the_store_is_asked(
    one: Served, monkeypatch: pytest.MonkeyPatch, in_bulk: bool
) -> None:
    def locked(ids: Any) -> None:
        raise StoreError("the store is locked")

    monkeypatch.setattr(one.service.history, "ask_cancel", locked)
    job = one.submit("spin")
    asked = {"action": "cancel", "filter": {"ids": [job["id"]]}}
    answer = one.http.post("/v1/bulk", json=asked) if in_bulk else one.http.post(f"/v1/jobs/{job['id']}/cancel")
    assert answer.status_code == 503
    assert one.until(job["id"])[-1][0] == "job.cancelled"


def test_a_service_that_closes_takes_no_more_jobs(one: Served) -> None:
    one.service._is_closing.set()
    assert one.http.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 1}).status_code == 503
