"""The bus: which updates reach which subscribers, and what never happens."""

from __future__ import annotations

import ast
import gc
import json
import logging
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S

import bgsim
from bgsim.bus.buffer import Buffer
from bgsim.errors import EngineClosedError, InvalidInputError
from bgsim.progress import ProgressBus, ProgressUpdate, UpdateType, format_duration

STARTED, PROGRESS, COMPLETED, FAILED, CANCELLED = UpdateType


@pytest.fixture
def bus() -> Any:
    """A bus that delivers when the test calls `deliver`."""
    with ProgressBus(threads=False) as found:
        yield found


def play(bus: ProgressBus, job: str, *kinds: UpdateType, **details: Any) -> None:
    for kind in kinds:
        bus.publish(job, kind, **details)


def kinds_of(updates: Any) -> list[UpdateType]:
    return [update.update_type for update in updates]


# ---- updates -----------------------------------------------------------------------------------------


def test_an_update_reads_well() -> None:
    update = ProgressUpdate("a", 3, PROGRESS, 0.42, 420_000, 1_000_000, 3100.0, "running")
    assert str(update) == "running 42.0 % (420,000/1,000,000), 3.1 s left"
    assert str(update._replace(estimated_time_remaining_ms=None)) == "running 42.0 % (420,000/1,000,000)"
    assert str(update._replace(messages=("retry 2 of 3", "stalled"))).endswith("left; retry 2 of 3; stalled")
    ended = update._replace(update_type=FAILED, current_phase="failed")
    assert "left" not in str(ended)
    assert "<progress value=" in update._repr_html_()
    assert "&lt;b&gt;" in update._replace(messages=("<b>",))._repr_html_()


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (250, "250 ms"),
        (999.6, "1.0 s"),
        (3100, "3.1 s"),
        (59_949, "59.9 s"),
        (59_960, "1 min 00 s"),
        (245_000, "4 min 05 s"),
        (3_599_600, "1 h 00 min"),
        (7_800_000, "2 h 10 min"),
        (180_000_000, "50 h 00 min"),
    ],
)
def test_durations_have_the_unit_that_fits(milliseconds: float, text: str) -> None:
    assert format_duration(milliseconds) == text


def test_an_update_is_json(bus: ProgressBus) -> None:
    bus.publish("a", STARTED, messages=("hello",), metadata={"simulation": "walk", "rate": None})
    update = bus.current("a")
    assert update is not None
    read = json.loads(json.dumps(update.to_dict()))
    assert read["update_id"] == "a:1"
    assert read["update_type"] == "STARTED"
    assert read["metadata"] == {"simulation": "walk", "rate": None}
    assert set(read) == {*ProgressUpdate._fields, "update_id"}


def test_an_update_cannot_be_changed(bus: ProgressBus) -> None:
    """A reader can change neither its fields nor what they hold."""
    bus.publish("a", STARTED, metadata={"simulation": "walk"})
    update: Any = bus.current("a")
    with pytest.raises(AttributeError):
        update.fraction = 1.0
    with pytest.raises(AttributeError):
        update.anything = 1.0
    with pytest.raises(TypeError):
        update.metadata["simulation"] = "spin"


# ---- a job's sequence --------------------------------------------------------------------------------


def test_one_started_first_and_one_terminal_last(bus: ProgressBus) -> None:
    """The bus refuses progress before the start, a second start, and anything after the end."""
    with bus.subscribe() as updates:
        play(bus, "a", PROGRESS, STARTED, STARTED, PROGRESS, COMPLETED, FAILED, PROGRESS, STARTED)
        found = updates.take_all()
    assert kinds_of(found) == [STARTED, PROGRESS, COMPLETED]
    assert [update.sequence for update in found] == [1, 2, 3]


@pytest.mark.parametrize("kind", [COMPLETED, FAILED, CANCELLED])
def test_a_job_that_never_started_has_one_terminal_update(bus: ProgressBus, kind: UpdateType) -> None:
    """A cached answer, a job that cannot start, and one that is cancelled in the queue."""
    updates = bus.subscribe(job="a")
    play(bus, "a", kind, kind)
    assert kinds_of(updates) == [kind]


