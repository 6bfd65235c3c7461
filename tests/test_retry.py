"""Retry: which errors, after how long, and its form in the journal."""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from hypothesis import given
from hypothesis import strategies as st
from kernels import Fragile, fragile

import bgsim
from bgsim.errors import CompileError, InvalidInputError, JobTimeoutError, ParameterError, ReplicateError
from bgsim.retry import BACKOFFS, Retry


def test_the_waits_are_2_4_and_8_seconds_by_default() -> None:
    assert [Retry().wait_s(attempt) for attempt in (1, 2, 3)] == [2.0, 4.0, 8.0]
    assert [Retry(backoff="fixed", delay_s=3.0).wait_s(attempt) for attempt in (1, 2)] == [3.0, 3.0]
    assert Retry(max_delay_s=5.0).wait_s(3) == 5.0
    assert Retry().wait_s(10_000) == 300.0


@given(attempt=st.integers(1, 2000), jitter=st.floats(0, 1), delay_s=st.floats(0, 1e6))
def test_jitter_stays_within_its_part_of_the_wait(attempt: int, jitter: float, delay_s: float) -> None:
    plain = Retry(delay_s=delay_s, max_delay_s=1e6).wait_s(attempt)
    wait = Retry(delay_s=delay_s, max_delay_s=1e6, jitter=jitter).wait_s(attempt)
    assert plain * (1 - jitter) <= wait * (1 + 1e-12)
    assert wait <= plain * (1 + jitter) * (1 + 1e-12)


def caused(cause: BaseException) -> RuntimeError:
    error = RuntimeError("a replicate raised")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "covered"),
    [
        (OSError(), True),
        (ConnectionResetError(), True),
        (MemoryError(), True),
        (TimeoutError(), True),
        (caused(OSError()), True),
        (caused(caused(OSError())), True),
        (ValueError(), False),
        (caused(ValueError()), False),
        (ParameterError("bad input"), False),
        (caused(InvalidInputError("bad input")), False),
        (CompileError(), False),
        (JobTimeoutError(), False),  # a TimeoutError, but of the whole job
    ],
    ids=repr,
)
def test_what_may_pass_by_itself(error: BaseException, covered: bool) -> None:
    assert Retry().covers(error) is covered


def test_bad_input_is_never_tried_again_whatever_is_asked() -> None:
    assert Retry(retry_on=(Exception,)).covers(ValueError())
    assert not Retry(retry_on=(Exception,)).covers(InvalidInputError("bad"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("retries", -1, "retries must be an integer of 0 or more; got -1"),
        ("retries", 1.5, "got 1.5"),
        ("retries", True, "got True"),
        ("backoff", "exponental", "exponential, fixed; did you mean 'exponential'"),
        ("delay_s", -0.1, "delay_s must be a number of seconds, 0 or more; got -0.1"),
        ("delay_s", float("nan"), "got nan"),
        ("max_delay_s", float("inf"), "max_delay_s must be a number of seconds"),
        ("max_delay_s", "5", "got '5'"),
        ("jitter", 1.1, "jitter must be a number from 0 to 1; got 1.1"),
        ("jitter", None, "got None"),
        ("retry_on", (OSError, "ValueError"), "retry_on must be exception types"),
        ("retry_on", int, "retry_on must be exception types"),
    ],
)
def test_bad_input_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        Retry(**{field: value})
    assert caught.value.field == field


retries = st.builds(
    Retry,
    retries=st.integers(0, 100),
    backoff=st.sampled_from(BACKOFFS),
    delay_s=st.floats(0, 1e6),
    max_delay_s=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    retry_on=st.lists(st.sampled_from([OSError, MemoryError, KeyError, ParameterError]), unique=True).map(tuple),
)


@given(retries)
def test_it_survives_json(retry: Retry) -> None:
    assert Retry.from_json(json.loads(json.dumps(retry.to_json()))) == retry


def test_one_type_stands_for_itself() -> None:
    assert Retry(retry_on=OSError).retry_on == (OSError,)  # type: ignore[arg-type]


def test_types_that_are_not_here_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one with the name of a builtin, and what is no exception by now."""
    module = types.ModuleType("of_a_user")
    module.Passing = type("Passing", (Exception,), {"__module__": "of_a_user"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "of_a_user", module)
    written = Retry(retry_on=(module.Passing, OSError)).to_json()
    assert Retry.from_json(written).retry_on == (module.Passing, OSError)
    module.Passing = 3  # type: ignore[attr-defined]
    assert Retry.from_json(written).retry_on == (OSError,)
    assert Retry.from_json(written | {"retry_on": ["never_imported:TimeoutError"]}).retry_on == ()


def refuse_to_answer(*_: object) -> bool:
    raise RuntimeError("not to be asked")


Raising: Any = type("Raising", (type,), {"__instancecheck__": refuse_to_answer})
"""Of exception types that cannot be asked."""


class Odd(ValueError, metaclass=Raising):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_types_are_compared_as_an_except_clause_does() -> None:
    retry = Retry()
    object.__setattr__(retry, "retry_on", (Odd,))
    assert retry.covers(Odd())
    assert not retry.covers(ValueError())


def test_a_circle_of_causes_is_gone_through_once() -> None:
    first, second = RuntimeError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert not Retry().covers(first)
    assert Retry(retry_on=(KeyError,)).covers(first)


class Unable(Retry):
    def covers(self, error: BaseException) -> bool:
        raise SystemExit


class Endless(Retry):
    def wait_s(self, retry: int) -> float:
        return float("nan")


class Talkative(Retry):
    def wait_s(self, retry: int) -> Any:
        return "soon"


@pytest.mark.parametrize("kind", [Unable, Endless, Talkative])
def test_a_retry_of_a_users_own_that_fails_fails_its_job_alone(kind: type[Retry]) -> None:
    with bgsim.Engine(workers=1) as engine:
        retry = kind(retry_on=(ValueError,), delay_s=0.0)
        job = engine.submit(fragile, Fragile(2.0), replicates=1, retry=retry)
        assert isinstance(job.exception(HANDSHAKE_S), ReplicateError)
        assert engine.submit(fragile, Fragile(0.0), replicates=1).result(HANDSHAKE_S).replicates == 1


def test_an_error_without_words_is_tried_again_and_told() -> None:
    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def odd(p: Any, rng: Any) -> float:
        raise Odd

    with bgsim.Engine(workers=1) as engine:
        retry = Retry(retries=2, delay_s=0.0)
        object.__setattr__(retry, "retry_on", (Odd,))
        job = engine.submit(odd, replicates=1, retry=retry)
        assert isinstance(job.exception(HANDSHAKE_S), ReplicateError)
        assert job.attempts == 2
        assert "a text that cannot be made" in str(job.error)
        assert engine.health().failed == 1
