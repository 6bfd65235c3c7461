"""Requests while both cores compute: how long a job's submission takes over HTTP, and how soon a stream ends.

The peer is Starlette answering with a constant (`/livez`), by the same uvicorn in the same thread: what the network,
the server and the busy machine cost by themselves. The load is open: a submission is due each 60 ms, and the peer
half-way between two, whether or not the one before is answered, so a slow answer is not hidden by fewer requests.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import bgsim
import bgsim.service
from benchmarks.harness import Case, report
from bgsim.config import Nice
from bgsim.models.options import asian_call
from bgsim.service.settings import RoleLimits
from bgsim.ui.serve_cli import SWITCH_S, WORKER_NICE

A_MINUTE = 1000
SECONDS = 60.0
STREAMS = 50

_CLIENT = "import sys; from benchmarks.bench_service import client; client(*sys.argv[1:])"


@bgsim.simulation(outputs={"x": "f8"})
def draw(p: Any, rng: Any) -> float:
    return rng.random()


@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def holds_the_gil(p: Any, rng: Any) -> float:
    total = 0.0
    for _ in range(2000):
        total += rng.random()
    return total


def load(url: str, token: str, requests: list[tuple[str, str, Any]], found: dict[str, list[float]]) -> None:
    """Send requests by turns, each so often a minute, over a few connections; note how late each answer was."""
    host = url.removeprefix("http://")
    idle = [http.client.HTTPConnection(host, timeout=60) for _ in range(8)]
    failures: list[str] = []
    threads = []
    begin = time.perf_counter()

    def send(due: float, name: str, connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> None:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, body=json.dumps(body) if body else None, headers=headers)
        answer = connection.getresponse()
        answer.read()
        found[name].append(time.perf_counter() - due)
        if answer.status not in (200, 202):
            failures.append(f"{answer.status} {path}")
        idle.append(connection)

    for number in range(int(len(requests) * A_MINUTE * SECONDS / 60)):
        due = begin + number * 60 / A_MINUTE / len(requests)
        time.sleep(max(0.0, due - time.perf_counter()))
        name, method, body = requests[number % len(requests)]
        path = "/livez" if name == "a constant answer" else "/v1/jobs"
        body = body and {**body, "seed": number}
        connection = idle.pop(0) if idle else http.client.HTTPConnection(host, timeout=60)
        thread = threading.Thread(target=send, args=(due, name, connection, method, path, body))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


def client(url: str, token: str) -> None:
    """Be the other process: send the load, and print what it took as JSON."""
    ours, floor = "POST /v1/jobs", "a constant answer"
    found: dict[str, list[float]] = {ours: [], floor: []}
    body = {"simulation": "draw", "replicates": 100, "cache": "off"}
    load(url, token, [(ours, "POST", body), (floor, "GET", None)], found)
    print(json.dumps(found))


def submissions(title: str, background: bgsim.Simulation, replicates: int, nice: Nice = WORKER_NICE) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        bgsim.Engine(Path(folder) / "runs.db", worker_nice=nice, max_concurrent_simulations=8) as engine,
    ):
        service = bgsim.service.serve(engine, port=0)
        service.service.simulations.add(draw)
        draw.warmup()
        jobs = [engine.submit(background, replicates=replicates, seed=n, cache="off") for n in range(2)]
        while not all(job.status().replicates_completed for job in jobs):
            time.sleep(0.05)
        done = subprocess.run(
            [sys.executable, "-c", _CLIENT, service.url, service.token], capture_output=True, text=True, check=True
        )
        assert all(not job.done() for job in jobs), "the cores did not compute all the time"
        found = json.loads(done.stdout)
        cases = [Case(name, bool, seconds=seconds) for name, seconds in found.items()]
        report(f"{A_MINUTE} submissions a minute for {SECONDS:g} s, while {title}", cases, unit="ms")
        for job in jobs:
            job.cancel()
        service.close()


def streams() -> None:
    with bgsim.Engine() as engine:
        service = bgsim.service.serve(engine, port=0)
        host = service.url.removeprefix("http://")
        connections = []
        for _ in range(STREAMS):
            connection = http.client.HTTPConnection(host)
            connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {service.token}"})
            assert connection.getresponse().readline().startswith(b"retry")
            connections.append(connection)
        began = time.perf_counter()
        service.close()
        print(f"\nclose() with {STREAMS} open streams: {1000 * (time.perf_counter() - began):.0f} ms")
        for connection in connections:
            connection.close()


def memory() -> None:
    """Submit 100,000 jobs over HTTP, and print the memory after each tenth of them."""
    with tempfile.TemporaryDirectory() as folder, bgsim.Engine(Path(folder) / "runs.db") as engine:
        service = bgsim.service.serve(engine, port=0, roles={"admin": RoleLimits(requests_per_minute=10**9)})
        service.service.simulations.add(draw)
        connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
        headers = {"Authorization": f"Bearer {service.token}", "Content-Type": "application/json"}
        sizes = []
        began = time.perf_counter()
        for number in range(100_000):
            body = json.dumps({"simulation": "draw", "replicates": 10, "seed": number})
            while True:
                connection.request("POST", "/v1/jobs", body=body, headers=headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status in (200, 202):
                    break
                assert answer.status in (429, 503), answer.status
                engine.drain()
            if number % 10_000 == 9_999:
                engine.drain()
                sizes.append(_resident())
        print(
            f"\n100,000 jobs over HTTP in {time.perf_counter() - began:.0f} s; resident MB after each tenth: "
            f"{', '.join(f'{size:.0f}' for size in sizes)}"
        )
        service.close()


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    submissions("both cores run kernels", asian_call, 300_000_000)
    submissions('both cores run kernels, with worker_nice="idle"', asian_call, 300_000_000, "idle")
    sys.setswitchinterval(SWITCH_S)  # as `bgsim serve` does
    submissions("both cores run plain Python, which holds the GIL", holds_the_gil, 10_000_000)
    streams()
    memory()
