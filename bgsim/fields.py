"""The fields of a parameter class: their types, units and ranges, and the check of what is given for them."""

from __future__ import annotations

import cmath
import dataclasses
import enum
import functools
import json
import math
import operator
import types
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from bgsim.encoding import MemberName, is_encodable
from bgsim.errors import ParameterError, nearest

REQUIRED: Any = dataclasses.MISSING
"""The default of a field that has none."""

_NUMERIC_KINDS = "biufc"


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a parameter may be, beyond its type.

    Attributes
    ----------
    unit, doc : str
        For people.
    ge, gt, le, lt : float or None
        Bounds, on each element of an array.
    choices : tuple or None
        The allowed values.
    allow_nan : bool
        Whether NaN is a value. By default it is refused.
    shape : tuple of int, str or None, or None
        Of an array: lengths, names of integer parameters, or None for any length.
    """

    unit: str = ""
    doc: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    allow_nan: bool = False
    shape: tuple[int | str | None, ...] | None = None

    def describe(self) -> str:
        """Return the range in words: ``"0 < x <= 1"``, ``"one of ..."``, or an empty string."""
        if self.choices is not None:
            return "one of " + ", ".join(map(repr, self.choices))
        low = f"{self.ge} <= " if self.ge is not None else f"{self.gt} < " if self.gt is not None else ""
        high = f" <= {self.le}" if self.le is not None else f" < {self.lt}" if self.lt is not None else ""
        return f"{low}x{high}" if low or high else ""


def parameter(default: Any = REQUIRED, **limits: Any) -> Any:
    """Declare a field of a parameter dataclass with its unit and what it may be.

    Parameters
    ----------
    default : object, optional
        Without one the field must be given.
    **limits
        The attributes of `Limits`: ``unit``, ``doc``, ``ge``, ``gt``, ``le``, ``lt``, ``choices``,
        ``allow_nan``, ``shape``.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Decay:
    ...     rate: float = bgsim.parameter(0.1, unit="per second", gt=0)
    """
    metadata = {"bgsim": Limits(**limits)}
    if isinstance(default, np.ndarray | list):  # each instance gets its own
        return dataclasses.field(default_factory=default.copy().copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a parameter class.

    Attributes
    ----------
    name : str
    annotation : type
    default : object
        `REQUIRED` if it has none, or a factory.
    limits : Limits
    factory : callable or None
        Makes the default, for each instance its own.
    derived : bool
        Whether the class computes it, and does not take it.
    """

    name: str
    annotation: Any
    default: Any
    limits: Limits
    factory: Callable[[], Any] | None = None
    derived: bool = False

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is REQUIRED and self.factory is None and not self.derived

    def new_default(self) -> Any:
        """Return the default of a field that has one."""
        return self.default if self.factory is None else self.factory()

    @property
    def type_name(self) -> str:
        """The annotation as a reader would write it."""
        if isinstance(self.annotation, type) and not typing.get_args(self.annotation):
            return self.annotation.__name__
        return str(self.annotation).replace("typing.", "").replace("numpy.", "np.")

    def coerce(self, value: Any) -> Any:
        """Return the value in the field's type, within its limits.

        Raises
        ------
        ParameterError
            If its type or its value is not allowed.
        """
        converted = self.convert(value)
        self.check(converted)
        return converted

    def convert(self, value: Any) -> Any:
        """Return the value in the field's type.

        Raises
        ------
        ParameterError
            If its type is not allowed.
        """
        if type(value) is float and self.annotation is float:  # as most are
            return value
        try:
            return _coerce(value, self.annotation)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._refusal(value, f"must be {_article(self.type_name)}: {error}") from error

    def check(self, value: Any) -> None:
        """Refuse a value of the field's type that is out of its limits.

        Raises
        ------
        ParameterError
        """
        limits = self.limits
        if not limits.allow_nan and _has_nan(value):
            raise self._refusal(value, "must not be NaN")
        if limits.choices is not None:
            if value not in limits.choices:
                hint = nearest(value, limits.choices) if isinstance(value, str) else ""
                raise self._refusal(value, f"must be {limits.describe()}{hint}")
        elif not _within(value, limits):
            raise self._refusal(value, f"must satisfy {limits.describe()}")

    def parse(self, text: str) -> Any:
        """Return the value that a user typed: JSON where it is JSON, else the text itself."""
        if self.annotation is str:
            return text
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}.get(text.lower(), text)

    def _refusal(self, value: Any, allowed: str) -> ParameterError:
        unit = f" (in {self.limits.unit})" if self.limits.unit else ""
        return ParameterError(
            f"parameter {self.name!r}{unit} {allowed}; got {brief(value)}", field=self.name, value=value
        )


