"""Submissions: defaults of the simulation, bad input by name, and the form in the journal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import Walk, walk

import bgsim
from bgsim.errors import InvalidInputError, ParameterError
from bgsim.priority import Priority
from bgsim.request import CACHE_MODES, Request, read_request
from bgsim.retry import Retry


@bgsim.simulation(
    outputs={"x": "f8"}, compile=False, priority="high", timeout_s=3.0, group="disk", retry=Retry(retries=1)
)
def declared(p: Walk, rng: Any) -> float:
    return 0.0


def make(simulation: Any = walk, parameters: Any = None, **options: Any) -> Request:
    return Request(simulation, simulation.bind(parameters), **{"replicates": 3, **options})


def test_what_the_simulation_declares_counts_where_nothing_is_said() -> None:
    silent = make(declared)
    assert (silent.urgency, silent.timeout_s, silent.group) == (Priority.HIGH, 3.0, "disk")
    assert silent.retry == Retry(retries=1)
    said = make(declared, priority="low", timeout_s=1.0, group="web", retry=Retry(retries=0))
    assert (said.urgency, said.timeout_s, said.group) == (Priority.LOW, 1.0, "web")
    assert said.retry == Retry(retries=0)


def test_a_low_job_takes_no_slot_unless_it_names_a_workspace() -> None:
    assert make().workspace == "kernels.walk"
    assert make(priority="low").workspace is None
    assert make(priority="low", workspace="mine").workspace == "mine"


AT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("replicates", 0, "replicates must be an integer of 1 or more; got 0"),
        ("replicates", 2**63, "replicates must be an integer"),
        ("replicates", True, "got True"),
        ("seed", -1, "seed must be an integer"),
        ("priority", "urgent", "critical, high, normal, low"),
        ("cache", "ues", "use, refresh, off, only; did you mean 'use'"),
        ("delay_s", -1, "delay_s must be a number of seconds, 0 or more; got -1"),
        ("delay_s", None, "delay_s must be a number of seconds, 0 or more; got None"),
        ("delay_s", float("inf"), "delay_s must be"),
        ("debounce_s", -1, "debounce_s must be a number of seconds, 0 or more"),
        ("max_wait_s", "1", "max_wait_s must be"),
        ("debounce_s", 1.0, "debounce_s needs supersede; got debounce_s=1.0 alone"),
        ("max_wait_s", 1.0, "max_wait_s needs debounce_s; got max_wait_s=1.0 alone"),
        ("timeout_s", 0, "timeout_s must be more than 0 seconds; got 0"),
        ("queue_timeout_s", float("nan"), "queue_timeout_s must be more than 0"),
        ("deadline_s", True, "deadline_s must be more than 0 seconds; got True"),
        ("at", datetime(2030, 1, 1), "at must be a datetime with a time zone"),
        ("at", "2030-01-01", "at must be a datetime with a time zone"),
        ("allow_deduplication", [], r"allow_deduplication must be True or False; got \[\]"),
        ("allow_deduplication", 1, "allow_deduplication must be True or False; got 1"),
        ("retry", 3, r"retry must be a bgsim\.Retry"),
        ("group", 3, "group must be a text; got 3"),
        ("workspace", b"x", "workspace must be a text"),
        ("supersede", ("a",), "supersede must be a text"),
    ],
)
def test_bad_input_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        make(**{field: value})
    assert caught.value.field == field


def test_a_delay_and_a_time_are_one_too_many() -> None:
    with pytest.raises(InvalidInputError, match="either at or delay_s") as caught:
        make(at=AT, delay_s=1.0)
    assert caught.value.field == "delay_s"


def test_numbers_of_numpy_are_taken() -> None:
    given = {"replicates": np.int64(7), "seed": np.uint32(3), "delay_s": np.float64(2.0)}
    found = make(**given, allow_deduplication=np.bool_(False))
    assert (found.replicates, found.seed, found.delay_s, found.allow_deduplication) == (7, 3, 2.0, False)
    assert json.loads(found.options_json())["allow_deduplication"] is False
    assert type(found.replicates) is int


def test_the_shorter_of_two_limits_counts_in_the_queue() -> None:
    assert make(queue_timeout_s=3.0, deadline_s=2.0).latest_start_s == 2.0
    assert make(queue_timeout_s=1.0, deadline_s=2.0).latest_start_s == 1.0
    assert make(deadline_s=2.0).latest_start_s == 2.0
    assert make().latest_start_s == float("inf")


def test_a_time_is_waited_for_by_the_wall_clock() -> None:
    """The queue holds it for ever; the timers release it."""
    assert make(at=AT).start_delay_s(AT.timestamp() - 1) == float("inf")
    assert make(at=AT).start_delay_s(AT.timestamp()) == 0.0


def test_duplicates_are_told_by_result_and_cache_mode() -> None:
    keys = {make(**o).queue_key for o in ({}, {"replicates": 9}, {"cache": "off"}, {"seed": 1})}
    assert len(keys) == 3
    assert make(allow_deduplication=False).queue_key is None


# ---- the journal -----------------------------------------------------------------------------------------

words = st.none() | st.text(max_size=8)
limits = st.none() | st.floats(0.001, 1e6)
waits = st.none() | st.floats(0, 1e6)


def make_with(burst: tuple[Any, ...], **options: Any) -> Request:
    """Return a request with the options of a burst, each of which needs the one before it."""
    return make(**options, **dict(zip(("supersede", "debounce_s", "max_wait_s"), burst, strict=False)))


submissions = st.builds(
    make_with,
    burst=st.tuples(words) | st.tuples(st.text(max_size=8), waits) | st.tuples(st.text(), st.floats(0, 1e6), waits),
    parameters=st.builds(Walk, steps=st.integers(1, 9), scale=st.floats(-1e9, 1e9), label=st.text(max_size=8)),
    replicates=st.integers(1, 10**9),
    seed=st.integers(0, 2**200),
    priority=st.sampled_from(Priority),
    allow_deduplication=st.booleans(),
    cache=st.sampled_from(CACHE_MODES),
    workspace=words,
    group=words,
    timeout_s=limits,
    queue_timeout_s=limits,
    deadline_s=limits,
    retry=st.none() | st.builds(Retry, retries=st.integers(0, 9), jitter=st.floats(0, 1)),
    at=st.none()
    | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=2)))),
)


def fields_of(submission: Request) -> dict[str, Any]:
    names = [name for name in Request.__dataclass_fields__ if name not in ("parameters", "key", "priority")]
    return {name: getattr(submission, name) for name in names} | {"key": submission.key.identity}


def read_back(submission: Request, options: str, changes: Any = None) -> Request:
    parameters = submission.parameters.to_json()
    return read_request(
        submission.simulation, parameters, str(submission.seed), submission.replicates, options, changes
    )


@given(submissions)
def test_it_survives_the_journal(submission: Request) -> None:
    """But for the class that the options were given as: the same result is asked for, in the same way."""
    again = read_back(submission, submission.options_json())
    assert fields_of(again) == fields_of(submission)


@given(delay_s=st.floats(0.001, 1e300), now=st.floats(0, 4e9))
def test_a_delay_becomes_a_time(delay_s: float, now: float) -> None:
    """However long: nothing that can be submitted cannot be written down."""
    options = json.loads(make(delay_s=delay_s).options_json(now=now))
    assert "delay_s" not in options
    at = datetime.fromisoformat(options["at"]).timestamp()
    assert at == pytest.approx(min(now + delay_s, datetime(9999, 1, 1, tzinfo=UTC).timestamp()), abs=1e-3)


def test_changes_replace_what_was_asked() -> None:
    found = read_back(make(), make(priority="low").options_json(), {"replicates": 9, "parameters": {"steps": 2}})
    assert (found.replicates, found.parameters["steps"], found.urgency) == (9, 2, Priority.LOW)


def test_a_change_of_what_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInputError, match="no 'replicate' to be changed; did you mean 'replicates'") as caught:
        read_back(make(), "{}", {"replicate": 3})
    assert caught.value.field == "replicate"
    with pytest.raises(ParameterError, match="did you mean 'steps'"):
        read_back(make(), "{}", {"parameters": {"stesp": 3}})
