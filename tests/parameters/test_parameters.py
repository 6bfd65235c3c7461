"""Parameter sets: checking, canonical encoding, hash, similarity, JSON, and the kernel's view."""

from __future__ import annotations

import enum
import math
import pickle
import typing
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import bgsim
from bgsim.errors import ParameterError
from bgsim.parameters.parameter_class import fields_of
from bgsim.parameters.parameter_set import ParameterSet, ResultKey, similarity


class Kind(enum.Enum):
    PUT = 1
    CALL = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Everything:
    number: float = 1.5
    count: int = 3
    flag: bool = True
    text: str = "x"
    raw: bytes = b"\x00"
    kind: Kind = Kind.PUT
    weights: tuple[float, ...] = (1.0, 2.0)
    grid: NDArray[np.float64] = bgsim.parameter(np.array([[1.0, 2.0]]), shape=(None, 2))
    maybe: float | None = None
    word: typing.Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Ranged:
    rate: float = bgsim.parameter(0.5, unit="per second", gt=0, le=1, doc="of decay")
    count: int = bgsim.parameter(1, ge=0)
    name: str = bgsim.parameter("one", choices=("one", "two"))
    maybe_nan: float = bgsim.parameter(0.0, allow_nan=True)
    path: NDArray[np.float64] = bgsim.parameter(np.zeros(1), shape=("count",))


class Tup(typing.NamedTuple):
    a: float
    b: int = 2


def of(values: typing.Any = None, cls: type | None = Everything) -> ParameterSet:
    return ParameterSet.of(values, cls)


