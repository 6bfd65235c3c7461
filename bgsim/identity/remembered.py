"""Answers that the user's code remembers: they belong to the code and the values that they were computed with.

`functools.lru_cache` and `functools.cached_property` keep an answer when a constant that it came from is changed. Such
an answer belongs to no present identity. So this module records what a cache wraps while the cache is empty, or when it
is first met, and reports a change since.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from bgsim.identity.static import is_a, space_of
from bgsim.identity.writer import Writer

LRU_CACHE: Any = type(functools.lru_cache(len))

_CACHE = "it remembers answers that were computed with other values; call its cache_clear()"
_INSTANCE = "it remembers an answer that was computed with other values; delete that attribute, or call cache_clear()"

_of_caches: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""What each cache's function was when the cache was filled; nothing if it may hold answers of several."""

_of_instances: dict[int, tuple[weakref.ref[Any], str]] = {}
"""The same of instances whose class has caches, by their addresses."""


def look_at_cache(walk: Writer, cache: Any, out: list[str]) -> None:
    """Refuse a cache that was filled with other values than the present ones."""
    if walk.only_digests:
        return
    owner = walk.here.subject if is_a(walk.here.subject, type) else None
    now = walk.digest(cache.__wrapped__, owner)
    seen = _of_caches.get(cache)
    if seen is None or not _is_filled(cache):
        _of_caches[cache] = now
    elif seen != now:
        _of_caches[cache] = ""
        walk.watch.contents(_is_still_filled, cache, None)
        walk.refuse(f"{cache.__wrapped__.__qualname__}()", _CACHE, out)


def look_at_instance(walk: Writer, value: Any, out: list[str]) -> None:
    """Refuse an instance for which its class remembers answers of other values than the present ones."""
    if remembers_others(walk, value):
        for _, cache in _members(value, LRU_CACHE):
            walk.watch.contents(_is_still_filled, cache, None)
        walk.refuse(f"a {type(value).__qualname__}", _INSTANCE, out)


def remembers_others(walk: Writer, value: Any) -> bool:
    """Tell whether the class of an instance remembers answers of other values than the instance's present ones."""
    if walk.only_digests:
        return False
    caches, derived = _members(value, LRU_CACHE), _members(value, functools.cached_property)
    if not caches and not derived:
        return False
    now = walk.digest(value)
    seen, space = _of_instances.get(id(value)), space_of(value) or {}
    if seen is None or not (any(_is_filled(c) for _, c in caches) or any(name in space for name, _ in derived)):
        _note(value, now)
        return False
    if seen[1] != now:
        _note(value, "")
    return seen[1] != now


def _members(value: Any, kind: Any) -> list[tuple[str, Any]]:
    return [item for base in type(value).__mro__ for item in vars(base).items() if is_a(item[1], kind)]


def _note(value: Any, digest: str) -> None:
    address = id(value)
    try:
        _of_instances[address] = (weakref.ref(value, lambda _: _of_instances.pop(address, None)), digest)
    except TypeError:  # it cannot be told when it ends, and so not which instance an address belongs to
        return


def _is_filled(cache: Any) -> bool:
    return bool(LRU_CACHE.cache_info(cache).currsize)


def _is_still_filled(cache: Any, _: None) -> bool:
    return _is_filled(cache)