@pytest.mark.stress
def test_the_sequence_increases_with_many_publishers(in_threads: Any) -> None:
    """4 threads publish to 5 jobs; an iterator sees each job's numbers rise, from its start to its end."""
    jobs = [f"job{i}" for i in range(5)]
    with ProgressBus() as bus:
        updates = bus.subscribe(maxlen=16)
        seen: list[ProgressUpdate] = []

        def publisher() -> None:
            for _ in range(400):
                for job in jobs:
                    bus.publish(job, PROGRESS)

        def reader() -> None:
            seen.extend(updates)

        def publishers() -> None:
            in_threads(*[publisher] * 4)
            for job in jobs:
                bus.publish(job, COMPLETED)
            bus.close()

        for job in jobs:
            bus.publish(job, STARTED)
        in_threads(reader, publishers)
    for job in jobs:
        numbers = [u.sequence for u in seen if u.simulation_id == job]
        assert numbers == sorted(set(numbers))
        kinds = kinds_of(u for u in seen if u.simulation_id == job)
        assert kinds[0] is STARTED
        assert kinds[-1] is COMPLETED
        assert set(kinds[1:-1]) <= {PROGRESS}


# ---- filters -----------------------------------------------------------------------------------------


def test_filters(bus: ProgressBus) -> None:
    """One job, several, a simulation, a workspace, a type, completions, a predicate, and any of them together."""
    plan = {"a": ("walk", "left"), "b": ("walk", "right"), "c": ("spin", "right")}
    subscriptions = {
        "abc": bus.subscribe(),
        "a": bus.subscribe(job="a"),
        "ac": bus.subscribe(job=["a", "c"]),
        "ab": bus.subscribe(simulation="walk"),
        "bc": bus.subscribe(workspace="right"),
        "b": bus.subscribe(workspace="right", simulation="walk", job=("b", "c")),
        "c": bus.subscribe(where=lambda update: update.metadata["simulation"] == "spin"),
        "": bus.subscribe(job="a", workspace="right"),
    }
    ends = bus.subscribe(completions_only=True)
    failures = bus.subscribe(min_type=FAILED)
    for job, (simulation, workspace) in plan.items():
        last = FAILED if job == "b" else COMPLETED
        play(bus, job, STARTED, PROGRESS, last, metadata={"simulation": simulation, "workspace": workspace})
    for expected, subscription in subscriptions.items():
        found = subscription.take_all()
        assert sorted({update.simulation_id for update in found}) == list(expected)
        assert len(found) == 3 * len(expected)
    assert kinds_of(ends.take_all()) == [COMPLETED, FAILED, COMPLETED]
    assert kinds_of(failures.take_all()) == [FAILED]


def test_a_job_and_a_simulation_are_known_by_themselves(bus: ProgressBus) -> None:
    class Handle:
        id = "a"
        name = "walk"

    one, several = bus.subscribe(job=Handle()), bus.subscribe(job=[Handle(), "b", "b"])
    by_simulation = bus.subscribe(simulation=Handle())
    play(bus, "a", STARTED, metadata={"simulation": "walk"})
    assert [len(s.take_all()) for s in (one, several, by_simulation)] == [1, 1, 1]


