"""A simulation as its code was at one look: its identity, and what has been compiled of it."""

from __future__ import annotations

import typing
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.errors import CompileError, SimulationChangedError, StreamError
from bgsim.identity.look import Identity, look
from bgsim.identity.report import few_of, part_differences
from bgsim.parameter_class import fields_of, unreachable_attribute

if TYPE_CHECKING:
    from bgsim.kernel import CompiledKernel
    from bgsim.simulation import Simulation

BIASED_DRAWS = {
    "poisson": "it is biased for 10 <= lam < 15 in numba 0.68.1",
    "negative_binomial": "it draws from numba's biased poisson",
}
"""Generator methods whose compiled form does not follow the distribution, and why."""


class BiasedDrawWarning(UserWarning):
    """A compiled kernel draws from a distribution that numba gets wrong."""


class IdentityWarning(UserWarning):
    """A simulation reaches what cannot be followed, so its results are neither stored nor shared."""


class Kept:
    """What is kept of a revision for as long as its code may come back: no values, which may be large.

    Attributes
    ----------
    compiled : dict of object to CompiledKernel
        By the layout of the parameters; set in one step each.
    warned : bool
        Whether it was said what cannot be followed.
    """

    __slots__ = ("compiled", "warned")

    def __init__(self) -> None:
        self.compiled: dict[Any, CompiledKernel] = {}
        self.warned = False


class Revision:
    """What a simulation was at one look. Any thread may call any method.

    Parameters
    ----------
    simulation : Simulation
    compiles : bool
        Whether numba compiles it.

    Attributes
    ----------
    identity : Identity
    compiles : bool
    kept : Kept
        One for all revisions of the same fingerprint.
    """

    def __init__(self, simulation: Simulation, *, compiles: bool) -> None:
        self.compiles = compiles
        self._name = simulation.name
        self._outputs = simulation.outputs
        self._parameters_class = simulation.parameters_class
        self._takes_control = simulation.takes_control
        self._answered_for = bool(simulation.version) or simulation.depends_on is not None
        self._look: Callable[[Any], Identity] = lambda function: _look(simulation, function, compiles=compiles)
        self.kept = Kept()
        self._function = simulation.function
        self.identity: Identity = self._look(simulation.function)
        self._frozen = self._freeze(simulation.function) if compiles else None

    def renew(self, same: Revision) -> None:
        """Take over what a later look at the same code has found: it may hold equal values in other objects."""
        self.identity, self._frozen = same.identity, same._frozen

    @property
    def is_followed(self) -> bool:
        """Whether a change of anything that it reaches would be seen, or its author answers for the rest."""
        return self._answered_for or not self.identity.limits

    def check_streams(self) -> None:
        """Refuse plain Python that draws random numbers from elsewhere; compiled code is looked at when it is compiled.

        Raises
        ------
        StreamError
            Naming what draws.
        """
        if self.identity.draws and not self.compiles:
            raise _stream_error(self._name, self.identity)

    def check_machine_code(self) -> None:
        """Refuse compiled code in which numba would use what it compiled before something was changed.

        Raises
        ------
        CompileError
            Naming it.
        """
        if self.identity.stale:
            raise self._stale_error(self.identity)

    def warn_if_not_followed(self) -> None:
        """Say, once, what cannot be followed."""
        if not self.is_followed and not self.kept.warned:
            self.kept.warned = True
            warnings.warn(f"{self.not_followed()}; its results are neither stored nor shared", IdentityWarning, 3)

    def not_followed(self) -> str:
        """Return what cannot be followed, and what its author can do."""
        found = self.identity.limits
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return (
            f"{self._name} reaches what bgsim cannot follow: {found[0]}{more}. A change of it would go unseen. Name "
            'what counts with @simulation(depends_on=(...)), or answer for it with version="1"'
        )

    def check_unchanged(self, simulation: Simulation) -> None:
        """Refuse to go on with rows of plain Python whose code or values have changed meanwhile.

        Raises
        ------
        SimulationChangedError
            Naming what is different.
        """
        if self.identity.is_unchanged():
            return
        now = self._look(simulation.function)
        if now.fingerprint == self.identity.fingerprint:
            self.identity = now  # nothing that counts
            return
        raise SimulationChangedError(
            f"{self._name} has changed since the job was submitted: {changes(self.identity, now)}. Nothing of the job "
            "is stored, for its rows would mix the two; submit it again. If the simulation itself changes that and it "
            "makes no difference, name what counts: @simulation(depends_on=(...))"
        )

    # ---- compiling -----------------------------------------------------------------------------------

    def compiled(self, layout: Any) -> CompiledKernel | None:
        """Return the kernel that was compiled for a layout of the parameters, None if there is none."""
        return self.kept.compiled.get(layout)

    def compile(self, layout: Any, view: Any) -> CompiledKernel:
        """Compile a kernel for a layout of the parameters; `view` is an example of it.

        Raises
        ------
        CompileError, OutputError, StreamError
        """
        from bgsim.kernel import CompiledKernel, make_dispatcher  # noqa: PLC0415 - imports numba

        self._warn_of_biased_draws()
        kept_as = self.identity.fingerprint if self.is_followed else None
        dispatcher = make_dispatcher(self._frozen, kept_as, self._approve)
        try:
            found = CompiledKernel(dispatcher, self._name, view, self._outputs, self._takes_control)
        except CompileError as error:
            remedy = unreachable_attribute(self._parameters_class, str(error))
            if remedy is None:
                raise
            raise CompileError(f"{remedy}\n{error}") from error.__cause__
        self.kept.compiled[layout] = found
        return found

    def _freeze(self, function: Any) -> Any:
        from bgsim.frozen import freeze  # noqa: PLC0415 - for what is compiled

        return freeze(function, self.identity.fingerprint[:16])

    def _approve(self, draws: bool) -> None:
        """Look at what was compiled anew, before it is used or kept."""
        if draws:
            raise _stream_error(self._name, self.identity)
        now = self._look(self._frozen)
        if now.stale:
            raise self._stale_error(now)
        if now.fingerprint != self.identity.fingerprint:
            named = self._look(self._function)  # with the names that its author knows
            raise SimulationChangedError(
                f"{self._name} changed while it was compiled: {changes(self.identity, named)}; submit it again"
            )

    def _stale_error(self, found: Identity) -> CompileError:
        return CompileError(f"{self._name} reaches {'; '.join(found.stale)}, or start a new process")

    def _warn_of_biased_draws(self) -> None:
        for method in sorted(self.identity.attributes & BIASED_DRAWS.keys()):
            warnings.warn(
                f"{self._name} calls {method}() in a compiled kernel: {BIASED_DRAWS[method]}. "
                "Sum exponential waiting times instead, or use @simulation(compile=False).",
                BiasedDrawWarning,
                stacklevel=2,
            )


