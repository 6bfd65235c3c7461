"""The rows that no worker has: each is computed once, whatever is lost, and the row that ends processes is named."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from bgsim.running.pending import BEFORE_SUSPECT, Pending

_LANES = 3


class _Lanes:
    """Takes chunks as an engine does whose lanes share processes: if one of those ends, all chunks in hand are lost."""

    def __init__(self, rows: int, killers: set[int], *, tells_row: bool) -> None:
        self.pending = Pending()
        self.pending.add(0, rows)
        self.killers = killers
        self.tells_row = tells_row
        self.computed = [0] * rows
        self.in_hand: list[tuple[int, int, bool]] = []
        self.losses = 0
        self.blamed: list[int] = []

    def take(self, most: int) -> None:
        first, stop, is_suspect = self.pending.take(most)
        assert 0 <= first < stop <= len(self.computed)
        self.in_hand.append((first, stop, is_suspect))

    @property
    def within(self) -> list[tuple[int, int, bool]]:
        """The chunks that are computed at this moment: a suspect one waits until it is alone, and goes first then."""
        suspects = [chunk for chunk in self.in_hand if chunk[2]]
        return suspects[:1] if suspects else self.in_hand

    def end(self, which: int, done: int) -> None:
        """Let a chunk come back with some of its rows, or end its process."""
        chunk = self.within[which % len(self.within)]
        first, stop, _ = chunk
        reached = next((row for row in range(first, stop) if row in self.killers), stop)
        if reached < min(stop, first + done):
            self.lose_all({chunk: reached - first})
        else:
            self.give_back(chunk, min(done, stop - first))

    def give_back(self, chunk: tuple[int, int, bool], done: int) -> None:
        first, stop, _ = chunk
        self.in_hand.remove(chunk)
        self.pending.computed(first, first + done)
        for row in range(first, first + done):
            self.computed[row] += 1
        if first + done < stop:
            self.pending.add(first + done, stop)

    def lose_all(self, rows: dict[tuple[int, int, bool], int]) -> None:
        """Lose what is computed at this moment; `rows` says of a chunk which row it had in hand, else its first."""
        self.losses += 1
        for chunk in list(self.within):
            first, stop, alone = chunk
            self.in_hand.remove(chunk)
            self.pending.add(first, stop)
            at = rows.get(chunk, 0) if self.tells_row else None
            if self.pending.lose(first, stop, was_alone=alone, at=at):
                self.blamed.append(first)


def _most_losses(rows: int, killers: int, from_outside: int, *, tells_row: bool) -> int:
    """Return how many losses it may take: each row is lost a few times, and without its number it has to be found."""
    a_row = BEFORE_SUSPECT + 2 + (0 if tells_row else 2 * math.ceil(math.log2(rows + 1)))
    return (killers + _LANES * from_outside + 1) * a_row


_steps = st.lists(
    st.tuples(st.sampled_from(("take", "end", "part", "kill")), st.integers(1, 60), st.integers(0, 5)), max_size=60
)


@given(
    rows=st.integers(1, 200),
    killers=st.sets(st.integers(0, 199), max_size=3),
    tells_row=st.booleans(),
    most=st.integers(1, 80),
    steps=_steps,
)
@example(rows=1, killers={0}, tells_row=False, most=1, steps=[])
@example(rows=200, killers={199}, tells_row=False, most=80, steps=[("take", 60, 0)] * 3 + [("kill", 1, 0)] * 3)
def test_each_row_is_computed_once_and_only_killers_are_blamed(
    rows: int, killers: set[int], tells_row: bool, most: int, steps: list[tuple[str, int, int]]
) -> None:
    killers = {row for row in killers if row < rows}
    lanes = _Lanes(rows, killers, tells_row=tells_row)
    from_outside = 0
    for what, number, which in steps:
        if lanes.blamed:
            break
        if what == "take" and lanes.pending.ranges and len(lanes.in_hand) < _LANES:
            lanes.take(number)
        elif what == "end" and lanes.in_hand:
            lanes.end(which, rows)
        elif what == "part" and lanes.in_hand:
            lanes.end(which, number - 1)
        elif what == "kill" and lanes.in_hand and not lanes.within[0][2]:  # a suspect one would be blamed for it
            lanes.lose_all({chunk: min(number, chunk[1] - chunk[0]) - 1 for chunk in lanes.within})
            from_outside += 1
    bound = _most_losses(rows, len(killers), from_outside, tells_row=tells_row)
    while (lanes.pending.ranges or lanes.in_hand) and not lanes.blamed:
        while lanes.pending.ranges and len(lanes.in_hand) < _LANES:
            lanes.take(most)
        lanes.end(0, rows)
        assert lanes.losses <= bound
    assert max(lanes.computed) <= 1
    assert set(lanes.blamed) <= killers
    if killers:
        assert lanes.blamed
        assert not any(lanes.computed[row] for row in killers)
    else:
        assert lanes.computed == [1] * rows


@given(
    ranges=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10)), max_size=8),
    target=st.integers(0, 70),
    most=st.integers(1, 20),
)
def test_it_counts_what_it_has(ranges: list[tuple[int, int]], target: int, most: int) -> None:
    """Ranges come in any order; the lowest row is taken first."""
    pending, expected = Pending(), set()
    for first, count in ranges:
        if not expected & set(range(first, first + count)):
            pending.add(first, first + count)
            expected |= set(range(first, first + count))
    assert bool(pending.ranges) == bool(expected)
    while expected:
        assert pending.ranges[0][0] == min(expected)
        assert pending.count(target) == len([row for row in expected if row < target])
        first, stop, is_suspect = pending.take(most)
        assert first == min(expected)
        assert not is_suspect
        assert set(range(first, stop)) <= expected
        expected -= set(range(first, stop))
    assert not pending.ranges


def test_a_lost_row_that_is_known_is_alone_after_three_losses() -> None:
    """The rows beside it go on in chunks of their own."""
    pending = Pending()
    pending.add(0, 100)
    for _ in range(BEFORE_SUSPECT):
        taken = []
        while pending.ranges:
            taken.append(pending.take(100))
        (at,) = [chunk for chunk in taken if chunk[0] <= 40 < chunk[1]]
        for first, stop, _ in taken:
            pending.add(first, stop)
        assert not pending.lose(at[0], at[1], was_alone=False, at=40 - at[0])
    assert [pending.take(100) for _ in range(3)] == [(0, 40, False), (40, 41, True), (41, 100, False)]
    pending.add(40, 41)
    assert pending.lose(40, 41, was_alone=True, at=0)
