"""The built-in models as plain Python, with numba's compiler switched off, give the bits that compiled kernels give."""

from __future__ import annotations

import copy
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

import bgsim
from bgsim.models.direct_method import FEW_REACTIONS
from bgsim.models.network import Network
from bgsim.models.reactions import Reactions
from bgsim.models.tau_leaping import TauLeaping

TIMES = np.array([0.0, 0.1, 0.2, 0.9])
MIXED = Network().species("A", 30).species("B").species("F", 3, fixed=True)
MIXED.reaction("3 A -> B", 1e-3).reaction("2 A + F -> 2 B", 0.02).reaction("B -> 2 A", 0.7).reaction("-> A", 5.0)
LARGE = Network().species("X", 20_000).species("Y", 40).species("S", 3)
LARGE.reaction("2 X -> Y", 1e-5).reaction("Y -> 2 X", 2.0).reaction("-> X", 1e4).reaction("S ->", 3.0)


def with_idle_reactions(network):
    """Return a copy with enough reactions for the dependency graph to be used."""
    network = copy.deepcopy(network)
    for i in range(FEW_REACTIONS):
        network.reaction("A -> 2 A", 0.0, f"idle {i}")
    return network


CASES = {
    "options:european_call": {},
    "options:asian_call": {"steps": 30},
    "options:european_option": {"antithetic": True, "put": True},
    "options:asian_option": {"steps": 30, "dates": 2, "antithetic": True},
    "extremes:barrier_option": {"steps": 30, "continuity_correction": True},
    "extremes:lookback_option": {"steps": 30, "floating": False},
    "heston:heston_option": {"steps": 30, "antithetic": True},
    "ising:ising": {"rows": 7, "columns": 6, "burn_in": 20, "sweeps": 10},
    "ising:ising_wolff": {"rows": 7, "columns": 6, "burn_in": 20, "sweeps": 10},
    "reactions:reactions few": Reactions.of(MIXED, TIMES),
    "reactions:reactions many": Reactions.of(with_idle_reactions(MIXED), TIMES),
    "tau_leaping:tau_leaping": TauLeaping.of(LARGE, TIMES, epsilon=0.2),
    "queueing:mmc": {"warm_up": 20, "customers": 50, "servers": 3},
    "queueing:mg1": {"warm_up": 20, "customers": 50, "service_scv": 0.4},
}
SEED, INDICES = 9, (0, 1, 17, 40)

_REPLAY_ALL = """
import sys
sys.path[:0] = {path!r}
import numpy as np
from test_models_plain import CASES, find, replay
np.savez(sys.argv[1], **{{f"{{name}} {{i}} {{k}}": value for name in CASES for i, k, value in replay(name)}})
"""


def find(name):
    """Return the simulation; what follows after a space tells its cases apart."""
    module, _, attribute = name.split()[0].partition(":")
    return getattr(importlib.import_module(f"bgsim.models.{module}"), attribute)


def replay(name):
    """Yield index, number of the output, and value, for some replicates."""
    simulation = find(name)
    p = simulation.bind(CASES[name])
    for i in INDICES:
        values = simulation.replay(p, SEED, i)
        for k, value in enumerate(values if isinstance(values, tuple) else (values,)):
            yield i, k, np.asarray(value)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Everything by an interpreter without a compiler."""
    file = tmp_path_factory.mktemp("plain") / "replays.npz"
    code = _REPLAY_ALL.format(path=sys.path)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(file)], check=True, env=environment, timeout=120)
    with np.load(file) as replays:
        return dict(replays)


@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_plain(name, plain):
    """Bit for bit, in every output of the sampled replicates; and the replay in this process is the same."""
    result = bgsim.run(find(name), CASES[name], replicates=max(INDICES) + 1, seed=SEED)
    columns = list(result.values())
    for i, k, value in replay(name):
        np.testing.assert_array_equal(columns[k][i], plain[f"{name} {i} {k}"])
        np.testing.assert_array_equal(columns[k][i], value)
