"""Simulations: a function that computes one replicate, with its parameters, outputs and fingerprint."""

from __future__ import annotations

import functools
import math
import types
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, Unpack

import numpy as np

from bgsim import control as block
from bgsim.checks import check_name, check_text
from bgsim.defaults import JobDefaults
from bgsim.errors import ParameterError
from bgsim.kernels.definition import Declared, Kernel, read_depends_on, read_signature, reduced
from bgsim.kernels.description import description
from bgsim.kernels.outputs import put_replicate, read_outputs, read_pairs
from bgsim.kernels.plain import ChunkRunner, numba_is_off, run_plain
from bgsim.parameters.parameter_class import P
from bgsim.parameters.parameter_set import ParameterSet, layout_of
from bgsim.streams import replicate_rng
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.control import Control
    from bgsim.identity.report import IdentityReport, ResultsByCode
    from bgsim.kernels.revision import Compiled, Revision
    from bgsim.priority import Priority, PriorityName
    from bgsim.retry import Retry
    from bgsim.streams import Rng

_MOST_COMPILED = 4
"""Compiled kernels are kept of this many recent identities, so a constant may go back and forth."""


class Simulation(Generic[P]):
    """A function of one replicate, ready to be submitted; made by `simulation`.

    Calling it calls the plain function. It may be used from any thread. For checkers of types, ``Simulation[Dice]`` has
    the parameter class `Dice`; a list of several simulations is a ``list[Simulation]``.

    Attributes
    ----------
    name : str
        Module and function name: ``"bgsim.models.options.asian_call"``.
    short_name : str
        The last part of it.
    version : str
        Part of the identity: the author's word for what cannot be followed.
    depends_on : tuple or None
        What the author declares to count, besides code and constants.
    fingerprint : str
        32 hexadecimal digits over everything that results depend on, as it is now.
    outputs : tuple of Output
    pairs : tuple of (str, str)
        Outputs of which a summary keeps the covariance.
    reference : str
        How code refers to it, for people.
    parameters_class : type or None
        None takes any mapping.
    function : callable
        The plain function.
    compiles : bool
        Whether numba compiles it, or it runs as plain Python: so declared, or because numba is switched off
        (``NUMBA_DISABLE_JIT=1``).
    takes_control : bool
        Whether it takes the control block as a third argument.
    defaults : JobDefaults
        Options of its jobs, unless a submission gives others.
    """

    def __init__(
        self,
        function: Kernel[P],
        *,
        outputs: Mapping[str, Any],
        name: str | None = None,
        version: str = "",
        depends_on: tuple[Any, ...] | None = None,
        compile: bool = True,
        priority: Priority | PriorityName = "normal",
        timeout_s: float | None = None,
        group: str | None = None,
        retry: Retry | None = None,
        replay: Callable[[ParameterSet, Rng], Any] | None = None,
        pairs: Sequence[tuple[str, str]] = (),
    ) -> None:
        if compile and not isinstance(function, types.FunctionType):
            raise ParameterError(
                f"a simulation that numba compiles must be a plain function; got {function!r}. Give the function that "
                "it is made from, or compile=False",
                field="function",
                value=function,
            )
        self.function: Callable[..., Any] = function
        self.name = check_name("name", name) if name else f"{function.__module__}.{function.__qualname__}"
        self.short_name = self.name.rpartition(".")[2]
        self.version = check_text("version", version)
        self.depends_on = read_depends_on(self.name, depends_on)
        self._sees_fields_alone = compile  # as a compiled kernel does, also where numba is switched off
        self.defaults = JobDefaults(priority, timeout_s, group, retry)  # type: ignore[arg-type] # made one of it
        self.outputs = read_outputs(self.name, outputs)
        self.pairs = read_pairs(self.name, self.outputs, pairs)
        self.parameters_class, self.takes_control = read_signature(self.name, function)
        self._replicate_bytes: int | None = None  # where it depends on the parameters
        self._replicate_bytes = self._fixed_bytes()
        self.reference = getattr(function, "__name__", self.short_name)
        self._replay = replay
        self._lock = Lock()  # guards the next two; nothing is looked at or compiled under it
        self._revision: Revision | None = None  # the newest
        self._compiled: OrderedDict[str, Compiled] = OrderedDict()  # by fingerprint, the newest last
        functools.update_wrapper(self, function)

    @property
    def compiles(self) -> bool:
        """Whether numba compiles it."""
        return self._sees_fields_alone and not numba_is_off()

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over the code that runs and all that it reaches, as they are now."""
        return self.revision().identity.fingerprint

    @property
    def parts(self) -> Mapping[str, str]:
        """Of each thing that counts in the fingerprint a short hash, by its name."""
        return self.revision().identity.parts

    def revision(self) -> Revision:
        """Look at the code and all that it reaches; microseconds where nothing has changed. Any thread may call."""
        found = self._revision
        compiles = self.compiles
        if found is not None and found.compiles is compiles and found.identity.is_unchanged():
            return found
        from bgsim.kernels.revision import Revision  # noqa: PLC0415 - it takes longer to import than the decorator

        new = Revision(self, compiles=compiles)
        with self._lock:
            new.compiled = self._compiled.pop(new.identity.fingerprint, new.compiled)
            self._compiled[new.identity.fingerprint] = new.compiled
            while len(self._compiled) > _MOST_COMPILED:
                self._compiled.popitem(last=False)
            self._revision = new
        return new

    def explain(self, store: ResultsByCode | None = None, result: str | None = None) -> IdentityReport:
        """Say what counts in the fingerprint and, given a store, what differs from a result that is in it.

        Parameters
        ----------
        store : Store, optional
            Or whatever else has the methods of `ResultsByCode`.
        result : str, optional
            First digits of a stored result's hash; by default the simulation's result that was used last, of other
            code if there is one.

        Raises
        ------
        StoreError
            If there is no such result, or it is another simulation's.
        """
        from bgsim.identity.report import explain  # noqa: PLC0415 - for those who ask

        return explain(self.name, self.revision().identity, store, result)

    def bind(self, parameters: P | Mapping[str, Any] | None = None) -> ParameterSet[P]:
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
        if self._replicate_bytes is None:
            for output in self.outputs:
                output.concrete_shape(bound)
        return bound

    def new_columns(self, parameters: ParameterSet, replicates: int) -> tuple[NDArray[Any], ...]:
        """Return an uninitialised column for each output, its first axis the replicates."""
        shapes = [o.concrete_shape(parameters) if o.shape else () for o in self.outputs]
        return tuple([np.empty((replicates, *s), o.dtype) for s, o in zip(shapes, self.outputs, strict=True)])

    def replicate_bytes(self, parameters: ParameterSet) -> int:
        """Return the size of one replicate's outputs."""
        if self._replicate_bytes is not None:
            return self._replicate_bytes
        return sum([o.dtype.itemsize * math.prod(o.concrete_shape(parameters)) for o in self.outputs])

    def _fixed_bytes(self) -> int | None:
        """Return the size of one replicate's outputs if it depends on no parameter."""
        if any(isinstance(length, str) for o in self.outputs for length in o.shape):
            return None
        return self.replicate_bytes(ParameterSet())

    def warmup(self, parameters: P | Mapping[str, Any] | None = None) -> Self:
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

    def prepare(self, parameters: ParameterSet, revision: Revision | None = None) -> ChunkRunner:
        """Return what runs chunks with these parameters, compiled if it has to be.

        Parameters
        ----------
        parameters : ParameterSet
        revision : Revision, optional
            That of the submission; by default the present one.

        Raises
        ------
        CompileError, OutputError, StreamError
        """
        revision = revision or self.revision()
        runner = self.prepared(parameters, revision)
        if runner is None:
            view = parameters.kernel_view()
            runner = functools.partial(revision.compile(layout_of(view), view), view)
        return runner

    def prepared(self, parameters: ParameterSet, revision: Revision) -> ChunkRunner | None:
        """Return the same if nothing has to be compiled, else None."""
        if not revision.compiles:
            return functools.partial(run_plain, self, revision, self._argument(parameters))
        view = parameters.kernel_view()
        compiled = revision.compiled.by_layout.get(layout_of(view))
        return None if compiled is None else functools.partial(compiled, view)

    def _argument(self, parameters: ParameterSet) -> Any:
        """Return what the function gets as its first argument, in plain Python."""
        return parameters.kernel_view() if self._sees_fields_alone else parameters.instance()

    def replay(self, parameters: ParameterSet, seed: int, index: int) -> Any:
        """Run one replicate with its own stream; return what the function returns, or what `replay` makes of it."""
        if self._replay is not None:
            return self._replay(parameters, replicate_rng(seed, index))
        return self._run_one(parameters, seed, index)

    def _run_one(self, parameters: ParameterSet, seed: int, index: int) -> Any:
        control = [block.new_control_block()] if self.takes_control else []
        return self.function(self._argument(parameters), replicate_rng(seed, index), *control)

    def check_replicate(self, parameters: ParameterSet, seed: int, index: int) -> None:
        """Replay one replicate and refuse what it returns if that is not what `outputs` declares.

        Raises
        ------
        OutputError
            Naming the output, and what was returned.
        """
        returned = self._run_one(parameters, seed, index)
        put_replicate(self.name, self.outputs, self.new_columns(parameters, 1), 0, returned)

    def __reduce__(self) -> Any:
        """Pickle it by its name, as a function; see `bgsim.kernels.definition.reduced`."""
        arguments = {
            "function": self.function,
            "outputs": {o.name: (o.dtype, o.shape) for o in self.outputs},
            "name": self.name,
            "version": self.version,
            "depends_on": self.depends_on,
            "compile": self._sees_fields_alone,
            "replay": self._replay,
            "pairs": self.pairs,
        }
        return reduced(self, arguments | {f.name: getattr(self.defaults, f.name) for f in fields(self.defaults)})

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, Any] | None]) -> None:
        arguments, hints = state
        if hints is not None:
            arguments["function"].__annotations__ = hints
        self.__init__(**arguments)  # type: ignore[misc]

    def __copy__(self, _memo: object = None) -> Self:
        return self

    __deepcopy__ = __copy__

    @typing.overload
    def __call__(self, p: P, rng: Rng) -> Any: ...
    @typing.overload
    def __call__(self, p: P, rng: Rng, control: Control) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        takes = self.parameters_class.__name__ if self.parameters_class else "any mapping"
        outputs = ", ".join(o.name for o in self.outputs)
        return f"<simulation {self.name}: {takes} -> {outputs}>"

    _repr_html_ = description


