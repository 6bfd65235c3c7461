"""How a simulation gets to another process: by its name where that is the same code, else with its code."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from remote_process import replies_to

import bgsim
from bgsim.backends import ExecutorBackend, shipping
from bgsim.backends.base import Chunk, ChunkLostError, Computation, ShutOutError
from bgsim.backends.blocks import Blocks
from bgsim.backends.executor import DEFAULT_CHUNK_BYTES
from bgsim.backends.pool import compute_at
from bgsim.backends.sending import Sender
from bgsim.control import ORDER, STOP, YIELD
from bgsim.errors import ChunkTooLargeError, ShippingError
from bgsim.models.options import asian_call
from bgsim.request import Request
from bgsim.running.run import Run

MODULE = """
import math
import numba
import numpy as np
import bgsim
from dataclasses import dataclass, replace
from {helper} import scaled, TABLE

SCALE = {scale}

@numba.njit
def twice(x):
    return 2.0 * x

@dataclass(frozen=True)
class P:
    a: float = 1.5
    n: int = 3

@bgsim.simulation(outputs={{"x": "f8"}})
def sim(p: P, rng):
    s = 0.0
    for i in range(p.n):
        s += scaled(twice(p.a) * rng.random()) * SCALE + TABLE[i]
    return math.exp(-s)

@bgsim.simulation(outputs={{"x": "f8"}}, compile=False)
def plain(p: P, rng):
    return sum(p.a * rng.random() * SCALE + float(TABLE[i]) for i in range(p.n))

@bgsim.simulation(outputs={{"x": "f8"}}, compile=False)
def raising(p: P, rng):
    class LocalError(Exception):
        pass
    raise LocalError("of a class that no other process has")
"""

HELPER = """
import math
import numba
import numpy as np

TABLE = np.linspace(0.0, 1.0, 7)

@numba.njit
def scaled(x):
    return math.sin(x) + 1.0
"""


class Module:
    """A module of the user's, and the folder that has it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.helper = f"{name}_helper"
        (folder / f"{self.helper}.py").write_text(HELPER)
        self.write(3.0)

    def write(self, scale: float) -> None:
        """Write the module with a constant."""
        (self.folder / f"{self.name}.py").write_text(MODULE.format(helper=self.helper, scale=scale))

    def load(self) -> Any:
        """Import it anew."""
        sys.modules.pop(self.name, None)
        importlib.invalidate_caches()
        return importlib.import_module(self.name)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Module]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = Module(tmp_path, f"shipped_{abs(hash(request.node.name)) % 10**8}")
    yield found
    for name in (found.name, found.helper):
        sys.modules.pop(name, None)


def computation_of(simulation: Any, replicates: int = 40) -> Computation:
    """Return what an engine would hand to a backend."""
    request = Request(simulation, simulation.bind(None), replicates=replicates, seed=7)
    found = Run(request, "job-1").computation
    found.runner = simulation.prepare(request.parameters, request.revision)
    return found


def chunk_of(computation: Computation, count: int = 40) -> Chunk:
    columns = computation.simulation.new_columns(computation.parameters, count)
    return Chunk(computation, 0, count, columns)


def lane() -> Any:
    return SimpleNamespace(place="elsewhere", control=np.zeros(8, np.int64))


def rows_of(simulation: Any, replicates: int = 40) -> Any:
    """Return what one thread of this process computes."""
    with bgsim.Engine(workers=1) as engine:
        return engine.submit(simulation, replicates=replicates, seed=7).result()["x"]


def exchange(sender: Sender, computation: Computation, path: Path | None = None) -> tuple[Any, Any, int]:
    """Send a chunk to a new process until it computes it; return the last reply, the rows, and how many it took."""
    for number in range(1, 5):
        chunk = chunk_of(computation)
        task = sender.task(chunk, "elsewhere")
        (reply,) = replies_to(task, path=path)
        done, _ = sender.take(task, chunk, reply, lane())
        if done:
            assert done == 40
            return reply, chunk.columns[0], number
    raise AssertionError("it never computed")


def new_sender(computation: Computation) -> Sender:
    return Sender(computation, attests=True, most_bytes=DEFAULT_CHUNK_BYTES)


@pytest.mark.parametrize("name", ["sim", "plain"])
def test_code_that_the_other_process_has_goes_by_its_name(module: Module, name: str) -> None:
    simulation = getattr(module.load(), name)
    computation = computation_of(simulation)
    reply, rows, tries = exchange(new_sender(computation), computation, module.folder)
    assert tries == 1
    assert rows.tobytes() == rows_of(simulation).tobytes()
    assert len(reply.digest) == len([one for one in reply.digest if one])


