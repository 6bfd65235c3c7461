"""Modules with simulations, and one edit of each, for `test_identity_edits.py`.

A generated simulation computes ``rng.random()`` plus the values of some *leaves*: things that code can depend on. The
table `KINDS` has a row for each kind of leaf, and `WRAPPERS` one for each way of code to come to a leaf. A new row is
all that a new kind needs.

In a source, ``@V@`` is the value that the leaf yields (a float without fraction, from 2.0 to 9.0) and ``@N@`` a number
of its own, for names. A line ``@JIT`` becomes numba's decorator in a module whose helpers are jitted, and is left out
elsewhere; so does ``JIT(`` become ``njit(`` or ``(``.
"""

from __future__ import annotations

import ast
import os
import random
import re
import threading
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

VALUES = [float(v) for v in range(2, 10)]

WANTED = os.environ.get("BGSIM_EDITS_OF", "")
"""Only kinds whose name matches are edited."""

HEAD = """import collections, dataclasses, datetime, decimal, enum, fractions, functools, importlib, math, pathlib, re, types
from dataclasses import dataclass
from typing import ClassVar, NamedTuple
import numpy as np
"""
NUMBA = "from numba import njit, vectorize\n"
UNRELATED = "def unrelated(x):\n    local = x + 1\n    return local\n"


@dataclass(frozen=True)
class Kind:
    """One kind of dependency.

    Attributes
    ----------
    source : str
        At the top level of a module.
    expression : str
        Yields the value, as a float, where a simulation computes.
    sets : tuple of str
        Statements that give it another value in the process, each alone; run in its module.
    plain, jits : bool
        Whether it works in plain Python, and in what numba compiles.
    jit_sets : tuple of str
        The same as `sets`, where the helpers are jitted.
    parameters : str
        The name of the class that annotates ``p``, if the leaf is a part of it.
    bound_early : bool
        Whether its users keep the old one when its source is run again.
    keeps_answers : bool
        Whether it remembers what it has computed, so that it is not edited in the process.
    followed : bool
        False if an engine may refuse it, or deliver and not store it with a warning. An old number is wrong all the same.
    slow : bool
        Whether numba is slow with it, so that few are made.
    """

    name: str
    source: str
    expression: str
    sets: tuple[str, ...] = ()
    plain: bool = True
    jits: bool = False
    jit_sets: tuple[str, ...] = ()
    parameters: str = ""
    bound_early: bool = False
    keeps_answers: bool = False
    followed: bool = True
    slow: bool = False


def _constant(name: str, value: str, expression: str, *contents: str, jits: bool = False) -> Kind:
    """Return the row of a module constant C: it can be bound anew, and its contents set."""
    bind = f"C@N@ = {value}"
    sets = (bind, *[c.replace("C", "C@N@") for c in contents])
    expression = re.sub(r"\bC\b", "C@N@", expression)
    return Kind(name, bind + "\n", expression, sets, jits=jits, jit_sets=(bind,) if jits else ())


CONSTANTS = [
    _constant("number", "@V@", "C", jits=True),
    _constant("whole number", "int(@V@)", "C * 1.0", jits=True),
    _constant("truth", "@V@ > 5.0", "(C * 1.0)", jits=True),
    _constant("complex number", "complex(1.0, @V@)", "C.imag", jits=True),
    _constant("number of NumPy", "np.float32(@V@)", "float(C)", jits=True),
    _constant("tuple", "(1.0, @V@)", "C[1]", jits=True),
    _constant("nested tuple", "((1.0, @V@), 3.0)", "C[0][1]", jits=True),
    _constant("array", "np.array([1.0, @V@])", "C[1]", jits=True),
    _constant("changed array", "np.array([1.0, @V@])", "C[1]", "C[1] = @V@"),
    _constant("array of objects", "np.array(['x', @V@], dtype=object)", "C[1]", "C[1] = @V@"),
    _constant("structured array", "np.array([(1, @V@)], dtype=[('a', 'i4'), ('b', 'f8')])", "float(C['b'][0])"),
    _constant("text", "'@V@'", "float(C)"),
    _constant("bytes", "b'@V@'", "float(C.decode())"),
    _constant("bytearray", "bytearray(b'@V@')", "float(C.decode())", "C[:] = b'@V@'"),
    _constant("range", "range(int(@V@))", "len(C) * 1.0"),
    _constant("slice", "slice(0, int(@V@))", "C.stop * 1.0"),
    _constant("dict", "{'r': @V@}", "C['r']", "C['r'] = @V@", "C.update(r=@V@)"),
    _constant("key of a dict", "{@V@: 'r'}", "next(iter(C))", "C.clear(); C[@V@] = 'r'"),
    _constant("dict in a dict", "{'r': {'s': [0, @V@]}}", "C['r']['s'][1]", "C['r']['s'][1] = @V@"),
    _constant("list", "[1, @V@]", "C[1]", "C[1] = @V@", "C[:] = [1, @V@]"),
    _constant("length of a list", "[0] * int(@V@)", "len(C) * 1.0", "C[:] = [0] * int(@V@)"),
    _constant("list in a tuple", "(1, [@V@])", "C[1][0]", "C[1][0] = @V@"),
    _constant("set", "{1.0, @V@}", "max(C)", "C.clear(); C.add(@V@)"),
    _constant("set of texts", "{'one', 'two', 'three', '@V@'}", "float(min(C))"),
    _constant("frozenset of texts", "frozenset(['one', 'two', 'three', '@V@'])", "float(min(C))"),
    _constant("deque", "collections.deque([1, @V@])", "C[1]", "C[1] = @V@"),
    _constant("defaultdict", "collections.defaultdict(float, r=@V@)", "C['r']", "C['r'] = @V@"),
    _constant("mapping proxy", "types.MappingProxyType({'r': @V@})", "C['r']"),
    _constant("namespace", "types.SimpleNamespace(r=@V@)", "C.r", "C.r = @V@"),
    _constant("namespace in a list", "[types.SimpleNamespace(r=@V@)]", "C[0].r", "C[0].r = @V@"),
    _constant("timedelta", "datetime.timedelta(seconds=@V@)", "C.total_seconds()"),
    _constant("date", "datetime.date(2026, 1, int(@V@))", "C.day * 1.0"),
    _constant("fraction", "fractions.Fraction(@V@)", "float(C)"),
    _constant("decimal", "decimal.Decimal('@V@')", "float(C)"),
    _constant("path", "pathlib.PurePosixPath('a/@V@')", "float(C.name)"),
    _constant("pattern", "re.compile('@V@')", "float(C.pattern)"),
]

