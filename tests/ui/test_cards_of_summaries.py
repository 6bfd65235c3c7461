"""What cards, bars and results say of jobs that keep a summary, or go on until a precision."""

from __future__ import annotations

import json
from typing import Any

import pytest
from summarised import plain

import bgsim
from bgsim.analysis.summary import mean_with_error
from bgsim.testing import SteppedEngine, run_all
from bgsim.ui.job_line import job_line
from bgsim.ui.notebook.job_state import job_state
from bgsim.ui.notebook.render import card
from bgsim.ui.notebook.sweep_state import BatchReader

WANTED = bgsim.Precision("value", standard_error=0.03, minimum=64, maximum=20_000)


@pytest.mark.parametrize("keep", ["columns", "summary"])
def test_a_card_shows_estimate_and_histogram_of_a_summary_while_it_runs(keep: Any) -> None:
    with SteppedEngine() as engine:
        job = engine.submit(plain, replicates=3000, keep=keep, seed=1)
        steps = 0
        while job.partial().replicates < 64 and steps < 1000:
            engine.step()
            steps += 1
        found = job_state(job)
        assert (found["word"], found["outputs"][0][0], found["histogram"]["name"]) == ("running", "value", "value")
        assert "±" in found["outputs"][0][1]
        assert max(found["histogram"]["heights"]) == 100
        run_all(engine)
        ended = job_state(job)
        value = job.result().summary()["value"]
        expected = mean_with_error(value.mean, value.standard_error)
        assert ended["outputs"][0] == ["value", expected]
        assert json.loads(json.dumps(ended)) == ended
        assert expected in card(ended)


def test_a_card_says_towards_what_a_job_runs_and_whether_it_came_there() -> None:
    with SteppedEngine() as engine:
        job = engine.submit(plain, replicates=WANTED, keep="summary")
        while not job.partial().replicates:
            engine.step()
        line = job_line(job)
        assert (line["word"], line["detail"]) == ("running", "until standard error of value 0.03")
        assert line["count"].endswith(f"of {job.status().total_replicates:,}")
        run_all(engine)
        line = job_line(job)
        assert line["detail"].endswith(", precision reached")
        assert line["count"] == f"{job.replicates:,} of {job.replicates:,}"
        assert "precision reached" in repr(job.result()).splitlines()[0]
        assert "precision reached" in job.result()._repr_html_()
        few = engine.submit(plain, replicates=bgsim.Precision("value", relative=0.0001, minimum=8, maximum=9))
        run_all(engine)
        assert job_line(few)["detail"].endswith(", precision not reached")
        assert "precision not reached" in repr(few.result()).splitlines()[0]


def test_the_card_of_a_sweep_says_until_when_each_point_goes_on() -> None:
    rule = bgsim.Precision(["value", "hit"], relative=0.5, minimum=64, maximum=128)
    with SteppedEngine() as engine:
        swept = engine.sweep(plain, {"mean": [1.0, 2.0]}, replicates=rule, keep="summary")
        reader = BatchReader(swept)
        assert reader.state(swept, 0.0)["about"].endswith("each until error of value and hit 50 %")
        run_all(engine)
        found = reader.state(swept, 1.0)
        assert (found["count"], found["fraction"], found["word"]) == ("2 of 2 points", 1.0, "completed")
        assert [kind for kind, _, _ in found["map"]["cells"]] == ["done", "done"]
        fixed = engine.sweep(plain, {"mean": [1.0, 2.0]}, replicates=50)
        assert BatchReader(fixed).state(fixed, 0.0)["about"].endswith("50 replicates each")
