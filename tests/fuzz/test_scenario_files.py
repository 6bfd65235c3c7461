"""Whatever a scenario file holds, it is read, or refused by name; and what is read can be fought."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import MARKS, changed, fuzz, torn
from hypothesis import given
from hypothesis import strategies as st
from paths import ENCOUNTERS, REFERENCES

import bgsim
from bgsim.errors import ScenarioError
from bgsim.models.battle import Battle, battle
from bgsim.models.battle.entries import ScenarioWarning

pytestmark = MARKS

FILES = [*sorted(ENCOUNTERS.glob("*.json")), REFERENCES / "battle" / "kaelen_battle.json"]
TEXTS = [path.read_text(encoding="utf-8") for path in FILES]
SCENARIOS: list[Any] = [json.loads(text) for text in TEXTS]
RULES = st.sampled_from([None, "srd", "reference"])


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Let no example wait for the compiler."""
    bgsim.run(battle, Battle.from_file(FILES[0]), replicates=1)


def read(content: bytes, rules: str | None) -> Battle | None:
    """Read a file as `Battle.from_file` does; None if it is refused."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ScenarioWarning)
        path = Path(folder, "scenario.json")
        path.write_bytes(content)
        try:
            return Battle.from_file(path, rules)
        except ScenarioError as error:
            assert str(path) in str(error)
            assert len(str(error)) < 5000
            assert str(error).encode()
            return None


def check(p: Battle | None) -> None:
    """Fight two days, if they are not too long."""
    if p is None:
        return
    battle.bind(p)
    if p.creatures <= 30:
        result = bgsim.run(battle, p, replicates=2, seed=1)
        assert np.all(result["hit_points"] >= 0)
        assert np.all(np.isin(result["outcome"], (-1, 0, 1)))


@fuzz(percent=15)
@given(scenario=st.sampled_from(SCENARIOS).flatmap(changed), rules=RULES)
def test_changed_scenarios(scenario: Any, rules: str | None) -> None:
    check(read(json.dumps(scenario).encode(), rules))


@fuzz(percent=10)
@given(content=st.sampled_from(TEXTS).flatmap(torn), rules=RULES)
def test_torn_scenarios(content: bytes, rules: str | None) -> None:
    check(read(content, rules))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_originals_are_read(path: Path) -> None:
    """Else the tests above would try nothing."""
    assert read(path.read_bytes(), None) is not None
