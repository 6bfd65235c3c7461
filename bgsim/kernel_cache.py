"""Machine code on disk, by the identity of what it was compiled from, and by nothing else that may be stale.

A file holds the machine code of one function for one signature. Its name is a hash of the identity, the signature, the
processor, and the versions of Python, numba and llvmlite. A file that cannot be written costs a compilation in the next
process, and one that cannot be read costs it in this one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import pickle
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

logger = logging.getLogger("bgsim.kernel")

MOST_FILES = 2000
"""Beyond it the files that were used longest ago go."""

_CHECKSUM_BYTES = 32


def name_apart() -> None:
    """Have numba number the functions that it compiles from a number that no other process begins with.

    The number stands in the name of the machine code, and machine code is found by its name. So what this process
    compiles and what it loads of another one, both of a method that was edited in between, must not have one name.
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(42) << 20)


class KernelCache(NullCache):  # type: ignore[misc]
    """What a numba dispatcher asks before it compiles; one for each dispatcher.

    Parameters
    ----------
    identity : str or None
        Of the code and all the values that are compiled; None keeps nothing.
    approve : callable, optional
        Called with what was compiled anew, before that is kept.
    """

    def __init__(self, identity: str | None, approve: Callable[[Any], None] | None = None) -> None:
        self._identity = identity
        self._approve = approve

    @property
    def cache_path(self) -> str | None:
        """The folder, None if there is none that can be used."""
        folder = cache_folder()
        return None if folder is None else str(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled before for a signature, None if there is nothing, or nothing that can be loaded."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            if path is None or not _is_ours(path):
                return None
            content = path.read_bytes()
            checksum, data = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
            if hashlib.sha256(data).digest() != checksum:
                raise ValueError("it does not match its checksum")
            loaded = CompileResult._rebuild(target_context, *pickle.loads(data))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever another numba has written, or its modules raise when they are imported
            logger.debug("machine code in %s cannot be loaded, so it is compiled anew: %s", path, error)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return loaded

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep what was compiled for a signature, if that can be done."""
        if self._approve is not None:
            self._approve(cres)
        path = self._path(sig, cres.target_context.codegen())
        if path is None or cres.library.has_dynamic_globals or any(not lifted.can_cache for lifted in cres.lifted):
            return
        try:
            data = dumps(cres._reduce())
            _write(path, hashlib.sha256(data).digest() + data)
            _prune(path.parent)
        except Exception as error:  # a full disk, or what cannot be pickled
            _say_once(f"machine code cannot be kept in {path.parent}, so the next process compiles again: {error}")

    def _path(self, sig: Any, codegen: Any) -> Path | None:
        folder = cache_folder() if self._identity is not None else None
        if folder is None:
            return None
        versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
        text = repr((self._identity, str(sig), codegen.magic_tuple(), versions))
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.kernel"


def cache_folder() -> Path | None:
    """Return the folder for machine code, made if there is none; None if there is none that can be used.

    It is ``bgsim`` in ``NUMBA_CACHE_DIR`` where that is set, else ``kernels`` in the user's cache folder.
    """
    return _folder(os.environ.get("NUMBA_CACHE_DIR", ""))


@functools.lru_cache(maxsize=16)
def _folder(chosen: str) -> Path | None:
    import platformdirs  # noqa: PLC0415 - only those who compile need it

    try:
        folder = Path(chosen) / "bgsim" if chosen else platformdirs.user_cache_path("bgsim") / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} cannot be written")
        if not _is_ours(folder):
            raise PermissionError(f"{folder} belongs to another user")
    except (OSError, RuntimeError) as error:  # the latter where there is no home directory
        _say_once(
            f"machine code cannot be kept, so each process compiles again; NUMBA_CACHE_DIR names a folder: {error}"
        )
        return None
    return folder


def _is_ours(path: Path) -> bool:
    """Tell whether nobody else can have written a file: reading it runs what it says."""
    if not hasattr(os, "getuid"):
        return True
    return path.stat().st_uid in (os.getuid(), 0)


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step, whoever else writes it."""
    part = path.with_suffix(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _prune(folder: Path) -> None:
    """Delete the files that were used longest ago, beyond `MOST_FILES`."""
    files = list(folder.iterdir())
    if len(files) <= MOST_FILES:
        return
    used = []
    for file in files:
        with contextlib.suppress(OSError):
            used.append((file.stat().st_mtime, file))
    for _, file in sorted(used)[: len(used) - MOST_FILES * 9 // 10]:
        file.unlink(missing_ok=True)


@functools.cache
def _say_once(text: str) -> None:
    logger.warning(text)
