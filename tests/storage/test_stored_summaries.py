"""Summaries in a store's file, and what a summary is compared with before it is used."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from store_dict import DictStore
from store_helpers import NEW, OLD, columns, key, same, store_now, summary

import bgsim
from bgsim.analysis.comparison import difference
from bgsim.errors import DamagedResultError, InvalidInputError, StoreError
from bgsim.kernels.outputs import read_outputs, unlike_declared
from bgsim.parameters.parameter_set import ResultKey
from bgsim.storage import MemoryStore, ResultStore, Store
from bgsim.storage.codec.columns import moments
from bgsim.storage.codec.tallies import decode_tally, encode_tally
from bgsim.storage.sqlite.salvage import repair
from bgsim.summaries.column import Segment, TallyColumn
from bgsim.summaries.result import SummaryResult
from bgsim.summaries.tally import Tally
from bgsim.testing.store_examples import store_error

DECLARED = read_outputs("model", {"value": "f8", "count": "i8", "won": "?", "path": ("f4", 3)})
PAIRS = [("value", "count")]


def test_a_summary_is_compared_with_the_outputs_and_pairs_that_are_declared() -> None:
    """With no rows in its place, and no summary in the place of rows."""
    found = summary(key(1), 100, 200)
    assert unlike_declared(DECLARED, {}, found, PAIRS) == ""
    assert unlike_declared(DECLARED, {}, columns(key(1), 200)) == ""
    for declared, held, pairs, why in (
        (DECLARED, found, [], "'value*count', and the declared outputs 'value', 'count', 'won', 'path'"),
        (
            DECLARED,
            found,
            [("value", "won")],
            "declared outputs and pairs 'value', 'count', 'won', 'path', 'value*won'",
        ),
        (DECLARED, columns(key(1), 200), [], "column 'value' has no summary"),
        (DECLARED[:1], {"value": found["value"]}, None, "column 'value' has no rows"),
        (DECLARED[3:], {"path": found["value"]}, [], "of 'float64' (), and declared as 'float32' (3,)"),
        (DECLARED[:2], {"value": found["value"], "count": summary(key(1), 100)["count"]}, [], "100 and 200 rows"),
    ):
        assert why in unlike_declared(declared, {}, held, pairs)


# ---- the file ----------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path: Path) -> Iterator[ResultStore]:
    with closing(ResultStore(path)) as opened:
        yield opened


def keep(store: Store, x: int, *ends: int, **options: Any) -> None:
    assert store_error(store, key(x), summary(key(x), *ends), **options) is None


def test_two_stores_of_one_file_that_end_tallies_elsewhere_keep_the_longest(path: Path, store: ResultStore) -> None:
    """Each believes that what it stored last is there."""
    with closing(ResultStore(path)) as other:
        keep(store, 1, 100, 200, workspace="w")
        keep(other, 1, 150, 300, held=0, workspace="w")
        keep(store, 1, 100, 200, 250, held=200, workspace="w")
        assert store.count(key(1)) == other.count(key(1)) == 300
        keep(store, 1, 100, 200, 250, 400, held=250, workspace="w")
        for each in (store, other):
            assert same(each.load(key(1)), summary(key(1), 100, 200, 250, 400))
            assert same(each.load(key(1), 399), summary(key(1), 100, 200, 250))
        assert store.check().ok
        assert [slot.replicates for slot in store.slots("w")] == [400]


ends_of = st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True).map(sorted).map(tuple)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 1), ends_of, st.none() | st.integers(0, 40), st.none() | st.just("w")),
        min_size=1,
        max_size=5,
    ),
    wanted=st.integers(1, 41),
)
@settings(max_examples=25, deadline=None)
def test_any_summaries_that_two_stores_write_leave_the_longest_and_cut_no_tally(steps: Any, wanted: int) -> None:
    """The model: the ends in the file. What covers more follows if one of its tallies ends there, else it replaces."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        stores = [stack.enter_context(closing(ResultStore(Path(name, "s.db")))) for _ in range(2)]
        stored: tuple[int, ...] = ()
        for which, ends, held, workspace in steps:
            keep(stores[which], 1, *ends, held=held, workspace=workspace)
            if not stored or ends[-1] > stored[-1]:
                stored = (*stored, *[e for e in ends if e > stored[-1]]) if stored and stored[-1] in ends else ends
        for store in stores:
            assert store.count(key(1)) == stored[-1]
            assert same(store.load(key(1)), summary(key(1), *stored))
            within = [end for end in stored if end <= wanted]
            found = store.load(key(1), wanted)
            if found is not None and found["value"].ends != tuple(within):  # from a slot, which ends exactly there
                within = [*found["value"].ends]
                assert within[-1] == wanted
            assert same(found, summary(key(1), *within)) if within else found is None
            assert store.check().ok


