"""A store that an engine wrote before the house was rebuilt: its results hit, its journal is taken over.

``golden/engine.db`` was written by an engine that completed eight jobs, buried one, added a schedule, and was killed
while one job ran, one of retries waited behind it, and one waited for its time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kernels
import numpy as np
import pytest
from paths import GOLDEN

import bgsim
from bgsim.models.extremes import barrier_option
from bgsim.models.heston import heston_option
from bgsim.models.options import asian_call, european_call
from bgsim.models.queueing import mg1
from bgsim.registry import BUILT_IN, find_simulation

HITS = [
    (asian_call, None),
    (european_call, {"strike": 95.0}),
    (european_call, {"strike": 100.0}),
    (barrier_option, None),
    (heston_option, None),
    (mg1, None),
    (kernels.walk, {"steps": 4}),
    (kernels.plain_walk, {"steps": 3}),
]


@pytest.fixture
def path(tmp_path) -> Path:
    return Path(shutil.copy(GOLDEN / "engine.db", tmp_path / "engine.db"))


def test_every_result_of_then_is_a_hit(path) -> None:
    with bgsim.Engine(path, recover=False) as engine:
        for simulation, parameters in HITS:
            job = engine.submit(simulation, parameters, replicates=20, seed=7, cache="only")
            result = job.result()
            assert job.status().from_store == 20
            again = simulation.replay(job.parameters, seed=7, index=19)
            values = again if isinstance(again, tuple) else (again,)
            for name, value in zip(result, values, strict=True):
                np.testing.assert_allclose(result[name][19], value, rtol=1e-12)


def test_slots_and_journal_are_those_of_then(path) -> None:
    with bgsim.Engine(path, recover=False) as engine:
        record = engine.store.get(engine.store.slots("mine").primary.hash).record
        assert (record.simulation, record.seed) == ("bgsim.models.options.european_call", "7")
        assert [letter.simulation for letter in engine.dead_letters()] == ["golden.fails"]
        assert [schedule.name for schedule in engine.schedules()] == ["nightly"]
        spin, queue, option = engine.interrupted()
    assert (spin.simulation, spin.started, spin.crashes) == ("kernels.spin", True, 0)
    assert json.loads(queue.options)["retry"]["attempts"] == 2
    assert json.loads(option.options)["at"] == "2026-11-29T10:50:08.242555+00:00"


def test_a_job_of_then_goes_on_from_what_is_stored(path) -> None:
    with bgsim.Engine(path, recover=False) as engine:
        _, queue, _ = engine.interrupted()
        (job,) = engine.recover([queue.id])
        assert len(job.result()["mean_wait"]) == 30
        assert (job.id, job.status().from_store) == (queue.id, 20)
        assert job.request.retry.delay_s == 1.0
        assert engine.store.slots("mine").primary.replicates == 30


def test_the_identities_of_then_are_those_of_now() -> None:
    """Whoever edits a model writes its new one down; a change of anything else must not change one."""
    expected = json.loads((GOLDEN / "fingerprints.json").read_text())
    assert {name: find_simulation(name).fingerprint for name in BUILT_IN} == expected
