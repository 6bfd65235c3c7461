"""What stores do beyond their contract (`test_contract`), and what is built on it."""

from __future__ import annotations

import json
import zipfile
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from store_dict import DictStore
from store_helpers import NEW, OLD, columns, key, opened_by, same, store_now, versioned

import bgsim
from bgsim.errors import InvalidInputError, StoreError
from bgsim.parameters.parameter_set import ParameterSet
from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.explain import changed_parts


@pytest.fixture(params=["file", "memory", "dict"])
def make(request, tmp_path):
    """Return a function that opens a store; what it opened is closed in the end."""
    kinds = {"file": partial(ResultStore, tmp_path / "s.db"), "memory": MemoryStore, "dict": DictStore}
    with opened_by(kinds[request.param]) as open_store:
        yield open_store


@pytest.fixture
def store(make):
    return make()


@pytest.mark.parametrize("steps", [(10, 1000), (10, 30, 1000), (500, 510), (1, 2, 3, 4)])
def test_any_number_of_a_result_that_has_grown_is_its_first_ones(store, steps) -> None:
    """Also where a later part is longer than what is asked for, in the file and in memory."""
    for workspace in (None, "w"):
        grown = key(7.0 if workspace else 8.0)
        for replicates in steps:
            store_now(store, grown, replicates, workspace)
        for wanted in sorted({1, steps[0], steps[0] + 1, sum(steps) // 3, steps[-1] // 2, steps[-1] - 1, steps[-1]}):
            if 1 <= wanted <= steps[-1]:
                assert same(store.load(grown, wanted), columns(grown, wanted))


def test_large_columns_in_many_blocks_come_back(store) -> None:
    """Several blocks a column, the last of them short, and a prefix that ends within one."""
    first, more = 700_000, 900_001
    rng = np.random.default_rng(1)
    whole = {"a": rng.random(more), "b": rng.integers(0, 9, (more, 2)), "c": rng.random(more) < 0.5}
    store.store(key(), {n: c[:first] for n, c in whole.items()})
    store.flush()
    store.store(key(), whole)
    store.flush()
    for replicates in (1, first - 1, first, first + 1, more):
        assert same(store.load(key(), replicates), {n: c[:replicates] for n, c in whole.items()})
    assert store.check().ok


# ---- versions and parts --------------------------------------------------------------------------


def with_parts(of, **parts: str):
    return replace(of, parts=parts)


def test_parts_go_with_the_last_result_that_is_evicted(store) -> None:
    others = [replace(with_parts(key(x), a=str(x)), fingerprint=f"{x}" * 32) for x in (1, 2)]
    for of in others:
        store_now(store, of, 10)
    store.max_storage_bytes = 1
    store.cleanup()
    assert [store.parts(of.fingerprint) for of in others] == [{}, {}]
    store.max_storage_bytes = 2**30
    store_now(store, others[0], 10)
    assert store.parts(others[0].fingerprint) == {"a": "1"}


def test_parts_count_neither_in_the_key_nor_in_its_hash() -> None:
    assert with_parts(key(), a="1") == key()
    assert hash(with_parts(key(), a="1")) == hash(key())
    assert with_parts(key(), a="1").identity == key().identity


def test_nan_and_infinity_are_kept_and_have_no_summary(store) -> None:
    values = np.array([1.0, np.nan, np.inf, -0.0])
    store.store(key(), {"a": values})
    store.flush()
    assert store.load(key())["a"].tobytes() == values.tobytes()
    assert store.get(key().hash).summary["a"].mean is None


def test_a_part_of_a_large_array_does_not_keep_all_of_it(store) -> None:
    """The prefix of a cancelled run is a slice of what was allocated for all of it."""
    whole = np.zeros(1_000_000)
    store.store(key(), {"a": whole[:10]}, workspace="w")
    store.flush()
    held = store.load(key(), 10)["a"]
    assert held.base is None or held.base.nbytes < whole.nbytes


# ---- slots ---------------------------------------------------------------------------------------


# ---- limits --------------------------------------------------------------------------------------


def test_cleanup_says_what_it_removed(make) -> None:
    store = make()
    for x in range(4):
        store_now(store, key(x), 1000, "w" if x == 0 else None)
    size = store.get(key(1).hash).stored_bytes
    assert store.cleanup().removed == ()
    store.max_storage_bytes = 1
    report = store.cleanup()
    assert report.removed == tuple(key(x).hash for x in (1, 2, 3))
    assert report.removed_bytes == pytest.approx(3 * size, rel=0.05)
    assert [r.hash for r in store.results()] == [key(0).hash]


def test_a_result_beyond_the_limit_is_refused_with_what_to_do(make) -> None:
    store = make(max_storage_bytes=1000)
    errors: list[Exception | None] = []
    store.store(key(), columns(key(), 1000), on_stored=errors.append)
    store.flush()
    assert "max_storage_bytes=1,000" in str(errors[0])
    assert store.count(key()) == 0


def test_a_run_whose_result_is_beyond_the_limit_is_refused_before_it_starts(make) -> None:
    ran = []

    @bgsim.simulation(outputs={"a": "f8"}, compile=False, depends_on=())
    def model(p, rng):
        ran.append(1)
        return 1.0

    with bgsim.Engine(make(max_storage_bytes=1000), workers=1) as engine:
        with pytest.raises(InvalidInputError, match="max_storage_bytes"):
            engine.submit(model, {}, replicates=1000)
        assert not ran
        assert engine.submit(model, {}, replicates=200, cache="off").result(timeout=30).replicates == 200
        assert engine.submit(model, {}, replicates=100).result(timeout=30).replicates == 100


# ---- explaining and finding ----------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    spot: float = 100.0
    volatility: float = 0.2
    steps: int = 10


@bgsim.simulation(outputs={"value": "f8"}, compile=False)
def call(p: Call, rng):
    return p.spot + p.volatility * rng.standard_normal()


def keep(store, parameters: Call, replicates: int, seed: int = 0, of=call, workspace: str | None = None) -> str:
    found = bgsim.parameters.parameter_set.ResultKey(of.name, of.fingerprint, seed, of.bind(parameters))
    values = np.array([of.replay(of.bind(parameters), seed, i) for i in range(replicates)])
    store.store(found, {"value": values}, workspace=workspace)
    store.flush()
    return found.hash


def test_explain_hit_slice_extend_and_miss(store) -> None:
    said = store.explain(call, Call(), replicates=10)
    assert (said.outcome, said.nearest) == ("miss", None)
    found = keep(store, Call(), 10)
    assert store.explain(call, replicates=10).outcome == "hit"
    assert store.explain(call, {"steps": 10}, replicates=4).outcome == "slice"
    said = store.explain(call, Call(), replicates=15)
    assert (said.outcome, said.stored, said.wanted, said.hash) == ("extend", 10, 15, found)
    said = store.explain(call, Call(volatility=0.3), replicates=10)
    assert (said.outcome, said.nearest.hash, dict(said.differences)) == ("miss", found, {"volatility": (0.3, 0.2)})
    assert "volatility is 0.3 here and 0.2 there" in said.reason


def test_explain_names_seed_and_code(store) -> None:
    found = keep(store, Call(), 10)
    said = store.explain(call, Call(), replicates=10, seed=3)
    assert (said.nearest.hash, dict(said.differences)) == (found, {"seed": (3, 0)})
    edited = bgsim.simulation(outputs={"value": "f8"}, compile=False, version="2")(call.function)
    said = store.explain(edited, Call(), replicates=10)
    assert list(said.differences) == ["fingerprint"]
    assert "code" in said.reason


def test_explain_names_the_dependencies_that_changed(store) -> None:
    """The wanted side is the simulation's, the stored side is what the store keeps."""
    bound = call.bind(Call())
    of = bgsim.parameters.parameter_set.ResultKey(
        "s", "a" * 32, 0, bound, {"m.RATE": "1", "m.f": "2", "m.g": "3", "m.h": "4"}
    )
    store.store(of, {"value": np.zeros(5)})
    store.flush()

    class Edited:
        name, fingerprint, parts = "s", "b" * 32, {"m.RATE": "9", "m.f": "2", "m.g": "8", "m.new": "7"}
        bind = staticmethod(call.bind)

    said = store.explain(Edited, Call(), replicates=5)
    assert said.changed == ("m.RATE changed", "m.g changed", "m.new added", "m.h removed")
    assert said.reason.endswith("but its code has changed (m.RATE changed, m.g changed, m.new added and 1 more)")
    Edited.parts = {}
    said = store.explain(Edited, Call(), replicates=5)
    assert said.changed == ()
    assert "the simulation's code, what it uses, or its version has changed" in said.reason


@pytest.mark.parametrize(
    ("wanted", "stored", "changed"),
    [
        ({}, {"a": "1"}, ()),
        ({"a": "1"}, {}, ()),
        ({"a": "1"}, {"a": "1"}, ()),
        ({"a": "1"}, {"a": "2"}, ("a changed",)),
        ({"b": "1", "a": "1"}, {"c": "1"}, ("b added", "a added", "c removed")),
    ],
)
def test_changed_parts(wanted, stored, changed) -> None:
    assert changed_parts(wanted, stored) == changed


def test_most_similar(store) -> None:
    assert store.most_similar(Call()) is None
    near, far = keep(store, Call(spot=101.0), 5), keep(store, Call(spot=300.0, steps=99), 5)
    store_now(store, key(7), 5)
    result, alike = store.most_similar(Call(), simulation=call)
    assert result.hash == near
    assert alike == pytest.approx(1 - (1 / 101) / 3)
    assert store.most_similar({"spot": 290.0, "volatility": 0.2, "steps": 100})[0].hash == far
    assert store.most_similar({"x": 7.0})[0].hash == key(7).hash
    assert store.most_similar(ParameterSet({"x": 7.0}), simulation="nobody") is None


def test_resolve_takes_the_first_digits(store) -> None:
    store_now(store, key(1), 5)
    assert store.resolve(key(1).hash[:6].upper()) == key(1).hash
    for wrong in ("", "zz"):
        with pytest.raises(StoreError, match="no stored results"):
            store.resolve(wrong)
    others = [key(x) for x in range(2, 40)]
    for of in others:
        store_now(store, of, 1)
    digits = [r.hash[0] for r in store.results()]
    with pytest.raises(StoreError, match="give more digits"):
        store.resolve(next(d for d in digits if digits.count(d) > 1))


# ---- export and import ---------------------------------------------------------------------------


def test_npz_goes_out_and_comes_back(store, tmp_path) -> None:
    of = key(3, note="ä", grid=np.arange(4.0))
    store_now(store, of, 50)
    before = store.get(of.hash)
    store.export(of.hash, tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as file:
        assert file["value"].tobytes() == columns(of, 50)["value"].tobytes()
    store.delete(of.hash)
    assert store.import_(tmp_path / "r.npz") == [of.hash]
    assert store.count(of) == 50
    assert same(store.load(of, 50), columns(of, 50))
    assert store.get(of.hash).record == before.record


@pytest.mark.parametrize("kind", ["npz", "db"])
def test_versions_and_parts_go_out_and_come_back(store, tmp_path, kind) -> None:
    of = with_parts(key(), a="1")
    other = ResultStore(tmp_path / "other.db") if kind == "db" else store
    other.store(of, versioned(of, (10, OLD), (20, NEW)))
    other.flush()
    if kind == "db":
        other.close()
    else:
        store.export(of.hash, tmp_path / "other.npz")
        store.delete(of.hash)
    store.import_(tmp_path / f"other.{kind}")
    assert store.load(of).versions == ((0, 10, OLD), (10, 20, NEW))
    assert store.parts(of.fingerprint) == {"a": "1"}


def test_an_export_of_an_older_bgsim_comes_in(store, tmp_path) -> None:
    store_now(store, with_parts(key(), a="1"), 5)
    store.export(key().hash, tmp_path / "r.npz")
    store.delete(key().hash)
    with np.load(tmp_path / "r.npz") as file:
        content = dict(file)
    described = json.loads(str(content["__bgsim__"]))
    for name, wrong in (("parts", {"a": 1}), ("versions", [{}])):
        content["__bgsim__"] = np.array(json.dumps({**described, name: wrong}))
        np.savez(tmp_path / "wrong.npz", **content)
        with pytest.raises(StoreError, match="is not a result that bgsim exported"):
            store.import_(tmp_path / "wrong.npz")
    del described["parts"], described["versions"]
    content["__bgsim__"] = np.array(json.dumps(described))
    np.savez(tmp_path / "r.npz", **content)
    store.import_(tmp_path / "r.npz")
    assert store.load(key()).versions == ((0, 5, ""),)
    assert store.parts(key().fingerprint) == {}


def test_csv_has_a_row_a_replicate(store, tmp_path) -> None:
    store_now(store, key(), 3)
    store.export(key().hash, tmp_path / "r.csv")
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert lines[0] == "replicate,value,count,won,path[0],path[1],path[2]"
    assert float(lines[3].split(",")[1]) == columns(key(), 3)["value"][2]


def test_parquet_has_a_row_a_replicate(store, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    store_now(store, key(), 20)
    store.export(key().hash, tmp_path / "r.parquet")
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table["value"].to_numpy().tobytes() == columns(key(), 20)["value"].tobytes()
    assert key().hash.encode() in table.schema.metadata[b"__bgsim__"]


def test_another_stores_file_is_taken_in(store, tmp_path) -> None:
    other = ResultStore(tmp_path / "other.db")
    for x in range(3):
        store_now(other, key(x), 10 * (x + 1))
    other.close()
    store_now(store, key(2), 5)
    assert set(store.import_(tmp_path / "other.db")) == {key(x).hash for x in range(3)}
    assert all(same(store.load(key(x)), columns(key(x), 10 * (x + 1))) for x in range(3))


def test_what_cannot_be_exported_or_imported_is_refused(store, tmp_path) -> None:
    store_now(store, key(), 5)
    with pytest.raises(InvalidInputError, match=r"\.npz, \.csv, \.parquet"):
        store.export(key().hash, tmp_path / "r.xlsx")
    with pytest.raises(StoreError, match="no result"):
        store.export("0" * 32, tmp_path / "r.npz")
    with pytest.raises(StoreError, match="no file"):
        store.import_(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "plain.npz", a=np.zeros(3))
    for name in ("text.npz", "plain.npz"):
        with pytest.raises(StoreError, match="is not a result that bgsim exported"):
            store.import_(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"__bgsim__": "0.5"}, {"__bgsim__": "null"}, {"__bgsim__": "[" * 5000}, {"fingerprint": None}, {"identity": 3},
        {"hash": []}, {"checksum": "x"}, {"versions": 3}, {"value": np.float64(1)}, {"value": np.array(None)},
    ],
    ids=repr,
)  # fmt: skip
def test_an_export_with_odd_content_is_refused_by_name(store, tmp_path, change) -> None:
    store_now(store, key(), 5)
    store.export(key().hash, tmp_path / "r.npz")
    store.delete(key().hash)
    with np.load(tmp_path / "r.npz") as file:
        content = dict(file)
    ((name, value),) = change.items()
    if name in content:
        content[name] = np.array(value)
    else:
        content["__bgsim__"] = np.array(json.dumps(json.loads(str(content["__bgsim__"])) | change))
    np.savez(tmp_path / "r.npz", **content)
    with pytest.raises(StoreError, match="r.npz"):
        store.import_(tmp_path / "r.npz")
    assert store.results() == []


@pytest.mark.parametrize("shape", ["(" * 500, "(", "(1000000000000,)", "(-1,)", "__import__('os').abort()"])
def test_an_export_whose_array_claims_what_it_is_not_is_refused_by_name(store, tmp_path, shape) -> None:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    with zipfile.ZipFile(tmp_path / "r.npz", "w") as file:
        file.writestr("__bgsim__.npy", b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(StoreError, match="is not a result that bgsim exported"):
        store.import_(tmp_path / "r.npz")


def test_a_changed_export_is_refused(store, tmp_path) -> None:
    store_now(store, key(), 5)
    store.export(key().hash, tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as file:
        content = dict(file)
    content["__bgsim__"] = np.array(str(content["__bgsim__"]).replace("tests.model", "tests.other"))
    np.savez(tmp_path / "r.npz", **content)
    with pytest.raises(StoreError, match="checksum"):
        store.import_(tmp_path / "r.npz")


# ---- threads and the end -------------------------------------------------------------------------


def test_a_commit_within_the_limits_looks_at_no_result_but_the_oldest(tmp_path: Path) -> None:
    """What it costs must not grow with the store."""
    statements: list[str] = []
    with closing(ResultStore(tmp_path / "s.db")) as store:
        store_now(store, key(1), 10)
        store._file.writer.connection.set_trace_callback(statements.append)
        store_now(store, key(2), 10)
        store._file.writer.connection.set_trace_callback(None)
        with store._file.readers.reading() as reader:
            plans = [
                step[3]
                for statement in statements
                if statement.startswith(("SELECT", "UPDATE", "DELETE"))
                for step in reader.execute(f"EXPLAIN QUERY PLAN {statement}")
            ]
    assert any("results_by_use (used_at<?)" in plan for plan in plans)
    assert not [plan for plan in plans if plan.startswith(("SCAN results", "SCAN blocks"))]


def test_parts_are_written_once_and_again_when_another_may_have_removed_them(tmp_path: Path) -> None:
    statements: list[str] = []

    def written() -> int:
        found = sum(statement.startswith("INSERT OR IGNORE INTO identities") for statement in statements)
        statements.clear()
        return found

    of = [with_parts(key(x), a="1") for x in range(9)]
    with closing(ResultStore(tmp_path / "s.db")) as store:
        store._file.writer.connection.set_trace_callback(statements.append)
        for each in of[:3]:
            store_now(store, each, 10)
        assert written() == 1
        with closing(ResultStore(tmp_path / "s.db")) as other:
            for each in of[:3]:
                other.delete(each.hash)
        assert store.parts(key().fingerprint) == {}
        store_now(store, of[3], 10)
        assert written() == 1
        assert store.parts(key().fingerprint) == {"a": "1"}
        store.delete(of[3].hash)
        store_now(store, of[4], 10)
        assert written() == 1
        assert store.parts(key().fingerprint) == {"a": "1"}
        store._file.writer.connection.set_trace_callback(None)
