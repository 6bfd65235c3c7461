"""Streams of events: replay, conflation, slow clients, and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from served import Served, events, served, token

from bgsim.service.events import COMMENT, PROGRESS_S, EventLog


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True) as running:
        yield running


def drawn(log: EventLog, last_id: str, texts: int) -> list[bytes]:
    """Return the first pieces of a stream."""

    async def read() -> list[bytes]:
        stream = log.follow(last_id, lambda event: True)
        found = []
        async for piece in stream:
            found.append(piece)
            if len(found) == texts:
                break
        return found

    return asyncio.run(read())


def ids(pieces: list[bytes]) -> list[str]:
    return [line[4:] for line in b"".join(pieces).decode().splitlines() if line.startswith("id: ")]


def test_a_stream_goes_on_after_the_last_event_that_the_client_has() -> None:
    log = EventLog(ring=5)
    for number in range(5):
        log.add("job.started", f"job-{number}", None, {})
    assert ids(drawn(log, f"{log.epoch}-2", 2)) == [f"{log.epoch}-{n}" for n in (3, 4, 5)]


@pytest.mark.parametrize("last_id", ["{}-0", "other-3", "{}-99", "{}-x", "nonsense", "{}-\u0663"])
def test_a_client_that_has_lost_events_is_told(last_id: str) -> None:
    log = EventLog(ring=3)
    for number in range(6):
        log.add("job.started", f"job-{number}", None, {})
    _, told = drawn(log, last_id.format(log.epoch), 2)
    assert told.decode().splitlines()[:2] == [f"id: {log.epoch}-6", "event: resync"]


def test_a_reader_that_the_ring_overtakes_is_told() -> None:
    log = EventLog(ring=3)

    async def read() -> list[bytes]:
        stream = log.follow("", lambda event: True)
        pieces = aiter(stream)
        found = [await anext(pieces)]
        for number in range(6):
            log.add("job.started", f"job-{number}", None, {})
        found.append(await anext(pieces))
        await pieces.aclose()
        return found

    assert b"event: resync" in asyncio.run(read())[1]


def test_progress_is_conflated_and_never_comes_after_the_end() -> None:
    now = [0.0]
    log = EventLog(clock=lambda: now[0])

    async def read() -> list[bytes]:
        pieces = aiter(log.follow("", lambda event: True))
        found = [await anext(pieces)]
        log.show("job.progress", "a", None, {"n": 1})
        log.show("job.progress", "a", None, {"n": 2})
        found.append(await anext(pieces))
        log.show("job.progress", "a", None, {"n": 3})
        log.add("job.completed", "a", None, {})
        found.append(await anext(pieces))
        now[0] += PROGRESS_S
        log.add("job.started", "b", None, {})
        found.append(await anext(pieces))
        await pieces.aclose()
        return found

    _, first, second, third = (piece.decode() for piece in asyncio.run(read()))
    assert (first.count("job.progress"), '"n":2' in first) == (1, True)
    assert "job.progress" not in second
    assert "job.completed" in second
    assert "job.progress" not in third


def test_a_silent_stream_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgsim.service.events.HEARTBEAT_S", 0.01)
    assert drawn(EventLog(), "", 2)[1] == COMMENT


def test_a_client_comes_back_and_misses_nothing(one: Served) -> None:
    with one.http.stream("GET", "/v1/events") as stream:
        reader = events(stream.iter_lines())
        job = one.submit()["id"]
        last = next(seen for seen, name, data in reader if name == "job.submitted" and data["job"]["id"] == job)
    one.until(job)
    others = [one.submit(seed=seed, wait=30)["id"] for seed in (1, 2)]
    with one.http.stream("GET", "/v1/events", headers={"Last-Event-ID": last}) as stream:
        ended = []
        for _, name, data in events(stream.iter_lines()):
            if name == "job.completed":
                ended.append(data["job"]["id"])
            if len(ended) == 3:
                break
    assert ended == [job, *others]


def test_a_job_that_has_ended_ends_its_stream_at_once(one: Served) -> None:
    job = one.submit(wait=30)["id"]
    for _ in range(2):
        found = one.until(job)
        assert found[-1][0] == "job.completed"
        assert found[-1][1]["job"]["state"] == "completed"


def test_a_tenant_follows_its_own_jobs(one: Served) -> None:
    with one.client(token(one, "operator", "acme")) as acme, one.client(token(one, "operator", "other")) as other:
        with acme.stream("GET", "/v1/events") as stream:
            reader = events(stream.iter_lines())
            theirs = one.submit(http=other, wait=30, seed=1)["id"]
            own = one.submit(http=acme, wait=30, seed=2)["id"]
            seen = []
            for _, name, data in reader:
                seen.append(data["job"]["id"])
                if name == "job.completed":
                    break
        assert set(seen) == {own}
        for path in ("", "/events", "/result", "/summary", "/logs", "/replicates/0"):
            assert acme.get(f"/v1/jobs/{theirs}{path}").status_code == 404
        assert [job["id"] for job in acme.get("/v1/jobs").json()["jobs"]] == [own]


READER = """
import sys, httpx
url, token, count = sys.argv[1:]
with httpx.Client(headers={"Authorization": "Bearer " + token}, timeout=120) as http:
    with http.stream("GET", url + "/v1/events") as stream:
        ended = 0
        for line in stream.iter_lines():
            if line.startswith("retry"):
                print("here", flush=True)
            ended += line == "event: job.completed"
            if ended == int(count):
                print("all", flush=True)
                break
