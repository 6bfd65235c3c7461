"""What cards say, without a notebook: plain dicts, and the HTML that is made of them."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import kernels
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bgsim
from bgsim.testing import HANDSHAKE_S, Gate, SteppedEngine, gated, run_all
from bgsim.ui import text
from bgsim.ui.notebook.engine_state import MOST_ROWS, engine_state
from bgsim.ui.notebook.job_state import BARS, bulk, job_state
from bgsim.ui.notebook.render import card, page
from bgsim.ui.notebook.sweep_state import MOST_CELLS, BatchReader

draw = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False, name="draw")


@bgsim.simulation(outputs={"y": "f8", "path": ("f8", 2)}, compile=False)
def scaled(p: Any, rng: Any) -> Any:
    if p.scale < 0:
        raise ValueError(f"<b>scale</b> must not be {p.scale}")
    return p.scale * rng.random(), [0.0, 1.0]


class Reader(HTMLParser):
    """Takes HTML apart, and finds what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, Any]]] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag != "input":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def states_in(*states: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    for state in states:
        json.dumps(state)
        read(card(state))
    return [(state["word"], state["colour"], state["actions"]) for state in states]


# ---- a job -------------------------------------------------------------------------------------------


def test_a_job_is_queued_runs_and_completes() -> None:
    engine = SteppedEngine()
    job = engine.submit(draw, replicates=1000, seed=1)
    queued = job_state(job)
    engine.step()
    run_all(engine)
    done = job_state(job)
    assert states_in(queued, done) == [("queued", "waiting", ["pause", "cancel"]), ("completed", "done", [])]
    assert queued["outputs"] == [["x", "–"]]
    assert queued["histogram"] == {"name": "x", "heights": [], "low": "", "high": ""}
    assert done["fraction"] == 1.0
    assert done["count"] == "1,000 of 1,000"
    assert done["ended"]
    assert re.fullmatch(r"0\.\d+ ± 0\.00\d+", done["outputs"][0][1])
    assert max(done["histogram"]["heights"]) == 100
    assert float(done["histogram"]["low"]) == 0.0
    engine.close()


def test_a_job_that_is_held_says_so_and_offers_to_go_on(hold: Gate) -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=3)
        hold.wait_until_reached()
        running = job_state(job, note="by the way")
        job.pause()
        hold.open()
        paused = job_state(job, note="by the way")
        job.cancel()
        engine.drain(HANDSHAKE_S)
        cancelled = job_state(job, note="by the way")
    assert states_in(running, paused, cancelled) == [
        ("running", "running", ["pause", "cancel"]),
        ("paused", "paused", ["resume", "cancel"]),
        ("cancelled", "cancelled", []),
    ]
    assert [state["note"] for state in (running, paused, cancelled)] == ["by the way", "", ""]


def test_a_failed_job_says_why_and_acts_on_no_page() -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(scaled, {"scale": -1.0}, replicates=3)
        assert isinstance(job.exception(HANDSHAKE_S), bgsim.errors.ReplicateError)
        state = job_state(job)
    assert states_in(state) == [("failed", "failed", [])]
    assert (state["outputs"], state["histogram"]) == ([], None)
    assert "<b>scale</b>" in state["error"]
    assert "<b>scale" not in card(state)
    assert "<b>scale" not in page(state)
    assert "&lt;b&gt;scale" in page(state)


def test_what_came_from_the_store_is_said() -> None:
    with bgsim.Engine(workers=1) as engine:
        engine.submit(draw, replicates=100, seed=1).result()
        state = job_state(engine.submit(draw, replicates=100, seed=1))
    assert "100 from the store" in state["detail"]
    assert state["outputs"][0][1] != "–"


def test_a_state_is_equal_until_something_is_to_be_seen() -> None:
    engine = SteppedEngine()
    job = engine.submit(draw, replicates=10)
    assert job_state(job) == job_state(job)
    engine.close()


