"""What the job-queue services had that this one replaces, each shown over HTTP alone."""

from __future__ import annotations

import base64
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Gate
from served import Served, events, serve_command, served, token

import bgsim
from bgsim.errors import StoreError
from bgsim.service.settings import read_settings
from bgsim.service.tokens import new_token
from bgsim.storage import MemoryStore, ResultStore
from bgsim.testing import gated

PATIENCE_S = 60.0

SETTINGS = """
[engine]
workers = 2
max_concurrent_simulations = 3
limits = { pricing = 1 }

[simulations.fragile]
timeout_s = 300
group = "pricing"
[simulations.fragile.retry]
retries = 2
backoff = "exponential"
delay_s = 5.0

[simulations.unreliable.retry]
retries = 2
delay_s = 5.0

[simulations.one_draw]
timeout_s = 60
priority = "low"
[simulations.one_draw.retry]
retries = 2
backoff = "fixed"
delay_s = 5.0
"""
"""Two of the job types that they had: 3 tries, exponential from 5 s, 300 s; 3 tries, fixed 5 s, 60 s."""


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def unreliable(p: Any, rng: Any) -> float:
    """Fails with what may pass."""
    raise OSError("the licence server does not answer")


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True, engine={"max_concurrent_simulations": 1}) as running:
        running.service.simulations.add(gated)
        yield running


def test_a_submission_is_answered_at_once_and_followed(one: Served) -> None:
    """202 with address and patience; status, progress, result and error; an ETag for those who ask again and again."""
    answer = one.http.post("/v1/jobs", json={"simulation": "walk", "replicates": 300_000, "parameters": {"steps": 3}})
    assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (202, True)
    at = answer.headers["location"]
    assert one.until(answer.json()["id"])[-1][0] == "job.completed"
    job = one.http.get(at)
    assert (job.json()["state"], job.json()["fraction"], job.json()["error"]) == ("completed", 1.0, None)
    assert one.http.get(at, headers={"If-None-Match": job.headers["etag"]}).status_code == 304
    assert one.http.get(f"{at}/result", params={"columns": "end"}).json()["count"] == 300_000
    failed = one.submit("fragile", parameters={"fails_at": 1.0}, wait=30)
    assert (failed["state"], "the draw is too small" in failed["error"]) == ("failed", True)


def test_job_types_have_defaults_and_a_concurrency_of_their_own(tmp_path: Path, hold: Gate) -> None:
    path = tmp_path / "service.toml"
    path.write_text(SETTINGS)
    settings, of_engine = read_settings(path)
    of_engine.pop("workers")
    with served(engine=of_engine, **settings) as one:
        one.service.simulations.add(gated)
        shown = one.http.get("/v1/simulations/fragile").json()["defaults"]
        assert (shown["timeout_s"], shown["group"]) == (300, "pricing")
        assert (shown["retry"]["retries"], shown["retry"]["backoff"], shown["retry"]["delay_s"]) == (
            2,
            "exponential",
            5.0,
        )
        other = one.http.get("/v1/simulations/one_draw").json()["defaults"]
        assert (other["retry"]["backoff"], other["timeout_s"], other["priority"]) == ("fixed", 60, "low")
        one.service.simulations.add(unreliable)
        tried = one.submit("unreliable", replicates=1)
        with one.http.stream("GET", tried["links"]["events"]) as stream:
            states = (data["job"]["state"] for _, _, data in events(stream.iter_lines()))
            assert next(state for state in states if state not in ("queued", "running")) == "delayed"
        assert one.job(tried["id"])["waiting_for"]["reason"].startswith("its retry in ")
        one.http.post(f"/v1/jobs/{tried['id']}/cancel")
        one.submit("gated", replicates=1, parameters={"name": "a"}, group="pricing")
        hold.wait_until_reached()
        second = one.submit("fragile", parameters={"fails_at": 0.0})
        assert one.job(second["id"])["waiting_for"]["reason"] == "its group 'pricing': 1 of 1 run"
        hold.open()
        assert one.until(second["id"])[-1][0] == "job.completed"


def test_a_job_is_delayed_or_comes_by_the_clock(one: Served) -> None:
    delayed = one.submit(delay_s=3600)
    timed = one.submit(seed=1, at="2100-01-01T02:00:00Z")
    assert delayed["state"] == timed["state"] == "delayed"
    assert one.job(delayed["id"])["waiting_for"]["reason"].startswith("its delay, ")
    assert one.job(timed["id"])["waiting_for"]["reason"] == "its time, 2100-01-01T02:00:00+00:00"
    schedule = {"simulation": "one_draw", "replicates": 1, "cron": "0 2 * * *", "name": "nightly"}
    found = one.http.post("/v1/schedules", json=schedule).json()
    assert found["words"] == "At 02:00 every day"
    assert all(at[11:16] == "02:00" for at in found["next_runs"])


