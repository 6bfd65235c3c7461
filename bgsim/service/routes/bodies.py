"""What requests about jobs may say: each is checked by its type, and described by it in the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bgsim.service.views import JobView

PriorityWord = Literal["low", "normal", "high", "critical"]
Seconds = Annotated[float, Meta(ge=0)]
Duration = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Tag = Annotated[str, Meta(min_length=1, max_length=100)]


class RetryBody(msgspec.Struct, forbid_unknown_fields=True):
    """When a failure is tried again."""

    retries: Annotated[int, Meta(ge=0, le=1000)] = 3
    backoff: Literal["exponential", "fixed"] = "exponential"
    delay_s: Seconds = 2.0
    max_delay_s: Seconds = 300.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0


class WebhookBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Who is told when the job ends; the secret is never shown again."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    secret: str = ""
    events: list[Literal["job.completed", "job.failed", "job.cancelled", "job.dead_lettered"]] = []


class PrecisionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How well means are to be known, in place of a number of replicates; as `bgsim.Precision` has it."""

    output: Name | Annotated[list[Name], Meta(min_length=1, max_length=100)]
    standard_error: Duration | None = None
    relative: Duration | None = None
    half_width: Duration | None = None
    confidence: Annotated[float, Meta(ge=0.5, le=0.9999)] = 0.95
    minimum: Annotated[int, Meta(ge=2)] = 4096
    maximum: Annotated[int, Meta(ge=2)] = 10_000_000
    rule: Literal["student", "anytime"] = "student"
    bounds: tuple[float, float] | None = None


class JobOptionsBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a job may be asked for with, besides what it computes; as `Engine.submit` has it.

    Give either `replicates` or `precision`.
    """

    replicates: Annotated[int, Meta(ge=1)] | None = None
    precision: PrecisionBody | None = None
    keep: Literal["columns", "summary"] = "columns"
    seed: Annotated[int, Meta(ge=0)] = 0
    priority: PriorityWord | None = None
    cache: Literal["use", "refresh", "off", "only"] = "use"
    allow_deduplication: bool = True
    workspace: Name | None = None
    group: Name | None = None
    delay_s: Seconds = 0.0
    at: datetime | None = None
    timeout_s: Duration | None = None
    queue_timeout_s: Duration | None = None
    deadline_s: Duration | None = None
    retry: RetryBody | None = None
    tags: Annotated[list[Tag], Meta(max_length=16)] = []


class JobBody(JobOptionsBody, forbid_unknown_fields=True, kw_only=True):
    """A job that is asked for."""

    simulation: Name
    parameters: dict[str, Any] = {}
    supersede: Name | None = None
    debounce_s: Seconds | None = None
    webhook: WebhookBody | None = None


class JobChanges(msgspec.Struct, forbid_unknown_fields=True):
    """What may be changed of a job."""

    priority: PriorityWord | None = None
    tags: Annotated[list[Tag], Meta(max_length=16)] | None = None


class RetryChanges(msgspec.Struct, forbid_unknown_fields=True):
    """What is different when a job runs again; what is left out stays."""

    parameters: dict[str, Any] | None = None
    replicates: Annotated[int, Meta(ge=1)] | None = None
    seed: Annotated[int, Meta(ge=0)] | None = None
    timeout_s: Duration | None = None


class JobsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which jobs are listed."""

    state: str = ""
    simulation: str = ""
    tag: str = ""
    since: str = ""
    until: str = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: str = ""


class JobList(msgspec.Struct):
    """A page of jobs, the newest first."""

    jobs: list[JobView]
    next: str | None = None
