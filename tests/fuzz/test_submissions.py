"""Whatever `Engine.submit` and its neighbours are given, they take it or refuse it by name, and the engine goes on."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import fractions
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fuzzing import MARKS, ODD_VALUES, fuzz
from hypothesis import given
from hypothesis import strategies as st

import bgsim
from bgsim.errors import BgsimError
from bgsim.models.options import european_call
from bgsim.testing import SteppedEngine, run_all

pytestmark = MARKS


class Hostile:
    """Raises whatever it is asked."""

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __repr__(self) -> str:
        if sys._getframe(1).f_globals["__name__"].startswith("bgsim"):
            raise RuntimeError("repr")
        return "Hostile()"  # for hypothesis

    def __array__(self, *_: object, **__: object) -> Any:
        raise KeyError("array")


OBJECTS = st.builds(Hostile) | st.sampled_from(
    [
        object(), lambda: None, np.array([1, 2]), np.array([]), np.float64("nan"), np.int64(3), np.bool_(True),
        np.str_("x"), np.datetime64("NaT"), decimal.Decimal("NaN"), decimal.Decimal(3), fractions.Fraction(1, 3),
        fractions.Fraction(10**400), 10**5000, -(10**5000), b"\xff", bytearray(b"x"), frozenset(), range(3), 1j, ..., NotImplemented,
        dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime.max, dt.date.max, bgsim.Priority.HIGH,
        bgsim.Retry(1), european_call, type, "normal", "µ", "\u00b5", 1e300, 1e9, 0.5, True, 2**63 - 1, 2**63, 2**64,
    ]
)  # fmt: skip
VALUES = OBJECTS | ODD_VALUES
OPTIONS = [
    "seed", "priority", "allow_deduplication", "cache", "workspace", "supersede", "debounce_s", "max_wait_s", "group",
    "delay_s", "at", "timeout_s", "queue_timeout_s", "deadline_s", "retry",
]  # fmt: skip
NAMES = st.sampled_from(["strike", "volatility", "rate", "µ", "\u00b5"]) | VALUES


def mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = {}
    for name, value in pairs:
        with contextlib.suppress(Exception):  # what is no key
            found[name] = value
    return found


PARAMETERS = st.none() | VALUES | st.lists(st.tuples(NAMES, VALUES), max_size=3).map(mapping)

free = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False, depends_on=())


@pytest.fixture(scope="module")
def engine() -> Iterator[SteppedEngine]:
    with SteppedEngine(max_queue_size=100) as made:
        yield made


@given(
    parameters=PARAMETERS,
    replicates=st.just(2) | VALUES,
    options=st.dictionaries(st.sampled_from(OPTIONS), VALUES, max_size=3),
    known=st.booleans(),
)
@fuzz(10)
def test_any_submission_is_taken_or_refused_by_name(
    engine: SteppedEngine, parameters: Any, replicates: Any, options: dict[str, Any], known: bool
) -> None:
    if isinstance(replicates, int | np.integer) and not isinstance(replicates, bool) and 1000 < replicates < 2**63:
        replicates = 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            job = engine.submit(european_call if known else free, parameters, replicates=replicates, **options)
        except BgsimError as error:
            assert len(str(error)) < 5000
            assert str(error).encode()
            return
        assert str(job.status())
        job.cancel()
        run_all(engine)
        assert job.done()


@given(settings=st.dictionaries(st.sampled_from(sorted(bgsim.EngineConfig.__dataclass_fields__)), VALUES, max_size=2))
@fuzz(3)
def test_any_setting_is_taken_or_refused_by_name(settings: dict[str, Any]) -> None:
    try:
        bgsim.EngineConfig(**settings)
    except BgsimError as error:
        assert len(str(error)) < 5000


@given(outputs=VALUES | st.dictionaries(st.sampled_from(["x", "µ", "\u00b5", "", 3, "a b"]), VALUES, max_size=2))
@fuzz(3)
def test_any_declaration_is_taken_or_refused_by_name(outputs: Any) -> None:
    try:
        bgsim.simulation(free.function, outputs=outputs, compile=False)
    except BgsimError as error:
        assert len(str(error)) < 25_000  # it names the output, and a name may be long


@given(value=VALUES, dtype=st.sampled_from(["f8", "i1", "U3", "S2", "?", "c8", "M8[s]", "f2"]))
@fuzz(4)
def test_any_value_is_stored_or_refused_by_name(value: Any, dtype: str) -> None:
    simulation = bgsim.simulation(
        lambda p, rng: value, outputs={"x": dtype}, compile=False, depends_on=(), name="fuzz.value"
    )
    try:
        repr(bgsim.run(simulation, replicates=2, immediate=True))
    except BgsimError as error:
        assert len(str(error)) < 5000