CLASSES = [
    Kind(
        "frozen dataclass",
        "@dataclass(frozen=True)\nclass D@N@:\n    r: float\nC@N@ = D@N@(@V@)\n",
        "C@N@.r",
        ("C@N@ = D@N@(@V@)", "object.__setattr__(C@N@, 'r', @V@)"),
    ),
    Kind(
        "default of a dataclass",
        "@dataclass\nclass D@N@:\n    r: float = @V@\nC@N@ = D@N@()\n",
        "C@N@.r",
        ("C@N@.r = @V@", "C@N@.__dict__['r'] = @V@"),
    ),
    Kind(
        "dataclass made in the kernel",
        "@dataclass\nclass D@N@:\n    r: float = @V@\n    def double(self):\n        return 2 * self.r\n",
        "D@N@().double() / 2",
    ),
    Kind(
        "named tuple",
        "class T@N@(NamedTuple):\n    q: float\n    r: float\nC@N@ = T@N@(1.0, @V@)\n",
        "C@N@.r",
        ("C@N@ = T@N@(1.0, @V@)",),
        jits=True,
        jit_sets=("C@N@ = T@N@(1.0, @V@)",),
    ),
    Kind("value of an enum", "class E@N@(enum.Enum):\n    A = @V@\n    B = 'b'\n", "E@N@.A.value"),
    Kind(
        "private method of an enum",
        "class E@N@(enum.Enum):\n    A = 1\n    def _scale(self):\n        return @V@\n"
        "    def scaled(self):\n        return self._scale()\n",
        "E@N@.A.scaled()",
        ("E@N@._scale = lambda self: @V@",),
    ),
    Kind("long pattern", "C@N@ = re.compile('x' * 250 + '|(@V@)')\n", "float(C@N@.pattern[-4:-1])"),
    Kind(
        "dictionary with attributes",
        "class D@N@(dict):\n    __getattr__ = dict.__getitem__\nC@N@ = D@N@(r=@V@)\n",
        "C@N@.r",
        ("C@N@['r'] = @V@",),
    ),
    Kind(
        "integer enum", "class E@N@(enum.IntEnum):\n    A = int(@V@)\n    B = 99\n", "(E@N@.A.value * 1.0)", jits=True
    ),
    Kind("class attribute", "class K@N@:\n    RATE = @V@\n", "K@N@.RATE", ("K@N@.RATE = @V@",)),
    Kind(
        "inherited class attribute",
        "class B@N@:\n    RATE = @V@\nclass M@N@(B@N@):\n    pass\nclass K@N@(M@N@):\n    pass\n",
        "K@N@.RATE",
        ("B@N@.RATE = @V@", "M@N@.RATE = @V@", "K@N@.RATE = @V@"),
    ),
    Kind(
        "list in a class",
        "class K@N@:\n    RATES = [1.0, @V@]\n",
        "K@N@.RATES[1]",
        ("K@N@.RATES[1] = @V@", "K@N@.RATES = [1.0, @V@]"),
    ),
    Kind(
        "static method",
        "class K@N@:\n    @staticmethod\n    def f(x):\n        return x * @V@\n",
        "K@N@.f(1.0)",
        ("K@N@.f = staticmethod(lambda x: x * @V@)",),
    ),
    Kind(
        "class method",
        "class K@N@:\n    RATE = @V@\n    @classmethod\n    def f(cls, x):\n        return x * cls.RATE\n",
        "K@N@.f(1.0)",
        ("K@N@.RATE = @V@", "K@N@.f = classmethod(lambda cls, x: x * @V@)"),
    ),
    Kind(
        "method of an instance",
        "class K@N@:\n    def f(self, x):\n        return x * @V@\nC@N@ = K@N@()\n",
        "C@N@.f(1.0)",
        ("K@N@.f = lambda self, x: x * @V@", "C@N@.f = lambda x: x * @V@"),
    ),
    Kind(
        "method of a base class",
        "class B@N@:\n    def f(self, x):\n        return x * @V@\n"
        "class K@N@(B@N@):\n    def f(self, x):\n        return super().f(x)\nC@N@ = K@N@()\n",
        "C@N@.f(1.0)",
        ("B@N@.f = lambda self, x: x * @V@",),
    ),
    Kind(
        "attribute of an instance",
        "class K@N@:\n    def __init__(self, r):\n        self.r = r\n    def f(self, x):\n        return x * self.r\n"
        "C@N@ = K@N@(@V@)\n",
        "C@N@.f(1.0)",
        ("C@N@.r = @V@", "C@N@ = K@N@(@V@)"),
    ),
    Kind(
        "slot of an instance",
        "class K@N@:\n    __slots__ = ('r',)\n    def __init__(self, r):\n        self.r = r\nC@N@ = K@N@(@V@)\n",
        "C@N@.r",
        ("C@N@.r = @V@",),
    ),
    Kind(
        "instance that holds an instance",
        "class I@N@:\n    def __init__(self, r):\n        self.r = r\n"
        "class K@N@:\n    def __init__(self, inner):\n        self.inner = inner\n    def f(self, x):\n"
        "        return x * self.inner.r\nC@N@ = K@N@(I@N@(@V@))\n",
        "C@N@.f(1.0)",
        ("C@N@.inner.r = @V@", "C@N@.inner = I@N@(@V@)"),
    ),
    Kind(
        "property",
        "class K@N@:\n    @property\n    def r(self):\n        return @V@\nC@N@ = K@N@()\n",
        "C@N@.r",
        ("K@N@.r = property(lambda self: @V@)",),
    ),
    Kind(
        "operator of a class",
        "class K@N@:\n    def __mul__(self, x):\n        return x * @V@\nC@N@ = K@N@()\n",
        "(C@N@ * 1.0)",
        ("K@N@.__mul__ = lambda self, x: x * @V@",),
    ),
    Kind(
        "instance that is called",
        "class K@N@:\n    def __init__(self, r):\n        self.r = r\n    def __call__(self, x):\n"
        "        return x * self.r\nf@N@ = K@N@(@V@)\n",
        "f@N@(1.0)",
        ("f@N@.r = @V@",),
    ),
    Kind(
        "bound method",
        "class K@N@:\n    def __init__(self, r):\n        self.r = r\n    def f(self, x):\n        return x * self.r\n"
        "f@N@ = K@N@(@V@).f\n",
        "f@N@(1.0)",
        ("f@N@.__self__.r = @V@",),
    ),
    Kind(
        "metaclass",
        "class M@N@(type):\n    @property\n    def r(cls):\n        return @V@\nclass K@N@(metaclass=M@N@):\n    pass\n",
        "K@N@.r",
        ("M@N@.r = property(lambda cls: @V@)",),
    ),
]