"""


def test_a_client_that_is_stopped_slows_nobody_and_loses_no_end(one: Served) -> None:
    jobs = 400
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, one.running.url, token(one, "viewer"), str(jobs)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdout is not None
    try:
        assert reader.stdout.readline() == "here\n"
        os.kill(reader.pid, signal.SIGSTOP)
        for seed in range(jobs):
            one.submit(seed=seed, replicates=1, wait=30)
        os.kill(reader.pid, signal.SIGCONT)
        assert reader.stdout.readline() == "all\n"
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


def test_close_ends_fifty_streams_one_of_which_is_stopped() -> None:
    with served(with_tokens=True) as one:
        text = token(one, "viewer")
        stopped = subprocess.Popen(
            [sys.executable, "-c", READER, one.running.url, text, "-1"], stdout=subprocess.PIPE, text=True
        )
        assert stopped.stdout is not None
        clients = [one.client(text) for _ in range(50)]
        streams = [client.stream("GET", "/v1/events") for client in clients]
        try:
            assert stopped.stdout.readline() == "here\n"
            os.kill(stopped.pid, signal.SIGSTOP)
            for stream in streams:
                next(stream.__enter__().iter_lines())
            for seed in range(20):
                one.submit(seed=seed, replicates=1, wait=30)
            began = time.monotonic()
            one.running.close()
            assert (
                time.monotonic() - began < 5.0
            )  # within one second when the machine is quiet; see docs/explanation/benchmarks.md
        finally:
            for stream in streams:
                stream.__exit__(None, None, None)
            for client in clients:
                client.close()
            stopped.kill()
            stopped.wait()
            stopped.stdout.close()


def test_the_streams_are_told_what_the_engine_does(one: Served) -> None:
    job = one.submit("one_draw", replicates=100_000_000)
    with one.http.stream("GET", "/v1/events") as stream:
        told = (data for _, name, data in events(stream.iter_lines()) if name == "engine")
        found = next(data for data in told if data["replicates_per_second"] > 0)
    assert found["states"] == {"running": 1}
    assert {worker["job"] for worker in found["workers"]} == {job["id"]}
    now = one.job(job["id"])
    assert now["submitted_at"] <= now["started_at"]
    one.http.post(f"/v1/jobs/{job['id']}/cancel")


def test_a_stream_ends_when_its_token_is_revoked(one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgsim.service.events.HEARTBEAT_S", 0.01)
    text = token(one, "viewer")
    with one.client(text) as client, client.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        assert one.engine.store.history.revoke_token(text.split("_")[1], "2026-01-01T00:00:00.000000+00:00")
        assert all("job" not in line for line in lines)  # to its end


def test_a_job_whose_end_left_the_ring_is_told_of_it(one: Served) -> None:
    job = one.submit(wait=30)["id"]
    one.until(job)
    for last in ("lost-1", f"{one.service.events.epoch}-999999", f"{one.service.events.epoch}-2"):
        with one.http.stream("GET", f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last}) as stream:
            assert "job.completed" in [name for _, name, _ in events(stream.iter_lines())]


def test_close_answers_those_who_wait_for_a_job(one: Served) -> None:
    answers = []

    def wait() -> None:
        with one.client(token(one, "operator")) as client:
            body = {"simulation": "spin", "replicates": 1, "parameters": {"iterations": 10**12}}
            answers.append(client.post("/v1/jobs", json=body, headers={"Prefer": "wait=50"}))

    waiting = threading.Thread(target=wait)
    with one.http.stream("GET", "/v1/events") as stream:
        following = events(stream.iter_lines())
        waiting.start()
        next(name for _, name, _ in following if name == "job.started")
        one.running.close()
    waiting.join()
    assert (answers[0].status_code, answers[0].json()["state"]) == (202, "running")
