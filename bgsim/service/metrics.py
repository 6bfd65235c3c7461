"""Metrics for Prometheus: read when they are scraped, but for what can only be counted as it happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bgsim.job_status import JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgsim.engine import Engine
    from bgsim.service.recorder import Live

CONTENT_TYPE = CONTENT_TYPE_LATEST

_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT")

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200)
_HTTP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)


class Metrics:
    """The metrics of a service; no label is ever an id. Any thread may call any method.

    Parameters
    ----------
    engine : Engine
    clients : callable
        Returns how many follow events.
    """

    def __init__(self, engine: Engine, clients: Callable[[], int]) -> None:
        self._engine = engine
        self._clients = clients
        self._registry = registry = CollectorRegistry()
        self._ended = Counter("bgsim_jobs", "Jobs that have ended", ["simulation", "outcome"], registry=registry)
        self._replicates = Counter("bgsim_replicates", "Replicates computed", ["simulation"], registry=registry)
        self._from_store = Counter("bgsim_replicates_from_store", "Replicates that the store had", registry=registry)
        self._wait = Histogram(
            "bgsim_queue_wait_seconds", "From submission to start", buckets=_SECONDS, registry=registry
        )
        self._run = Histogram("bgsim_run_seconds", "From start to end", buckets=_SECONDS, registry=registry)
        self._requests = Counter(
            "bgsim_http_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "bgsim_http_seconds", "To answer a request", ["method", "route"], buckets=_HTTP_SECONDS, registry=registry
        )
        registry.register(self)  # it collects

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in _METHODS else "other"  # a client may invent any number of them
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def job(self, event: str, live: Live) -> None:
        """Count what happened to a job."""
        job, row = live.job, live.row
        if event == "job.started" and job.started_at is not None:
            self._wait.observe(max(0.0, job.started_at - job.submitted_at))
        if row.state:
            self._ended.labels(job.simulation.short_name, row.state).inc()
            self._replicates.labels(job.simulation.short_name).inc(max(0, row.replicates_completed - row.from_store))
            self._from_store.inc(row.from_store)
            if job.started_at is not None and job.finished_at is not None:
                self._run.observe(max(0.0, job.finished_at - job.started_at))

    def text(self) -> bytes:
        """Return the metrics in Prometheus's format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Any]:
        """Yield what is read now; prometheus_client calls it."""
        engine = self._engine
        stats = engine.stats()
        now = GaugeMetricFamily("bgsim_jobs", "Jobs that have not ended, by state", labels=["state"])
        for state, count in stats.states.items():
            if not JobState(state).is_terminal:
                now.add_metric([state.value], count)
        yield now
        depth = GaugeMetricFamily("bgsim_queue_depth", "Jobs that wait, by priority", labels=["priority"])
        for priority, count in stats.queue.by_priority.items():
            depth.add_metric([priority.lower()], count)
        yield depth
        yield CounterMetricFamily("bgsim_retries", "Failures that were tried again", stats.retries)
        gauges = {
            "bgsim_workers": ("Cores that compute", engine.backend.cores),
            "bgsim_workers_busy": (
                "Of them, those that compute now",
                min(engine.backend.cores, len([w for w in engine.at_work() if w.job])),  # a backend has more lanes
            ),
            "bgsim_replicates_per_second": ("Of all running jobs", stats.replicates_per_second),
            "bgsim_dead_letters": ("Requests that have failed for good", len(engine.dead_letters())),
            "bgsim_store_bytes": ("That stored results take", stats.stored_bytes or 0),
            "bgsim_store_results": ("Results in the store", stats.stored_results or 0),
            "bgsim_sse_clients": ("Clients that follow events", self._clients()),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value)