FUNCTIONS = [
    Kind(
        "body",
        "@JIT\ndef f@N@(x):\n    return x * @V@\n",
        "f@N@(1.0)",
        ("f@N@.__code__ = (lambda x: x * @V@).__code__", "f@N@ = lambda x: x * @V@"),
        jits=True,
        jit_sets=("f@N@ = JIT(lambda x: x * @V@)",),
    ),
    Kind("lambda", "f@N@ = JIT(lambda x: x * @V@)\n", "f@N@(1.0)", ("f@N@ = lambda x: x * @V@",), jits=True),
    Kind(
        "constant of a function",
        "C@N@ = @V@\n@JIT\ndef f@N@(x):\n    return x * C@N@\n",
        "f@N@(1.0)",
        ("C@N@ = @V@",),
        jits=True,
        jit_sets=("C@N@ = @V@",),
    ),
    Kind(
        "set in a function",
        "def f@N@(x):\n    return @V@ if x in {'aa', 'bb', 'cc', 'dd', 'ee'} else 0.0\n",
        "f@N@('aa')",
    ),
    Kind(
        "default argument",
        "@JIT\ndef f@N@(x, k=@V@):\n    return x * k\n",
        "f@N@(1.0)",
        ("f@N@.__defaults__ = (@V@,)",),
        jits=True,
    ),
    Kind(
        "default argument from a variable",
        "def make@N@(k):\n    @JIT\n    def f(x, k=k):\n        return x * k\n    return f\nf@N@ = make@N@(@V@)\n",
        "f@N@(1.0)",
        ("f@N@.__defaults__ = (@V@,)", "f@N@ = make@N@(@V@)"),
        jits=True,
        jit_sets=("f@N@ = make@N@(@V@)",),
    ),
    Kind(
        "list as a default argument",
        "def f@N@(x, k=[@V@]):\n    return x * k[0]\n",
        "f@N@(1.0)",
        ("f@N@.__defaults__[0][0] = @V@",),
    ),
    Kind(
        "function as a default argument",
        "def g@N@(x):\n    return x * @V@\ndef f@N@(x, g=g@N@):\n    return g(x)\n",
        "f@N@(1.0)",
        ("g@N@.__code__ = (lambda x: x * @V@).__code__", "f@N@.__defaults__ = (lambda x: x * @V@,)"),
    ),
    Kind(
        "default of a keyword",
        "def f@N@(x, *, k=@V@):\n    return x * k\n",
        "f@N@(1.0)",
        ("f@N@.__kwdefaults__['k'] = @V@", "f@N@.__kwdefaults__ = {'k': @V@}"),
    ),
    Kind(
        "closure",
        "def make@N@(k):\n    @JIT\n    def f(x):\n        return x * k\n    return f\nf@N@ = make@N@(@V@)\n",
        "f@N@(1.0)",
        ("f@N@.__closure__[0].cell_contents = @V@", "f@N@ = make@N@(@V@)"),
        jits=True,
        jit_sets=("f@N@.py_func.__closure__[0].cell_contents = @V@", "f@N@ = make@N@(@V@)"),
    ),
    Kind(
        "closure of a lambda",
        "def make@N@(k):\n    return JIT(lambda x: x * k)\nf@N@ = make@N@(@V@)\n",
        "f@N@(1.0)",
        ("f@N@.__closure__[0].cell_contents = @V@", "f@N@ = make@N@(@V@)"),
        jits=True,
        jit_sets=("f@N@ = make@N@(@V@)",),
    ),
    Kind(
        "list in a closure",
        "def make@N@(k):\n    held = [k]\n    return lambda x: x * held[0]\nf@N@ = make@N@(@V@)\n",
        "f@N@(1.0)",
        ("f@N@.__closure__[0].cell_contents[0] = @V@",),
    ),
    Kind(
        "variable that a closure changes",
        "def make@N@(k):\n    def change(to):\n        nonlocal k\n        k = to\n"
        "    return (lambda x: x * k), change\nf@N@, change@N@ = make@N@(@V@)\n",
        "f@N@(1.0)",
        ("change@N@(@V@)",),
    ),
    Kind(
        "function in a closure",
        "@JIT\ndef g@N@(x):\n    return x * @V@\n"
        "def make@N@(g):\n    @JIT\n    def f(x):\n        return g(x)\n    return f\nf@N@ = make@N@(g@N@)\n",
        "f@N@(1.0)",
        ("g@N@.__code__ = (lambda x: x * @V@).__code__",),
        jits=True,
    ),
    Kind(
        "function within a function",
        "@JIT\ndef f@N@(x):\n    def g(y):\n        return y * @V@\n    return g(x)\n",
        "f@N@(1.0)",
        jits=True,
    ),
    Kind(
        "constant read by a function within",
        "C@N@ = @V@\ndef f@N@(x):\n    return sum((lambda: y * C@N@)() for y in [x])\n",
        "f@N@(1.0)",
        ("C@N@ = @V@",),
    ),
    Kind(
        "attribute of a function",
        "def f@N@(x):\n    return x * f@N@.k\nf@N@.k = @V@\n",
        "f@N@(1.0)",
        ("f@N@.k = @V@", "f@N@.__dict__['k'] = @V@"),
    ),
    Kind(
        "recursion",
        "def f@N@(x):\n    return @V@ if x < 1 else g@N@(x - 1)\ndef g@N@(x):\n    return f@N@(x - 1)\n",
        "f@N@(4.0)",
    ),
    Kind(
        "partial",
        "def g@N@(x, k):\n    return x * k\nf@N@ = functools.partial(g@N@, k=@V@)\n",
        "f@N@(1.0)",
        ("f@N@.keywords['k'] = @V@", "f@N@ = functools.partial(g@N@, k=@V@)"),
    ),
    Kind(
        "function of a partial",
        "def g@N@(k, x):\n    return x * k * @V@\nf@N@ = functools.partial(functools.partial(g@N@, 1.0))\n",
        "f@N@(1.0)",
        ("g@N@.__code__ = (lambda k, x: x * k * @V@).__code__",),
    ),
    Kind(
        "dict of functions",
        "def a@N@(x):\n    return x\ndef b@N@(x):\n    return x * @V@\nF@N@ = {'a': a@N@, 'b': b@N@}\n",
        "F@N@['b'](1.0)",
        ("F@N@['b'] = lambda x: x * @V@", "b@N@.__code__ = (lambda x: x * @V@).__code__"),
    ),
    Kind(
        "tuple of functions",
        "@JIT\ndef a@N@(x):\n    return x * 1.0\n@JIT\ndef b@N@(x):\n    return x * @V@\nF@N@ = (a@N@, b@N@)\n",
        "F@N@[1](1.0)",
        ("F@N@ = (a@N@, lambda x: x * @V@)",),
        jits=True,
        jit_sets=("F@N@ = (a@N@, JIT(lambda x: x * @V@))",),
    ),
    Kind(
        "which of two functions",
        "@JIT\ndef a@N@(x):\n    return x * @V@\nf@N@ = a@N@\n",
        "f@N@(1.0)",
        ("f@N@ = lambda x: x * @V@",),
        jits=True,
    ),
    Kind(
        "decorator with an argument",
        "def scaled@N@(k):\n    def decorate(f):\n        @functools.wraps(f)\n        def wrapper(x):\n"
        "            return f(x) * k\n        return wrapper\n    return decorate\n"
        "@scaled@N@(@V@)\ndef f@N@(x):\n    return x\n",
        "f@N@(1.0)",
        ("f@N@.__closure__[1].cell_contents = @V@",),
    ),
    Kind(
        "decorator that does not say what it wraps",
        "def scaled@N@(f):\n    def wrapper(x):\n        return f(x) * @V@\n    return wrapper\n"
        "@scaled@N@\ndef f@N@(x):\n    return x\n",
        "f@N@(1.0)",
    ),
    Kind(
        "decorated function",
        "def logged@N@(f):\n    @functools.wraps(f)\n    def wrapper(*args):\n        return f(*args)\n"
        "    return wrapper\n@logged@N@\ndef f@N@(x):\n    return x * @V@\n",
        "f@N@(1.0)",
        ("f@N@.__wrapped__.__code__ = (lambda x: x * @V@).__code__",),
    ),
    Kind(
        "decorator that compiles",
        "def scaled@N@(k):\n    def decorate(f):\n        return JIT(lambda x: f(x) * k)\n    return decorate\n"
        "@scaled@N@(@V@)\n@JIT\ndef f@N@(x):\n    return x\n",
        "f@N@(1.0)",
        jits=True,
    ),
    Kind(
        "cached function",
        "@functools.lru_cache\ndef f@N@(x):\n    return x * @V@\n",
        "f@N@(1.0)",
        keeps_answers=True,
    ),
    Kind(
        "function with a case for each type",
        "@functools.singledispatch\ndef f@N@(x):\n    return x\n@f@N@.register\ndef _(x: float):\n    return x * @V@\n",
        "f@N@(1.0)",
        followed=False,
    ),
    Kind(
        "conditional helper",
        "if True:\n    def f@N@(x):\n        return x * @V@\nelse:\n    def f@N@(x):\n        return x\n",
        "f@N@(1.0)",
    ),
    Kind(
        "function made from a text",
        "exec(compile('def f@N@(x):\\n    return x * @V@\\n', '<made>', 'exec'))\n",
        "f@N@(1.0)",
    ),
    Kind(
        "two functions on one line",
        "a@N@, b@N@ = (lambda x: x), (lambda x: x * @V@)\n",
        "b@N@(1.0)",
    ),
]

