"""Results out of a store and into it: files for other programs, and for other stores."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bgsim.environment import as_json, from_json, versions_of
from bgsim.errors import InvalidInputError, MissingExtraError, StoreError
from bgsim.storage.codec.columns import Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.storage.base import Store
    from bgsim.storage.records import Record, StoredResult

METADATA = "__bgsim__"
"""The member of a ``.npz`` file, and the key in a ``.parquet`` file, that says as JSON what the columns are."""

_SQLITE = b"SQLite format 3\0"


def export_result(store: Store, result_hash: str, path: str | Path) -> None:
    """Write a result to a file; the suffix says which kind.

    ``.npz``
        An array for each output, and `METADATA`, with the rows' versions and the parts of the fingerprint;
        `import_results` reads it.
    ``.csv``
        A row a replicate; an array output becomes a column for each element.
    ``.parquet``
        The same rows, with `METADATA`; needs pyarrow.

    Raises
    ------
    InvalidInputError
        If the suffix is another.
    StoreError
        If the result is not there.
    MissingExtraError
        If pyarrow is not installed.
    """
    path = Path(path)
    writers = {".npz": _write_npz, ".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise InvalidInputError(
            f"path must end in {', '.join(writers)}; got {path.name!r}", field="path", value=str(path)
        )
    result, columns = store.get(result_hash), store.load(result_hash)
    if result is None or columns is None:
        raise StoreError(f"there is no result {result_hash} in {store.location}")
    described = _metadata(result, columns, store.parts(result.record.fingerprint))
    writers[path.suffix](path, columns, described)


def import_results(store: Store, path: str | Path) -> list[str]:
    """Take in an exported ``.npz`` file, or all of another store's file.

    What is there already is kept, and grows if the file has more of it.

    Returns
    -------
    list of str
        The hashes.

    Raises
    ------
    StoreError
        If the file is neither, or cannot be stored.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"there is no file {path} to import")
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    errors: list[Exception] = []
    hashes = []
    for record, columns in _read_store(path) if is_database else [_read_npz(path)]:
        store.store(record, columns, on_stored=lambda error: errors.append(error) if error else None)
        hashes.append(record.hash)
    store.flush()
    if errors:
        raise errors[0]
    return hashes


def rows_of(columns: Columns) -> dict[str, NDArray[Any]]:
    """Return the columns with a column for each element of an array output, named ``name[i,j]``."""
    found = {}
    for name, column in columns.items():
        for element in np.ndindex(column.shape[1:]):
            label = name if not element else f"{name}[{','.join(map(str, element))}]"
            found[label] = column[(slice(None), *element)]
    return found


def _write_npz(path: Path, columns: Columns, described: str) -> None:
    np.savez_compressed(path, **{METADATA: np.array(described)}, **columns)  # type: ignore[arg-type]


def _write_csv(path: Path, columns: Columns, _: str) -> None:
    flat = rows_of(columns)
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
    table = pa.table({name: pa.array(np.ascontiguousarray(column)) for name, column in rows_of(columns).items()})
    pq.write_table(table.replace_schema_metadata({METADATA: described}), path)


def _metadata(result: StoredResult, columns: Columns, parts: dict[str, str]) -> str:
    record = result.record
    fields = ("hash", "identity", "simulation", "fingerprint", "seed", "parameters")
    described = {name: getattr(record, name) for name in fields}
    versions = as_json(versions_of(columns, len(next(iter(columns.values())))))
    return json.dumps({**described, "checksum": record.checksum, "versions": versions, "parts": parts})


def _read_npz(path: Path) -> tuple[Record, Columns]:
    from bgsim.storage.records import Record, checked_parts  # noqa: PLC0415 - it imports this module, when it is used

    try:
        with np.load(path, allow_pickle=False) as file:
            described = json.loads(str(file[METADATA]))
            columns = Columns({name: file[name] for name in file.files if name != METADATA})
        checksum = described.pop("checksum")
        columns.versions = from_json(described.pop("versions", []))  # an older bgsim wrote none, and no parts
        record = Record(**{**described, "parts": checked_parts(described.get("parts", {}))})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is no result that bgsim has exported: {error}") from error
    if record.checksum != checksum or record.hash != record.identity[:32]:
        raise StoreError(f"{path} does not match its checksum")
    return record, columns


def _read_store(path: Path) -> Iterator[tuple[Record, Columns]]:
    from bgsim.storage.sqlite.database import check_path  # noqa: PLC0415 - for files of this kind only
    from bgsim.storage.sqlite.salvage import readable_results  # noqa: PLC0415

    check_path(path)
    return readable_results(path)
