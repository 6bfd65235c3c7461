"""Follows what a simulation executes: code objects and all the values that they reach, in one order in each process.

::

    root ──> nodes (functions, classes), each looked at once ──> a short hash of each, and one digest of all
                 └─ their values: written in place, as far down as containers and instances go

A node is written with its text and with the numbers of the nodes that it reaches. Numbers are given in the order in
which nodes are met, so that neither addresses nor names of modules count.
"""

from __future__ import annotations

import contextlib
import hashlib
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bgsim.identity import draws, machine
from bgsim.identity.atoms import atom_text
from bgsim.identity.classes import write_class
from bgsim.identity.containers import write_contents
from bgsim.identity.declared import write_declared
from bgsim.identity.limits import why_not, why_not_named
from bgsim.identity.lookup import Lookup, Named
from bgsim.identity.methods import Methods
from bgsim.identity.names import write_asked_for
from bgsim.identity.origin import installed_class, installed_function, is_own_class
from bgsim.identity.ownership import Ownership, is_of_stdlib
from bgsim.identity.problems import Found, Node, Problem
from bgsim.identity.reads import Import, Path, Reads, reads_of
from bgsim.identity.source import text_of
from bgsim.identity.static import is_a
from bgsim.identity.watch import ABSENT, Watch, contents_of, same_mapping, seen_mapping
from bgsim.identity.wrappers import write_wrapped

HASH_DIGITS = 32
"""Hexadecimal digits of a digest: 128 bits of SHA-256."""

_SHORT_DIGITS = 12


@dataclass(slots=True)
class _Edges:
    """Which nodes lead to which, and by which member of a class: what no code asks for by name is not executed."""

    onward: dict[int, list[tuple[int, str | None]]] = field(default_factory=dict)

    def add(self, source: int, target: int, member: str | None) -> None:
        self.onward.setdefault(source, []).append((target, member))

    def reached(self, asked_for: Callable[[str], bool]) -> set[int]:
        """Return the nodes that the root reaches."""
        found, left = {0}, [0]
        while left:
            for target, member in self.onward.get(left.pop(), ()):
                if target not in found and (member is None or asked_for(member)):
                    found.add(target)
                    left.append(target)
        return found


