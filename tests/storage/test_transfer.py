"""Exported files that were edited, or that bgsim did not write: refused by name, and nothing of them is imported."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import struct
import tracemalloc
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from paths import GOLDEN
from store_helpers import columns, key, same, store_now

from bgsim.errors import StoreError
from bgsim.storage import MemoryStore, Record, ResultStore
from bgsim.ui.cli import cli

DESCRIBED = {name: getattr(Record.of(key()), name) for name in ("hash", "identity", "simulation", "fingerprint", "seed", "parameters", "checksum")}  # fmt: skip


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Return an exported file, and the arrays in it."""
    path = tmp_path / "r.npz"
    with closing(MemoryStore()) as store:
        store_now(store, key(), 20)
        store.export(key().hash, path)
    with np.load(path) as file:
        return path, dict(file)


def npy(array: Any = None, header: str | None = None, data: bytes = b"") -> bytes:
    """Return the bytes of an array, or of a header and what follows it."""
    if header is None:
        file = io.BytesIO()
        np.lib.format.write_array(file, np.asarray(array))
        return file.getvalue()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def head(descr: str = "'<f8'", shape: str = "(3,)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def described(**changes: Any) -> bytes:
    return npy(np.array(json.dumps({**DESCRIBED, **changes})))


def refused(path: Path, says: str) -> None:
    """See that neither a store nor the command line imports a file, and what they say."""
    with closing(ResultStore(path.with_name("into.db"))) as store:
        with pytest.raises(StoreError, match=says):
            store.import_(path)
        assert store.results() == []
    found = CliRunner().invoke(cli, ["store", "import", str(path), "--store", str(path.with_name("into.db"))])
    assert isinstance(found.exception, StoreError)


@pytest.mark.parametrize("name", ["value", "count", "won", "path"])
def test_an_edited_column_is_refused_by_name(exported: Any, name: str) -> None:
    path, arrays = exported
    edited = arrays[name].copy()
    edited.reshape(-1).view(np.uint8)[-1] ^= 1
    for wrong in (edited, arrays[name][:, None], arrays[name].astype("c16")):
        np.savez(path, **{**arrays, name: wrong})
        refused(path, f"column '{name}' does not match its checksum")


def test_columns_that_are_added_removed_or_moved_are_refused(exported: Any) -> None:
    path, arrays = exported
    for wrong in ({**arrays, "more": arrays["value"]}, {n: arrays[n] for n in arrays if n != "won"}, dict(reversed(arrays.items()))):  # fmt: skip
        np.savez(path, **wrong)
        refused(path, "its columns are .* and were")
    short = {name: array[:10] if array.ndim else array for name, array in arrays.items()}
    np.savez(path, **short)
    refused(path, "does not match its checksum")


def test_the_order_of_the_values_in_the_file_does_not_matter(exported: Any, tmp_path: Path) -> None:
    path, arrays = exported
    np.savez(path, **{**arrays, "path": np.asfortranarray(arrays["path"])})
    with closing(ResultStore(tmp_path / "into.db")) as store:
        assert store.import_(path) == [key().hash]
        assert same(store.load(key()), columns(key(), 20))


def test_a_file_without_checksums_is_compared_with_its_description(exported: Any, tmp_path: Path) -> None:
    """As of an older bgsim; big-endian numbers come in the machine's order."""
    path, arrays = exported
    meta = json.loads(str(arrays["__bgsim__"]))
    del meta["columns"]
    arrays = {n: a.astype(a.dtype.newbyteorder(">")) for n, a in arrays.items()} | {"__bgsim__": np.array(json.dumps(meta))}  # fmt: skip
    np.savez(path, **{name: array[:10] if array.ndim else array for name, array in arrays.items()})
    refused(path, "10 rows, and the versions in it are of others")
    np.savez(path, **arrays)
    with closing(ResultStore(tmp_path / "into.db")) as store:
        assert store.import_(path) == [key().hash]
        assert same(store.load(key()), columns(key(), 20))


X = npy(np.zeros(3))
FILES = {
    "0-d column": ([("__bgsim__.npy", described()), ("x.npy", npy(np.float64(1)))], "no array with a row"),
    "no rows": ([("__bgsim__.npy", described()), ("x.npy", npy(np.zeros(0)))], "one length of 1 or more"),
    "no columns": ([("__bgsim__.npy", described())], "one length of 1 or more"),
    "other lengths": ([("__bgsim__.npy", described()), ("x.npy", X), ("y.npy", npy(np.zeros(4)))], "one length"),
    **{
        f"no {name}": (
            [
                ("__bgsim__.npy", npy(np.array(json.dumps({n: v for n, v in DESCRIBED.items() if n != name})))),
                ("x.npy", X),
            ],
            says,
        )
        for name in DESCRIBED
        for says in ("does not match its checksum" if name == "checksum" else f"its {name} is None",)
    },
    "list as seed": ([("__bgsim__.npy", described(seed=["x"])), ("x.npy", X)], "its seed is"),
    "text as seed": ([("__bgsim__.npy", described(seed="x")), ("x.npy", X)], "invalid literal"),
    "long seed": ([("__bgsim__.npy", described(seed="9" * 5000)), ("x.npy", X)], "is not a result"),
    "lone surrogate": ([("__bgsim__.npy", described(simulation="\ud800")), ("x.npy", X)], "surrogates"),
    "surrogate in versions": (
        [("__bgsim__.npy", described(versions=[{"count": 3, "versions": "\ud800"}])), ("x.npy", X)],
        "surrogates",
    ),
    "endless count": (
        [("__bgsim__.npy", npy(np.array('{"versions": [{"count": 1e999, "versions": ""}]}'))), ("x.npy", X)],
        "is not a result",
    ),
    "odd checksums": ([("__bgsim__.npy", described(columns=5)), ("x.npy", X)], "its checksums are 5"),
    "odder checksums": ([("__bgsim__.npy", described(columns=[[1]])), ("x.npy", X)], "is not a result"),
    "odd parameters": ([("__bgsim__.npy", described(parameters="[1]")), ("x.npy", X)], "no object"),
    "no JSON": ([("__bgsim__.npy", npy(np.array("{"))), ("x.npy", X)], "is not a result"),
    "JSON of no object": ([("__bgsim__.npy", npy(np.array("[]"))), ("x.npy", X)], "is not a result"),
    "deep JSON": ([("__bgsim__.npy", npy(np.array('{"a":' * 50_000 + "1" + "}" * 50_000))), ("x.npy", X)], "nested"),
    "bytes for a text": ([("__bgsim__.npy", npy(np.array(b"{}"))), ("x.npy", X)], "no text __bgsim__"),
    "no description": ([("x.npy", X)], "no text __bgsim__"),
    "two of a name": ([("__bgsim__.npy", described()), ("x.npy", X), ("x.npy", X)], "two arrays of the name 'x'"),
    "no array": ([("__bgsim__.npy", described()), ("x.txt", X)], "'x.txt' in it is no array"),
    "no magic": ([("__bgsim__.npy", described()), ("x.npy", b"hello, this is no array")], "is not a result"),
    "cut": ([("__bgsim__.npy", described()), ("x.npy", X[:-1])], "says that it has 24 bytes, and has 23"),
    "longer": ([("__bgsim__.npy", described()), ("x.npy", X + b"x")], "says that it has 24 bytes, and has 25"),
    "empty": ([("__bgsim__.npy", described()), ("x.npy", b"")], "is not a result"),
    "claims": ([("__bgsim__.npy", described()), ("x.npy", npy(header=head(shape="(10000000000000,)")))], "says that"),
    "claims more": (
        [("__bgsim__.npy", described()), ("x.npy", npy(header=head(shape="(1" + "0" * 30 + ",)")))],
        "has the shape",
    ),
    "negative": ([("__bgsim__.npy", described()), ("x.npy", npy(header=head(shape="(-3,)")))], "is not a result"),
    "a text as shape": ([("__bgsim__.npy", described()), ("x.npy", npy(header=head(shape="'a'")))], "the shape 'a'"),
    "many dimensions": ([("__bgsim__.npy", described()), ("x.npy", npy(header=head(shape=f"({'1,' * 99})")))], "shape"),
    "objects": (
        [("__bgsim__.npy", described()), ("x.npy", npy(header=head("'|O'"), data=b"cos\nsystem\n(S'false'\ntR."))],
        "which bgsim never writes",
    ),
    "structured objects": (
        [("__bgsim__.npy", described()), ("x.npy", npy(header=head("[('a', '|O')]"), data=bytes(24)))],
        "which bgsim never writes",
    ),
    "void of no size": ([("__bgsim__.npy", described()), ("x.npy", npy(header=head("'|V0'")))], "never writes"),
    "unknown dtype": ([("__bgsim__.npy", described()), ("x.npy", npy(header=head("'<q9'")))], "no dtype that there is"),
    "dtype of tuples": ([("__bgsim__.npy", described()), ("x.npy", npy(header=head("((), ())")))], "no dtype that"),
    "code in the header": (
        [("__bgsim__.npy", described()), ("x.npy", npy(header=head("__import__('os').abort()")))],
        "is not a result",
    ),
    "deep header": ([("__bgsim__.npy", described()), ("x.npy", npy(header="(" * 9000 + ")" * 9000))], "nested"),
    "other header": ([("__bgsim__.npy", described()), ("x.npy", npy(header="{'descr': '<f8'}"))], "has the header"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_odd_file_is_refused(tmp_path: Path, kind: str) -> None:
    members, says = FILES[kind]
    with zipfile.ZipFile(tmp_path / "odd.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    refused(tmp_path / "odd.npz", says)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "odd.npz", "w", method) as archive:
        archive.writestr("__bgsim__.npy", described())
    refused(tmp_path / "odd.npz", "another method than deflate")


def test_every_cut_of_a_file_is_refused(exported: Any) -> None:
    path, _ = exported
    whole = path.read_bytes()
    with closing(MemoryStore()) as store:
        for length in range(0, len(whole), 97):
            path.write_bytes(whole[:length])
            with pytest.raises(StoreError):
                store.import_(path)
        assert store.results() == []


def test_a_file_that_grows_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__bgsim__.npy", described())
        archive.writestr("x.npy", npy(header=head(shape="(12500000,)"), data=bytes(100_000_000)))
    with closing(MemoryStore(max_storage_bytes=1_000_000)) as store:
        tracemalloc.start()
        try:
            with pytest.raises(StoreError, match="more than max_storage_bytes=1,000,000"):
                store.import_(path)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


def test_outputs_of_any_name_go_out_and_come_back(tmp_path: Path) -> None:
    """Also those that are arguments of `numpy.savez`; and structures."""
    made = {"file": np.arange(3.0), "allow_pickle": np.arange(3), "s": np.zeros(3, [("a", "f8"), ("ä", "i2", (2,))])}
    with closing(MemoryStore()) as store:
        store.store(key(), made)
        store.export(key().hash, tmp_path / "r.npz")
        store.delete(key().hash)
        store.import_(tmp_path / "r.npz")
        assert same(store.load(key()), made)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_an_export_is_for_those_who_may_read_the_store(tmp_path: Path, suffix: str) -> None:
    with closing(ResultStore(tmp_path / "s.db")) as store:
        store_now(store, key(), 5)
        (tmp_path / "s.db").chmod(0o600)
        store.export(key().hash, tmp_path / f"r.{suffix}")
    assert (tmp_path / f"r.{suffix}").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_the_copy_before_a_migration_is_for_those_who_may_read_the_store(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes((GOLDEN / "store-1.db").read_bytes())
    path.chmod(0o600)
    ResultStore(path).close()
    (copy,) = tmp_path.glob("s.db.schema-*")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_migration_whose_copy_cannot_be_made_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    path.write_bytes((GOLDEN / "store-1.db").read_bytes())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bgsim.storage.sqlite.schema.make_like", refuse)
    with pytest.raises(StoreError, match="cannot be made: Permission denied"):
        ResultStore(path)
    assert path.read_bytes() == (GOLDEN / "store-1.db").read_bytes()
