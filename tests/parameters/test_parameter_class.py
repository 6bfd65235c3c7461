"""Parameter classes: constructed once, whichever way a set came in, and read back from the instance."""

from __future__ import annotations

import enum
import functools
import gc
import math
import typing
import weakref
from dataclasses import KW_ONLY, InitVar, dataclass, field, make_dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import CompileError, InvalidInputError, ParameterError
from bgsim.parameters.parameter_class import fields_of, parameter_class, unreachable_attribute
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.request import Request, read_request
from bgsim.storage import ResultStore
from bgsim.storage.journal import PendingRequest
from bgsim.ui.cli import cli


class Kind(enum.Enum):
    PUT = 1
    CALL = (2.0, "c")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 5


class Word(enum.StrEnum):
    A = "a"
    B = "b"


class Bits(enum.Flag):
    X = 1
    Y = 2


class Solver(enum.Enum):
    A = object()


@dataclass(frozen=True)
class Solved:
    solver: Solver = Solver.A


@dataclass(frozen=True)
class Rate:
    percent: float = 50.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "percent", self.percent / 100)  # from here on a fraction


@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def plain_rate(p: Rate, rng):
    return p.percent


@bgsim.simulation(outputs={"x": "f8"})
def compiled_rate(p: Rate, rng):
    return p.percent


@dataclass(frozen=True)
class Disc:
    """Takes a diameter, and derives what the kernel needs."""

    diameter: InitVar[float] = 2.0
    _: KW_ONLY
    points: int = bgsim.parameter(3, ge=1)
    radius: float = bgsim.parameter(1.0, gt=0, le=10)
    area: float = field(init=False)
    table: NDArray[np.float64] = field(init=False)

    def __post_init__(self, diameter: float) -> None:
        object.__setattr__(self, "radius", diameter / 2)
        object.__setattr__(self, "area", math.pi * self.radius**2)
        object.__setattr__(self, "table", np.arange(self.points))  # of integers, in a field of floats

    @property
    def doubled(self) -> float:
        return 2 * self.radius

    @functools.cached_property
    def halved(self) -> float:
        return self.radius / 2

    def method(self) -> float:
        return self.radius


@bgsim.simulation(outputs={"area": "f8", "last": "f8"})
def disc(p: Disc, rng):
    return p.area, p.table[-1]


@pytest.mark.parametrize("simulation", [plain_rate, compiled_rate])
def test_every_way_in_gives_one_number(simulation: bgsim.Simulation) -> None:
    """A class that normalises: an instance, a mapping, the defaults, a bound set and a sweep."""
    ways = (Rate(50.0), {"percent": 50}, None, simulation.bind(), simulation.bind({"percent": 50.0}))
    with bgsim.Engine() as engine:
        jobs = [engine.submit(simulation, way, replicates=1) for way in ways]
        jobs += engine.sweep(simulation, {"percent": [50]}, replicates=1)
        assert [job.result()["x"][0] for job in jobs] == [0.5] * len(jobs)
        assert len({job.request.key.identity for job in jobs}) == 1


def test_the_command_line_constructs_too(tmp_path: Path) -> None:
    arguments = [
        "run",
        f"{__name__}:plain_rate",
        "-n",
        "1",
        "--json",
        "--set",
        "percent=50",
        "--store",
        str(tmp_path / "s.db"),
    ]
    run = CliRunner().invoke(cli, arguments)
    assert run.exit_code == 0, run.output
    assert '"percent": 0.5' in run.output


# ---- one construction, in general --------------------------------------------------------------------

made: list[object] = []
"""What the classes of `classes` have constructed."""

numbers = st.integers(-9, 9) | st.floats(-9, 9)
lists = st.lists(numbers, min_size=1, max_size=3)

