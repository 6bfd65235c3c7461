"""Parameter sets: what a simulation runs with, checked, immutable and hashed.

A `ParameterSet` is made from an instance of the simulation's parameter class, or from a mapping. A compiled
kernel sees its numeric fields: numbers, arrays, and tuples of numbers as arrays. Text counts in the hash and
stays outside of the kernel.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from typing import Any

import numpy as np

from bgsim.encoding import encode, from_jsonable, to_jsonable
from bgsim.errors import ParameterError, nearest
from bgsim.fields import REQUIRED, Field, Limits, brief, fields_of

KEY_FORMAT = b"bgsim-key-1"
"""Changes when the encoding does, so that an old key never meets a new one."""

_KEPT_JSON = 4096
"""Characters; the JSON of large arrays is made again when it is needed, rather than kept."""


class ParameterSet(Mapping[str, Any]):
    """Checked, immutable parameters: a mapping from name to value.

    Equal sets have equal encodings and hashes. Arrays are read-only copies.

    Parameters
    ----------
    values : mapping of str to object
        Bool, int, float, complex, str, bytes, Enum, None, ndarray, or tuples of these.
    parameters_class : type, optional
        The class that the values were checked against.
    """

    __slots__ = ("_encoding", "_instance", "_json", "_values", "parameters_class")

    def __init__(self, values: Mapping[str, Any], parameters_class: type | None = None) -> None:
        self._values: dict[str, Any] = {name: values[name] for name in sorted(values)}
        self.parameters_class = parameters_class
        self._encoding: bytes | None = None
        self._instance: Any = None
        self._json: str | None = None

    @classmethod
    def of(cls, given: Any, parameters_class: type | None) -> ParameterSet:
        """Check what a caller gave against the parameter class, if there is one.

        Parameters
        ----------
        given : instance of `parameters_class`, mapping, ParameterSet or None
            None means every default.
        parameters_class : type or None
            None takes any mapping, each field as it is.

        Raises
        ------
        ParameterError
            Naming the field, the value, what is allowed, and the nearest name.
        """
        if isinstance(given, ParameterSet):
            if given.parameters_class is parameters_class:
                given.instance()  # it may have been made by hand
                return given
            given = given._values
        if parameters_class is None:
            return cls(_check_mapping(given))
        if isinstance(given, parameters_class):
            declared = fields_of(parameters_class)
            values = {f.name: getattr(given, f.name) for f in declared}
        elif given is None or isinstance(given, Mapping):
            declared = fields_of(parameters_class)
            values = _fill(dict(given or {}), declared, parameters_class)
        else:
            raise ParameterError(
                f"parameters must be a {parameters_class.__name__} or a mapping of its fields; "
                f"got {type(given).__name__}",
                field="parameters",
                value=given,
            )
        checked = {f.name: f.coerce(values[f.name]) for f in declared}
        for f in declared:
            _check_shape(f, checked)
        result = cls(checked, parameters_class)
        result.instance()  # the class's own __post_init__ may refuse them
        return result

    @property
    def encoding(self) -> bytes:
        """The canonical encoding, as `bgsim.encoding` defines it."""
        if self._encoding is None:
            parts: list[bytes] = []
            for name, value in self._values.items():
                encode(name, parts)
                encode(value, parts)
            self._encoding = b"".join(parts)
        return self._encoding

    def instance(self) -> Any:
        """Return an instance of the parameter class, or a namedtuple of a mapping's fields."""
        if self._instance is None:
            if self.parameters_class is None:
                self._instance = view_class(tuple(self._values))(*self._values.values())
            else:
                try:
                    self._instance = self.parameters_class(**self._values)
                except (TypeError, ValueError) as error:
                    raise ParameterError(
                        f"{self.parameters_class.__name__} refuses these parameters: {error}",
                        field="parameters",
                        value=dict(self._values),
                    ) from error
        return self._instance

    def kernel_view(self) -> Any:
        """Return the numeric fields as a namedtuple: what a compiled kernel gets as its first argument."""
        visible = {name: _kernel_value(value) for name, value in self._values.items()}
        visible = {name: value for name, value in visible.items() if value is not None}
        return view_class(tuple(visible))(*visible.values())

    def to_json(self) -> str:
        """Return JSON from which the set can be made again; arrays are base64, small ones lists."""
        if self._json is not None:
            return self._json
        text = json.dumps({name: to_jsonable(value) for name, value in self._values.items()})
        if len(text) <= _KEPT_JSON:  # the journal and the store ask for it
            self._json = text
        return text

    @staticmethod
    def values_from_json(text: str) -> dict[str, Any]:
        """Return what `to_json` wrote as plain values, to be given to `of`."""
        values: dict[str, Any] = json.loads(text, object_hook=from_jsonable)
        return values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParameterSet) and self.encoding == other.encoding

    def __hash__(self) -> int:
        return hash(self.encoding)

    def __repr__(self) -> str:
        name = self.parameters_class.__name__ if self.parameters_class else "parameters"
        return f"{name}({', '.join(f'{k}={brief(v)}' for k, v in self._values.items())})"


