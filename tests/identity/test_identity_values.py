"""Values, classes and members that a simulation reaches: each counts, whether its file is edited or it is set."""

from __future__ import annotations

import itertools
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_identity import load

import bgsim

HEAD = """
import abc, array, collections, dataclasses, datetime, decimal, enum, functools, itertools, re, struct, threading, types
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
import numpy as np
import bgsim
"""
SIM = """
@bgsim.simulation(outputs={"x": "f8"}, compile=False)
def sim(p, rng):
    return EXPRESSION
"""

Make = Callable[..., types.ModuleType]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a module from a source, an expression and a value in the place of ``@V@``."""
    numbers = itertools.count()

    def module(source: str, expression: str, value: float = 2.0) -> types.ModuleType:
        text = HEAD + textwrap.dedent(source) + SIM.replace("EXPRESSION", expression)
        return load(tmp_path, f"valued_{next(numbers)}", text.replace("@V@", repr(value)))

    return module


def answer(module: Any) -> float:
    """Return what the simulation computes now."""
    found: float = module.sim.function(None, None)
    return found


ENUM = "class E(enum.Enum):\n    A = 1\n"

EDITED: dict[str, tuple[str, str]] = {
    "private method of an Enum": (
        ENUM + "    def _scale(self):\n        return @V@\n    def f(self):\n        return self._scale()\n",
        "E.A.f()",
    ),
    "cached method of an Enum": (ENUM + "    @functools.lru_cache\n    def f(self):\n        return @V@\n", "E.A.f()"),
    "attribute of a member": (ENUM + "E.A.mass = @V@\n", "E.A.mass"),
    "attribute that __new__ sets": (
        "class E(enum.Enum):\n    def __new__(cls, v):\n        o = object.__new__(cls)\n        o._value_ = v\n"
        "        o.mass = v * @V@\n        return o\n    A = 1\n",
        "E.A.mass",
    ),
    "nonmember": (ENUM + "    T = enum.nonmember({'r': @V@})\n", "E.T['r']"),
    "property of an Enum": (ENUM + "    @enum.property\n    def r(self):\n        return @V@\n", "E.A.r"),
    "what an Enum makes of no value": (
        "class E(enum.Enum):\n    A = 2.0\n    B = 7.0\n    @classmethod\n    def _missing_(cls, v):\n        return cls(@V@)\n",
        "E('x').value",
    ),
    "partial method of an Enum": (
        ENUM + "    def g(self, k):\n        return k\n    f = functools.partialmethod(g, @V@)\n",
        "E.A.f()",
    ),
    "boundary of a Flag": (
        "class E(enum.Flag, boundary=enum.KEEP if @V@ == 7.0 else enum.CONFORM):\n    A = 2\n",
        "7.0 if E(7).value == 7 else 2.0",
    ),
    "property over a field of a named tuple": (
        "class K(collections.namedtuple('B', 'a b')):\n    @property\n    def a(self):\n        return @V@\nC = K(1.0, 2.0)\n",
        "C.a",
    ),
    "long pattern": ("C = re.compile('x' * 250 + '|@V@')\n", "2.0 if C.match('2.0') else 7.0"),
    "fields of a scalar": (
        "C = np.array([(2.0, 7.0)], [('a', 'f8'), ('b', 'f8')][:: 1 if @V@ == 2.0 else -1])[0]\n",
        "float(C['a'])",
    ),
    "length of a deque": ("C = collections.deque([1], maxlen=int(@V@))\n", "C.maxlen * 1.0"),
    "order of an array in memory": (
        "C = np.array([[0.0, 2.0], [7.0, 0.0]], order='F' if @V@ == 7.0 else 'C')\n",
        "float(C.ravel(order='K')[1])",
    ),
    "format of a Struct": ("S = struct.Struct('<d' if @V@ == 2.0 else '<f')\n", "2.0 if S.size == 8 else 7.0"),
    "long integer": ("C = 10**5000 + int(@V@)\n", "float(C % 10)"),
    "subclass of date": ("class M(datetime.date):\n    pass\nC = M(2020, 1, int(@V@))\n", "C.day * 1.0"),
    "subclass of Decimal": ("class M(decimal.Decimal):\n    pass\nC = M('@V@')\n", "float(C)"),
    "arguments of an exception": ("class E(Exception):\n    pass\nO = E(@V@)\n", "O.args[0]"),
    "factory of a subclass of defaultdict": (
        "class M(collections.defaultdict):\n    pass\nC = M(lambda: @V@)\n",
        "C.default_factory()",
    ),
    "subclass of float that hides its value": (
        "class F(float):\n    def __float__(self):\n        return 1.0\nO = F(@V@)\n",
        "O + 0.0",
    ),
    "subclass of str that hides its text": (
        "class S(str):\n    def __str__(self):\n        return '***'\nO = S('@V@')\n",
        "float(O[:3])",
    ),
    "subclass of list that hides its items": (
        "class L(list):\n    def __iter__(self):\n        return iter(())\nO = L([@V@])\n",
        "O[0]",
    ),
    "subclass of partial": (
        "class P(functools.partial):\n    def __call__(self, x):\n        return super().__call__(x) * @V@\nf = P(float)\n",
        "f(1.0)",
    ),
    "subclass of property": (
        "class P(property):\n    def __init__(self, f, k):\n        super().__init__(f)\n        self.k = k\n"
        "    def __get__(self, o, t=None):\n        return self.k\nclass K:\n    r = P(lambda self: 1.0, @V@)\nC = K()\n",
        "C.r",
    ),
    "subclass of Event": ("class E(threading.Event):\n    rate = @V@\nC = E()\n", "C.rate"),
    "subclass of local": ("class L(threading.local):\n    rate = @V@\nC = L()\n", "C.rate"),
    "attribute of a partial": ("f = functools.partial(float)\nf.k = @V@\n", "f.k"),
    "attribute of a cached function": ("@functools.lru_cache\ndef f(x):\n    return 1.0\nf.k = @V@\n", "f.k"),
    "method that dispatches": (
        "class K:\n    @functools.singledispatchmethod\n    def f(self, x):\n        return 0.0\n"
        "    @f.register\n    def _(self, x: float):\n        return x * @V@\nC = K()\n",
        "C.f(1.0)",
    ),
    "class that matches": (
        "class K:\n    __match_args__ = ('a',) if @V@ == 2.0 else ('b',)\n    def __init__(self):\n"
        "        self.a, self.b = 2.0, 7.0\ndef f():\n    match K():\n        case K(v):\n            return v\n",
        "f()",
    ),
    "metadata of a field": (
        "@dataclass\nclass K:\n    r: float = field(default=1.0, metadata={'s': @V@})\nC = K()\n",
        "dataclasses.fields(C)[0].metadata['s']",
    ),
    "name of a class that is read": (
        "O = type('Slow' if @V@ == 2.0 else 'Fast', (), {})()\nT = {'Slow': 2.0, 'Fast': 7.0}\n",
        "T[type(O).__name__]",
    ),
    "what a function wraps": (
        "def g(x):\n    return @V@\ndef stub(x):\n    return None\nf = functools.update_wrapper(stub, g)\n",
        "f.__wrapped__(1.0)",
    ),
    "make_dataclass": (
        "P = dataclasses.make_dataclass('P', [('r', float, 1.0)], namespace={'f': lambda self: @V@})\n",
        "P().f()",
    ),
    "new_class": ("K = types.new_class('K', (), {}, lambda ns: ns.update(r=@V@))\n", "K.r"),
    "class of a text in no module": ("ns = {}\nexec('class K:\\n    r = @V@', ns)\nK = ns['K']\n", "K.r"),
    "class that names another module": ("class A:\n    r = @V@\nA.__module__ = 'numpy'\n", "A.r"),
    "class that names a module of C": (
        "class A:\n    def f(self):\n        return @V@\nA.__module__ = 'math'\nO = A()\n",
        "O.f()",
    ),
    "dictionary with attributes": (
        "class A(dict):\n    __getattr__ = dict.__getitem__\nO = A(r=@V@)\n",
        "O.r",
    ),
    "object that raises for an attribute": (
        "class A:\n    def __init__(self):\n        self.r = @V@\n    def __getattr__(self, n):\n"
        "        raise RuntimeError(n)\nO = A()\n",
        "O.r",
    ),
    "object that names another class": (
        "class A:\n    __class__ = property(lambda self: float)\n    def __init__(self):\n        self.r = @V@\nO = A()\n",
        "O.r",
    ),
    "class that answers for any attribute": (
        "class M(type):\n    def __getattr__(c, n):\n        return @V@\nclass A(metaclass=M):\n    pass\n",
        "A.zzz",
    ),
    "set of tuples": (
        "S = {(0, 1), (1, 0), (0, -1)}\nT = {frozenset([1]), frozenset([@V@])}\n",
        "max(max(t) for t in T) if S else 0.0",
    ),
    "weak reference": ("import weakref\nclass A:\n    r = @V@\na = A()\nw = weakref.ref(a)\n", "w().r"),
    "registered class": (
        "class A(abc.ABC):\n    pass\nclass K:\n    pass\nif @V@ == 7.0:\n    A.register(K)\nC = K()\n",
        "7.0 if isinstance(C, A) else 2.0",
    ),
}


@pytest.mark.parametrize("kind", EDITED)
def test_an_edit_of_each_kind_counts(make: Make, kind: str) -> None:
    """The same source has the same fingerprint, and all of it is followed."""
    source, expression = EDITED[kind]
    old, same, new = (make(source, expression, value) for value in (2.0, 2.0, 7.0))
    assert [answer(module) for module in (old, same, new)] == [2.0, 2.0, 7.0]
    assert old.sim.fingerprint == same.sim.fingerprint
    assert old.sim.fingerprint != new.sim.fingerprint
    assert old.sim.revision().identity.limits == ()


SET: dict[str, tuple[str, str, str]] = {
    "attribute of a member": (ENUM + "E.A.mass = 2.0\n", "E.A.mass", "E.A.mass = 7.0"),
    "private method of an Enum": (
        ENUM + "    def _scale(self):\n        return 2.0\n    def f(self):\n        return self._scale()\n",
        "E.A.f()",
        "E._scale = lambda self: 7.0",
    ),
    "dictionary of an instance": ("class K:\n    pass\nC = K()\nC.r = 2.0\n", "C.r", "C.__dict__ = {'r': 7.0}"),
    "class of an instance": (
        "class A:\n    def f(self):\n        return 2.0\nclass B:\n    def f(self):\n        return 7.0\nC = A()\n",
        "C.f()",
        "C.__class__ = B",
    ),
    "bases of a class": (
        "class A:\n    r = 2.0\nclass B:\n    r = 7.0\nclass O:\n    pass\nclass K(A, O):\n    pass\nC = K()\n",
        "C.r",
        "K.__bases__ = (B, O)",
    ),
    "first attribute of a function": (
        "def f(x):\n    return getattr(f, 'k', 2.0)\n",
        "f(1.0)",
        "f.k = 7.0",
    ),
    "dictionary of a function": ("def f():\n    return f.k\nf.k = 2.0\n", "f()", "f.__dict__ = {'k': 7.0}"),
    "state of a partial": (
        "f = functools.partial(lambda k, x: x * k, 2.0)\n",
        "f(1.0)",
        "f.__setstate__((lambda k, x: x * k, (7.0,), {}, {}))",
    ),
    "field of a scalar": ("C = np.array([(1, 2.0)], 'i4,f8')[0]\n", "float(C['f1'])", "C['f1'] = 7.0"),
    "field of a record": (
        "C = np.rec.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])[0]\n",
        "float(C.b)",
        "C.b = 7.0",
    ),
    "array that was read-only": (
        "A = np.full(1000, 2.0)\nA.flags.writeable = False\n",
        "float(A[0])",
        "A.flags.writeable = True; A[0] = 7.0",
    ),
    "deep in objects of the standard library": (
        "O = types.SimpleNamespace(a=collections.OrderedDict(b=types.SimpleNamespace(r=2.0)))\n",
        "O.a['b'].r",
        "O.a['b'].r = 7.0",
    ),
    "hidden item of a dictionary": (
        "class D(dict):\n    def items(self):\n        return []\nO = D(r=2.0)\n",
        "O['r']",
        "O['r'] = 7.0",
    ),
    "name of a class that is read": (
        "class Slow:\n    pass\nO = Slow()\n",
        "{'Slow': 2.0, 'Fast': 7.0}[type(O).__name__]",
        "Slow.__name__ = Slow.__qualname__ = 'Fast'",
    ),
}


@pytest.mark.parametrize("kind", SET)
def test_what_is_set_in_the_process_is_seen(make: Make, kind: str) -> None:
    """A look at what has not changed is a comparison only; it must see this."""
    source, expression, statement = SET[kind]
    module = make(source, expression)
    before = module.sim.fingerprint
    assert answer(module) == 2.0
    exec(statement, vars(module))
    assert answer(module) == 7.0
    assert module.sim.fingerprint != before


REMEMBERED: dict[str, tuple[str, str, str]] = {
    "cached function": ("K = 2.0\n@functools.lru_cache\ndef f(x):\n    return x * K\n", "f(1.0)", "f.cache_clear()"),
    "cached method": (
        "K = 2.0\nclass A:\n    @functools.cache\n    def f(self):\n        return K\nO = A()\n",
        "O.f()",
        "A.f.cache_clear()",
    ),
    "cached property": (
        "K = 2.0\nclass A:\n    @functools.cached_property\n    def r(self):\n        return K\nO = A()\n",
        "O.r",
        "del O.r",
    ),
}


@pytest.mark.parametrize("kind", REMEMBERED)
def test_an_answer_that_is_remembered_belongs_to_the_values_it_came_from(make: Make, kind: str) -> None:
    """While nothing else changes it is stored as any other; afterwards it is refused until it is forgotten."""
    source, expression, remedy = REMEMBERED[kind]
    module = make(source, expression)
    assert module.sim.revision().identity.limits == ()
    assert answer(module) == 2.0
    assert module.sim.revision().identity.limits == ()
    module.K = 7.0
    assert answer(module) == 2.0
    assert "computed with other values" in str(module.sim.revision().identity.limits)
    module.K = 2.0
    assert "computed with other values" in str(module.sim.revision().identity.limits)
    module.K = 7.0
    exec(remedy, vars(module))
    assert module.sim.revision().identity.limits == ()
    assert answer(module) == 7.0


NET = """
import functools
class Net:
    def __init__(self, edges):
        self.edges = edges
    @functools.cached_property
    def size(self):
        return float(len(self.edges))