def test_a_slot_that_holds_other_tallies_than_the_file_answers_with_as_many(path: Path, store: ResultStore) -> None:
    """What is in memory answers only where one of its tallies ends; else the file is asked."""
    with closing(ResultStore(path)) as other:
        keep(other, 1, 120, 160, 300, workspace="w")
        keep(store, 1, 100, 200, workspace="w")
        assert same(store.load(key(1), 200), summary(key(1), 100, 200))
        assert same(store.load(key(1), 190), summary(key(1), 120, 160))
        assert same(store.load(key(1), 300), summary(key(1), 120, 160, 300))


def test_the_limit_is_of_what_the_file_takes(store: ResultStore) -> None:
    """In memory a tally is larger."""
    keep(store, 1, 100, 200)
    size, memory = store.size()[1], sum(column.nbytes for column in summary(key(1), 100, 200).values())
    assert memory > 100 * size
    store.max_storage_bytes = 3 * size + 10_000
    keep(store, 2, 100, 200)
    store.max_storage_bytes = 1000
    error = store_error(store, key(3), summary(key(3), 100, 200))
    assert "larger than max_storage_bytes=1,000" in str(error)
    assert store.count(key(3)) == 0


def test_the_views_show_a_summary_as_they_show_rows(path: Path, store: ResultStore) -> None:
    keep(store, 1, 7, 100, 300)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, replicates, mean, variance, minimum, maximum FROM stored_outputs")
        found = {name: rest for name, *rest in rows}
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    assert version == 6  # or a bgsim that knows no tallies would count them as damaged
    for name in ("value", "count", "won"):
        values = columns(key(1), 300)[name].astype(float)
        expected = [300, values.mean(), values.var(ddof=1), values.min(), values.max()]
        assert found[name] == pytest.approx(expected, rel=1e-12)
    assert found["path"] == found["value*count"] == [300, None, None, None, None]


def test_values_that_are_not_finite_have_no_moments_as_in_rows() -> None:
    for values in ([1.0, np.nan], [np.inf, 1.0], [-np.inf, np.inf], [np.nan], [np.inf], [3.5], [1.0, 2.0, 4.0]):
        rows = np.array(values)
        tally = Tally(rows.dtype, ())
        tally.add(rows)
        column = TallyColumn([Segment(0, len(rows), tally)])
        for found, expected in zip(moments(column), moments(rows), strict=True):
            assert found == (expected if expected is None else pytest.approx(expected, rel=1e-12)), values


# ---- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "data = zeroblob(length(data))",
        "data = substr(data, 1, length(data) - 1)",
        "data = (SELECT data FROM blocks WHERE position = 0 AND first = 0)",
        "raw_bytes = raw_bytes + 1",
        "raw_bytes = 9223372036854775807",
        "raw_bytes = -1",
        "checksum = checksum + 1",
        "filter = 'pairs'",
        "filter = 'none'",
        "filter = 'sums'",
        "dtype = '<f4'",
        "dtype = '<c16'",
        "dtype = '|O'",
        "shape = '[100, 1000000000000]'",
        "shape = '[99]'",
        "count = 99, shape = '[99]'",
        "first = 150",
        "name = 'other'",
        "mean = 7.0",
        "minimum = NULL",
        "versions = 'numpy 1'",
    ],
)
def test_an_edited_tally_costs_its_result_alone(path: Path, change: str) -> None:
    with closing(ResultStore(path)) as store:
        for x in (1, 2):
            keep(store, x, 100, 200)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE blocks SET {change} WHERE hash = ? AND position = 1 AND first = 100", [key(1).hash])
        connection.commit()
    with closing(ResultStore(path)) as store:
        found = store.load(key(1))
        assert found is None or same(found, summary(key(1), 100, 200))
        store.check(repair=True)
        assert store.check().ok
        assert store.count(key(1)) in (0, 200)
        assert same(store.load(key(2)), summary(key(2), 100, 200))
        keep(store, 1, 100, 200)
        assert same(store.load(key(1)), summary(key(1), 100, 200))


