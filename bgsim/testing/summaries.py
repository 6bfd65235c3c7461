"""The tests of summaries that every store passes; `bgsim.testing.stores.StoreContract` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgsim.errors import StoreError
from bgsim.storage import Columns, Record
from bgsim.testing.store_examples import (
    NEW,
    OLD,
    StoreMaker,
    at_once,
    equal_columns,
    example_columns,
    example_key,
    example_summary,
    store_error,
    store_now,
)

if TYPE_CHECKING:
    from pathlib import Path


class SummaryContract(StoreMaker):
    """The tests of results that keep a summary and no rows."""

    def test_a_summary_is_loaded_as_it_was_stored(self, tmp_path: Path) -> None:
        """By key and by hash, with and without a slot, each time."""
        with self.opened(tmp_path) as store:
            for x, workspace in ((1, None), (2, "w")):
                key = example_key(x)
                expected = example_summary(key, 100, 200, 300)
                assert store_error(store, key, expected, workspace=workspace) is None
                assert store.count(key) == 300
                for _ in range(2):
                    assert equal_columns(store.load(key), expected)
                    assert equal_columns(store.load(key.hash, 300), expected)
                    assert equal_columns(store.load(key, 5000), expected)
            assert store.check().ok

    def test_fewer_replicates_are_the_tallies_that_lie_within_them(self, tmp_path: Path) -> None:
        """Which may cover fewer; if there are none, nothing is loaded."""
        with self.opened(tmp_path) as store:
            key = example_key()
            assert store_error(store, key, example_summary(key, 100, 200, 300), workspace="w") is None
            for wanted, ends in ((299, (100, 200)), (200, (100, 200)), (101, (100,)), (100, (100,))):
                assert equal_columns(store.load(key, wanted), example_summary(key, *ends))
            for wanted in (99, 1, 0, -3):
                assert store.load(key, wanted) is None
            assert store.count(key) == 300

    def test_a_summary_grows_by_what_follows(self, tmp_path: Path) -> None:
        """Whatever is held to be stored; each tally keeps the versions that computed it."""
        with self.opened(tmp_path) as store:
            for x, held in enumerate((None, 0, 100, 150, 200, 999)):
                key = example_key(x)
                for ends, versions in (((100, 200), (OLD, OLD)), ((100, 200, 300), (OLD, OLD, NEW))):
                    columns = example_summary(key, *ends, versions=versions)
                    assert store_error(store, key, columns, held=held if len(ends) > 2 else None) is None
                found = store.load(key)
                assert equal_columns(found, example_summary(key, 100, 200, 300))
                assert found is not None
                assert found.versions == ((0, 200, OLD), (200, 100, NEW))
                cut = store.load(key, 250)
                assert cut is not None
                assert cut.versions == ((0, 200, OLD),)
            assert store.check().ok

    def test_a_summary_that_covers_more_replaces_one_that_ends_within_a_tally_of_it(self, tmp_path: Path) -> None:
        """One that covers no more changes nothing."""
        with self.opened(tmp_path) as store:
            key = example_key()
            assert store_error(store, key, example_summary(key, 100, 130), workspace="w") is None
            for ends, expected in (
                ((100, 120), (100, 130)),
                ((100, 200), (100, 200)),
                ((150, 200), (100, 200)),
                ((150, 250), (150, 250)),
            ):
                assert store_error(store, key, example_summary(key, *ends), held=130) is None
                assert store.count(key) == expected[-1]
                assert equal_columns(store.load(key), example_summary(key, *expected))
                assert store.check().ok
            record = Record.of(key)
            assert store_error(store, record, example_summary(key, 140, 300)) is None
            assert equal_columns(store.load(key), example_summary(key, 140, 300))
            assert store.size()[1] == sum(result.stored_bytes for result in store.results())

    def test_rows_and_a_summary_replace_each_other_if_computed(self, tmp_path: Path) -> None:
        """And so do summaries of other columns; one that is imported is refused."""
        with self.opened(tmp_path) as store:
            key = example_key()
            right, rows = example_summary(key, 100, 200), example_columns(key, 300)
            less = Columns({name: column for name, column in right.items() if "*" not in name})
            for other in (rows, less):
                assert store_error(store, key, other, workspace="w") is None
                assert equal_columns(store.load(key), other)
                assert isinstance(store_error(store, Record.of(key), right), StoreError)
                assert equal_columns(store.load(key), other)
                assert store_error(store, key, right, held=200) is None
                assert equal_columns(store.load(key), right)
                assert store.check().ok

    def test_a_description_says_that_it_is_a_summary(self, tmp_path: Path) -> None:
        """With the statistics of all its tallies."""
        with self.opened(tmp_path) as store:
            key = example_key()
            store_now(store, example_key(2), 10)
            assert store_error(store, key, example_summary(key, 1, 100, 200, 300)) is None
            found = store.get(key.hash)
            assert found is not None
            assert [result.keep for result in store.results()] == ["summary", "columns"]
            assert (found.keep, found.replicates) == ("summary", 300)
            assert list(found.summary) == ["value", "count", "won", "path", "value*count"]
            for name in ("value", "count", "won"):
                summary, values = found.summary[name], example_columns(key, 300)[name].astype(float)
                assert summary.mean is not None
                assert summary.sd is not None
                assert np.isclose([summary.mean, summary.sd], [values.mean(), values.std(ddof=1)], rtol=1e-9).all()
                assert (summary.minimum, summary.maximum) == (values.min(), values.max())
            assert found.summary["path"].mean is found.summary["value*count"].mean is None

    def test_a_summary_that_cannot_be_stored_is_refused(self, tmp_path: Path) -> None:
        """Tallies beside arrays, of other ends, or of several versions."""
        with self.opened(tmp_path) as store:
            key = example_key()
            one, other = example_summary(key, 100, 200), example_summary(key, 150, 200)
            mixed = one.copy()
            mixed.versions = ((0, 50, OLD), (50, 150, NEW))
            for columns, says in (
                ({**one, "more": np.zeros(200)}, "no tally as the others are"),
                ({**one, "value": other["value"]}, "end at the same replicates"),
                (mixed, "a tally is of one"),
            ):
                error = store_error(store, key, columns)
                assert isinstance(error, StoreError)
                assert says in str(error)
            assert store.count(key) == 0

    def test_threads_that_store_a_summary_at_once_leave_the_longest(self, tmp_path: Path) -> None:
        """Though their tallies end at different replicates."""
        with self.opened(tmp_path) as store:
            key = example_key()
            every = [example_summary(key, *ends) for ends in ((100, 150), (100, 300), (70, 130, 220))]
            at_once(*(lambda columns=columns: store.store(key, columns, workspace="w") for columns in every))
            store.flush()
            assert equal_columns(store.load(key), every[1])
            assert store.check().ok
