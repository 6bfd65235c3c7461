"""How cards reach a front end, without one: what is sent, when, by which thread, and what it keeps alive."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import anywidget
import pytest
from conftest import Clock

import bgsim
import bgsim.ui.notebook
import bgsim.ui.notebook.card_widget
from bgsim.errors import InvalidInputError, MissingExtraError
from bgsim.testing import HANDSHAKE_S, Gate, SteppedEngine, gated, run_all
from bgsim.ui.notebook import fronts, shell
from bgsim.ui.notebook.sources import EngineSource, JobSource
from bgsim.ui.notebook.updater import UPDATER, Card, Updater

draw = bgsim.simulation(lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False, name="draw")


class Said:
    """A source whose state a test sets."""

    def __init__(self) -> None:
        self.word, self.ended, self.over = "a", False, False
        self.done: list[dict[str, Any]] = []

    def state(self, now: float, note: str) -> dict[str, Any]:
        return {"word": self.word, "note": note, "ended": self.ended}

    def is_over(self) -> bool:
        return self.ended or self.over

    def do(self, message: Any) -> None:
        self.done.append(message)


class Front:
    """A front that keeps what is sent."""

    interval_s = 0.1

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def begin(self, state: dict[str, Any]) -> None:
        self.sent.append(("begin", state["word"]))

    def show(self, state: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(("show", state["word"] + state["note"]))

    def end(self, state: dict[str, Any]) -> None:
        self.sent.append(("end", state["word"]))

    def save(self, state: dict[str, Any]) -> None:
        self.sent.append(("save", state["word"] + state["note"]))


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def front() -> Front:
    return Front()


@pytest.fixture
def again() -> list[Card]:
    return []


@pytest.fixture
def card(said: Said, front: Front, clock: Clock, again: list[Card]) -> Card:
    made = Card(said, again.append, clock)
    made.begin(front)
    return made


def test_what_has_not_changed_is_not_sent_and_nothing_more_than_ten_times_a_second(
    card: Card, said: Said, front: Front, clock: Clock
) -> None:
    said.word = "b"
    assert not card.update()  # it has just been shown
    clock.advance(0.1)
    assert card.update()
    clock.advance(0.1)
    assert not card.update()
    assert front.sent == [("begin", "a"), ("show", "b")]


def test_a_hidden_card_gets_nothing_until_it_is_shown_or_ends(
    card: Card, said: Said, front: Front, clock: Clock, again: list[Card]
) -> None:
    card.receive({"view": "x", "shown": True})
    card.receive({"view": "y", "shown": True})
    card.receive({"view": "x", "shown": False})
    said.word = "b"
    clock.advance(1)
    assert card.update()  # the other view is on the screen
    card.receive({"view": "y", "shown": False})
    said.word = "c"
    clock.advance(1)
    assert not card.update()
    card.receive({"view": "x", "shown": True})
    assert front.sent[-1] == ("show", "c")
    assert again == [card] * 5
    card.receive({"view": "x", "shown": False})
    said.word, said.ended = "d", True
    assert card.update()
    assert front.sent[-2:] == [("show", "d"), ("end", "d")]
    assert card.ended
    assert not card.update()


def test_what_is_saved_is_brought_up_to_date_at_the_end_of_a_cell_unless_a_view_would_be_made_anew(
    card: Card, said: Said, front: Front, clock: Clock
) -> None:
    card.cell_ended("")
    assert front.sent == [("begin", "a")]
    said.word = "b"
    card.cell_ended("")
    assert front.sent[1:] == [("show", "b"), ("save", "b")]
    card.receive({"view": "x", "shown": True})
    said.word = "c"
    card.cell_ended(" interrupted")
    assert front.sent[3:] == [("show", "c interrupted")]
    said.over = True
    card.cell_ended("")
    assert front.sent[4:] == [("save", "c interrupted")]  # it rests, as sliders do
    said.word, said.ended = "d", True
    card.update()
    card.cell_ended("")
    card.cell_ended("")
    assert front.sent[5:] == [("show", "d interrupted"), ("end", "d"), ("save", "d interrupted")]


def test_a_card_whose_front_end_is_gone_ends(card: Card, said: Said, front: Front, clock: Clock) -> None:
    front.error = OSError("no connection")
    said.word = "b"
    clock.advance(1)
    assert not card.update()
    assert card.ended


def test_a_button_is_handed_on_and_answered_at_once(card: Card, said: Said, front: Front, again: list[Card]) -> None:
    said.word = "b"
    card.receive({"do": "pause"})
    assert said.done == [{"do": "pause"}]
    assert front.sent[-1] == ("show", "b")
    assert again == [card]
    said.over = True
    card.receive({"do": "pause"})
    assert again == [card]  # nothing changes until it says something again


# ---- the thread --------------------------------------------------------------------------------------


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bgsim-notebook"]


def test_one_thread_updates_all_cards_and_ends_with_them(front: Front) -> None:
    updater, seen = Updater(), threading.Event()
    sources = [Said(), Said()]
    cards = [Card(source, updater.add) for source in sources]
    for made in cards:
        made.begin(front)
        updater.add(made)
        updater.add(made)
    assert updater.cards == cards
    assert len(our_threads()) == 1
    (thread,) = our_threads()
    assert thread.daemon
    front.end = lambda _: seen.set()  # type: ignore[method-assign]
    for source in sources:
        source.ended = True
    assert seen.wait(HANDSHAKE_S)
    thread.join(HANDSHAKE_S)
    assert updater.cards == []
    done = Said()
    done.ended = True
    updater.add(Card(done, updater.add))
    assert our_threads() == []


def test_the_thread_waits_the_longer_the_more_it_takes(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([0.0, 0.02, 0.02, 0.02])
    updater, waits = Updater(cost=lambda: next(spent)), []
    made = Card(Said(), updater.add)
    made.begin(front)

    def wait(seconds: float) -> None:
        waits.append(seconds)
        made.rests = True

    monkeypatch.setattr(updater, "_changed", SimpleNamespace(wait=wait, notify_all=lambda: None))
    monkeypatch.setattr(updater, "_cards", [made])
    updater._run()
    assert waits == [pytest.approx(2.5)]


def test_a_card_keeps_no_engine_alive_and_no_job_that_has_ended() -> None:
    engine = bgsim.Engine(workers=1)
    job = engine.submit(draw, replicates=10)
    job.result(HANDSHAKE_S)
    cards = [Card(EngineSource(engine), UPDATER.add), Card(JobSource(job), UPDATER.add)]
    engine.close()
    dropped = [weakref.ref(engine), weakref.ref(job)]
    del engine, job
    gc.collect()
    assert [reference() for reference in dropped] == [None, None]
    for made in cards:
        made.begin(Front())
        made.update()
    assert cards[0].ended


# ---- a notebook --------------------------------------------------------------------------------------


class Notebook:
    """As much of IPython as a card needs: displays, and the ends of cells."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str | None, dict[str, Any]]] = []
        self.threads: list[str] = []
        self.at_end: list[Callable[[Any], None]] = []
        self.events = SimpleNamespace(register=lambda name, call: self.at_end.append(call))
        self.kernel = object()
        self.ended = threading.Event()

    def display(self, bundle: dict[str, Any], *, raw: bool, display_id: bool) -> Any:
        self.shown.append(("new", "1", bundle))
        return SimpleNamespace(display_id="1")

    def update_display(self, bundle: dict[str, Any], *, raw: bool, display_id: str) -> None:
        self.threads.append(threading.current_thread().name)
        self.shown.append(("again", display_id, bundle))
        if "completed" in bundle["text/html"]:
            self.ended.set()

    def end_cell(self, error: BaseException | None = None) -> None:
        for call in self.at_end:
            call(SimpleNamespace(error_in_exec=error))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    made = Notebook()
    display = SimpleNamespace(display=made.display, update_display=made.update_display)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: made))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(bgsim.ui.notebook, "CELL_ENDS", shell.CellEnds())
    yield made
    for thread in our_threads():
        thread.join(HANDSHAKE_S)