def _coerce(value: Any, annotation: Any) -> Any:
    if annotation is Any or annotation in _SCALARS:
        return _coerce_scalar(value, annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _coerce(value, typing.get_args(annotation)[0])
    if origin is typing.Literal:
        if isinstance(value, MemberName):
            members = [m for m in typing.get_args(annotation) if isinstance(m, enum.Enum) and m.name == value]
            value = members[0] if members else value
        if value not in typing.get_args(annotation):
            raise ValueError(f"allowed are {', '.join(map(repr, typing.get_args(annotation)))}")
        return _normal(value)
    if origin in (typing.Union, types.UnionType):
        for option in typing.get_args(annotation):
            try:
                return _coerce(value, option)
            except (TypeError, ValueError):
                continue
        raise TypeError(f"it is a {type(value).__name__}")
    if annotation is np.ndarray or origin is np.ndarray:
        return _coerce_array(value, typing.get_args(annotation))
    if annotation is tuple or origin is tuple:
        return _coerce_tuple(value, typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _coerce_enum(value, annotation)
    return _coerce_scalar(value, type(None) if annotation is None else annotation)


def _coerce_scalar(value: Any, annotation: Any) -> Any:
    value = _normal(value)
    if type(value) is annotation:
        return value
    if annotation is float and isinstance(value, int) and not isinstance(value, bool | enum.Enum):
        return float(value)
    if annotation is complex and isinstance(value, int | float) and not isinstance(value, bool | enum.Enum):
        return complex(value)
    if annotation in _SCALARS:
        raise TypeError(f"it is {_article(type(value).__name__)}")
    return value


_SCALARS = frozenset({bool, int, float, complex, str, bytes, type(None)})


def _normal(value: Any) -> Any:
    """Return the value in one of the encodable types."""
    if type(value) is float or (type(value) is int and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, enum.Enum):
        return _checked_member(value)
    if isinstance(value, MemberName):
        raise TypeError(f"the Enum of the stored member {value!s} is not known; annotate the field with it")
    if value is None:
        return value
    if isinstance(value, bool | float | complex | str | bytes):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise OverflowError("integers must fit in 64 bits")
        return value
    if isinstance(value, np.ndarray):
        return _coerce_array(value, ())
    if isinstance(value, tuple | list):
        return tuple(_normal(item) for item in value)
    raise TypeError(f"a {type(value).__name__} cannot be a parameter")


def _coerce_array(value: Any, type_args: tuple[Any, ...]) -> np.ndarray:
    array = np.asarray(value)
    if type_args:
        wanted = typing.get_args(type_args[-1])
        if wanted and isinstance(wanted[0], type) and issubclass(wanted[0], np.generic):
            if array.size and not np.can_cast(array.dtype, wanted[0], "same_kind"):
                raise TypeError(f"it holds {array.dtype}, not {np.dtype(wanted[0])}")
            array = array.astype(wanted[0], copy=False)
    if array.dtype.kind not in _NUMERIC_KINDS:
        raise TypeError(f"an array of {array.dtype} cannot be a parameter")
    array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
    array.flags.writeable = False
    return array


def _coerce_tuple(value: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list | np.ndarray):
        raise TypeError(f"it is {_article(type(value).__name__)}")
    if not items:
        return tuple(_normal(item) for item in value)
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ValueError(f"it has {len(value)} items, not {len(items)}")
    return tuple(_coerce(item, kind) for item, kind in zip(value, items, strict=True))


def _coerce_enum(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    if isinstance(value, kind):
        return _checked_member(value)
    if isinstance(value, str) and value in kind.__members__:
        return _checked_member(kind[value])
    if isinstance(value, str) and issubclass(kind, enum.Flag):
        names = [name for name in value.split("|") if name]
        if all(name in kind.__members__ for name in names):
            return functools.reduce(operator.or_, [kind[name] for name in names], kind(0))
    try:
        return _checked_member(kind(value))
    except ValueError:
        raise ValueError(f"allowed are {', '.join(kind.__members__)}") from None


def _checked_member(member: enum.Enum) -> enum.Enum:
    """Return a member; refuse one whose value has no canonical form, for the value counts in the hash."""
    if not is_encodable(member.value):
        kind = _article(type(member.value).__name__)
        raise TypeError(
            f"the value of {type(member).__name__}.{member.name} is {kind}; that of an Enum parameter may be a number, "
            "text, bytes, None, an array, or a tuple of these"
        )
    return member


def _has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, complex):
        return cmath.isnan(value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fc" and bool(np.isnan(value).any())
    return isinstance(value, tuple) and any(map(_has_nan, value))


def _within(value: Any, limits: Limits) -> bool:
    if isinstance(value, tuple):
        return all(_within(item, limits) for item in value)
    if isinstance(value, np.ndarray):
        return bool(
            (limits.ge is None or np.all(value >= limits.ge))
            and (limits.gt is None or np.all(value > limits.gt))
            and (limits.le is None or np.all(value <= limits.le))
            and (limits.lt is None or np.all(value < limits.lt))
        )
    if not isinstance(value, int | float):
        return True  # bounds are for numbers
    return (
        (limits.ge is None or value >= limits.ge)
        and (limits.gt is None or value > limits.gt)
        and (limits.le is None or value <= limits.le)
        and (limits.lt is None or value < limits.lt)
    )


def _article(word: str) -> str:
    return f"an {word}" if word[:1] in "aeio" else f"a {word}"


def brief(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} array {value.shape}>" if value.size > 6 else f"{value.tolist()}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
