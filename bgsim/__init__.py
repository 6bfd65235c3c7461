"""bgsim: run numba simulations in the background of a Python process.

Replicate i of a simulation is a pure function of (simulation, parameters, seed, i). Everything else follows from it:
any number of workers, cancel and resume, a stored result that grows, the replay of a single replicate.

The map of the package, lowest first; a module imports nothing from a line below its own::

    errors                                    the tree of errors
    threads/                                  signal handlers that wait, and the locks under which they do
    checks clock control environment ...      ground: what any other module may use
    parameters/                               parameter sets: fields, types, encoding, hash, similarity
    identity/                                 the code and values that a result depends on
    kernels/                                  how a simulation becomes machine code
    simulation differences registry result    what a user defines, what comes back, and, on the same level:
      analysis/  precision/  summaries/       what can be made of results, how many, and what to keep of them
    backends/                                 where chunks are computed: threads, executors, Dask
    queue/  bus/  storage/                    three rooms that do not know each other
    queue_manager  progress                   the public, thread-safe shells of queue/ and bus/
    config request job job_status live/       what a caller asks for, the handle, and its result so far
    running/                                  runs, workers, timers, under one lock
    jobs/  schedules/                         many jobs; jobs by the clock
    engine                                    the facade
    service/  testing/  models/  ui/          what uses bgsim as a user does: HTTP, tests, models, people
"""

from __future__ import annotations

from bgsim.ui.interrupts import handle_signals, is_command

if is_command():  # before all else: what follows takes a second, in which Ctrl-C is to end the process in silence
    handle_signals()

import importlib
from typing import TYPE_CHECKING, Any

from bgsim import logs as logs  # at once: it sees to what the loggers write

# At once, for otherwise importing the module of the same name would hide the decorator.
from bgsim.simulation import Simulation, simulation

if TYPE_CHECKING:
    from bgsim import backends as backends
    from bgsim import errors as errors
    from bgsim import models as models
    from bgsim import progress as progress
    from bgsim import registry as registry
    from bgsim import service as service
    from bgsim import storage as storage
    from bgsim.clock import Clock, ManualClock
    from bgsim.config import EngineConfig
    from bgsim.control import Control, report_fraction, stop_requested
    from bgsim.engine import Engine, engines, run
    from bgsim.job import Job, JobState, JobStatus
    from bgsim.jobs.parameter_rows import parameter_sets
    from bgsim.parameters import ParameterSet, similarity
    from bgsim.parameters.fields import parameter
    from bgsim.precision.rule import Precision
    from bgsim.priority import Priority
    from bgsim.progress import ProgressUpdate, UpdateType
    from bgsim.result import SimulationResult
    from bgsim.retry import Retry
    from bgsim.storage import MemoryStore, ResultStore
    from bgsim.streams import Rng, replicate_rng
    from bgsim.summaries.result import SummaryResult
    from bgsim.ui import notebook as notebook
    from bgsim.user_warnings import IdentityWarning

_PUBLIC = {
    "Clock": "clock",
    "Control": "control",
    "Engine": "engine",
    "EngineConfig": "config",
    "IdentityWarning": "user_warnings",
    "Job": "job",
    "JobState": "job",
    "JobStatus": "job",
    "ManualClock": "clock",
    "MemoryStore": "storage",
    "ParameterSet": "parameters",
    "Precision": "precision.rule",
    "Priority": "priority",
    "ProgressUpdate": "progress",
    "ResultStore": "storage",
    "Retry": "retry",
    "Rng": "streams",
    "SimulationResult": "result",
    "SummaryResult": "summaries.result",
    "UpdateType": "progress",
    "engines": "engine",
    "parameter": "parameters.fields",
    "parameter_sets": "jobs.parameter_rows",
    "replicate_rng": "streams",
    "report_fraction": "control",
    "run": "engine",
    "similarity": "parameters",
    "stop_requested": "control",
}
"""Public name to the module that defines it; each is imported when it is first used."""

_MODULES = {name: name for name in ("backends", "errors", "models", "progress", "registry", "service", "storage")} | {
    "notebook": "ui.notebook"
}
"""Public name to module, likewise."""

__version__ = "0.1.0"

__all__ = [
    "Clock",
    "Control",
    "Engine",
    "EngineConfig",
    "IdentityWarning",
    "Job",
    "JobState",
    "JobStatus",
    "ManualClock",
    "MemoryStore",
    "ParameterSet",
    "Precision",
    "Priority",
    "ProgressUpdate",
    "ResultStore",
    "Retry",
    "Rng",
    "Simulation",
    "SimulationResult",
    "SummaryResult",
    "UpdateType",
    "engines",
    "parameter",
    "parameter_sets",
    "replicate_rng",
    "report_fraction",
    "run",
    "similarity",
    "simulation",
    "stop_requested",
]


def _import(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"bgsim.{_PUBLIC[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"bgsim.{_MODULES[name]}")
    else:
        raise AttributeError(f"module 'bgsim' has no attribute {name!r}")
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # or a checker of types would take any name for one of bgsim
    __getattr__ = _import


def load_ipython_extension(shell: Any) -> None:
    """Make ``%%simulate`` known to IPython; ``%load_ext bgsim`` calls it."""
    importlib.import_module("bgsim.ui.notebook.magic").register(shell)


def __dir__() -> list[str]:
    """Return what is public, and Python's own names; what else is imported here is nobody's business."""
    return sorted({*__all__, *_MODULES, "logs", *(name for name in globals() if name.startswith("__"))})
