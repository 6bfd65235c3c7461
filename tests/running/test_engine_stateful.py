"""The engine against a plain model: any sequence of verbs, without threads; the same verbs with threads."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from engine_model import REPLICATES, RETRY_S, SEEDS, Asked, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bgsim.job import JobState
from bgsim.retry import Retry

PRIORITIES = ("low", "normal", "high", "critical")

OPTIONS: dict[str, list[Any]] = {
    "delay_s": [1.0, 4.0],
    "timeout_s": [2.0, 6.0],
    "queue_timeout_s": [3.0],
    "deadline_s": [5.0, 20.0],
    "retry": [Retry(retries=2, backoff="fixed", delay_s=RETRY_S)],
    "group": ["one"],
    "supersede": ["preview"],
}

some_options = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in OPTIONS.items()})


class EngineMachine(RuleBasedStateMachine):
    """Does anything at any time; the model says what must hold."""

    @initialize(places=st.integers(1, 2), queue_size=st.sampled_from([2, 100]))
    def make(self, places: int, queue_size: int) -> None:
        self.world = World(places=places, max_queue_size=queue_size)

    @rule(
        seed=st.integers(0, SEEDS - 1),
        replicates=st.integers(1, REPLICATES),
        priority=st.sampled_from(PRIORITIES),
        options=some_options,
    )
    def submit(self, seed: int, replicates: int, priority: str, options: dict[str, Any]) -> None:
        self.world.submit(seed, replicates, priority=priority, **options)

    def _job(self, data: st.DataObject) -> Asked:
        """Return any job, the newest most often."""
        asked = self.world.asked
        return asked[-1 - data.draw(st.integers(0, min(len(asked) - 1, 5)))]

    @precondition(lambda self: self.world.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.world.cancel(self._job(data))

    @precondition(lambda self: self.world.asked)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        self.world.pause(self._job(data))

    @precondition(lambda self: self.world.asked)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        self.world.resume(self._job(data))

    @precondition(lambda self: self.world.asked)
    @rule(data=st.data(), priority=st.sampled_from(PRIORITIES))
    def set_priority(self, data: st.DataObject, priority: str) -> None:
        self.world.set_priority(self._job(data), priority)

    @rule(
        seed=st.integers(0, SEEDS - 1),
        index=st.integers(0, REPLICATES - 1),
        error=st.sampled_from([OSError("it may pass"), ValueError("it will not")]),
    )
    def arm(self, seed: int, index: int, error: BaseException) -> None:
        self.world.arm(seed, index, error)

    @rule()
    def pause_engine(self) -> None:
        self.world.pause_engine()

    @rule()
    def resume_engine(self) -> None:
        self.world.resume_engine()

    @rule(count=st.sampled_from([1, 1, 2, 5]))
    def step(self, count: int) -> None:
        self.world.step(count)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 10.0]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def retry_letter(self) -> None:
        self.world.retry_letter()

    @rule()
    def discard_letter(self) -> None:
        self.world.discard_letter()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close(cancel=len(self.world.asked) % 2 == 0)
            self.world.submit(0)
            self.world.check()


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, report_multiple_bugs=False)


# ---- the same by hand, and with threads ----------------------------------------------------------------


def overtaken_joined_and_cancelled(world: World) -> None:
    """A job joins a run that was suspended; the first leaves, then the second."""
    first = world.submit(0, priority="low")
    world.step(2)
    world.submit(1, priority="high")
    world.submit(2, priority="high")
    second = world.submit(0, 3, priority="low")
    for asked in (first, second):
        assert asked is not None
        world.cancel(asked)
    world.step(3)
    world.submit(0)


def failing_shared_and_retried(world: World) -> None:
    """Two share a run that fails twice for a while, and another that fails for good."""
    retry = Retry(retries=3, backoff="fixed", delay_s=RETRY_S)
    for _ in range(2):
        world.arm(0, 2, OSError("it may pass"))
    world.arm(1, 1, ValueError("it will not"))
    for seed in (0, 0, 1, 1):
        world.submit(seed, retry=retry)
    for _ in range(6):
        world.step(3)
        world.advance(RETRY_S / 2)
    world.retry_letter()
    world.step(20)


def paused_and_overdue(world: World) -> None:
    """A pause does not count against the time-out, but against the deadline."""
    slow = world.submit(0, timeout_s=2.0)
    late = world.submit(1, deadline_s=5.0, timeout_s=1.0)
    assert slow is not None
    assert late is not None
    world.step(2)
    for asked in (slow, late):
        world.pause(asked)
    world.advance(10.0)
    world.step(3)
    world.resume(slow)
    world.step(20)


def superseded_again_and_again(world: World) -> None:
    """The newest of each word is what remains."""
    for number in range(12):
        world.submit(number % SEEDS, 2 + number % 4, supersede="preview", priority=PRIORITIES[number % 4])
        world.step(number % 3)


def wanting_more_and_leaving(world: World) -> None:
    """Who wants most leaves, when the others have what they want, and before."""
    for replicates, steps in ((2, 4), (5, 3)):
        world.submit(0, replicates)
        more = world.submit(0, REPLICATES)
        world.step(steps)
        if more is not None:
            world.cancel(more)
        world.step(5)


def anything(number: int) -> Callable[[World], None]:
    """Return a scenario of 200 verbs."""

    def scenario(world: World) -> None:
        rng = random.Random(number)
        for _ in range(200):
            asked = rng.choice(world.asked[-6:]) if world.asked else None
            verb = rng.choice(
                ("submit", "submit", "step", "step", "step", "advance", "arm", "pause", "resume", "cancel")
            )
            if verb == "submit":
                options = {name: rng.choice(OPTIONS[name]) for name in OPTIONS if rng.random() < 0.15}
                seed, replicates = rng.randrange(SEEDS), rng.randint(1, REPLICATES)
                world.submit(seed, replicates, priority=rng.choice(PRIORITIES), **options)
            elif verb == "step":
                world.step(rng.randint(1, 4))
            elif verb == "advance":
                world.advance(rng.choice((0.5, 2.0)))
            elif verb == "arm":
                error = rng.choice((OSError("it may pass"), ValueError("it will not")))
                world.arm(rng.randrange(SEEDS), rng.randrange(REPLICATES), error)
            elif asked is not None:
                getattr(world, verb)(asked)

    scenario.__name__ = f"anything_{number}"
    return scenario


SCENARIOS = [
    overtaken_joined_and_cancelled,
    failing_shared_and_retried,
    paused_and_overdue,
    superseded_again_and_again,
    wanting_more_and_leaving,
    *[anything(number) for number in range(3)],
]


@pytest.mark.parametrize("immediate", [True, False], ids=["immediate", "threads"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_scenario_ends_as_the_model_says(scenario: Callable[[World], None], immediate: bool) -> None:
    world = World(immediate=immediate)
    scenario(world)
    if immediate:
        world.check()
    world.close(cancel=False)


def test_the_model_sees_every_state_and_every_end() -> None:
    """So that what it says is not said of nothing."""
    world = World(places=1)
    world.arm(1, 0, ValueError("it will not"))
    asked = [world.submit(0, priority="low"), world.submit(1, priority="high"), world.submit(2, delay_s=4.0)]
    states = [[a.job.state for a in asked if a is not None]]
    world.step(1)
    states.append([a.job.state for a in asked if a is not None])
    world.advance(4.0)
    world.step(1)
    states.append([a.job.state for a in asked if a is not None])
    world.close(cancel=True)
    states.append([a.job.state for a in asked if a is not None])
    assert states == [
        [JobState.SUSPENDED, JobState.RUNNING, JobState.DELAYED],
        [JobState.RUNNING, JobState.FAILED, JobState.DELAYED],
        [JobState.SUSPENDED, JobState.FAILED, JobState.RUNNING],
        [JobState.CANCELLED, JobState.FAILED, JobState.CANCELLED],
    ]
