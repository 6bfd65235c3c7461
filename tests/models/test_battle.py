"""Battles by the reference rules, against the reference application and exact duels; outputs, replays, plain form."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from battles import REFERENCES, SCENARIOS, assert_mean, reference, run
from paths import ENCOUNTERS

import bgsim
from bgsim.models.battle import Battle, battle
from bgsim.models.battle.tables import ENCOUNTER, MAXIMUM

REPLICATES = 100_000
DUELS = json.loads((REFERENCES / "exact_duels.json").read_text())


def party_size(p: Battle) -> int:
    return int((p.rows[: p.creatures, ENCOUNTER] < 0).sum())


def compared(name: str) -> list[tuple[str, float]]:
    """Return each statistic that the application gives, and by how many joint standard errors ours differs."""
    scenario, p = reference(name)
    result = bgsim.run(battle, p, replicates=REPLICATES, seed=1)
    party, found = party_size(p), []

    def compare(what: str, ours: Any, mean: float, error: float) -> None:
        ours = ours.astype(float)
        joint = math.hypot(ours.std(ddof=1) / math.sqrt(REPLICATES), error)
        certain = 0.0 if ours.mean() == mean else math.inf
        found.append((f"{name}: {what}", (ours.mean() - mean) / joint if joint else certain))

    for number, encounter in enumerate(scenario["results"]["encounters"]):
        hit_points = result["hit_points"][:, number]
        compare(f"{number} won", result["outcome"][:, number] == 1, encounter["win"]["p"], encounter["win"]["se"])
        for what, ours in (
            ("rounds", result["encounter_rounds"][:, number]),
            ("party_hp_total", hit_points[:, :party].sum(axis=1)),
        ):
            compare(f"{number} {what}", ours, encounter[what]["mean"], encounter[what]["se"])
        rows = np.flatnonzero(p.rows[: p.creatures, ENCOUNTER] == number)
        monsters = dict(zip(by_number(encounter["monsters"]), rows, strict=True))
        for key, row in [*zip(encounter["players"], range(party), strict=True), *monsters.items()]:
            theirs = {**encounter["players"], **encounter["monsters"]}[key]
            compare(f"{number} {key} alive", hit_points[:, row] > 0, theirs["alive"]["p"], theirs["alive"]["se"])
            compare(f"{number} {key} hp", hit_points[:, row], theirs["hp"]["mean"], theirs["hp"]["se"])
    return found


def by_number(keys: Any) -> list[str]:
    """Sort keys such as ``step0-m-0-10-goblin1`` by their numbers, as the creatures stand in the scenario."""
    return sorted(keys, key=lambda key: tuple(map(int, key.split("-")[2:4])))


@pytest.fixture(scope="module")
def differences() -> dict[str, list[tuple[str, float]]]:
    return {name: compared(name) for name in SCENARIOS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_agrees_with_the_reference_application(name: str, differences: Any) -> None:
    """Within 3 joint standard errors: win, rounds, party hit points, and each creature's survival and hit points."""
    far = [(what, round(z, 2)) for what, z in differences[name] if abs(z) > 3]
    assert not far


def test_few_statistics_are_far_off(differences: Any) -> None:
    """Of independent ones 4.6 % would be beyond 2; creatures of one fight are not independent."""
    every = [abs(z) for found in differences.values() for _, z in found]
    assert len(every) == 180
    assert sum(z > 2 for z in every) <= 0.09 * len(every)


@pytest.mark.parametrize("name", DUELS)
def test_it_agrees_with_exact_duels(name: str) -> None:
    exact = DUELS[name]
    p = Battle.from_scenario(exact["scenario"], rules="reference")
    result = run(p, replicates=200_000, seed=2)
    assert_mean(result["party_won"], exact["win"])
    assert_mean(result["party_hit_points"], exact["hp"])
    assert_mean(result["encounter_rounds"][:, -1], exact.get("rounds2", exact.get("rounds")))
    if "win1" in exact:
        assert_mean(result["outcome"][:, 0] == 1, exact["win1"])
        assert_mean(result["encounter_rounds"][:, 0], exact["rounds1"])
        assert_mean(result["hit_points"][:, 0, : party_size(p)].sum(axis=1), exact["hp1"])


def everything() -> dict[str, Battle]:
    """Return every scenario that we have, read by its rules."""
    examples = {path.stem: Battle.from_file(path) for path in sorted(ENCOUNTERS.glob("*.json"))}
    return {**{name: reference(name)[1] for name in SCENARIOS}, **examples}


