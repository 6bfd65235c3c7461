"""What one call of `Engine.submit` asks for, checked; and its form in the journal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import attrgetter, is_not
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args

import numpy as np

from bgsim.checks import check_integer, check_name, check_seconds, check_tags, check_tenant, check_word, refused
from bgsim.defaults import check_retry
from bgsim.errors import InvalidInputError, NotStoredError, nearest
from bgsim.parameters.keep import KEEPS, Keep
from bgsim.parameters.parameter_set import ParameterSet, ResultKey
from bgsim.precision import Precision
from bgsim.priority import Priority, PriorityName
from bgsim.queue.request import check_debounce
from bgsim.retry import Retry
from bgsim.storage.journal import PendingRequest
from bgsim.storage.times import time_text
from bgsim.streams import check_seed
from bgsim.summaries.check import check_summarisable
from bgsim.summaries.tallies import summary_bytes

if TYPE_CHECKING:
    from bgsim.kernels.revision import Revision
    from bgsim.simulation import Simulation

CacheMode: TypeAlias = Literal["use", "refresh", "off", "only"]
CACHE_MODES = get_args(CacheMode)

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""No caller waits longer, and no later time can be written down."""

_FROM_ZERO = ("delay_s", "debounce_s", "max_wait_s")
_SECONDS = (*_FROM_ZERO, "timeout_s", "queue_timeout_s", "deadline_s")
_TIMES = ("at", *_SECONDS[1:])


class JobOptions(TypedDict, total=False):
    """The options of a job, for checkers of types: what `submit_many`, `sweep`, `map` and `schedule` take as well."""

    seed: int
    keep: Keep
    priority: Priority | PriorityName | None
    allow_deduplication: bool
    cache: CacheMode
    workspace: str | None
    supersede: str | None
    debounce_s: float | None
    max_wait_s: float | None
    group: str | None
    delay_s: float
    at: datetime | None
    timeout_s: float | None
    queue_timeout_s: float | None
    deadline_s: float | None
    retry: Retry | None
    tags: Sequence[str]
    tenant: str | None


class ChangedOptions(JobOptions, total=False):
    """What `Engine.retry` may change."""

    parameters: Any
    replicates: int | Precision


