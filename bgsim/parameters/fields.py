"""The fields of a parameter class: their types, units and ranges, and the check of what is given for them."""

from __future__ import annotations

import cmath
import dataclasses
import json
import math
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np

from bgsim.errors import ParameterError, nearest
from bgsim.errors import brief as short
from bgsim.parameters.coercion import article, coerce
from bgsim.tables import Table

T = TypeVar("T")

_ANY = "a number, a text, an array, a member of an Enum, None, or a tuple of these"

REQUIRED: Any = dataclasses.MISSING
"""The default of a field that has none."""


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


class Limited(TypedDict, total=False):
    """The attributes of `Limits`, for checkers of types."""

    unit: str
    doc: str
    ge: float | None
    gt: float | None
    le: float | None
    lt: float | None
    choices: Sequence[Any] | None
    allow_nan: bool
    shape: tuple[int | str | None, ...] | None


@typing.overload
def parameter(default: T, **limits: Unpack[Limited]) -> T: ...
@typing.overload
def parameter(**limits: Unpack[Limited]) -> Any: ...
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
            return coerce(value, self.annotation)
        except Exception as error:  # an object that is given may raise anything
            kind = _ANY if self.annotation is Any else article(self.type_name)
            raise self._refusal(value, f"must be {kind}: {error}") from error

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
            if not any(_is_equal(value, choice) for choice in limits.choices):
                hint = nearest(value, limits.choices) if isinstance(value, str) else ""
                raise self._refusal(value, f"must be {limits.describe()}{hint}")
        elif not _within(value, limits):
            raise self._refusal(value, f"must satisfy {limits.describe()}")

    def parse(self, text: str) -> Any:
        """Return the value that a user typed: JSON where it is JSON, else the text itself."""
        if self.annotation is str:
            return text
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}.get(text.lower()) or parsed(text)

    def _refusal(self, value: Any, allowed: str) -> ParameterError:
        unit = f" (in {self.limits.unit})" if self.limits.unit else ""
        return ParameterError(
            f"parameter {brief(self.name)}{unit} {allowed}; got {brief(value)}", field=self.name, value=value
        )


def parsed(text: str) -> Any:
    """Return what a text is as JSON, or the text itself: also if it is nested too deeply, or has too many digits."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _is_equal(value: Any, choice: Any) -> bool:
    return np.array_equal(value, choice) if isinstance(value, np.ndarray) else value is choice or value == choice


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


def brief(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} array {value.shape}>" if value.size > 6 else f"{value.tolist()}"
    return short(value, 60)


def fields_table(title: str, heading: str, fields: Iterable[tuple[Field, str]]) -> Table:
    """Return a table of fields, each with a text such as its value."""
    rows = [(f.name, text, f.limits.unit, f.limits.describe(), f.limits.doc) for f, text in fields]
    return Table(("parameter", heading, "unit", "range", ""), rows, title=title, most=None).trimmed()
