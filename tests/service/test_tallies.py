"""How many jobs there are: counted anew when something has changed, and otherwise once in a while."""

from __future__ import annotations

from conftest import Clock

from bgsim.service.tallies import Tallies


class CountedHistory:
    """A history that counts how often it is looked through."""

    def __init__(self) -> None:
        self.times = 0

    def tally(self) -> dict[tuple[str, str, str], int]:
        self.times += 1
        return {("", "m.walk", "completed"): self.times}


def test_the_history_is_looked_through_when_it_has_changed_or_the_count_is_old() -> None:
    history, clock = CountedHistory(), Clock()
    tallies = Tallies(history, clock)  # type: ignore[arg-type]
    assert [tallies.counts()["", "m.walk", "completed"] for _ in range(3)] == [1, 1, 1]
    tallies.changed()
    assert [tallies.counts()["", "m.walk", "completed"] for _ in range(2)] == [2, 2]
    clock.now += 60.0
    assert tallies.counts()["", "m.walk", "completed"] == 3


def test_a_change_during_the_count_has_it_done_again() -> None:
    history = CountedHistory()
    tallies = Tallies(history, Clock())  # type: ignore[arg-type]
    real = history.tally

    def tally() -> dict[tuple[str, str, str], int]:
        tallies.changed()
        return real()

    history.tally = tally  # type: ignore[method-assign]
    tallies.counts()
    tallies.counts()
    assert history.times == 2
