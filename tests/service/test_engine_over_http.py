"""Counts, health, queues and the verbs of the whole engine over HTTP, also for callers of one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Gate
from served import Served, served, token

from bgsim.storage import MemoryStore
from bgsim.testing import gated


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True, engine={"max_concurrent_simulations": 1}) as running:
        running.service.simulations.add(gated)
        yield running


def blocked(one: Served, hold: Gate, **body: Any) -> Any:
    """Submit a job that stops at the gate, and return it when it has come there."""
    job = one.submit("gated", **{"replicates": 1, "parameters": {"name": "a"}, **body})
    hold.wait_until_reached()
    return job


def test_stats_count_the_states_and_say_what_each_worker_does(one: Served, hold: Gate) -> None:
    one.submit(wait=30)
    job = blocked(one, hold)
    one.submit("one_draw", seed=1, priority="low")
    found = one.http.get("/v1/stats").json()
    assert (found["states"]["running"], found["states"]["queued"], found["states"]["completed"]) == (1, 1, 1)
    assert found["queue"]["by_priority"] == {"critical": 0, "high": 0, "normal": 0, "low": 1}
    assert {(worker["job"], worker["phase"]) for worker in found["workers"]} == {(job["id"], "running"), (None, "idle")}
    assert found["queue_wait_s"].keys() == found["run_time_s"].keys() == {"p50", "p90", "p99"}
    assert found["stored_results"] == 1
    assert (found["paused"], found["draining"]) == (False, False)
    hold.open()


def test_stats_of_a_service_that_has_done_nothing_have_no_numbers_that_json_lacks(one: Served) -> None:
    assert one.http.get("/v1/stats").json()["queue_wait_s"] == {"p50": None, "p90": None, "p99": None}


def test_a_tenant_sees_its_own_counts_and_no_other_job(one: Served, hold: Gate) -> None:
    with one.client(token(one, "admin", "a")) as a, one.client(token(one, "viewer", "b")) as b:
        job = one.submit("gated", replicates=1, parameters={"name": "a"}, http=a)
        hold.wait_until_reached()
        one.submit("one_draw", http=a)
        mine, other = (http.get("/v1/stats").json() for http in (a, b))
        assert (mine["states"]["running"], mine["states"]["queued"]) == (1, 1)
        assert sum(other["states"].values()) == 0
        assert {worker["job"] for worker in mine["workers"]} == {job["id"], None}
        assert [worker["job"] for worker in other["workers"]] == [None, None]
        assert "running" in [worker["phase"] for worker in other["workers"]]
        assert other["stored_results"] is None
        queues = {each["simulation"]: each for each in a.get("/v1/queues").json()["queues"]}
        assert queues["bgsim.testing.gates.gated"]["active"] == 1
        assert b.get("/v1/queues/gated").json()["active"] == 0
        assert b.get("/v1/health").json()["total_jobs"] == 0
        hold.open()


# ---- health --------------------------------------------------------------------------------------------


def test_failures_and_waiting_jobs_warn_and_leave_it_healthy(hold: Gate) -> None:
    limits = {"alert_failed": 1, "alert_waiting": 1, "max_concurrent_simulations": 1}
    with served(engine=limits) as one:
        one.service.simulations.add(gated)
        for seed in (1, 2):
            one.submit("fragile", seed=seed, parameters={"fails_at": 1.0}, wait=30)
        blocked(one, hold)
        for seed in (1, 2):
            one.submit(seed=seed)
        found = one.http.get("/v1/health").json()
        assert (found["ok"], found["healthy"], found["status"]) == (False, True, "warning")
        assert [(alert["severity"], alert["kind"]) for alert in found["alerts"]] == [
            ("warning", "failed"),
            ("warning", "waiting"),
        ]
        assert found["alerts"][0]["text"] == "2 jobs have failed; /v1/dead-letters says which, and why"
        assert (found["failed"], found["waiting"], found["total_jobs"]) == (2, 2, 5)
        hold.open()


class Refusing(MemoryStore):
    """A store that takes no result."""

    def store(self, *_: Any, on_stored: Any = None, **__: Any) -> None:
        if on_stored is not None:
            on_stored(bgsim_error())


def bgsim_error() -> Exception:
    from bgsim.errors import StoreError

    return StoreError("the disk is full")


def test_a_store_that_refuses_is_an_error_and_jobs_run_all_the_same() -> None:
    store = Refusing()
    with served(store) as one:
        job = one.submit(wait=30)
        assert (job["state"], job["store_error"]) == ("completed", "the disk is full")
        assert len(one.http.get(f"/v1/jobs/{job['id']}/result").json()["columns"]["x"]) == 100
        found = one.http.get("/v1/health").json()
        assert (found["ok"], found["healthy"], found["status"]) == (False, False, "error")
        assert found["store_error"] == "the disk is full"
    store.close()


# ---- queues --------------------------------------------------------------------------------------------


def test_a_queue_counts_what_its_jobs_do(one: Served, hold: Gate) -> None:
    for seed in (1, 2, 3):
        one.submit("fragile", seed=seed, parameters={"fails_at": 1.0 if seed == 1 else 0.0}, wait=30)
    blocked(one, hold)
    one.submit("fragile", seed=7, parameters={"fails_at": 0.0})
    one.submit("fragile", seed=8, parameters={"fails_at": 0.0}, delay_s=3600)
    found = one.http.get("/v1/queues/fragile").json()
    counts = {name: found[name] for name in ("waiting", "active", "delayed", "completed", "failed", "cancelled")}
    assert counts == {"waiting": 1, "active": 0, "delayed": 1, "completed": 2, "failed": 1, "cancelled": 0}
    assert found["failed_rate"] == pytest.approx(1 / 3)
    listed = one.http.get("/v1/queues").json()["queues"]
    assert [each for each in listed if each["simulation"] == "kernels.fragile"] == [found]
    assert one.http.get("/v1/queues/fragil").status_code == 404
    hold.open()


def test_a_paused_queue_holds_what_runs_what_waits_and_what_comes(one: Served, hold: Gate) -> None:
    running = blocked(one, hold, replicates=3)
    assert one.http.post("/v1/queues/gated/pause").json()["paused"]
    coming = one.submit("gated", replicates=1, seed=1)
    assert {one.job(job["id"])["state"] for job in (running, coming)} == {"suspended"}
    assert one.job(coming["id"])["waiting_for"]["reason"] == "its simulation is paused"
    hold.open()
    assert one.submit(wait=30)["state"] == "completed", "other queues go on"
    assert one.http.get("/v1/queues/gated").json()["waiting"] == 2
    assert not one.http.post("/v1/queues/gated/resume").json()["paused"]
    for job in (running, coming):
        assert one.until(job["id"])[-1][0] == "job.completed"


def test_a_tenant_pauses_its_own_queue_alone(one: Served) -> None:
    with one.client(token(one, "admin", "a")) as a, one.client(token(one, "admin", "b")) as b:
        assert a.post("/v1/queues/one_draw/pause").json()["paused"]
        assert not b.get("/v1/queues/one_draw").json()["paused"]
        held = one.submit(http=a)
        assert one.submit(http=b, wait=30)["state"] == "completed"
        assert one.job(held["id"])["state"] == "suspended"
        assert one.http.post("/v1/queues/one_draw/resume").status_code == 200
        assert one.job(held["id"])["state"] == "suspended", "what the tenant has paused, it resumes"
        a.post("/v1/queues/one_draw/resume")
        assert one.until(held["id"])[-1][0] == "job.completed"


def test_a_queue_in_a_request_imports_nothing(one: Served) -> None:
    for name in ("os:system", "antigravity", "antigravity:fly"):
        assert one.http.post(f"/v1/queues/{name}/pause").status_code == 404


# ---- the whole engine ------------------------------------------------------------------------------------


def test_the_engine_is_paused_and_resumed(one: Served) -> None:
    assert one.http.post("/v1/engine/pause").json() == {"paused": True, "draining": False, "open_jobs": 0}
    job = one.submit()
    assert one.job(job["id"])["waiting_for"]["reason"] == "the engine is paused"
    assert one.http.get("/v1/engine").json()["open_jobs"] == 1
    assert not one.http.post("/v1/engine/resume").json()["paused"]
    assert one.until(job["id"])[-1][0] == "job.completed"


def test_a_drain_takes_nothing_more_lets_the_others_end_and_is_taken_back(one: Served, hold: Gate) -> None:
    job = blocked(one, hold)
    answer = one.http.post("/v1/engine/drain")
    assert (answer.status_code, answer.json()["draining"], answer.json()["open_jobs"]) == (202, True, 1)
    refused = one.http.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 1})
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    assert one.http.get("/readyz").status_code == 503
    assert one.http.get("/livez").status_code == 200
    hold.open()
    assert one.until(job["id"])[-1][0] == "job.completed"
    assert not one.http.post("/v1/engine/resume").json()["draining"]
    assert one.http.get("/readyz").status_code == 200
    assert one.submit(wait=30)["state"] == "completed"


def test_what_ended_long_ago_is_forgotten_and_its_result_stays(one: Served) -> None:
    job = one.submit(wait=30)
    assert one.http.post("/v1/engine/clean").json() == {"forgotten": 0}, "a week by default"
    assert one.http.post("/v1/engine/clean", json={"older_than_s": 0}).json() == {"forgotten": 1}
    assert one.http.get(f"/v1/jobs/{job['id']}").status_code == 410
    assert one.submit(wait=30)["from_store"] == 100
    assert one.http.post("/v1/engine/clean", json={"older_than_s": -1}).status_code == 422


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "clean"])
def test_the_admin_of_a_tenant_leaves_the_engine_of_all_alone(one: Served, verb: str) -> None:
    with one.client(token(one, "admin", "a")) as a:
        answer = a.post(f"/v1/engine/{verb}")
        assert (answer.status_code, "all tenants" in answer.json()["detail"]) == (403, True)
        assert a.get("/v1/engine").status_code == 403


# ---- audit -----------------------------------------------------------------------------------------------


def test_the_audit_has_who_asked_for_what_and_what_came_of_it(one: Served) -> None:
    with one.client(token(one, "viewer", "a")) as viewer, one.client(token(one, "admin", "a")) as admin:
        viewer.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 1})
        one.http.post("/v1/engine/pause")
        one.http.post("/v1/engine/resume")
        found = one.http.get("/v1/audit").json()
        assert [(entry["action"], entry["status"], entry["role"]) for entry in found["entries"]] == [
            ("POST /v1/engine/resume", 200, "admin"),
            ("POST /v1/engine/pause", 200, "admin"),
            ("POST /v1/jobs", 403, "viewer"),
        ]
        assert found["next"] is None
        first = one.http.get("/v1/audit", params={"limit": 2}).json()
        rest = one.http.get("/v1/audit", params={"limit": 2, "before": first["next"]}).json()
        assert [*first["entries"], *rest["entries"]] == found["entries"]
        assert [entry["tenant"] for entry in admin.get("/v1/audit").json()["entries"]] == ["a"]
        assert viewer.get("/v1/audit").status_code == 403


def test_the_audit_says_what_was_made_and_what_an_action_meant(one: Served) -> None:
    job = one.submit(tags=["x"], delay_s=7200)
    later = one.submit(seed=1, delay_s=3600)
    one.http.post("/v1/bulk", json={"action": "cancel", "filter": {"ids": [later["id"]]}})
    one.http.post("/v1/jobs", json={"simulation": "nothing", "replicates": 1})
    found = [(entry["status"], entry["detail"]) for entry in one.http.get("/v1/audit").json()["entries"]]
    assert found == [
        (404, ""),
        (200, f'cancel 1 of 1: {{"ids":["{later["id"]}"]}}'),
        (202, f"/v1/jobs/{later['id']}"),
        (202, f"/v1/jobs/{job['id']}"),
    ]