def test_a_subscription_to_no_job_is_empty(bus: ProgressBus) -> None:
    assert list(bus.subscribe(job=[])) == []
    assert bus.stats().subscriptions == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maxlen": 0}, "maxlen must be an integer of 1 or more; got 0"),
        ({"maxlen": True}, "maxlen"),
        ({"min_type": 9}, "min_type must be one of UpdateType.STARTED"),
        ({"min_type": "UpdateType.COMPLETE"}, "did you mean 'UpdateType.COMPLETED'"),
        ({"where": "x"}, "where must be callable; got 'x'"),
        ({"callback": 3}, "callback must be callable; got 3"),
        ({"job": 3}, "job must be a job, its id, or several; got 3"),
        ({"job": ["a", 3]}, "job must be"),
        ({"simulation": 3}, "simulation must be a name"),
        ({"workspace": b"w"}, "workspace must be a name"),
        ({"executor": 3, "callback": print}, "executor must be a Executor"),
        ({"loop": 3, "callback": print}, "loop must be a AbstractEventLoop"),
        ({"post": 3, "callback": print}, "post must be callable; got 3"),
        ({"later": -1}, "later must be an integer of 0 or more; got -1"),
    ],
)
def test_what_cannot_be_is_refused(bus: ProgressBus, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as raised:
        bus.subscribe(**options)
    assert raised.value.field in options
    assert bus.stats().subscriptions == 0


def test_a_predicate_that_raises_is_no_match_logged_once_and_counted(
    bus: ProgressBus, caplog: pytest.LogCaptureFixture
) -> None:
    def where(update: ProgressUpdate) -> bool:
        if update.update_type is PROGRESS:
            raise ZeroDivisionError("in the predicate")
        return True

    updates = bus.subscribe(where=where)
    for _ in range(3):
        play(bus, "a", STARTED, PROGRESS)
        bus.deliver()
    play(bus, "a", COMPLETED)
    assert kinds_of(updates.take_all()) == [STARTED, COMPLETED]
    assert updates.failed == bus.stats().failed_predicates == 3
    assert caplog.text.count("ZeroDivisionError: in the predicate") == 1


# ---- slow, late and gone subscribers -----------------------------------------------------------------


def test_a_slow_subscriber_loses_progress_only_and_keeps_the_newest(bus: ProgressBus) -> None:
    updates = bus.subscribe(maxlen=3)
    for job in ("a", "b"):
        play(bus, job, STARTED)
    for done in range(1, 6):
        for job in ("a", "b"):
            bus.publish(job, PROGRESS, replicates_completed=done)
            bus.deliver()
    play(bus, "a", COMPLETED)
    found = updates.take_all()
    assert [(u.simulation_id, u.update_type, u.replicates_completed) for u in found] == [
        ("a", STARTED, 0),
        ("b", STARTED, 0),
        ("a", COMPLETED, 0),
        ("b", PROGRESS, 5),
    ]
    assert updates.conflated == 9
    assert updates.delivered == 4


def test_a_full_buffer_replaces_progress_and_nothing_else() -> None:
    """Neither a terminal update nor a start, when an id comes again after it was forgotten."""
    buffer = Buffer(maxlen=1)
    numbers = iter(range(100))

    def put(*kinds: UpdateType) -> None:
        for kind in kinds:
            buffer.put(ProgressUpdate("a", next(numbers), kind))

    def drain() -> list[tuple[UpdateType, int]]:
        found = []
        while (update := buffer.get()) is not None:
            found.append((update.update_type, update.sequence))
        return found

    put(PROGRESS, PROGRESS, COMPLETED, STARTED, PROGRESS, PROGRESS)
    assert drain() == [(COMPLETED, 2), (STARTED, 3), (PROGRESS, 5)]
    put(PROGRESS)
    assert drain() == [(PROGRESS, 6)]
    put(STARTED, PROGRESS)
    assert buffer.get().update_type is STARTED  # type: ignore[union-attr]
    put(PROGRESS, COMPLETED)
    assert (len(buffer), buffer.conflated, buffer.taken) == (1, 5, 5)
    buffer.clear()
    assert drain() == []


def test_memory_is_bounded_for_any_number_of_unread_updates() -> None:
    """100,000 updates to an iterator that is not read, and to a callback that does not return."""
    stuck, let_go = threading.Event(), threading.Event()

    def callback(_: ProgressUpdate) -> None:
        stuck.set()
        assert let_go.wait(HANDSHAKE_S)

    with ProgressBus(patience_s=0.01) as bus:
        unread = bus.subscribe(maxlen=10)
        called = bus.subscribe(callback, maxlen=10)
        play(bus, "a", STARTED)
        assert stuck.wait(HANDSHAKE_S)
        for done in range(100_000):
            bus.publish("a", PROGRESS, replicates_completed=done)
        assert bus.stats().waiting <= 1
        assert unread.pending <= 12
        assert called.pending <= 12
        let_go.set()


def test_a_late_subscriber_gets_the_current_state_first(bus: ProgressBus) -> None:
    play(bus, "a", STARTED, PROGRESS, PROGRESS)
    late = bus.subscribe(job="a")
    play(bus, "a", PROGRESS, COMPLETED)
    later = bus.subscribe(job="a")
    assert [u.sequence for u in late] == [3, 4, 5]
    assert [u.sequence for u in later] == [5]
    assert bus.subscribe(job="a", min_type=FAILED).take_all() == []


def test_a_subscription_to_jobs_ends_with_the_last_of_them(bus: ProgressBus) -> None:
    updates = bus.subscribe(job=["a", "b"], where=lambda _: False)
    play(bus, "a", STARTED, COMPLETED)
    with pytest.raises(TimeoutError, match="no update within 0 s"):
        updates.get(timeout_s=0)
    play(bus, "b", CANCELLED)
    assert list(updates) == []
    assert bus.stats().subscriptions == 0


def test_a_job_is_forgotten_once_it_has_ended(bus: ProgressBus) -> None:
    updates = bus.subscribe(job="a")
    play(bus, "a", STARTED)
    bus.forget("a")
    assert bus.current("a") is not None
    play(bus, "a", COMPLETED)
    bus.forget("a")
    bus.forget("never heard of")
    assert bus.current("a") is None
    assert kinds_of(updates) == [STARTED, COMPLETED]
    assert bus.stats().jobs == 0
    assert bus.stats().published == 2


def test_nothing_is_kept_of_a_job_that_was_only_waited_for(bus: ProgressBus) -> None:
    with bus.subscribe(job="a"):
        assert bus.stats().jobs == 1
    assert bus.stats().jobs == 0


def test_the_modules_of_the_bus_import_one_way() -> None:
    ground = ["threads", "signals", "locks", "errors", "checks", "tables"]
    order = [*ground, "updates", "rate", "buffer", "filters", "post", "subscription", "channels", "delivery"]
    order += ["batch_progress", "bars", "progress"]
    for name in order[len(ground) :]:
        source = (Path(bgsim.__file__).parent / ("" if name == "progress" else "bus") / f"{name}.py").read_text()
        for node in ast.parse(source).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bgsim."):
                used = (node.module or "").split(".")[-1]
                assert used in order, f"{name} imports {used}"
                assert order.index(used) < order.index(name), f"{name} imports {used}"


# ---- iterating ---------------------------------------------------------------------------------------


def test_an_iterator_waits_for_what_comes() -> None:
    with ProgressBus() as bus:
        updates = bus.subscribe(job="a")
        threading.Timer(0, play, (bus, "a", STARTED, COMPLETED)).start()
        assert kinds_of(updates)[-1] is COMPLETED


def test_async_iterators_wait_without_blocking_the_loop() -> None:
    import asyncio

    async def main() -> list[list[UpdateType]]:
        with ProgressBus() as bus:
            odd = bus.subscribe(job="a", where=lambda update: update.sequence % 2)

            async def read(updates: Any) -> list[UpdateType]:
                return [update.update_type async for update in updates]

            readers = [asyncio.ensure_future(read(s)) for s in (bus.subscribe(job="a"), odd, bus.subscribe())]
            await asyncio.sleep(0)  # they are waiting now
            play(bus, "a", STARTED, FAILED)
            found = [await reader for reader in readers[:2]]
            bus.close()
            return [*found, await readers[2]]

    assert asyncio.run(main()) == [[STARTED, FAILED], [STARTED], [STARTED, FAILED]]


def test_closing_the_bus_ends_every_iterator(in_threads: Any) -> None:
    """Waiting ones, and those with unread updates; nothing begins after it."""
    bus = ProgressBus()
    waiting, unread = bus.subscribe(job="nothing"), bus.subscribe()
    play(bus, "a", STARTED)
    found = in_threads(lambda: list(waiting), bus.close)
    assert found == [[], None]
    assert kinds_of(unread) == [STARTED]
    assert bus.publish("a", PROGRESS) is None
    assert bus.current("a") is not None
    with pytest.raises(EngineClosedError, match="make a new engine"):
        bus.subscribe()
    bus.close()


def test_leaving_a_block_unsubscribes(bus: ProgressBus) -> None:
    with bus.subscribe() as updates:
        play(bus, "a", STARTED)
    assert list(updates) == []
    assert bus.stats().subscriptions == 0
    updates.unsubscribe()


def test_the_representation_says_what_happened(bus: ProgressBus) -> None:
    with bus.subscribe(print, job="b") as updates:
        assert repr(updates) == "<callback subscription, open: 0 delivered, 0 conflated, 0 failed>"
    assert repr(updates) == "<callback subscription, ended: 0 delivered, 0 conflated, 0 failed>"


# ---- what a reference implementation gets wrong ------------------------------------------------------


def test_a_dead_subscriber_stops_no_other(bus: ProgressBus) -> None:
    """There, one receiver that had gone stopped every subscriber."""
    first, second = bus.subscribe(), bus.subscribe()
    first.unsubscribe()
    gone = bus.subscribe()
    del gone
    play(bus, "a", STARTED)
    assert kinds_of(second.take_all()) == [STARTED]


def test_all_references_to_the_bus_are_to_the_same() -> None:
    """There, a clone was a disconnected system: what one published, subscribers of the other never saw."""
    with bgsim.Engine(workers=1) as engine:
        updates = engine.subscribe(completions_only=True)
        job = engine.submit(
            bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False), replicates=3
        )
        assert updates.get(timeout_s=HANDSHAKE_S).simulation_id == job.id  # type: ignore[union-attr]
        with job.updates() as ours:
            assert ours.bus is updates.bus