def test_a_job_is_run_again_held_let_go_and_taken_back(one: Served) -> None:
    failed = one.submit("fragile", parameters={"fails_at": 1.0}, wait=30)
    again = one.http.post(f"/v1/jobs/{failed['id']}/retry", json={"parameters": {"fails_at": 0.0}})
    assert again.status_code in (200, 202)
    assert one.until(again.json()["id"])[-1][0] == "job.completed"
    waiting = one.submit("spin", replicates=1)
    for verb, state in (("pause", "suspended"), ("resume", ""), ("cancel", "")):
        answer = one.http.post(f"/v1/jobs/{waiting['id']}/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (202, state or answer.json()["state"])
    deleted = one.submit("one_draw", delay_s=3600)
    assert one.http.delete(f"/v1/jobs/{deleted['id']}").json()["state"] == "cancelled"
    refused = one.http.delete(f"/v1/jobs/{deleted['id']}")
    assert (refused.status_code, "is cancelled" in refused.json()["detail"]) == (409, True)


def test_queues_have_metrics(one: Served) -> None:
    one.submit("fragile", parameters={"fails_at": 1.0}, wait=30)
    one.submit("fragile", parameters={"fails_at": 0.0}, wait=30)
    one.submit("fragile", parameters={"fails_at": 0.0}, seed=2, delay_s=3600)
    found = one.http.get("/v1/queues/fragile").json()
    assert (found["failed"], found["completed"], found["delayed"], found["failed_rate"]) == (1, 1, 1, 0.5)
    assert (found["active"], found["waiting"], found["paused"]) == (0, 0, False)
    states = one.http.get("/v1/stats").json()["states"]
    assert (states["failed"], states["completed"], states["delayed"]) == (1, 1, 1)
    assert b'bgsim_jobs_total{outcome="failed",simulation="fragile"} 1.0' in one.http.get("/metrics").content


def test_health_has_alerts_and_a_load_balancer_a_probe_of_its_own(one: Served, hold: Gate) -> None:
    """More than 10 failed or 50 waiting: a warning."""
    for seed in range(11):
        one.submit("fragile", parameters={"fails_at": 1.0}, seed=seed, wait=30)
    one.submit("gated", replicates=1, parameters={"name": "a"})
    hold.wait_until_reached()
    for seed in range(51):
        one.submit(seed=seed)
    found = one.http.get("/v1/health").json()
    assert (found["status"], found["healthy"]) == ("warning", True)
    assert [alert["text"] for alert in found["alerts"]] == [
        "11 jobs have failed; /v1/dead-letters says which, and why",
        "51 jobs wait for their start",
    ]
    assert found["total_jobs"] == 11 + 1 + 51
    with one.client() as anybody:
        assert [anybody.get(path).status_code for path in ("/livez", "/readyz")] == [200, 200]
        one.http.post("/v1/engine/drain")
        assert [anybody.get(path).status_code for path in ("/livez", "/readyz")] == [200, 503]
    hold.open()


def test_an_admin_alone_cleans_pauses_and_resumes(one: Served) -> None:
    job = one.submit(wait=30)
    with one.client(token(one, "operator")) as operator:
        for verb in ("clean", "pause", "resume", "drain"):
            assert operator.post(f"/v1/engine/{verb}").status_code == 403
        assert operator.post("/v1/queues/one_draw/pause").status_code == 403
    assert one.http.post("/v1/engine/clean", json={"older_than_s": 7 * 86_400}).json()["forgotten"] == 0
    assert one.http.post("/v1/engine/clean", json={"older_than_s": 0}).json()["forgotten"] == 1
    assert one.http.get(f"/v1/jobs/{job['id']}").status_code == 410
    for verb, paused in (("pause", True), ("resume", False)):
        assert one.http.post(f"/v1/engine/{verb}").json()["paused"] is paused
        assert one.http.post(f"/v1/queues/one_draw/{verb}").json()["paused"] is paused


def test_dead_letters_are_worked_off_by_hand(one: Served) -> None:
    jobs = [one.submit("fragile", parameters={"fails_at": 1.0}, seed=seed, wait=30) for seed in range(2)]
    letters = one.http.get("/v1/dead-letters").json()["dead_letters"]
    assert [letter["id"] for letter in letters] == [job["id"] for job in jobs[::-1]]
    assert "Traceback" in letters[0]["attempts"][0]["traceback"]
    again = one.http.post(letters[0]["links"]["retry"], json={"parameters": {"fails_at": 0.0}}).json()
    assert one.until(again["id"])[-1][0] == "job.completed"
    assert one.http.delete(letters[1]["links"]["self"]).status_code == 204
    assert one.http.get("/v1/dead-letters").json()["total"] == 0


def test_tokens_have_roles_and_jobs_belong_to_a_tenant(one: Served) -> None:
    with (
        one.client() as anybody,
        one.client(token(one, "viewer")) as viewer,
        one.client(token(one, "operator", "a")) as a,
    ):
        assert anybody.get("/v1/jobs").status_code == 401
        assert viewer.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 1}).status_code == 403
        job = one.submit(http=a, wait=30)
        with one.client(token(one, "admin", "b")) as b:
            assert b.get(f"/v1/jobs/{job['id']}").status_code == 404
            assert one.submit(http=b, wait=30)["from_store"] == 0, "what another tenant has computed is not told"
        assert viewer.get(f"/v1/jobs/{job['id']}").json()["tenant"] == "a"