HIDDEN = [
    Kind("name in globals()", "C@N@ = @V@\n", "globals()['C' + str(@N@)]", ("C@N@ = @V@",), followed=False),
    Kind("evaluated text", "C@N@ = @V@\n", "eval('C@N@')", ("C@N@ = @V@",), followed=False),
    Kind(
        "attribute by a computed name",
        "K@N@ = types.SimpleNamespace(r1=@V@)\n",
        "getattr(K@N@, 'r' + str(1))",
        ("K@N@.r1 = @V@",),
    ),
    Kind(
        "module imported by name",
        "C@N@ = @V@\n",
        "importlib.import_module(__name__).C@N@",
        ("C@N@ = @V@",),
        followed=False,
    ),
    Kind(
        "attribute made up on demand",
        "class K@N@:\n    def __getattr__(self, name):\n        return @V@\nC@N@ = K@N@()\n",
        "C@N@.whatever",
        ("K@N@.__getattr__ = lambda self, name: @V@",),
    ),
]

_PAR = "@dataclass(frozen=True)\nclass Par@N@:\n    k: float = 1.0\n"
PARAMETERS = [
    Kind(
        "method of the parameters",
        _PAR + "    def f(self):\n        return self.k * @V@\n",
        "p.f()",
        ("Par@N@.f = lambda self: self.k * @V@",),
        parameters="Par@N@",
    ),
    Kind(
        "property of the parameters",
        _PAR + "    @property\n    def f(self):\n        return self.k * @V@\n",
        "p.f",
        ("Par@N@.f = property(lambda self: self.k * @V@)",),
        parameters="Par@N@",
    ),
    Kind(
        "class variable of the parameters",
        _PAR + "    RATE: ClassVar[float] = @V@\n",
        "p.RATE",
        ("Par@N@.RATE = @V@",),
        parameters="Par@N@",
    ),
    Kind(
        "method of the parameters' base class",
        "class Base@N@:\n    def f(self):\n        return @V@\n"
        "@dataclass(frozen=True)\nclass Par@N@(Base@N@):\n    k: float = 1.0\n",
        "p.f()",
        ("Base@N@.f = lambda self: @V@",),
        parameters="Par@N@",
    ),
    Kind(
        "constant of a method of the parameters",
        "C@N@ = @V@\n" + _PAR + "    def f(self):\n        return self.k * C@N@\n",
        "p.f()",
        ("C@N@ = @V@",),
        parameters="Par@N@",
    ),
    Kind("default of a parameter", _PAR.replace("1.0", "@V@"), "p.k", parameters="Par@N@"),
    Kind(
        "value of an enum parameter",
        "class E@N@(enum.Enum):\n    A = @V@\n    B = 0\n@dataclass(frozen=True)\nclass Par@N@:\n    e: E@N@ = E@N@.A\n",
        "p.e.value",
        parameters="Par@N@",
    ),
    Kind(
        "value of an integer enum parameter",
        "class E@N@(enum.IntEnum):\n    A = int(@V@)\n    B = 0\n"
        "@dataclass(frozen=True)\nclass Par@N@:\n    e: E@N@ = E@N@.A\n",
        "(p.e * 1.0)",
        jits=True,
        parameters="Par@N@",
    ),
]