@dataclasses.dataclass(frozen=True, slots=True)
class ResultKey:
    """What a result is a function of, besides the number of replicates: a result grows.

    Attributes
    ----------
    simulation, fingerprint : str
        Name and fingerprint of the simulation.
    seed : int
    parameters : ParameterSet
    parts : mapping of str to str
        What the fingerprint was made of: the label of each dependency, and a short hash of it. Empty if unknown. It
        counts in no comparison, nor in the identity: the store keeps it so that a user can see which one changed.
    identity : str
        SHA-256 over simulation, fingerprint, seed and parameters, 64 hexadecimal digits.
    """

    simulation: str
    fingerprint: str
    seed: int
    parameters: ParameterSet
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    identity: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        parts = [_encoded_names(self.simulation, self.fingerprint)]
        encode(self.seed, parts)
        parts.append(self.parameters.encoding)
        object.__setattr__(self, "identity", hashlib.sha256(b"".join(parts)).hexdigest())

    @property
    def hash(self) -> str:
        """The parameter hash: the first 128 bits of `identity`, 32 hexadecimal digits."""
        return self.identity[:32]


@functools.lru_cache(maxsize=256)
def _encoded_names(*names: str) -> bytes:
    """Return how an identity begins."""
    parts: list[bytes] = [KEY_FORMAT]
    for name in names:
        encode(name, parts)
    return b"".join(parts)


def similarity(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Return how alike two parameter sets are, from 0 to 1 (equal).

    The mean over all fields of either: numbers by their relative difference, arrays of one shape by the
    mean of that, everything else by equality.
    """
    names = a.keys() | b.keys()
    if not names:
        return 1.0
    return sum(_alike(a[n], b[n]) for n in names if n in a and n in b) / len(names)


@functools.lru_cache(maxsize=1024)
def view_class(names: tuple[str, ...]) -> type:
    """Return the namedtuple class with these fields; numba's cache finds it again by its name."""
    found: type = getattr(sys.modules[__name__], "View:" + ",".join(names))
    return found


def __getattr__(name: str) -> Any:
    """Make a view class by its name: numba's on-disk cache unpickles it so in another process."""
    if not name.startswith("View:"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    fields = [field for field in name[len("View:") :].split(",") if field]
    view = collections.namedtuple("parameters", fields, module=__name__)  # type: ignore[misc]
    view.__name__ = view.__qualname__ = name
    view.__repr__ = _view_repr  # type: ignore[method-assign]
    return globals().setdefault(name, view)


def _view_repr(self: Any) -> str:
    return f"parameters({', '.join(f'{n}={brief(v)}' for n, v in zip(self._fields, self, strict=True))})"


def _check_mapping(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ParameterError(
            f"parameters must be a mapping of names to values; got {type(given).__name__}",
            field="parameters",
            value=given,
        )
    for name in given:
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or iskeyword(name):
            raise ParameterError(
                f"parameter names must be Python names, no keywords, without a leading underscore; got {name!r}",
                field=str(name),
                value=name,
            )
    return {name: _free_field(name).coerce(value) for name, value in given.items()}


@functools.lru_cache(maxsize=1024)
def _free_field(name: str) -> Field:
    """Return the field of a mapping, which may have any value."""
    return Field(name, Any, REQUIRED, Limits())


def _fill(given: dict[str, Any], declared: tuple[Field, ...], parameters_class: type) -> dict[str, Any]:
    """Add the defaults; refuse what is unknown or missing."""
    names = [f.name for f in declared]
    for name, value in given.items():
        if name not in names:
            raise ParameterError(
                f"{parameters_class.__name__} has no parameter {name!r}{nearest(str(name), names)} "
                f"(it has {', '.join(names)})",
                field=str(name),
                value=value,
            )
    for f in declared:
        if f.name not in given:
            if f.required:
                raise ParameterError(
                    f"parameter {f.name!r} ({f.type_name}) of {parameters_class.__name__} must be given",
                    field=f.name,
                )
            given[f.name] = f.default
    return given


def _check_shape(declared: Field, values: dict[str, Any]) -> None:
    if declared.limits.shape is None:
        return
    wanted = tuple(values[n] if isinstance(n, str) else n for n in declared.limits.shape)
    shape = np.shape(values[declared.name])
    if len(shape) != len(wanted) or any(w not in (None, s) for s, w in zip(shape, wanted, strict=True)):
        names = ", ".join("any" if n is None else str(n) for n in declared.limits.shape)
        raise ParameterError(
            f"parameter {declared.name!r} must have the shape ({names}) = "
            f"{tuple('any' if w is None else w for w in wanted)}; got {shape}",
            field=declared.name,
            value=values[declared.name],
        )


def _kernel_value(value: Any) -> Any:
    """Return what the kernel sees of a value, None if nothing."""
    if type(value) in (float, int):
        return value
    if isinstance(value, enum.IntEnum):
        return int(value)
    if isinstance(value, bool | int | float | complex | np.ndarray):
        return value
    if isinstance(value, tuple) and value and all(isinstance(v, bool | int | float) for v in value):
        array = np.array(value)
        array.flags.writeable = False
        return array
    return None


def _alike(a: Any, b: Any) -> float:
    if _is_number(a) and _is_number(b):
        a, b = np.asarray(float(a)), np.asarray(float(b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape:
            return 0.0
        if a.dtype.kind in "fiu" and b.dtype.kind in "fiu" and a.size:
            a, b = a.astype(float), b.astype(float)
            scale = np.maximum(np.abs(a), np.abs(b))
            with np.errstate(invalid="ignore", divide="ignore"):
                distance = np.where(a == b, 0.0, np.abs(a - b) / scale)
            return float(np.mean(1.0 - np.clip(np.nan_to_num(distance, nan=1.0), 0.0, 1.0)))
        return float(np.array_equal(a, b))
    return float(type(a) is type(b) and a == b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool | enum.Enum)
