"""Random numbers that do not come from a replicate's own stream: what draws them is no function of the seed."""

from __future__ import annotations

import os
import random
import secrets
import types
import uuid
from typing import Any

import numpy as np

_SOURCES = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)

_OF_NUMPY: Any = np.random.rand.__self__  # type: ignore[attr-defined] # a method of it
_OF_RANDOM: Any = random.random.__self__  # type: ignore[attr-defined]
"""The generators behind `np.random.rand` and `random.random`, which all code of the process shares."""

UNDIRECTED_METHODS: dict[str, str | None] = {"rvs": None, "sample": "pandas"}
"""Methods of installed packages that draw from the process's own stream unless they are given one.

Of a name that others have as well, with the package that the same function has to use.
"""


CHANGED_METHODS = frozenset({"beta", "negative_binomial", "noncentral_chisquare", "noncentral_f", "poisson", "wald"})
"""Methods of a kernel's ``rng`` whose numbers were numba's in earlier versions of bgsim, and are NumPy's, which differ.

The names count in the identity of compiled code, so that stored results of the former are not taken for the latter's.
``f`` and ``standard_t`` are not among them: numba's gave NumPy's numbers, or an error where the parameters were small.
"""


def _by_address(things: dict[str, Any]) -> dict[int, tuple[Any, str]]:
    """Return names by address. The things are kept, so that their addresses stay theirs."""
    return {id(thing): (thing, name) for name, thing in things.items()}


_NO_DRAWS = ("compare_digest", "SystemRandom")
_FUNCTIONS = _by_address(
    {
        **{f"os.{name}": getattr(os, name) for name in ("urandom", "getrandom") if hasattr(os, name)},
        "uuid.uuid1": uuid.uuid1,
        "uuid.uuid4": uuid.uuid4,
        "random.SystemRandom": random.SystemRandom,
        **{f"secrets.{name}": getattr(secrets, name) for name in secrets.__all__ if name not in _NO_DRAWS},
    }
)

_SEEDED = _by_address(
    {
        "np.random.default_rng": np.random.default_rng,
        "np.random.RandomState": np.random.RandomState,
        "np.random.SeedSequence": np.random.SeedSequence,
        **{f"np.random.{kind.__name__}": kind for kind in np.random.BitGenerator.__subclasses__()},
        "random.Random": random.Random,
    }
)

_MODULES = _by_address({"np.random": np.random, "random": random, "secrets": secrets})


def why(value: Any) -> str | None:
    """Return the name of what draws from a stream that replicates share, None for anything else."""
    owner = value.__self__ if type(value) in (types.BuiltinFunctionType, types.MethodType) else None
    if issubclass(type(owner), _SOURCES):
        home = "random" if isinstance(owner, random.Random) else "np.random"
        shared = owner is _OF_NUMPY or owner is _OF_RANDOM
        return f"{home}.{value.__name__}()" if shared else f"{type(owner).__name__}.{value.__name__}()"
    if issubclass(type(value), _SOURCES):  # `isinstance` may run code of the user's
        return f"a {type(value).__name__} that replicates share"
    if id(value) in _MODULES:
        return f"{_MODULES[id(value)][1]} as a whole"
    found = _FUNCTIONS.get(id(value))
    return None if found is None else f"{found[1]}()"


def why_unseeded(value: Any) -> str | None:
    """Return the name of a generator's maker that is called without a seed, None for anything else."""
    found = _SEEDED.get(id(value))
    return None if found is None else f"{found[1]}() without a seed"


def is_of_process(value: Any) -> bool:
    """Tell whether something is the generator behind `np.random.normal` and the like, which packages fall back on."""
    return value is _OF_NUMPY


def is_source(value: Any) -> bool:
    """Tell whether something is a generator of random numbers."""
    return isinstance(value, _SOURCES)
