"""Jobs that do nothing: how many a second, and how long one takes, for bgsim and its peers.

In each round every peer starts, runs its no-ops and stops, so that no idle peer's threads are there while another is
measured. What is printed is the time of one job: of many together, where 50 us are 20,000 a second, and of one alone.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

from benchmarks.harness import Case, report
from benchmarks.peers import DURABLE_PEERS, PEERS, Peer, noop_simulation

ROUNDS = 3
WARMUP_JOBS = 50


def measure(peer: Peer, many: Case, one: Case) -> None:
    """Run one round of a peer."""
    peer.start()
    try:
        peer.run_many(WARMUP_JOBS)
        gc.collect()
        began = time.perf_counter()
        total = peer.run_many(peer.jobs)
        many.seconds.append((time.perf_counter() - began) / peer.jobs)
        assert total == peer.jobs * (peer.jobs - 1) // 2
        for _ in range(peer.singles):
            began = time.perf_counter()
            peer.run_one()
            one.seconds.append(time.perf_counter() - began)
    finally:
        peer.stop()


def compare_peers(title: str, kinds: Sequence[type[Peer]]) -> None:
    """Measure the peers that are installed in turn, and report throughput and latency."""
    peers = [kind() for kind in kinds if kind.available()]
    throughput = [Case(f"{peer.name} ({peer.jobs:,} jobs)", peer.stop) for peer in peers]
    latency = [Case(peer.name, peer.stop) for peer in peers]
    for _ in range(ROUNDS):
        for peer, many, one in zip(peers, throughput, latency, strict=True):
            measure(peer, many, one)
    report(f"{title}: many no-ops", throughput)
    report(f"{title}: one no-op, submitted and waited for", latency)


def main() -> None:
    noop_simulation.warmup({"n": 0})
    compare_peers("results in memory", PEERS)
    compare_peers("results durable", DURABLE_PEERS)


if __name__ == "__main__":
    main()