KINDS: dict[str, tuple[typing.Any, st.SearchStrategy[typing.Any], typing.Callable[[typing.Any], typing.Any]]] = {
    "number": (float, numbers, lambda x: x),
    "count": (int, st.integers(0, 9), lambda x: x),
    "text": (str, st.text(max_size=3), lambda x: x),
    "kind": (Kind, st.sampled_from(["PUT", "CALL"]), lambda x: Kind[x]),
    "level": (Level, st.sampled_from(["LOW", "HIGH"]), lambda x: Level[x]),
    "word": (Word, st.sampled_from(["A", "B"]), lambda x: Word[x]),
    "bits": (Bits, st.sampled_from(["X", "Y", "X|Y"]), lambda x: Bits.X | Bits.Y if x == "X|Y" else Bits[x]),
    "pair": (tuple[float, ...], lists, tuple),
    "grid": (NDArray[np.float64], lists, lambda x: np.array(x, float)),
    "maybe": (float | None, st.none() | numbers, lambda x: x),
}
"""By name of a field: its type, what a mapping may give, and what a user gives to the class instead of that."""


@dataclass
class Example:
    """A parameter class and some of its arguments."""

    parameters_class: type
    given: dict[str, typing.Any]

    def typed(self) -> dict[str, typing.Any]:
        return {name: KINDS[name][2](value) for name, value in self.given.items()}


@st.composite
def classes(draw: st.DrawFn) -> Example:
    """Return a class of some shape that normalises its numbers and arrays, these in place, and derives two fields."""
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, unique=True))
    raw = {name: draw(KINDS[name][1]) for name in names}
    defaults = {name: KINDS[name][2](value) for name, value in raw.items()}
    given_names = draw(st.sets(st.sampled_from(names)))
    example = {name: draw(KINDS[name][1]) for name in given_names}

    def normalised(name: str, value: typing.Any) -> typing.Any:
        if name == "grid":
            value /= 3
        return value / 3 if name == "number" else value

    if draw(st.booleans()):
        base: typing.Any = typing.NamedTuple("base", [(name, KINDS[name][0]) for name in names])

        def new(cls: type, **values: typing.Any) -> typing.Any:
            both = {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in defaults.items()} | values
            made.append(cls)
            return base.__new__(cls, **{name: normalised(name, value) for name, value in both.items()})

        return Example(type("Tuple", (base,), {"__new__": new}), example)

    def post_init(self: typing.Any) -> None:
        made.append(self)
        for name in names:
            object.__setattr__(self, name, normalised(name, getattr(self, name)))
        object.__setattr__(self, "size", len(names))  # an int, in a field of floats
        object.__setattr__(self, "table", [len(names), 1])  # a list, in a field of arrays

    fields: list[typing.Any] = [
        (name, KINDS[name][0], bgsim.parameter(value) if isinstance(value, np.ndarray) else field(default=value))
        for name, value in defaults.items()
    ]
    fields += [("size", float, field(init=False)), ("table", NDArray[np.float64], field(init=False))]
    options = {"slots": draw(st.booleans()), "kw_only": draw(st.booleans())}
    return Example(
        make_dataclass("Random", fields, namespace={"__post_init__": post_init}, frozen=True, **options), example
    )


def held(values: typing.Any, names: typing.Iterable[str]) -> list[typing.Any]:
    """Return what an object holds, so that it can be compared: types and bits, and that no array can be changed."""
    found = [getattr(values, name) for name in names]
    arrays = [value for value in found if isinstance(value, np.ndarray)]
    assert not any(array.flags.writeable for array in arrays)
    return [(type(v), (v.dtype, v.tobytes()) if isinstance(v, np.ndarray) else repr(v)) for v in found]


