"""Simulations on their way to another process: by the name under which it imports them, or by value.

By name a process imports the module that it has, and the fingerprint tells whether that is the same code. By value,
with cloudpickle, it gets the code itself, and so of a notebook, of a file that only this machine has, and of code that
has been edited since the workers began.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bgsim.errors import ShippingError, short_text
from bgsim.identity.ownership import Ownership, own_modules
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.backends.base import Computation


class Shipment:
    """A simulation with its parameters, pickled once a run.

    Attributes
    ----------
    key : str
        Of what it holds.
    payload : bytes
    fingerprint : str
        What the simulation's has to be where it arrives; empty for code that travels itself.
    """

    __slots__ = ("fingerprint", "key", "payload")

    def __init__(self, payload: bytes, fingerprint: str) -> None:
        self.payload = payload
        self.fingerprint = fingerprint
        self.key = hashlib.sha256(fingerprint.encode() + payload).hexdigest()


def by_name(computation: Computation) -> Shipment | None:
    """Return a simulation as the name under which others import it; None if it has none."""
    if computation.simulation.__module__ == "__main__":
        return None
    try:
        return Shipment(pickle.dumps(_content(computation)), computation.fingerprint)
    except Exception:  # of the parameters' own classes, too: they travel by value then
        return None


def by_value(computation: Computation, why: str = "") -> Shipment:
    """Return a simulation with its code.

    Parameters
    ----------
    computation : Computation
    why : str
        Why the name did not do, for the error.

    Raises
    ------
    ShippingError
        If cloudpickle is not installed, or cannot pickle it.
    """
    name = computation.simulation.name
    try:
        import cloudpickle  # noqa: PLC0415 - an extra
    except ImportError:
        raise ShippingError(
            f"{name} cannot be sent to another process by its name{why}. Put it into a module that the workers import, "
            "or have it sent as code: pip install cloudpickle"
        ) from None
    file = io.BytesIO()
    try:
        with _kept_by_value(cloudpickle, computation.simulation.__module__):
            cloudpickle.CloudPickler(file).dump(_content(computation))
    except Exception as error:
        raise ShippingError(
            f"{name} cannot be sent to another process{why}: {short_text(error)}. Put it into a "
            "module that the workers import, or keep what cannot be pickled out of its globals"
        ) from error
    return Shipment(file.getvalue(), "")


def _content(computation: Computation) -> Any:
    return computation.simulation, computation.parameters


_registering = Lock()
"""cloudpickle's registry is the process's."""


@contextmanager
def _kept_by_value(cloudpickle: Any, module: str) -> Iterator[None]:
    """Have cloudpickle keep the user's own modules by value, as it keeps those of ``__main__``."""
    ownership = Ownership(own_modules(module))
    with _registering:
        known = cloudpickle.list_registry_pickle_by_value() | {"__main__"}
        own = {  # by the name that cloudpickle knows it by; some are in `sys.modules` by several
            found.__name__: found
            for name, found in list(sys.modules.items())
            if not known & {name, getattr(found, "__name__", "")} and _is_own(ownership, name, found)
        }
        try:
            for found in own.values():
                cloudpickle.register_pickle_by_value(found)
            yield
        finally:
            for found in own.values():
                cloudpickle.unregister_pickle_by_value(found)


def _is_own(ownership: Ownership, name: str, module: Any) -> bool:
    if not isinstance(module, ModuleType) or name.partition(".")[0] == "bgsim":
        return False  # others put anything into `sys.modules`
    if not isinstance(getattr(module, "__file__", None), str):
        return False
    return ownership.installed(name) is None
