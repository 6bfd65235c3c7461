"""Several jobs as one progress, and the bars that show one job or several."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import tqdm
from conftest import HANDSHAKE_S
from rich.console import Console

import bgsim
import bgsim.bus.bars
import bgsim.ui.terminal
from bgsim.bus.batch_progress import BatchProgress
from bgsim.errors import InvalidInputError, MissingExtraError
from bgsim.progress import BatchUpdate, ProgressBus, UpdateType, batch_of, notebook_bar, tqdm_bar
from bgsim.ui.terminal import show_progress

STARTED, PROGRESS, COMPLETED, FAILED, CANCELLED = UpdateType

draw = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False)


@pytest.fixture
def bus() -> Any:
    with ProgressBus(threads=False) as found:
        yield found


def publish(bus: ProgressBus, job: str, kind: UpdateType, done: int = 0, total: int = 100, **metadata: Any) -> None:
    bus.publish(job, kind, fraction=done / total, replicates_completed=done, total_replicates=total, metadata=metadata)


# ---- batches -----------------------------------------------------------------------------------------


def test_a_batch_is_weighted_by_replicates_and_tells_pending_from_running(bus: ProgressBus, clock: Any) -> None:
    batch = BatchProgress(bus, {"small": 100, "large": 900, "failing": 200, "never": 300}, clock=clock)
    assert batch.current.pending == 4
    assert not batch.current.is_final
    publish(bus, "small", STARTED)
    publish(bus, "large", STARTED, total=900)
    publish(bus, "small", COMPLETED, 100)
    publish(bus, "large", PROGRESS, 450, 900)
    state = next(batch)
    assert state[:8] == (550 / 1500, 550, 1500, 2, 1, 1, 0, 0)
    assert str(state) == "1 of 4 jobs, 36.7 % (550/1,500), 1 running, 2 pending"
    assert [update.simulation_id for update in batch.running] == ["large"]
    publish(bus, "failing", STARTED, total=200)
    publish(bus, "failing", FAILED, 50, 200)
    publish(bus, "never", CANCELLED, 0, 300)
    publish(bus, "large", COMPLETED, 900, 900)
    *_, last = batch
    assert last[:8] == (1050 / 1500, 1050, 1500, 0, 0, 2, 1, 1)
    assert last.is_final
    assert str(last) == "4 of 4 jobs, 70.0 % (1,050/1,500), 1 failed, 1 cancelled"
    assert last == batch.current
    assert last.to_dict()["failed"] == 1
    assert "<progress" in last._repr_html_()
    assert repr(batch).startswith("<batch: 4 of 4 jobs")


def test_its_time_left_counts_work_and_neither_stored_nor_lost_replicates(bus: ProgressBus, clock: Any) -> None:
    """10 replicates a second; 900 come from the store, and 40 never come, as their job fails."""
    batch = BatchProgress(bus, {"a": 1000, "b": 50, "c": 200}, clock=clock)
    publish(bus, "a", STARTED, total=1000)
    assert next(batch).estimated_time_remaining_ms is None
    publish(bus, "a", PROGRESS, 900, 1000, from_store=900)
    assert next(batch).estimated_time_remaining_ms is None
    for done in (910, 920, 930):
        clock.advance(1.0)
        publish(bus, "a", PROGRESS, done, 1000, from_store=900)
        state = next(batch)
    assert state.rate == pytest.approx(10.0)
    assert state.estimated_time_remaining_ms == pytest.approx(1000 * (70 + 50 + 200) / 10)
    assert "left" in str(state)
    publish(bus, "b", STARTED, total=50)
    publish(bus, "b", FAILED, 10, 50)
    clock.advance(1.0)
    assert next(batch).estimated_time_remaining_ms == pytest.approx(1000 * (70 + 200) / 10)


def test_a_late_batch_begins_with_the_current_states(bus: ProgressBus) -> None:
    publish(bus, "a", STARTED)
    publish(bus, "a", COMPLETED, 100)
    publish(bus, "b", STARTED)
    publish(bus, "b", PROGRESS, 50)
    with bus.batch({"a": 100, "b": 100, "c": 100}) as batch:
        assert next(batch)[:6] == (0.5, 150, 300, 1, 1, 1)
    assert bus.stats().subscriptions == 0


def test_jobs_may_be_named_later(bus: ProgressBus) -> None:
    """For batches that are submitted as the queue has room: a job to come is pending, and keeps the batch open."""
    batch = bus.batch({"a": 100}, later=[100, 300, 500])
    assert batch.current[:4] == (0.0, 0, 1000, 4)
    publish(bus, "a", COMPLETED, 100)
    assert next(batch)[:6] == (0.1, 100, 1000, 3, 0, 1)
    publish(bus, "b", STARTED, total=300)
    batch.add("b", 300)
    assert next(batch)[:6] == (0.1, 100, 1000, 2, 1, 1)
    publish(bus, "b", COMPLETED, 300, 300)
    batch.add("c", 100)
    with pytest.raises(InvalidInputError, match=r"one of \[500\]; got 100 for 'd'"):
        batch.add("d", 100)
    batch.add_no_more()
    publish(bus, "c", COMPLETED, 100)
    *_, last = batch
    assert last[:8] == (0.5, 500, 1000, 0, 0, 3, 0, 1)
    assert bus.stats().subscriptions == bus.stats().waiting == 0


def test_a_batch_ends_when_no_more_are_added(bus: ProgressBus) -> None:
    batch = bus.batch({}, later=[10])
    assert batch.current.pending == 1
    batch.add_no_more()
    assert list(batch) == []
    assert batch.current.cancelled == 1
    assert bus.stats().subscriptions == 0
    batch.unsubscribe()


def test_a_batch_of_nothing_has_ended(bus: ProgressBus) -> None:
    batch = bus.batch({})
    assert list(batch) == []
    assert batch.current.is_final
    assert batch.current.fraction == 1.0


def test_a_batch_calls_back_and_can_be_awaited() -> None:
    async def main() -> tuple[BatchUpdate, BatchUpdate]:
        called: asyncio.Queue[BatchUpdate] = asyncio.Queue()
        with ProgressBus() as bus:
            bus.batch({"a": 100}, called.put_nowait, loop=asyncio.get_running_loop())
            publish(bus, "a", COMPLETED, 100)
            states = [state async for state in bus.batch({"a": 100})]
            return await asyncio.wait_for(called.get(), HANDSHAKE_S), states[-1]

    by_call, by_iteration = asyncio.run(main())
    assert by_call.is_final
    assert by_call[:8] == by_iteration[:8] == (1.0, 100, 100, 0, 0, 1, 0, 0)


def test_a_batch_of_an_engines_jobs() -> None:
    """Also of jobs that the bus has forgotten."""
    with bgsim.Engine(workers=1) as engine:
        jobs = [engine.submit(draw, replicates=10 * (seed + 1), seed=seed) for seed in range(4)]
        *_, last = batch_of(jobs)
        assert last[:8] == (1.0, 100, 100, 0, 0, 4, 0, 0)
        jobs[0].result(HANDSHAKE_S)
        with jobs[0].updates() as updates:
            updates.bus.forget(jobs[0].id)
        jobs.append(engine.submit(draw, replicates=10, seed=9))
        *_, last = batch_of(jobs)
        assert last[:8] == (1.0, 110, 110, 0, 0, 5, 0, 0)


def test_a_batch_of_forgotten_jobs_leaves_no_subscription() -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(draw, replicates=10)
        job.result(HANDSHAKE_S)
        with job.updates() as updates:
            updates.bus.forget(job.id)
        batch = updates.bus.batch([job], lambda _: None)
        assert batch.current.is_final
        assert updates.bus.stats().subscriptions == 0


def test_a_batch_over_two_engines_or_none_is_refused() -> None:
    with bgsim.Engine(workers=1) as one, bgsim.Engine(workers=1) as other:
        jobs = [engine.submit(draw, replicates=1) for engine in (one, other)]
        for wrong in (jobs, []):
            with pytest.raises(InvalidInputError, match="jobs must be one or more of one engine"):
                batch_of(wrong)


# ---- bars --------------------------------------------------------------------------------------------


def test_a_tqdm_bar_ends_full_and_leaves_no_thread() -> None:
    before = threading.active_count()
    out = io.StringIO()
    with bgsim.Engine(workers=1) as engine:
        result = tqdm_bar(engine.submit(draw, replicates=1234), file=out, desc="draw").result(HANDSHAKE_S)
    assert result.replicates == 1234
    assert "draw: 100%" in out.getvalue()
    assert "1234/1234" in out.getvalue()
    assert threading.active_count() == before


def test_a_tqdm_bar_of_several_jobs_is_one() -> None:
    out = io.StringIO()
    with bgsim.Engine(workers=1) as engine:
        jobs = [engine.submit(draw, replicates=100, seed=seed) for seed in range(3)]
        assert tqdm_bar(jobs, file=out) is jobs
    assert "3 jobs: 100%" in out.getvalue()
    assert "300/300" in out.getvalue()


def test_in_a_log_a_tqdm_bar_writes_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty updates in a moment, and a file that is no terminal: the first and the last are written."""
    out = io.StringIO()
    with ProgressBus() as bus:
        updates = bus.subscribe(job="a", maxlen=1000)
        publish(bus, "a", STARTED)
        for done in range(1, 50):
            bus.subscribe()
            publish(bus, "a", PROGRESS, done)
        publish(bus, "a", COMPLETED, 100)
        monkeypatch.setattr(bgsim.bus.bars, "_watch", lambda _: ([FakeJob()], updates))
        tqdm_bar(FakeJob(), file=out)
    assert len(re.split(r"[\r\n]+", out.getvalue().strip())) <= 3
    assert "100/100" in out.getvalue()