@given(classes())
def test_all_ways_in_construct_once_and_agree(example: Example) -> None:
    """Instance, mapping, a bound set, a sweep and the journal: one encoding, one kernel view, one instance."""

    def run(p: typing.Any, rng: typing.Any) -> float:
        return 1.0

    run.__annotations__["p"] = example.parameters_class
    simulation = bgsim.simulation(run, outputs={"x": "f8"}, compile=False)
    made.clear()
    mapping = dict(example.given)
    bound = simulation.bind(mapping)
    assert len(made) == 1
    assert mapping == example.given
    instance = example.parameters_class(**example.typed())
    sets = [bound, simulation.bind(instance), simulation.bind(bound)]
    assert len(made) == 2  # the second was the user's
    submission = Request(simulation, bound, 1)
    sets.append(read_request(simulation, bound.to_json(), "0", 1, submission.options_json()).parameters)
    sets.append(read_request(simulation, sets[-1].to_json(), "0", 1, submission.options_json()).parameters)
    assert len(made) == 2
    if example.given:
        with bgsim.Engine(immediate=True, clock=ManualClock(0.0)) as engine:
            grid = {name: [value] for name, value in example.given.items()}
            sets += [job.parameters for job in engine.sweep(simulation, grid, replicates=1)]
        assert len(made) == 3
    names = parameter_class(example.parameters_class).names
    for other in sets:
        assert other.encoding == bound.encoding
        assert (other.to_json(), repr(other)) == (bound.to_json(), repr(bound))
        assert held(other.instance(), names) == held(bound.instance(), names)
        assert held(SimpleNamespace(**other), names) == held(bound.instance(), names)
        view = other.kernel_view()
        assert type(view) is type(bound.kernel_view())
        assert held(view, view._fields) == held(bound.kernel_view(), view._fields)
        assert type(other.instance()) is example.parameters_class


# ---- derived fields, and what is no field ------------------------------------------------------------


def test_derived_fields_reach_hash_kernel_json_and_repr() -> None:
    """An `InitVar` goes to the class and is no field."""
    bound = disc.bind({"diameter": 4, "points": 4})
    assert bound == disc.bind(Disc(4.0, points=4))
    assert (bound["radius"], bound["area"], "diameter" in bound) == (2.0, 4 * math.pi, False)
    assert "area=12.56" in repr(bound)
    assert bound.instance().table.dtype == np.float64
    result = bgsim.run(disc, {"diameter": 4.0, "points": 4}, replicates=1)
    assert (result["area"][0], result["last"][0]) == (4 * math.pi, 3.0)
    restored = ParameterSet.restore(ParameterSet.values_from_json(bound.to_json()), Disc)
    assert (restored, restored.instance().doubled, restored.instance().halved) == (bound, 4.0, 1.0)
    assert [f.name for f in fields_of(Disc) if f.derived] == ["area", "table"]


@pytest.mark.parametrize(
    ("values", "field_name", "message"),
    [
        ({"area": 1.0}, "area", "derives 'area' itself"),
        ({"diametre": 1.0}, "diametre", "did you mean 'diameter'"),
        ({"diameter": 40.0}, "radius", "0 < x <= 10; got 20.0"),
        ({"points": 0}, "points", "1 <= x"),
    ],
)
def test_limits_hold_for_what_the_class_made(values: dict[str, typing.Any], field_name: str, message: str) -> None:
    """By name, and for an instance as for a mapping."""
    with pytest.raises(ParameterError) as caught:
        disc.bind(values)
    assert caught.value.field == field_name
    assert message in str(caught.value)
    if values.keys() <= {"diameter", "points"}:
        with pytest.raises(ParameterError, match="must satisfy") as caught:
            disc.bind(Disc(**values))
        assert caught.value.field == field_name


def test_what_the_class_raises_names_the_argument_that_is_out_of_its_limits() -> None:
    """The class sees its arguments before their limits are looked at."""

    @dataclass(frozen=True)
    class Wait:
        rate: float = bgsim.parameter(1.0, gt=0)
        mean: float = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "mean", 1 / self.rate)

    with pytest.raises(ParameterError, match=r"ZeroDivisionError: .*; parameter 'rate' must satisfy 0 < x") as caught:
        ParameterSet.of({"rate": 0}, Wait)
    assert caught.value.field == "rate"


def test_an_attribute_that_is_no_field_is_refused() -> None:
    """It would be lost; what a cached property keeps is computed again, and may be."""

    @dataclass(frozen=True)
    class Hidden:
        a: float = 1.0

        def __post_init__(self) -> None:
            object.__setattr__(self, "b", self.a)

    class Slotted(typing.NamedTuple("Base", [("a", float)])):  # type: ignore[misc]
        pass

    @dataclass(frozen=True)
    class Slots:
        __slots__ = ("a", "b")
        a: float

    marked = Slotted(1.0)
    marked.b = 2.0
    slots = Slots(1.0)
    assert ParameterSet.of(slots, Slots)["a"] == 1.0
    object.__setattr__(slots, "b", 2.0)
    for given_value, kind in ((None, Hidden), (Hidden(), Hidden), (marked, Slotted), (slots, Slots)):
        with pytest.raises(ParameterError, match=r"`b: float = field\(init=False\)`") as caught:
            ParameterSet.of(given_value, kind)
        assert caught.value.field == "b"
    used = Disc()
    assert used.halved == 0.5
    assert ParameterSet.of(used, Disc) == disc.bind()


