"""Writes what things count as: the state of one look, and the verbs that all kinds of values are written with.

A function or a class is a node. It is written once, with its text and with the numbers of the nodes that it reaches.
Numbers are given in the order in which nodes are met, so neither addresses nor names of modules count.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bgsim.identity import draws
from bgsim.identity.lookup import Lookup
from bgsim.identity.methods import Methods
from bgsim.identity.ownership import Ownership, is_of_stdlib
from bgsim.identity.problems import Found, Node, Problem
from bgsim.identity.watch import ABSENT, Watch

HASH_DIGITS = 32
"""Hexadecimal digits of a digest: 128 bits of SHA-256."""

_SHORT_DIGITS = 12


@dataclass(slots=True)
class _Edges:
    """Which nodes lead to which, and by which member of a class: a member that no code asks for is not executed."""

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


class Writer(abc.ABC):
    """One look at what something executes. For one thread.

    Parameters
    ----------
    ownership : Ownership
        Whose code is followed.
    compiled : bool
        Whether numba compiles it: jitted helpers are then compiled anew, and else called as they are.

    Attributes
    ----------
    watch : Watch
        What has been read, to be compared later.
    lookup : Lookup
    methods : Methods
        The attributes that functions ask objects for.
    attributes : set of str
        All that the code reads of anything.
    here : Node
        The node that is written.
    met : list
        What has a number.
    limits, draws, stale : list of Problem
    extensions : dict or None
        The user's extensions of numba, once they are looked for.
    machine_code : dict or None
        By the address of an object with machine code: why it is not followed. With None no machine code is looked at.
    counts_state : bool
        Whether what can change in place counts.
    of_copy : bool
        Whether a frozen copy is looked at: numba compiles nothing anew that is no copy.
    within : int
        How many instances the written value lies within: numba compiles nothing of them anew.
    only_digests : bool
        Whether the caller only compares digests; then caches are not looked at.
    within_reduced : bool
        Whether the written value is a part of an object that is watched by its digest.
    """

    here: Node

    def __init__(self, ownership: Ownership, *, compiled: bool) -> None:
        self.ownership = ownership
        self.compiled = compiled
        self.watch = Watch()
        self.lookup = Lookup(ownership, self.watch)
        self.methods = Methods()
        self.attributes: set[str] = set()
        self.met: list[Any] = []  # keeps the addresses theirs
        self.limits: list[Problem] = []
        self.draws: list[Problem] = []
        self.stale: list[Problem] = []
        self.extensions: dict[Any, list[Any]] | None = None
        self.machine_code: dict[int, str | None] | None = {}
        self.counts_state = True
        self.of_copy = False
        self.within = 0
        self.only_digests = False
        self.within_reduced = False
        self._hash = hashlib.sha256()
        self._parts: dict[str, str] = {}
        self._numbers: dict[int, int] = {}  # by the address of what has been met
        self._nodes: deque[Node] = deque()
        self._edges = _Edges()
        self._member: str | None = None  # of the class that is written
        self._apart: list[slice] = []  # parts of their own in the text of the node that is written
        self._reading = ""  # the name under which a value was read
        self._inside = 0  # how many objects of installed packages the written value lies within

    @abc.abstractmethod
    def write(self, value: Any, out: list[str]) -> None:
        """Append what a value counts as."""

    @abc.abstractmethod
    def new_digest(self) -> Callable[..., str]:
        """Return a function that does what `digest` does, and does not keep this look."""

    @abc.abstractmethod
    def look_at_code(self, function: Any) -> Found:
        """Return what a look at a function alone finds, which leaves machine code out."""

    def digest(self, *values: Any) -> str:
        """Return a digest over all that some values reach, as a look at them alone finds it."""
        return self.new_digest()(*values)

    def write_all(self, tag: str, values: Any, out: list[str]) -> None:
        """Append a tag, a count, and what each value counts as."""
        out.append(f"{tag} {len(values)}")
        for value in values:
            self.write(value, out)

    def number(self, value: Any) -> int:
        """Give something a number, by which it is referred to from now on."""
        number = self._numbers[id(value)] = len(self.met) + 1
        self.met.append(value)
        return number

    def count(self) -> int:
        """Return how many things have a number."""
        return len(self.met)

    def is_met(self, value: Any) -> bool:
        """Tell whether something has a number."""
        return id(value) in self._numbers

    def enqueue(self, label: str, subject: Any, out: list[str]) -> None:
        """Have a function or a class looked at later, and refer to it here."""
        self._nodes.append(Node(self.number(subject), label, subject))
        self.refer(subject, out)

    def refuse(self, what: str, why: str, out: list[str]) -> None:
        """Take note of something that cannot be followed."""
        name = f"{self._reading} ({what})" if self._reading and what not in self._reading else what
        self.limits.append(Problem(name, self.here, why))
        out.append("unknown")

    def write_named(self, label: str, value: Any, out: list[str]) -> None:
        """Append what a value counts as; a constant is a dependency of its own, so that a report can name it."""
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

    def write_draw(self, what: str, value: Any, out: list[str]) -> None:
        """Append a source of random numbers, and take note of it."""
        if not self._inside:
            shown = f"{self._reading} ({what})" if self._reading and draws.is_source(value) else what
            self.draws.append(Problem(shown, self.here, "it draws from a stream that replicates share"))
        out.append(what)

    def refer(self, value: Any, out: list[str]) -> None:
        """Append the number of something that has one."""
        number = self._numbers[id(value)]
        self._edges.add(self.here.number, number, self._member)
        out.append(f"#{number}")

    # ---- nodes and hashes ----------------------------------------------------------------------------

    def nodes(self) -> Iterator[Node]:
        """Yield each node when it is to be written, which may add more; `end_node` ends it."""
        while self._nodes:
            self.here = self._nodes.popleft()
            self._apart = []
            yield self.here

    def end_node(self, out: list[str]) -> None:
        """Take the text of the node that is written."""
        self.feed([f"node {self.here.number}", *out])
        for span in reversed(self._apart):
            del out[span]
        self._part(self.here.label, out)

    def found(self) -> Found:
        """Return what was found, once all nodes are written."""
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
