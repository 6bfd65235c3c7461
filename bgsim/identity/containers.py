"""What containers and arrays count as: all that they hold."""

from __future__ import annotations

import array
import collections
import enum
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from bgsim.identity.atoms import atom_text
from bgsim.identity.static import is_a, space_of
from bgsim.identity.watch import SMALL_BYTES, array_digest, same_array, same_items, same_mapping, seen_array
from bgsim.identity.writer import Writer

_SEQUENCES = (tuple, list, collections.deque)
_MAPPINGS = (dict, types.MappingProxyType)
_SETS = (set, frozenset)
_BYTES = (bytearray, array.array)
_TEXTS: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: bytes.__bytes__,
}
BUILTIN_BASES = (*_SEQUENCES, *_MAPPINGS, *_SETS, *_BYTES, *_TEXTS, np.ndarray)


def plain_text(value: Any) -> str | None:
    """Return a text by which values that hold nothing but atoms, and members of enumerations, have an order."""
    if type(value) in (tuple, frozenset):
        texts = [plain_text(item) for item in value]
        if None in texts:
            return None
        return f"{type(value).__name__} {texts if type(value) is tuple else sorted(map(str, texts))}"
    if is_a(value, enum.Enum):
        return f"enum {type(value).__qualname__} {(space_of(value) or {}).get('_name_')}"
    return atom_text(value)


def write_builtin(walk: Writer, value: Any, base: Any, out: list[str]) -> None:
    """Append the items of a container; `base` is the builtin type that it is, or is derived from.

    The methods are those of `base`: what a class of the user's makes of them is not asked.
    """
    if base is np.ndarray:
        write_array(walk, value, out)
    elif base in _MAPPINGS:
        _write_mapping(walk, value, base, out)
    elif base in _BYTES:
        seen_bytes = memoryview(value).tobytes()
        walk.watch.contents(_same_bytes, value, seen_bytes)
        out.append(f"{base.__name__} {value.typecode if base is array.array else ''} {seen_bytes.hex()}")
    elif base in _TEXTS:
        out.append(str(atom_text(_TEXTS[base](value))))
    else:
        _write_items(walk, value, base, out)


def _write_mapping(walk: Writer, value: Any, base: Any, out: list[str]) -> None:
    seen = tuple(base.keys(value)), tuple(base.values(value))
    if type(value) is base:
        walk.watch.contents(same_mapping, value, seen)
    else:
        walk.watch.contents(_same_mapping_of, value, (base, seen))
    out.append(f"{base.__name__} {len(seen[0])}")
    for key, item in zip(*seen, strict=True):
        walk.write(key, out)
        walk.write(item, out)


def _write_items(walk: Writer, value: Any, base: Any, out: list[str]) -> None:
    items = tuple(base.__iter__(value))
    if type(value) is base and base not in (tuple, frozenset):
        walk.watch.contents(same_items, value, items)
    elif base not in (tuple, frozenset):
        walk.watch.contents(_same_items_of, value, (base, items))
    if base in _SETS:
        _write_set(walk, items, out)
        return
    if base is collections.deque and base.maxlen.__get__(value) is not None:
        out.append(f"at most {base.maxlen.__get__(value)}")
    walk.write_all(base.__name__, items, out)


def _same_mapping_of(value: Any, seen: tuple[Any, Any]) -> bool:
    base, (keys, values) = seen
    return same_items(tuple(base.keys(value)), keys) and same_items(tuple(base.values(value)), values)


def _same_items_of(value: Any, seen: tuple[Any, tuple[Any, ...]]) -> bool:
    return same_items(tuple(seen[0].__iter__(value)), seen[1])


def write_array(walk: Writer, value: np.ndarray, out: list[str], holder: Any = None) -> None:
    """Append an array, or a scalar with fields as the array that it is; `holder` is that scalar."""
    plain = np.asarray(value)
    if plain.dtype.hasobject:
        items = tuple(plain.ravel().tolist())
        walk.watch.contents(_same_objects, value if holder is None else holder, items)
        walk.write_all(f"array {plain.dtype} {plain.shape}", items, out)
        return
    if holder is not None:
        walk.watch.contents(_same_scalar, holder, seen_array(plain))
    elif plain.flags.writeable or plain.base is not None or plain.nbytes <= SMALL_BYTES:
        walk.watch.contents(same_array, plain, seen_array(plain))
    else:
        walk.watch.contents(_is_read_only, plain, None)
    out.append(f"array {np.lib.format.dtype_to_descr(plain.dtype)!r} {plain.shape} {array_digest(plain).hex()}")
    if not plain.flags.c_contiguous:
        out.append(f"strides {plain.strides}")  # sums are taken in the order of the memory
    if is_a(value, np.ma.MaskedArray):
        walk.write(np.ma.getmaskarray(value), out)


def _same_objects(holder: Any, seen: tuple[Any, ...]) -> bool:
    return same_items(tuple(np.asarray(holder).ravel().tolist()), seen)


def _same_scalar(holder: np.void, seen: tuple[Any, ...]) -> bool:
    return seen_array(np.asarray(holder)) == seen


def _is_read_only(array: np.ndarray, _: None) -> bool:
    return not array.flags.writeable


def _write_set(walk: Writer, items: tuple[Any, ...], out: list[str]) -> None:
    """Append a set's items in an order of their own; that of the set is another in each process."""
    keys = [plain_text(item) for item in items]
    if None not in keys and len(set(keys)) == len(keys):
        items = tuple(item for _, item in sorted(zip(keys, items, strict=True), key=lambda pair: str(pair[0])))
    texts, before = [], walk.count()
    for item in items:
        text: list[str] = []
        walk.write(item, text)
        texts.append("\0".join(text))
    out.append(f"set {len(texts)}")
    if walk.count() - before > 1 and None in keys:
        walk.refuse("a set of objects", "its order is another in each process", out)
    out += sorted(texts)


def _same_bytes(value: Any, seen: bytes) -> bool:
    return memoryview(value).tobytes() == seen