def test_a_derived_field_without_a_value_is_refused() -> None:
    @dataclass(frozen=True)
    class Forgot:
        a: float = field(init=False)

    with pytest.raises(ParameterError, match="'a' no value; __post_init__ must set it"):
        ParameterSet.of(None, Forgot)


def test_an_instance_of_a_subclass_is_refused() -> None:
    """What it has of its own, fields as well as methods, would count nowhere."""

    @dataclass(frozen=True)
    class Faster(Rate):
        factor: float = 2.0

    for way in (Faster(50.0), ParameterSet.of(Faster(50.0), Faster)):
        with pytest.raises(ParameterError, match="got a Faster, a subclass, .* annotate the simulation with that"):
            ParameterSet.of(way, Rate)


def test_an_instance_of_a_class_that_was_defined_again_says_so() -> None:
    """As where the cell of the class was run again in a notebook, and that of the simulation was not."""

    def define() -> type:
        @dataclass(frozen=True)
        class Again:
            n: int = 1

        return Again

    with pytest.raises(ParameterError, match="got an Again, which was defined again since; define the simulation"):
        ParameterSet.of(define()(), define())


def test_a_parameter_class_goes_when_nobody_has_it() -> None:
    """A notebook's cell that is run a hundred times keeps one class, with the module's tables that it reaches."""

    def define() -> weakref.ref[type]:
        @dataclass(frozen=True)
        class Short:
            n: int = 1

        ParameterSet.of({"n": 2}, Short)
        return weakref.ref(Short)

    gone = define()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("annotation", "given", "held"),
    [
        (typing.Literal[1, 2], 1, 1),
        (typing.Literal[1, 2], 1.0, None),
        (typing.Literal[1, 2], True, None),
        (np.float32, 0.1, float(np.float32(0.1))),
        (np.float32, "abc", None),
        (np.int8, 300, None),
        (np.floating, 2, 2.0),
        (int | float, 2**70, float(2**70)),
    ],
)
def test_one_question_has_one_type(annotation: typing.Any, given: typing.Any, held: typing.Any) -> None:
    """What equals an allowed value in another type would be another key, so it is converted or refused."""
    kind = make_dataclass("Kind", [("x", annotation)], frozen=True)
    if held is None:
        with pytest.raises(ParameterError, match="parameter 'x' must be"):
            ParameterSet.of({"x": given}, kind)
    else:
        x = ParameterSet.of({"x": given}, kind)["x"]
        assert (type(x), x) == (type(held), held)


def test_a_set_of_a_class_that_was_defined_again_keeps_its_values() -> None:
    """As when a notebook's cell is run again."""

    def define() -> type:
        @dataclass(frozen=True)
        class Again(Rate):
            pass

        return Again

    assert dict(ParameterSet.of(ParameterSet.of({"percent": 50}, define()), define())) == {"percent": 0.5}


def test_a_sweep_around_a_set_does_not_construct_from_what_the_class_has_changed() -> None:
    """A set gives its arguments again where the class makes the same set of them."""
    with bgsim.Engine(immediate=True) as engine:
        base = compiled_rate.bind({"percent": 20})
        with pytest.raises(ParameterError, match="Rate makes other values of those in Rate"):
            engine.sweep(plain_rate, {"percent": [50]}, base, replicates=1)

        @dataclass(frozen=True)
        class Sum:
            a: float = 1.0
            b: float = 2.0
            total: float = field(init=False)

            def __post_init__(self) -> None:
                object.__setattr__(self, "total", self.a + self.b)

        def run(p: typing.Any, rng: typing.Any) -> float:
            return p.total

        run.__annotations__["p"] = Sum
        summed = bgsim.simulation(run, outputs={"x": "f8"}, compile=False)
        jobs = engine.sweep(summed, {"a": [1, 2]}, summed.bind({"b": 5}), replicates=1)
        assert [job.result()["x"][0] for job in jobs] == [6.0, 7.0]
    assert ParameterSet({"x": 1.0}).arguments() == {"x": 1.0}