class FakeJob:
    """As much of a job as a bar needs."""

    simulation = draw
    replicates = 100


@pytest.mark.parametrize(("bar", "module", "remedy"), [
    (tqdm_bar, "tqdm.auto", "pip install tqdm"),
    (notebook_bar, "IPython.display", "use tqdm_bar"),
])  # fmt: skip
def test_a_bar_names_what_it_misses(bar: Any, module: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(draw, replicates=1)
        with pytest.raises(MissingExtraError, match=remedy):
            bar(job)


def test_tqdm_rich_and_ipython_are_imported_late() -> None:
    code = "import sys, bgsim.progress\nprint([m for m in ('tqdm', 'rich', 'IPython', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"


def test_a_notebook_shows_one_display_that_is_updated(tmp_path: Any) -> None:
    """In IPython itself: HTML in one output, by the thread that asked for it."""
    code = """
import threading
import bgsim
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
threads = set()
class Publisher(CapturingDisplayPublisher):
    def publish(self, *args, **kwargs):
        threads.add(threading.current_thread().name)
        super().publish(*args, **kwargs)
shell.display_pub = Publisher()
draw = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False)
with bgsim.Engine(workers=1) as engine:
    jobs = [engine.submit(draw, replicates=10, seed=seed) for seed in range(3)]
    bgsim.progress.notebook_bar(jobs)
    bgsim.progress.notebook_bar(jobs[0])
outputs = shell.display_pub.outputs
print(len({output["transient"]["display_id"] for output in outputs}), outputs[-1]["data"]["text/html"], threads)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = '<progress value="1.0000" max="1"></progress> <code>completed 100.0 % (10/10)'
    assert done.stdout.startswith(f"2 {expected}"), done.stdout
    assert done.stdout.rstrip().endswith("{'MainThread'}")


def interrupted_after(bus: ProgressBus) -> Iterator[Any]:
    """Yield an update, then raise as Ctrl-C, or the notebook's stop button, does."""
    publish(bus, "a", STARTED)
    publish(bus, "a", PROGRESS, 42)
    yield bus.current("a")
    raise KeyboardInterrupt


def test_an_interrupted_bar_says_that_the_job_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, what: Any) -> None:
            shown.append(what._repr_html_())

    ipython = SimpleNamespace(display=lambda update, **_: shown.append(update._repr_html_()) or Handle())
    out = io.StringIO()
    with ProgressBus() as bus:
        monkeypatch.setattr(bgsim.bus.bars, "_watch", lambda _: ([FakeJob()], interrupted_after(bus)))
        with pytest.raises(KeyboardInterrupt):
            tqdm_bar(FakeJob(), file=out)
        bus.forget("a")
    with ProgressBus() as bus:
        monkeypatch.setattr(bgsim.bus.bars, "_import", lambda *_: ipython)
        with pytest.raises(KeyboardInterrupt):
            notebook_bar(FakeJob())
    assert "still running in the background; job.cancel() stops it, and tqdm_bar(job)" in out.getvalue()
    assert "interrupted" not in shown[0]
    assert "running 42.0 % (42/100); interrupted: still running in the background; job.cancel() stops it" in shown[-1]


