"""Read every result of a bgsim store without bgsim, as docs/reference/store-format.md says: ``python read_store.py FILE``."""

import ast
import json
import re
import sqlite3
import sys
import zlib

import numpy as np
import zstandard

PIECE_BYTES, MAX_BYTES = 2**20, 64 * 2**20


def read_block(row):
    shape, text, is_tally = tuple(json.loads(row["shape"])), row["dtype"], row["filter"] in ("tally", "pairs")
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(text) if text.startswith("[") else text)
    assert not dtype.hasobject and (is_tally or row["filter"] in ("none", "shuffle", "bits"))
    raw_bytes = row["raw_bytes"] if is_tally else int(np.prod(shape)) * dtype.itemsize
    assert raw_bytes == row["raw_bytes"] <= MAX_BYTES * (4 if is_tally else 1)
    assert zstandard.frame_content_size(row["data"]) == ((raw_bytes + 7) // 8 if row["filter"] == "bits" else raw_bytes)
    raw = (filtered := np.frombuffer(zstandard.ZstdDecompressor().decompress(row["data"]), np.uint8)).tobytes()
    if row["filter"] == "shuffle":
        step = max(1, PIECE_BYTES // dtype.itemsize) * dtype.itemsize
        pieces = (filtered[i : i + step].reshape(dtype.itemsize, -1) for i in range(0, raw_bytes, step))
        raw = b"".join(piece.T.tobytes() for piece in pieces)
    elif row["filter"] == "bits":
        raw = np.unpackbits(filtered, count=raw_bytes).tobytes()
    label = " ".join(str(row[k]) for k in ("hash", "position", "name", "first", "dtype"))
    assert zlib.crc32(raw, zlib.crc32(f"{label} {shape} {row['filter']}".encode())) == row["checksum"]
    return (shape[0], dtype, shape[1:], row["filter"], raw) if is_tally else np.frombuffer(raw, dtype).reshape(shape)


def read_store(path):
    """Yield the row of each result, with versions of its blocks and its parts, and its columns, arrays or tallies, by name."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    found, schema = (connection.execute(f"PRAGMA {n}").fetchone()[0] for n in ("application_id", "user_version"))
    assert found == 0x42475349 and schema in range(1, 7)
    large = dict(connection.execute("SELECT * FROM parameter_values").fetchall() if schema > 3 else [])
    parts = dict(connection.execute("SELECT * FROM identities").fetchall() if schema > 2 else [])
    for result in map(dict, connection.execute("SELECT * FROM results").fetchall()):
        result["parameters"] = re.sub(r'\{"__value__": "(\w+)"\}', lambda found: large[found[1]], result["parameters"])
        assert zlib.crc32("\0".join(list(result.values())[:6]).encode()) == result["checksum"]
        columns, ends, versions, query = {}, {}, [], "SELECT * FROM blocks WHERE hash = ? ORDER BY position, first"
        for row in connection.execute(query, (result["hash"],)):
            assert row["first"] == ends.get(row["name"], 0)
            columns.setdefault(row["name"], []).append(read_block(row))
            ends[row["name"]] = row["first"] + row["count"]
            versions += [(row["first"], row["count"], row["versions"])] if schema > 2 and not row["position"] else []
        assert len(columns) == result["outputs"] and {*ends.values()} == {result["replicates"]}
        columns = {n: c if isinstance(c[0], tuple) else np.concatenate(c) for n, c in columns.items()}
        yield {**result, "versions": versions, "parts": json.loads(parts.get(result["fingerprint"], "{}"))}, columns
    connection.close()


if __name__ == "__main__":
    for row, values in read_store(sys.argv[1]):
        print(row["hash"], json.loads(row["parameters"]), {n: len(v) for n, v in values.items()})
