"""A simulation as its code was at one look: its identity, and what has been compiled of it."""

from __future__ import annotations

import enum
import logging
import time
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.errors import CompileError, SimulationChangedError, StreamError
from bgsim.identity.look import Identity, look
from bgsim.identity.ownership import Ownership, own_modules
from bgsim.identity.report import few_of, part_differences
from bgsim.parameters.parameter_class import fields_of, unreachable_attribute
from bgsim.threads.locks import call_in_thread
from bgsim.user_warnings import IdentityWarning, warn_user

if TYPE_CHECKING:
    from bgsim.kernels.compiled import CompiledKernel
    from bgsim.kernels.definition import Definition
    from bgsim.parameters.parameter_set import ParameterSet

logger = logging.getLogger("bgsim.kernels.compiled")


@dataclass(slots=True)
class Compiled:
    """What was compiled and said for one identity; it outlives the values of a single look.

    Attributes
    ----------
    by_layout : dict
        Kernels, by the layout of the parameters; set in one step each.
    is_warned_of : bool
        Whether `Revision.warn_of_limits` has said what cannot be followed.
    took_s : float
        How long compiling has taken in this process, or loading what the disk keeps of it.
    """

    by_layout: dict[Any, CompiledKernel] = field(default_factory=dict)
    is_warned_of: bool = False
    took_s: float = 0.0


class Revision:
    """What a simulation was at one look. Any thread may call any method.

    Parameters
    ----------
    definition : Definition
        The simulation.
    compiles : bool
        Whether numba compiles it.

    Attributes
    ----------
    identity : Identity
    compiles : bool
    compiled : Compiled
        Shared with other revisions of this identity.
    is_clean : bool
        Whether it is compiled, followed and of one age: there is nothing to refuse or to warn of.
    check_s : float
        Seconds that the last look at plain code after a chunk took; 0 for compiled code.
    """

    def __init__(self, definition: Definition, *, compiles: bool) -> None:
        self.compiles = compiles
        self.check_s = 0.0
        self.compiled = Compiled()
        self._definition = definition
        self._name = definition.name
        self._function = definition.function
        self._field_classes = _field_classes(definition.parameters_class)
        self._answered_for = bool(definition.version) or definition.depends_on is not None
        self.identity: Identity = self._look(self._function)
        self._frozen = self._freeze(self._function) if compiles else None
        self.is_clean = compiles and self.is_followed and not self.identity.stale

    def examine(self, parameters: ParameterSet) -> str | None:
        """Refuse code that is no function of the seed; return what of it cannot be followed, and what to do about that.

        Returns
        -------
        str or None
            None if nothing is left unseen.

        Raises
        ------
        StreamError, CompileError
            Naming what draws from elsewhere; naming machine code that is older than what it was compiled from.
        """
        if self.is_clean:
            return None
        self._check_streams()
        self._refuse_stale(self.identity)
        return self._not_followed(parameters)

    @property
    def is_followed(self) -> bool:
        """Whether a change of anything that it reaches would be seen, or its author answers for the rest."""
        return self._answered_for or not self.identity.limits

    def _check_streams(self) -> None:
        """Refuse plain Python that draws from other streams; compiled code is looked at when it is compiled."""
        if self.identity.draws and not self.compiles:
            raise _stream_error(self._name, self.identity)

    def _refuse_stale(self, found: Identity) -> None:
        if found.stale:
            raise CompileError(f"{self._name} reaches {'; '.join(found.stale)}, or start a new process")

    def _not_followed(self, parameters: ParameterSet) -> str | None:
        if self._answered_for:
            return None
        found = self.identity.limits
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            return (
                f"{self._name} reaches what bgsim cannot follow: {found[0]}{more}. A change of it would go unseen. "
                'Name what counts with @simulation(depends_on=(...)), or answer for it with version="1"'
            )
        unseen = None if self.compiles else self._unseen_member(parameters)
        if unseen is None:
            return None
        field, kind = unseen
        return (
            f"{self._name} gets a {kind} in its parameter {field!r}, which has methods. A change of them would go "
            f"unseen, for no annotation of the parameter class names {kind}. Annotate the field with it"
        )

    def warn_of_limits(self, found: str | None) -> None:
        """Say, once, what `examine` has found, if anything."""
        if found is not None and not self.compiled.is_warned_of:
            self.compiled.is_warned_of = True
            warn_user(f"{found}; its results are neither stored nor shared", IdentityWarning)

    def check_unchanged(self) -> None:
        """Refuse rows of plain Python whose code or values have changed since the submission.

        Raises
        ------
        SimulationChangedError
            Naming the changes.
        """
        if self.identity.is_unchanged():
            return
        now = self._look(self._definition.function)
        if now.fingerprint == self.identity.fingerprint:
            self.identity = now  # nothing that counts
            return
        raise SimulationChangedError(
            f"{self._name} has changed since the job was submitted: {changes(self.identity, now)}. Nothing of the job "
            "is stored, for its rows would mix the two; submit it again. If the simulation itself changes that and it "
            "makes no difference, name what counts: @simulation(depends_on=(...))"
        )

    def _look(self, function: Any) -> Identity:
        simulation = self._definition
        outputs = [(o.name, np.lib.format.dtype_to_descr(o.dtype), o.shape) for o in simulation.outputs]
        values = [function]
        if not self.compiles:  # plain Python gets an instance, with all its methods
            values += [simulation.parameters_class, self._field_classes]
        return look(
            simulation.name,
            simulation.function.__module__,
            tuple(values),
            compiled=self.compiles,
            settings={"version": simulation.version, "outputs": repr(outputs), "compile": self.compiles},
            declared=simulation.depends_on,
            own=("bgsim.kernels.frozen",),
        )

    def _unseen_member(self, parameters: ParameterSet) -> tuple[str, str] | None:
        """Return the field and the class of a member of an Enum that has methods and that no annotation names."""
        for name, value in parameters.items():
            for item in value if isinstance(value, tuple) else (value,):
                kind = type(item)
                if isinstance(item, enum.Enum) and kind not in self._field_classes and _has_methods(kind):
                    return name, kind.__name__
        return None

    # ---- compiling -----------------------------------------------------------------------------------

    def compile(self, layout: Any, view: Any) -> CompiledKernel:
        """Compile a kernel for a layout of the parameters; `view` is an example of it.

        Raises
        ------
        CompileError, OutputError, StreamError
        """
        return call_in_thread(self._compile, layout, view)  # an interrupt would leave numba half done

    def _compile(self, layout: Any, view: Any) -> CompiledKernel:
        began = time.perf_counter()
        from bgsim.kernels.compiled import CompiledKernel, make_dispatcher  # noqa: PLC0415 - imports numba

        kept_as = self.identity.fingerprint if self.is_followed else None
        dispatcher = make_dispatcher(self._frozen, kept_as, self._approve)
        try:
            found = CompiledKernel(
                dispatcher, self._name, view, self._definition.outputs, self._definition.takes_control
            )
        except CompileError as error:
            cause = error.__cause__
            remedy = unreachable_attribute(self._definition.parameters_class, str(cause))
            if remedy is None or cause is None:
                raise
            from bgsim.kernels.compile_errors import compile_error  # noqa: PLC0415 - for errors

            raise compile_error(self._name, self._function, cause, remedy)  # noqa: B904 - it has its cause
        self.compiled.by_layout[layout] = found
        took_s = time.perf_counter() - began
        self.compiled.took_s += took_s
        how = "machine code loaded" if dispatcher.stats.cache_hits else "compiled"
        logger.debug("%s: %s in %.2f s", self._name, how, took_s)
        return found

    def _freeze(self, function: Any) -> Any:
        from bgsim.kernels.frozen import freeze  # noqa: PLC0415 - for what is compiled

        ownership = Ownership(own_modules(function.__module__))
        return freeze(function, self.identity.fingerprint[:16], ownership.installed)

    def _approve(self, draws: bool) -> None:
        """Look at what was compiled anew, before it is used or kept."""
        if draws:
            raise _stream_error(self._name, self.identity)
        now = self._look(self._frozen)
        self._refuse_stale(now)
        if now.fingerprint != self.identity.fingerprint:
            named = self._look(self._function)  # with the names that its author knows
            raise SimulationChangedError(
                f"{self._name} changed while it was compiled: {changes(self.identity, named)}; submit it again"
            )


