"""What counts in the identity of a simulation, what does not, and what cannot be followed."""

from __future__ import annotations

import gc
import importlib.util
import sys
import textwrap
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from new_process import printed
from numba import njit

import bgsim
from bgsim.errors import (
    CompileError,
    IdentityError,
    InvalidInputError,
    NotStoredError,
    ParameterError,
    SimulationChangedError,
    StreamError,
)
from bgsim.identity import source
from bgsim.simulation import Simulation
from bgsim.user_warnings import IdentityWarning


def load(folder: Path, name: str, source: str) -> types.ModuleType:
    """Import a module from source, whatever was imported under its name before."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(source))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fingerprint(tmp_path: Path) -> Callable[[str], str]:
    """Return the fingerprint of `sim` in a module that is made of some source."""
    numbers = iter(range(1000))

    def of(source: str) -> str:
        found: str = load(tmp_path, f"looked_at_{next(numbers)}", source).sim.fingerprint
        return found

    return of


# ---- what counts -------------------------------------------------------------------------------------


def test_a_compiled_kernel_that_names_what_numpy_computes_now_has_another_identity(
    fingerprint: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a helper; others keep theirs, and so does plain Python, which drew from NumPy before."""
    kernel = """
        import bgsim, numba
        @numba.njit
        def helper(rng):
            return rng.{helper}(2.0)
        @bgsim.simulation(outputs={{"x": "f8"}}, compile={compile})
        def sim(p, rng):
            return helper(rng) + rng.{method}(3.0)
        """
    cases = [("exponential", "normal", True), ("poisson", "normal", True), ("exponential", "poisson", True)]
    cases += [("poisson", "poisson", False)]
    sources = [kernel.format(helper=helper, method=method, compile=compiles) for helper, method, compiles in cases]
    now = [fingerprint(source) for source in sources]
    monkeypatch.setattr("bgsim.identity.draws.CHANGED_METHODS", frozenset())
    assert [fingerprint(source) == found for source, found in zip(sources, now, strict=True)] == [
        True,
        False,
        False,
        True,
    ]