def test_the_widget_of_a_notebook_moves_with_each_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stream is no terminal, and yet it is no log."""
    drawn: list[int] = []

    class Widget(tqdm.tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.gui = True

        def display(self, *_: Any, **__: Any) -> None:
            drawn.append(self.n)

        close = clear = lambda *_, **__: None

    with ProgressBus() as bus:
        publish(bus, "a", STARTED)
        updates = [publish(bus, "a", PROGRESS, done) or bus.current("a") for done in (10, 20, 30)]
    monkeypatch.setattr(bgsim.bus.bars, "_watch", lambda _: ([FakeJob()], updates))
    monkeypatch.setattr("tqdm.auto.tqdm", Widget)
    tqdm_bar(FakeJob(), file=io.StringIO(), mininterval=0)
    assert drawn[-3:] == [10, 20, 30]


# ---- the display of the command line -----------------------------------------------------------------


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def text_of(console: Console) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())  # type: ignore[attr-defined]


def test_messages_are_no_markup() -> None:
    """Square brackets in an error's text are shown, and do not break the display."""
    console = terminal()
    with ProgressBus(threads=False) as bus, bgsim.ui.terminal.live_display(console) as display:
        bus.publish("a", STARTED, messages=("ValueError: [/no] [bold]",))
        row = display.add_task("queued", total=1.0, count="", rest="")
        bgsim.ui.terminal.show_row(display, row, bus.current("a"))  # type: ignore[arg-type]
    assert "[/no] [bold]" in text_of(console)