def changes(old: Identity, new: Identity) -> str:
    """Return which dependencies differ, at most three by name."""
    return few_of(list(part_differences(new.parts, old.parts))) or "what its parts refer to"


def _field_classes(parameters_class: type | None) -> list[Any]:
    """Return the classes that the fields are annotated with: an Enum, say, whose members have methods."""
    found, left = [], [] if parameters_class is None else [f.annotation for f in fields_of(parameters_class)]
    while left:
        annotation = left.pop()
        left += typing.get_args(annotation)
        if isinstance(annotation, enum.Enum):  # of a Literal
            found.append(type(annotation))
        elif isinstance(annotation, type) and not typing.get_args(annotation):
            found.append(annotation)
    return found


def _has_methods(kind: type[enum.Enum]) -> bool:
    """Tell whether an Enum has methods or properties that its author wrote: not those of C, nor of `enum`."""
    return any(
        hasattr(value, "__get__") and not hasattr(value, "__objclass__") and getattr(value, "__module__", "") != "enum"
        for base in kind.__mro__[: kind.__mro__.index(enum.Enum)]
        if issubclass(base, enum.Enum)
        for name, value in vars(base).items()
        if name not in kind.__members__
    )


def _stream_error(name: str, identity: Identity) -> StreamError:
    found = ", ".join(identity.draws) or "np.random or random, in a function that it calls"
    return StreamError(
        f"{name} draws random numbers from elsewhere than rng: {found}. Its replicates would be no function of the "
        "seed. Draw from rng, the simulation's second argument",
        field="simulation",
    )