@dataclass(slots=True, eq=False)
class Request:
    """What the caller asked for, with what the simulation declares where the caller said nothing. Read-only.

    The attributes are the arguments of `Engine.submit`, which documents them.

    Attributes
    ----------
    replicates : int
        The most that may be needed, where a precision is asked for.
    precision : Precision or None
        What says how many replicates are needed, if the caller gave no number.
    urgency : Priority
        The priority, as submitted or as the simulation declares it.
    size_bytes : int
        Of the result, in memory.
    revision : Revision
        What the simulation's code is, as it was looked at for this submission.
    not_followed : str or None
        What of the code cannot be followed: then the result is neither stored nor shared.
    key : ResultKey
        What the result is a function of.
    queue_key : str or None
        Requests with one key share a run; None keeps this one apart.
    is_timed : bool
        Whether it has a delay, a limit of time, or the like.

    Raises
    ------
    InvalidInputError
        Naming the argument, what was given and what is allowed.
    """

    simulation: Simulation
    parameters: ParameterSet
    replicates: int
    seed: int = 0
    keep: str = "columns"
    priority: Priority | str | int | None = None
    allow_deduplication: bool = True
    cache: str = "use"
    workspace: str | None = None
    supersede: str | None = None
    debounce_s: float | None = None
    max_wait_s: float | None = None
    group: str | None = None
    delay_s: float = 0.0
    at: datetime | None = None
    timeout_s: float | None = None
    queue_timeout_s: float | None = None
    deadline_s: float | None = None
    retry: Retry | None = None
    tags: Sequence[str] = ()
    tenant: str | None = None
    precision: Precision | None = field(init=False, default=None)
    urgency: Priority = field(init=False)
    size_bytes: int = field(init=False)
    revision: Revision = field(init=False)
    not_followed: str | None = field(init=False)
    key: ResultKey = field(init=False)
    queue_key: str | None = field(init=False)
    is_timed: bool = field(init=False)

    def __post_init__(self) -> None:
        if type(self.replicates) is not int or not 0 < self.replicates < 2**63:
            self._check_replicates()
        if type(self.seed) is not int or self.seed < 0:
            self.seed = check_seed(self.seed)
        if self.allow_deduplication is not True:
            self.allow_deduplication = _as_bool("allow_deduplication", self.allow_deduplication)
        if type(self.cache) is not str or self.cache not in CACHE_MODES:
            check_word("cache", self.cache, CACHE_MODES)
        self.size_bytes = self._size_bytes()
        self._take_defaults()
        undelayed = type(self.delay_s) is float and self.delay_s == 0.0
        self.is_timed = not undelayed or any(map(_is_given, _times_of(self)))
        if self.is_timed:
            self._check_times()
        for name in ("workspace", "supersede", "group"):
            if getattr(self, name) is not None:
                setattr(self, name, check_name(name, getattr(self, name)))
        if self.workspace is None and self.urgency > Priority.LOW:
            self.workspace = self.simulation.name
        if self.tags != () or self.tenant is not None:
            self._take_ownership()
        self.revision = self.simulation.revision()
        self._check_revision()
        identity = self.revision.identity
        of = self.simulation.name, identity.fingerprint, self.seed, self.parameters, identity.parts
        self.key = ResultKey(*of, self.tenant or "", self.keep)
        self.queue_key = self._queue_key() if self.allow_deduplication else None

    def _check_replicates(self) -> None:
        wanted: object = self.replicates
        if isinstance(wanted, Precision):
            wanted.check(self.simulation.outputs)
            self.precision, self.replicates = wanted, wanted.maximum
        else:
            allowed = "an integer of 1 or more" + (", or a bgsim.Precision" if isinstance(wanted, str) else "")
            self.replicates = check_integer("replicates", wanted, most=2**63 - 1, allowed=allowed)

    def _size_bytes(self) -> int:
        if self.keep == "columns":
            return self.replicates * self.simulation.replicate_bytes(self.parameters)
        check_word("keep", self.keep, KEEPS)
        check_summarisable(self.simulation.outputs, self.parameters)
        return summary_bytes(self.simulation, self.parameters, self.replicates)

    def _queue_key(self) -> str:
        """Return what jobs share that share a run: of rows any number, else the same numbers of replicates."""
        shared = f"{self.key.identity} {self.cache}"
        if self.keep == "columns" and self.precision is None:
            return shared
        return f"{shared} {self.replicates} {self.precision!r}"

    def looks(self) -> tuple[int, ...]:
        """Return the numbers of replicates at which it is decided whether more are needed; empty for a fixed number."""
        return () if self.precision is None else tuple(self.precision.looks())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what was asked for; the simulation is looked at anew where that is made again."""
        given = {name: getattr(self, name) for name, f in self.__dataclass_fields__.items() if f.init}
        given["replicates"] = self.precision or self.replicates
        return _asked_again, (given,)

    def _take_defaults(self) -> None:
        """Take from the simulation what the caller has not said."""
        defaults = self.simulation.defaults
        self.urgency = Priority.of(self.priority) if self.priority is not None else defaults.priority
        if self.timeout_s is None:
            self.timeout_s = defaults.timeout_s
        if self.group is None:
            self.group = defaults.group
        if self.retry is None:
            self.retry = defaults.retry
        else:
            check_retry(self.retry)

    def _take_ownership(self) -> None:
        """Check tags and tenant; keep workspace and supersede within the tenant, as a name that begins with it is."""
        self.tags = check_tags(self.tags)
        if self.tenant is None:
            return
        self.tenant = check_tenant(self.tenant)
        for name in ("workspace", "supersede"):
            word = getattr(self, name)
            if word is not None and not word.startswith(f"{self.tenant}/"):
                setattr(self, name, f"{self.tenant}/{word}")

    def _check_times(self) -> None:
        for name in _SECONDS:
            value = getattr(self, name)
            if value is not None or name == "delay_s":
                setattr(self, name, check_seconds(name, value, zero=name in _FROM_ZERO))
        check_debounce(self)
        if self.at is not None and (not isinstance(self.at, datetime) or self.at.tzinfo is None):
            raise refused("at", self.at, "a datetime with a time zone")
        if self.at is not None and self.delay_s:
            raise InvalidInputError(
                f"give either at or delay_s, not both; got {self.at.isoformat()} and {self.delay_s} s",
                field="delay_s",
                value=self.delay_s,
            )

    def _check_revision(self) -> None:
        """Refuse code that is no function of the seed; share and store nothing of code that cannot be followed."""
        self.not_followed = self.revision.examine(self.parameters)
        if self.not_followed is None:
            return
        if self.cache == "only":
            raise NotStoredError(self.not_followed)
        self.cache, self.allow_deduplication = "off", False

    def start_delay_s(self, now: float) -> float:
        """Return how long to wait before the start; infinity until the engine releases it at the time `at`.

        Parameters
        ----------
        now : float
            The wall clock's time, in seconds since the epoch.
        """
        if self.at is None:
            return self.delay_s
        return math.inf if self.at.timestamp() > now else 0.0

    @property
    def latest_start_s(self) -> float:
        """How long it may wait in the queue; infinity for ever."""
        limits = (self.queue_timeout_s, self.deadline_s)
        return min([limit for limit in limits if limit is not None], default=math.inf)

    def kept(self) -> dict[str, Any]:
        """Return what it computes, in the form in which the journal keeps it; `options_json` is the rest."""
        return {
            "simulation": self.simulation.name,
            "parameters": self.parameters.to_json(),
            "seed": str(self.seed),
            "replicates": self.replicates,
        }

    def pending(
        self, job_id: str, owner: str, asked_at: float, *, priority: Priority | None = None, **more: Any
    ) -> PendingRequest:
        """Return what the journal keeps while it is pending.

        Parameters
        ----------
        job_id, owner : str
        asked_at : float
            When it was submitted, in seconds since the epoch.
        priority : Priority, optional
            As for `options_json`.
        **more
            Attributes of `PendingRequest` that say what became of it so far.
        """
        return PendingRequest(
            id=job_id,
            **self.kept(),
            options=self.options_json(now=asked_at, priority=priority),
            submitted_at=time_text(asked_at),
            owner=owner,
            **more,
        )

    def options_json(self, *, now: float | None = None, priority: Priority | None = None) -> str:
        """Return the options as JSON; with `now`, a delay becomes the time at which it ends.

        `priority` is what it has by now, if not that of the submission.
        """
        urgency = self.urgency if priority is None else priority
        given = urgency, self.cache, _values_of(self)
        if self.at is None and self.retry is None and not self.delay_s and self.precision is None:
            return _options_text(*given)
        options = _options(*given)
        at = self.at
        if at is None and now is not None and self.delay_s > 0:
            at = datetime.fromtimestamp(min(now + self.delay_s, _LATEST), UTC)
            options.pop("delay_s")
        if at is not None:
            options["at"] = at.isoformat()
        if self.retry is not None:
            options["retry"] = self.retry.to_json()
        if self.precision is not None:
            options["precision"] = self.precision.to_json()
        return json.dumps(options)


def make_request(simulation: Simulation, parameters: Any, **options: Any) -> Request:
    """Return a request for parameters in any form that `Simulation.bind` takes.

    Raises
    ------
    InvalidInputError
        Naming the option or the parameter, what was given and what is allowed.
    """
    for name, value in options.items():
        if name not in Request.__dataclass_fields__:
            raise InvalidInputError(
                f"a submission has no option {name!r}{nearest(name, Request.__dataclass_fields__)}",
                field=name,
                value=value,
            )
    return Request(simulation, simulation.bind(parameters), **options)


def _as_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise refused(name, value, "True or False")
    return bool(value)


def _asked_again(given: dict[str, Any]) -> Request:
    """Return a request that was pickled."""
    return Request(**given)


_OPTIONS = (
    "allow_deduplication", "workspace", "supersede", "debounce_s", "max_wait_s", "group", "delay_s", "timeout_s",
    "queue_timeout_s", "deadline_s", "tags", "tenant", "keep",
)  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {name: Request.__dataclass_fields__[name].default for name in _OPTIONS}
_values_of = attrgetter(*_OPTIONS)
_times_of = attrgetter(*_TIMES)
_is_given = partial(is_not, None)


def _options(priority: Priority, cache: str, values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the options that are not what they are by default."""
    given = {name: v for name, v in zip(_OPTIONS, values, strict=True) if v is not None and v != _DEFAULTS[name]}
    return {"priority": priority.name.lower(), "cache": cache, **given}


@lru_cache(maxsize=1024)
def _options_text(*given: Any) -> str:
    """Return the same as JSON, which many jobs share."""
    return json.dumps(_options(*given))