def test_a_default_that_is_an_array_is_each_instances_own() -> None:
    """So a class may normalise it in place."""

    @dataclass(frozen=True)
    class Weights:
        w: NDArray[np.float64] = bgsim.parameter(np.array([1.0, 3.0]))

        def __post_init__(self) -> None:
            self.w[:] /= self.w.sum() * 2

    assert ParameterSet.of(None, Weights) == ParameterSet.of(Weights(), Weights)
    mine = np.array([1.0, 3.0])
    assert ParameterSet.of({"w": mine}, Weights)["w"].tolist() == [0.125, 0.375]
    assert mine.tolist() == [1.0, 3.0]


def test_factories_and_required_arguments() -> None:
    """A factory is called for each set; a class that hands its arguments on takes its fields."""
    numbers = iter(range(9))

    @dataclass(frozen=True)
    class Made:
        n: int = field(default_factory=lambda: next(numbers))

    assert [ParameterSet.of(None, Made)["n"] for _ in range(2)] == [0, 1]

    @dataclass(frozen=True)
    class Needs:
        scale: InitVar[float]
        a: float = field(init=False)

        def __post_init__(self, scale: float) -> None:
            object.__setattr__(self, "a", scale)

    with pytest.raises(ParameterError, match="'scale' of Needs must be given"):
        ParameterSet.of(None, Needs)
    assert ParameterSet.of({"scale": 2}, Needs)["a"] == 2.0


def test_what_a_compiled_kernel_cannot_see_is_named() -> None:
    """Properties, methods and attributes of the class, what is no number, and what is unknown."""

    @bgsim.simulation(outputs={"x": "f8"})
    def doubles(p: Disc, rng):
        return p.doubled

    with pytest.raises(
        CompileError, match=r"(?m)^Disc.doubled is a property, .*`doubled: float = field\(init=False\)`"
    ):
        doubles.warmup()
    for name, kind in (("method", "a method"), ("halved", "a property"), ("diameter", "an attribute of the class")):
        assert kind in (unreachable_attribute(Disc, f"Unknown attribute '{name}' of type View:area(float64)") or "")
    for found, name, hint in (
        (Disc, "radius", "'radius' is None or a text here"),
        (Disc, "nothing", "Disc has no field 'nothing' (it has area, points, radius, table)"),
        (None, "doubled", "'doubled' was not given, or is None or a text here"),
    ):
        assert hint in (unreachable_attribute(found, f"Unknown attribute '{name}' of type View:area(float64)") or "")
    assert unreachable_attribute(Disc, "Unknown attribute 'doubled' of type array(float64)") is None


# ---- Enums -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [enum.Enum, enum.IntEnum, enum.Flag, enum.IntFlag])
def test_the_value_of_a_member_counts(kind: type[enum.Enum]) -> None:
    """Not its name alone: the value is what a kernel sees of an IntEnum."""
    one, two = kind("E", {"A": 1}), kind("E", {"A": 2})
    first, second = ParameterSet.of({"e": one.A}, None), ParameterSet.of({"e": two.A}, None)
    assert first.encoding != second.encoding
    assert first == ParameterSet.of({"e": kind("E", {"A": 1}).A}, None)
    if issubclass(kind, int):
        assert (type(first.kernel_view().e), first.kernel_view().e) == (int, 1)
    else:
        assert first.kernel_view() == ()


def test_members_that_are_also_texts_numbers_or_tuples() -> None:
    """They count as members, never as what else they are."""
    mixins = [(str, "a"), (int, 1), (float, 1.0), (tuple, (1, 2))]
    for mixin, value in mixins:
        kinds = [enum.Enum("E", {"A": value, name: value}, type=mixin) for name in ("A", "B")]
        sets = [ParameterSet.of({"e": kind.A}, None) for kind in kinds]
        assert sets[0] == sets[1]
        assert sets[0] != ParameterSet.of({"e": value}, None)
    assert type(ParameterSet.of({"e": enum.Enum("E", {"A": 1.5}, type=float).A}, None).kernel_view().e) is float


