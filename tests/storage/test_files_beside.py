"""What lies beside a store's file: a store that SQLite may not write for it is not damaged, and stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import bgsim
from bgsim.errors import StoreError
from bgsim.models.options import european_call


def stored(path: Path) -> bytes:
    bgsim.run(european_call, replicates=10, store=path)
    return path.read_bytes()


@pytest.mark.parametrize("end", ["-shm", "-wal"])
def test_a_directory_in_the_place_of_a_file_of_sqlite_is_no_damage(tmp_path: Path, end: str) -> None:
    path = tmp_path / "s.db"
    before = stored(path)
    Path(f"{path}{end}").mkdir()
    with pytest.raises(StoreError, match=r"s\.db cannot be opened"):
        bgsim.ResultStore(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.corrupt*"))


def test_a_header_that_forbids_writing_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    before = bytearray(stored(path))
    before[18] = 7
    path.write_bytes(before)
    with pytest.warns(RuntimeWarning, match=r"is damaged .* and 1 results were saved"):
        store = bgsim.ResultStore(path)
    assert len(store.results()) == 1
    store.close()