@pytest.mark.parametrize("name", ["sim", "plain"])
def test_a_module_that_it_does_not_have_travels_with_those_that_it_uses(module: Module, name: str) -> None:
    """Also compiled helpers of another module of the user's, and arrays and constants among its globals."""
    simulation = getattr(module.load(), name)
    computation = computation_of(simulation)
    _, rows, tries = exchange(new_sender(computation), computation)
    assert tries == 2
    assert rows.tobytes() == rows_of(simulation).tobytes()


def test_code_that_was_edited_here_travels_too(module: Module, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The other process imports the module as it was, and would compute something else."""
    there = tmp_path_factory.mktemp("there")
    old = Module(there, module.name)
    old.write(5.0)
    simulation = module.load().sim
    computation = computation_of(simulation)
    reply, rows, tries = exchange(new_sender(computation), computation, there)
    assert tries == 2
    assert rows.tobytes() == rows_of(simulation).tobytes()
    assert reply.refusal == ""


def test_a_simulation_of_a_function_travels_with_what_it_closes_over() -> None:
    offset = 2.5

    @bgsim.simulation(outputs={"x": "f8"})
    def inner(p: Any, rng: Any) -> float:
        return offset + rng.random()

    computation = computation_of(inner)
    _, rows, tries = exchange(new_sender(computation), computation)
    assert tries == 1
    assert rows.tobytes() == rows_of(inner).tobytes()


def test_a_built_in_model_is_never_sent_as_code() -> None:
    computation = computation_of(asian_call)
    task = new_sender(computation).task(chunk_of(computation), "elsewhere")
    assert task.fingerprint == computation.fingerprint
    assert len(task.payload) < 1000


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def locked(p: Any, rng: Any) -> float:
        with lock:
            return float(rng.random())

    with pytest.raises(ShippingError, match=r"locked cannot be sent to another process: TypeError: .*lock"):
        shipping.by_value(computation_of(locked))


def test_without_cloudpickle_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def here(p: Any, rng: Any) -> float:
        return rng.random()

    computation = computation_of(here)
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ShippingError, match=r"by its name\. Put it into a module .* pip install cloudpickle"):
        new_sender(computation).task(chunk_of(computation), "elsewhere")


def test_cloudpickle_is_left_as_it_was(module: Module) -> None:
    """What is kept by value is the process's, and others use it too."""
    import cloudpickle

    before = cloudpickle.list_registry_pickle_by_value()
    shipping.by_value(computation_of(module.load().sim))
    assert cloudpickle.list_registry_pickle_by_value() == before


def test_what_is_no_module_does_not_travel(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries put anything into `sys.modules`."""
    monkeypatch.setitem(sys.modules, "odd_object", SimpleNamespace(__file__=str(module.folder / "odd.py")))
    assert shipping.by_value(computation_of(module.load().sim)).fingerprint == ""


def test_versions_that_differ_shut_it_out() -> None:
    computation = computation_of(asian_call)
    sender, chunk = new_sender(computation), chunk_of(computation)
    task = sender.task(chunk, "elsewhere")
    older = {**task.environment, "numba": "0.1"}
    (reply,) = replies_to(changed(task, environment=older))
    assert (reply.refusal, reply.why) == ("versions", "numba")
    with pytest.raises(ShutOutError, match=r"other versions than this process of numba: there python .*; here python"):
        sender.take(task, chunk, reply, lane())


def test_other_bits_shut_it_out_and_none_of_its_rows_counts() -> None:
    computation = computation_of(asian_call)
    sender, chunk = new_sender(computation), chunk_of(computation)
    task = sender.task(chunk, "elsewhere")
    (reply,) = replies_to(task)
    reply.digest = (*reply.digest[:-1], b"\0" * 32)
    chunk.columns[0].fill(-1.0)
    with pytest.raises(
        ShutOutError, match=r"other bits of bgsim\.models\.options\.asian_call than this process: there"
    ):
        sender.take(task, chunk, reply, lane())
    assert set(chunk.columns[0]) == {-1.0}


def test_a_task_with_probes_that_comes_after_they_were_left_out_is_compared() -> None:
    """They are left out once several processes have ended before they answered."""
    computation = computation_of(asian_call)
    sender, chunk = new_sender(computation), chunk_of(computation)
    task = sender.task(chunk, "elsewhere")
    (reply,) = replies_to(task)
    for number in range(3):
        assert not sender.lost(task, "another", ChunkLostError("it is gone", str(number))).blames
    assert sender.task(chunk, "elsewhere").probes == ()
    assert sender.take(task, chunk, reply, lane())[0] == 40


def test_a_process_that_is_trusted_computes_no_probes() -> None:
    computation = computation_of(asian_call)
    sender, chunk = Sender(computation, attests=False, most_bytes=DEFAULT_CHUNK_BYTES), chunk_of(computation)
    task = changed(sender.task(chunk, "elsewhere"), environment={"numba": "0.1"})
    (reply,) = replies_to(task)
    assert (reply.digest, reply.done) == ((), 40)
    assert sender.take(task, chunk, reply, lane())[0] == 40


def test_a_large_payload_travels_once_to_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not know it, as one that took the place of another, says so and gets it."""
    table = np.arange(10_000.0)

    @bgsim.simulation(outputs={"x": "f8"}, compile=False)
    def heavy(p: Any, rng: Any) -> float:
        return float(table[5] + rng.random())

    computation = computation_of(heavy)
    sender, chunk = new_sender(computation), chunk_of(computation)
    first = sender.task(chunk, "elsewhere")
    assert len(first.payload) > 80_000
    second_elsewhere = sender.task(chunk, "another place")
    replies = replies_to(first, changed(first, payload=b""))
    assert [reply.refusal for reply in replies] == ["", ""]
    sender.take(first, chunk, replies[0], lane())
    assert sender.task(chunk, "elsewhere").payload == b""
    assert second_elsewhere.payload
    (lost,) = replies_to(sender.task(chunk, "elsewhere"))
    assert lost.refusal == "unknown"
    assert sender.take(first, chunk, lost, lane()) == (0, 0.0)
    assert sender.task(chunk, "elsewhere").payload == first.payload


def test_one_row_has_to_fit() -> None:
    @bgsim.simulation(outputs={"x": ("f8", 1000)})
    def wide(p: Any, rng: Any) -> Any:
        return np.full(1000, rng.random())

    with pytest.raises(ChunkTooLargeError, match=r"wide has 8,000 bytes of outputs, and the backend sends 5,000"):
        Sender(computation_of(wide), attests=True, most_bytes=5_000)


def test_an_error_of_a_class_that_only_exists_there_comes_as_another_with_its_text(module: Module) -> None:
    with (
        bgsim.Engine(backend=ExecutorBackend(workers=1)) as engine,
        pytest.raises(bgsim.errors.ReplicateError, match="raised RuntimeError: LocalError: of a class") as raised,
    ):
        engine.submit(module.load().raising, replicates=3).result()
    assert "raised in process" in "".join(raised.value.__cause__.__notes__)


@dataclass(frozen=True)
class Own:
    """Parameters of a class of the test's own."""

    a: float = 2.0


def test_parameters_of_a_class_that_is_not_there_travel(module: Module) -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def own(p: Own, rng: Any) -> float:
        return p.a * rng.random()

    computation = computation_of(own)
    _, rows, _ = exchange(new_sender(computation), computation)
    assert rows.tobytes() == rows_of(own).tobytes()


def changed(task: Any, **values: Any) -> Any:

    return replace(task, **values)


def test_a_process_of_this_host_is_a_twin_and_one_elsewhere_attests() -> None:
    """A replicate may take minutes, and a twin computes no other bits."""
    computation = computation_of(asian_call)
    sender, chunk, blocks = new_sender(computation), chunk_of(computation), Blocks(1)
    task = sender.task(chunk, "elsewhere")
    here = compute_at(task, blocks.place(0))
    assert (here.is_twin, here.digest, here.done) == (True, (), 40)
    assert sender.take(task, chunk, here, lane())[0] == 40
    there = compute_at(task, blocks.place(0)._replace(path="/nowhere"))
    assert (there.is_twin, len(there.digest)) == (False, len(task.probes))
    older = compute_at(changed(task, environment={**task.environment, "cpu": "another"}), blocks.place(0))
    assert (older.is_twin, len(older.digest)) == (False, len(task.probes))
    blocks.close()


@pytest.mark.parametrize("order", [YIELD, STOP])
def test_an_order_that_ended_the_first_chunk_costs_none_of_its_rows(order: int) -> None:
    """The engine computes its probes after that, and the order does not hold them up."""
    computation = computation_of(asian_call)
    sender, chunk, ended = new_sender(computation), chunk_of(computation), lane()
    (reply,) = replies_to(sender.task(chunk, "elsewhere"))
    ended.control[ORDER] = order
    assert sender.take(sender.task(chunk, "elsewhere"), chunk, reply, ended)[0] == 40


def test_a_cancel_does_not_wait_for_probes_that_take_long() -> None:
    computation = computation_of(asian_call)
    sender, chunk, ended = new_sender(computation), chunk_of(computation), lane()
    (reply,) = replies_to(sender.task(chunk, "elsewhere"))
    ended.control[ORDER], reply.elapsed_s = STOP, 4000.0
    assert sender.take(sender.task(chunk, "elsewhere"), chunk, reply, ended) == (0, 0.0)