def test_in_a_terminal_a_job_is_its_repr() -> None:
    with bgsim.Engine(workers=1) as engine:
        with pytest.raises(NotImplementedError):  # IPython goes on with the repr
            engine.submit(draw, replicates=1)._ipython_display_()
        with pytest.raises(InvalidInputError, match="what must be a job"):
            bgsim.notebook.widget(3)


def test_a_job_is_a_widget_and_at_its_end_html_that_stays(notebook: Notebook, hold: Gate) -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        job._ipython_display_()
        ((kind, _, bundle),) = notebook.shown
        assert kind == "new"
        assert list(bundle) == [fronts.WIDGET, "text/html", "text/plain"]
        assert "<style>" in bundle["text/html"]
        assert "the job goes on" in bundle["text/html"]
        assert "<button" not in bundle["text/html"]
        hold.open()
        job.result(HANDSHAKE_S)
        assert notebook.ended.wait(HANDSHAKE_S)
    kind, place, bundle = notebook.shown[-1]
    assert (kind, place, list(bundle)) == ("again", "1", ["text/html", "text/plain"])
    assert notebook.threads[-1] == "bgsim-notebook"
    notebook.end_cell()
    assert notebook.threads[-1] == threading.current_thread().name  # nbconvert takes it as part of this cell
    assert "completed" in notebook.shown[-1][2]["text/html"]
    count = len(notebook.shown)
    notebook.end_cell()
    assert len(notebook.shown) == count