OF_NUMBA = [
    Kind("ufunc", "@vectorize\ndef f@N@(x):\n    return x * @V@\n", "f@N@(1.0)", plain=False, jits=True),
    Kind(
        "helper that is only compiled",
        "from numba.extending import register_jitable\n@register_jitable\ndef f@N@(x):\n    return x * @V@\n",
        "f@N@(1.0)",
        plain=False,
        jits=True,
    ),
    Kind(
        "helper with its own cache",
        "C@N@ = @V@\n@njit(cache=True)\ndef f@N@(x):\n    return x * C@N@\n",
        "f@N@(1.0)",
        plain=False,
        jits=True,
        jit_sets=("C@N@ = @V@",),
    ),
    Kind(
        "overload",
        "from numba.extending import overload\ndef f@N@(x):\n    return x * @V@\n@overload(f@N@)\ndef made@N@(x):\n"
        "    def compiled(x):\n        return x * @V@\n    return compiled\n",
        "f@N@(1.0)",
        plain=False,
        jits=True,
        slow=True,
        bound_early=True,
    ),
    Kind(
        "named tuple of jitted functions",
        "@JIT\ndef f@N@(x):\n    return x * @V@\nclass F@N@(NamedTuple):\n    a: object\n    b: object\n"
        "T@N@ = F@N@(f@N@, f@N@)\n",
        "T@N@.b(1.0)",
        jits=True,
    ),
    Kind(
        "C callback",
        "from numba import cfunc\nC@N@ = @V@\n@cfunc('f8(f8)')\ndef f@N@(x):\n    return x * C@N@\n",
        "f@N@(1.0)",
        plain=False,
        jits=True,
        jit_sets=("C@N@ = @V@",),
    ),
    Kind(
        "method of a jitclass",
        "from numba import float64\nfrom numba.experimental import jitclass\n@jitclass([('k', float64)])\nclass K@N@:\n"
        "    def __init__(self, k):\n        self.k = k\n    def f(self, x):\n        return x * self.k * @V@\n",
        "K@N@(1.0).f(1.0)",
        plain=False,
        jits=True,
        slow=True,
        bound_early=True,
    ),
]