def test_one_job_has_one_live_bar() -> None:
    console = terminal()
    with bgsim.Engine(workers=1) as engine:
        show_progress(engine.submit(draw, replicates=50), console)
    assert "50/50" in text_of(console)


def test_many_jobs_share_onelive_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole, and a row for each job that runs; rows go when their jobs end."""
    console = terminal()
    with ProgressBus() as bus:
        batch = bus.batch({"one": 100, "two": 100, "three": 100})
        monkeypatch.setattr(bgsim.ui.terminal, "batch_of", lambda _: batch)
        shown: list[list[str]] = []
        original = bgsim.ui.terminal.Progress.update

        def update(display: Any, *arguments: Any, **options: Any) -> None:
            original(display, *arguments, **options)
            shown.append([task.description for task in display.tasks])

        monkeypatch.setattr(bgsim.ui.terminal.Progress, "update", update)

        steps = iter([("one", STARTED, 0), ("two", STARTED, 0), ("one", PROGRESS, 50), ("one", COMPLETED, 100),
                      ("three", CANCELLED, 0), ("two", FAILED, 10), ("one", PROGRESS, 0)])  # fmt: skip
        following = BatchProgress.__next__

        def step(self: BatchProgress) -> BatchUpdate:
            """Publish the next update when the display asks for it."""
            job, kind, done = next(steps)
            publish(bus, job, kind, done)
            return following(self)

        monkeypatch.setattr(BatchProgress, "__next__", step)
        show_progress([object(), object()], console)  # type: ignore[list-item]
    assert ["0 of 3 jobs", "one running", "two running"] in shown
    assert shown[-1] == ["3 of 3 jobs"]
    text = text_of(console)
    assert "1 failed, 1 cancelled" in text


def test_in_a_log_the_last_line_says_how_it_ended() -> None:
    console = Console(file=io.StringIO(), width=120)
    with bgsim.Engine(workers=1) as engine:
        jobs = [engine.submit(draw, replicates=50, seed=seed) for seed in range(3)]
        show_progress(jobs, console)
        show_progress(jobs[0], console)
    lines = text_of(console).splitlines()
    assert lines[-2:] == ["3 of 3 jobs, 100.0 % (150/150)", "completed 100.0 % (50/50)"]
