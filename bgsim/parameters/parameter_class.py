"""Parameter classes: what one takes, what its instances hold, and how an instance is made, read and made again.

The code of the author, such as `__post_init__`, runs once for a set of parameters: when the class is called. From then
on the values of the instance count. A set that is read from JSON gets an instance with these values, and the class is
not called again.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.checks import normal_names
from bgsim.errors import ParameterError, brief, nearest
from bgsim.parameters.coercion import without_alias
from bgsim.parameters.fields import REQUIRED, Field, Limits

if TYPE_CHECKING:
    import typing_extensions  # checkers of types have it

    P = typing_extensions.TypeVar("P", default=Any)
    P_co = typing_extensions.TypeVar("P_co", default=Any, covariant=True)
else:
    P = typing.TypeVar("P")
    P_co = typing.TypeVar("P_co", covariant=True)
"""A parameter class, for checkers of types, and that of what only gives parameters; anything where no class is said."""

KEPT_AS = "__bgsim_parameters__"
"""The attribute of a parameter class under which it holds its `ParameterClass`."""

_REMEDY = "give its parameters anew (engine.retry(id, parameters=...) for a dead letter), or submit it again"


class ParameterClass:
    """A parameter class as bgsim sees it; made by `parameter_class`. Read-only.

    Attributes
    ----------
    fields : tuple of Field
        What an instance holds, in the order of the class.
    names : tuple of str
        Their names, sorted.
    arguments : dict of str to bool
        What the class takes, and whether it must be given: its fields but for the derived ones, and each `InitVar`.
    """

    def __init__(self, parameters_class: type) -> None:
        self._class = parameters_class
        self._is_tuple = issubclass(parameters_class, tuple) and hasattr(parameters_class, "_fields")
        is_frozen = dataclasses.is_dataclass(parameters_class) and parameters_class.__dataclass_params__.frozen  # type: ignore[attr-defined]
        if not (is_frozen or self._is_tuple):
            raise ParameterError(
                f"{parameters_class.__name__} must be a dataclass with frozen=True or a NamedTuple",
                field="parameters",
                value=parameters_class,
            )
        self.arguments = _arguments(parameters_class, self._is_tuple)
        read = _named_tuple_fields if self._is_tuple else _dataclass_fields
        self.fields = tuple(read(parameters_class, self.arguments))
        self.names = tuple(sorted(f.name for f in self.fields))
        self._by_name = {f.name: f for f in self.fields}
        self._shaped = tuple(f for f in self.fields if f.limits.shape is not None)
        self._answers = frozenset(_cached_properties(parameters_class))
        self._kept = self._answers.union(self.names)
        self._other_slots = tuple(name for name in _slots(parameters_class) if name not in self._by_name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle nothing of it: a class that is pickled by value has it made anew."""
        return type(None), ()

    def construct(self, given: Mapping[str, Any]) -> Any:
        """Call the class with what a mapping gives, each value in the type of its field.

        Raises
        ------
        ParameterError
            If a name is unknown, derived or missing, a type is wrong, or the class refuses the values.
        """
        given = normal_names("parameters", given, ParameterError)
        for name, value in given.items():
            if name not in self.arguments:
                raise self._unknown(name, value)
        for name, must_be_given in self.arguments.items():
            if must_be_given and name not in given:
                kind = f" ({self._by_name[name].type_name})" if name in self._by_name else ""
                raise ParameterError(
                    f"parameter {name!r}{kind} of {self._class.__name__} must be given",
                    field=name,
                )
        fields = self._by_name
        arguments = {n: _writable(fields[n].convert(v)) if n in fields else v for n, v in given.items()}
        try:
            return self._class(**arguments)
        except Exception as error:  # whatever the author's code raises
            raise self._refusal(error, arguments) from error

    def read(self, instance: Any) -> tuple[dict[str, Any], Any]:
        """Return the values of an instance, checked, and an instance that holds exactly these.

        Parameters
        ----------
        instance : instance of the class

        Returns
        -------
        values : dict
            By field. Arrays are read-only copies.
        instance : object
            The given one, if it holds these values. Otherwise a copy, which the class was not called for.

        Raises
        ------
        ParameterError
            If a value is not allowed, or an attribute is no field and so would be lost.
        """
        is_exact = True
        values = {}
        for field in self.fields:
            try:
                held = getattr(instance, field.name)
            except AttributeError as error:
                raise ParameterError(
                    f"{self._class.__name__} gives its field {field.name!r} no value; __post_init__ must set it",
                    field=field.name,
                ) from error
            values[field.name] = value = field.coerce(held)
            is_exact = is_exact and value is held
        self._check_shapes(values)
        self._refuse_other_attributes(instance)
        return values, instance if is_exact else self._holding(values)

    def forgetful(self, instance: P, values: dict[str, Any]) -> P:
        """Return an instance with these values whose cached properties have computed nothing yet.

        What one has computed may be of code or constants that have changed since.
        """
        if self._answers.isdisjoint(getattr(instance, "__dict__", ())):
            return instance
        again: P = self._holding(values)
        return again

    def restore(self, stored: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Return what `read` returned, from values that were stored since. The class is not called.

        A field that is new since takes its default, unless the class computes its fields.

        Raises
        ------
        ParameterError
            If a value is not allowed, or the class has other fields since.
        """
        for name, value in stored.items():
            if name not in self._by_name:
                raise ParameterError(
                    f"{self._class.__name__} no longer has the parameter {name!r} of a stored job; {_REMEDY}",
                    field=name,
                    value=value,
                )
        values = {f.name: f.coerce(stored[f.name] if f.name in stored else self._default_of(f)) for f in self.fields}
        self._check_shapes(values)
        return values, self._holding(values)

    def _default_of(self, field: Field) -> Any:
        if field.required or field.derived or _computes(self._class, self._is_tuple):
            raise ParameterError(
                f"{self._class.__name__} now has a parameter {field.name!r} that a stored job lacks; {_REMEDY}",
                field=field.name,
            )
        return field.new_default()

    def _holding(self, values: dict[str, Any]) -> Any:
        """Return an instance with these values, made as a copy is."""
        if self._is_tuple:
            names: tuple[str, ...] = self._class._fields  # type: ignore[attr-defined]
            return tuple.__new__(self._class, [values[name] for name in names])
        instance: Any = object.__new__(self._class)
        for name, value in values.items():
            object.__setattr__(instance, name, value)
        return instance

    def _check_shapes(self, values: dict[str, Any]) -> None:
        for field in self._shaped:
            wanted = tuple(values[n] if isinstance(n, str) else n for n in field.limits.shape or ())
            shape = np.shape(values[field.name])
            if len(shape) != len(wanted) or any(w not in (None, s) for s, w in zip(shape, wanted, strict=True)):
                names = ", ".join("any" if n is None else str(n) for n in field.limits.shape or ())
                raise ParameterError(
                    f"parameter {field.name!r} must have the shape ({names}) = "
                    f"{tuple('any' if w is None else w for w in wanted)}; got {shape}",
                    field=field.name,
                    value=values[field.name],
                )

    def _refuse_other_attributes(self, instance: Any) -> None:
        attributes = getattr(instance, "__dict__", {})
        if attributes.keys() <= self._kept and not self._other_slots:
            return
        others = [name for name in attributes if name not in self._kept]
        for name in others + [name for name in self._other_slots if hasattr(instance, name)]:
            value = getattr(instance, name)
            raise ParameterError(
                f"{type(instance).__name__} has an attribute {name!r} that is no field: it would count neither in the "
                f"hash nor in a compiled kernel. Declare it as a field, `{name}: {type(value).__name__} = "
                "field(init=False)`, or make it a functools.cached_property",
                field=name,
                value=value,
            )

    def _unknown(self, name: Any, value: Any) -> ParameterError:
        if name in self._by_name:
            text = f"{self._class.__name__} derives {name!r} itself, so it cannot be given"
            return ParameterError(f"{text} (it takes {', '.join(self.arguments)})", field=name, value=value)
        return ParameterError(
            f"{self._class.__name__} has no parameter {brief(name)}{nearest(name, self.arguments)} "
            f"(it has {', '.join(self.arguments)})",
            field=name if isinstance(name, str) else brief(name),
            value=value,
        )

    def _refusal(self, error: Exception, arguments: dict[str, Any]) -> ParameterError:
        """Return why the class refuses the arguments, and which of them is out of its limits."""
        text = str(error) if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: {error}"
        text = f"{self._class.__name__} refuses these parameters: {text}"
        for name, value in arguments.items():
            if name in self._by_name:
                try:
                    self._by_name[name].check(value)
                except ParameterError as limit:
                    return ParameterError(f"{text}; {limit}", field=name, value=value)
        if isinstance(error, ParameterError):
            return ParameterError(text, field=error.field, value=error.value)
        return ParameterError(text, field="parameters", value=arguments)


def parameter_class(found: type) -> ParameterClass:
    """Return what bgsim knows of a parameter class; the class itself keeps it, and so nothing keeps the class.

    Raises
    ------
    ParameterError
        If it is neither a frozen dataclass nor a NamedTuple.
    """
    known: ParameterClass | None = vars(found).get(KEPT_AS)
    if known is None:
        known = ParameterClass(found)
        setattr(found, KEPT_AS, known)
    return known


def fields_of(found: type) -> tuple[Field, ...]:
    """Return the fields of a frozen dataclass or NamedTuple, in their order, derived ones included.

    Raises
    ------
    ParameterError
        If the class is neither.
    """
    return parameter_class(found).fields


def unreachable_attribute(found: type | None, message: str) -> str | None:
    """Return what to do where numba misses a parameter; None if it misses something else.

    Parameters
    ----------
    found : type or None
        The parameter class.
    message : str
        What numba said.
    """
    missed = re.search(r"Unknown attribute '(\w+)' of type View:", message)
    if missed is None:
        return None
    name = missed[1]
    if found is None or name in parameter_class(found).names:
        text = "is None or a text" if found is not None else "was not given, or is None or a text"
        return (
            f"Parameter {name!r} {text} here, and only numbers and arrays reach a compiled kernel. Give it a number, "
            "or use @simulation(compile=False)."
        )
    attribute = inspect.getattr_static(found, name, None)
    if attribute is None:
        names = parameter_class(found).names
        return f"{found.__name__} has no field {name!r}{nearest(name, names)} (it has {', '.join(names)})."
    is_property = isinstance(attribute, property | functools.cached_property)
    kind = "a property" if is_property else "a method" if inspect.isroutine(attribute) else "an attribute of the class"
    return (
        f"{found.__name__}.{name} is {kind}, and only fields reach a compiled kernel. Compute it in __post_init__ into "
        f"a field, `{name}: float = field(init=False)`, or use @simulation(compile=False)."
    )


def _arguments(found: type, is_tuple: bool) -> dict[str, bool]:
    """Return the names of what a class takes, and whether each must be given."""
    signature = inspect.signature(found).parameters.values()
    arguments = {a.name: a.default is a.empty for a in signature if a.kind in (a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)}
    if any(a.kind is a.VAR_KEYWORD for a in signature):  # as in ``__new__(cls, **values)``, which hands them on
        names = found._fields if is_tuple else [f.name for f in dataclasses.fields(found) if f.init]  # type: ignore[attr-defined]
        arguments = dict.fromkeys(names, False) | arguments
    return arguments


def _named_tuple_fields(found: Any, arguments: Mapping[str, bool]) -> Iterable[Field]:
    hints, defaults = _hints(found), found._field_defaults
    for name in found._fields:
        default = defaults.get(name, REQUIRED)
        yield Field(name, hints.get(name, Any), default, Limits(), derived=name not in arguments)


def _dataclass_fields(found: Any, arguments: Mapping[str, bool]) -> Iterable[Field]:
    hints, comments = _hints(found), _field_comments(found)
    for f in dataclasses.fields(found):
        limits = f.metadata.get("bgsim") or Limits(doc=comments.get(f.name, ""))
        factory = None if f.default_factory is dataclasses.MISSING else f.default_factory
        derived = f.name not in arguments
        yield Field(f.name, hints.get(f.name, Any), f.default, limits, factory=factory, derived=derived)


def _field_comments(found: type) -> dict[str, str]:
    """Return the trailing comments of the fields, where the source is at hand."""
    try:
        lines = inspect.getsource(found).splitlines()
    except (OSError, TypeError):
        return {}
    comments = {}
    for line in lines:
        code, mark, comment = line.partition("  # ")
        name, colon, _ = code.strip().partition(":")
        if mark and colon and name.isidentifier():
            comments[name] = comment.strip()
    return comments


def _cached_properties(found: type) -> Iterable[str]:
    """Return the names under which an instance keeps what a cached property has computed."""
    return [n for c in found.__mro__ for n, value in vars(c).items() if isinstance(value, functools.cached_property)]


def _slots(found: type) -> Iterable[str]:
    """Return the names of the slots of a class, but for those of Python itself."""
    for c in found.__mro__:
        slots = vars(c).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                yield name


def _computes(found: Any, is_tuple: bool) -> bool:
    """Return whether the class may hold other values than it is given: then a raw default is none of its values."""
    if is_tuple:
        first = next(c for c in found.__mro__ if "__new__" in vars(c) or "_fields" in vars(c))
        return "_fields" not in vars(first)
    code = getattr(found.__init__, "__code__", None)
    return hasattr(found, "__post_init__") or code is None or code.co_filename != "<string>"  # as dataclass writes it


def _writable(value: Any) -> Any:
    """Let the class change an array in place, which is a copy of the caller's, and is copied when it is read back."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = True
    return value


def _hints(parameters_class: type) -> dict[str, Any]:
    """Return the annotations of a class by field, none of them an alias."""
    return {name: without_alias(hint) for name, hint in typing.get_type_hints(parameters_class).items()}