def test_odd_names_and_values_are_shown_as_they_are() -> None:
    odd = bgsim.simulation(lambda p, rng: 1.0, outputs={"x": "f8"}, compile=False, name="a<script>")
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(odd, {"text": '"><script>\x1b[31m' + "y" * 200, "n": 3}, replicates=1)
        job.result()
        html = page(job_state(job))
    assert "<script" not in html
    assert "\x1b" not in html
    assert "n 3" in html


def test_a_job_without_numbers_has_neither_means_nor_a_histogram() -> None:
    named = bgsim.simulation(lambda p, rng: "a", outputs={"t": "U1"}, compile=False)
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(named, replicates=2)
        job.result()
        state = job_state(job)
    assert (state["outputs"], state["histogram"]) == ([], None)
    assert states_in(state) == [("completed", "done", [])]


def test_compiling_counts_the_seconds_and_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SteppedEngine()
    job = engine.submit(draw, replicates=10)
    status = job.status()
    compiling = {**{name: getattr(status, name) for name in status.__slots__}, "phase": "compiling"}
    compiling |= {"state": bgsim.JobState.RUNNING, "elapsed_s": 3.7, "compiling_s": 3.7}
    monkeypatch.setattr(type(job), "status", lambda _: bgsim.JobStatus(**compiling))
    state = job_state(job)
    assert [state[key] for key in ("word", "detail", "left", "moving")] == [
        "compiling", "3 s", "first run; then cached", True,
    ]  # fmt: skip
    assert "moving" in card(state)
    monkeypatch.undo()
    engine.close()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=600))
def test_a_histogram_keeps_the_bulk_in_few_bars(counts: list[int]) -> None:
    bars, edges = bulk(np.array(counts), np.arange(len(counts) + 1.0))
    assert len(bars) <= BARS
    if sum(counts):
        assert len(edges) == len(bars) + 1
        assert sum(bars) >= 0.99 * sum(counts)
        assert edges == sorted(edges)
    else:
        assert bars == edges == []


# ---- a sweep -----------------------------------------------------------------------------------------


def test_a_sweep_is_a_map_that_fills_in_with_the_points_that_failed() -> None:
    engine = SteppedEngine()
    sweep = engine.sweep(scaled, {"scale": [-1.0, 1.0, 2.0], "other": ["a<", "b"]}, replicates=50)
    reader = BatchReader(sweep)
    before = reader.state(sweep, 0.0)
    run_all(engine)
    after = reader.state(sweep, 1.0)
    states_in(before, after)
    assert {kind for kind, _, _ in before["map"]["cells"]} == {"running", "not-yet"}
    assert [kind for kind, _, _ in after["map"]["cells"]] == ["failed"] * 2 + ["done"] * 4
    levels = [level for _, level, _ in after["map"]["cells"]]
    assert levels[:2] == [-1, -1]
    assert levels[2] == 0
    assert max(levels) == 15
    assert "scale -1, other a<: " in after["map"]["cells"][0][2]
    assert "must not be -1.0" in after["map"]["cells"][0][2]
    assert re.search(r"scale 2, other b: 1?0?\.?\d+ ± ", after["map"]["cells"][5][2])
    assert after["map"]["columns"] == 2
    assert [axis["name"] for axis in after["map"]["axes"]] == ["scale", "other"]
    assert (after["word"], after["detail"], after["count"]) == ("failed", "2 failed", "6 of 6 points")
    assert after["ended"]
    assert "<b>" not in card(after).replace('<b class="name">', "")
    engine.close()


def test_a_cancelled_sweep_ends_with_the_points_that_never_came() -> None:
    engine = SteppedEngine(max_queue_size=1)
    batch = engine.submit_many(draw, [{"a": i} for i in range(5)], replicates=1)
    batch.cancel()
    run_all(engine)
    state = BatchReader(batch).state(batch, 0.0)
    assert state["word"] == "cancelled"
    assert state["ended"]
    assert {kind for kind, _, _ in state["map"]["cells"]} == {"cancelled"}
    engine.close(cancel=True)