class Decorator(Protocol):
    """What `simulation` returns without a function."""

    def __call__(self, function: Kernel[P], /) -> Simulation[P]:
        """Make a simulation of a function that computes one replicate."""
        ...


@typing.overload
def simulation(function: Kernel[P], **declared: Unpack[Declared]) -> Simulation[P]: ...
@typing.overload
def simulation(function: None = None, **declared: Unpack[Declared]) -> Decorator: ...
def simulation(
    function: Kernel[Any] | None = None,
    *,
    outputs: Mapping[str, Any],
    name: str | None = None,
    version: str = "",
    depends_on: tuple[Any, ...] | None = None,
    compile: bool = True,
    priority: Priority | PriorityName = "normal",
    timeout_s: float | None = None,
    group: str | None = None,
    retry: Retry | None = None,
    replay: Callable[[ParameterSet, Rng], Any] | None = None,
    pairs: Sequence[tuple[str, str]] = (),
) -> Simulation[Any] | Decorator:
    """Make a simulation of a function that computes one replicate.

    Parameters
    ----------
    function : callable
        ``function(p, rng)`` or ``function(p, rng, control)``. ``p`` has the fields of the class that annotates it,
        a frozen dataclass or a NamedTuple, or without one those of any mapping; ``rng`` is a `numpy.random.Generator`
        at the start of the replicate's stream. It returns a scalar or an array, or a tuple of these in the order of
        `outputs`. `bgsim.Rng` and `bgsim.Control` annotate the others; no annotation but the first counts.
    outputs : mapping of str to dtype or (dtype, shape)
        The columns of the result. A shape is of integers and of names of integer parameters:
        ``{"payoff": "f8", "path": ("f8", "steps")}``.
    name : str, optional
        By default module and function name.
    version : str, optional
        The author answers for what cannot be followed, and changes the version by hand when that changes.
    depends_on : tuple, optional
        What counts besides code and constants. It replaces what cannot be followed and what can change in place, such
        as a list. A text names a global of the function's module, a `pathlib.Path` a file whose content counts; a
        module counts with all that it holds; any other object is followed. An empty tuple says that nothing else
        counts: a simulation that writes to a list or a cache of its own needs that.
    compile : bool, default True
        False runs the function as plain Python, with the same streams.
    priority, timeout_s, group, retry
        Options of its jobs, unless `Engine.submit` gives others; see there. They do not count in the fingerprint.
    replay : callable, optional
        ``replay(parameters, rng)`` runs one replicate for `SimulationResult.replay`, and returns the function's values,
        with more to look at. By default the function runs as plain Python.
    pairs : sequence of (str, str)
        Outputs, each a real number, of which a summary (``keep="summary"``) keeps the covariance.

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
        depends_on=depends_on,
        compile=compile,
        priority=priority,
        timeout_s=timeout_s,
        group=group,
        retry=retry,
        replay=replay,
        pairs=pairs,
    )
    return make if function is None else make(function)
