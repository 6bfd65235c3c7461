"""Odd arguments of an engine's and a store's methods are refused by name, and long errors are kept short."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from kernels import one_draw

import bgsim
from bgsim.errors import InvalidInputError, StoreError
from bgsim.running.events import MOST_KEPT
from bgsim.storage import MemoryStore, ResultStore
from bgsim.testing import SteppedEngine, run_all

ODD: list[Any] = [None, 5, 10**400, 1.5, True, b"x", [[]], {}, object(), "\ud800"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SteppedEngine]:
    with SteppedEngine(tmp_path / "s.db") as made:
        made.submit(one_draw, replicates=3)
        run_all(made)
        yield made


NAMED: dict[str, Callable[[Any, Any], Any]] = {
    "simulation": lambda engine, odd: engine.submit(odd, replicates=1),
    "job_id": lambda engine, odd: engine.status(odd),
    "timeout_s": lambda engine, odd: engine.drain(odd),
    "older_than_s": lambda engine, odd: engine.clean(odd),
    "ids": lambda engine, odd: engine.recover(odd),
    "letter_id": lambda engine, odd: engine.discard(odd),
    "path": lambda engine, odd: engine.export_dead_letters(odd),
    "config": lambda engine, odd: bgsim.Engine(config=odd),
    "prefix": lambda engine, odd: engine.store.resolve(odd),
}
ALLOWED = {
    "simulation": ("\ud800",),
    "timeout_s": (None, 5, 1.5),
    "older_than_s": (5, 1.5),
    "ids": (None, {}),
    "config": (None,),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_no_value_of_an_argument_is_refused_by_its_name(engine: SteppedEngine, name: str) -> None:
    for odd in ODD:
        if any(odd is allowed or (odd == allowed and type(odd) is type(allowed)) for allowed in ALLOWED.get(name, ())):
            continue
        with pytest.raises(InvalidInputError, match=f"^{name} must be"):
            NAMED[name](engine, odd)


OF_A_STORE: dict[str, Callable[[Any, Any], Any]] = {
    "key": lambda store, odd: store.load(odd),
    "result_hash": lambda store, odd: (store.get(odd), store.delete(odd)),
    "fingerprint": lambda store, odd: store.parts(odd),
    "workspace": lambda store, odd: store.slots(odd),
    "workspace to swap": lambda store, odd: store.swap(odd),
    "workspace to clear": lambda store, odd: store.clear(odd),
    "workspace to compare": lambda store, odd: store.compare(odd),
}


@pytest.mark.parametrize("name", OF_A_STORE)
@pytest.mark.parametrize("make", [ResultStore, lambda _: MemoryStore()], ids=["file", "memory"])
def test_a_store_refuses_what_is_no_text(tmp_path: Path, make: Callable[[Path], Any], name: str) -> None:
    with contextlib.closing(make(tmp_path / "t.db")) as store:
        for odd in ODD:
            with pytest.raises(InvalidInputError, match=f"^{name.partition(' ')[0]} must be"):
                OF_A_STORE[name](store, odd)
        assert store.load("no such hash", 10**400) is None


def test_a_number_beyond_every_float_is_refused_or_infinite() -> None:
    for huge in (Fraction(10**400), 10**400):
        with pytest.raises(InvalidInputError, match="checkpoint_interval_s must be"):
            bgsim.Engine(checkpoint_interval_s=huge)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="checkpoint_interval_s must be"):
        bgsim.Engine(checkpoint_interval_s=Fraction(-(10**400)))  # type: ignore[arg-type]


def test_batches_refuse_what_is_no_simulation_too(engine: SteppedEngine) -> None:
    for odd in (None, 5, object()):
        with pytest.raises(InvalidInputError, match="simulation must be"):
            engine.submit_many(odd, [{}], replicates=1)
        with pytest.raises(InvalidInputError, match="simulation must be"):
            engine.sweep(odd, {"x": [1]}, replicates=1)


def test_a_retry_and_an_import_refuse_what_is_no_text(engine: SteppedEngine) -> None:
    with pytest.raises(InvalidInputError, match="letter_id must be"):
        engine.retry(5)  # type: ignore[arg-type]
    for odd in (None, 5, b"x.npz", "", "a\0b"):
        with pytest.raises(InvalidInputError, match="path must be"):
            engine.store.import_(odd)
        with pytest.raises(InvalidInputError, match="path must be"):
            engine.store.export("0", odd)
    with pytest.raises(StoreError, match="cannot be read"):
        engine.store.import_("x" * 5000)


def test_a_dead_letter_keeps_beginning_and_end_of_a_long_error(engine: SteppedEngine) -> None:
    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def fails(p: Any, rng: Any) -> float:
        raise ValueError("first" + "x" * 1_000_000 + "last")

    engine.submit(fails, replicates=1)
    run_all(engine)
    (letter,) = engine.dead_letters()
    (attempt,) = json.loads(letter.attempts)
    assert "first" in attempt["error"]
    assert "xlast" in attempt["error"]
    assert attempt["traceback"].startswith("Traceback")
    assert all(len(text) < MOST_KEPT + 100 for text in attempt.values())


def test_a_file_that_cannot_be_written_is_named(engine: SteppedEngine, tmp_path: Path) -> None:
    stored = engine.store.results()[0].hash
    for name in ("x.npz", "x.csv"):
        with pytest.raises(StoreError, match=r"none/x\.\w+ cannot be written: No such file or directory"):
            engine.store.export(stored, tmp_path / "none" / name)
    for name in ("x.json", "x.csv"):
        with pytest.raises(StoreError, match=r"none/x\.\w+ cannot be written: No such file or directory"):
            engine.export_dead_letters(tmp_path / "none" / name)
