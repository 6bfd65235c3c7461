"""What is answered of a job between its end and the row that tells of it is what is answered ever after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager

import pytest
from served import WAIT_S, Served, served

from bgsim.testing import parts

PATHS = ("", "/result?count=3", "/result?partial=true&count=3", "/summary?histogram={output}", "/logs")


@contextmanager
def told_of_nothing(one: Served) -> Iterator[None]:
    """Hold the thread that tells the service of what its engine does."""
    is_held, go_on = threading.Event(), threading.Event()
    parts(one.engine).bus.call(lambda: (is_held.set(), go_on.wait(WAIT_S)))
    assert is_held.wait(WAIT_S)
    try:
        yield
    finally:
        go_on.set()


def ended(one: Served, how: str, cache: str) -> str:
    """Have a job end without the service being told; return its id."""
    body: dict[str, object] = {"replicates": 200_000, "cache": cache}
    if how == "cancelled before it began":
        job = one.submit(delay_s=3600, **body)
    elif how == "failed":
        job = one.submit("fragile", parameters={"fails_at": 1e-5}, **body)
    elif how == "cancelled in the middle":
        job = one.submit("plain_walk", parameters={"steps": 1}, **body)
    else:
        job = one.submit(**body)
    live = one.service.recorder.live(job["id"])
    assert live is not None
    if how == "cancelled in the middle":
        while not live.job.partial().replicates:
            pass
    if how.startswith("cancelled"):
        one.http.post(f"/v1/jobs/{job['id']}/cancel")
    assert wait([live.job], WAIT_S).done
    return str(job["id"])


@pytest.mark.parametrize("cache", ["use", "off"])
@pytest.mark.parametrize("how", ["cancelled before it began", "cancelled in the middle", "failed", "completed"])
def test_what_is_answered_of_an_ended_job_does_not_depend_on_what_is_written(how: str, cache: str) -> None:
    with served() as one:
        output = "end" if how == "cancelled in the middle" else "x"
        with told_of_nothing(one):
            job_id = ended(one, how, cache)
            paths = [f"/v1/jobs/{job_id}{path.format(output=output)}" for path in PATHS]
            before = {path: one.http.get(path) for path in paths}
        assert one.job(job_id)["state"] == how.partition(" ")[0]
        one.wait_until_told()
        assert one.service.recorder.drain(WAIT_S)
        for path, answer in before.items():
            after = one.http.get(path)
            assert (path, after.status_code, after.json()) == (path, answer.status_code, answer.json())


@pytest.mark.parametrize("how", ["cancelled before it began", "failed", "completed"])
def test_a_list_of_a_state_has_a_job_whose_end_is_not_written_yet(how: str) -> None:
    with served() as one:
        with told_of_nothing(one):
            job_id, state = ended(one, how, "use"), how.partition(" ")[0]
            for asked, expected in ((state, [job_id]), ("queued,running", [])):
                found = one.http.get("/v1/jobs", params={"state": asked}).json()["jobs"]
                assert [job["id"] for job in found] == expected
        one.wait_until_told()