def test_defaults_are_taken_and_normalised() -> None:
    """None means every default; an int given for a float field is a float."""
    assert of()["number"] == 1.5
    assert type(of({"number": 2})["number"]) is float
    assert of({"number": 2}) == of({"number": 2.0})
    assert of(Everything(number=2.0)) == of({"number": 2})
    assert of({"weights": [1, 2]}) == of()


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"numbr": 1.0}, "numbr", "did you mean 'number'"),
        ({"number": "1"}, "number", "must be a float"),
        ({"number": math.nan}, "number", "must not be NaN"),
        ({"count": 3.0}, "count", "must be an int"),
        ({"count": True}, "count", "must be an int"),
        ({"count": 2**63}, "count", "64 bits"),
        ({"flag": 1}, "flag", "must be a bool"),
        ({"kind": "PUTT"}, "kind", "PUT, CALL"),
        ({"weights": 3.0}, "weights", "tuple"),
        ({"weights": (1.0, math.nan)}, "weights", "NaN"),
        ({"grid": np.zeros(3)}, "grid", "shape (any, 2)"),
        ({"grid": np.array(["a"])}, "grid", "array"),
        ({"grid": np.array([[1.0, math.nan]])}, "grid", "NaN"),
        ({"maybe": "x"}, "maybe", "float"),
        ({"word": "c"}, "word", "'a', 'b'"),
    ],
)
def test_a_bad_value_is_refused_by_name(values: dict[str, object], field: str, message: str) -> None:
    """The error names the field and what is allowed, and carries both."""
    with pytest.raises(ParameterError) as caught:
        of(values)
    assert caught.value.field == field
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0.0}, "0 < x <= 1"),
        ({"rate": 1.5}, "(in per second)"),
        ({"count": -1}, "0 <= x"),
        ({"name": "tow"}, "did you mean 'two'"),
        ({"count": 2}, "shape (count) = (2,)"),
    ],
)
def test_ranges_units_choices_and_shapes_are_enforced(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        of(values, Ranged)
    assert message in str(caught.value)


def test_nan_is_allowed_where_the_field_says_so() -> None:
    """Every NaN is the same NaN."""
    other_nan = np.frombuffer(np.array([0x7FF8000000000123], np.uint64).tobytes())[0]
    assert math.isnan(other_nan)
    assert of({"maybe_nan": math.nan}, Ranged) == of({"maybe_nan": float(other_nan)}, Ranged)


def test_a_required_field_must_be_given() -> None:
    with pytest.raises(ParameterError, match="'a' .* must be given"):
        of({}, Tup)
    assert of(Tup(1.0), Tup)["b"] == 2


@pytest.mark.parametrize("name", ["lambda", "_x", "a b", 3])
def test_a_name_that_python_would_not_take_is_refused(name: object) -> None:
    with pytest.raises(ParameterError, match="parameter names must be Python names") as caught:
        ParameterSet.of({name: 1.0}, None)
    assert caught.value.field == str(name)


def test_the_class_itself_may_refuse() -> None:
    """What __post_init__ raises reaches the caller as a ParameterError from it."""

    @dataclass(frozen=True)
    class Picky:
        low: float = 0.0
        high: float = 1.0

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low must not exceed high")

    for make in (ParameterSet.of, ParameterSet):
        with pytest.raises(ParameterError, match="low must not exceed high"):
            make({"low": 2.0}, Picky)


def test_only_frozen_dataclasses_and_named_tuples_are_parameter_classes() -> None:
    @dataclass
    class Mutable:
        a: float = 1.0

    for bad in (Mutable, int):
        with pytest.raises(ParameterError, match="frozen=True or a NamedTuple"):
            fields_of(bad)


def test_a_mapping_without_a_class_is_taken_as_it_is() -> None:
    """Order does not matter, types do."""
    assert of({"b": 1, "a": 2.0}, None) == of({"a": 2.0, "b": 1}, None)
    assert of({"a": 1}, None) != of({"a": 1.0}, None)
    assert of({"a": 1}, None) != of({"a": True}, None)
    with pytest.raises(ParameterError, match="Python names"):
        of({"no name": 1}, None)
    with pytest.raises(ParameterError, match="cannot be a parameter"):
        of({"a": object()}, None)
    with pytest.raises(ParameterError, match="mapping"):
        of(3, None)
    with pytest.raises(ParameterError, match="Everything or a mapping"):
        of(3)


def test_sets_are_immutable_and_do_not_follow_the_callers_array() -> None:
    mine = np.array([[1.0, 2.0]])
    bound = of({"grid": mine})
    mine[0, 0] = 9.0
    assert bound["grid"][0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        bound["grid"][0, 0] = 2.0
    assert bound == of()
    assert hash(bound) == hash(of())


def test_minus_zero_and_byte_order() -> None:
    """-0.0 is another number than 0.0 in a hash; byte order and memory order are not."""
    assert of({"number": -0.0}) != of({"number": 0.0})
    big = np.array([[1.0, 2.0]], dtype=">f8")
    assert of({"grid": big}) == of()
    grid = np.arange(6.0).reshape(3, 2)
    assert of({"grid": np.asfortranarray(grid)}) == of({"grid": grid})


def golden_values() -> dict[str, typing.Any]:
    return {
        "none": None,
        "bool": True,
        "int": -(2**62),
        "float": 0.1,
        "minus_zero": -0.0,
        "complex": 1 + 2j,
        "str": "größe",
        "bytes": b"\x00\xff",
        "enum": Kind.CALL,
        "tuple": (1, (2.0, "x")),
        "array_f8": np.linspace(0, 1, 5),
        "array_i4": np.arange(6, dtype=np.int32).reshape(2, 3),
        "array_bool": np.array([True, False]),
        "array_empty": np.empty((0, 2)),
    }


def test_golden_hashes() -> None:
    """The key format is for ever: a change here would orphan every stored result."""
    found = {
        name: ResultKey("sim", "print", 7, ParameterSet.of({"x": value}, None)).hash
        for name, value in golden_values().items()
    }
    assert found == GOLDEN_HASHES
    assert len(set(found.values())) == len(found)


GOLDEN_HASHES = {
    "none": "c94c62b7d5bdd00d19fd3b7f2471b88a",
    "bool": "03fe626d15ba5f7df5e5fe4815e33538",
    "int": "c61e8a28ed8778e998d2e1acb54bd654",
    "float": "0b7c2fcd03f5a685b3f30124ae36110f",
    "minus_zero": "57dca2ba82de06fbfea7d7c5a15e156e",
    "complex": "be9505915d8d56a8459c5dff7de0e30a",
    "str": "48759cdf6fb171929b975de05188e2e9",
    "bytes": "8117ae6eac33028d6ac6e9e7882d3e51",
    "enum": "bc85e8a4a7e86d1a8d138ae8790ad192",
    "tuple": "f6a94a13fcb39f33e225b0be992c4752",
    "array_f8": "4ac539d3c37dc5efd7b8970eee783487",
    "array_i4": "1731611560267b47300867515c45b0cc",
    "array_bool": "396d4b7d8245eae0c919ac264adbac02",
    "array_empty": "deeaefc75e857b6d33c3af0e7ab8a5b3",
}


def test_everything_in_the_key_counts() -> None:
    """Simulation, fingerprint and seed, of any size, each change the hash; the identity begins with it."""
    base = ResultKey("s", "f", 1, of())
    others = [
        ResultKey("t", "f", 1, of()),
        ResultKey("s", "g", 1, of()),
        ResultKey("s", "f", 2, of()),
        ResultKey("s", "f", 2**200, of()),
        ResultKey("s", "f", 1, of({"text": "y"})),
    ]
    assert len({base.hash, *(o.hash for o in others)}) == 6
    assert base.identity.startswith(base.hash)
    assert len(base.hash) == 32


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(Kind),
)
arrays = hnp.arrays(
    st.sampled_from([np.dtype(t) for t in ("?", "i1", "u4", "i8", "f4", "f8")]),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
    elements={"allow_nan": False},
)
values = st.one_of(scalars, arrays, st.lists(scalars, max_size=3).map(tuple))


def plainly_equal(a: typing.Any, b: typing.Any) -> bool:
    """Compare without the encoding: same type, same value, with the sign of zero."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(plainly_equal, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return math.copysign(1, a) == math.copysign(1, b) and a == b
    return bool(a == b)


@example(np.array(False), np.array([False]))
@given(values, values)
def test_the_encoding_is_injective(a: typing.Any, b: typing.Any) -> None:
    """Two values have one encoding exactly when they are the same value of the same type."""
    first, second = ParameterSet.of({"x": a}, None), ParameterSet.of({"x": b}, None)
    assert (first.encoding == second.encoding) == plainly_equal(first["x"], second["x"])


@given(st.dictionaries(st.sampled_from(["a", "ab", "b", "c"]), values, max_size=4))
def test_json_round_trip(given_values: dict[str, typing.Any]) -> None:
    """What the store writes makes the same set again (enums by name need their class)."""
    without_enums = {k: v for k, v in given_values.items() if "Kind" not in repr(v)}
    bound = ParameterSet.of(without_enums, None)
    assert ParameterSet.of(ParameterSet.values_from_json(bound.to_json()), None) == bound


def test_json_round_trip_through_a_class() -> None:
    bound = of({"kind": Kind.CALL, "number": math.inf, "raw": b"\xff", "grid": np.ones((4, 2))})
    assert of(ParameterSet.values_from_json(bound.to_json())) == bound


@given(values, values)
def test_similarity_is_a_similarity(a: typing.Any, b: typing.Any) -> None:
    """From 0 to 1, symmetric, and 1 for equal sets."""
    first, second = ParameterSet.of({"x": a, "y": 1}, None), ParameterSet.of({"x": b, "y": 1}, None)
    assert 0.0 <= similarity(first, second) <= 1.0
    assert similarity(first, second) == similarity(second, first)
    assert similarity(first, first) == 1.0


def test_similarity_orders_neighbours() -> None:
    assert similarity({"x": 1.0}, {"x": 1.1}) > similarity({"x": 1.0}, {"x": 2.0}) > 0
    assert similarity({"x": 1.0}, {"y": 1.0}) == 0.0
    assert similarity({}, {}) == 1.0
    assert similarity({"x": np.ones(3)}, {"x": np.ones(4)}) == 0.0


def test_the_kernel_sees_numbers_and_arrays_only() -> None:
    """Tuples of numbers are arrays, text and enums without a number are not there."""
    view = of().kernel_view()
    assert set(view._fields) == {"number", "count", "flag", "weights", "grid"}
    assert view.weights.tolist() == [1.0, 2.0]
    assert ParameterSet.of({"level": Level.LOW}, None).kernel_view().level == 1
    assert of({}, None).kernel_view() == ()


def test_a_view_class_is_found_again_by_its_name() -> None:
    """numba's cache pickles it in one process and needs it in another."""
    view = of().kernel_view()
    assert pickle.loads(pickle.dumps(view))._fields == view._fields
    assert type(of({"number": 3.0}).kernel_view()) is type(view)
    assert "number=1.5" in repr(view)


def test_units_come_from_comments_where_nothing_else_says() -> None:
    @dataclass(frozen=True)
    class Commented:
        spot: float = 100.0  # currency

    assert fields_of(Commented)[0].limits.doc == "currency"


def test_a_typed_text_is_read_by_the_field() -> None:
    fields = {f.name: f for f in fields_of(Everything)}
    assert fields["number"].parse("0.5") == 0.5
    assert fields["weights"].parse("[1, 2]") == [1, 2]
    assert fields["text"].parse("12") == "12"
    assert fields["flag"].parse("true") is True
    assert fields["kind"].parse("CALL") == "CALL"


def test_repr_is_short() -> None:
    assert repr(of({"grid": np.zeros((50, 2))})).count("0.0") == 0


@pytest.mark.parametrize("given", [[1, 2], np.arange(2)])
def test_an_array_in_a_union_is_cast_whatever_numpy_makes_of_ndarray(given) -> None:
    """From NumPy 2.5 on, `NDArray` is a type alias, which has to be looked through."""

    @dataclass(frozen=True)
    class Table:
        values: NDArray[np.float64] | None = None

    assert ParameterSet({"values": given}, Table)["values"].dtype == np.float64