def test_a_state_that_makes_no_sense_is_damage_though_its_checksum_is_right() -> None:
    tally = Tally("f8", ())
    tally.add(np.arange(10.0))
    block, data = encode_tally(tally, "here")
    assert decode_tally(block, data, "here") == tally
    with pytest.raises(DamagedResultError, match="checksum"):
        decode_tally(block, data, "there")
    for raw, more in ((b"", {}), (tally.to_bytes()[:-1], {}), (tally.to_bytes(), {"shape": (11,)})):
        wrong = block._replace(raw_bytes=len(raw), **more)
        text = f"here {wrong.dtype} {wrong.shape} {wrong.filter}"
        wrong = wrong._replace(checksum=zlib.crc32(raw, zlib.crc32(text.encode())))
        with pytest.raises(DamagedResultError):
            decode_tally(wrong, zstandard.compress(raw), "here")


@pytest.mark.parametrize("lost", [(1, 100), (0, 0), (4, 100)])
def test_the_tallies_before_a_lost_one_are_saved_from_a_damaged_file(path: Path, lost: tuple[int, int]) -> None:
    with closing(ResultStore(path)) as store:
        keep(store, 1, 100, 200, workspace="w")
        keep(store, 2, 100, 200)
    with closing(sqlite3.connect(path)) as connection:
        gone = (key(1).hash, *lost)
        connection.execute("DELETE FROM blocks WHERE hash = ? AND position = ? AND first = ?", gone)
        connection.commit()
    with path.open("r+b") as file:
        file.write(bytes(100))
    assert repair(path) is not None
    with closing(ResultStore(path)) as store:
        assert same(store.load(key(2)), summary(key(2), 100, 200))
        found = store.load(key(1))
        assert found is None if lost[1] == 0 else same(found, summary(key(1), 100))
        assert store.check().ok


# ---- other files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MemoryStore, DictStore])
def test_a_summary_travels_in_an_npz_file_and_with_a_store(tmp_path: Path, path: Path, kind: Any) -> None:
    """Whole, with versions; what is imported grows a stored one."""
    expected = summary(key(1), 100, 200, 300, versions=(OLD, OLD, NEW))
    with closing(ResultStore(path)) as store:
        assert store_error(store, key(1), expected) is None
        store.export(key(1).hash, tmp_path / "r.npz")
    for file in (tmp_path / "r.npz", path):
        with closing(kind()) as other:
            for _ in range(2):
                assert other.import_(file) == [key(1).hash]
                found = other.load(key(1))
                assert same(found, expected)
                assert found.versions == expected.versions
        with closing(ResultStore(tmp_path / f"{file.name}.db")) as other:
            keep(other, 1, 100, 150)
            other.import_(file)
            assert same(other.load(key(1)), expected)
            assert other.check().ok


def test_an_edited_npz_file_of_a_summary_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.npz"
    with closing(MemoryStore()) as store:
        keep(store, 1, 100, 200)
        store.export(key(1).hash, file)
        with np.load(file) as arrays:
            whole = dict(arrays)
        described = json.loads(str(whole["__bgsim__"]))
        checksums, tallies = described["tallies"]

        def refuse(arrays: dict[str, Any], **changes: Any) -> None:
            text = json.dumps({**described, **changes})
            np.savez(file, **{**arrays, "__bgsim__": np.array(text)})
            with pytest.raises(StoreError, match="not a result that bgsim exported"):
                MemoryStore().import_(file)

        flipped = whole["value.100"].copy()
        flipped[20] ^= 1
        refuse({**whole, "value.100": flipped})
        refuse({name: array for name, array in whole.items() if name != "won.0"})
        refuse({**whole, "more.0": flipped})
        for place, change in (
            (0, {"count": 99}),
            (1, {"first": 50}),
            (1, {"first": "100"}),
            (0, {"form": "pairs"}),
            (0, {"form": "rows"}),
            (0, {"name": 5}),
            (0, {"dtype": "<f4"}),
            (0, {"dtype": None}),
            (0, {"shape": [10**9]}),
            (0, {"shape": 5}),
            (0, {"array": "nothing"}),
            (1, {"array": "count.100"}),
        ):
            edited = [{**each, **change} if n == place else each for n, each in enumerate(tallies)]
            refuse(whole, tallies=[checksums, edited])
        for wrong in ([], [checksums], [checksums, []], [checksums, tallies[:1]], None, [checksums, 3], "x"):
            refuse(whole, tallies=wrong)
        assert described["columns"] == []  # so a bgsim that knows no tallies refuses the file


def test_rows_of_a_summary_cannot_be_exported(tmp_path: Path, store: ResultStore) -> None:
    """The error says what can be."""
    keep(store, 1, 100)
    for suffix in (".csv", ".parquet"):
        with pytest.raises(StoreError, match=r"keeps a summary, which has no rows .* \.npz"):
            store.export(key(1).hash, tmp_path / f"r{suffix}")
    assert not list(tmp_path.glob("r.*"))


# ---- what people ask ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    x: float = 1.0


