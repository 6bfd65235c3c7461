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
from typing import Any, Generic

import numpy as np

from bgsim.checks import normal_name, normal_names
from bgsim.errors import ParameterError
from bgsim.parameters.alike import alike
from bgsim.parameters.coercion import article
from bgsim.parameters.encoding import encode, from_jsonable, to_jsonable
from bgsim.parameters.fields import REQUIRED, Field, Limits, brief, fields_table
from bgsim.parameters.nesting import read_json
from bgsim.parameters.parameter_class import P, P_co, fields_of, parameter_class
from bgsim.tables import Table, Tabular

KEY_FORMAT = b"bgsim-key-1"
"""Changes when the encoding does, so that an old key never meets a new one."""

_KEPT_JSON = 4096
"""Characters; the JSON of large arrays is made again when it is needed, rather than kept."""


class ParameterSet(Tabular, Mapping[str, Any], Generic[P_co]):
    """Checked, immutable parameters: a mapping from name to value.

    Equal sets have equal encodings and hashes. Arrays are read-only copies.

    Parameters
    ----------
    given : instance of `parameters_class`, mapping, ParameterSet or None
        None means every default. Values are bool, int, float, complex, str, bytes, Enum, None, ndarray, or tuples of
        these. An instance is taken as it is; of a mapping the class is called once, and makes one.
    parameters_class : type, optional
        None takes any mapping, each field as it is.

    Raises
    ------
    ParameterError
        Naming the field, the value, what is allowed, and the nearest name.
    """

    __slots__ = ("_encoding", "_instance", "_json", "_values", "parameters_class")

    def __init__(self, given: Any = None, parameters_class: type[P_co] | None = None) -> None:
        if isinstance(given, ParameterSet):
            made_by = given.parameters_class
            is_kind = parameters_class is not None and made_by is not None and issubclass(made_by, parameters_class)
            given = given.instance() if is_kind else dict(given)
        if parameters_class is None:
            self._hold(_check_mapping(given), None, None)
            return
        declared = parameter_class(parameters_class)
        if type(given) is not parameters_class:
            if not (given is None or isinstance(given, Mapping)):
                raise ParameterError(
                    f"parameters must be {article(parameters_class.__name__)} or a mapping of its fields; got "
                    f"{article(type(given).__name__)}{_how_it_differs(type(given), parameters_class)}",
                    field="parameters",
                    value=given,
                )
            given = declared.construct(given or {})
        self._hold(*declared.read(given), parameters_class)

    def _hold(self, values: dict[str, Any], instance: Any, parameters_class: type | None) -> None:
        names = sorted(values) if parameters_class is None else parameter_class(parameters_class).names
        self._values: dict[str, Any] = {name: values[name] for name in names}
        self.parameters_class = parameters_class
        self._encoding: bytes | None = None
        self._instance: Any = instance
        self._json: str | None = None

    @classmethod
    def of(cls, given: Any, parameters_class: type[P] | None) -> ParameterSet[P]:
        """Return a set of this class: the given one, if it is one, else a new one."""
        if isinstance(given, ParameterSet):
            if given.parameters_class is parameters_class:
                return given
            if _is_again(given.parameters_class, parameters_class):
                return cls.restore(given, parameters_class)
        elif given is None and parameters_class is None:
            return _no_parameters()
        return ParameterSet(given, parameters_class)

    @classmethod
    def restore(cls, values: Mapping[str, Any], parameters_class: type[P] | None) -> ParameterSet[P]:
        """Return a set again from what was stored of it; the class is not called.

        Parameters
        ----------
        values : mapping
            From `values_from_json`.
        parameters_class : type or None
            That of the set. Its fields may have changed since: a new one takes its default.

        Raises
        ------
        ParameterError
            If a value is no longer allowed, or a field is gone or cannot be filled.
        """
        self: ParameterSet[P] = cls.__new__(ParameterSet)
        if parameters_class is None:
            self._hold(_check_mapping(values), None, None)
        else:
            self._hold(*parameter_class(parameters_class).restore(values), parameters_class)
        return self

    @property
    def encoding(self) -> bytes:
        """The canonical encoding, as `bgsim.parameters.encoding` defines it."""
        if self._encoding is None:
            parts: list[bytes] = []
            for name, value in self._values.items():
                encode(name, parts)
                encode(value, parts)
            self._encoding = b"".join(parts)
        return self._encoding

    def instance(self) -> P_co:
        """Return an instance of the parameter class, or a namedtuple of a mapping's fields."""
        if self._instance is None:
            self._instance = view_class(tuple(self._values))(*self._values.values())
        instance: P_co = self._instance
        if self.parameters_class is None:
            return instance
        return parameter_class(self.parameters_class).forgetful(instance, self._values)

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
        """Return what `to_json` wrote as plain values, to be given to `restore`."""
        values: dict[str, Any] = read_json(text, from_jsonable)
        return values

    def arguments(self) -> dict[str, Any]:
        """Return what the class makes an equal set of: to be changed, and given again.

        Raises
        ------
        ParameterError
            If the class makes another set of these values, as one does that normalises them.
        """
        if self.parameters_class is None:
            return dict(self._values)
        taken = parameter_class(self.parameters_class).arguments
        given = {name: value for name, value in self._values.items() if name in taken}
        try:
            again = ParameterSet(given, self.parameters_class)
        except ParameterError:
            again = None
        if again != self:
            raise ParameterError(
                f"{self.parameters_class.__name__} makes other values of those in {self!r}; give what that was made of",
                field="parameters",
                value=self,
            )
        return given

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the values: no code of the class runs where the set is made again."""
        return ParameterSet.restore, (self._values, self.parameters_class)

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            return self._values[normal_name(name)]

    @property
    def plain(self) -> Mapping[str, Any]:
        """The values in a dict, which is not to be changed: it is read faster than the set."""
        return self._values

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

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _table(self) -> Table:
        known = fields_of(self.parameters_class) if self.parameters_class else map(_free_field, self._values)
        title = self.parameters_class.__name__ if self.parameters_class else "parameters"
        return fields_table(title, "value", [(field, brief(self._values[field.name])) for field in known])


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
    scope : str
        Within which a result is shared: the tenant. Empty for all that have none.
    keep : str
        ``columns`` or ``summary``: what of the replicates is kept.
    identity : str
        SHA-256 over simulation, fingerprint, seed, parameters and, where they are not as they mostly are, scope and
        what is kept: 64 hexadecimal digits.
    """

    simulation: str
    fingerprint: str
    seed: int
    parameters: ParameterSet
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    scope: str = ""
    keep: str = "columns"
    identity: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        parts = [_encoded_names(self.simulation, self.fingerprint)]
        encode(self.seed, parts)
        parts.append(self.parameters.encoding)
        if self.scope or self.keep != "columns":  # a text more than the pairs of name and value before it, or two, so
            encode(self.scope, parts)  # that no other key meets it
        if self.keep != "columns":
            encode(self.keep, parts)
        object.__setattr__(self, "identity", hashlib.sha256(b"".join(parts)).hexdigest())

    @property
    def hash(self) -> str:
        """The parameter hash: the first 128 bits of `identity`, 32 hexadecimal digits."""
        return self.identity[:32]


