"""Jobs over HTTP: what is asked, answered, listed and changed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from served import Served, served

import bgsim
from bgsim.errors import StoreError
from bgsim.storage import ResultStore


@pytest.fixture
def one() -> Iterator[Served]:
    with served() as running:
        yield running


def test_a_job_is_taken_at_once_and_its_result_is_that_of_python(one: Served) -> None:
    answer = one.http.post(
        "/v1/jobs", json={"simulation": "walk", "parameters": {"steps": 300}, "replicates": 5000, "seed": 9}
    )
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    events = one.until(answer.json()["id"])
    assert events[-1][0] == "job.completed"
    result = one.http.get(f"{answer.headers['location']}/result").json()
    from kernels import Walk, walk

    expected = bgsim.run(walk, Walk(steps=300), replicates=5000, seed=9)
    assert result["columns"]["end"] == expected["end"].tolist()
    assert result["columns"]["path"] == expected["path"].tolist()


def test_what_the_store_has_is_answered_with_200(one: Served) -> None:
    one.submit(wait=30, replicates=1000)
    answer = one.http.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 400}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["state"]) == (200, "completed")
    assert "retry-after" not in answer.headers


def test_prefer_wait_ends_with_its_seconds(one: Served) -> None:
    answer = one.http.post("/v1/jobs", json={"simulation": "spin", "replicates": 1}, headers={"Prefer": "wait=0.05"})
    assert (answer.status_code, answer.json()["state"]) == (202, answer.json()["state"])
    assert answer.json()["state"] != "completed"


@pytest.mark.parametrize("kind", ["text/csv", "application/x-npy", "application/x-npz"])
def test_a_result_comes_in_the_format_that_is_accepted(one: Served, kind: str) -> None:
    job = one.submit("walk", replicates=20, parameters={"steps": 2}, wait=30)
    columns = {"columns": "end"} if kind.endswith("npy") else {}
    answer = one.http.get(job["links"]["result"], headers={"Accept": kind}, params={"first": 5, "count": 10, **columns})
    assert answer.headers["content-type"].startswith(kind)
    whole = one.http.get(job["links"]["result"]).json()["columns"]
    if kind == "text/csv":
        rows = answer.text.splitlines()
        assert len(rows) == 11
        assert rows[0].startswith("replicate,end,")
        assert float(rows[1].split(",")[1]) == whole["end"][5]
    elif kind.endswith("npy"):
        assert np.load(io.BytesIO(answer.content)).tolist() == whole["end"][5:15]
    else:
        arrays = np.load(io.BytesIO(answer.content))
        assert arrays["path"].tolist() == whole["path"][5:15]


def test_a_result_may_be_kept_for_ever(one: Served) -> None:
    job = one.submit(wait=30)
    first = one.http.get(job["links"]["result"])
    assert "immutable" in first.headers["cache-control"]
    again = one.http.get(job["links"]["result"], headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = one.http.get(job["links"]["result"], params={"count": 3}, headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


def test_a_large_result_comes_in_pieces_that_make_one_document(one: Served) -> None:
    job = one.submit(wait=30, replicates=25_000)
    found = one.http.get(job["links"]["result"]).json()
    assert (found["count"], len(found["columns"]["x"])) == (25_000, 25_000)
    rows = one.http.get(job["links"]["result"], headers={"Accept": "text/csv"}).text.splitlines()
    assert [float(row.split(",")[1]) for row in rows[1:]] == found["columns"]["x"]


def test_a_job_that_runs_shows_what_is_finished(one: Served) -> None:
    job = one.submit("one_draw", replicates=100_000_000)
    one.until_some_are_done(job["id"])
    part = one.http.get(f"/v1/jobs/{job['id']}/result", params={"partial": True, "count": 5})
    assert part.status_code == 200
    assert part.headers["cache-control"] == "no-store"
    refused = one.http.get(f"/v1/jobs/{job['id']}/result")
    assert (refused.status_code, "partial=true" in refused.text) == (409, True)
    summary = one.http.get(f"/v1/jobs/{job['id']}/summary", params={"histogram": "x"}).json()
    assert summary["total_replicates"] == 100_000_000
    assert one.http.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    assert one.until(job["id"])[-1][0] == "job.cancelled"
    assert one.http.get(f"/v1/jobs/{job['id']}/result").status_code == 409
    kept = one.http.get(f"/v1/jobs/{job['id']}/summary").json()  # of the finished chunks that have no gap before them
    assert 0 < kept["replicates"] <= one.job(job["id"])["replicates_completed"]
    assert one.http.post(f"/v1/jobs/{job['id']}/cancel").status_code == 409


def test_a_member_of_an_enum_is_its_name(one: Served) -> None:
    fields = {each["name"]: each for each in one.http.get("/v1/simulations/barrier_option").json()["parameters"]}
    assert fields["kind"]["default"] == "DOWN_AND_OUT"
    assert set(fields["kind"]["choices"]) > {"DOWN_AND_OUT", "UP_AND_IN"}
    assert fields["strike"]["choices"] is None
    job = one.submit("barrier_option", parameters={"kind": "DOWN_AND_IN"}, replicates=10, wait=30)
    assert job["parameters"]["kind"] == "DOWN_AND_IN"
    again = one.submit("barrier_option", parameters=job["parameters"], replicates=20, wait=30)
    assert (again["parameters"], again["from_store"]) == (job["parameters"], 10)


def test_a_job_that_was_cancelled_before_it_began_has_no_result(one: Served) -> None:
    job = one.submit(delay_s=3600)
    one.http.post(f"/v1/jobs/{job['id']}/cancel")
    for path in ("result?partial=true", "summary"):
        answer = one.http.get(f"/v1/jobs/{job['id']}/{path}")
        assert (answer.status_code, "no replicate of it was finished" in answer.text) == (409, True)


def test_an_unchanged_job_is_304(one: Served) -> None:
    job = one.submit(wait=30)
    first = one.http.get(f"/v1/jobs/{job['id']}")
    assert first.headers["etag"].startswith('W/"')
    again = one.http.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_jobs_are_paused_resumed_and_changed(one: Served) -> None:
    job = one.submit("spin", replicates=1, tags=["first"])
    path = f"/v1/jobs/{job['id']}"
    assert one.http.post(f"{path}/pause").status_code == 202
    assert one.http.post(f"{path}/resume").status_code == 202
    assert one.http.post(f"{path}/resume").status_code == 409
    changed = one.http.patch(path, json={"priority": "critical", "tags": ["b", "b", "c"]}).json()
    assert (changed["priority"], changed["tags"]) == ("critical", ["b", "c"])
    assert one.http.patch(path, json={}).status_code == 422
    assert [found["id"] for found in one.http.get("/v1/jobs", params={"tag": "c"}).json()["jobs"]] == [job["id"]]
    assert one.http.delete(path).status_code == 202
    assert one.until(job["id"])[-1][0] == "job.cancelled"


def test_a_list_goes_on_where_a_page_ended(one: Served) -> None:
    made = [one.submit(seed=number, wait=30)["id"] for number in range(7)]
    found, params = [], {"limit": 3, "simulation": "one_draw"}
    while True:
        answer = one.http.get("/v1/jobs", params=params)
        found += [job["id"] for job in answer.json()["jobs"]]
        if answer.json()["next"] is None:
            assert "link" not in answer.headers
            break
        assert 'rel="next"' in answer.headers["link"]
        params["cursor"] = answer.json()["next"]
    assert found == made[::-1]


def test_filters_choose_jobs(one: Served) -> None:
    near, far = (one.submit("walk", parameters={"steps": steps}, replicates=5, wait=30)["id"] for steps in (2, 3))
    running = one.submit("spin", replicates=1)["id"]

    def found(**params: object) -> list[str]:
        return [job["id"] for job in one.http.get("/v1/jobs", params=params).json()["jobs"]]

    assert found(**{"parameter.steps": 3}) == [far]
    assert found(state="completed") == [far, near]
    one.until(running, "job.changed", "job.started")
    assert found(state="running,queued") == [running]
    assert found(simulation="walk", since="1 h") == [far, near]
    assert found(until="2020-01-01") == []


def test_a_replicate_is_replayed(one: Served) -> None:
    job = one.submit("walk", replicates=20, parameters={"steps": 2}, wait=30)
    whole = one.http.get(job["links"]["result"]).json()["columns"]
    values = one.http.get(f"/v1/jobs/{job['id']}/replicates/7").json()["values"]
    assert values["ups"] == whole["ups"][7]
    assert one.http.get(f"/v1/jobs/{job['id']}/replicates/20").status_code == 422


def test_a_failed_job_runs_again_with_changes(one: Served) -> None:
    failed = one.submit("fragile", replicates=50, wait=30)
    assert (failed["state"], "the draw is too small" in failed["error"]) == ("failed", True)
    again = one.http.post(
        f"/v1/jobs/{failed['id']}/retry", json={"parameters": {"fails_at": 0.0}}, headers={"Prefer": "wait=30"}
    )
    assert (again.status_code, again.json()["state"]) == (200, "completed")
    assert one.engine.dead_letters() == []
    once_more = one.http.post(f"/v1/jobs/{failed['id']}/retry", headers={"Prefer": "wait=30"})
    assert once_more.json()["state"] == "failed"
    longer = one.http.post(
        f"/v1/jobs/{again.json()['id']}/retry", json={"replicates": 80}, headers={"Prefer": "wait=30"}
    )
    assert (longer.json()["replicates"], longer.json()["from_store"]) == (80, 50)


def test_jobs_of_python_are_seen_too(one: Served) -> None:
    from kernels import one_draw

    job = one.engine.submit(one_draw, replicates=10, tags=["python"])
    job.result()
    one.wait_until_told()
    one.until(job.id)
    assert [found["id"] for found in one.http.get("/v1/jobs", params={"tag": "python"}).json()["jobs"]] == [job.id]


def test_a_result_that_no_store_has_is_kept_for_a_while(one: Served) -> None:
    job = one.submit(cache="off", wait=30)
    assert one.http.get(job["links"]["result"]).json()["count"] == 100


def test_a_result_that_was_deleted_is_gone(one: Served) -> None:
    job = one.submit(wait=30)
    one.until(job["id"])
    one.engine.store.delete(one.service.recorder.row(job["id"]).result_hash)
    answer = one.http.get(job["links"]["result"])
    assert answer.status_code in (200, 410)  # the handle may still be there until its row is written
    one.engine.store.flush()


def test_a_job_stays_in_the_file_of_the_store(tmp_path) -> None:
    path = tmp_path / "runs.db"
    with served(path) as one:
        job = one.submit(wait=30, tags=["kept"])
    with closing(ResultStore(path)) as store:
        row = store.history.job(job["id"])
        assert (row.state, row.tags, row.replicates_completed) == ("completed", '["kept"]', 100)
    with served(path) as one:
        assert one.http.get(f"/v1/jobs/{job['id']}").json()["state"] == "completed"
        assert one.http.get(f"/v1/jobs/{job['id']}/result").json()["count"] == 100


def test_a_store_that_cannot_be_written_stops_no_job(one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(one.service.history, "add_job", refuse)
    job = one.submit(wait=30)
    assert job["state"] == "completed"
    keyed = one.http.post(
        "/v1/jobs", json={"simulation": "one_draw", "replicates": 7}, headers={"Idempotency-Key": "promised"}
    )
    assert (keyed.status_code, "the disk is full" in keyed.text) == (503, True)
    monkeypatch.undo()
    assert one.submit(wait=30, seed=8)["state"] == "completed"
    assert len(one.http.get("/v1/jobs").json()["jobs"]) == 2