@bgsim.simulation(
    outputs={"value": "f8", "count": "i8", "won": "?", "path": ("f4", 3)}, compile=False, depends_on=(), pairs=PAIRS
)
def model(p: Model, rng: Any) -> Any:
    return p.x, 1, True, np.zeros(3)


def summary_key(x: float, keep: str = "summary", seed: int = 0) -> ResultKey:
    return ResultKey(model.name, model.fingerprint, seed, model.bind({"x": x}), keep=keep)


def test_an_explanation_minds_where_tallies_end(store: ResultStore) -> None:
    of = summary_key(1.0)
    assert store_error(store, of, summary(of, 100, 200)) is None

    def explained(replicates: int, **options: Any) -> Any:
        return store.explain(model, replicates=replicates, **{"keep": "summary", **options})

    assert str(explained(200)) == "hit: all 200 replicates are stored"
    assert str(explained(100)) == "slice: the first 100 of 200 are used"
    assert str(explained(300)) == "extend: 200 are stored, 100 are computed"
    assert str(explained(150)).startswith("extend: 200 are stored, and the last tally within 150 of them ends at 100;")
    assert explained(99).outcome == "miss"
    rows = explained(100, keep="columns")
    assert rows.outcome == "miss"
    assert "the rows are asked for here and a summary is stored there" in rows.reason
    assert rows.differences == {"keep": ("columns", "summary")}
    with pytest.raises(InvalidInputError, match="keep"):
        explained(100, keep="rows")
    rule = bgsim.Precision("value", standard_error=0.1)
    with pytest.raises(InvalidInputError, match=r"^replicates must be an integer .*Precision, one of its looks\(\)"):
        explained(rule)  # type: ignore[arg-type] # the error is wanted
    less = summary(of, 300)
    del less["value*count"]
    assert store_error(store, of, less) is None
    assert "what is stored is not used, since the columns are" in explained(300).reason


def test_slots_with_summaries_are_compared_by_welch_unless_they_share_random_numbers(store: ResultStore) -> None:
    keys = [summary_key(x, seed=seed) for x, seed in ((1.0, 0), (2.0, 1), (3.0, 0))]
    for of in keys:
        assert store_error(store, of, summary(of, 100, 200), workspace="w") is None
    found = store.compare("w")
    left, right = (columns(of, 200)["value"] for of in (keys[2], keys[1]))
    expected = difference(left, right, paired=False, confidence=0.95)
    for word in ("mean", "standard_error", "low", "high", "replicates", "paired", "valid"):
        assert getattr(found.outputs["value"], word) == pytest.approx(getattr(expected, word), rel=1e-9)
    assert list(found.outputs) == ["value", "count", "won", "path"]
    rows = summary_key(4.0, keep="columns", seed=2)
    assert store_error(store, rows, columns(rows, 150), workspace="w") is None
    mixed = store.compare("w").outputs["value"]
    assert mixed.mean == pytest.approx(columns(rows, 150)["value"].mean() - left.mean())
    assert (mixed.replicates, mixed.paired) == (150, False)
    store.place(keys[0], 200, "w")
    store.place(keys[2], 200, "w")
    with pytest.raises(StoreError, match=r"workspace 'w'.*share random numbers.*engine\.compare\(simulation, a, b, "):
        store.compare("w")


def test_lists_say_that_a_result_is_a_summary(store: ResultStore) -> None:
    keep(store, 1, 100)
    assert "summary" in repr(store.results())
    assert repr(store.get(key(1).hash)).startswith(f"<StoredResult {key(1).hash[:12]}: tests.model, a summary of 100")
    assert store.get(key(1).hash).as_json()["keep"] == "summary"
    store.delete(key(1).hash)
    store_now(store, key(2), 10)
    assert "keep" not in repr(store.results())


def test_a_stored_summary_is_loaded_as_a_job_returns_it(store: ResultStore) -> None:
    """With its simulation, and without."""
    of = summary_key(1.0)
    assert store_error(store, of, summary(of, 100, 200)) is None
    for known in (model, None):
        found = store.load_result(of.hash, known, replicates=150)
        assert type(found) is SummaryResult
        assert found.replicates == 100
        assert found.simulation.pairs == (("value", "count"),)
        assert [output.name for output in found.simulation.outputs] == ["value", "count", "won", "path"]
    with pytest.raises(StoreError, match="no tally lies within 99 replicates; ask for up to 200"):
        store.load_result(of.hash, model, replicates=99)
    described = store.get(of.hash)
    store.delete(of.hash)
    with pytest.raises(StoreError, match="no longer"):
        store.load_result(described, model, replicates=99)
