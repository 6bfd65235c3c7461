"""A service over a real engine and a real socket, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from kernels import Walk, fragile, one_draw, plain_walk, spin, walk
from paths import ROOT, SUPPORT

import bgsim
import bgsim.service
from bgsim.service.server import RunningService
from bgsim.service.tokens import new_token
from bgsim.testing import parts

WAIT_S = 60.0

SIMULATIONS = (walk, plain_walk, one_draw, spin, fragile)

__all__ = ["SIMULATIONS", "Served", "Walk", "serve_command", "served", "token"]


class Served:
    """A service that runs, and a client with its token.

    Attributes
    ----------
    engine, running
    http : httpx.Client
    """

    def __init__(self, engine: bgsim.Engine, running: RunningService, text: str) -> None:
        self.engine = engine
        self.running = running
        self.service = running.service
        self.http = self.client(text)

    def client(self, text: str = "", **headers: str) -> httpx.Client:
        """Return a client with a token."""
        authorization = {"Authorization": f"Bearer {text}"} if text else {}
        return httpx.Client(base_url=self.running.url, headers=authorization | headers, timeout=WAIT_S)

    def submit(
        self, simulation: str = "one_draw", *, wait: float = 0, http: httpx.Client | None = None, **body: Any
    ) -> Any:
        """Submit a job and return it; with `wait`, once it has ended."""
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        body = {"simulation": simulation, "replicates": 100, **body}
        answer = (http or self.http).post("/v1/jobs", json=body, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def job(self, job_id: str) -> Any:
        """Return a job as it is now."""
        answer = self.http.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until_some_are_done(self, job_id: str) -> None:
        """Follow a job until some of its replicates are finished: a job that compiles has progress, too."""
        with self.http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            assert any(data["job"]["replicates_completed"] for _, _, data in events(stream.iter_lines()))

    def wait_until_told(self) -> None:
        """Return when the service has been told of all that the engine has done so far."""
        behind = threading.Event()
        parts(self.engine).bus.call(behind.set)
        assert behind.wait(WAIT_S)

    def until(self, job_id: str, *names: str) -> list[tuple[str, Any]]:
        """Follow a job until one of these events, or its end; return name and data of each."""
        found = []
        with self.http.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            for _, name, data in events(stream.iter_lines()):
                found.append((name, data))
                if name in names:
                    break
        return found


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield id, name and data of server-sent events."""
    seen = ""
    name, data = "", ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            seen = value
        elif field == "event":
            name = value
        elif field == "data":
            data = value
        elif not line and name:
            yield seen, name, json.loads(data)
            name, data = "", ""


@contextmanager
def served(
    store: Any = None, *, with_tokens: bool = False, engine: dict[str, Any] | None = None, **settings: Any
) -> Iterator[Served]:
    """Serve an engine with the tests' simulations on a free port."""
    with bgsim.Engine(store, workers=2, **(engine or {})) as made:
        text = new_token(made.store.history, "admin") if with_tokens else ""
        running = bgsim.service.serve(made, port=0, **settings)
        try:
            for simulation in SIMULATIONS:
                running.service.simulations.add(simulation)
            one = Served(made, running, text or running.token)
            with one.http:
                yield one
        finally:
            running.close()
            for job in made.jobs():
                job.cancel()


def token(one: Served, role: str, tenant: str = "") -> str:
    """Return a new token."""
    return new_token(one.engine.store.history, role, tenant=tenant)


@contextmanager
def serve_command(
    store: Path, *more: str, token: str = "", command: list[str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """Run ``bgsim serve``, or another command that does, in a process of its own.

    Give it and a client: with a token, or, for a store without tokens, with the cookie of the one-time token.
    """
    folders = os.pathsep.join([str(SUPPORT), str(ROOT)])
    process = subprocess.Popen(
        command or [sys.executable, "-m", "bgsim", "serve", str(store), "--port", "0", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": folders, "PYTHONFAULTHANDLER": "1"},
        cwd=SUPPORT,
    )
    errors: list[str] = []
    assert process.stderr is not None
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()))
    reader.start()
    try:
        address = process.stdout.readline().strip()
        found = re.fullmatch(r"(http://[^/]+[^?]*)/(\?token=(.*))?", address)
        assert found, (address, "".join(errors))
        headers = {"Authorization": f"Bearer {token}"} if token else {"Sec-Fetch-Site": "same-origin"}
        with httpx.Client(base_url=found[1], timeout=WAIT_S, headers=headers) as http:
            if not token:
                assert http.get("/", params={"token": found[3]}).status_code == 303
            yield process, http
    except BaseException:
        if process.poll() is None:
            process.send_signal(signal.SIGABRT)  # it writes what each thread of it does
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        raise
    finally:
        process.kill()
        process.wait()
        reader.join()
        print("".join(errors))  # shown of a test that fails
        process.stdout.close()
        process.stderr.close()