@functools.cache
def _no_parameters() -> ParameterSet:
    """Return the set of no parameters, which all simulations without any share."""
    return ParameterSet()


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
    names = sorted(a.keys() | b.keys())
    if not names:
        return 1.0
    return sum(alike(a[n], b[n]) for n in names if n in a and n in b) / len(names)


@functools.lru_cache(maxsize=1024)
def view_class(names: tuple[str, ...]) -> type:
    """Return the namedtuple class with these fields; numba's cache finds it again by its name."""
    found: type = getattr(sys.modules[__name__], "View:" + ",".join(names))
    return found


def layout_of(view: Any) -> tuple[Any, ...]:
    """Return what a kernel is compiled for: the names and the types of its parameters."""
    return type(view), *[(v.dtype, v.ndim) if isinstance(v, np.ndarray) else type(v) for v in view]


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


def _is_again(first: type | None, second: type | None) -> bool:
    """Return whether a class is another by being defined again, as in a notebook's cell that is run again."""
    if first is None or second is None:
        return False
    return (first.__module__, first.__qualname__) == (second.__module__, second.__qualname__)


def _how_it_differs(given: type, wanted: type) -> str:
    """Return why an instance of one class is none of another that it looks like."""
    if issubclass(given, wanted):
        return ", a subclass, whose own fields and methods would be lost; annotate the simulation with that"
    if _is_again(given, wanted):
        return ", which was defined again since; define the simulation again, too"
    return ""


def _check_mapping(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ParameterError(
            f"parameters must be a mapping of names to values; got {type(given).__name__}",
            field="parameters",
            value=given,
        )
    given = normal_names("parameters", given, ParameterError)
    for name in given:
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or iskeyword(name):
            raise ParameterError(
                f"parameter names must be Python names, no keywords, without a leading underscore; got {brief(name)}",
                field=name if isinstance(name, str) else brief(name),
                value=name,
            )
    return {name: _free_field(name).coerce(value) for name, value in given.items()}


@functools.lru_cache(maxsize=1024)
def _free_field(name: str) -> Field:
    """Return the field of a mapping, which may have any value."""
    return Field(name, Any, REQUIRED, Limits())


def _kernel_value(value: Any) -> Any:
    """Return what the kernel sees of a value, None if nothing."""
    if type(value) in (float, int):
        return value
    if isinstance(value, enum.Enum):
        return int(value) if isinstance(value, int) else float(value) if isinstance(value, float) else None
    if isinstance(value, bool | int | float | complex | np.ndarray):
        return value
    if isinstance(value, tuple) and value and all(isinstance(v, bool | int | float) for v in value):
        array = np.array(value)
        array.flags.writeable = False
        return array
    return None