class Slotted(Net):
    __slots__ = ("weight",)
    def __init__(self, edges):
        super().__init__(edges)
        self.weight = 1.0
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that is installed."""
    site = tmp_path / "site-packages"
    (site / "net-1.0.dist-info").mkdir(parents=True)
    (site / "net.py").write_text(NET)
    (site / "net-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: net\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("net", None)


KEPT_BY_INSTALLED: dict[str, tuple[str, str, float]] = {
    "cached property": ("import net\nO = net.Net([1, 2])\n", "O.size", 2.0),
    "cached property beside slots": ("import net\nO = net.Slotted([1, 2])\n", "O.size", 2.0),
    "within a container": ("import net\nO = types.SimpleNamespace(o=[net.Net([1, 2])])\n", "O.o[0].size", 2.0),
    "text of a type": ("import llvmlite.ir\nO = llvmlite.ir.IntType(@V@)\n", "float(len(str(O)))", 3.0),
}


@pytest.mark.parametrize("kind", KEPT_BY_INSTALLED)
@pytest.mark.usefixtures("net")
def test_what_an_installed_object_keeps_from_its_first_use_on_is_no_change(make: Make, kind: str) -> None:
    """A job that uses it first is stored, and found again."""
    source, expression, expected = KEPT_BY_INSTALLED[kind]
    module = make(source, expression, 19)
    before = module.sim.fingerprint
    with bgsim.Engine(workers=1) as engine:
        for stored in (0, 3):
            job = engine.submit(module.sim, replicates=3)
            assert job.result(timeout=60)["x"].tolist() == [expected] * 3
            assert job.status().from_store == stored
    assert module.sim.revision().identity.fingerprint == before


@pytest.mark.usefixtures("net")
def test_an_answer_of_other_values_that_an_installed_object_remembers_counts(make: Make) -> None:
    """Until it is forgotten."""
    module = make("import net\nO = net.Net([1, 2])\n", "O.size")
    other = make("import net\nO = net.Net([1, 2, 3])\n", "O.size")
    assert answer(module) == 2.0
    module.sim.revision()
    module.O.edges.append(3)
    assert answer(module) == 2.0
    assert module.sim.revision().identity.fingerprint != other.sim.fingerprint
    assert module.sim.revision().identity.limits == ()
    del module.O.size
    for _ in range(2):
        assert module.sim.revision().identity.fingerprint == other.sim.fingerprint
        assert answer(module) == 3.0


def test_a_simulation_with_a_cached_helper_is_stored(make: Make) -> None:
    """On the first submission, on the next one, and in the middle of a run."""
    source = "K = 2.0\n@functools.lru_cache\ndef f(x):\n    return x * K\n"
    module = make(source, "f(round(rng.random(), 3)) * 0.0 + 2.0")
    with bgsim.Engine(workers=1) as engine:
        for replicates, stored in ((20, 0), (20, 20), (50, 20)):
            job = engine.submit(module.sim, replicates=replicates, seed=1)
            assert job.result(timeout=60)["x"].tolist() == [2.0] * replicates
            assert job.status().from_store == stored


def test_equal_tuples_are_one_wherever_they_stand(make: Make) -> None:
    """Whether two names share a tuple or have one each makes no difference."""
    expression = "A[0] * B[1]"
    shared = make("A = (1.0, 2.0)\nB = A\n", expression)
    apart = make("A = (1.0, 2.0)\nB = tuple([1.0, 2.0])\n", expression)
    assert shared.sim.fingerprint == apart.sim.fingerprint


REFUSED = {
    "a ufunc of no module": ("f = np.frompyfunc(lambda x: x * 2.0, 1, 1)\n", "f(1.0)"),
    "classes that are found": (
        "class B:\n    pass\nclass K(B):\n    r = 2.0\n",
        "sum(c.r for c in B.__subclasses__())",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_followed_is_said(make: Make, kind: str) -> None:
    """A change of it would go unseen."""
    assert make(*REFUSED[kind]).sim.revision().identity.limits


def test_a_deep_object_is_looked_at_once(make: Make) -> None:
    """Each level of objects of installed classes once doubled the time: forty would take years."""
    source = "O = types.SimpleNamespace(r=@V@)\nfor _ in range(40):\n    O = types.SimpleNamespace(o=O)\n"
    module = make(source, "2.0 if O else 0.0")
    assert module.sim.fingerprint == make(source, "2.0 if O else 0.0").sim.fingerprint
    assert module.sim.fingerprint != make(source, "2.0 if O else 0.0", 7.0).sim.fingerprint