ALL = everything()


@pytest.mark.parametrize("name", ALL)
def test_outputs_agree_with_each_other(name: str) -> None:
    """Damage dealt is damage taken, what is lost was taken, and the whole day is its encounters."""
    p, result = ALL[name], run(ALL[name], replicates=2000)
    party = party_size(p)
    last = result["hit_points"][:, -1]
    np.testing.assert_array_equal(result["damage_dealt"].sum(axis=1), result["damage_taken"].sum(axis=1))
    np.testing.assert_array_equal(result["party_won"], result["outcome"][:, -1] == 1)
    np.testing.assert_array_equal(result["rounds"], result["encounter_rounds"].sum(axis=1))
    np.testing.assert_array_equal(result["party_hit_points"], last[:, :party].sum(axis=1))
    np.testing.assert_array_equal(result["deaths"], (last[:, :party] == 0).sum(axis=1))
    assert np.all(result["died"][last > 0] == 0)
    assert np.all((last >= 0) & (last <= p.rows[: p.creatures, MAXIMUM]))
    assert np.all(result["damage_taken"] >= p.rows[: p.creatures, MAXIMUM] - last)
    for number in range(p.encounters):
        monsters = p.rows[: p.creatures, ENCOUNTER] == number
        won = result["outcome"][:, number] == 1
        np.testing.assert_array_equal(won, result["hit_points"][:, number][:, monsters].sum(axis=1) == 0)


@pytest.mark.parametrize("name", ALL)
def test_a_replay_is_that_very_fight(name: str) -> None:
    """Its outputs are the stored row, for fights from all over the run."""
    result = run(ALL[name], replicates=1000, seed=11)
    for index in range(0, 1000, 27):
        log = result.replay(index)
        assert (
            log.lines[-1].split(" after ")[0]
            == {1: "The party wins", -1: "The party is beaten", 0: "Undecided"}[int(result["outcome"][index, -1])]
        )
        for value, column in zip(log, result.values(), strict=True):
            np.testing.assert_array_equal(value, column[index])


def test_a_replay_reads_as_a_log() -> None:
    log = run(ALL["test_multiattack"], replicates=10, seed=4).replay(0)
    text = str(log)
    assert text.startswith("Encounter 1: Alistair against Weak Minion, Strong Brute\nInitiative: ")
    assert "\nRound 1\n  " in text
    hits = sum("damage," in line for line in log.lines)
    assert hits
    taken = [int(line.split(": ")[1].split(" damage")[0]) for line in log.lines if " hits Alistair " in line]
    outputs = dict(zip((o.name for o in battle.outputs), log, strict=True))
    assert min(sum(taken), 25) == outputs["damage_taken"][0]


_PLAIN = """
import sys
sys.path[:0] = {path!r}
import numpy as np
from test_battle import ALL, plain_rows
np.savez(sys.argv[1], **plain_rows())
"""
PLAIN_INDICES = (0, 7)


def plain_rows() -> dict[str, np.ndarray]:
    """Return some fights of every scenario by the function itself."""
    rows = {}
    for name, p in ALL.items():
        view = battle.bind(p).kernel_view()
        for i in PLAIN_INDICES:
            for k, value in enumerate(battle.function(view, bgsim.replicate_rng(6, i))):
                rows[f"{name} {i} {k}"] = np.asarray(value)
    return rows


def test_compiled_equals_plain(tmp_path: Path) -> None:
    """Bit for bit, by an interpreter without numba's compiler."""
    file = tmp_path / "rows.npz"
    code = _PLAIN.format(path=sys.path)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(file)], check=True, env=environment, timeout=170)
    with np.load(file) as rows:
        for name, p in ALL.items():
            columns = list(run(p, replicates=max(PLAIN_INDICES) + 1, seed=6).values())
            for i in PLAIN_INDICES:
                for k, column in enumerate(columns):
                    np.testing.assert_array_equal(column[i], rows[f"{name} {i} {k}"])


def test_one_compilation_serves_all() -> None:
    layouts = {tuple(type(v) for v in battle.bind(p).kernel_view()) for p in ALL.values()}
    assert len(layouts) == 1
    for p in ALL.values():
        battle.warmup(p)
    assert len(battle.revision().compiled.by_layout) == 1
