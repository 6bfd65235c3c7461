"""Simulations: a function that computes one replicate, with its parameters, outputs and fingerprint."""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import threading
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim import control as block
from bgsim.defaults import JobDefaults
from bgsim.errors import CompileError, ParameterError
from bgsim.fingerprint import Dependencies
from bgsim.outputs import put_replicate, read_outputs
from bgsim.parameter_class import fields_of, unreachable_attribute
from bgsim.parameters import ParameterSet
from bgsim.streams import generator_at, replicate_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.kernel import CompiledKernel
    from bgsim.queue_manager import Priority
    from bgsim.retry import Retry
    from bgsim.worker_stream import WorkerStream

BIASED_DRAWS = {
    "poisson": "it is biased for 10 <= lam < 15 in numba 0.68.1",
    "negative_binomial": "it draws from numba's biased poisson",
}
"""Generator methods whose compiled form does not follow the distribution, and why."""


class BiasedDrawWarning(UserWarning):
    """A compiled kernel draws from a distribution that numba gets wrong."""


class Simulation:
    """A function of one replicate, ready to be submitted; made by `simulation`.

    Calling it calls the plain function. It may be used from any thread.

    Attributes
    ----------
    name : str
        Module and function name: ``"bgsim.models.options.asian_call"``.
    short_name : str
        The last part of it.
    version : str
        Part of the fingerprint, for changes that the source does not show.
    fingerprint : str
        32 hexadecimal digits over everything that results depend on.
    outputs : tuple of Output
    parameters_class : type or None
        None takes any mapping.
    function : callable
        The plain function.
    compiles : bool
        Whether numba compiles it, or it runs as plain Python.
    takes_control : bool
        Whether it takes the control block as a third argument.
    defaults : JobDefaults
        What its jobs have unless they are submitted otherwise.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        outputs: Mapping[str, Any],
        name: str | None = None,
        version: str = "",
        compile: bool = True,
        priority: Priority | str = "normal",
        timeout_s: float | None = None,
        group: str | None = None,
        retry: Retry | None = None,
        replay: Callable[[ParameterSet, np.random.Generator], Any] | None = None,
    ) -> None:
        self.function = function
        self.name = name or f"{function.__module__}.{function.__qualname__}"
        self.short_name = self.name.rpartition(".")[2]
        self.version = version
        self.compiles = compile
        self.defaults = JobDefaults(priority, timeout_s, group, retry)  # type: ignore[arg-type] # made one of it
        self.outputs = read_outputs(self.name, outputs)
        self.parameters_class, self.takes_control = _read_signature(self.name, function)
        self._replay = replay
        self._lock = threading.Lock()  # guards _compiled; a compilation runs under no lock but numba's own
        self._compiled: dict[Any, CompiledKernel] = {}
        functools.update_wrapper(self, function)

    @functools.cached_property
    def _dependencies(self) -> Dependencies:
        return Dependencies(self.function)

    @functools.cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over the source, what it uses, the version and the outputs."""
        outputs = [(o.name, o.dtype.str, o.shape) for o in self.outputs]
        text = f"{self._dependencies.digest} {self.version!r} {outputs} {self.compiles}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def bind(self, parameters: Any = None) -> ParameterSet:
        """Check parameters and return them as an immutable set.

        Parameters
        ----------
        parameters : instance of `parameters_class`, mapping, ParameterSet or None
            None takes every default. An instance is taken as it is; of a mapping the class is called once.

        Raises
        ------
        ParameterError
            Naming the field, the value, and what is allowed.
        """
        bound = ParameterSet.of(parameters, self.parameters_class)
        for output in self.outputs:
            output.concrete_shape(bound)
        return bound

    def new_columns(self, parameters: ParameterSet, replicates: int) -> tuple[NDArray[Any], ...]:
        """Return an uninitialised column for each output, its first axis the replicates."""
        return tuple([np.empty((replicates, *o.concrete_shape(parameters)), o.dtype) for o in self.outputs])

    def replicate_bytes(self, parameters: ParameterSet) -> int:
        """Return the size of one replicate's outputs."""
        return sum([o.dtype.itemsize * math.prod(o.concrete_shape(parameters)) for o in self.outputs])

    def warmup(self, parameters: Any = None) -> Simulation:
        """Compile for these parameters' types now, rather than when the first job runs.

        Returns
        -------
        Simulation
            Itself.

        Raises
        ------
        CompileError, OutputError, ParameterError
            As a submission would.
        """
        self.prepare(self.bind(parameters))
        return self

    def prepare(self, parameters: ParameterSet) -> ChunkRunner:
        """Return what runs chunks with these parameters, compiled if it has to be."""
        runner = self.prepared(parameters)
        return self._compile(parameters.kernel_view()) if runner is None else runner

    def prepared(self, parameters: ParameterSet) -> ChunkRunner | None:
        """Return the same if nothing has to be compiled, else None."""
        if not self.compiles:
            return functools.partial(_run_plain, self, parameters.instance())
        view = parameters.kernel_view()
        compiled = self._compiled.get(_layout_of(view))
        return None if compiled is None else functools.partial(compiled, view)

    def _compile(self, view: Any) -> ChunkRunner:
        from bgsim.kernel import CompiledKernel, make_dispatcher  # noqa: PLC0415 - imports numba

        with self._lock:
            if not self._compiled:
                self._dispatcher = make_dispatcher(self.function, self.fingerprint)
        self._warn_of_biased_draws()
        try:
            compiled = CompiledKernel(self._dispatcher, self.name, view, self.outputs, self.takes_control)
        except CompileError as error:
            remedy = unreachable_attribute(self.parameters_class, str(error))
            if remedy is None:
                raise
            raise CompileError(f"{remedy}\n{error}") from error.__cause__
        with self._lock:
            self._compiled[_layout_of(view)] = compiled
        return functools.partial(compiled, view)

    def replay(self, parameters: ParameterSet, seed: int, index: int) -> Any:
        """Run one replicate with its own stream; return what the function returns, or what `replay` makes of it."""
        if self._replay is not None:
            return self._replay(parameters, replicate_rng(seed, index))
        return self._run_one(parameters, seed, index)

    def _run_one(self, parameters: ParameterSet, seed: int, index: int) -> Any:
        p = parameters.kernel_view() if self.compiles else parameters.instance()
        rng = replicate_rng(seed, index)
        return self.function(p, rng, *([block.new_control_block()] if self.takes_control else []))

    def check_replicate(self, parameters: ParameterSet, seed: int, index: int) -> None:
        """Replay one replicate and refuse what it returns if that is not what `outputs` declares.

        Raises
        ------
        OutputError
            Naming the output, and what was returned.
        """
        returned = self._run_one(parameters, seed, index)
        put_replicate(self.name, self.outputs, self.new_columns(parameters, 1), 0, returned)

    def _warn_of_biased_draws(self) -> None:
        for method in sorted(self._dependencies.methods & BIASED_DRAWS.keys()):
            warnings.warn(
                f"{self.name} calls {method}() in a compiled kernel: {BIASED_DRAWS[method]}. "
                "Sum exponential waiting times instead, or use @simulation(compile=False).",
                BiasedDrawWarning,
                stacklevel=2,
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        takes = self.parameters_class.__name__ if self.parameters_class else "any mapping"
        outputs = ", ".join(o.name for o in self.outputs)
        return f"<simulation {self.name}: {takes} -> {outputs}>"


class ChunkRunner(typing.Protocol):
    """Runs replicates from `first` on, as many as the columns have rows, and returns how many are done.

    It stops early on an order in the control block; when the simulation raises, slot ``DONE`` says how
    many are done. A `stream` serves one thread at a time; plain Python needs none.
    """

    def __call__(
        self,
        stream: WorkerStream | None,
        key: NDArray[np.uint64],
        first: int,
        columns: tuple[NDArray[Any], ...],
        control: NDArray[np.int64],
    ) -> int: ...


def _run_plain(
    simulation: Simulation,
    p: Any,
    stream: WorkerStream | None,
    key: NDArray[np.uint64],
    first: int,
    columns: tuple[NDArray[Any], ...],
    control: NDArray[np.int64],
) -> int:
    """Run a chunk as plain Python, with the streams, results and orders of a compiled one."""
    extra = (control,) if simulation.takes_control else ()
    for i in range(len(columns[0])):
        if control[block.ORDER] != block.GO:
            return i
        returned = simulation.function(p, generator_at(key, first + i), *extra)
        if control[block.OBSERVED]:
            return i  # the function gave up, so its value does not count
        put_replicate(simulation.name, simulation.outputs, columns, i, returned)
        control[block.FRACTION] = 0
        control[block.DONE] = i + 1
    return len(columns[0])


def _layout_of(view: Any) -> tuple[Any, ...]:
    """Return what a kernel is compiled for: the names and the types of its parameters."""
    return type(view), *[(v.dtype, v.ndim) if isinstance(v, np.ndarray) else type(v) for v in view]


def _read_signature(name: str, function: Callable[..., Any]) -> tuple[type | None, bool]:
    """Return the parameter class and whether there is a third argument."""
    arguments = list(inspect.signature(function).parameters.values())
    if len(arguments) not in (2, 3) or any(a.kind in (a.KEYWORD_ONLY, a.VAR_KEYWORD) for a in arguments):
        raise ParameterError(
            f"{name} must take (p, rng) or (p, rng, control); it takes {inspect.signature(function)}",
            field="function",
            value=function,
        )
    try:
        annotation = typing.get_type_hints(function).get(arguments[0].name)
    except NameError as error:
        raise ParameterError(
            f"{name}: the annotation of {arguments[0].name!r} cannot be resolved: {error}. "
            "Define the parameter class at module level",
            field="function",
        ) from error
    if not isinstance(annotation, type) or issubclass(annotation, Mapping) or annotation in (typing.Any, object):
        return None, len(arguments) == 3
    fields_of(annotation)  # refuses what is neither a frozen dataclass nor a NamedTuple
    return annotation, len(arguments) == 3


@typing.overload
def simulation(
    function: Callable[..., Any],
    *,
    outputs: Mapping[str, Any],
    name: str | None = ...,
    version: str = ...,
    compile: bool = ...,
    priority: Priority | str = ...,
    timeout_s: float | None = ...,
    group: str | None = ...,
    retry: Retry | None = ...,
    replay: Callable[[ParameterSet, np.random.Generator], Any] | None = ...,
) -> Simulation: ...
@typing.overload
def simulation(
    function: None = ...,
    *,
    outputs: Mapping[str, Any],
    name: str | None = ...,
    version: str = ...,
    compile: bool = ...,
    priority: Priority | str = ...,
    timeout_s: float | None = ...,
    group: str | None = ...,
    retry: Retry | None = ...,
    replay: Callable[[ParameterSet, np.random.Generator], Any] | None = ...,
) -> Callable[[Callable[..., Any]], Simulation]: ...
def simulation(
    function: Callable[..., Any] | None = None,
    *,
    outputs: Mapping[str, Any],
    name: str | None = None,
    version: str = "",
    compile: bool = True,
    priority: Priority | str = "normal",
    timeout_s: float | None = None,
    group: str | None = None,
    retry: Retry | None = None,
    replay: Callable[[ParameterSet, np.random.Generator], Any] | None = None,
) -> Simulation | Callable[[Callable[..., Any]], Simulation]:
    """Make a simulation of a function that computes one replicate.

    Parameters
    ----------
    function : callable
        ``function(p, rng)`` or ``function(p, rng, control)``. ``p`` has the fields of the class that annotates it,
        a frozen dataclass or a NamedTuple, or without one those of any mapping; ``rng`` is a `numpy.random.Generator`
        at the start of the replicate's stream. It returns a scalar or an array, or a tuple of these in the order of
        `outputs`.
    outputs : mapping of str to dtype or (dtype, shape)
        The columns of the result. A shape is of integers and of names of integer parameters:
        ``{"payoff": "f8", "path": ("f8", "steps")}``.
    name : str, optional
        By default module and function name.
    version : str, optional
        Change it when results change in a way that the source does not show.
    compile : bool, default True
        False runs the function as plain Python, with the same streams.
    priority, timeout_s, group, retry
        What its jobs have unless `Engine.submit` is told otherwise; see there. They do not count in the fingerprint.
    replay : callable, optional
        ``replay(parameters, rng)`` runs one replicate when a user replays it, and returns what that gives him: the
        function's values, with more to look at. By default the function runs as plain Python.

    Returns
    -------
    Simulation

    Raises
    ------
    OutputError, ParameterError
        If outputs or signature cannot be used.
    """
    make = functools.partial(
        Simulation,
        outputs=outputs,
        name=name,
        version=version,
        compile=compile,
        priority=priority,
        timeout_s=timeout_s,
        group=group,
        retry=retry,
        replay=replay,
    )
    return make if function is None else make(function)
