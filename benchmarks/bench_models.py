"""Exact paths of reaction networks on one core: ours and four peers, each by its own compiled direct method.

Networks A to D are those of the documentation: immigration and death with a mean of 10,000 and of 10, dimerisation, and
the Oregonator of Gillespie (1977). An operation is one event; every contender looks at 51 times. Times are of the
processor, since the work is that of one thread. `make bench` installs the peers but cayenne, whose build pip cannot
isolate: ``pip install cython "setuptools<80" && pip install --no-build-isolation cayenne`` does.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Case, compare, cpu_seconds, installed
from bgsim.control import new_control_block
from bgsim.kernels.stream import WorkerStream
from bgsim.models.network import Network
from bgsim.models.reactions import Reactions, reactions
from bgsim.streams import stream_key

Side = dict[str, int]


@dataclass(frozen=True)
class Problem:
    """A network, until when it runs, and how many replicates are timed, some milliseconds, and checked."""

    title: str
    counts: Side
    laws: tuple[tuple[Side, Side, float], ...]
    stop: float
    timed: int
    checked: int

    @property
    def times(self) -> np.ndarray:
        return np.linspace(0.0, self.stop, 51)

    def network(self) -> Network:
        network = Network()
        for name, count in self.counts.items():
            network.species(name, count)
        for reactants, products, rate in self.laws:
            network.reaction((reactants, products), rate)
        return network


def immigration_death(title: str, rate: float, timed: int, checked: int) -> Problem:
    laws = (({}, {"X": 1}, rate), ({"X": 1}, {}, 0.1))
    return Problem(title, {"X": round(rate / 0.1)}, laws, 50.0, timed, checked)


PROBLEMS = (
    immigration_death("A, immigration and death, mean 10,000", 1000.0, 2, 16),
    immigration_death("B, immigration and death, mean 10", 1.0, 2000, 300),
    Problem(
        "C, dimerisation",
        {"P": 100, "D": 0},
        (({"P": 2}, {"D": 1}, 0.001), ({"D": 1}, {"P": 2}, 0.01)),
        50.0,
        2000,
        300,
    ),
    Problem(
        "D, Oregonator",
        {"Y1": 500, "Y2": 1000, "Y3": 2000},
        (
            ({"Y2": 1}, {"Y1": 1}, 2.0),
            ({"Y1": 1, "Y2": 1}, {}, 0.1),
            ({"Y1": 1}, {"Y1": 2, "Y3": 1}, 104.0),
            ({"Y1": 2}, {}, 0.016),
            ({"Y3": 1}, {"Y2": 1}, 26.0),
        ),
        2.0,
        1,
        16,
    ),
)

Runner = Callable[[], np.ndarray]
"""Runs some replicates and returns the first species at the end of each."""


def ours(problem: Problem, replicates: int) -> Runner:
    """Run one chunk as a worker does, in this thread."""
    bound = reactions.bind(Reactions.of(problem.network(), problem.times))
    runner, stream, key = reactions.prepare(bound), WorkerStream(), stream_key(1)

    def run() -> np.ndarray:
        columns = reactions.new_columns(bound, replicates)
        assert runner(stream, key, 0, columns, new_control_block()) == replicates
        return columns[0][:, -1, 0]

    return run


def homodimers(reactants: Side) -> float:
    """Return what two peers leave out of the propensity: the factorials of the coefficients."""
    return math.prod(math.factorial(n) for n in reactants.values())


def names(side: Side) -> list[str]:
    return [name for name, n in side.items() for _ in range(n)]


def rebop_runner(problem: Problem, replicates: int) -> Runner:
    import rebop

    system = rebop.Gillespie()
    for reactants, products, rate in problem.laws:
        system.add_reaction(rate / homodimers(reactants), names(reactants), names(products))
    first = next(iter(problem.counts))
    return lambda: np.array(
        [int(system.run(problem.counts, problem.stop, 50, rng=i)[first].values[-1]) for i in range(replicates)]
    )


def bioscrape_runner(problem: Problem, replicates: int) -> Runner:
    from bioscrape.simulator import ModelCSimInterface, SSASimulator
    from bioscrape.types import Model

    model = Model(
        species=list(problem.counts),
        reactions=[(names(r), names(p), "massaction", {"k": k / homodimers(r)}) for r, p, k in problem.laws],
        initial_condition_dict=problem.counts,
    )
    interface, simulator, times = ModelCSimInterface(model), SSASimulator(), problem.times
    return lambda: np.array([simulator.py_simulate(interface, times).py_get_result()[-1, 0] for _ in range(replicates)])


def cayenne_runner(problem: Problem, replicates: int) -> Runner:
    from cayenne.simulation import Simulation

    def matrix(which: int) -> np.ndarray:
        return np.array([[law[which].get(name, 0) for law in problem.laws] for name in problem.counts])

    simulation = Simulation(
        list(problem.counts),
        [f"R{k}" for k in range(len(problem.laws))],
        matrix(0),
        matrix(1),
        np.array(list(problem.counts.values())),
        np.array([rate / homodimers(reactants) for reactants, _, rate in problem.laws]),  # k of the rate equation
    )

    # It keeps every event; with debug it runs here, not in forked processes.
    room = round(1.5 * events(problem)) + 1000

    def run() -> np.ndarray:
        simulation.simulate(max_t=problem.stop, max_iter=room, n_rep=replicates, algorithm="direct", seed=1, debug=True)
        assert set(simulation.results.status_list) == {2}, "it ran out of room"
        return simulation.results.final[1][:, 0]

    return run


def gillespy2_runner(problem: Problem, replicates: int) -> Runner:
    import gillespy2

    # It builds by the base interpreter, which does not see a virtual environment's SCons.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(gillespy2.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    )
    model = gillespy2.Model(name="network")
    model.add_species([gillespy2.Species(name=s, initial_value=n) for s, n in problem.counts.items()])
    for k, (reactants, products, rate) in enumerate(problem.laws):
        factors = [f"({s} - {i})" if i else s for s, n in reactants.items() for i in range(n)]
        law = "*".join([repr(rate / homodimers(reactants)), *factors])
        model.add_reaction(
            gillespy2.Reaction(name=f"R{k}", reactants=reactants, products=products, propensity_function=law)
        )
    model.timespan(gillespy2.TimeSpan.linspace(t=problem.stop, num_points=51))
    solver, first = gillespy2.SSACSolver(model=model), next(iter(problem.counts))
    return lambda: np.array(
        [path[first][-1] for path in solver.run(number_of_trajectories=replicates, seed=1)], dtype=float
    )


PEERS = {
    "rebop": rebop_runner,
    "bioscrape": bioscrape_runner,
    "cayenne": cayenne_runner,
    "gillespy2": gillespy2_runner,
}

SLOW_TO_START = {"rebop": 20, "cayenne": 20, "gillespy2": 20}
"""Peers that take long to start a path: by how much fewer are timed."""


def events(problem: Problem) -> float:
    """Return the mean events of a replicate, counted by a species that every reaction makes one of."""
    network = Network().species("events")
    for name, count in problem.counts.items():
        network.species(name, count)
    for reactants, products, rate in problem.laws:
        network.reaction((reactants, {**products, "events": 1}), rate)
    bound = reactions.bind(Reactions.of(network, [problem.stop]))
    columns = reactions.new_columns(bound, 4 * problem.checked)
    reactions.prepare(bound)(WorkerStream(), stream_key(2), 0, columns, new_control_block())
    return float(columns[0][:, 0, 0].mean())


def agree(name: str, a: np.ndarray, b: np.ndarray) -> None:
    """Assert that two samples have the same mean, within 5 standard errors."""
    error = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    assert abs(a.mean() - b.mean()) < 5 * error, f"{name}: {b.mean()} is not {a.mean()} +- {error}"


def main() -> None:
    warnings.simplefilter("ignore")  # the peers' own
    peers = {name: make for name, make in PEERS.items() if installed(name)}
    for problem in PROBLEMS:
        number = events(problem)
        sample = ours(problem, problem.checked)()
        cases = [Case("bgsim reactions", ours(problem, problem.timed), round(number * problem.timed))]
        for name, make in peers.items():
            agree(name, sample, make(problem, problem.checked)())
            timed = max(1, problem.timed // SLOW_TO_START.get(name, 1))
            cases.append(Case(name, make(problem, timed), round(number * timed)))
        title = f"{problem.title}: {number:,.0f} events a replicate, CPU time (ratios above 1: ours is ahead)"
        compare(title, cases, rounds=10, warmup=1, unit="ns", clock=cpu_seconds)


if __name__ == "__main__":
    main()
