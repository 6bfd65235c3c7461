"""Cards in the kernels of Jupyter, old and new: what a front end is told, and what it may ask for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels_of_jupyter import NAMES, Kernel, html_in, is_idle, kernel

WIDGET = "application/vnd.jupyter.widget-view+json"

BEGIN = """
import bgsim
from bgsim.models.options import asian_call
engine = bgsim.Engine()
bgsim.run(asian_call, replicates=10, workers=1);
"""
LONG = "job = engine.submit(asian_call, replicates=100_000_000, seed=1)\njob"


@pytest.fixture(params=NAMES)
def found(request: Any, tmp_path: Path) -> Iterator[Kernel]:
    with kernel(request.param, tmp_path) as made:
        made.run(BEGIN)
        yield made


def comm_of(messages: list[dict[str, Any]]) -> str:
    (opened,) = [m for m in messages if m["msg_type"] == "comm_open" and "html" in m["content"]["data"]["state"]]
    return str(opened["content"]["comm_id"])


def test_a_card_moves_after_its_cell_has_ended_and_while_another_runs(found: Kernel) -> None:
    messages = found.run(LONG)
    (shown,) = [m for m in messages if m["msg_type"] == "display_data"]
    assert set(shown["content"]["data"]) == {WIDGET, "text/html", "text/plain"}
    first = len(found.seen)
    for _ in range(3):
        found.until(lambda m: m["msg_type"] == "comm_msg", "an update while no cell runs")
    cell = found.start("import time\nuntil = time.monotonic() + 1.5\nwhile time.monotonic() < until: pass")
    found.until(lambda m: is_idle(m, cell), "the busy cell")
    cards = [html_in(m) for m in found.seen[first:] if m["msg_type"] == "comm_msg"]
    assert len(set(cards)) == len(cards) > 6  # each has changed
    assert len(cards) < 40  # ten a second at most
    parents = {m["parent_header"].get("msg_id") for m in found.seen[first:] if m["msg_type"] == "comm_msg"}
    if found.manager.kernel_name == "ipykernel7":  # 6 has one parent for all threads
        assert parents == {shown["parent_header"]["msg_id"]}


def test_the_buttons_work(found: Kernel) -> None:
    comm = comm_of(found.run(LONG))
    found.press(comm, "pause")
    found.html("paused")
    found.press(comm, "resume")
    found.html("running")
    found.press(comm, "cancel")
    last = found.until(lambda m: m["msg_type"] == "update_display_data", "the last state")
    assert "cancelled" in (html_in(last) or "")
    assert set(last["content"]["data"]) == {"text/html", "text/plain"}


def test_the_buttons_work_while_a_cell_awaits_the_job(found: Kernel) -> None:
    if found.manager.kernel_name == "ipykernel6":
        pytest.skip("it takes one message at a time")
    comm = comm_of(found.run(LONG))
    cell = found.start("await job")
    found.until(lambda m: m["msg_type"] == "execute_input", "the cell")
    found.press(comm, "pause")
    found.html("paused")
    found.press(comm, "cancel")
    found.html("cancelled")
    found.until(lambda m: is_idle(m, cell), "the end of the cell")


def test_an_interrupted_card_says_that_the_job_goes_on(found: Kernel) -> None:
    found.run(LONG)
    cell = found.start("job.result()")
    found.until(lambda m: m["msg_type"] == "execute_input", "the cell")
    found.html("running")
    found.manager.interrupt_kernel()
    found.html("still running in the background; job.cancel() stops it")
    found.until(lambda m: is_idle(m, cell), "the end of the cell")
    assert any(m["msg_type"] == "error" for m in found.seen)


def test_a_card_that_is_hidden_gets_nothing_until_it_is_shown(found: Kernel) -> None:
    comm = comm_of(found.run(LONG))
    found.say(comm, {"view": "a", "shown": True})
    found.html("running")
    found.say(comm, {"view": "a", "shown": False})
    found.run("1")
    first = len(found.seen)
    found.run("import time\nuntil = time.monotonic() + 1\nwhile time.monotonic() < until: pass")
    assert not [m for m in found.seen[first:] if m["msg_type"] == "comm_msg"]
    found.say(comm, {"view": "a", "shown": True})
    found.html("running")


def test_without_anywidget_html_is_displayed_again(found: Kernel) -> None:
    found.run("import sys\nsys.modules['anywidget'] = None")
    messages = found.run(LONG)
    (shown,) = [m for m in messages if m["msg_type"] == "display_data"]
    assert set(shown["content"]["data"]) == {"text/html", "text/plain"}
    name = shown["content"]["transient"]["display_id"]
    first = len(found.seen)
    for _ in range(3):
        found.until(lambda m: m["msg_type"] == "update_display_data", "an update")
    found.run("job.cancel()")
    if not any("cancelled" in (html_in(m) or "") for m in found.seen[first:]):
        found.html("cancelled")
    updates = [m for m in found.seen[first:] if m["msg_type"] == "update_display_data"]
    assert {m["content"]["transient"]["display_id"] for m in updates} == {name}
    assert "the job goes on" in (html_in(updates[0]) or "")


def test_the_thread_takes_less_than_a_hundredth_of_a_core(found: Kernel) -> None:
    found.run(
        "import time, resource\nfrom bgsim.ui.notebook.updater import UPDATER\nspent = []\n"
        "def cost():\n    spent.append(time.thread_time())\n    return spent[-1]\nUPDATER._cost = cost"
    )
    found.run(LONG)
    found.until(lambda m: m["msg_type"] == "comm_msg", "an update")
    found.run("began = time.monotonic(), spent[-1]")
    for _ in range(20):
        found.until(lambda m: m["msg_type"] == "comm_msg", "an update")
    found.run("share = (spent[-1] - began[1]) / (time.monotonic() - began[0])\nprint(share)")
    share = float(next(m["content"]["text"] for m in reversed(found.seen) if m["msg_type"] == "stream"))
    assert share < 0.01


def test_a_kernel_that_is_closed_ends_at_once(found: Kernel) -> None:
    found.run(LONG)
    found.until(lambda m: m["msg_type"] == "comm_msg", "an update")
    began = time.monotonic()
    found.client.shutdown()
    while found.manager.is_alive():
        assert time.monotonic() < began + 5  # a second, and what a busy machine takes


def test_a_cell_that_is_a_simulation_shows_its_card(found: Kernel) -> None:
    found.run("%load_ext bgsim")
    cell = "%%simulate walk_job -n 1e8 --set drift=0.5\ndef walk(p, rng):\n    end = p.drift + rng.random()\n    return end"
    messages = found.run(cell)
    (shown,) = [m for m in messages if m["msg_type"] == "display_data"]
    assert WIDGET in shown["content"]["data"]
    assert "drift 0.5" in shown["content"]["data"]["text/html"]
    found.html("running")
    found.run("assert walk_job.simulation is walk\nassert walk_job.parameters['drift'] == 0.5\nfirst = walk_job")
    found.run(cell.replace("0.5", "0.7"))
    found.run("import concurrent.futures\nassert concurrent.futures.wait([first], 30).done\nassert first.cancelled()")


def test_a_hundred_cards_at_once_can_be_used(found: Kernel) -> None:
    found.run(
        "from IPython.display import display\n"
        "for seed in range(100):\n    display(engine.submit(asian_call, replicates=50_000_000, seed=seed))"
    )
    opened = [m for m in found.seen if m["msg_type"] == "comm_open" and "html" in m["content"]["data"]["state"]]
    assert len(opened) == 100
    for _ in range(10):
        found.until(lambda m: m["msg_type"] == "comm_msg", "updates")
    last = opened[-1]["content"]["comm_id"]
    found.press(last, "cancel")
    found.until(lambda m: m["content"].get("comm_id") == last and "cancelled" in (html_in(m) or ""), "the last card")