KINDS = [*CONSTANTS, *CLASSES, *FUNCTIONS, *HIDDEN, *PARAMETERS, *OF_NUMBA]


@dataclass(frozen=True)
class Wrapper:
    """A way of code to come to the expression ``@E@``."""

    name: str
    source: str
    expression: str
    jits: bool = False


HELPER = Wrapper("helper", "@JIT\ndef h@N@(x):\n    return x * (@E@)\n", "h@N@(1.0)", jits=True)

WRAPPERS = [
    HELPER,
    Wrapper("lambda", "h@N@ = JIT(lambda x: x * (@E@))\n", "h@N@(1.0)", jits=True),
    Wrapper(
        "function within a function",
        "@JIT\ndef h@N@(x):\n    def inner(y):\n        return y * (@E@)\n    return inner(x)\n",
        "h@N@(1.0)",
        jits=True,
    ),
    Wrapper(
        "closure",
        "def factory@N@(k):\n    @JIT\n    def h(x):\n        return x * k * (@E@)\n    return h\nh@N@ = factory@N@(1.0)\n",
        "h@N@(1.0)",
        jits=True,
    ),
    Wrapper("comprehension", "def h@N@(x):\n    return sum([y * (@E@) for y in [x]])\n", "h@N@(1.0)"),
    Wrapper(
        "static method",
        "class W@N@:\n    @staticmethod\n    def h(x):\n        return x * (@E@)\n",
        "W@N@.h(1.0)",
    ),
    Wrapper(
        "method",
        "class W@N@:\n    def h(self, x):\n        return x * self.inner()\n    def inner(self):\n        return @E@\n"
        "O@N@ = W@N@()\n",
        "O@N@.h(1.0)",
    ),
    Wrapper(
        "method of an instance made here",
        "class W@N@:\n    def h(self, x):\n        return x * (@E@)\n",
        "W@N@().h(1.0)",
    ),
    Wrapper(
        "partial",
        "def g_@N@(k, x):\n    return x * k * (@E@)\nh@N@ = functools.partial(g_@N@, 1.0)\n",
        "h@N@(1.0)",
    ),
    Wrapper("dict", "def g_@N@(x):\n    return x * (@E@)\nT@N@ = {'h': g_@N@}\n", "T@N@['h'](1.0)"),
    Wrapper(
        "decorator",
        "def passed@N@(f):\n    @functools.wraps(f)\n    def wrapper(*args):\n        return f(*args)\n"
        "    return wrapper\n@passed@N@\ndef h@N@(x):\n    return x * (@E@)\n",
        "h@N@(1.0)",
    ),
]

WEIGHTS = (1.0, 10.0, 100.0)
"""What a simulation multiplies its leaves with, so that each shows in the number."""

PLACES = {
    "here": "in the simulation's own file",
    "import": "in another file, which is imported as a module",
    "from": "in another file, of which a function is imported",
    "third": "in a file that the other file imports",
}

MODES = {
    "file": "asked; the file is edited; asked in a new process",
    "saved": "imported, then the file is edited before the first question; asked in a new process",
    "set": "asked, given another value in the process, asked for more",
    "set first": "given another value in the process before the first question; a new process has the file's value",
    "cell": "asked, the leaf's own source run again, as in a notebook, asked for more",
    "reload": "asked, the file edited and reloaded, asked for more",
}

STYLES = ["", "njit", "njit(cache=True)"]


@dataclass(frozen=True)
class Leaf:
    """One dependency: what it is, how code comes to it, in which file it is, and its value before the edit."""

    kind: Kind
    number: int
    value: float
    wrappers: tuple[Wrapper, ...] = ()
    place: str = "here"

    def source(self, value: float, style: str) -> str:
        return _filled(self.kind.source, self.number, value, style)