class Walk:
    """One look at what something executes. For one thread.

    Parameters
    ----------
    ownership : Ownership
        Whose code is followed.
    compiled : bool
        Whether numba compiles it: jitted helpers are then compiled anew, and else called as they are.
    """

    def __init__(self, ownership: Ownership, *, compiled: bool) -> None:
        self.ownership = ownership
        self.compiled = compiled
        self.watch = Watch()
        self.lookup = Lookup(ownership, self.watch)
        self.attributes: set[str] = set()
        self.limits: list[Problem] = []
        self.draws: list[Problem] = []
        self.stale: list[Problem] = []
        self.extensions: dict[Any, list[Any]] | None = None  # of numba by the user, once they are looked for
        self.machine_code: dict[int, str | None] | None = {}  # by the address of what holds it: why it does not count
        self.counts_state = True  # whether what can change in place counts
        self.of_copy = False  # whether it looks at a frozen copy: what is no copy in it is not compiled anew
        self.within = 0  # how many instances what is written lies within: of them nothing is compiled anew
        self.only_digests = False  # for one who compares digests: what caches remember is another's matter
        self.within_reduced = False  # whether what is written is a part of an object that is watched by its digest
        self._hash = hashlib.sha256()
        self._parts: dict[str, str] = {}
        self._numbers: dict[int, int] = {}  # by the address of what has been met
        self._met: list[Any] = []  # keeps the addresses theirs
        self._nodes: deque[Node] = deque()
        self._edges = _Edges()
        self._member: str | None = None  # of the class that is written
        self._apart: list[slice] = []  # what is a part of its own in the text of the node that is written
        self._reading = ""  # the name under which a value was read
        self._inside = 0  # how many objects of installed packages what is written lies within
        self._methods = Methods()

    def root(
        self,
        label: str,
        *values: Any,
        settings: Mapping[str, Any] | None = None,
        declared: tuple[Any, ...] | None = None,
    ) -> Found:
        """Follow some values, the first of them a function, and return what was found.

        Parameters
        ----------
        label : str
            For people.
        *values : object
        settings : mapping of str to object, optional
            What counts besides, each a part of its own by this name.
        declared : tuple, optional
            What the author of a simulation says that counts besides code and constants; see `write_declared`. Then
            nothing else that can change in place does.
        """
        self.here = Node(0, label, None)
        self.of_copy = machine.is_copy(values[0])
        out: list[str] = []
        if declared is not None:
            write_declared(self, values[0], declared, out)
            self.counts_state = False
        self.write(values[0], out)
        for name, value in (settings or {}).items():
            self.write_named(name, value, out)
        for value in values[1:]:
            self.write(value, out)
        self.feed(out)
        self._write_nodes()
        write_asked_for(self, self._met)
        self._write_nodes()
        self._methods.judge(self._met, self.limits, self.draws)
        everything = "getattr" in self.lookup.builtins_read
        reached = self._edges.reached(
            lambda name: (
                everything or name in self.attributes or name[:1] == name[-1:] == "_"
            )  # the language asks for it
        )
        return Found(
            self._hash.hexdigest()[:HASH_DIGITS],
            self._parts,
            self.watch,
            self.attributes,
            [p for p in self.limits if p.where.number in reached],
            [p for p in self.draws if p.where.number in reached],
            [p for p in self.stale if p.where.number in reached],
        )

    def digest(self, *values: Any) -> str:
        """Return a digest over all that some values reach, as a look at them alone finds it."""
        return self.new_digest()(*values)

    def new_digest(self) -> Callable[..., str]:
        """Return what `digest` does, without this walk."""
        return partial(_digest, type(self), self.ownership, self.compiled, self.counts_state)

    # ---- values --------------------------------------------------------------------------------------

    def write(self, value: Any, out: list[str]) -> None:
        """Append what a value counts as."""
        text = atom_text(value)
        if text is not None:
            out.append(text)
        elif id(value) in self._numbers:
            self._refer(value, out)
        elif (drawn := draws.why(value)) is not None:
            self._write_draw(drawn, value, out)
        elif type(value) is Named:
            self._write_by_name(value, out)
        elif is_a(value, types.FunctionType):
            self._write_function(value, out)
        elif is_a(value, type) and not machine.is_machine_class(value):
            self._write_type(value, out)
        elif is_a(value, types.ModuleType):
            self._write_module(value, out)
        elif value is ABSENT:
            out.append("absent")
        elif not (write_wrapped(self, value, out) or machine.write(self, value, out)):
            if is_a(value, _OF_C) or type(value).__name__ == "cython_function_or_method":
                self._write_builtin(value, out)
            else:
                write_contents(self, value, out)

    def write_all(self, tag: str, values: Any, out: list[str]) -> None:
        """Append a tag, a count, and what each value counts as."""
        out.append(f"{tag} {len(values)}")
        for value in values:
            self.write(value, out)

    def number(self, value: Any) -> int:
        """Give something a number, by which it is referred to from now on."""
        number = self._numbers[id(value)] = len(self._met) + 1
        self._met.append(value)
        return number

    def count(self) -> int:
        """Return how many things have a number."""
        return len(self._met)

    def enqueue(self, label: str, subject: Any, out: list[str]) -> None:
        """Have a function or a class looked at later, and refer to it here."""
        self._nodes.append(Node(self.number(subject), label, subject))
        self._refer(subject, out)

    def refuse(self, what: str, why: str, out: list[str]) -> None:
        """Take note of something that cannot be followed."""
        name = f"{self._reading} ({what})" if self._reading and what not in self._reading else what
        self.limits.append(Problem(name, self.here, why))
        out.append("unknown")

    def write_named(self, label: str, value: Any, out: list[str]) -> None:
        """Append what a value counts as; a constant is a dependency of its own for those who ask what has changed."""
        before = len(out)
        outer, self._reading = self._reading, label
        self.write(value, out)
        self._reading = outer
        written = out[before:]
        if value is not ABSENT and not written[0].startswith(("installed ", "#")):
            self._part(f"{label} (options of jit)" if written[0] == "jitted" else label, written)
            self._apart.append(slice(before, len(out)))

    def as_member(self, name: str, value: Any, out: list[str]) -> None:
        """Append a member of a class, which counts as executed only where code asks for its name."""
        self._member = name
        try:
            self.write(value, out)
        finally:
            self._member = None

    @contextlib.contextmanager
    def inside(self, installed: str) -> Iterator[None]:
        """Write what an object of an installed package holds: a generator there draws only if a method is called."""
        depth = not is_of_stdlib(installed)
        self._inside += depth
        try:
            yield
        finally:
            self._inside -= depth

    def _write_draw(self, what: str, value: Any, out: list[str]) -> None:
        if not self._inside:
            shown = f"{self._reading} ({what})" if self._reading and draws.is_source(value) else what
            self.draws.append(Problem(shown, self.here, "it draws from a stream that replicates share"))
        out.append(what)

    def _write_by_name(self, named: Named, out: list[str]) -> None:
        """Append what a function imports itself of an installed package."""
        if named.value is not ABSENT:
            drawn, why = draws.why(named.value), why_not(named.value)
        else:
            drawn, why = None, why_not_named(named.name)
        out.append(f"installed {named.installed} {named.name}")
        if drawn is not None:
            self._write_draw(drawn, named.value, out)
        elif why is not None:
            self.refuse(f"{named.name}()", why, out)

    def _refer(self, value: Any, out: list[str]) -> None:
        number = self._numbers[id(value)]
        self._edges.add(self.here.number, number, self._member)
        out.append(f"#{number}")

    def _write_function(self, function: types.FunctionType, out: list[str]) -> None:
        installed = installed_function(self.ownership, function)
        if installed is None:
            self.enqueue(f"{function.__module__}.{function.__qualname__}", function, out)
            return
        module = function.__globals__.get("__name__")
        out.append(f"installed {installed} {module}.{function.__code__.co_qualname}")
        why = why_not(function)
        if why is not None:
            self.refuse(f"{module}.{function.__qualname__}()", why, out)
        if function.__code__.co_qualname == "singledispatch.<locals>.wrapper":
            self.number(function)
            self.write(function.registry, out)  # type: ignore[attr-defined] # its cache is no result's business
        elif "<locals>" in function.__code__.co_qualname:  # a decorator's wrapper, say, around code of the user's
            self.number(function)
            self._write_made(function, out)
        machine.write_overloads(self, function, out)

    def _write_made(self, function: types.FunctionType, out: list[str]) -> None:
        """Append what was given to a function when it was made."""
        self.watch.function(function)
        self.write_all("defaults", function.__defaults__ or (), out)
        keywords = function.__kwdefaults__ or {}
        for name in sorted(keywords):
            out.append(f"default {name}")
            self.write(keywords[name], out)
        if installed_function(self.ownership, function) is not None:
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                self.watch.cell(cell)
                out.append(f"free {name}")
                self.write(contents_of(cell), out)
        attributes = {k: v for k, v in vars(function).items() if k != "__wrapped__"}
        if attributes:
            self.watch.contents(same_mapping, vars(function), seen_mapping(vars(function)))
        for name in sorted(attributes):
            out.append(f"attribute {name}")
            self.write(attributes[name], out)

    def _write_type(self, value: type, out: list[str]) -> None:
        installed = installed_class(self.ownership, value)
        if installed is not None:
            out.append(f"installed {installed} {value.__module__}.{value.__qualname__}")
            why = why_not(value)
            if why is not None:
                self.refuse(f"{value.__module__}.{value.__qualname__}", why, out)
            machine.write_overloads(self, value, out)
        elif is_own_class(self.ownership, value):
            self.enqueue(f"{value.__module__}.{value.__qualname__}", value, out)
        else:
            self.refuse(f"{value.__module__}.{value.__qualname__}", "it is machine code", out)

    def _write_module(self, module: types.ModuleType, out: list[str]) -> None:
        installed = self.ownership.installed(module.__name__)
        if installed is None:
            self.refuse(f"the module {module.__name__}", "any of its names may be used", out)
        else:
            out.append(f"installed {installed} {module.__name__}")

    def _write_builtin(self, value: Any, out: list[str]) -> None:
        """Append a function or method of C."""
        owner = getattr(value, "__self__", None)
        if not isinstance(owner, types.ModuleType | None):
            out.append(f"method {value.__name__}")
            self.write(owner, out)
            return
        module = getattr(value, "__module__", None) or "builtins"
        why = why_not(value)
        installed = self.ownership.installed(module)
        if why is None and installed is None:
            why = "it is machine code"
        if why is not None:
            self.refuse(f"{value.__name__}()" if module == "builtins" else f"{module}.{value.__name__}()", why, out)
        else:
            out.append(f"installed {installed} {module}.{value.__qualname__}")
            machine.write_overloads(self, value, out)

    # ---- nodes ---------------------------------------------------------------------------------------

    def _write_nodes(self) -> None:
        while self._nodes:
            self.here = self._nodes.popleft()
            self._write_node(self.here)

    def _write_node(self, node: Node) -> None:
        out: list[str] = []
        self._apart = []
        try:
            if isinstance(node.subject, type):
                write_class(self, node.subject, out)
            else:
                self._write_own_function(node.subject, out)
        except RecursionError:
            self.refuse(node.label, "what it holds is nested too deeply", out)
        self.feed([f"node {node.number}", *out])
        for span in reversed(self._apart):
            del out[span]
        self._part(node.label, out)

    def _write_own_function(self, function: types.FunctionType, out: list[str]) -> None:
        self._write_made(function, out)
        out.append(text_of(function.__code__, function.__globals__))
        machine.write_overloads(self, function, out)
        reads = reads_of(function.__code__)
        machine.write_methods(self, reads.attributes - self.attributes, out)
        self.attributes |= reads.attributes
        if "__subclasses__" in reads.attributes:
            self.refuse("__subclasses__()", "it finds classes wherever they are defined", out)
        values = list(self._values_read(function, reads))
        for read, name, value, consumed in values:
            self._write_read(function.__module__, name, value, consumed, out)
            unseeded = read in reads.unseeded and draws.why_unseeded(value.value if isinstance(value, Named) else value)
            if unseeded:
                self._write_draw(unseeded, value, out)
        if not self.compiled:
            self._methods.add(self.here, reads, [(read, value, consumed) for read, _, value, consumed in values])

    def _values_read(self, function: types.FunctionType, reads: Reads) -> Iterator[tuple[Path | Import, str, Any, int]]:
        """Yield what is read, its name, what it holds, and how many names of the path were needed for that."""
        for path in reads.names:
            yield path, ".".join(path), *self.lookup.of_name(function, path)
        for path in reads.free:
            yield path, ".".join(path), *self.lookup.of_free(function, path)
        for imported in reads.imports:
            name = ".".join((imported.module, *imported.path))
            yield imported, name, *self.lookup.of_import(function, imported)

    def _write_read(self, module: str, name: str, value: Any, consumed: int, out: list[str]) -> None:
        """Append what a name holds."""
        out.append(f"read {name}")
        self.write_named(f"{module}.{'.'.join(name.split('.')[:consumed])}", value, out)

    # ---- hashes --------------------------------------------------------------------------------------

    def feed(self, out: list[str]) -> None:
        """Take texts into the digest."""
        for text in out:
            data = text.encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:" % len(data))
            self._hash.update(data)

    def _part(self, label: str, out: list[str]) -> None:
        """Keep a short hash of a dependency; numbers do not count, for they follow from what stands elsewhere."""
        text = "\0".join("#" if item.startswith("#") else item for item in out)
        short = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_SHORT_DIGITS]
        free, copy = label, 2
        while self._parts.setdefault(free, short) != short:
            free, copy = f"{label} ({copy})", copy + 1


_OF_C = (types.BuiltinFunctionType, types.MethodWrapperType, types.MethodDescriptorType, types.WrapperDescriptorType)


def _digest(kind: type[Walk], ownership: Ownership, compiled: bool, counts_state: bool, *values: Any) -> str:
    walk = kind(ownership, compiled=compiled)
    walk.counts_state = counts_state
    walk.only_digests = walk.within_reduced = True
    return walk.root("", *values).digest
