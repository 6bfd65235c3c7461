"""What the author of a simulation declares with ``depends_on``: names, objects, modules and files."""

from __future__ import annotations

import hashlib
import types
from pathlib import Path
from typing import Any

from bgsim.errors import InvalidInputError
from bgsim.identity.watch import ABSENT, same_length
from bgsim.identity.writer import Writer


def write_declared(walk: Writer, function: Any, declared: tuple[Any, ...], out: list[str]) -> None:
    """Append what counts besides the code that was followed.

    A text is a name, looked up where the function looks its names up; a `pathlib.Path` is a file, whose content counts;
    of a module all counts that it holds; anything else is followed.

    Raises
    ------
    InvalidInputError
        If there is no such name, the file cannot be read, or the object itself cannot be followed.
    """
    for item in declared:
        before = len(walk.limits)
        if isinstance(item, str):
            value = walk.lookup.of_name(function, tuple(item.split(".")))[0]
            if value is ABSENT:
                raise InvalidInputError(
                    f"depends_on names {item!r}, which {function.__module__} does not have",
                    field="depends_on",
                    value=item,
                )
            _write(walk, item, value, out)
        else:
            _write(walk, getattr(item, "__name__", str(type(item).__name__)), item, out)
        if len(walk.limits) > before:
            raise InvalidInputError(
                f"depends_on names {walk.limits[before]}; name what can be followed, or answer for it with version=",
                field="depends_on",
                value=item,
            )


def _write(walk: Writer, name: str, value: Any, out: list[str]) -> None:
    out.append(f"declared {name}")
    if isinstance(value, Path):
        _write_file(walk, value, out)
    elif isinstance(value, types.ModuleType):
        walk.watch.contents(same_length, vars(value), len(vars(value)))
        for inner in sorted(vars(value)):
            held = vars(value)[inner]
            if not (inner.startswith("__") or isinstance(held, types.ModuleType)):
                walk.watch.name(vars(value), inner, held)
                out.append(inner)
                walk.write(held, out)
    else:
        walk.write_named(name, value, out)


def _write_file(walk: Writer, path: Path, out: list[str]) -> None:
    try:
        seen = _signature(path)
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"depends_on names the file {path}, which cannot be read: {error}", field="depends_on", value=path
        ) from error
    walk.watch.contents(_same_file, path, seen)
    walk.write_named(str(path), hashlib.sha256(content).digest(), out)


def _signature(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _same_file(path: Path, seen: tuple[int, int, int]) -> bool:
    try:
        return _signature(path) == seen
    except OSError:
        return False