BASE = '''
import math
import bgsim
from numba import njit

SCALE = 2.0

@njit
def helper(x):
    return x + 1.0

@bgsim.simulation(outputs={"x": "f8"})
def sim(p, rng):
    """Doc."""
    # a comment
    return SCALE * helper(math.sqrt(rng.random()))
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Doc."""', '"""Another."""'),
        ('"""Doc."""', '"""Another."""\n    "and a text that does nothing"'),
        ("# a comment", "# quite another"),
        ("SCALE * helper", "SCALE   *   helper"),
        ("SCALE * helper(math.sqrt(rng.random()))", "(\n        SCALE * helper(math.sqrt(rng.random()))\n    )"),
        ("def sim(p, rng):", "def sim(p: object, rng: object) -> float:"),
        ("def sim(p, rng):", "def sim(p, rng):\n"),
        ("\nSCALE = 2.0\n", "\n\n\ndef unrelated(a):\n    b = a\n    return b\n\n\nSCALE = 2.0\nOTHER = 1\n"),
        ("@bgsim.simulation(", "@bgsim.simulation(name='y', "),
        ("@bgsim.simulation(", "@bgsim.simulation(priority='high', timeout_s=5, "),
    ],
)
def test_what_changes_no_result_changes_no_fingerprint(fingerprint: Callable[[str], str], old: str, new: str) -> None:
    """Docstrings, comments, layout, annotations, unrelated code, and the name, which is part of the key by itself."""
    assert old in BASE
    assert fingerprint(BASE.replace(old, new)) == fingerprint(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = 2.5"),
        ("SCALE = 2.0", "SCALE = 2"),
        ("x + 1.0", "x + 2.0"),
        ("x + 1.0", "x - 1.0"),
        ("@njit\n", "@njit(fastmath=True)\n"),
        ("math.sqrt", "math.exp"),
        ('outputs={"x": "f8"}', 'outputs={"x": "f4"}'),
        ('outputs={"x": "f8"}', 'outputs={"x": "f8"}, version="2"'),
        ('outputs={"x": "f8"}', 'outputs={"x": "f8"}, compile=False'),
        ('outputs={"x": "f8"}', 'outputs={"x": "f8"}, depends_on=("math",)'),
        ("rng.random()", "rng.standard_normal()"),
    ],
)
def test_what_changes_results_changes_the_fingerprint(fingerprint: Callable[[str], str], old: str, new: str) -> None:
    """A value, its type, an operator, an option of jit, an output."""
    assert old in BASE
    assert fingerprint(BASE.replace(old, new)) != fingerprint(BASE)


VALUES = {
    "minus zero": ("0.0", "-0.0"),
    "bool and int": ("1", "True"),
    "text and bytes": ("'a'", "b'a'"),
    "complex": ("1j", "-1j"),
    "tuple of tuples": ("(1, (2, 3))", "((1, 2), 3)"),
    "list": ("[1, 2]", "[1, 3]"),
    "list and tuple": ("[1, 2]", "(1, 2)"),
    "dict": ("{'r': 1}", "{'r': 2}"),
    "set": ("{'a', 'b'}", "{'a', 'c'}"),
    "array": ("np.arange(3.0)", "np.arange(3.0) + 1"),
    "dtype of an array": ("np.zeros(2, 'i4')", "np.zeros(2, 'i8')"),
    "shape of an array": ("np.zeros((2, 3))", "np.zeros((3, 2))"),
    "array of objects": ("np.array([1, 'a'], object)", "np.array([2, 'a'], object)"),
    "structured array": ("np.array([(1, 2.0)], 'i4,f8')", "np.array([(1, 3.0)], 'i4,f8')"),
    "masked array": ("np.ma.array([1, 2], mask=[0, 1])", "np.ma.array([1, 2], mask=[1, 1])"),
    "NumPy scalar": ("np.float32(1)", "np.float64(1)"),
    "bytearray": ("bytearray(b'a')", "bytearray(b'b')"),
    "deque": ("collections.deque([1])", "collections.deque([2])"),
    "defaultdict": ("collections.defaultdict(int, a=1)", "collections.defaultdict(float, a=1)"),
    "namespace": ("types.SimpleNamespace(r=1)", "types.SimpleNamespace(r=2)"),
    "timedelta": ("datetime.timedelta(seconds=1)", "datetime.timedelta(seconds=2)"),
    "datetime": ("datetime.datetime(2020, 1, 1)", "datetime.datetime(2020, 1, 2)"),
    "Decimal": ("decimal.Decimal('1.0')", "decimal.Decimal('1.00')"),
    "Fraction": ("fractions.Fraction(1, 2)", "fractions.Fraction(1, 3)"),
    "pattern": ("re.compile('a')", "re.compile('a', re.I)"),
    "partial": ("functools.partial(pow, 2)", "functools.partial(pow, 3)"),
    "itemgetter": ("operator.itemgetter(0)", "operator.itemgetter(1)"),
    "slice": ("slice(1)", "slice(2)"),
    "member of an Enum": ("E.A", "E.B"),
    "instance": ("C(1)", "C(2)"),
    "instance with slots": ("S(1)", "S(2)"),
    "frozen dataclass": ("D(1)", "D(2)"),
    "named tuple": ("N(1)", "N(2)"),
    "subclass of dict": ("M(a=1)", "M(a=2)"),
    "bound method": ("C(1).f", "C(2).f"),
    "function": ("f", "g"),
    "lambda": ("lambda x: x", "lambda x: x + 1"),
    "two lambdas in a line": ("(lambda x: x, lambda x: 1)", "(lambda x: 1, lambda x: x)"),
    "closure": ("make(1)", "make(2)"),
    "default argument": ("defaulting(1)", "defaulting(2)"),
    "keyword-only default": ("keyword(1)", "keyword(2)"),
    "attribute of a function": ("attributed(1)", "attributed(2)"),
    "decorator's argument": ("scaled(1)(f)", "scaled(2)(f)"),
    "wrapped by functools": ("wrapping(1)(f)", "wrapping(2)(f)"),
    "cached function": ("functools.lru_cache(f)", "functools.lru_cache(g)"),
    "single dispatch": ("dispatching(f)", "dispatching(g)"),
    "tuple of functions": ("(f, g)", "(g, f)"),
    "dict of functions": ("{'a': f}", "{'a': g}"),
    "nested": ("{'a': [C([f])]}", "{'a': [C([g])]}"),
    "class": ("C", "S"),
    "class made of values": ("klass(1)", "klass(2)"),
    "property": ("propertied(1)", "propertied(2)"),
    "base class": ("derived(C)", "derived(S)"),
    "Enum made of values": ("enumerated(1)", "enumerated(2)"),
    "type of numba": ("numba.types.float64", "numba.types.float32"),
    "jitted function": ("numba.njit(f)", "numba.njit(g)"),
    "vectorized function": ("numba.vectorize(f)", "numba.vectorize(g)"),
    "np.vectorize": ("np.vectorize(f)", "np.vectorize(g)"),
    "ufunc": ("np.sin", "np.cos"),
    "polynomial": ("np.polynomial.Polynomial([1, 2])", "np.polynomial.Polynomial([1, 3])"),
}
HELPERS = """
import collections, datetime, decimal, enum, fractions, functools, operator, re, types
from dataclasses import dataclass
from typing import NamedTuple
import numba, numpy as np
import bgsim

class E(enum.Enum):
    A = 1
    B = 2
class C:
    def __init__(self, v):
        self.v = v
    def f(self, x):
        return x
class S:
    __slots__ = ("v",)
    def __init__(self, v):
        self.v = v
@dataclass(frozen=True)
class D:
    v: int
class N(NamedTuple):
    v: int
class M(dict):
    pass
def f(x):
    return x
def g(x):
    return x + 1
def make(k):
    def inner(x):
        return x * k
    return inner
def defaulting(k):
    def inner(x, k=k):
        return x * k
    return inner
def keyword(k):
    def inner(x, *, k=k):
        return x * k
    return inner
def attributed(k):
    def inner(x):
        return x * inner.k
    inner.k = k
    return inner
def scaled(k):
    return lambda function: lambda x: function(x) * k
def wrapping(k):
    def decorate(function):
        @functools.wraps(function)
        def inner(x):
            return function(x) * k
        return inner
    return decorate
def dispatching(function):
    found = functools.singledispatch(lambda x: x)
    found.register(int, function)
    return found
def klass(k):
    class Made:
        K = k
    return Made
def propertied(k):
    class Made:
        @property
        def v(self):
            return k
    return Made
def derived(base):
    class Made(base):
        pass
    return Made
def enumerated(k):
    class Made(enum.Enum):
        A = k
    return Made

VALUE = {value}

@bgsim.simulation(outputs={{"x": "f8"}}, compile=False)
def sim(p, rng):
    return float(VALUE is None)
"""


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_each_kind_counts(fingerprint: Callable[[str], str], kind: str) -> None:
    """The value that a name holds, and nothing else of the process."""
    old, new = (HELPERS.format(value=value) for value in VALUES[kind])
    assert fingerprint(old) == fingerprint(old)
    assert fingerprint(old) != fingerprint(new)


def looked_at_in_new_process(folder: Path, names: list[str], **environment: str) -> list[str]:
    """Return the fingerprints of `sim` in modules, as another process sees them."""
    code = f"import importlib\nfor name in {names}: print(importlib.import_module(name).sim.fingerprint)"
    return printed(code, folder, **environment).split()


def test_every_kind_has_one_identity_in_each_process(tmp_path: Path) -> None:
    """Neither addresses nor the order of sets count, nor the name that a module was imported under."""
    names = []
    for number, (old, _) in enumerate(VALUES.values()):
        (tmp_path / f"kind{number}.py").write_text(HELPERS.format(value=old))
        names.append(f"kind{number}")
    first, second = (looked_at_in_new_process(tmp_path, names, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    kinds = list(VALUES)
    assert {kinds[i] for i in range(len(names)) if first[i] != second[i]} == set()


GOLDEN = HELPERS.format(
    value="(E.A, C(1), S(1), D(1), N(1), f, make(1), wrapping(2)(f), klass(1), {'a', 'b'}, np.arange(3))"
)


def test_a_file_has_one_identity_under_every_python(fingerprint: Callable[[str], str]) -> None:
    """The identity is the same text under 3.11 and 3.13; when this fails, stored results of users are orphaned."""
    assert fingerprint(GOLDEN) == "6484bbe410264a770bb8c064ee86228b"


def test_a_set_of_functions_has_no_order(fingerprint: Callable[[str], str], tmp_path: Path) -> None:
    """Which of them comes first is another in each process, so it cannot be followed."""
    module = load(tmp_path, "set_of_functions", HELPERS.format(value="{f, g}"))
    assert "its order is another in each process" in str(module.sim.explain())


def test_closures_count() -> None:
    def make(factor: float) -> Any:
        @njit
        def helper(x: float) -> float:
            return factor * x

        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p: Any, rng: Any) -> Any:
            return helper(rng.random())

        return sim

    assert make(1.0).fingerprint == make(1.0).fingerprint
    assert make(1.0).fingerprint != make(2.0).fingerprint


def test_recursion_ends() -> None:
    """A function, a list and an instance that hold themselves are each looked at once."""
    held: list[Any] = []
    held.append(held)
    node = types.SimpleNamespace()
    node.self = node

    def sim(p: Any, rng: Any) -> float:
        return 1.0 if rng.random() < 2 else sim(p, rng) + len(held) + len(node.self)

    assert len(bgsim.simulation(sim, outputs={"x": "f8"}, compile=False).fingerprint) == 32


def test_bgsims_own_interface_counts_by_name_only() -> None:
    """Otherwise each release would orphan every stored result; a model's own helpers do count."""
    from bgsim.models.battle import battle

    @bgsim.simulation(outputs={"x": "?"})
    def polls(p: Any, rng: Any, control: Any) -> bool:
        return bgsim.stop_requested(control)

    own = {f"{__name__}.{polls.function.__qualname__}"}
    assert set(polls.parts) - {"version", "outputs", "compile"} == own
    assert len([name for name in battle.parts if name.startswith("bgsim.models.battle")]) > 100


def test_what_a_function_imports_itself_counts(
    tmp_path: Path, fingerprint: Callable[[str], str], monkeypatch: Any
) -> None:
    """Each form of import, of the names that are read."""
    monkeypatch.syspath_prepend(tmp_path)
    for form in (
        "import own_constants\n    return own_constants.K",
        "import own_constants as c\n    return c.K",
        "from own_constants import K\n    return K",
        "from own_constants import f as g\n    return g()",
    ):
        source = (
            f"import bgsim\n@bgsim.simulation(outputs={{'x': 'f8'}}, compile=False)\ndef sim(p, rng):\n    {form}\n"
        )
        found = []
        for value in (1.0, 2.0):
            load(tmp_path, "own_constants", f"K = {value}\nOTHER = {value}\ndef f():\n    return K\n")
            found.append(fingerprint(source))
        assert found[0] != found[1], form


EXTENDED = """
import bgsim
from numba import types
from numba.extending import intrinsic, lower_builtin, overload, overload_method, type_callable

def stub(x): ...
@overload(stub)
def _stub(x):
    return lambda x: x * 2.0

@overload_method(types.Float, "tripled")
def _tripled(x):
    return lambda x: x * 3.0

@intrinsic
def raw(context, x):
    def code(context, builder, signature, args):
        return builder.fadd(args[0], args[0])
    return x(x), code

def ruled(x): ...
@type_callable(ruled)
def _ruled(context):
    return lambda x: x
@lower_builtin(ruled, types.Float)
def _lowered(context, builder, signature, args):
    return args[0]

@bgsim.simulation(outputs={"x": "f8"})
def sim(p, rng):
    u = rng.random()
    return stub(u) + u.tripled() + raw(u) + ruled(u)
"""


def test_overloads_and_intrinsics_of_the_users_own_count(tmp_path: Path) -> None:
    """Whatever the user has taught numba: functions, methods, type rules, and machine code; each edit in a new process."""
    edits = {
        "": "",
        "x * 2.0": "x * 2.5",
        "x * 3.0": "x * 3.5",
        "fadd": "fsub",
        "return lambda x: x\n": "return lambda x: types.float64\n",
        "return args[0]\n": "return builder.fneg(args[0])\n",
    }
    for number, (old, new) in enumerate(edits.items()):
        (tmp_path / f"extended{number}.py").write_text(EXTENDED.replace(old, new) if old else EXTENDED)
    (tmp_path / "extended_again.py").write_text(EXTENDED)
    found = [looked_at_in_new_process(tmp_path, [f"extended{number}"])[0] for number in range(len(edits))]
    assert len(set(found)) == len(edits)
    assert looked_at_in_new_process(tmp_path, ["extended_again"]) == found[:1]


def test_a_jitclass_counts_with_its_methods(fingerprint: Callable[[str], str]) -> None:
    source = """
    import bgsim
    from numba import float64
    from numba.experimental import jitclass
    K = 2.0
    @jitclass([("v", float64)])
    class Walker:
        def __init__(self, v):
            self.v = v
        def step(self):
            return self.v * K
    @bgsim.simulation(outputs={"x": "f8"})
    def sim(p, rng):
        return Walker(rng.random()).step()
    """
    base = fingerprint(source)
    assert fingerprint(source.replace("self.v * K", "self.v + K")) != base
    assert fingerprint(source.replace("K = 2.0", "K = 3.0")) != base
    assert fingerprint(source) == base


# ---- what the source is worth ------------------------------------------------------------------------


def test_a_file_edited_after_the_import_does_not_count(tmp_path: Path) -> None:
    """The source counts only if it compiles to what runs: a comment is no matter, another number is."""
    source = "import bgsim\n@bgsim.simulation(outputs={'x': 'f8'})\ndef sim(p, rng):\n    return 2.0\n"
    right = load(tmp_path, "edited_later", source).sim.fingerprint
    other = load(tmp_path, "edited_later", source.replace("2.0", "3.0")).sim.fingerprint
    commented = load(tmp_path, "edited_later", source)
    (tmp_path / "edited_later.py").write_text("# moved\n\n" + source.replace("return", "# why\n    return"))
    assert commented.sim.fingerprint == right
    edited = load(tmp_path, "edited_later", source)
    (tmp_path / "edited_later.py").write_text(source.replace("2.0", "3.0"))
    assert edited.sim.fingerprint not in (right, other)
    assert float(bgsim.run(edited.sim, replicates=1)["x"][0]) == 2.0


def test_code_without_source_counts_by_its_byte_code() -> None:
    """Typed at a prompt, or made by exec."""

    def made(number: str) -> str:
        space: dict[str, Any] = {"bgsim": bgsim}
        exec(f"def f(p, rng):\n    return {number}\n", space)
        return bgsim.simulation(space["f"], outputs={"x": "f8"}).fingerprint

    assert made("2.0") == made("2.0")
    assert made("2.0") != made("3.0")


# ---- looked at again ---------------------------------------------------------------------------------

K = 2.0
TABLE = {"r": 2.0}
ARRAY = np.array([2.0])


class Holder:
    RATE = 2.0


def _plain(p: Any, rng: Any) -> float:
    return K * TABLE["r"] * ARRAY[0] * Holder.RATE


def test_a_change_in_the_process_is_seen_at_the_next_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    """A global, the content of a container and of an array, a class attribute: no row of the old value remains."""
    sim = bgsim.simulation(_plain, outputs={"x": "f8"}, compile=False)
    with bgsim.Engine() as engine:
        assert engine.submit(sim, replicates=3).result()["x"].tolist() == [16.0] * 3
        first = sim.fingerprint
        for change in (
            lambda: monkeypatch.setattr(f"{__name__}.K", 3.0),
            lambda: monkeypatch.setitem(TABLE, "r", 3.0),
            lambda: ARRAY.__setitem__(0, 3.0),
            lambda: monkeypatch.setattr(Holder, "RATE", 3.0),
        ):
            change()
            column = engine.submit(sim, replicates=6).result()["x"]
            assert column.tolist() == [_plain(None, None)] * 6
            assert sim.fingerprint != first
        ARRAY[0] = 2.0
        monkeypatch.undo()
        again = engine.submit(sim, replicates=3)
        assert again.result()["x"].tolist() == [16.0] * 3
        assert again.status().from_store == 3


def test_a_default_of_a_keyword_that_is_set_in_place_is_seen() -> None:
    """Its dictionary is the same one as before."""

    def helper(*, k: float = 2.0) -> float:
        return k

    sim = bgsim.simulation(lambda p, rng: helper(), outputs={"x": "f8"}, compile=False)
    before = sim.fingerprint
    helper.__kwdefaults__["k"] = 3.0
    assert sim.fingerprint != before


def test_a_result_of_other_code_is_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the replay would compute is not what stands in the column."""
    result = bgsim.run(bgsim.simulation(_plain, outputs={"x": "f8"}, compile=False), replicates=2)
    assert result.replay(1) == result["x"][1]
    monkeypatch.setattr(f"{__name__}.K", 3.0)
    with pytest.raises(SimulationChangedError, match="no longer what computed this result"):
        result.replay(1)


def test_a_compiled_simulation_is_compiled_anew_with_its_helpers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """numba itself keeps what it compiled of a helper; a request that waits is computed as it was made."""
    module = load(
        tmp_path,
        "compiled_anew",
        """
        import bgsim
        from numba import njit
        K = 2.0
        @njit
        def inner(x):
            return x * K
        @njit
        def helper(x):
            return inner(x)
        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return helper(1.0)
        """,
    )
    assert module.helper(1.0) == 2.0
    with bgsim.Engine() as engine:
        engine.pause()
        waiting = engine.submit(module.sim, replicates=2)
        module.K = 3.0
        newer = engine.submit(module.sim, replicates=2)
        engine.resume()
        assert newer.result()["x"].tolist() == [3.0, 3.0]
        assert waiting.result()["x"].tolist() == [2.0, 2.0]
    assert module.helper(1.0) == 2.0  # the user's own stays as it is


def test_plain_code_that_changes_while_it_runs_fails_and_stores_nothing(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would be of two constants."""
    stopper = gate.stop_here

    def sim(p: Any, rng: Any) -> float:
        if rng.random() >= 0.0:
            stopper()
        return K

    changing = bgsim.simulation(sim, outputs={"x": "f8"}, compile=False)
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(changing, replicates=2)
        gate.wait_until_reached()
        monkeypatch.setattr(f"{__name__}.K", 3.0)
        gate.open()
        with pytest.raises(SimulationChangedError, match=r"test_identity\.K"):
            job.result()
        assert engine.store.results() == []
        assert engine.submit(changing, replicates=2).result()["x"].tolist() == [3.0, 3.0]


def test_an_array_that_changes_before_it_is_compiled_counts_as_it_was() -> None:
    """What is compiled has a copy of what was looked at."""

    @bgsim.simulation(outputs={"x": "f8"})
    def sim(p: Any, rng: Any) -> float:
        return ARRAY[0]

    try:
        with bgsim.Engine() as engine:
            engine.pause()
            job = engine.submit(sim, replicates=2)
            ARRAY[0] = 5.0
            engine.resume()
            assert job.result()["x"].tolist() == [2.0, 2.0]
            assert engine.submit(sim, replicates=2).result()["x"].tolist() == [5.0, 5.0]
    finally:
        ARRAY[0] = 2.0


def test_a_jitclass_whose_constant_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numba keeps its machine code for as long as the process lives, so it is said rather than used."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    module = load(
        tmp_path,
        "kept_by_numba",
        """
        import bgsim
        from numba import float64
        from numba.experimental import jitclass
        K = 2.0
        @jitclass([("v", float64)])
        class Walker:
            def __init__(self, v):
                self.v = v
            def step(self):
                return self.v * K
        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return Walker(1.0).step()
        """,
    )
    assert bgsim.run(module.sim, replicates=1)["x"][0] == 2.0
    module.K = 3.0
    with pytest.raises(CompileError, match="numba keeps machine code"):
        bgsim.run(module.sim, replicates=1)


def test_plain_code_is_not_stored_with_a_helper_that_numba_has_compiled_before(tmp_path: Path) -> None:
    """The helper answers with the old constant, which belongs to no code that there is now."""
    module = load(
        tmp_path,
        "old_helper",
        """
        import bgsim
        from numba import njit
        K = 2.0
        @njit
        def helper(x):
            return x * K
        @bgsim.simulation(outputs={"x": "f8"}, compile=False)
        def sim(p, rng):
            return helper(1.0)
        """,
    )
    with bgsim.Engine() as engine:
        assert engine.submit(module.sim, replicates=2).result()["x"].tolist() == [2.0, 2.0]
        assert engine.submit(module.sim, replicates=2).status().from_store == 2
        module.K = 3.0
        with pytest.warns(IdentityWarning, match="run its definition again"):
            stale = engine.submit(module.sim, replicates=2)
        assert stale.result()["x"].tolist() == [module.sim.function(None, None)] * 2
        assert len(engine.store.results()) == 1


# ---- what cannot be followed -------------------------------------------------------------------------

HANDLE = (number for number in ())


def _unfollowed(p: Any, rng: Any) -> float:
    return float(HANDLE is None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("globals()['K']", r"globals\(\)"),
        ("eval('K')", r"eval\(\)"),
        ("float(open(__file__).close() is None)", "open"),
        ("importlib.import_module('math').pi", "import_module"),
        ("float(sys.modules['math'].pi)", "sys.modules"),
        ("float(os.environ.get('NO_SUCH', 1))", "os.environ"),
        ("float(lib.sqrt is None)", "ctypes"),
        ("float(generator is None)", "generator"),
        ("getattr(mine, 'K')", "the module mine"),
    ],
)
def test_what_cannot_be_followed_is_warned_of_by_name_and_not_kept(
    tmp_path: Path, monkeypatch: Any, body: str, said: str
) -> None:
    """It runs all the same; what it computes is neither stored, joined, nor answered from the store."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("K = 1.0\n")
    module = load(
        tmp_path,
        "unfollowed",
        f"""
        import ctypes, importlib, os, sys
        import bgsim, mine
        K = 1.0
        lib = ctypes.CDLL(None)
        generator = (i for i in ())
        @bgsim.simulation(outputs={{"x": "f8"}}, compile=False)
        def sim(p, rng):
            return {body}
        """,
    )
    with bgsim.Engine() as engine:
        with pytest.warns(IdentityWarning, match=said) as caught:
            first = engine.submit(module.sim, replicates=2)
        assert first.result()["x"].size == 2
        assert caught[0].filename == __file__  # the line that submits, not one of bgsim's
        assert "used in unfollowed.sim" in str(caught[0].message)
        assert "depends_on" in str(caught[0].message)
        assert "version" in str(caught[0].message)
        assert engine.submit(module.sim, replicates=2).status().from_store == 0  # and no second warning
        assert engine.store.results() == []
        with pytest.raises(NotStoredError, match="cannot follow"):
            engine.submit(module.sim, replicates=2, cache="only")
    with (
        bgsim.Engine(identity="strict") as engine,
        warnings.catch_warnings(action="error"),
        pytest.raises(IdentityError, match=said),
    ):
        engine.submit(bgsim.simulation(module.sim.function, outputs={"x": "f8"}, compile=False), replicates=2)


@pytest.mark.parametrize("remedy", [{"version": "1"}, {"depends_on": ("K",)}])
def test_its_author_can_answer_for_it(remedy: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a version, or by naming what counts; all that can be followed still counts."""
    sim = bgsim.simulation(_unfollowed, outputs={"x": "f8"}, compile=False, **remedy)
    with bgsim.Engine(identity="strict") as engine:
        engine.submit(sim, replicates=2).result()
        assert engine.submit(sim, replicates=2).status().from_store == 2
        before = sim.fingerprint
        monkeypatch.setattr(f"{__name__}.K", 3.0)
        assert (sim.fingerprint == before) is ("version" in remedy)


def test_state_counts_unless_its_author_names_what_counts() -> None:
    """A simulation that keeps a list of its calls fails, and is told how to say that the list is no matter."""
    calls: list[int] = []

    def sim(p: Any, rng: Any) -> float:
        calls.append(1)
        return 1.0

    with pytest.raises(SimulationChangedError, match=r": test_identity\.calls\. .*depends_on"):
        bgsim.run(bgsim.simulation(sim, outputs={"x": "f8"}, compile=False), replicates=3)
    quiet = bgsim.simulation(sim, outputs={"x": "f8"}, compile=False, depends_on=())
    with bgsim.Engine() as engine:
        engine.submit(quiet, replicates=3).result()
        assert engine.submit(quiet, replicates=3).status().from_store == 3


def test_a_file_or_a_module_can_be_named(tmp_path: Path) -> None:
    """The content of the file counts, and all that the module holds."""
    data = tmp_path / "data.csv"
    data.write_text("1")
    module = load(tmp_path, "named_module", "A = 1\ndef f():\n    return A\n")
    sim = bgsim.simulation(_plain, outputs={"x": "f8"}, compile=False, depends_on=(data, module))
    found = [sim.fingerprint]
    data.write_text("23")
    found.append(sim.fingerprint)
    module.A = 2
    found.append(sim.fingerprint)
    assert len(set(found)) == 3
    data.unlink()
    with pytest.raises(InvalidInputError, match=r"data\.csv, which cannot be read"):
        sim.fingerprint  # noqa: B018


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (("NO_SUCH",), r"'NO_SUCH', which .*test_identity does not have"),
        ((HANDLE,), "generator"),
        ("K", "must be a tuple"),
    ],
)
def test_depends_on_is_checked(declared: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        bgsim.simulation(_plain, outputs={"x": "f8"}, compile=False, depends_on=declared).fingerprint  # noqa: B018


def test_methods_that_nothing_asks_for_are_no_reason_to_warn() -> None:
    """A parameter class that can read itself from a file counts whole, but what reads the file is not executed."""

    class Model:
        def value(self) -> float:
            return 1.0

        def saved(self) -> str:
            return open("model").read()  # noqa: PTH123

        def shaken(self) -> float:
            return float(np.random.random())

    model = Model()
    sim = bgsim.simulation(lambda p, rng: model.value(), outputs={"x": "f8"}, compile=False)
    with bgsim.Engine(identity="strict") as engine:
        assert engine.submit(sim, replicates=1).result()["x"][0] == 1.0
    asking = bgsim.simulation(lambda p, rng: float(len(model.saved())), outputs={"x": "f8"}, compile=False)
    assert "open" in str(asking.explain().limits)


def test_only_plain_functions_are_compiled() -> None:
    with pytest.raises(ParameterError, match="must be a plain function"):
        bgsim.simulation(njit(lambda p, rng: 1.0), outputs={"x": "f8"})


# ---- draws from elsewhere ----------------------------------------------------------------------------

SHARED = np.random.default_rng(1)


def _draws_np(p: Any, rng: Any) -> float:
    return np.random.random()


@njit
def _jitted_draw() -> float:
    return np.random.random()


@pytest.mark.parametrize(
    ("function", "compiles", "named"),
    [
        (_draws_np, True, r"np\.random\.random\(\)"),
        (_draws_np, False, r"np\.random\.random\(\)"),
        (lambda p, rng: _jitted_draw(), True, r"np\.random\.random\(\) in .*_jitted_draw"),
        (lambda p, rng: __import__ and SHARED.random(), False, "a Generator that replicates share"),
        (lambda p, rng: np.random.default_rng().random(), False, r"default_rng\(\) without a seed"),
    ],
)
def test_draws_from_elsewhere_than_rng_are_refused(function: Any, compiles: bool, named: str) -> None:
    """Such replicates are no function of the seed; the error says what draws, and the remedy."""
    sim = bgsim.simulation(function, outputs={"x": "f8"}, compile=compiles)
    with pytest.raises(StreamError, match=f"{named}.*Draw from rng"):
        bgsim.run(sim, replicates=2)


def test_a_seeded_generator_of_its_own_is_allowed() -> None:
    sim = bgsim.simulation(lambda p, rng: np.random.default_rng(3).random(), outputs={"x": "f8"}, compile=False)
    assert len(set(bgsim.run(sim, replicates=3)["x"].tolist())) == 1


def test_a_draw_that_numba_does_not_compile_is_allowed() -> None:
    """What numba types counts, not what is written: a branch that is left out at compilation draws nothing."""

    @bgsim.simulation(outputs={"x": "f8"})
    def sim(p: Any, rng: Any) -> float:
        flag = None
        if flag is not None:
            return np.random.random()
        return 1.0

    assert bgsim.run(sim, replicates=1)["x"][0] == 1.0


# ---- threads -----------------------------------------------------------------------------------------


def _switch(phase: str, info: dict[str, int]) -> None:
    """Run Python code when garbage is collected, between whose lines another thread may run."""
    for _ in range(100):
        pass


def test_many_threads_look_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_threads: Callable[..., list[Any]]
) -> None:
    """Each reads files of its own, and the parser of CPython 3.11 is used by one at a time: else it raises.

    It does so where another thread comes while it makes a tree: the collector of garbage, which runs then, lets it.
    """
    line = "    x = [f(x, 1) + x * (x - 2) for y in (x, [x]) if not x or y]\n"
    modules = [load(tmp_path, f"parsed_{i}", f"def f(x):\n{line * 100}    return x + {i}\n") for i in range(8)]
    monkeypatch.setattr(source, "_TRIES", 1)
    gc.callbacks.append(_switch)
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(500)
    try:
        texts = in_threads(*(lambda m=m: source.text_of(m.f.__code__, vars(m)) for m in modules))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(_switch)
    assert [str(text).startswith(sys.implementation.cache_tag or "") for text in texts] == [False] * 8
    assert len(set(texts)) == 8


# ---- golden ------------------------------------------------------------------------------------------


def test_the_identities_of_the_built_in_simulations_are_known() -> None:
    """When this fails, stored results of users are orphaned: say so in the CHANGELOG."""
    from bgsim.registry import BUILT_IN, find_simulation

    found = {name: find_simulation(name).fingerprint for name in BUILT_IN}
    assert [limit for name in BUILT_IN for limit in find_simulation(name).explain().limits] == []
    assert found == GOLDEN_IDENTITIES


GOLDEN_IDENTITIES = {
    "asian_call": "c29437f5db0a362db46512427d5193b3",
    "asian_option": "81d1dfc8cd07511fdff63e29530053a9",
    "barrier_option": "7cb8c93857722f3921eef4d7a15e7d9f",
    "battle": "97b5b5a9b9941960f3253e815d4b9eec",
    "european_call": "9f478d00e19a35e48e9c21714097002f",
    "european_option": "af2619edefbfc56699691fa9c491cfee",
    "heston_option": "3660b66479f4847e351cbcd891306ff1",
    "ising": "b19d1ce7f62ceb9ed5a735476ea8f72b",
    "ising_wolff": "7b63789f1b4f5f14aa58ad6b04e4f3bb",
    "lookback_option": "99d3f61327a3bb47eaed4199fa4c2f68",
    "mg1": "214d0de383edf29d3f71b9db84843d1c",
    "mmc": "8fba803b58110792ae0d3d24d2c51152",
    "reactions": "4310d38a5be2cc978bae82e9c7ac00e4",
    "tau_leaping": "01a5445581cbcbf964903332aea0c14e",
}


def test_explain_names_each_dependency(tmp_path: Path) -> None:
    """With a short hash each, the same in another process."""
    module = load(tmp_path, "explained", BASE)
    sim: Simulation = module.sim
    assert set(sim.parts) == {
        "explained.helper (options of jit)",
        "explained.sim",
        "explained.SCALE",
        "explained.helper",
        "version",
        "outputs",
        "compile",
    }
    text = str(sim.explain())
    assert sim.fingerprint in text
    assert all(short in text for short in sim.parts.values())
