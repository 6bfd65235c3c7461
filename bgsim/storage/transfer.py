"""Results written to files for other programs and stores, and read from them."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bgsim.environment import as_json, from_json, versions_of
from bgsim.errors import InvalidInputError, MissingExtraError, StoreError
from bgsim.kernels.outputs import flat_columns
from bgsim.storage.codec.columns import Columns
from bgsim.storage.records import Record, checked_parts

if TYPE_CHECKING:
    pass


METADATA = "__bgsim__"
"""The member of a ``.npz`` file, and the key in a ``.parquet`` file, whose JSON describes the columns."""

Reader: TypeAlias = Callable[[Path], Iterable[tuple[Record, Columns]]]
"""Reads the results of a file."""

_readers: list[tuple[bytes, Reader]] = []


def register_reader(first_bytes: bytes, reader: Reader) -> None:
    """Read files that begin with these bytes by this function, in `read_results`."""
    _readers.append((first_bytes, reader))


def read_results(path: str | Path) -> Iterable[tuple[Record, Columns]]:
    """Return the results in an exported ``.npz`` file, or in another store's file.

    Raises
    ------
    StoreError
        If the file is neither.
    """
    path = Path(path)
    try:
        is_file = path.is_file()
    except OSError as error:  # such as of a name that is too long
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    if not is_file:
        raise StoreError(f"there is no file {path} to import")
    with path.open("rb") as file:
        begins = file.read(max((len(first) for first, _ in _readers), default=0))
    reader = next((reader for first, reader in _readers if begins.startswith(first)), None)
    return reader(path) if reader else [_read_npz(path)]


def check_suffix(path: str | Path) -> None:
    """Refuse a file that `write_result` cannot write.

    Raises
    ------
    InvalidInputError
    """
    if Path(path).suffix not in _WRITERS:
        raise InvalidInputError(
            f"path must end in {', '.join(_WRITERS)}; got {Path(path).name!r}", field="path", value=str(path)
        )


def write_result(path: str | Path, record: Record, columns: Columns) -> None:
    """Write a result to a file; the suffix says which kind.

    ``.npz``
        An array for each output, and `METADATA` with the versions of the rows and the parts of the fingerprint;
        `read_results` reads it.
    ``.csv``
        A row a replicate; an array output becomes a column for each element.
    ``.parquet``
        The same rows, with `METADATA`; needs pyarrow.

    Raises
    ------
    InvalidInputError
        If the suffix is another.
    MissingExtraError
        If pyarrow is not installed.
    """
    check_suffix(path)
    _WRITERS[Path(path).suffix](Path(path), columns, _metadata(record, columns))


def _write_npz(path: Path, columns: Columns, described: str) -> None:
    np.savez_compressed(path, **{METADATA: np.array(described)}, **columns)  # type: ignore[arg-type]


def _write_csv(path: Path, columns: Columns, _: str) -> None:
    flat = flat_columns(columns)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["replicate", *flat])
        rows = zip(*(c.tolist() for c in flat.values()), strict=True)
        writer.writerows((replicate, *row) for replicate, row in enumerate(rows))


def _write_parquet(path: Path, columns: Columns, described: str) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError('a .parquet file needs pyarrow: pip install "bgsim[parquet]"') from error
    table = pa.table({name: pa.array(np.ascontiguousarray(column)) for name, column in flat_columns(columns).items()})
    pq.write_table(table.replace_schema_metadata({METADATA: described}), path)


_WRITERS = {".npz": _write_npz, ".csv": _write_csv, ".parquet": _write_parquet}


def _metadata(record: Record, columns: Columns) -> str:
    fields = ("hash", "identity", "simulation", "fingerprint", "seed", "parameters")
    described = {name: getattr(record, name) for name in fields}
    versions = as_json(versions_of(columns, len(next(iter(columns.values())))))
    return json.dumps({**described, "checksum": record.checksum, "versions": versions, "parts": dict(record.parts)})


def _read_npz(path: Path) -> tuple[Record, Columns]:
    try:
        with np.load(path, allow_pickle=False) as file:
            described = json.loads(str(file[METADATA]))
            columns = Columns({name: file[name] for name in file.files if name != METADATA})
        checksum = described.pop("checksum")
        columns.versions = from_json(described.pop("versions", []))  # an older bgsim wrote neither these nor parts
        record = Record(**{**described, "parts": checked_parts(described.get("parts", {}))})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is not a result that bgsim exported: {error}") from error
    if record.checksum != checksum or record.hash != record.identity[:32]:
        raise StoreError(f"{path} does not match its checksum")
    return record, columns
