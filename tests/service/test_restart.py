"""A service that is stopped or killed in the middle of work, and the next one on its store."""

from __future__ import annotations

import base64
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from kernels import Walk, walk
from paths import SUPPORT
from served import events, serve_command

import bgsim
from bgsim.service.tokens import new_token
from bgsim.storage import ResultStore

JOB = {"simulation": "walk", "parameters": {"steps": 3}, "replicates": 200, "seed": 5, "tags": ["one"]}
LONG = {"simulation": "walk", "parameters": {"steps": 400}, "replicates": 200_000, "seed": 5, "cache": "use"}

NOBODY = {"url": "http://127.0.0.1:9/", "secret": "whsec_" + base64.b64encode(bytes(24)).decode()}
"""Nobody listens there, so a message waits for its next attempt."""


def ended(http: httpx.Client, job_id: str) -> Any:
    """Follow a job to its end, and return it."""
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        for _, _, data in events(stream.iter_lines()):
            job = data["job"]
    return job


@pytest.mark.parametrize("point", ["submitted", "written", "answered"])
def test_kill_9_during_a_request_and_the_same_key_again_is_one_job(point: str, tmp_path: Path) -> None:
    store, key = tmp_path / "runs.db", {"Idempotency-Key": "the same"}
    with closing(ResultStore(store)) as kept:
        text = new_token(kept.history, "admin")
    deadly = [sys.executable, str(SUPPORT / "service_process.py"), point, str(store)]
    with serve_command(store, command=deadly, token=text) as (process, http):
        with pytest.raises(httpx.TransportError):
            http.post("/v1/jobs", json=JOB, headers=key)
        assert process.wait() == -signal.SIGKILL
    with serve_command(store, "--simulation", "kernels:walk", token=text) as (_, http):
        job = http.post("/v1/jobs", json=JOB, headers=key)
        assert job.headers.get("idempotency-replayed") == (None if point == "submitted" else "true")
        assert ended(http, job.json()["id"])["state"] == "completed"
        assert [found["id"] for found in http.get("/v1/jobs").json()["jobs"]] == [job.json()["id"]]
        found = http.get(f"/v1/jobs/{job.json()['id']}/result").json()["columns"]["end"]
    assert found == bgsim.run(walk, Walk(steps=3), replicates=200, seed=5)["end"].tolist()


def test_the_same_key_after_a_restart_is_the_same_job(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with closing(ResultStore(store)) as kept:
        text = new_token(kept.history, "operator")
    key = {"Idempotency-Key": "the same"}
    for number in range(2):
        with serve_command(store, "--simulation", "kernels:walk", token=text) as (process, http):
            answer = http.post("/v1/jobs", json=JOB, headers=key)
            assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (202, "true" if number else None)
            other = http.post("/v1/jobs", json=JOB | {"seed": 6}, headers=key)
            assert (other.status_code, "another request" in other.text) == (422, True)
            assert len(http.get("/v1/jobs").json()["jobs"]) == 1
            process.kill()
            process.wait()


@pytest.mark.parametrize(("number", "drain"), [(signal.SIGTERM, "0"), (signal.SIGKILL, "30"), (signal.SIGINT, "30")])
def test_what_has_not_ended_goes_on_under_its_id(number: int, drain: str, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with closing(ResultStore(store)) as kept:
        text = new_token(kept.history, "admin")
    options = ("--simulation", "kernels:walk", "--drain", drain, "--allow-private-webhooks")
    with serve_command(store, *options, token=text) as (process, http):
        nightly = {"simulation": "walk", "replicates": 10, "cron": "0 2 * * *", "name": "nightly"}
        assert http.post("/v1/schedules", json=nightly).status_code in (200, 201)
        job = http.post("/v1/jobs", json=LONG | {"webhook": NOBODY}).json()
        with http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
            for _, name, data in events(stream.iter_lines()):
                if name == "job.progress" and data["job"]["replicates_completed"]:
                    break
        process.send_signal(number)
        assert process.wait() == (-9 if number == signal.SIGKILL else 0)
    with serve_command(store, *options, token=text) as (_, http):
        assert http.get("/v1/session").json()["role"] == "admin"
        done = ended(http, job["id"])
        assert (done["state"], done["replicates_completed"]) == ("completed", 200_000)
        assert len(http.get("/v1/jobs").json()["jobs"]) == 1
        assert [schedule["name"] for schedule in http.get("/v1/schedules").json()["schedules"]] == ["nightly"]
    with closing(ResultStore(store)) as kept:
        (message,) = kept.history.deliveries()
        assert (message.job, message.event, message.state) == (job["id"], "job.completed", "pending")


def test_sigterm_lets_a_job_end_and_takes_no_other(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with serve_command(store, "--simulation", "kernels:walk") as (process, http):
        job = http.post("/v1/jobs", json=LONG).json()
        with http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
            following = events(stream.iter_lines())
            next(name for _, name, _ in following if name == "job.progress")
            process.send_signal(signal.SIGTERM)
            names = [name for _, name, _ in following]
        assert names[-1] == "job.completed"
        assert process.wait() == 0
    with closing(ResultStore(store)) as kept:
        assert kept.history.job(job["id"]).state == "completed"


def test_a_cancelled_job_stays_cancelled(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with serve_command(store, "--simulation", "kernels:spin") as (process, http):
        job = http.post("/v1/jobs", json={"simulation": "spin", "replicates": 1}).json()
        assert http.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
        process.kill()
        process.wait()
    with serve_command(store, "--simulation", "kernels:spin") as (_, http):
        assert ended(http, job["id"])["state"] == "cancelled"
