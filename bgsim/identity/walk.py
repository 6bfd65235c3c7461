"""Follows what a simulation executes: code objects and all the values that they reach, in one order in each process.

::

    root ──> nodes (functions, classes), each looked at once ──> a short hash of each, and one digest of all
                 └─ their values: written in place, as far down as containers and instances go
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bgsim.identity import draws, machine
from bgsim.identity.atoms import atom_text
from bgsim.identity.classes import write_class
from bgsim.identity.contents import write_contents
from bgsim.identity.declared import write_declared
from bgsim.identity.functions import (
    write_builtin,
    write_by_name,
    write_function,
    write_module,
    write_own_function,
    write_type,
)
from bgsim.identity.lookup import Named
from bgsim.identity.names import write_asked_for
from bgsim.identity.ownership import Ownership
from bgsim.identity.problems import Found, Node
from bgsim.identity.static import is_a
from bgsim.identity.watch import ABSENT
from bgsim.identity.wrappers import write_wrapped
from bgsim.identity.writer import Writer


class Walk(Writer):
    """One look at what something executes; knows how each kind of value is written. For one thread."""

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
        write_asked_for(self)
        self._write_nodes()
        self.methods.judge(self.met, self.limits, self.draws)
        return self.found()

    def write(self, value: Any, out: list[str]) -> None:
        """Append what a value counts as."""
        text = atom_text(value)
        if text is not None:
            out.append(text)
        elif self.is_met(value):
            self.refer(value, out)
        elif (drawn := draws.why(value)) is not None:
            self.write_draw(drawn, value, out)
        elif not self._write_code(value, out):
            write_contents(self, value, out)

    def _write_code(self, value: Any, out: list[str]) -> bool:
        """Append a function, a class, a module, or what is made of one; tell whether it was one."""
        if type(value) is Named:
            write_by_name(self, value, out)
        elif is_a(value, types.FunctionType):
            write_function(self, value, out)
        elif is_a(value, type) and not machine.is_machine_class(value):
            write_type(self, value, out)
        elif is_a(value, types.ModuleType):
            write_module(self, value, out)
        elif value is ABSENT:
            out.append("absent")
        elif not (write_wrapped(self, value, out) or machine.write(self, value, out)):
            if not (is_a(value, _OF_C) or type(value).__name__ == "cython_function_or_method"):
                return False
            write_builtin(self, value, out)
        return True

    def new_digest(self) -> Callable[..., str]:
        """Return a function that does what `digest` does, and does not keep this look."""
        return partial(_digest, self.ownership, self.compiled, self.counts_state)

    def look_at_code(self, function: Any) -> Found:
        """Return what a look at a function alone finds, which leaves machine code out."""
        walk = Walk(self.ownership, compiled=True)
        walk.machine_code = None
        return walk.root("", function)

    def _write_nodes(self) -> None:
        for node in self.nodes():
            out: list[str] = []
            try:
                if isinstance(node.subject, type):
                    write_class(self, node.subject, out)
                else:
                    write_own_function(self, node.subject, out)
            except RecursionError:
                self.refuse(node.label, "what it holds is nested too deeply", out)
            self.end_node(out)


_OF_C = (types.BuiltinFunctionType, types.MethodWrapperType, types.MethodDescriptorType, types.WrapperDescriptorType)


def _digest(ownership: Ownership, compiled: bool, counts_state: bool, *values: Any) -> str:
    walk = Walk(ownership, compiled=compiled)
    walk.counts_state = counts_state
    walk.only_digests = walk.within_reduced = True
    return walk.root("", *values).digest