@dataclass(frozen=True)
class Edit:
    """A module with a simulation, and one edit of it: that of the first leaf.

    Attributes
    ----------
    style : str
        numba's decorator of the helpers; "" for plain ones.
    compiles : bool
        Whether the simulation itself is compiled.
    way : int
        Which of its kind's statements is used, in the modes that set a value.
    looks : int
        Seeds what the cosmetic edit does.
    """

    leaves: tuple[Leaf, ...]
    new: float
    mode: str
    style: str = ""
    compiles: bool = False
    way: int = 0
    looks: int = 0
    name: str = field(default="m", compare=False)

    @property
    def edited(self) -> Leaf:
        return self.leaves[0]

    @property
    def title(self) -> str:
        kinds = " + ".join(
            " in a ".join([leaf.kind.name, *[w.name for w in leaf.wrappers]]) + f" ({leaf.place})"
            for leaf in self.leaves
        )
        form = "compiled" if self.compiles else f"plain with {self.style} helpers" if self.style else "plain"
        return f"{self.name}: {kinds}; {form}; {self.mode}"

    @property
    def followed(self) -> bool:
        return all(leaf.kind.followed for leaf in self.leaves)

    @property
    def trusts_numba(self) -> bool:
        """Tell whether helpers are cached by numba itself, so that the plain function may call stale machine code."""
        return any("cache=True" in text for text in self.files(False).values())

    def expected(self, edited: bool) -> float:
        """Return what the leaves add to the random number."""
        yields = [
            float(value > 5.0) if leaf.kind.name == "truth" else value
            for leaf, value in zip(self.leaves, self._values(edited), strict=True)
        ]
        return sum(weight * value for weight, value in zip(WEIGHTS, yields, strict=False))

    def statement(self) -> str:
        """Return what gives the edited leaf its new value in the process, in its module's namespace."""
        sets = self.edited.kind.jit_sets if self.style else self.edited.kind.sets
        return _uncached(_filled(sets[self.way % len(sets)], self.edited.number, self.new, self.style))

    def cell(self) -> str:
        """Return the edited leaf's source with the new value."""
        return _uncached(self.edited.source(self.new, self.style))

    def module(self) -> str:
        """Return the name of the module that the edited leaf is in."""
        return self.name + {"here": "", "third": "_third"}.get(self.edited.place, "_other")

    def reloaded(self) -> list[str]:
        """Return the modules that see an edited file when they are reloaded in this order."""
        return [self.module()] + ([self.name] if self.edited.place == "from" else [])

    def files(self, edited: bool) -> dict[str, str]:
        """Return the source of each file, before or after the edit."""
        here, other, third, terms = [], [], [], []  # type: list[str], list[str], list[str], list[str]
        for leaf, value, weight in zip(self.leaves, self._values(edited), WEIGHTS, strict=False):
            n, parts = leaf.number, [leaf.source(value, self.style)]
            expression = _filled(leaf.kind.expression, n, value, self.style)
            wrappers = leaf.wrappers if leaf.place == "here" else (*leaf.wrappers, HELPER)
            for level, wrapper in enumerate(wrappers):
                number = n * 10 + level
                parts.append(_filled(wrapper.source, number, value, self.style).replace("@E@", expression))
                expression = _filled(wrapper.expression, number, value, self.style)
            if leaf.place == "here":
                here += parts
            elif leaf.place == "import":
                other += parts
                expression = f"{self.name}_other.{expression}"
            elif leaf.place == "from":
                other += parts
                here.insert(0, f"from {self.name}_other import {expression.partition('(')[0]}\n")
            else:
                third += parts
                through = _filled(HELPER.source, n * 10 + 9, value, self.style)
                other.append(through.replace("@E@", f"{self.name}_third.{expression}"))
                expression = f"{self.name}_other.h{n * 10 + 9}(1.0)"
            terms.append(f"{weight} * ({expression})")
        if other:
            here.insert(0, f"import {self.name}_other\n")
        if third:
            other.insert(0, f"import {self.name}_third\n")
        annotation = next((f": {leaf.kind.parameters}" for leaf in self.leaves if leaf.kind.parameters), "")
        simulation = _filled(
            f"@bgsim.simulation(outputs={{'x': 'f8'}}, compile={self.compiles})\ndef sim(p{annotation}, rng):\n"
            f"    return rng.random() + {' + '.join(terms)}\n",
            self.leaves[0].number,
            0.0,
            self.style,
        )
        head = HEAD + (NUMBA if self.style else "")
        texts = {self.name: [head, "import bgsim\n", *here, UNRELATED, simulation]}
        texts |= {self.name + end: [head, *parts] for end, parts in (("_other", other), ("_third", third)) if parts}
        return {f"{name}.py": "\n".join(parts) for name, parts in texts.items()}

    def cosmetic(self, files: dict[str, str]) -> dict[str, str]:
        """Return the same modules, looking otherwise."""
        chance = random.Random(self.looks)
        with _parsing:
            return {name: looking_otherwise(text, chance) for name, text in files.items()}

    def bare(self) -> Edit:
        """Return the edit of the edited leaf alone, to tell whether the rest has to do with a fault."""
        return replace(self, leaves=(replace(self.edited, wrappers=()),))

    def _values(self, edited: bool) -> list[float]:
        return [self.new if edited and leaf is self.edited else leaf.value for leaf in self.leaves]


