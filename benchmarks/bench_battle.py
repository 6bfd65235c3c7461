"""Fights a second on one core, against the reference application's measured lightweight path."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np

from bgsim.control import new_control_block
from bgsim.kernels.stream import WorkerStream
from bgsim.models.battle import Battle, battle
from bgsim.streams import stream_key

SCENARIOS = Path(__file__).parent.parent / "tests" / "references" / "battle"

REFERENCE_PER_S = {
    "test_multiattack": 3482,
    "test_party_vs_boss": 1631,
    "test_balanced": 903,
    "adventuring_days__fighters_3_encounters": 445,
    "test_bless_bane": 499,
    "high_ac_test_medium": 169,
}
"""Its fights a second on one core, without logs, as measured by those who ran it: it is not here to run beside ours."""

FIGHTS, ROUNDS = 20_000, 7


def fights_per_s(name: str) -> list[float]:
    """Return what a worker does in one thread, by its processor time, and check that it fought."""
    scenario = json.loads((SCENARIOS / f"{name}.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        p = battle.bind(Battle.from_scenario(scenario, rules="reference"))
    run, columns, found = battle.prepare(p), battle.new_columns(p, FIGHTS), []
    for _ in range(ROUNDS + 1):
        began = time.thread_time()
        assert run(WorkerStream(), stream_key(1), 0, columns, new_control_block()) == FIGHTS
        found.append(FIGHTS / (time.thread_time() - began))
    expected = scenario["results"]["encounters"][-1]["rounds"]["mean"]
    assert abs(columns[5][:, -1].mean() - expected) < 0.1 * expected
    return found[1:]


def main() -> None:
    print("\nFights a second, one thread (ratio: to the reference application's lightweight path)")
    print(f"  {'':42} {'median':>10} {'slowest':>10} {'reference':>10} {'ratio':>7}")
    for name, theirs in REFERENCE_PER_S.items():
        ours = fights_per_s(name)
        median = float(np.median(ours))
        print(f"  {name:42} {median:10,.0f} {min(ours):10,.0f} {theirs:10,} {median / theirs:7.0f}", flush=True)


if __name__ == "__main__":
    main()
