"""A tally to bytes and back, as a block of a column that is a summary.

Where a block of rows has the values of its replicates, this one has the state of a `Tally` or `PairTally` over them, as
`to_bytes` writes it. The block's `filter` says which: ``tally`` or ``pairs``.
"""

from __future__ import annotations

import zlib
from typing import Any

from bgsim.errors import DamagedResultError, StoreError, brief
from bgsim.storage.codec.codec import Block, compressor, decompress, dtype_text, parse_dtype
from bgsim.storage.codec.columns import PAIRS, TALLY
from bgsim.summaries.pairs import PairTally
from bgsim.summaries.tally import Tally

FORMS = frozenset({TALLY, PAIRS})
"""Filters of such blocks."""

MAX_TALLY_BYTES = 256 * 2**20
"""No larger state is stored or read, whatever a description says."""


def encode_tally(tally: Tally | PairTally, label: str) -> tuple[Block, bytes]:
    """Return the description and the bytes of a tally.

    Parameters
    ----------
    tally : Tally or PairTally
        Of one replicate or more.
    label : str
        Where the block belongs; only the same label reads it.

    Raises
    ------
    StoreError
        If its state is larger than `MAX_TALLY_BYTES`.
    """
    raw = tally.to_bytes()
    if len(raw) > MAX_TALLY_BYTES:
        raise StoreError(
            f"the summary of an output of shape {tally.shape} has {len(raw):,} bytes, and {MAX_TALLY_BYTES:,} can be "
            "stored; return fewer elements"
        )
    name, shape = dtype_text(tally.dtype.newbyteorder("<")), (tally.count, *tally.shape)
    kind = PAIRS if isinstance(tally, PairTally) else TALLY
    checksum = zlib.crc32(raw, zlib.crc32(f"{label} {name} {shape} {kind}".encode()))
    return Block(name, shape, kind, len(raw), checksum), compressor().compress(raw)


def decode_tally(block: Block, data: bytes, label: str) -> Tally | PairTally:
    """Return the tally of a block.

    Parameters
    ----------
    block : Block
        Its `filter` is one of `FORMS`.
    data : bytes
        What `encode_tally` returned.
    label : str

    Raises
    ------
    DamagedResultError
        If bytes, description and label do not belong together, or the description asks for too much.
    """
    if not 0 <= block.raw_bytes <= MAX_TALLY_BYTES:
        raise DamagedResultError(f"a tally cannot have {block.raw_bytes:,} bytes")
    raw = decompress(data, block.raw_bytes)
    described = f"{label} {block.dtype} {block.shape} {block.filter}"
    if zlib.crc32(raw, zlib.crc32(described.encode())) != block.checksum:
        raise DamagedResultError("a tally does not match its checksum")
    tally = read_tally(block.filter, block.dtype, block.shape[1:], raw)
    if tally.count != block.shape[0]:
        raise DamagedResultError(f"a tally is of {tally.count:,} replicates, and is said to be of {block.shape[0]:,}")
    return tally


def read_tally(form: str, dtype_text: str, shape: tuple[int, ...], raw: bytes) -> Tally | PairTally:
    """Return the tally whose `to_bytes` returned these bytes.

    Raises
    ------
    DamagedResultError
        If there is none of this form, dtype and shape.
    """
    dtype = parse_dtype(dtype_text).newbyteorder("=")
    if form not in FORMS or dtype.kind not in "biuf" or min(shape, default=0) < 0:
        raise DamagedResultError(f"there is no {brief(form)} of {brief(dtype_text)} {shape}")
    kind: Any = PairTally if form == PAIRS else Tally
    found: Tally | PairTally = kind.from_bytes(dtype, shape, raw)
    return found