def test_two_iterations_over_a_subscription_keep_its_filter(bus: ProgressBus) -> None:
    """There, a cloned subscription lost its filter."""
    updates = bus.subscribe(job="a")
    again = iter(updates)
    play(bus, "b", STARTED)
    play(bus, "a", STARTED, COMPLETED)
    assert {update.simulation_id for update in again} == {"a"}


def test_two_equal_subscriptions_are_two(bus: ProgressBus) -> None:
    """There, a second subscriber with the same id silently replaced the first."""
    seen: list[ProgressUpdate] = []
    for _ in range(2):
        bus.subscribe(seen.append, job="a")
    play(bus, "a", STARTED)
    bus.deliver()
    assert len(seen) == 2


def test_a_dropped_iterator_is_pruned(bus: ProgressBus) -> None:
    """There, the dead were never pruned, and their channels grew without bound."""
    updates = bus.subscribe()
    of_a_job = bus.subscribe(job="a")
    alive = [weakref.ref(updates), weakref.ref(of_a_job)]
    play(bus, "a", STARTED)
    bus.deliver()
    del updates, of_a_job
    gc.collect()
    assert [reference() for reference in alive] == [None, None]
    play(bus, "a", PROGRESS)
    bus.deliver()
    assert bus.stats().subscriptions == 0


def test_a_callback_need_not_be_held(bus: ProgressBus) -> None:
    seen: list[ProgressUpdate] = []
    bus.subscribe(seen.append)
    gc.collect()
    play(bus, "a", STARTED)
    bus.deliver()
    assert kinds_of(seen) == [STARTED]


def test_a_failed_predicate_is_logged_under_the_packages_name(
    bus: ProgressBus, caplog: pytest.LogCaptureFixture
) -> None:
    with bus.subscribe(where=lambda _: 1 / 0) as updates:
        play(bus, "a", STARTED)
        assert updates.take_all() == []
    assert {(r.name, r.levelno) for r in caplog.records} == {("bgsim.progress", logging.ERROR)}
