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

_FUNCTIONS = {
    id(function): name
    for name, function in {
        "os.urandom": os.urandom,
        "uuid.uuid1": uuid.uuid1,
        "uuid.uuid4": uuid.uuid4,
        "secrets.token_bytes": secrets.token_bytes,
        "secrets.token_hex": secrets.token_hex,
        "secrets.randbelow": secrets.randbelow,
        "secrets.choice": secrets.choice,
        "secrets.randbits": secrets.randbits,
    }.items()
}

_SEEDED = {
    id(maker): name
    for name, maker in {
        "np.random.default_rng": np.random.default_rng,
        "np.random.RandomState": np.random.RandomState,
        "np.random.SeedSequence": np.random.SeedSequence,
        **{f"np.random.{kind.__name__}": kind for kind in np.random.BitGenerator.__subclasses__()},
        "random.Random": random.Random,
    }.items()
}


def why(value: Any) -> str | None:
    """Return the name of what draws from a stream that replicates share, None for anything else."""
    owner = value.__self__ if type(value) in (types.BuiltinFunctionType, types.MethodType) else None
    if issubclass(type(owner), _SOURCES):
        home = "random" if isinstance(owner, random.Random) else "np.random"
        shared = owner is np.random.mtrand._rand or owner is random._inst
        return f"{home}.{value.__name__}()" if shared else f"{type(owner).__name__}.{value.__name__}()"
    if issubclass(type(value), _SOURCES):  # `isinstance` may run code of the user's
        return f"a {type(value).__name__} that replicates share"
    found = _FUNCTIONS.get(id(value))
    return None if found is None else f"{found}()"


def why_unseeded(value: Any) -> str | None:
    """Return the name of a generator's maker that is called without a seed, None for anything else."""
    found = _SEEDED.get(id(value))
    return None if found is None else f"{found}() without a seed"
