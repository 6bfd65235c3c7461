"""Whether another process computes the same bits: its versions, and a few replicates that both compute.

Another processor, or another numba, may round ``exp`` otherwise in the last digit. A replicate would then depend on the
machine that computed it.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from typing import TYPE_CHECKING, Any, TypeAlias

from bgsim.environment import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Digest: TypeAlias = tuple[bytes, ...]
"""A hash of each probe; empty for one that raised."""

PROBES = 4
"""How many replicates are compared, at most."""

MUST_AGREE = ("python", "bgsim", "numpy", "numba", "llvmlite")
"""What a worker must have the same versions of."""


@functools.cache
def this_environment() -> Mapping[str, str]:
    """Return what of this process may make bits differ: versions, and the processor with what it can."""
    from llvmlite import binding  # noqa: PLC0415 - imports LLVM
    from numba import config  # noqa: PLC0415 - imports numba

    versions = {package: version_of(package) or "unknown" for package in MUST_AGREE if package != "python"}
    features = sorted(name for name, has in binding.get_host_cpu_features().items() if has)
    set_by_hand = [value for value in (config.CPU_NAME, config.CPU_FEATURES) if value is not None]
    digest = hashlib.sha256(",".join(features).encode()).hexdigest()[:8]
    return {
        "python": platform.python_version().rpartition(".")[0],
        **versions,
        "libc": " ".join(platform.libc_ver()).strip() or platform.system(),
        "machine": platform.machine(),
        "cpu": ", ".join([binding.get_host_cpu_name(), f"{len(features)} features ({digest})", *set_by_hand]),
    }


def described(found: Mapping[str, str]) -> str:
    """Return an environment in one line."""
    return ", ".join(f"{name} {version}" for name, version in found.items())


def disagreements(mine: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the packages of which two environments have other versions."""
    return [name for name in MUST_AGREE if mine.get(name) != other.get(name)]


def probe_indices(identity: str, replicates: int) -> tuple[int, ...]:
    """Return which replicates are probes: the first, the last, and two drawn from the identity of the request."""
    digest = hashlib.sha256(identity.encode()).digest()
    drawn = [int.from_bytes(digest[start : start + 8], "big") % replicates for start in (0, 8)]
    return tuple(sorted({0, replicates - 1, *drawn}))


def digest_of(
    compute: Callable[[int, tuple[NDArray[Any], ...]], int],
    columns: tuple[NDArray[Any], ...],
    indices: Sequence[int],
) -> Digest | None:
    """Return a hash of each of some replicates; None if an order came first.

    Parameters
    ----------
    compute : callable
        ``compute(first, columns)`` computes as many replicates as the columns have rows, and returns how many it did.
    columns : tuple of ndarray
        With a row for each index.
    indices : sequence of int

    Notes
    -----
    One that raises has none: it may not do so the next time, as where a file was not there yet.
    """
    found = []
    for row, index in enumerate(indices):
        rows = tuple(column[row : row + 1] for column in columns)
        try:
            if not compute(index, rows):
                return None
        except BaseException:  # also one that would end the thread, such as SystemExit
            found.append(b"")
        else:
            found.append(hashlib.sha256(b"".join([one.tobytes() for one in rows])).digest())
    return tuple(found)


def agree(mine: Digest, other: Digest) -> bool:
    """Tell whether two processes have computed the same bits of all replicates that raised in neither."""
    return all(a == b for a, b in zip(mine, other, strict=True) if a and b)
