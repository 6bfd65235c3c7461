"""What `make demo-service` runs: the service with its page, with jobs at work. Ctrl-C ends it."""

from __future__ import annotations

import threading
from pathlib import Path

import bgsim
import bgsim.service

STORE = Path(".demo") / "service.db"


def submit_jobs(engine: bgsim.Engine) -> None:
    """Submit jobs of several kinds: some end soon, some run for minutes, one fails, one waits."""
    engine.submit("asian_call", {"strike": 95.0}, replicates=200_000, tags=["demo"])
    engine.submit("asian_call", {"strike": 105.0}, replicates=200_000, tags=["demo"])
    engine.submit("heston_option", replicates=1_000_000, tags=["demo"])
    engine.submit("mmc", replicates=20_000_000, priority="high", tags=["demo", "long"])
    engine.submit("european_option", replicates=30_000_000, tags=["demo", "long"])
    engine.submit("asian_option", {"steps": 500}, replicates=3_000_000, priority="low", tags=["demo", "long"])
    engine.submit("barrier_option", replicates=1_000_000, delay_s=60.0, tags=["demo"])
    engine.submit("lookback_option", {"steps": 1000}, replicates=3_000_000, timeout_s=5.0, tags=["demo"])


def main() -> None:
    """Serve until Ctrl-C."""
    STORE.parent.mkdir(exist_ok=True)
    engine = bgsim.Engine(STORE, worker_nice=10)  # requests are answered soon while all cores compute
    service = bgsim.service.serve(engine, port=0)
    try:
        print(service.page_url, flush=True)
        print("Open this address in a browser. Ctrl-C ends the service.", flush=True)
        submit_jobs(engine)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("\nending")
    finally:
        service.close()
        engine.close(timeout_s=0.0)


if __name__ == "__main__":
    main()