def test_many_points_share_marks() -> None:
    engine = SteppedEngine(max_queue_size=5000)
    batch = engine.submit_many(draw, [{"a": i} for i in range(2 * MOST_CELLS + 1)], replicates=1)
    run_all(engine)
    state = BatchReader(batch).state(batch, 0.0)
    assert len(state["map"]["cells"]) <= MOST_CELLS
    assert state["map"]["cells"][0][:1] == ["done"]
    assert state["map"]["cells"][0][2].startswith("3 of 3 done, from job 0 on")
    engine.close()


def test_a_line_is_a_strip_and_three_axes_are_one_too() -> None:
    engine = SteppedEngine()
    line = engine.sweep(draw, {"a": [1, 2, 3]}, replicates=1)
    cube = engine.sweep(draw, {"a": [1, 2], "b": [1, 2], "c": [1, 2], "d": [1]}, replicates=1)
    run_all(engine)
    assert BatchReader(line).state(line, 0.0)["map"]["columns"] == 3
    state = BatchReader(cube).state(cube, 0.0)
    assert state["map"]["columns"] == 8
    assert state["about"] == "a (2) × b (2) × c (2) · 1 replicates each"
    states_in(state)
    engine.close()


# ---- an engine ---------------------------------------------------------------------------------------


def test_an_engine_lists_its_jobs_the_newest_first_and_those_that_run_in_any_case(hold: Gate) -> None:
    with bgsim.Engine(workers=1, max_concurrent_simulations=1) as engine:
        assert engine_state(engine)["word"] == "idle"
        running = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        for seed in range(MOST_ROWS + 3):
            last = engine.submit(draw, replicates=1, seed=seed)
        state = engine_state(engine)
        hold.open()
        last.result(HANDSHAKE_S)
        running.result(HANDSHAKE_S)
        after = engine_state(engine)
    states_in(state, after)
    assert len(state["rows"]) == MOST_ROWS
    assert state["rows"][0]["id"] == last.id
    assert state["rows"][-1]["id"] == running.id
    assert state["detail"] == f"1 running, {MOST_ROWS + 3} waiting"
    assert state["more"] == 4
    assert [row["word"] for row in after["rows"]] == ["completed"] * MOST_ROWS
    assert "#" in after["rows"][0]["number"]


def test_recent_jobs_are_the_newest_and_those_that_have_ended_among_them() -> None:
    with bgsim.Engine(workers=1) as engine:
        jobs = [engine.submit(draw, replicates=1, seed=seed) for seed in range(5)]
        engine.drain()
        assert [status.id for status in engine.recent(3)] == [job.id for job in reversed(jobs[2:])]
        assert [status.state for status in engine.recent()] == [bgsim.JobState.COMPLETED] * 5
        assert not engine.closed
        with pytest.raises(bgsim.errors.InvalidInputError, match="most"):
            engine.recent(0)
    assert engine.closed


# ---- text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "shown"), [(None, ""), (0.0, ""), (3.21, "3.21/s"), (1350.0, "1.35 k/s"), (2.5e6, "2.5 M/s"), (3e16, "30,000 T/s")]
)  # fmt: skip
def test_a_rate_has_three_digits(speed: float | None, shown: str) -> None:
    assert text.rate(speed) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, ""), (math.inf, ""), (0.2, "under 1 s left"), (3.9, "3 s left"), (75.2, "1 min 15 s left")]
)  # fmt: skip
def test_the_time_left_does_not_flicker(seconds: float | None, shown: str) -> None:
    assert text.left(seconds) == shown


def test_a_setting_is_short() -> None:
    assert text.setting({"a": 1, "b": 0.25, "c": True, "d": "x" * 99, "e": (1, 2)}).startswith(
        "a 1 · b 0.25 · c yes · d x"
    )
    assert len(text.setting({f"p{i}": "y" * 99 for i in range(99)})) < 300


def test_a_compiled_walk_has_all_its_numbers() -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(kernels.walk, replicates=100)
        job.result()
        state = job_state(job)
    assert [name for name, _ in state["outputs"]] == ["end", "ups", "high"]