class InboxHandler(BaseHTTPRequestHandler):
    """Takes webhooks."""

    got: list[tuple[dict[str, str], bytes]]
    came: threading.Event

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()
        self.came.set()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def inbox() -> Iterator[tuple[str, type[InboxHandler]]]:
    """Give an address that takes webhooks, and what came there."""
    kind = type("OwnHandler", (InboxHandler,), {"got": [], "came": threading.Event()})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", kind
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_whoever_asked_is_told_when_a_job_fails() -> None:
    from standardwebhooks.webhooks import Webhook

    secret = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    with inbox() as (url, box), served(allow_private_webhooks=True) as one:
        hook = {"url": url, "secret": secret, "events": ["job.failed"]}
        job = one.submit("fragile", parameters={"fails_at": 1.0}, webhook=hook, wait=30)
        assert job["webhook"] == url
        assert box.came.wait(PATIENCE_S)
        headers, body = box.got[0]
        told = Webhook(secret).verify(body, headers)
        assert (told["type"], told["data"]["job"]["id"]) == ("job.failed", job["id"])
        assert json.loads(body)["data"]["job"]["state"] == "failed"


def test_a_result_is_waited_for_without_a_queue(one: Served) -> None:
    headers = {"Prefer": "wait=60"}
    answer = one.http.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 10}, headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (200, "completed")


class Full(MemoryStore):
    """A store whose disk is full."""

    def store(self, *_: Any, on_stored: Any = None, **__: Any) -> None:
        on_stored(StoreError("the disk is full"))


def test_jobs_run_all_the_same_when_the_store_refuses() -> None:
    with closing(Full()) as store, served(store) as one:
        job = one.submit(wait=30)
        assert (job["state"], job["store_error"]) == ("completed", "the disk is full")
        assert one.http.get(job["links"]["result"]).json()["count"] == 100
        assert one.http.get("/v1/health").json()["status"] == "error"


def test_a_shutdown_drains_and_a_crash_is_recovered_from_and_the_audit_knows(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with closing(ResultStore(store)) as kept:
        text = new_token(kept.history, "admin")
    body = {"simulation": "walk", "parameters": {"steps": 100}, "replicates": 100_000, "seed": 1}
    options = ("--simulation", "kernels:walk")
    with serve_command(store, *options, token=text) as (process, http):
        crashed = http.post("/v1/jobs", json=body).json()
        process.kill()
        process.wait()
    with serve_command(store, *options, token=text) as (process, http):
        with http.stream("GET", f"/v1/jobs/{crashed['id']}/events") as stream:
            last = list(events(stream.iter_lines()))[-1]
        assert last[1] == "job.completed"
        drained = http.post("/v1/jobs", json=body | {"seed": 2}).json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    with serve_command(store, *options, token=text) as (_, http):
        assert http.get(f"/v1/jobs/{drained['id']}").json()["state"] == "completed"
        entries = http.get("/v1/audit").json()["entries"]
        assert {(entry["action"], entry["status"]) for entry in entries} == {("POST /v1/jobs", 202)}


def test_many_requests_a_minute_are_answered(one: Served) -> None:
    """How soon, and while all cores compute, `benchmarks/bench_service.py` measures."""
    for seed in range(100):
        answer = one.http.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 10, "seed": seed})
        assert answer.status_code in (200, 202)
    assert len(one.http.get("/v1/jobs", params={"limit": 200}).json()["jobs"]) == 100


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "service.toml"
    config.write_text(SETTINGS)
    monkeypatch.setenv("BGSIM_CONFIG", str(config))
    monkeypatch.setenv("BGSIM_PREFIX", "/sim")
    monkeypatch.setenv("BGSIM_SIMULATION", "kernels:fragile")
    monkeypatch.setenv("BGSIM_WORKERS", "1")
    with closing(ResultStore(tmp_path / "runs.db")) as kept:
        text = new_token(kept.history, "admin")
    with serve_command(tmp_path / "runs.db", token=text) as (_, http):
        assert http.base_url.path.rstrip("/") == "/sim"
        assert http.get("/v1/simulations/fragile").json()["defaults"]["group"] == "pricing"
        assert len(http.get("/v1/stats").json()["workers"]) == 1
        assert http.get("/v1/jobs").status_code == 200


# ---- decided, where they contradict each other -------------------------------------------------------------


def test_a_priority_is_a_word_for_some_served_1_first_and_some_10(one: Served) -> None:
    answer = one.http.post("/v1/jobs", json={"simulation": "one_draw", "replicates": 1, "priority": 1})
    assert (answer.status_code, "one of low, normal, high, critical" in answer.json()["detail"]) == (422, True)


def test_what_is_tried_again_is_counted_in_retries(one: Served) -> None:
    failed = one.submit("fragile", parameters={"fails_at": 1.0}, retry={"retries": 0}, wait=30)
    assert failed["retries"] == 0
    assert len(one.http.get(f"/v1/dead-letters/{failed['id']}").json()["attempts"]) == 1
    assert "attempts" not in failed