def _uncached(text: str) -> str:
    """Return what is no file's, so that numba would refuse to cache it."""
    return text.replace("(cache=True)", "")


def _filled(text: str, number: int, value: float, style: str) -> str:
    text = text.replace("@N@", str(number)).replace("@V@", repr(value))
    text = re.sub(r"^( *)@JIT\n", rf"\1@{style}\n" if style else "", text, flags=re.MULTILINE)
    return text.replace("JIT(", f"{style}(" if style else "(")


_parsing = threading.Lock()
"""CPython 3.11 raises if two threads make a syntax tree."""

# ---- cosmetic edits ----------------------------------------------------------------------------------


def looking_otherwise(text: str, chance: random.Random) -> str:
    """Return the same module with some of the edits that do not count: layout, docstrings, comments, unrelated code."""
    looks = [look for look in (_layout, _docstrings, _moved, _unrelated, _comments) if chance.random() < 0.6]
    for look in looks or [_comments]:  # comments last: the others lose them
        text = look(text)
    return text


def _layout(text: str) -> str:
    """Return it as another formatter writes it."""
    return ast.unparse(ast.parse(text)) + "\n"


def _docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            node.body.insert(0, ast.Expr(ast.Constant("Return what the author has in mind.")))
    return ast.unparse(tree) + "\n"


def _moved(text: str) -> str:
    """Return it with the last definition that has to do with nothing moved to the top, and lines below the imports."""
    if UNRELATED not in text:
        return "\n" * 5 + text
    return text.replace(UNRELATED, "").replace(HEAD, HEAD + "\n\n" + UNRELATED + "\n" * 7)


def _unrelated(text: str) -> str:
    text = text.replace("local = x + 1\n    return local", "renamed = x + 2\n    return renamed")
    return text + "\n\nFURTHER = [1, 2, 3]\n\n\ndef further(x):\n    return x + len(FURTHER)\n"


def _comments(text: str) -> str:
    lines = [
        line + "  # a remark"
        if line.startswith(("    return", "def ")) and line.count("(") == line.count(")")
        else line
        for line in text.splitlines()
    ]
    return "# A remark.\n\n" + "\n".join(lines) + "\n# The end.\n"


# ---- strategies --------------------------------------------------------------------------------------


def modes_of(kind: Kind, style: str) -> list[str]:
    """Return the modes in which a leaf of this kind can be edited."""
    modes = ["file", "saved"]
    if kind.jit_sets if style else kind.sets:
        modes += ["set", "set first"]
    if kind.keeps_answers:
        return modes
    if not (kind.parameters or kind.bound_early):
        modes.append("cell")
    return [*modes, *([] if kind.bound_early else ["reload"])]


@st.composite
def leaves(draw: st.DrawFn, number: int, kinds: list[Kind], style: str, value: float) -> Leaf:
    kind = draw(st.sampled_from(kinds))
    if kind.parameters:
        return Leaf(kind, number, value)
    wrappers = st.sampled_from([w for w in WRAPPERS if w.jits or not style])
    place = draw(st.sampled_from(list(PLACES)))
    return Leaf(kind, number, value, tuple(draw(st.lists(wrappers, max_size=2))), place)


def kinds_of(compiles: bool) -> list[Kind]:
    """Return the kinds to edit that a compiled simulation, or a plain one, can depend on."""
    return [kind for kind in KINDS if (kind.jits if compiles else kind.plain) and re.search(WANTED, kind.name)]


@st.composite
def edits(draw: st.DrawFn, kind: Kind, compiles: bool) -> Edit:
    """Make edits of a leaf of this kind, in modules with one to three leaves."""
    style = draw(st.sampled_from(STYLES[1:])) if compiles else ""
    if kind.jits and not kind.parameters and not compiles and draw(st.integers(0, 5)) == 5:
        style = "njit"  # helpers that are compiled, in a simulation that is not
    others = [k for k in KINDS if (k.jits if style else k.plain) and not k.parameters and not k.slow]
    if style and not compiles:
        others = [k for k in others if k.plain]
    old, new = draw(st.lists(st.sampled_from(VALUES), min_size=2, max_size=2, unique=True))
    first = draw(leaves(1, [kind], style, old))
    if first.kind.name == "truth":
        first, new = replace(first, value=3.0), 7.0
    rest = [draw(leaves(n, others, style, 4.0)) for n in range(2, 2 + draw(st.integers(0, 2)))]
    return Edit(
        (first, *rest),
        new,
        draw(st.sampled_from(modes_of(first.kind, style))),
        style,
        compiles,
        draw(st.integers(0, 2)),
        draw(st.integers(0, 2**16)),
    )


def each_kind(compiles: bool, modes: int) -> list[Edit]:
    """Return a bare edit of each kind in `modes` modes; of a slow kind in one."""
    found = []
    style = "njit" if compiles else ""
    for index, kind in enumerate(kinds_of(compiles)):
        possible = modes_of(kind, style)
        for turn in range(min(1 if kind.slow else modes, len(possible))):
            mode = possible[(index + turn * 2 + turn // 3) % len(possible)]
            found.append(Edit((Leaf(kind, 1, 3.0),), 7.0, mode, style, compiles, index + turn, index))
    return found
