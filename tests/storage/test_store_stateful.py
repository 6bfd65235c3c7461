"""Both stores and their journals against a dictionary, through any sequence of operations, reopening included."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_helpers import NEW, OLD, columns, key, request, same, versioned

from bgsim.storage import Columns, MemoryStore, PendingRequest, ResultStore

KEYS = [key(x) for x in range(5)]
PARTS = {"tests.model": "0123abcd"}
keys = st.sampled_from(KEYS)
counts = st.integers(1, 400)
workspaces = st.sampled_from(["a", "b"])


TEXTS = ["", OLD, NEW]
"""Versions; the column "made" says row by row which of them computed it."""


def made_columns(of, runs: list[tuple[int, int]]) -> Columns:
    found = versioned(of, *((count, TEXTS[text]) for count, text in runs))
    found["made"] = np.repeat([text for _, text in runs], [count for count, _ in runs])
    return found


def agrees_with(found: Columns, of, count: int) -> bool:
    """Tell whether these are the first replicates, each with the versions that computed it."""
    made = found.pop("made")
    texts = [text for _, run, text in found.versions for _ in range(run)]
    return same(found, columns(of, count)) and texts == [TEXTS[text] for text in made]


class StoreMachine(RuleBasedStateMachine):
    """The model: replicates by hash, least recently used first; two hashes a workspace, the newest first."""

    @initialize()
    def begin(self) -> None:
        self.held: dict[str, int] = {}
        self.described = False  # whether a result came with parts since there was last none
        self.slots: dict[str, list[tuple[str, int]]] = {}
        self.directory = Path(tempfile.mkdtemp())
        self.store = self.open()

    def open(self):
        raise NotImplementedError

    def used(self, of) -> None:
        if of.hash in self.held:
            self.held[of.hash] = self.held.pop(of.hash)

    @rule(
        of=keys,
        runs=st.lists(st.tuples(st.integers(1, 150), st.integers(0, 2)), min_size=1, max_size=3),
        workspace=st.none() | workspaces,
        held=st.none() | counts,
        parts=st.booleans(),
    )
    def keep(self, of, runs, workspace, held, parts) -> None:
        count = sum(run for run, _ in runs)
        errors: list[Exception | None] = []
        described = replace(of, parts=PARTS) if parts else of
        self.store.store(described, made_columns(of, runs), workspace=workspace, held=held, on_stored=errors.append)
        self.store.flush()
        assert errors == [None]
        self.described = self.described or parts
        if count > self.held.get(of.hash, 0):
            self.held.pop(of.hash, None)
            self.held[of.hash] = count
        if workspace is not None:
            self.place_in_model(of, count, workspace)

    @rule(of=keys, count=counts)
    def load(self, of, count) -> None:
        found = self.store.load(of, count)
        held = self.held.get(of.hash, 0)
        assert found is None if not held else agrees_with(found, of, min(count, held))
        self.used(of)

    @rule(of=keys, count=counts, workspace=workspaces)
    def place(self, of, count, workspace) -> None:
        self.store.place(of, count, workspace)
        self.store.flush()
        if of.hash in self.held:
            self.place_in_model(of, count, workspace)

    def place_in_model(self, of, count, workspace) -> None:
        others = [s for s in self.slots.get(workspace, []) if s[0] != of.hash]
        self.slots[workspace] = [(of.hash, min(count, self.held[of.hash])), *others[:1]]

    @rule(workspace=workspaces)
    def swap(self, workspace) -> None:
        self.store.swap(workspace)
        if workspace in self.slots:
            self.slots[workspace].reverse()

    @rule(workspace=workspaces)
    def clear(self, workspace) -> None:
        assert self.store.clear(workspace) == len(self.slots.pop(workspace, []))

    @rule(of=keys)
    def delete(self, of) -> None:
        assert self.store.delete(of.hash) == (self.held.pop(of.hash, None) is not None)
        for workspace, slots in list(self.slots.items()):
            self.slots[workspace] = [s for s in slots if s[0] != of.hash]
            if not self.slots[workspace]:
                del self.slots[workspace]

    @rule()
    def evict_all_but_slots(self) -> None:
        self.store.max_storage_bytes, before = 1, self.store.max_storage_bytes
        pinned = {h for slots in self.slots.values() for h, _ in slots}
        gone = [h for h in self.held if h not in pinned]
        report = self.store.cleanup()
        self.store.max_storage_bytes = before
        total = sum(r.stored_bytes for r in self.store.results())
        assert sorted(report.removed) == sorted(gone) if total else set(report.removed) <= set(gone)
        for result_hash in report.removed:
            del self.held[result_hash]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @invariant()
    def agrees(self) -> None:
        for of in KEYS:
            assert self.store.count(of) == self.held.get(of.hash, 0)
        assert {r.hash: r.replicates for r in self.store.results()} == self.held
        for result in self.store.results():
            assert sum(count for _, count, _ in result.versions) == result.replicates
        self.described = self.described and bool(self.held)
        assert self.store.parts(KEYS[0].fingerprint) == (PARTS if self.described else {})
        assert self.store.workspaces() == sorted(self.slots)
        for workspace, slots in self.slots.items():
            assert [(s.hash, s.replicates) for s in self.store.slots(workspace)] == slots

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                assert self.store.check().problems == ()
            finally:
                self.store.close()
                shutil.rmtree(self.directory)


class FileMachine(StoreMachine):
    def open(self):
        return ResultStore(self.directory / "s.db")


class MemoryMachine(StoreMachine):
    def open(self):
        return getattr(self, "store", None) or MemoryStore()

    @rule()
    def reopen(self) -> None:
        """Do nothing: what is in memory ends with the store."""


TestFile = FileMachine.TestCase
TestFile.settings = settings(max_examples=60, stateful_step_count=30)
TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=25)


class JournalMachine(RuleBasedStateMachine):
    """The model: requests by id, with what is known of each; the owners that were not released."""

    ids = st.integers(0, 5)
    owners = st.sampled_from(["a", "b"])

    @initialize()
    def begin(self) -> None:
        self.pending: dict[str, PendingRequest] = {}
        self.alive: set[str] = set()
        self.directory = Path(tempfile.mkdtemp())
        self.store = self.open()

    def open(self):
        raise NotImplementedError

    @property
    def journal(self):
        return self.store.journal

    def left(self) -> list[PendingRequest]:
        return sorted((r for r in self.pending.values() if r.owner not in self.alive), key=lambda r: r.submitted_at)

    @rule(number=ids, owner=owners)
    def add(self, number, owner) -> None:
        self.journal.add(request(number, owner))
        self.pending[f"r{number}"] = request(number, owner)

    @rule(number=ids)
    def begin_to_run(self, number) -> None:
        self.journal.start(f"r{number}")
        if f"r{number}" in self.pending:
            self.pending[f"r{number}"] = replace(self.pending[f"r{number}"], started=True)

    @rule(number=ids)
    def remove(self, number) -> None:
        self.journal.remove(f"r{number}")
        self.pending.pop(f"r{number}", None)

    @rule(owner=owners)
    def register(self, owner) -> None:
        self.journal.register(owner)
        self.alive.add(owner)

    @rule(owner=owners)
    def release(self, owner) -> None:
        self.journal.release(owner)
        self.alive.discard(owner)

    @rule(owner=owners, only=st.none() | st.sets(ids))
    def claim(self, owner, only) -> None:
        wanted = None if only is None else {f"r{number}" for number in only}
        expected = [
            replace(r, owner=owner, crashes=r.crashes + r.started, started=False)
            for r in self.left()
            if wanted is None or r.id in wanted
        ]
        assert self.journal.claim(owner, wanted) == expected
        self.pending.update((r.id, r) for r in expected)

    @rule()
    def flush(self) -> None:
        self.journal.flush()

    @rule()
    def look(self) -> None:
        assert self.journal.interrupted() == self.left()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                self.look()
                assert self.store.check().problems == ()
            finally:
                self.store.close()
                shutil.rmtree(self.directory)


class FileJournalMachine(JournalMachine):
    def open(self):
        return ResultStore(self.directory / "s.db")


class MemoryJournalMachine(JournalMachine):
    def open(self):
        return getattr(self, "store", None) or MemoryStore()

    @rule()
    def reopen(self) -> None:
        """Do nothing: what is in memory ends with the store."""


TestFileJournal = FileJournalMachine.TestCase
TestFileJournal.settings = settings(max_examples=60, stateful_step_count=30)
TestMemoryJournal = MemoryJournalMachine.TestCase
TestMemoryJournal.settings = settings(max_examples=60, stateful_step_count=30)
