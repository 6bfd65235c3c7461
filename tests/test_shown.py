"""What a notebook's cell shows of an object on its last line: HTML, and a `repr` that is no wall."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import pytest

import bgsim
from bgsim.models.options import european_call
from bgsim.storage.slots import SlotPair
from bgsim.tables import Listing, Table, in_short
from bgsim.testing import SteppedEngine, run_all


@dataclass(frozen=True)
class Decay:
    """Parameters with all that a table says of them."""

    rate: float = bgsim.parameter(0.5, unit="1/s", gt=0, doc="of <b>each</b> atom")
    steps: int = 4  # of the path


@bgsim.simulation(outputs={"x": "f8", "path": ("f8", "steps")}, compile=False)
def failing(p: Decay, rng: Any) -> Any:
    """Fail, with a text that is markup."""
    logging.getLogger("user").warning("about <i>to fail")
    raise ValueError("no <b>good")


@pytest.fixture(scope="module")
def engine() -> Iterator[bgsim.Engine]:
    with bgsim.Engine(immediate=True, alert_failed=0, max_queue_size=7) as made:
        for strike in (90.0, 100.0):
            made.submit(european_call, {"strike": strike}, replicates=100, workspace="w").result()
        made.submit(failing, replicates=2).exception()
        made.schedule(european_call, replicates=10, cron="0 2 * * *", name="nightly")
        yield made


Look = Callable[[bgsim.Engine], Any]
ONE: dict[str, tuple[Look, str]] = {
    "stats": (lambda e: e.stats(), "<EngineStats: 2 completed, 1 failed;"),
    "queue": (lambda e: e.stats().queue, "<QueueStats: 0 processing, 0 waiting, room for 7 more>"),
    "health": (lambda e: e.health(), "<Health: 1 jobs failed; engine.dead_letters() says which, and why>"),
    "status": (lambda e: e.status(e.dead_letters()[0].id), "<JobStatus failing-"),
    "result": (lambda e: e.store.results()[0], "<StoredResult "),
    "explanation": (lambda e: e.store.explain(european_call, replicates=1000), "<Explanation: extend: 100 are stored"),
    "miss": (lambda e: e.store.explain(european_call, {"strike": 1.0}, replicates=9), "<Explanation: miss: the nearest"),
    "letter": (lambda e: e.dead_letters()[0], "<DeadLetter failing-"),
    "schedule": (lambda e: e.schedules().get("nightly"), "<Schedule: nightly: 0 2 * * * UTC, last run never>"),
    "schedules": (lambda e: e.schedules(), "<1 schedules\n  nightly: "),
    "config": (lambda e: e.config, "EngineConfig(max_queue_size=7, alert_failed=0, immediate=True)"),
    "check": (lambda e: e.store.check(), "<CheckReport: 2 results with 2 blocks read; all is well>"),
    "cleanup": (lambda e: e.store.cleanup(), "<CleanupReport: 0 results of 0 bytes removed>"),
    "simulation": (lambda _: failing, "<simulation "),
    "parameters": (lambda _: failing.bind(), "Decay(rate=0.5, steps=4)"),
    "slots": (lambda e: e.store.slots("w"), "  slot       result        replicates  placed\n  primary    "),
    "no slots": (lambda _: SlotPair(), "  slot       result  replicates  placed\n  primary    empty\n  secondary  empty"),
    "compare": (lambda e: e.store.compare("w"), "strike 100.0 instead of 90.0\n  output  difference  "),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_one_object_is_shown_in_a_few_lines_and_as_html(engine: bgsim.Engine, name: str) -> None:
    look, beginning = ONE[name]
    thing = look(engine)
    assert repr(thing).startswith(beginning)
    assert len(repr(thing)) <= 200
    html = thing._repr_html_()
    assert "<table style=" in html
    assert "<b>good" not in html
    assert "<b>each" not in html


LISTS: dict[str, tuple[Look, str]] = {
    "results": (lambda e: e.store.results(), "  result        simulation     replicates  strike  stored\n"),
    "letters": (lambda e: e.dead_letters(), "  dead letter "),
    "recent": (lambda e: e.recent(), "  job "),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_shown_as_a_table_and_is_a_list(engine: bgsim.Engine, name: str) -> None:
    look, heading = LISTS[name]
    found = look(engine)
    assert isinstance(found, list)
    assert repr(found).startswith(heading)
    assert found == list(found)
    assert repr(found[:1]).count("\n") == 1
    assert "<table" in found[:1]._repr_html_()
    assert (repr(found[:0]), found[:0]) == ("[]", [])


def test_what_is_known_of_a_job_is_a_line() -> None:
    with bgsim.Engine(immediate=True) as engine:
        job = engine.submit(european_call, replicates=100)
        assert repr(job.estimate("payoff")).startswith("<Estimate: ")
        assert repr(job.estimate("payoff")).endswith(", from 100 replicates>")
        found = job.histogram("payoff", bins=10)
        first, last = found.edges[[0, -1]]
        assert repr(found) == f"<Histogram: {len(found.counts)} bins from {first:g} to {last:g}, 100 replicates>"
        (now,) = engine.watch(job)
        assert repr(now).startswith("<Snapshot: bgsim.models.options.european_call: completed")
        engine.pause()
        waiting = engine.submit(european_call, {"strike": 1.0}, replicates=100)
        assert repr(waiting.histogram("payoff")) == "<Histogram: no bins, 0 replicates>"
        waiting.cancel()
        told = rf"{waiting.id} was cancelled; partial\(\) has the replicates"
        for timeout in (None, 60.0):
            with pytest.raises(CancelledError, match=told):
                waiting.result(timeout)


def test_a_single_stored_result_is_shown_with_all_its_parameters(engine: bgsim.Engine) -> None:
    found = engine.store.find(european_call, strike=90.0)
    assert repr(found).startswith("  result        simulation     replicates  maturity  rate  spot  strike  volatility")


def test_a_comparison_names_its_confidence_and_whether_it_is_paired(engine: bgsim.Engine) -> None:
    found = engine.store.compare("w", confidence=0.9)
    _, headings, row = repr(found).splitlines()
    assert [h.strip() for h in headings.split("  ") if h.strip()] == [
        "output",
        "difference",
        "90 % interval",
        "replicates",
    ]
    assert row.endswith("  paired")
    assert " to " in row
    payoff = found.outputs["payoff"]
    assert (
        repr(payoff)
        == f"<Difference: {payoff.mean:.6g}, {payoff.low:.6g} to {payoff.high:.6g}, 100 replicates, paired>"
    )
    other = bgsim.run(european_call, replicates=10, seed=5)
    assert repr(other.compare(bgsim.run(european_call, replicates=10, seed=6))).endswith("independent")


def test_what_a_job_has_logged_is_a_table() -> None:
    with bgsim.Engine(immediate=True) as engine:
        logs = engine.submit(failing, replicates=1).logs()
    assert repr(logs).startswith("  time      level    logger  message\n")
    assert repr(logs).endswith("  WARNING  user    about <i>to fail")
    assert "about &lt;i&gt;to fail" in logs._repr_html_()
    assert logs[0].getMessage() == "about <i>to fail"


def test_the_jobs_that_wait_are_a_table() -> None:
    with bgsim.Engine(immediate=True) as engine:
        engine.pause()
        job = engine.submit(european_call, replicates=1000)
        assert repr(engine.jobs()) == (
            "  job" + " " * len(job.id[3:]) + "  simulation     state    done  replicates\n"
            f"  {job.id}  european_call  queued  0.0 %       1,000"
        )
        assert engine.jobs() == [job]
        engine.resume()


def test_the_attributes_and_what_is_printed_stay(engine: bgsim.Engine) -> None:
    letter = engine.dead_letters()[0]
    assert letter.error.startswith("ReplicateError: replicate 0 of ")
    assert str(engine.status(letter.id)).startswith("test_shown.failing: failed; ReplicateError: replicate 0 of ")
    assert str(engine.stats()).startswith("jobs         2 completed, 1 failed\nwaited       median ")
    assert engine.stats().queue.by_priority["NORMAL"] == 0


def test_a_status_says_how_far_a_job_is_in_the_words_of_an_update() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(european_call, replicates=100)  # it has a place, and no worker has come
        first = next(iter(job.updates()))
        assert str(first) == "running 0.0 % (0/100)"
        assert str(job.status()) == f"bgsim.models.options.european_call: {first}"
        run_all(engine)


def test_an_update_is_a_line_in_text() -> None:
    with bgsim.Engine(immediate=True) as engine:
        updates = list(engine.submit(european_call, replicates=100).updates())
    assert repr(updates[-1]).startswith("<update european_call-")
    assert repr(updates[-1]).endswith(": completed 100.0 % (100/100)>")
    assert updates[-1].fraction == 1.0


def test_a_simulation_shows_what_it_takes_and_gives() -> None:
    html = failing._repr_html_()
    for text in (
        "rate",
        "0.5",
        "1/s",
        "0 &lt; x",
        "of &lt;b&gt;each",
        "float64 array of shape (steps,)",
        "of the path",
    ):
        assert text in html


def twice(numbers: Any) -> Table:
    """Return a table of numbers."""
    return Table(("n",), [(n,) for n in numbers])


def test_a_listing_can_be_pickled_and_copied() -> None:
    numbers = Listing([1, 2], twice)
    for other in (pickle.loads(pickle.dumps(numbers)), copy.copy(numbers), copy.deepcopy(numbers)):
        assert other == [1, 2]
        assert repr(other) == "  n\n  1\n  2"


def test_what_is_shown_in_short_is_one_line() -> None:
    assert in_short("Thing", "a\n  b\x1b") == "<Thing: a b\\x1b>"
    assert len(in_short("Thing", "word " * 100)) == 200
