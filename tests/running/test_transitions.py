"""The states of a job: each step of the table is walked through the public verbs, all others are refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from engine_model import RETRY_S, Asked, World
from paths import ROOT

from bgsim.job import TRANSITIONS, Job, JobState
from bgsim.retry import Retry

QUEUED, DELAYED, RUNNING, SUSPENDED = JobState.QUEUED, JobState.DELAYED, JobState.RUNNING, JobState.SUSPENDED
CANCELLING, COMPLETED, FAILED, CANCELLED = (
    JobState.CANCELLING, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED
)  # fmt: skip

Step = tuple[JobState, JobState]
Scenario = Callable[[World], Job]

SCENARIOS: dict[Step, Scenario] = {}


def walks(before: JobState, after: JobState) -> Callable[[Scenario], Scenario]:
    """Note a scenario in which the job that it returns goes from one state to another."""

    def note(scenario: Scenario) -> Scenario:
        SCENARIOS[before, after] = scenario
        return scenario

    return note


def submit(world: World, seed: int = 0, replicates: int = 3, **options: object) -> Asked:
    asked = world.submit(seed, replicates, **options)
    assert asked is not None
    return asked


def running(world: World, **options: object) -> Asked:
    asked = submit(world, **options)
    world.step()
    return asked


def behind_another(world: World, **options: object) -> Asked:
    """Return a job that is queued, as the one place is taken."""
    submit(world, seed=1)
    return submit(world, **options)


def waiting_to_be_retried(world: World, **options: object) -> Asked:
    world.arm(0, 1, OSError("it may pass"))
    asked = submit(world, retry=Retry(retries=1, backoff="fixed", delay_s=RETRY_S), **options)
    world.step(2)
    return asked


@walks(QUEUED, DELAYED)
def is_submitted_with_a_delay(world: World) -> Job:
    return submit(world, delay_s=1.0).job


@walks(QUEUED, RUNNING)
def finds_a_place(world: World) -> Job:
    return submit(world).job


@walks(QUEUED, SUSPENDED)
def is_paused_before_it_starts(world: World) -> Job:
    asked = behind_another(world)
    world.pause(asked)
    return asked.job


@walks(QUEUED, CANCELLING)
def joins_a_suspended_run_and_is_its_last(world: World) -> Job:
    first = running(world, priority="low")
    submit(world, seed=1)
    asked = submit(world, priority="low")
    for each in (first, asked):
        world.cancel(each)
    return asked.job


@walks(QUEUED, CANCELLED)
def is_cancelled_in_the_queue(world: World) -> Job:
    asked = behind_another(world)
    world.cancel(asked)
    return asked.job


@walks(DELAYED, QUEUED)
def is_due_when_no_place_is_free(world: World) -> Job:
    asked = behind_another(world, delay_s=1.0)
    world.advance(1.0)
    world.step()
    return asked.job


@walks(DELAYED, RUNNING)
def is_due(world: World) -> Job:
    asked = submit(world, delay_s=1.0)
    world.advance(1.0)
    world.step()
    return asked.job


@walks(DELAYED, SUSPENDED)
def is_paused_before_it_is_due(world: World) -> Job:
    asked = submit(world, delay_s=1.0)
    world.pause(asked)
    return asked.job


@walks(DELAYED, CANCELLING)
def is_cancelled_between_two_attempts(world: World) -> Job:
    asked = waiting_to_be_retried(world)
    world.cancel(asked)
    return asked.job


@walks(DELAYED, COMPLETED)
def has_enough_when_another_leaves_between_two_attempts(world: World) -> Job:
    asked = submit(world, replicates=1)
    more = waiting_to_be_retried(world)
    world.cancel(more)
    world.step()
    return asked.job


@walks(DELAYED, CANCELLED)
def is_cancelled_before_it_is_due(world: World) -> Job:
    asked = submit(world, delay_s=1.0)
    world.cancel(asked)
    return asked.job


@walks(RUNNING, DELAYED)
def fails_with_what_may_pass(world: World) -> Job:
    return waiting_to_be_retried(world).job


@walks(RUNNING, SUSPENDED)
def is_overtaken(world: World) -> Job:
    asked = running(world)
    submit(world, seed=1, priority="high")
    return asked.job


@walks(RUNNING, CANCELLING)
def is_cancelled_as_it_runs(world: World) -> Job:
    asked = running(world)
    world.cancel(asked)
    return asked.job


@walks(RUNNING, COMPLETED)
def is_done(world: World) -> Job:
    asked = running(world)
    world.step(3)
    return asked.job


@walks(RUNNING, CANCELLED)
def leaves_a_run_to_others(world: World) -> Job:
    asked = running(world)
    submit(world)
    world.cancel(asked)
    return asked.job


@walks(SUSPENDED, QUEUED)
def is_resumed_when_no_place_is_free(world: World) -> Job:
    asked = behind_another(world)
    world.pause(asked)
    world.resume(asked)
    return asked.job


@walks(SUSPENDED, DELAYED)
def is_resumed_before_it_is_due(world: World) -> Job:
    asked = submit(world, delay_s=1.0)
    world.pause(asked)
    world.resume(asked)
    return asked.job


@walks(SUSPENDED, RUNNING)
def is_resumed(world: World) -> Job:
    asked = running(world)
    world.pause_engine()
    world.engine.resume()
    return asked.job


@walks(SUSPENDED, CANCELLING)
def is_cancelled_while_it_is_suspended(world: World) -> Job:
    asked = running(world)
    world.pause(asked)
    world.cancel(asked)
    return asked.job


@walks(SUSPENDED, COMPLETED)
def has_enough_when_another_leaves_while_it_is_paused(world: World) -> Job:
    asked, more = submit(world, replicates=1), submit(world, replicates=3)
    world.step()
    for each in (asked, more):
        world.pause(each)
    world.cancel(more)
    world.step()
    return asked.job


@walks(SUSPENDED, CANCELLED)
def is_cancelled_when_it_was_paused_before_it_started(world: World) -> Job:
    asked = behind_another(world)
    world.pause(asked)
    world.cancel(asked)
    return asked.job


@walks(CANCELLING, FAILED)
def runs_for_too_long(world: World) -> Job:
    asked = running(world, timeout_s=2.0)
    world.advance(2.0)
    world.step()
    return asked.job


@walks(CANCELLING, CANCELLED)
def lets_go(world: World) -> Job:
    asked = running(world)
    world.cancel(asked)
    world.step()
    return asked.job


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Step]]]:
    """The steps that jobs take, by id."""
    taken: list[tuple[str, Step]] = []
    move = Job.move

    def noted(self: Job, state: JobState) -> None:
        before = self.moved_to
        move(self, state)
        taken.append((self.id, (before, state)))

    monkeypatch.setattr(Job, "move", noted)
    yield taken


@pytest.mark.parametrize(
    "step",
    [(before, after) for before in JobState for after in sorted(TRANSITIONS[before], key=list(JobState).index)],
    ids=lambda step: f"{step[0].name}-{step[1].name}",
)
def test_each_step_of_the_table_is_taken(step: Step, steps: list[tuple[str, Step]]) -> None:
    world = World(places=1)
    job = SCENARIOS[step](world)
    if step == (DELAYED, QUEUED):  # nobody moves it: its time has come
        assert job.moved_to is DELAYED
        assert job.state is QUEUED
    else:
        assert (job.id, step) in steps
    world.check()
    world.close(cancel=True)
    assert {taken for _, taken in steps if taken[0] is not taken[1]} <= set(SCENARIOS)


def test_no_scenario_is_for_a_step_that_is_not_in_the_table() -> None:
    assert set(SCENARIOS) == {(before, after) for before in JobState for after in TRANSITIONS[before]}


@pytest.mark.parametrize("before", JobState)
def test_every_other_step_is_refused(before: JobState) -> None:
    """A RuntimeError, and the job stays where it is."""
    world = World()
    job = submit(world).job
    world.close(cancel=True)
    for after in JobState:
        job.moved_to = before
        if after is before or after in TRANSITIONS[before]:
            job.move(after)
            assert job.state is after
        else:
            with pytest.raises(RuntimeError, match="cannot go from"):
                job.move(after)
            assert job.state is before
    job.moved_to = CANCELLED


def test_the_table_in_the_documentation_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    section = text.partition("## States of a job")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    written = {JobState[name]: frozenset(JobState[word] for word in re.findall(r"`(\w+)`", to)) for name, to in rows}
    assert written == TRANSITIONS
