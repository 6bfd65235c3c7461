"""What the battle costs to compile, by what numba and LLVM are given; and that its rows are used as addresses may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from battles import SCENARIOS, reference
from compilations import compilations

from bgsim.kernels.parts import Part
from bgsim.kernels.revision import Revision
from bgsim.models.battle import Battle, battle
from bgsim.models.battle.state import rows_of
from bgsim.models.plain import plain_form
from bgsim.parameters.parameter_set import layout_of
from bgsim.streams import generator_at, stream_key

ENCOUNTERS = sorted((Path(__file__).parents[2] / "examples" / "encounters").glob("*.json"))

MOST_COMPILATIONS = 95
"""Pairs of function and signature, with those of numba's own; there are 80."""

MOST_LINES = 9_500
"""Of LLVM's code of all functions of a fight, each tidied up by itself; there are 7,600."""


def test_the_battle_gives_numba_little_to_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    view = battle.bind(Battle.from_file(ENCOUNTERS[0])).kernel_view()
    with compilations() as compiled:
        Revision(battle, compiles=True).compile(layout_of(view), view)
    functions = [d for d in compiled if isinstance(d, Part) and not d.py_func.__name__.startswith("_put")]
    assert len({f.py_func.__name__ for f in functions}) > 50
    twice = {f.py_func.__name__ for f in functions if len(f.overloads) > 1}
    assert not twice, "numba compiles a function anew for each plain number that it is called with; see terms.int64s"
    assert not [f for f in functions if f.calls_itself]
    assert len(compiled) <= MOST_COMPILATIONS
    (whole,) = [f for f in functions if f.py_func.__name__.startswith("live_through")]
    (overload,) = whole.overloads.values()
    assert len(str(overload.library._final_module).splitlines()) <= MOST_LINES


class Strict(np.ndarray):
    """An array that takes no index but one that is an address's offset."""

    def __getitem__(self, index: Any) -> Any:
        assert not isinstance(index, int | np.integer) or 0 <= index < len(self)
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        assert 0 <= index < len(self)
        super().__setitem__(index, value)


def strict(table: Any, addresses: Any, start: int) -> Any:
    assert 0 <= start <= len(addresses) - len(table)
    return table.view(Strict)


def check(parameters: Battle, replicates: int) -> None:
    fight = plain_form(battle.function, {rows_of: strict})
    view = battle.bind(parameters).kernel_view()
    for i in range(replicates):
        fight(view, generator_at(stream_key(3), i))


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_index_is_beyond_its_row_by_the_reference_rules(name: str) -> None:
    check(reference(name)[1], 2)


@pytest.mark.parametrize("file", ENCOUNTERS, ids=lambda file: file.stem)
def test_no_index_is_beyond_its_row_by_the_srd(file: Path) -> None:
    check(Battle.from_file(file), 30)
