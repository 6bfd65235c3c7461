"""The history in a file and in memory against a plain list, through any sequence of operations, reopening included."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_helpers import history_job

from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.history import KEY_AGE_S, OF_END, JobQuery, JobRow
from bgsim.storage.times import time_text

ids = st.sampled_from([f"j{number}" for number in range(8)])
tenants = st.sampled_from(["", "lab"])
simulations = st.sampled_from(["a.walk", "b.walk", "walk", "a.run"])
tags = st.lists(st.sampled_from(["a", "b", '"', "\\", ", ", "ü", "a%"]), max_size=3, unique=True)
names = st.sampled_from(["x", "é", "size_of"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-2, 2).map(float),
    st.sampled_from(["", "a", "ü", '"', "1", "true", "null", "x" * 2000, '{"__value__": "0"}']),
)
parameters = st.dictionaries(names, scalars, max_size=2)
moments = st.integers(0, 5).map(lambda day: time_text(day * KEY_AGE_S / 2))
states = st.sampled_from(["", "completed", "failed", "cancelled"])
ends = states.filter(bool)


def is_value(found: Any, wanted: Any) -> bool:
    """Tell whether a parameter is the one that is asked for, as JSON compares them."""
    kinds = [
        bool if isinstance(each, bool) else float if isinstance(each, int | float) else type(each)
        for each in (found, wanted)
    ]
    return kinds[0] is kinds[1] and found == wanted


def is_meant(row: JobRow, query: JobQuery) -> bool:
    found = json.loads(row.parameters)
    return (
        query.tenant in (None, row.tenant)
        and (not query.states or row.state in query.states)
        and query.simulation in (None, row.simulation, row.simulation.rpartition(".")[2])
        and (query.tag is None or query.tag in json.loads(row.tags))
        and all(name in found and is_value(found[name], value) for name, value in query.parameters.items())
        and (query.since or "") <= row.submitted_at <= (query.until or "9")
        and (query.ids is None or row.id in query.ids)
        and (query.before is None or (row.submitted_at, row.id) < query.before)
    )


class HistoryMachine(RuleBasedStateMachine):
    """The model: rows by id."""

    @initialize()
    def begin(self) -> None:
        self.rows: dict[str, JobRow] = {}
        self.directory = Path(tempfile.mkdtemp())
        self.store = self.open()

    def open(self):
        raise NotImplementedError

    @rule(
        of=ids, tenant=tenants, token=st.sampled_from(["", "t"]), given=st.sampled_from(["", "k", "l"]), simulation=simulations,
        tags=tags, values=parameters, at=moments,
    )  # fmt: skip
    def add(self, of, tenant, token, given, simulation, tags, values, at) -> None:
        row = history_job(
            0, id=of, tenant=tenant, token=token, idempotency_key=given, simulation=simulation, submitted_at=at,
            tags=json.dumps(tags), parameters=json.dumps(values),
        )  # fmt: skip
        found = self.store.history.add_job(row)
        if of in self.rows:
            assert found == self.rows[of]
            return
        other = next((r for r in self.rows.values() if given and (r.token, r.idempotency_key) == (token, given)), None)
        if other is not None and other.submitted_at >= time_text(max(0.0, seconds(at) - KEY_AGE_S)):
            assert found == other
            return
        assert found is None
        if other is not None:
            self.rows[other.id] = replace(other, idempotency_key="")
        self.rows[of] = row

    @rule(of=ids, given=st.sampled_from(["", "k"]), at=moments, values=parameters)
    def note(self, of, given, at, values) -> None:
        row = history_job(0, id=of, token="t", idempotency_key=given, submitted_at=at, parameters=json.dumps(values))
        self.store.history.note_job(row)
        self.rows.setdefault(of, replace(row, idempotency_key=""))

    @rule(of=ids, state=ends, at=moments, count=st.integers(0, 10))
    def end(self, of, state, at, count) -> None:
        row = history_job(
            0, id=of, state=state, ended_at=at, replicates_completed=count, idempotency_key="k", token="t"
        )
        self.store.history.end_job(row)
        before = self.rows.get(of, replace(row, idempotency_key=""))
        self.rows[of] = replace(before, **{name: getattr(row, name) for name in OF_END})

    @rule(of=ids, tags=tags)
    def change(self, of, tags) -> None:
        assert self.store.history.change_job(of, tags=json.dumps(tags)) == (of in self.rows)
        if of in self.rows:
            self.rows[of] = replace(self.rows[of], tags=json.dumps(tags))

    @rule(some=st.lists(ids))
    def cancel(self, some) -> None:
        self.store.history.ask_cancel(some)
        self.rows |= {of: replace(self.rows[of], cancel_asked=True) for of in some if of in self.rows}

    @rule(before=moments, most=st.integers(0, 4))
    def forget(self, before, most) -> None:
        kept = {of: row for of, row in self.rows.items() if row.ended_at is None or row.ended_at >= before}
        ended = sorted(row.ended_at for row in kept.values() if row.ended_at is not None)
        forgotten = len(self.rows) - len(kept) + max(0, len(ended) - most)
        assert self.store.history.forget_jobs(before, most) == forgotten
        left = {row.id for row in self.store.history.jobs(JobQuery(limit=1000))}
        assert left <= kept.keys()  # of those that ended at one moment, any may be left
        self.rows = {of: row for of, row in kept.items() if of in left}
        assert sorted(row.ended_at for row in self.rows.values() if row.ended_at) == ended[max(0, len(ended) - most) :]
        assert [row for row in kept.values() if row.ended_at is None] == [
            row for row in self.rows.values() if row.ended_at is None
        ]

    @rule()
    def reopen(self) -> None:
        if isinstance(self.store, ResultStore):
            self.store.close()
            self.store = self.open()

    @rule(
        tenant=st.none() | tenants, states=st.lists(states, max_size=4).map(tuple), tag=st.none() | st.sampled_from(["a", "b", '"', "\\", ", ", "a%"]),
        simulation=st.none() | st.sampled_from(["walk", "a.walk", "run", "a", ""]), values=parameters, since=st.none() | moments, until=st.none() | moments,
        some=st.none() | st.lists(ids), before=st.none() | st.tuples(moments, ids), limit=st.integers(1, 9),
    )  # fmt: skip
    def ask(self, tenant, states, tag, simulation, values, since, until, some, before, limit) -> None:
        query = JobQuery(tenant, states, simulation, tag, values, since, until, some, before, limit)
        self.agrees(query)

    @rule(data=st.data())
    def ask_for_what_is_there(self, data) -> None:
        """Values of a stored job, of which a query of any values would find few."""
        if self.rows:
            row = data.draw(st.sampled_from(list(self.rows.values())))
            self.agrees(JobQuery(parameters=json.loads(row.parameters), limit=data.draw(st.integers(1, 9))))
            self.agrees(JobQuery(tenant=row.tenant, states=(row.state,), simulation=row.simulation))

    def agrees(self, query: JobQuery) -> None:
        expected = [row for row in self.newest_first() if is_meant(row, query)]
        assert self.store.history.jobs(query) == expected[: query.limit]
        assert self.store.history.count_jobs(query) == len(expected)

    def newest_first(self) -> list[JobRow]:
        return sorted(self.rows.values(), key=lambda row: (row.submitted_at, row.id), reverse=True)

    @invariant()
    def each_is_there(self) -> None:
        for number in range(8):
            assert self.store.history.job(f"j{number}") == self.rows.get(f"j{number}")

    @invariant()
    def the_open_ones_are_known(self) -> None:
        assert self.store.history.open_jobs() == [row for row in self.newest_first()[::-1] if not row.state]

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)


def seconds(text: str) -> float:
    from bgsim.storage.times import seconds_of

    return math.floor(seconds_of(text))


class InFile(HistoryMachine):
    def open(self) -> ResultStore:
        return ResultStore(self.directory / "s.db")


class InMemory(HistoryMachine):
    def open(self) -> MemoryStore:
        return MemoryStore()


TestInFile = InFile.TestCase
TestInFile.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
