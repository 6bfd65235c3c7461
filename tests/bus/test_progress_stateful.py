"""The bus against a model that predicts which updates each subscriber gets and misses."""

from __future__ import annotations

import logging
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bgsim.errors import EngineClosedError
from bgsim.progress import ProgressBus, UpdateType

JOBS = ["a", "b"]
STARTED, PROGRESS = UpdateType.STARTED, UpdateType.PROGRESS
SIMULATIONS = {"a": "walk", "b": "spin"}
WORKSPACES = {"a": "left", "b": "right"}

jobs = st.sampled_from(JOBS)


def where(update: Any) -> bool:
    """Raise on every fifth update; refuse every second."""
    if update.sequence % 5 == 4:
        raise ZeroDivisionError
    return bool(update.sequence % 2)


class Slow(Executor):
    """An executor that runs its tasks when the test calls `run`."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Future[Any], Any]] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.tasks.append((future, function))
        return future

    def run(self) -> None:
        tasks, self.tasks = self.tasks, []
        for future, function in tasks:
            future.set_result(function())


class Subscriber:
    """One subscription, and the model of it."""

    def __init__(self, kind: str, wanted: dict[str, Any], maxlen: int, leaves_after: int | None) -> None:
        self.kind, self.wanted, self.maxlen, self.leaves_after = kind, wanted, maxlen, leaves_after
        self.jobs = set(wanted["job"]) if wanted["job"] is not None else None
        self.open_jobs = set(wanted["job"]) if wanted["job"] is not None else None
        self.ended = self.left = self.removed = False
        self.buffer: list[Any] = []
        self.expected: list[Any] = []
        self.received: list[Any] = []
        self.conflated = self.failed = 0
        self.executor = Slow()
        self.subscription: Any = None

    def call(self, update: Any) -> None:
        self.received.append(update)
        if len(self.received) == self.leaves_after:
            self.subscription.unsubscribe()
        if self.kind == "raising":
            raise ZeroDivisionError

    # ---- the model -----------------------------------------------------------------------------------

    def offer(self, update: Any) -> None:
        wanted = self.wanted
        least = UpdateType.COMPLETED if wanted["completions_only"] else wanted["min_type"]
        if self.ended or update.update_type < least:
            return
        if wanted["simulation"] not in (None, SIMULATIONS[update.simulation_id]):
            return
        if wanted["workspace"] not in (None, WORKSPACES[update.simulation_id]):
            return
        if len(self.buffer) >= self.maxlen:
            of_job = [i for i, held in enumerate(self.buffer) if held.simulation_id == update.simulation_id]
            if of_job and self.buffer[of_job[-1]].update_type is PROGRESS:  # nothing overtakes an end
                self.buffer[of_job[-1]] = update
                self.conflated += 1
                return
        self.buffer.append(update)

    def job_ended(self, job: str) -> None:
        if self.open_jobs is not None:
            self.open_jobs.discard(job)
            if not self.open_jobs:
                self.ended = self.removed = True

    def consume(self, count: int | None = None) -> None:
        """Hand over the buffered updates: all, or until `count` have matched."""
        while self.buffer and not self.left and (count is None or count):
            update = self.buffer.pop(0)
            if self.wanted["where"] is not None and (update.sequence % 5 == 4 or not update.sequence % 2):
                self.failed += update.sequence % 5 == 4
                continue
            self.expected.append(update)
            self.failed += self.kind == "raising"
            if self.kind != "iterator" and len(self.expected) == self.leaves_after:
                self.leave()
            if count is not None:
                count -= 1

    def leave(self) -> None:
        self.left = self.ended = self.removed = True
        self.buffer.clear()


class BusMachine(RuleBasedStateMachine):
    """A bus without threads, so that the model knows what has been fanned out."""

    @initialize()
    def begin(self) -> None:
        self.bus = ProgressBus(threads=False)
        self.newest: dict[str, Any] = {}
        self.inbox: list[list[Any]] = []  # [update, subscribers]
        self.replaceable: dict[str, list[Any]] = {}  # progress in the inbox that newer progress replaces
        self.subscribers: list[Subscriber] = []
        self.replaced = self.published = 0
        self.closed = False
        for job in JOBS:
            self.publish_one(job, STARTED)

    def audience(self, job: str) -> list[Subscriber]:
        found = [s for s in self.subscribers if s.jobs is not None and job in s.jobs]
        found += [s for s in self.subscribers if s.jobs is None]
        return [s for s in found if not s.removed]

    def deliver_in_model(self) -> None:
        inbox, self.inbox, self.replaceable = self.inbox, [], {}
        for update, subscribers in inbox:
            for subscriber in subscribers:
                subscriber.offer(update)
                if update.update_type.is_terminal:
                    subscriber.job_ended(update.simulation_id)
        for subscriber in self.subscribers:
            if subscriber.kind in ("callback", "raising"):
                subscriber.consume()

    # ---- what is done --------------------------------------------------------------------------------

    @rule(job=jobs, kind=st.sampled_from([STARTED, *[PROGRESS] * 12, *list(UpdateType)[2:]]), deliver=st.booleans())
    def publish(self, job: str, kind: UpdateType, deliver: bool) -> None:
        self.publish_one(job, kind)
        if deliver:
            self.deliver()

    @rule(job=jobs, number=st.integers(2, 6))
    def go_on(self, job: str, number: int) -> None:
        """Publish more than some buffers hold."""
        for _ in range(number):
            self.publish_one(job, PROGRESS)
            self.deliver()

    def publish_one(self, job: str, kind: UpdateType) -> None:
        update = self.bus.publish(job, kind, metadata={"simulation": SIMULATIONS[job], "workspace": WORKSPACES[job]})
        before = self.newest.get(job)
        allowed = kind is not PROGRESS if before is None else kind is not STARTED and not before.update_type.is_terminal
        assert (update is not None) == (allowed and not self.closed)
        if update is None:
            return
        assert update.sequence == (before.sequence if before else 0) + 1
        self.newest[job] = update
        self.published += 1
        audience = self.audience(job)
        if not audience:
            return
        if kind is PROGRESS and job in self.replaceable:
            self.replaceable[job][0] = update
            self.replaced += 1
        else:
            item = [update, audience]
            self.inbox.append(item)
            if kind is PROGRESS:
                self.replaceable[job] = item

    @precondition(lambda self: len(self.subscribers) < 8)
    @rule(
        kind=st.sampled_from(["iterator", "callback", "raising", "executor"]),
        job=st.sampled_from([None, None, [], ["a"], ["b"], ["a", "b"], ["b", "a"]]),
        min_type=st.sampled_from([*[STARTED] * 6, *UpdateType]),
        completions_only=st.sampled_from([*[False] * 6, True]),
        simulation=st.sampled_from([*[None] * 6, "walk", "spin"]),
        workspace=st.sampled_from([*[None] * 6, "left", "right"]),
        where=st.sampled_from([None, None, None, where]),
        maxlen=st.integers(1, 4),
        leaves_after=st.sampled_from([*[None] * 4, 1, 3]),
        between=st.none() | jobs,
    )
    def subscribe(self, kind: str, maxlen: int, leaves_after: int | None, between: str | None, **wanted: Any) -> None:
        """Subscribe, perhaps between two updates of a job that would otherwise be one."""
        if between:
            self.publish_one(between, PROGRESS)
        self.subscribe_one(kind, maxlen, leaves_after, wanted)
        if between:
            self.publish_one(between, PROGRESS)

    def subscribe_one(self, kind: str, maxlen: int, leaves_after: int | None, wanted: dict[str, Any]) -> None:
        subscriber = Subscriber(kind, wanted, maxlen, leaves_after)
        options = dict(wanted, maxlen=maxlen)
        if kind == "executor":
            options["executor"] = subscriber.executor
        callback = None if kind == "iterator" else subscriber.call
        if self.closed:
            with pytest.raises(EngineClosedError):
                self.bus.subscribe(callback, **options)
            return
        subscriber.subscription = self.bus.subscribe(callback, **options)
        self.subscribers.append(subscriber)
        if wanted["job"] == []:
            subscriber.ended = subscriber.removed = True
            return
        self.replaceable = {}
        for job in wanted["job"] or ():
            if job in self.newest:
                self.inbox.append([self.newest[job], [subscriber]])

    @rule()
    def deliver(self) -> None:
        self.bus.deliver()
        self.deliver_in_model()

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data(), count=st.integers(1, 3))
    def read(self, data: Any, count: int) -> None:
        """Consume slowly: a few from an iterator, or what an executor was given."""
        subscriber = data.draw(st.sampled_from(self.subscribers))
        self.deliver()
        if subscriber.kind == "executor":
            subscriber.executor.run()
            subscriber.consume()
        elif subscriber.kind == "iterator":
            subscriber.consume(count)
            for _ in range(count):
                try:
                    update = subscriber.subscription.get(timeout_s=0)
                except TimeoutError:
                    assert not subscriber.ended
                    break
                if update is None:
                    assert subscriber.ended
                    break
                subscriber.received.append(update)

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data())
    def unsubscribe(self, data: Any) -> None:
        subscriber = data.draw(st.sampled_from(self.subscribers))
        subscriber.subscription.unsubscribe()
        subscriber.leave()

    @rule(job=jobs, again=st.booleans())
    def forget(self, job: str, again: bool) -> None:
        """Forget a job; one that had ended may come again, once its subscribers have heard its end."""
        self.bus.forget(job)
        if job in self.newest and self.newest[job].update_type.is_terminal:
            self.deliver()
            del self.newest[job]
            for subscriber in self.subscribers:
                (subscriber.jobs or set()).discard(job)
        if again:
            self.publish_one(job, STARTED)

    @precondition(lambda self: self.published > 40)
    @rule()
    def close(self) -> None:
        self.bus.close()
        self.deliver_in_model()
        self.closed = True
        for subscriber in self.subscribers:
            subscriber.ended = True

    # ---- what holds ----------------------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        for job in JOBS:
            assert self.bus.current(job) == self.newest.get(job)
        for subscriber in self.subscribers:
            assert subscriber.received == subscriber.expected
            subscription = subscriber.subscription
            assert subscription.conflated == subscriber.conflated
            assert subscription.failed == subscriber.failed
            assert subscription.delivered == len(subscriber.expected)
            assert subscription.pending == len(subscriber.buffer)
            assert len(subscriber.buffer) <= subscriber.maxlen + 3 * len(JOBS)
        stats = self.bus.stats()
        assert stats.published == self.published
        assert stats.conflated == self.replaced
        assert stats.waiting == len(self.inbox)
        assert stats.subscriptions == sum(not s.removed for s in self.subscribers)
        assert stats.failed_callbacks + stats.failed_predicates == sum(s.failed for s in self.subscribers)

    def teardown(self) -> None:
        """A subscriber that reads to the end has missed progress only."""
        if not hasattr(self, "bus"):
            return
        self.bus.close()
        self.deliver_in_model()
        for subscriber in self.subscribers:
            subscriber.consume()
            if subscriber.kind == "iterator":
                subscriber.received += list(subscriber.subscription)
            subscriber.executor.run()
            assert subscriber.received == subscriber.expected


@pytest.fixture(autouse=True)
def quiet() -> Any:
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


TestBus = BusMachine.TestCase
TestBus.settings = settings(max_examples=120, stateful_step_count=50)
