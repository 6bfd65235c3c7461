"""Machine code on disk, by the identity of what it was compiled from, and by nothing else that may be stale.

A file holds the machine code of one function for one signature. Its name is a hash of the identity, the signature, the
processor, the versions of Python, numba, llvmlite, NumPy and bgsim, and what kernels draw from. A file that cannot be
written costs a compilation in the next process, and one that cannot be read costs one in this process.
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
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import NullCache
from numba.core.codegen import RuntimeLinker
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

import bgsim
from bgsim.identity.look import look
from bgsim.kernels.draws.layout import LAYOUT
from bgsim.kernels.draws.numpys import MISSING

logger = logging.getLogger("bgsim.kernels.compiled")

MOST_FILES = 2000
"""Beyond it the files that were used longest ago go."""

_CHECKSUM_BYTES = 32


def name_apart() -> None:
    """Have numba number the functions that it compiles from a number that no other process begins with.

    The number stands in the name of the machine code, and machine code is found by its name. So what this process
    compiles and what it loads of another one, both of a method that was edited in between, must not have one name.
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(42) << 20)  # noqa: SLF001 - numba has no setting for it


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
        key = self._key(sig, target_context.codegen())
        path = self._path(key)
        try:
            if path is None or not _is_ours(path):
                return None
            content = path.read_bytes()
            checksum, data = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
            if _checksum(key, data) != checksum:
                raise ValueError("it does not match its checksum")
            loaded = CompileResult._rebuild(target_context, *pickle.loads(data))  # noqa: SLF001 - as numba's own cache does
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
        key = self._key(sig, cres.target_context.codegen())
        path = self._path(key)
        if path is None or not _can_be_kept(cres):
            return
        try:
            data = dumps(cres._reduce())  # noqa: SLF001 - as numba's own cache does
            _write(path, _checksum(key, data) + data)
            _prune(path.parent)
        except Exception as error:  # a full disk, or what cannot be pickled
            _say_once(f"machine code cannot be kept in {path.parent}, so the next process compiles again: {error}")

    def _key(self, sig: Any, codegen: Any) -> bytes:
        versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, bgsim.__version__)
        draws = (LAYOUT, np.__version__, MISSING)
        return repr((self._identity, str(sig), codegen.magic_tuple(), versions, draws)).encode()

    def _path(self, key: bytes) -> Path | None:
        folder = cache_folder() if self._identity is not None else None
        return None if folder is None else folder / f"{hashlib.sha256(key).hexdigest()[:40]}.kernel"


def keep_ours(dispatcher: Any) -> None:
    """Keep the machine code of one of bgsim's own functions on disk, too."""
    if not isinstance(dispatcher._cache, KernelCache):  # noqa: SLF001 - numba has no setting for it
        function = dispatcher.py_func
        found = look(function.__qualname__, function.__module__, (function,), compiled=True, own=("bgsim",))
        dispatcher._cache = KernelCache(found.fingerprint)  # noqa: SLF001 - numba has no setting for it


def _checksum(key: bytes, data: bytes) -> bytes:
    """Return what stands before the machine code in a file; a file of another key does not match it."""
    return hashlib.sha256(hashlib.sha256(key).digest() + data).digest()


def _can_be_kept(cres: Any) -> bool:
    """Tell whether machine code can run in another process.

    It cannot if it holds an address. Nor can a function that calls itself: numba fills in the address of that call when
    it compiles, and not when it loads, and a call without an address ends the process.
    """
    if cres.library.has_dynamic_globals or any(not lifted.can_cache for lifted in cres.lifted):
        return False
    everything_linked = cres.library._final_module  # noqa: SLF001 - numba has no public name for it
    return not any(name.name.startswith(_UNRESOLVED) for name in everything_linked.global_variables)


_UNRESOLVED = RuntimeLinker.PREFIX


def cache_folder() -> Path | None:
    """Return the folder for machine code, made if there is none; None if there is none that can be used.

    It is ``bgsim`` in ``NUMBA_CACHE_DIR`` where that is set, else ``kernels`` in the user's cache folder.
    """
    return _folder(os.environ.get("NUMBA_CACHE_DIR", ""))


@functools.lru_cache(maxsize=16)
def _folder(chosen: str) -> Path | None:
    import platformdirs  # noqa: PLC0415 - only compiling needs it

    try:
        folder = Path(chosen) / "bgsim" if chosen else platformdirs.user_cache_path("bgsim") / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} cannot be written")
        if not _is_ours(folder):
            raise PermissionError(f"{folder} can be written by other users")
    except (OSError, RuntimeError) as error:  # the latter where there is no home directory
        _say_once(
            f"machine code cannot be kept, so each process compiles again; NUMBA_CACHE_DIR names a folder: {error}"
        )
        return None
    return folder


def _is_ours(path: Path) -> bool:
    """Tell whether no other user can have written a file, or put one into a folder: reading a file runs its content.

    In a folder with a sticky bit, the files of other users have another owner.
    """
    if not hasattr(os, "getuid"):
        return True
    found = path.stat()
    sticky = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
    return found.st_uid in (os.getuid(), 0) and (sticky or not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step, also if another process writes it."""
    part = path.with_suffix(f".{secrets.token_hex(8)}.part")
    try:
        part.touch(mode=0o600, exist_ok=False)
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
