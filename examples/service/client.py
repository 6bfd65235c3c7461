"""Submit a simulation over HTTP, follow it, and fetch its result.

    python examples/service/client.py http://127.0.0.1:8517 bgs_...

Needs httpx. The token is one that ``bgsim token new --store runs.db --role operator`` has printed.
"""

from __future__ import annotations

import io
import json
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np


def submit(http: httpx.Client, **job: Any) -> dict[str, Any]:
    """Submit a job. With a key of its own the request may be sent again after an error: it stays one job."""
    answer = http.post("/v1/jobs", json=job, headers={"Idempotency-Key": str(uuid.uuid4())})
    if answer.is_error:
        raise SystemExit(f"{answer.status_code}: {answer.json()['detail']}")
    return answer.json()


def follow(http: httpx.Client, job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and job of each event, to the end of the job."""
    name = ""
    with http.stream("GET", job["links"]["events"], timeout=None) as stream:
        for line in stream.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data" and name.startswith("job."):
                yield name, json.loads(value)["job"]


def fetch(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a result as arrays."""
    answer = http.get(f"{job['links']['self']}/result", headers={"Accept": "application/x-npz"})
    answer.raise_for_status()
    return dict(np.load(io.BytesIO(answer.content)))


def main(url: str, token: str) -> None:
    """Price an Asian option."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as http:
        job = submit(http, simulation="asian_call", parameters={"strike": 105.0}, replicates=500_000, tags=["example"])
        for name, now in follow(http, job):
            print(f"{name:14} {now['fraction']:6.1%} {now['phase']}")
        payoff = fetch(http, job)["payoff"]
        print(f"price {payoff.mean():.4f} ± {payoff.std(ddof=1) / len(payoff) ** 0.5:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