def test_a_member_whose_value_has_no_canonical_form_is_refused() -> None:
    """Its address would be all that tells it from another."""
    for values in (None, {"solver": "A"}, {"solver": Solver.A}):
        with pytest.raises(ParameterError, match=r"'solver' .* the value of Solver.A is an object") as caught:
            ParameterSet(values, Solved)
        assert caught.value.field == "solver"


# ---- what is stored ----------------------------------------------------------------------------------


def stored(values: dict[str, typing.Any], found: type | None) -> ParameterSet:
    text = ParameterSet(values).to_json()
    return ParameterSet.restore(ParameterSet.values_from_json(text), found)


def test_a_class_whose_fields_have_changed_since() -> None:
    """A new field takes its default where the class computes nothing; else it is refused, as one that is gone."""

    @dataclass(frozen=True)
    class Now:
        a: float = 1.0
        new: tuple[float, ...] = field(default_factory=lambda: (1, 2))

    @dataclass(frozen=True)
    class Requires:
        a: float
        new: float

    class Later(typing.NamedTuple):
        a: float
        new: float = 3.0

    assert dict(stored({"a": 2.0}, Now)) == {"a": 2.0, "new": (1.0, 2.0)}
    assert dict(stored({"a": 2.0}, Later)) == {"a": 2.0, "new": 3.0}
    for values, found, name in (
        ({"a": 2.0, "b": 1.0}, Now, "b"),
        ({"a": 2.0}, Requires, "new"),
        ({"points": 1, "radius": 1.0, "table": np.zeros(1)}, Disc, "area"),
        ({}, Rate, "percent"),  # its default is no value of an instance
    ):
        with pytest.raises(ParameterError, match=r"give its parameters anew \(engine.retry") as caught:
            stored(values, found)
        assert caught.value.field == name
    with pytest.raises(ParameterError, match="1 <= x"):
        stored({**Disc().__dict__, "points": 0}, Disc)


def test_a_stored_member_needs_its_class() -> None:
    """It is never taken for a text."""

    @dataclass(frozen=True)
    class Either:
        e: typing.Any = None

    for found in (None, Either):
        with pytest.raises(ParameterError, match="annotate the field"):
            stored({"e": Kind.PUT}, found)


def interrupted(path: Path, parameters: ParameterSet) -> None:
    """Leave a request in a store as a crash does."""
    store = ResultStore(path)
    store.journal.add(
        PendingRequest(
            id="r1",
            simulation=plain_rate.name,
            parameters=parameters.to_json(),
            seed="0",
            replicates=2,
            options="{}",
            submitted_at="2026-01-01T00:00:00.000000+00:00",
            owner="gone",
        )
    )
    store.journal.flush()
    store.close()


def test_recovery_and_retry_do_not_normalise_again(tmp_path: Path) -> None:
    """What the journal keeps was constructed when it was submitted; what a user changes was not."""
    path = tmp_path / "s.db"
    interrupted(path, plain_rate.bind({"percent": 50}))
    with bgsim.Engine(path, immediate=True) as engine:
        (job,) = engine.recover()
        assert job.result()["x"].tolist() == [0.5, 0.5]
        assert engine.submit(plain_rate, Rate(50.0), replicates=2, cache="only").result()["x"][0] == 0.5
    interrupted(path, ParameterSet({"percent": 0.5, "gone": 1.0}))
    with bgsim.Engine(path, immediate=True) as engine:
        assert engine.recover() == []
        (letter,) = engine.dead_letters()
        assert "'gone'" in letter.attempts
        with pytest.raises(InvalidInputError, match="no longer has the parameter 'gone'"):
            engine.retry(letter.id)
        assert engine.retry(letter.id, parameters={"percent": 20}).result()["x"].tolist() == [0.2, 0.2]


def test_describe_says_what_is_derived() -> None:
    text = CliRunner().invoke(cli, ["describe", f"{__name__}:disc"]).output
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "area float derived" in lines
    assert any(line.startswith("diameter taken by the class") for line in lines)
    assert "points int 3 1 <= x" in lines
