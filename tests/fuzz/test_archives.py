"""Whatever a file to be imported holds, a store takes the result in as it was, or refuses it by name."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run_main
from fuzzing import MARKS, changed, fuzz
from hypothesis import given
from hypothesis import strategies as st
from store_helpers import key, store_now

from bgsim.errors import BgsimError
from bgsim.storage import ResultStore
from bgsim.storage.transfer import METADATA

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

ROWS = 20
MEMBER = f"{METADATA}.npy"


@pytest.fixture(scope="module")
def exported() -> Iterator[dict[str, bytes]]:
    """Return the members of an exported file."""
    with tempfile.TemporaryDirectory() as name, contextlib.closing(ResultStore(Path(name, "s.db"))) as store:
        store_now(store, key(), ROWS)
        store.export(key().hash, Path(name, "r.npz"))
        with zipfile.ZipFile(Path(name, "r.npz")) as file:
            yield {member: file.read(member) for member in file.namelist()}


@pytest.fixture(scope="module")
def store() -> Iterator[ResultStore]:
    with tempfile.TemporaryDirectory() as name, contextlib.closing(ResultStore(Path(name, "s.db"))) as made:
        yield made


def npy(values: Any) -> bytes:
    found = io.BytesIO()
    np.lib.format.write_array(found, np.asanyarray(values), allow_pickle=True)
    return found.getvalue()


def claiming(dtype: str, shape: str) -> bytes:
    """Return an array's head that says what its body is not."""
    head = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head) + 1) + head + b"\n" + bytes(160)


COLUMNS = st.one_of(
    st.sampled_from(
        [
            npy([]), npy(3.0), npy([None, {}]), npy(["a"] * ROWS), npy([1 + 2j] * ROWS), npy(np.zeros((ROWS, 0))), npy(np.zeros((ROWS,) + (1,) * 30)),
            npy(np.zeros(ROWS, "M8[D]")), npy(np.zeros(ROWS, "V3")), npy(np.zeros(ROWS, [("a", "f8"), ("b", "U2")])), npy(np.zeros(ROWS, ">f8")), npy(np.zeros(ROWS, "f2")),
            npy(np.zeros(ROWS, "S0")), npy(np.full(ROWS, np.nan)), npy(np.zeros(ROWS + 1)), npy(np.zeros(ROWS, "g")), npy(np.zeros(ROWS, [("a", "O")])), b"", b"x",
            b"\x93NUMPY", b"\x93NUMPY\1\0\xff\xff", b"\x93NUMPY\2\0\xff\xff\xff\xff", b"\x93NUMPY\3\0\xff\xff\xff\x7f" + b" " * 99, b"\x93NUMPY\x09\0",
            claiming("'<f8'", "(1000000000000,)"), claiming("'<f8'", "(20, 10000000000)"), claiming("'<f8'", "(-1,)"), claiming("'<f8'", "(True,)"), claiming("'<f8'", "20"),
            claiming("'<f8'", "(" * 500), claiming("'|O'", "(20,)"), claiming("'<U1000000000'", "(20,)"), claiming("__import__('os').system('false')", "(20,)"),
            claiming("'<f8'", "(9" + "0" * 5000 + ",)"), claiming("[('a', '<f8')] * 9", "(20,)"), claiming("'x'", "(20,)"), claiming("None", "(2, 10)"),
        ]
    ),
    st.binary(max_size=200),
)  # fmt: skip
NAMES = st.sampled_from(["value", "count", "won", "path", "a b", "", "é", "../x", "x" * 5000, "x\x1b[2J", METADATA])


def archive(members: list[tuple[str, bytes]]) -> bytes:
    found = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, content in members:
            file.writestr(name, content)
    return found.getvalue()


@st.composite
def archives(draw: st.DrawFn, members: dict[str, bytes]) -> bytes:
    found = list(members.items())
    if draw(st.booleans()):
        text = str(np.load(io.BytesIO(members[MEMBER])))
        described = draw(changed(json.loads(text)))
        text = json.dumps(described, default=str).encode("utf-8", "replace").decode()
        found = [(name, npy(text) if name == MEMBER else content) for name, content in found]
    for _ in range(draw(st.integers(0, 2))):
        match draw(st.sampled_from(["column", "name", "drop", "twice", "more"])):
            case "column":
                at = draw(st.integers(0, len(found) - 1))
                found[at] = (found[at][0], draw(COLUMNS))
            case "name":
                at = draw(st.integers(0, len(found) - 1))
                found[at] = (draw(NAMES) + draw(st.sampled_from(["", ".npy"])) or "x", found[at][1])
            case "drop" if len(found) > 1:
                del found[draw(st.integers(0, len(found) - 1))]
            case "twice":
                found.append(draw(st.sampled_from(found)))
            case _:
                found.append((draw(NAMES) + ".npy", draw(COLUMNS)))
    content = bytearray(archive(found))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(content) - 1) | st.integers(max(0, len(content) - 80), len(content) - 1))
        content[at : at + draw(st.integers(0, 4))] = draw(
            st.binary(max_size=4) | st.sampled_from([b"\xff" * 4, bytes(4)])
        )
    return bytes(content)


@given(data=st.data())
@fuzz(6)
def test_a_changed_archive_is_taken_as_it_was_or_refused_by_name(
    exported: dict[str, bytes], store: ResultStore, data: st.DataObject
) -> None:
    content = data.draw(archives(exported))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "r.npz")
        path.write_bytes(content)
        try:
            hashes = store.import_(path)
        except BgsimError as error:
            assert len(str(error)) < 30_000
            hashes = []
        assert command(path, store.path) in (0, 1, 2)
        for each in hashes:
            assert store.get(each) is not None
            store.export(each, Path(name, "again.npz"))
        assert store.check().ok, store.check()
        for each in {*hashes, *(result.hash for result in store.results())}:
            store.delete(each)


def command(path: Path, store: Path) -> int:
    code, _, remarks = run_main("store", "import", str(path), "--store", str(store))
    assert "Traceback" not in remarks
    return code


@given(
    content=st.binary(max_size=300) | st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"SQLite format 3\0", b"\x80\x04N."]),
    schema=st.none() | st.sampled_from(["CREATE TABLE results (a)", "CREATE VIEW results AS SELECT 1", "PRAGMA application_id = 1111642953"]),
)  # fmt: skip
@fuzz(2)
def test_another_file_is_refused_by_name(store: ResultStore, content: bytes, schema: str | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "x")
        path.write_bytes(content)
        if schema is not None:
            path.unlink()
            with contextlib.closing(sqlite3.connect(path)) as file, file:
                file.execute("CREATE TABLE other (a)")
                file.execute(schema)
        before = path.read_bytes()
        with pytest.raises(BgsimError):
            store.import_(path)
        assert path.read_bytes() == before
        assert command(path, store.path) in (1, 2)
