"""What a damaged file still holds: its rows by table, and the results that they make."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from bgsim.errors import DamagedResultError
from bgsim.parameters.nesting import read_json
from bgsim.storage import large_values
from bgsim.storage.codec import segments
from bgsim.storage.codec.columns import Columns
from bgsim.storage.records import Record, checked_parts
from bgsim.storage.slots import Slot
from bgsim.storage.sqlite import schema
from bgsim.storage.sqlite.pages import Pages, Place, Row
from bgsim.storage.times import seconds_of

logger = logging.getLogger("bgsim.storage")

Times: TypeAlias = "tuple[str, str]"

_TYPES = {"TEXT": (str,), "INTEGER": (int,), "REAL": (float, int), "BLOB": (bytes,)}

_KEY = 3
"""Values that tell a block: its hash, its position, and its first replicate."""


class Remains:
    """The rows of a damaged file; to be closed.

    Attributes
    ----------
    rows : dict of str to list of dict
        By table, each by column; blocks are read when a result is made of them.
    values : dict of str to str
        Large values of parameters by their digests.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pages = Pages(path)
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.values: dict[str, str] = {}
        self._blocks: dict[str, dict[tuple[int, int], Place]] = defaultdict(dict)
        for place, begin in self._pages.places():
            if _table_of(begin, partly=True) == "blocks":
                self._blocks[begin[0]][begin[1:_KEY]] = place
                continue
            row = self._pages.row(place)
            table = None if row is None else _table_of(row)
            if row is not None and table is not None:
                self._add(table, row)

    def close(self) -> None:
        """Close the file."""
        self._pages.close()

    def results(self) -> Iterator[tuple[Record, Columns, Times | None]]:
        """Yield the results that match their checksums, or their first replicates; and when they were made and used."""
        parts = {row["fingerprint"]: row["parts"] for row in self.rows["identities"]}
        for row in sorted(self.rows["results"], key=lambda row: -row["replicates"]):
            try:
                record = self._record(row)
                columns = self._columns(record, row)
            except DamagedResultError as error:
                logger.warning("result %s in %s cannot be read: %s", row["hash"], self._path, error)
                continue
            yield replace(record, parts=_parts(parts.get(record.fingerprint))), columns, _times(row)

    def slots(self, saved: Mapping[str, int]) -> dict[str, list[Slot]]:
        """Return the slots that point at results that were saved, given with their replicates."""
        found: dict[str, list[Slot]] = defaultdict(list)
        for row in self.rows["slots"]:
            workspace = row["workspace"]
            slot = Slot(**{name: value for name, value in row.items() if name != "workspace"})
            if slot.hash in saved and slot.generation > 0 and slot.replicates > 0:
                others = [other for other in found[workspace] if other.hash != slot.hash]
                found[workspace] = [*others, replace(slot, replicates=min(slot.replicates, saved[slot.hash]))]
        return found

    def _add(self, table: str, row: Row) -> None:
        if table in ("identities", "parameter_values"):  # of two texts; one of them says what it is
            if hashlib.sha256(row[1].encode()).hexdigest() == row[0]:
                self.values[row[0]] = row[1]
                return
            table = "identities"
        self.rows[table].append(dict(zip(_columns_of()[table], row, strict=False)))

    def _record(self, row: Mapping[str, Any]) -> Record:
        names = ("hash", "identity", "simulation", "fingerprint", "seed")
        whole = large_values.whole(row["parameters"], lambda digest: self.values.get(digest, ""))
        record = Record(**{name: row[name] for name in names}, parameters=whole)
        if record.checksum != row["checksum"] or record.hash != record.identity[:32]:
            raise DamagedResultError("its record does not match its checksum")
        record.values()
        return record

    def _columns(self, record: Record, row: Mapping[str, Any]) -> Columns:
        blocks = self._blocks.get(record.hash, {})
        found = [block for _, place in sorted(blocks.items()) if (block := self._pages.row(place)) is not None]
        reach = [0] * max(0, min(row["outputs"], len(found)))  # replicates without a gap, of each output
        for block in found:
            if block[1] < len(reach) and block[2] == reach[block[1]]:
                reach[block[1]] += block[3]
        replicates = min(row["replicates"], *reach, row["replicates"])
        head = (record.identity, row["replicates"], row["outputs"])
        kept = [block for block in found if block[2] < replicates]
        rows = ((*head, *block[1:10], block[14], (*block[15:], "")[0], len(found)) for block in kept)
        return segments.join_all(iter(rows), record.hash, replicates)


def _parts(text: str | None) -> dict[str, str]:
    try:
        return {} if text is None else checked_parts(read_json(text))
    except ValueError:
        return {}


def _times(row: Mapping[str, Any]) -> Times | None:
    try:
        seconds_of(row["created_at"]), seconds_of(row["used_at"])
    except ValueError:
        return None
    return row["created_at"], row["used_at"]


@cache
def _columns_of() -> dict[str, dict[str, tuple[tuple[type, ...], bool]]]:
    """Return each table's columns with their types, and whether they may be empty or not there."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in chain.from_iterable(schema.STATEMENTS):
            connection.execute(statement)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: {
                name: (_TYPES[kind], not (needed or key) or default is not None)
                for _, name, kind, needed, default, key in connection.execute(f"PRAGMA table_info({table})")
            }
            for table in tables
        }


def _table_of(row: Row, *, partly: bool = False) -> str | None:
    """Return the table whose columns can hold these values, None if none can; `partly` if they are a block's first."""
    for table, columns in _columns_of().items():
        kinds = list(columns.values())
        if len(row) > len(kinds) or (partly and (table != "blocks" or len(row) < _KEY + 2)):
            continue
        needed = all(optional for _, optional in kinds[len(row) :])
        if (partly or needed) and all(
            (value is None and optional) or type(value) in types
            for value, (types, optional) in zip(row, kinds, strict=False)
        ):
            return table
    return None
