"""bgsim: run numba simulations in the background of a Python process.

Replicate i of a simulation is a pure function of (simulation, parameters, seed, i). Everything else follows from it:
any number of workers, cancel and resume, a stored result that grows, the replay of a single replicate.

The map of the package, lowest first; a module imports only from those above it::

    errors          the tree of errors
    user_warnings   warnings that point at the user's line
    environment     which NumPy and numba computed which rows
    waiting/        the parts of the queue: requests, entries, who is next, limits, times
    queue_manager   the queue, from these parts
    retry           when a failure is tried again
    defaults        what a simulation declares for its jobs
    encoding        values as canonical bytes and as JSON
    coercion        values in the type of their field
    fields          one field of a parameter class, and the check of values
    parameter_class   what a parameter class takes, and how an instance is made, read and restored
    parameters      parameter sets, their hash and similarity
    streams         replicate i's random stream
    control         the control block that a worker shares with a kernel
    outputs         declared outputs, and the check of what comes back
    identity/       all the code and values that a result depends on, taken from what runs
    frozen          a copy of a kernel with the values of the moment, for compiling
    atomics         the compiled side of the control block (imports numba)
    worker_stream   a worker's random stream, placed by compiled code (imports numba)
    kernel_address  a compiled kernel as an argument of compiled code (imports numba)
    kernel_cache    machine code on disk, by identity (imports numba)
    kernel          the compiled side: the loop over a chunk, and a kernel compiled for it (imports numba)
    revision        a simulation at one look: its identity, and what is compiled of it
    simulation      @simulation
    result          columns, summary, replay
    bus/            the parts of the progress bus: updates, filters, subscriptions, delivery, batches, bars
    progress        the bus, from these parts
    ctrl_c          holding Ctrl-C back
    storage/        results in SQLite or memory, two slots a workspace; the journal
    registry        simulations by name
    clock           the time
    submission      what is asked for, checked
    job             a caller's handle: a future; its states
    logs            log records by job
    chunks          one computation, cut into chunks
    calls           plain callables beside the simulations
    locking         the engine's lock
    worker, dispatch   one thread; what each does next
    ledger          what is known of jobs, and published of them
    resolver        a thread for done-callbacks
    settlement      the end of a run: stored, and its jobs ended
    timekeeper      what happens by time
    runs            which computations wait, run and let go: admission, preemption, pause, retry, cancel
    scheduler       what callers may ask of all that; closing: how it ends
    health          counts, quantiles, alerts
    desk            where submissions come in
    batch           several jobs as one
    recovery        after a crash; dead letters
    cron, schedules, recurring   jobs by the clock
    executor        a concurrent.futures.Executor over the workers
    config, engine  settings; the engine
    models/         built-in simulations
    cli, store_cli  the command line
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# At once, for otherwise importing the module of the same name would hide the decorator.
from bgsim.simulation import Simulation, simulation

if TYPE_CHECKING:
    from bgsim.clock import Clock, ManualClock
    from bgsim.config import EngineConfig
    from bgsim.control import report_fraction, stop_requested
    from bgsim.engine import Engine, run
    from bgsim.job import Job, JobState, JobStatus
    from bgsim.parameters import ParameterSet, similarity
    from bgsim.parameters.fields import parameter
    from bgsim.priority import Priority
    from bgsim.progress import ProgressUpdate, UpdateType
    from bgsim.result import SimulationResult
    from bgsim.retry import Retry
    from bgsim.storage import MemoryStore, ResultStore
    from bgsim.streams import replicate_rng
    from bgsim.user_warnings import BiasedDrawWarning, IdentityWarning

_PUBLIC = {
    "BiasedDrawWarning": "user_warnings",
    "Clock": "clock",
    "Engine": "engine",
    "EngineConfig": "config",
    "IdentityWarning": "user_warnings",
    "Job": "job",
    "JobState": "job",
    "JobStatus": "job",
    "ManualClock": "clock",
    "MemoryStore": "storage",
    "ParameterSet": "parameters",
    "Priority": "priority",
    "ProgressUpdate": "progress",
    "ResultStore": "storage",
    "Retry": "retry",
    "SimulationResult": "result",
    "UpdateType": "progress",
    "parameter": "parameters.fields",
    "replicate_rng": "streams",
    "report_fraction": "control",
    "run": "engine",
    "similarity": "parameters",
    "stop_requested": "control",
}
"""Public name to the module that defines it; each is imported when it is first used."""

_MODULES = ("errors", "models", "registry", "storage", "progress")

__version__ = "0.1.0"

__all__ = [
    "BiasedDrawWarning",
    "Clock",
    "Engine",
    "EngineConfig",
    "IdentityWarning",
    "Job",
    "JobState",
    "JobStatus",
    "ManualClock",
    "MemoryStore",
    "ParameterSet",
    "Priority",
    "ProgressUpdate",
    "ResultStore",
    "Retry",
    "Simulation",
    "SimulationResult",
    "UpdateType",
    "parameter",
    "replicate_rng",
    "report_fraction",
    "run",
    "similarity",
    "simulation",
    "stop_requested",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"bgsim.{_PUBLIC[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"bgsim.{name}")
    else:
        raise AttributeError(f"module 'bgsim' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *globals()})