def test_without_anywidget_it_is_html_that_is_shown_again(
    notebook: Notebook, hold: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bgsim.ui.notebook.card_widget", None)
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        job._ipython_display_()
        assert list(notebook.shown[0][2]) == ["text/html", "text/plain"]
        with pytest.raises(MissingExtraError, match="pip install anywidget"):
            bgsim.notebook.widget(job)
        assert job._display_()._mime_()[0] == "text/html"
        hold.open()
        assert notebook.ended.wait(HANDSHAKE_S)


def test_an_interrupt_is_said_while_the_job_goes_on(notebook: Notebook, hold: Gate) -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        job._ipython_display_()
        notebook.end_cell(ValueError())
        notebook.end_cell(KeyboardInterrupt())
        assert "still running in the background; job.cancel() stops it" in notebook.shown[-1][2]["text/html"]
        hold.open()
        assert notebook.ended.wait(HANDSHAKE_S)
    assert "interrupted" not in notebook.shown[-1][2]["text/html"].lower()


def test_what_has_ended_is_shown_once(notebook: Notebook) -> None:
    with bgsim.Engine(workers=1) as engine:
        sweep = engine.sweep(draw, {"a": [1, 2]}, replicates=5)
        sweep.wait()
        sweep._ipython_display_()
    assert list(notebook.shown[0][2]) == ["text/html", "text/plain"]
    assert our_threads() == []
    notebook.end_cell()
    assert len(notebook.shown) == 1


# ---- the widget --------------------------------------------------------------------------------------


def test_the_widget_hands_on_its_buttons() -> None:
    engine = SteppedEngine()
    job = engine.submit(draw, replicates=10)
    made = bgsim.notebook.widget(job)
    assert 'data-do="pause"' in made.html
    made._handle_custom_msg({"do": "pause"}, [])
    assert 'data-do="resume"' in made.html
    made._handle_custom_msg("nonsense", [])
    made._handle_custom_msg({"do": "nonsense"}, [])
    made._handle_custom_msg({"do": "resume"}, [])
    assert 'data-do="pause"' in made.html
    made._handle_custom_msg({"do": "cancel"}, [])
    assert "cancelled" in made.html
    assert "<button" not in made.html
    made._handle_custom_msg({"do": "pause"}, [])
    assert made._esm
    assert made._css
    engine.close()


def test_the_widget_of_a_batch_cancels_it() -> None:
    engine = SteppedEngine()
    batch = engine.submit_many(draw, [{"a": 1}, {"a": 2}], replicates=10)
    made = bgsim.notebook.widget(batch)
    made._handle_custom_msg({"do": "cancel"}, [])
    assert batch[0].cancelled()
    assert "cancelled" in made.html
    engine.close()


def test_marimo_gets_the_widget() -> None:
    engine = SteppedEngine()
    assert isinstance(engine.submit(draw, replicates=10)._display_(), anywidget.AnyWidget)
    run_all(engine)
    engine.close()
    for thread in our_threads():
        thread.join(HANDSHAKE_S)
