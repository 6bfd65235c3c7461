"""The tests that the journal of every store passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bgsim.storage import PendingRequest
from bgsim.storage.journal import MAX_DEAD_LETTERS
from bgsim.testing.store_examples import (
    StoreMaker,
    at_once,
    example_columns,
    example_key,
    example_letter,
    example_request,
    example_schedule,
)


def _ids(requests: Iterable[PendingRequest]) -> list[str]:
    return [request.id for request in requests]


class JournalContract(StoreMaker):
    """The tests of pending requests, dead letters and schedules. Override `make_store`."""

    # ---- pending requests ----------------------------------------------------------------------------

    def test_requests_are_interrupted_once_their_owner_is_released(self, tmp_path: Path) -> None:
        """The oldest first."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.register("a")
            for number in (2, 0, 1):
                journal.add(example_request(number))
            journal.start("r1")
            assert journal.interrupted() == []
            journal.release("a")
            assert journal.interrupted() == [example_request(0), example_request(1, started=True), example_request(2)]

    def test_a_request_that_has_ended_is_gone_and_an_unknown_id_is_fine(self, tmp_path: Path) -> None:
        """Whether or not it was written in between."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.add(example_request(0))
            journal.add(example_request(1))
            journal.flush()
            journal.remove("r0")
            journal.remove("unknown")
            journal.start("unknown")
            journal.add(example_request(2))
            journal.remove("r2")
            assert _ids(journal.interrupted()) == ["r1"]

    def test_a_request_of_an_unknown_owner_is_interrupted(self, tmp_path: Path) -> None:
        """Its owner has not registered."""
        with self.opened(tmp_path) as store:
            store.journal.register("a")
            store.journal.add(example_request(0, owner="b"))
            store.journal.add(example_request(1, owner="a"))
            assert _ids(store.journal.interrupted()) == ["r0"]

    def test_a_start_counts_before_and_after_it_was_written(self, tmp_path: Path) -> None:
        """A journal that writes late keeps it."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.add(example_request(0))
            journal.start("r0")
            journal.add(example_request(1))
            journal.flush()
            journal.start("r1")
            assert [request.started for request in journal.interrupted()] == [True, True]

    def test_a_claim_takes_requests_over_and_counts_crashes(self, tmp_path: Path) -> None:
        """A request has crashed if it had started; each new start can crash again."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.add(example_request(0))
            journal.add(example_request(1, started=True))
            journal.register("b")
            expected = [example_request(0, "b"), example_request(1, "b", crashes=1)]
            assert journal.claim("b") == expected
            assert journal.claim("b") == []
            assert journal.interrupted() == []
            journal.release("b")
            assert journal.interrupted() == expected
            for crashes, owner in ((2, "c"), (3, "d")):
                journal.start("r1")
                journal.register(owner)
                (found,) = journal.claim(owner, ["r1"])
                assert (found.crashes, found.started) == (crashes, False)
                journal.release(owner)
            journal.register("e")
            assert [request.crashes for request in journal.claim("e", ["r1"])] == [3]  # it had not started again

    def test_some_requests_can_be_claimed_and_the_others_stay(self, tmp_path: Path) -> None:
        """Ids that are unknown, or of requests whose owner lives, are passed over."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            for number in range(4):
                journal.add(example_request(number))
            journal.register("b")
            journal.add(example_request(9, "b"))
            assert _ids(journal.claim("b", iter(["r3", "r1", "r9", "unknown"]))) == ["r1", "r3"]
            assert _ids(journal.interrupted()) == ["r0", "r2"]
            assert journal.claim("b", []) == []

    def test_a_request_that_is_added_again_and_ends_is_gone(self, tmp_path: Path) -> None:
        """The entry of its former owner goes too."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.register("b")
            for number in range(2):
                journal.add(example_request(number))
                journal.flush()
                (found,) = journal.claim("b") if number else journal.interrupted()
                journal.add(replace(found, owner="b"))
                journal.remove(found.id)
            journal.release("b")
            assert journal.interrupted() == []

    def test_threads_that_claim_at_once_share_nothing(self, tmp_path: Path) -> None:
        """Each request goes to one of them."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            for number in range(200):
                journal.add(example_request(number))
            for owner in "bcde":
                journal.register(owner)
            found = at_once(*(lambda owner=owner: journal.claim(owner) for owner in "bcde"))
            assert sorted(i for part in found for i in _ids(part)) == sorted(f"r{number}" for number in range(200))

    def test_a_result_takes_its_requests_out(self, tmp_path: Path) -> None:
        """One that cannot be stored leaves them."""
        with self.opened(tmp_path) as store:
            key = example_key()
            for number in range(3):
                store.journal.add(example_request(number))
            store.store(key, example_columns(key, 10), finishes=["r0", "r2"])
            store.flush()
            assert _ids(store.journal.interrupted()) == ["r1"]
            store.store(key, {}, finishes=["r1"])
            store.flush()
            assert _ids(store.journal.interrupted()) == ["r1"]

    # ---- dead letters and schedules ------------------------------------------------------------------

    def test_dead_letters_are_listed_the_newest_first_and_taken_once(self, tmp_path: Path) -> None:
        """Also by threads that take one at the same moment."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            for number in range(3):
                journal.add_dead_letter(example_letter(number))
            assert journal.dead_letters() == [example_letter(number) for number in (2, 1, 0)]
            taken = at_once(*(lambda: journal.take_dead_letter("d1") for _ in range(4)))
            assert sorted(taken, key=str) == [example_letter(1), None, None, None]
            assert [letter.id for letter in journal.dead_letters()] == ["d2", "d0"]

    def test_dead_letters_are_bounded(self, tmp_path: Path) -> None:
        """The oldest go."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.add_dead_letter(example_letter(10_000))
            journal.flush()
            for number in range(MAX_DEAD_LETTERS + 5):
                journal.add_dead_letter(example_letter(number))
            found = journal.dead_letters()
            assert len(found) == MAX_DEAD_LETTERS
            assert (found[0], found[-1]) == (example_letter(MAX_DEAD_LETTERS + 4), example_letter(5))

    def test_schedules_are_kept_replaced_and_removed(self, tmp_path: Path) -> None:
        """By name."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.put_schedule(example_schedule("b"))
            journal.put_schedule(example_schedule("a", last_run_at="t1"))
            journal.put_schedule(example_schedule("b", paused=True))
            assert journal.schedules() == [example_schedule("a", last_run_at="t1"), example_schedule("b", paused=True)]
            assert journal.remove_schedule("a")
            assert not journal.remove_schedule("a")
            assert [schedule.name for schedule in journal.schedules()] == ["b"]

    def test_one_caller_runs_a_due_time(self, tmp_path: Path) -> None:
        """Of several that mark it at the same moment."""
        with self.opened(tmp_path) as store:
            journal = store.journal
            journal.put_schedule(example_schedule())
            for times in (("t1", None), ("t2", "t1")):
                marked = at_once(*(lambda times=times: journal.mark_schedule_run("s", *times) for _ in range(4)))
                assert sorted(marked) == [False, False, False, True]
            assert journal.schedules() == [example_schedule(last_run_at="t2")]
            assert not journal.mark_schedule_run("unknown", "t1", None)
