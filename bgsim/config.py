"""The settings of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from bgsim.checks import check_integer, check_number, check_word, normal_names, refused
from bgsim.errors import InvalidInputError, nearest
from bgsim.storage.base import DEFAULT_MAX_AGE_S, DEFAULT_MAX_BYTES
from bgsim.storage.limits import checked_max_age, checked_max_bytes
from bgsim.tables import Table, Tabular
from bgsim.threads.cores import cores

IdentityMode: TypeAlias = Literal["warn", "strict"]
IDENTITY_MODES = get_args(IdentityMode)

Nice: TypeAlias = int | Literal["idle"]


class EngineSettings(TypedDict, total=False):
    """The attributes of `EngineConfig` as keywords of an engine, for checkers of types."""

    workers: int
    worker_nice: Nice
    max_concurrent_simulations: int
    max_queue_size: int
    chunk_target_ms: float
    progress_update_interval_ms: float
    max_completed_age_seconds: float
    max_result_bytes: int
    auto_store_completed: bool
    checkpoint_interval_s: float | None
    max_storage_bytes: int
    max_age_seconds: float
    limits: Mapping[str, int]
    rate_limits: Mapping[str, tuple[int, float]]
    age_after_s: float | None
    stalled_after_s: float
    alert_failed: int
    alert_waiting: int
    journal: bool
    recover: bool
    run_schedules: bool
    identity: IdentityMode
    immediate: bool


@dataclass(frozen=True, slots=True, repr=False)
class EngineConfig(Tabular):
    """Settings of an `Engine`; each is also a keyword of it.

    Attributes
    ----------
    workers : int
        Threads that run kernels; by default the cores that this process may use.
    worker_nice : int or "idle"
        By how much the system prefers other threads to these, 0 to 19, on Linux: a window, a notebook or a service then
        answers sooner while all cores compute. Other programs are preferred, too. With "idle" they compute only when a
        core has nothing else to do: soonest answers, for a machine on which no other program computes.
    max_concurrent_simulations : int
        How many jobs run at a time, sharing the workers.
    max_queue_size : int
        How many more may wait.
    chunk_target_ms : float
        How long a chunk of replicates should take: a more urgent job waits about that long for a worker.
    progress_update_interval_ms : float
        Between two progress updates of a job.
    max_completed_age_seconds : float
        How long the engine remembers how a job ended.
    max_result_bytes : int
        A job whose result would be larger is refused before it starts.
    auto_store_completed : bool
        Whether results go to the store.
    checkpoint_interval_s : float or None
        How often, at least, the finished replicates of a running job go to a store that outlives the process, so that
        a crash costs no more than this; less often where that would take more than 2 % of the time. A young job's go
        more often. None: only at the end.
    max_storage_bytes : int
        Bytes that a store may take that the engine opens; beyond them the least recently used results go.
    max_age_seconds : float
        Results in such a store that were last used longer ago go as well; infinite by default.
    limits : mapping of str to int
        How many jobs of a group may run at a time.
    rate_limits : mapping of str to (int, float)
        How many jobs of a group may start, and within how many seconds.
    age_after_s : float or None
        A queued job moves up one priority each time it has waited this long, also among those that run.
    stalled_after_s : float
        A running job none of whose counters has moved for this long is reported as stalled.
    alert_failed, alert_waiting : int
        `Engine.health` alerts when more jobs than this have failed, or are waiting.
    journal : bool
        Whether the store keeps what is pending, dead letters and schedules; otherwise they end with the process.
    recover : bool
        Whether what a crash has interrupted is submitted again when the engine begins.
    run_schedules : bool
        Whether the schedules that the store keeps are run.
    identity : {"warn", "strict"}
        What becomes of a simulation that reaches what cannot be followed: it runs, with a warning, and its results are
        neither stored nor shared; or it is refused.
    immediate : bool
        No threads: jobs run in the caller's, within `Engine.submit` or one `Engine.step` at a time.
    """

    workers: int = field(default_factory=cores)
    worker_nice: Nice = 0
    max_concurrent_simulations: int = 3
    max_queue_size: int = 1000
    chunk_target_ms: float = 20.0
    progress_update_interval_ms: float = 500.0
    max_completed_age_seconds: float = 3600.0
    max_result_bytes: int = 4 * 2**30
    auto_store_completed: bool = True
    checkpoint_interval_s: float | None = 30.0
    max_storage_bytes: int = DEFAULT_MAX_BYTES
    max_age_seconds: float = DEFAULT_MAX_AGE_S
    limits: Mapping[str, int] = field(default_factory=dict)
    rate_limits: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    age_after_s: float | None = None
    stalled_after_s: float = 60.0
    alert_failed: int = 10
    alert_waiting: int = 50
    journal: bool = True
    recover: bool = False
    run_schedules: bool = True
    identity: IdentityMode = "warn"
    immediate: bool = False

    def __post_init__(self) -> None:
        for name in (
            "workers",
            "max_concurrent_simulations",
            "max_queue_size",
            "max_result_bytes",
        ):
            object.__setattr__(self, name, check_integer(name, getattr(self, name)))
        if not (isinstance(self.worker_nice, str) and self.worker_nice == "idle"):
            nice = check_integer(
                "worker_nice", self.worker_nice, least=0, most=19, allowed='an integer from 0 to 19, or "idle"'
            )
            object.__setattr__(self, "worker_nice", nice)
        for name in (
            "chunk_target_ms",
            "progress_update_interval_ms",
            "max_completed_age_seconds",
            "stalled_after_s",
        ):
            object.__setattr__(self, name, check_number(name, getattr(self, name), "a number above 0", zero=False))
        object.__setattr__(self, "max_storage_bytes", checked_max_bytes("max_storage_bytes", self.max_storage_bytes))
        object.__setattr__(self, "max_age_seconds", checked_max_age("max_age_seconds", self.max_age_seconds))
        if self.checkpoint_interval_s is not None:
            interval_s = check_number(
                "checkpoint_interval_s", self.checkpoint_interval_s, "a number above 0, or None", zero=False
            )
            object.__setattr__(self, "checkpoint_interval_s", interval_s)
        for name in ("limits", "rate_limits"):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise refused(name, given, "a mapping of groups to limits")
            object.__setattr__(self, name, normal_names(name, given))
        check_word("identity", self.identity, IDENTITY_MODES)

    def __repr__(self) -> str:
        default = EngineConfig()
        given = [(name, getattr(self, name)) for name in (f.name for f in fields(self))]
        changed = [f"{name}={value!r}" for name, value in given if value != getattr(default, name)]
        return f"EngineConfig({', '.join(changed)})"

    def _table(self) -> Table:
        default = EngineConfig()
        names = [f.name for f in fields(self)]
        rows = [(name, getattr(self, name), getattr(default, name)) for name in names]
        changed = [(n, _plain(mine), _plain(its) if mine != its else None) for n, mine, its in rows]
        return Table(("setting", "value", "default"), changed, most=None).trimmed()

    @classmethod
    def of(cls, config: EngineConfig | None, settings: Mapping[str, Any]) -> EngineConfig:
        """Return a configuration with these settings changed.

        Raises
        ------
        InvalidInputError
            If there is no such setting, naming the nearest, or a value is not allowed.
        """
        known = [f.name for f in fields(cls)]
        for name, value in settings.items():
            if name not in known:
                elsewhere = (
                    "; a simulation's parameters are one argument, a mapping; a job's options go to Engine.submit"
                )
                near = nearest(name, known)
                raise InvalidInputError(
                    f"the engine has no setting {name!r}{near} (it has {', '.join(known)}){'' if near else elsewhere}",
                    field=name,
                    value=value,
                )
        if config is not None and not isinstance(config, cls):
            raise refused("config", config, "an EngineConfig")
        base = {name: getattr(config, name) for name in known} if config is not None else {}
        return cls(**{**base, **settings})


def _plain(value: object) -> object:
    """Return a setting as a table has it: nothing where it is no limit."""
    return "none" if value is None or value == {} else value
