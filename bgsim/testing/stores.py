"""The tests that every store passes, for authors of stores.

Derive from `StoreContract`, `JournalContract` and `HistoryContract`, and say how a store is made. pytest collects the
tests:

    from bgsim.testing import stores


    class TestMyStore(stores.StoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "results")

Another test runner calls each method whose name begins with ``test_``, with the path of an empty directory.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from bgsim.errors import StoreError
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage import Record
from bgsim.testing.histories import HistoryContract
from bgsim.testing.journals import JournalContract
from bgsim.testing.store_examples import (
    NEW,
    OLD,
    WAIT_S,
    at_once,
    equal_columns,
    example_columns,
    example_key,
    store_error,
    store_now,
    versioned_columns,
)
from bgsim.testing.summaries import SummaryContract

__all__ = ["HistoryContract", "JournalContract", "StoreContract"]


class StoreContract(SummaryContract):
    """The tests of results, summaries, slots and limits. Override `make_store`."""

    # ---- results -------------------------------------------------------------------------------------

    def test_what_is_stored_is_loaded(self, tmp_path: Path) -> None:
        """By key and by hash; what is not stored is not found."""
        with self.opened(tmp_path) as store:
            key = example_key()
            assert store.count(key) == 0
            assert store.load(key, 5) is None
            assert store.get(key.hash) is None
            store_now(store, key, 100)
            assert store.count(key) == 100
            assert equal_columns(store.load(key, 100), example_columns(key, 100))
            assert equal_columns(store.load(key.hash), example_columns(key, 100))

    def test_a_result_grows_and_never_shrinks(self, tmp_path: Path) -> None:
        """Any number of its replicates are its first ones; more than are stored are those that are stored."""
        with self.opened(tmp_path) as store:
            key = example_key()
            for replicates in (10, 300, 40, 2000):
                store_now(store, key, replicates, "w")
            assert store.count(key) == 2000
            for wanted in (1, 9, 10, 11, 300, 1999, 2000):
                assert equal_columns(store.load(key, wanted), example_columns(key, wanted))
            assert equal_columns(store.load(key, 5000), example_columns(key, 2000))
            (result,) = store.results()
            assert result.replicates == 2000

    def test_a_wrong_count_harms_nothing(self, tmp_path: Path) -> None:
        """Of no replicates nothing is loaded; what is no number at all is refused."""
        with self.opened(tmp_path) as store:
            key = example_key()
            store_now(store, key, 10, "w")
            for wrong in ("5", 2.0):
                try:
                    store.load(key, wrong)  # type: ignore[arg-type]
                except TypeError:
                    continue
                raise AssertionError(f"load took {wrong!r} for a count")
            assert store.load(key, 0) is None
            assert store.load(key, -3) is None
            assert equal_columns(store.load(key, np.int64(4)), example_columns(key, 4))  # type: ignore[arg-type]
            assert store.count(key) == 10

    def test_loaded_columns_are_read_only(self, tmp_path: Path) -> None:
        """Whole and cut."""
        with self.opened(tmp_path) as store:
            store_now(store, example_key(), 10, "w")
            for replicates in (10, 5):
                found = store.load(example_key(), replicates)
                assert found is not None
                assert not found["value"].flags.writeable

    def test_versions_stay_with_the_rows_when_a_result_grows(self, tmp_path: Path) -> None:
        """Whole and cut, with and without a slot; loaded once and again."""
        mixed = ((0, 100, OLD), (100, 150, NEW))
        with self.opened(tmp_path) as store:
            for x, workspace in ((1, None), (2, "w")):
                key = example_key(x)
                for runs in (((100, OLD),), ((100, OLD), (150, NEW))):
                    assert store_error(store, key, versioned_columns(key, *runs), workspace=workspace) is None
                for wanted, expected in (
                    (None, mixed),
                    (250, mixed),
                    (999, mixed),
                    (101, ((0, 100, OLD), (100, 1, NEW))),
                    (100, ((0, 100, OLD),)),
                    (7, ((0, 7, OLD),)),
                ) * 2:
                    found = store.load(key, wanted)
                    assert found is not None
                    assert found.versions == expected
                assert equal_columns(store.load(key, 250), example_columns(key, 250))
            assert [result.versions for result in store.results()] == [mixed, mixed]
            assert store.check().ok

    def test_the_versions_of_a_plain_dict_are_unknown(self, tmp_path: Path) -> None:
        """Those of later rows may be known."""
        with self.opened(tmp_path) as store:
            key = example_key()
            store_now(store, key, 10, "w")
            assert store_error(store, key, versioned_columns(key, (10, ""), (5, NEW))) is None
            found = store.load(key)
            assert found is not None
            assert found.versions == ((0, 10, ""), (10, 5, NEW))

    def test_a_wrong_count_of_held_replicates_harms_nothing(self, tmp_path: Path) -> None:
        """Another process may have deleted or extended the result."""
        with self.opened(tmp_path) as store:
            key = example_key()
            for held, expected in ((100, 200), (0, 200), (300, 400)):
                columns = versioned_columns(key, (100, OLD), (50, NEW), (expected - 150, OLD))
                assert store_error(store, key, columns, held=held) is None
                found = store.load(key)
                assert found is not None
                assert found.versions == ((0, 100, OLD), (100, 50, NEW), (150, expected - 150, OLD))
                assert equal_columns(found, example_columns(key, expected))
                assert equal_columns(store.load(key, 170), example_columns(key, 170))
            assert store.check().ok

    def test_parts_are_kept_while_a_result_has_the_fingerprint(self, tmp_path: Path) -> None:
        """Whichever of its results brought them."""
        with self.opened(tmp_path) as store:
            keys = [example_key(x) for x in (1, 2, 3)]
            fingerprint = keys[0].fingerprint
            assert store.parts(fingerprint) == {}
            store_now(store, keys[0], 10)
            assert store.parts(fingerprint) == {}
            for key in keys:
                store_now(store, replace(key, parts={"a": "1", "b": "\u00fc"}), 20)
            store_now(store, keys[2], 30)
            for key in keys[:2]:
                assert store.parts(fingerprint) == {"a": "1", "b": "\u00fc"}
                assert all(result.record.parts == {"a": "1", "b": "\u00fc"} for result in store.results())
                store.delete(key.hash)
            assert store.parts(fingerprint) == {"a": "1", "b": "\u00fc"}
            store.delete(keys[2].hash)
            assert store.parts(fingerprint) == {}
            store_now(store, replace(keys[2], parts={"c": "2"}), 10)
            assert store.parts(fingerprint) == {"c": "2"}
            assert store.check().ok

    def test_results_say_what_is_stored(self, tmp_path: Path) -> None:
        """The last used first, with the statistics of each output."""
        with self.opened(tmp_path) as store:
            key = example_key(2.5, seed=2**70, name="a", flags=(True, False))
            for replicates in (10, 1000, 1001, 5000):
                store_now(store, key, replicates)
            store_now(store, example_key(3), 10)
            result = store.results()[1]
            assert result == store.get(key.hash)
            assert result.record == Record.of(key)
            assert (result.simulation, result.seed, result.replicates) == ("tests.model", 2**70, 5000)
            assert result.parameters == {"x": 2.5, "name": "a", "flags": [True, False]}
            assert store.size() == (2, sum(r.stored_bytes for r in store.results()))
            columns = example_columns(key, 5000)
            assert list(result.summary) == list(columns)
            for name in ("value", "count", "won"):
                summary, values = result.summary[name], columns[name].astype(float)
                assert summary.dtype == columns[name].dtype.str
                assert summary.mean is not None
                assert summary.sd is not None
                assert np.isclose([summary.mean, summary.sd], [values.mean(), values.std(ddof=1)], rtol=1e-9).all()
                assert (summary.minimum, summary.maximum) == (values.min(), values.max())
            assert result.summary["path"].mean is None
            assert result.stored_bytes > 0
            assert 0 <= result.age_s < 60

    def test_computed_columns_replace_others_and_imported_ones_do_not(self, tmp_path: Path) -> None:
        """Of other names, dtypes, shapes or order; with any number of rows, and whatever is held to be stored."""
        with self.opened(tmp_path) as store:
            key = example_key()
            right = versioned_columns(key, (10, OLD))
            others = (
                {**right, "value": right["value"].astype(np.float32)},
                {**right, "path": right["path"][:, :2]},
                {name: right[name] for name in reversed(right)},
                {("worth" if name == "value" else name): column for name, column in right.items()},
                {**right, "more": right["value"]},
                {"value": right["value"]},
            )
            for other in others:
                for rows, held in ((10, 10), (4, None), (10, 0)):
                    wrong = {name: np.resize(column, (7, *column.shape[1:])) for name, column in other.items()}
                    assert store_error(store, key, wrong, workspace="w") is None
                    assert equal_columns(store.load(key), wrong)
                    assert isinstance(store_error(store, Record.of(key), right), StoreError)
                    assert equal_columns(store.load(key, 3), {name: column[:3] for name, column in wrong.items()})
                    assert store_error(store, key, right.first(rows), held=held) is None
                    assert store.count(key) == rows
                    assert equal_columns(store.load(key), right.first(rows))
                    assert equal_columns(store.load(key, 2), right.first(2))
                    assert store.check().ok
            assert store.size()[1] == sum(result.stored_bytes for result in store.results())

    def test_columns_that_cannot_be_stored_are_refused(self, tmp_path: Path) -> None:
        """None, empty ones, of different lengths, of objects, and more than the limit."""
        with self.opened(tmp_path) as store:
            store.max_storage_bytes = 10_000
            for columns, says in (
                ({}, "columns of one length"),
                ({"a": np.zeros(0)}, "columns of one length"),
                ({"a": np.zeros(3), "b": np.zeros(4)}, "columns of one length"),
                ({"a": np.array(1.0)}, "no array with a row for each replicate"),
                ({"a": np.array([object()])}, "object"),
                ({"a": np.zeros(10_000)}, "max_storage_bytes=10,000"),
            ):
                error = store_error(store, example_key(), columns)
                assert isinstance(error, StoreError)
                assert says in str(error)
            assert store.count(example_key()) == 0

    def test_another_result_under_the_same_hash_is_kept(self, tmp_path: Path) -> None:
        """A collision of the hash's 128 bits: the second result is neither stored nor served."""

        class Colliding(ResultKey):
            hash = "c" * 32

        first, second = (Colliding(k.simulation, k.fingerprint, 0, k.parameters) for k in map(example_key, (3, 4)))
        with self.opened(tmp_path) as store:
            store_now(store, first, 10)
            assert store.count(second) == 0
            assert store.load(second, 10) is None
            error = store_error(store, second, example_columns(second, 20), workspace="w")
            assert isinstance(error, StoreError)
            assert "another result" in str(error)
            store.place(second, 10, "w")
            store.flush()
            assert store.workspaces() == []
            assert equal_columns(store.load(first, 10), example_columns(first, 10))

    # ---- slots ---------------------------------------------------------------------------------------

    def test_the_newest_is_primary_and_the_one_before_secondary(self, tmp_path: Path) -> None:
        """Each placement counts the generation on."""
        with self.opened(tmp_path) as store:
            for x in (1, 2, 3):
                store_now(store, example_key(x), 10, "w")
            pair = store.slots("w")
            assert [slot.hash for slot in pair] == [example_key(x).hash for x in (3, 2)]
            assert [slot.generation for slot in pair] == [3, 2]
            assert store.workspaces() == ["w"]
            assert list(store.slots("unknown")) == []

    def test_a_result_that_has_a_slot_keeps_the_other_slot(self, tmp_path: Path) -> None:
        """Storing or placing it again refreshes its slot; the replicates are at most those that are stored."""
        with self.opened(tmp_path) as store:
            one, two = example_key(1), example_key(2)
            for key, replicates in ((one, 10), (two, 10), (two, 20)):
                store_now(store, key, replicates, "w")
            assert [(slot.hash, slot.replicates) for slot in store.slots("w")] == [(two.hash, 20), (one.hash, 10)]
            for replicates, placed in ((5, 5), (99, 10)):
                store.place(one, replicates, "w")
                store.flush()
                assert [(s.hash, s.replicates) for s in store.slots("w")] == [(one.hash, placed), (two.hash, 20)]
            store.place(example_key(9), 10, "other")
            store.flush()
            assert store.workspaces() == ["w"]

    def test_slots_are_swapped_and_cleared(self, tmp_path: Path) -> None:
        """One slot in use stays as it is; the results stay."""
        with self.opened(tmp_path) as store:
            one, two = example_key(1), example_key(2)
            store_now(store, one, 10, "w")
            assert [slot.hash for slot in store.swap("w")] == [one.hash]
            store_now(store, two, 10, "w")
            assert [slot.hash for slot in store.swap("w")] == [one.hash, two.hash]
            assert store.swap("w") == store.slots("w")
            assert store.clear("w") == 2
            assert store.clear("w") == 0
            assert store.workspaces() == []
            assert store.count(one) == 10

    def test_delete_takes_a_result_out_of_its_slots(self, tmp_path: Path) -> None:
        """A slot then points at no result that is not stored."""
        with self.opened(tmp_path) as store:
            one, two = example_key(1), example_key(2)
            for key in (one, two):
                store_now(store, key, 10, "w")
            pair = store.slots("w")
            assert store.delete(two.hash)
            assert not store.delete(two.hash)
            assert store.load(two, 10) is None
            assert [slot.hash for slot in store.slots("w")] == [one.hash]
            assert [slot.hash for slot in store.change_slots("w", lambda _: pair)] == [one.hash]
            assert store.delete(one.hash)
            assert store.workspaces() == []
            assert store.size() == (0, 0)

    # ---- limits, threads and end ---------------------------------------------------------------------

    def test_the_least_recently_used_go_but_no_slot_and_not_the_newest(self, tmp_path: Path) -> None:
        """By size when something is stored, and by age when the store is cleaned up."""
        with self.opened(tmp_path) as store:
            keys = [example_key(x) for x in range(5)]
            store_now(store, keys[0], 1000, "w")
            store.max_storage_bytes = int(3.5 * store.size()[1])
            for x in (1, 2):
                store_now(store, keys[x], 1000)
            store.load(keys[1], 10)
            store_now(store, keys[3], 1000)
            assert [store.count(key) for key in keys[:4]] == [1000, 1000, 0, 1000]
            store_now(store, keys[4], 1000)
            assert [store.count(key) for key in keys] == [1000, 0, 0, 1000, 1000]
            assert store.cleanup().removed == ()
            store.max_age_s = 0.0
            before = store.size()[1]
            report = store.cleanup()
            assert report.removed == (keys[3].hash, keys[4].hash)
            assert report.removed_bytes == before - store.size()[1]

    def test_threads_that_extend_one_result_end_with_the_longest(self, tmp_path: Path) -> None:
        """Whatever their order."""
        with self.opened(tmp_path) as store:
            key = example_key()
            at_once(*(lambda n=n: store.store(key, example_columns(key, n), workspace="w") for n in (100, 3000, 700)))
            store.flush()
            assert equal_columns(store.load(key), example_columns(key, 3000))
            assert store.check().ok

    def test_on_stored_may_use_the_store_which_takes_nothing_once_closed(self, tmp_path: Path) -> None:
        """Closing twice is fine."""
        with self.opened(tmp_path) as store:
            key, called = example_key(), threading.Event()
            found: list[object] = []

            def stored(error: Exception | None) -> None:
                found.append((error, store.count(key)))
                called.set()

            store.store(key, example_columns(key, 10), on_stored=stored)
            assert called.wait(WAIT_S)
            store.flush()
            assert found == [(None, 10)]
            store.close()
            errors: list[Exception | None] = []
            store.store(example_key(2), example_columns(key, 10), on_stored=errors.append)
            assert isinstance(errors[0], StoreError)
