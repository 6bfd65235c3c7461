"""Results written to files for other programs and stores, and read from them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bgsim.environment import as_json, from_json, versions_of
from bgsim.errors import InvalidInputError, MissingExtraError, StoreError, brief
from bgsim.kernels.outputs import flat_columns
from bgsim.parameters.nesting import read_json
from bgsim.storage.codec.columns import Columns, checked_columns
from bgsim.storage.npz import read_arrays, write_arrays
from bgsim.storage.records import Record, checked_parts
from bgsim.storage.tally_arrays import from_arrays, to_arrays
from bgsim.summaries.column import is_summary

if TYPE_CHECKING:
    from numpy.typing import NDArray


METADATA = "__bgsim__"
"""The member of a ``.npz`` file, and the key in a ``.parquet`` file, whose JSON describes the columns."""

_FIELDS = ("hash", "identity", "simulation", "fingerprint", "seed", "parameters")
"""Of a record."""

_ANY = 0o666
"""Permissions of a new file, of which umask takes some away."""

Reader: TypeAlias = Callable[[Path], Iterable[tuple[Record, Columns]]]
"""Reads the results of a file."""

_readers: list[tuple[bytes, Reader]] = []


def register_reader(first_bytes: bytes, reader: Reader) -> None:
    """Read files that begin with these bytes by this function, in `read_results`."""
    _readers.append((first_bytes, reader))


def read_results(path: str | Path, max_bytes: float = math.inf) -> Iterable[tuple[Record, Columns]]:
    """Return the results in an exported ``.npz`` file, or in another store's file.

    Each column is compared with its checksum. A ``.npz`` file of a bgsim that wrote none has those of its description
    alone.

    Parameters
    ----------
    path : path-like
    max_bytes : float
        A ``.npz`` file whose arrays take more is refused before they are read.

    Raises
    ------
    StoreError
        If the file is neither, or an array in it is not as it was exported.
    """
    path = Path(path)
    try:
        is_file = path.is_file()
    except OSError as error:  # such as of a name that is too long
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    if not is_file:
        raise StoreError(f"there is no file {path} to import")
    try:
        with path.open("rb") as file:
            begins = file.read(max((len(first) for first, _ in _readers), default=0))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    reader = next((reader for first, reader in _readers if begins.startswith(first)), None)
    return reader(path) if reader else [_read_npz(path, max_bytes)]


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


def write_result(path: str | Path, record: Record, columns: Columns, permissions: int = _ANY) -> None:
    """Write a result to a file; the suffix says which kind.

    ``.npz``
        An array for each output, and `METADATA` with their checksums, the versions of the rows and the parts of the
        fingerprint; `read_results` reads it. Of a summary, an array of bytes for each tally.
    ``.csv``
        A row a replicate; an array output becomes a column for each element.
    ``.parquet``
        The same rows, with `METADATA`; needs pyarrow.

    A new file gets these permissions, as far as umask leaves them.

    Raises
    ------
    InvalidInputError
        If the suffix is another.
    MissingExtraError
        If pyarrow is not installed.
    StoreError
        If the rows of a summary are asked for.
    """
    check_suffix(path)
    arrays: Mapping[str, NDArray[Any]] = columns
    described = None
    if is_summary(columns):
        if Path(path).suffix != ".npz":
            raise StoreError(
                f"result {record.hash[:12]} keeps a summary, which has no rows for a {Path(path).suffix} file; export "
                "it to an .npz file, or take its table: store.load_result(...).summary()"
            )
        arrays, described = to_arrays(columns)
    _WRITERS[Path(path).suffix](Path(path), arrays, _metadata(record, columns, arrays, described), permissions)


def open_new(path: str | Path, permissions: int = _ANY) -> IO[bytes]:
    """Open a file to be written from its beginning; a new one gets these permissions, as far as umask leaves them."""
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, permissions))


def _write_npz(path: Path, columns: Mapping[str, NDArray[Any]], described: str, permissions: int) -> None:
    with open_new(path, permissions) as file:
        write_arrays(file, {METADATA: np.array(described), **columns})


def _write_csv(path: Path, columns: Mapping[str, NDArray[Any]], _: str, permissions: int) -> None:
    flat = flat_columns(columns)
    with io.TextIOWrapper(open_new(path, permissions), newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["replicate", *flat])
        rows = zip(*(c.tolist() for c in flat.values()), strict=True)
        writer.writerows((replicate, *row) for replicate, row in enumerate(rows))


def _write_parquet(path: Path, columns: Mapping[str, NDArray[Any]], described: str, permissions: int) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("a .parquet file needs pyarrow: pip install pyarrow") from error
    table = pa.table({name: pa.array(np.ascontiguousarray(column)) for name, column in flat_columns(columns).items()})
    with open_new(path, permissions) as file:
        pq.write_table(table.replace_schema_metadata({METADATA: described}), file)


_WRITERS = {".npz": _write_npz, ".csv": _write_csv, ".parquet": _write_parquet}


def _metadata(record: Record, columns: Columns, arrays: Mapping[str, NDArray[Any]], tallies: Any) -> str:
    described: dict[str, Any] = {name: getattr(record, name) for name in _FIELDS}
    described |= {"checksum": record.checksum, "parts": dict(record.parts)}
    described["versions"] = as_json(versions_of(columns, len(next(iter(columns.values())))))
    checksums = [[name, _checksum(column)] for name, column in arrays.items()]
    # A bgsim that knows no tallies finds that the columns are others, and takes none for rows.
    described |= {"columns": checksums} if tallies is None else {"columns": [], "tallies": [checksums, tallies]}
    return json.dumps(described)


def _checksum(column: NDArray[Any]) -> str:
    """Return the SHA-256 of a column's dtype, shape and values."""
    digest = hashlib.sha256(f"{np.lib.format.dtype_to_descr(column.dtype)} {column.shape} ".encode())
    if column.size:
        digest.update(np.ascontiguousarray(column).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _read_npz(path: Path, max_bytes: float) -> tuple[Record, Columns]:
    """Return the result of an exported file; all of it is checked before any is returned."""
    try:
        arrays = read_arrays(path, max_bytes)
        text = arrays.pop(METADATA, None)
        if text is None or text.dtype.kind != "U" or text.shape:
            raise StoreError(f"there is no text {METADATA} in it")
        described = read_json(str(text))
        record, versions = _record(described), from_json(described.get("versions", []))
        columns = _columns(arrays, described)
        rows = len(next(iter(columns.values())))
        if versions and sum(count for _, count, _ in versions) != rows:
            raise StoreError(f"its columns have {rows:,} rows, and the versions in it are of others")
        "".join(text for _, _, text in versions).encode()  # a lone surrogate is a ValueError
    except (StoreError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StoreError(f"{path} is not a result that bgsim exported: {error}") from error
    if record.checksum != described.get("checksum") or record.hash != record.identity[:32]:
        raise StoreError(f"{path} does not match its checksum")
    columns.versions = versions
    return record, columns


def _columns(arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any]) -> Columns:
    """Return the columns of an exported file.

    Raises
    ------
    StoreError, ValueError, KeyError, TypeError
        If they are not as they were exported.
    """
    if "tallies" in described:
        checksums, tallies = described["tallies"]
        _check_sums(arrays, checksums)
        return checked_columns(from_arrays(arrays, tallies), math.inf)
    _check_columns(arrays, described.get("columns"))
    return Columns({name: c.astype(c.dtype.newbyteorder("="), order="C", copy=False) for name, c in arrays.items()})


def _record(described: Mapping[str, Any]) -> Record:
    """Return the record of an exported file.

    Raises
    ------
    StoreError, ValueError, TypeError, AttributeError
    """
    fields: dict[str, Any] = {name: described.get(name) for name in _FIELDS}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise StoreError(f"its {name} is {brief(value)}, and must be a text")
    int(fields["seed"])
    record = Record(**fields, parts=checked_parts(described.get("parts", {})))  # an older bgsim wrote no parts
    record.values()
    record.checksum  # noqa: B018 - texts that cannot be encoded raise here
    return record


def _check_columns(columns: Mapping[str, NDArray[Any]], checksums: object) -> None:
    """Refuse columns that a result cannot have, and those that are not as they were exported.

    Raises
    ------
    StoreError, ValueError, TypeError
    """
    for name, column in columns.items():
        if not column.ndim:
            raise StoreError(f"column {brief(name)} is no array with a row for each replicate")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise StoreError(f"its columns need one length of 1 or more; they have {sorted(lengths)}")
    if checksums is not None:  # an older bgsim wrote none
        _check_sums(columns, checksums)


def _check_sums(columns: Mapping[str, NDArray[Any]], checksums: object) -> None:
    """Refuse arrays that are not as they were exported.

    Raises
    ------
    StoreError, ValueError, TypeError
    """
    if not isinstance(checksums, list):
        raise StoreError(f"its checksums are {brief(checksums)}")
    expected = dict(checksums)
    if list(expected) != list(columns):
        raise StoreError(f"its columns are {brief(list(columns))}, and were {brief(list(expected))}")
    for name, column in columns.items():
        if _checksum(column) != expected[name]:
            raise StoreError(f"column {brief(name)} does not match its checksum")