def changes(old: Identity, new: Identity) -> str:
    """Return which dependencies differ, at most three by name."""
    return few_of(list(part_differences(new.parts, old.parts))) or "what its parts refer to"


def _look(simulation: Simulation, function: Any, *, compiles: bool) -> Identity:
    outputs = [(o.name, np.lib.format.dtype_to_descr(o.dtype), o.shape) for o in simulation.outputs]
    values = [function, simulation.version, repr(outputs), compiles]
    if not compiles:  # plain Python gets an instance, with all its methods
        values += [simulation.parameters_class, _field_classes(simulation.parameters_class)]
    return look(
        simulation.name,
        simulation.function.__module__,
        tuple(values),
        compiled=compiles,
        declared=simulation.depends_on,
        own=("bgsim.frozen",),
    )


def _field_classes(parameters_class: type | None) -> list[Any]:
    """Return the classes that the fields are annotated with: an Enum, say, whose members have methods."""
    found, left = [], [] if parameters_class is None else [f.annotation for f in fields_of(parameters_class)]
    while left:
        annotation = left.pop()
        left += typing.get_args(annotation)
        if isinstance(annotation, type) and not typing.get_args(annotation):
            found.append(annotation)
    return found


def _stream_error(name: str, identity: Identity) -> StreamError:
    found = ", ".join(identity.draws) or "np.random or random, in a function that it calls"
    return StreamError(
        f"{name} draws random numbers from elsewhere than rng: {found}. Its replicates would be no function of the "
        "seed. Draw from rng, the simulation's second argument",
        field="simulation",
    )
