"""Columns to bytes and back: byte-shuffle where it helps, zstd, and a description from which a block can be read.

A block is a column's values for consecutive replicates. Its description (`Block`) and its bytes are all that is needed
to read it; nothing in it can run code. Shuffling puts the first bytes of all values together, then the second
ones, and so on: that helps floats and hurts small integers, so a sample of the column decides.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard

from bgsim.errors import DamagedResultError, StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BLOCK_BYTES = 64 * 2**20
"""Raw size of a block; a larger column is stored as several."""

SHUFFLE_BYTES = 2**18
"""Shuffling works on pieces of this size, which stay in the processor's cache."""

_LEVEL = 1
_SAMPLE_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Block:
    """The description of an encoded block.

    Attributes
    ----------
    dtype : str
        NumPy's notation with byte order, such as ``"<f8"``.
    shape : tuple of int
        Replicates first.
    filter : str
        ``"none"`` or ``"shuffle"``.
    raw_bytes : int
        Size before compression.
    checksum : int
        CRC-32 of the raw bytes, before the filter.
    """

    dtype: str
    shape: tuple[int, ...]
    filter: str
    raw_bytes: int
    checksum: int


def encode_block(values: NDArray[Any]) -> tuple[Block, bytes]:
    """Return the description and the bytes of an array.

    Raises
    ------
    StoreError
        If it holds objects, or more than `MAX_BLOCK_BYTES`.
    """
    if values.dtype.hasobject:
        raise StoreError(f"columns of dtype {values.dtype} cannot be stored; use numbers")
    if values.nbytes > MAX_BLOCK_BYTES:
        raise StoreError(f"a block holds at most {MAX_BLOCK_BYTES} bytes; got {values.nbytes}")
    values = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    raw = memoryview(values.reshape(-1).view(np.uint8).data if values.size else b"")
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    kind = _choose_filter(raw, values.dtype.itemsize, compressor)
    data = compressor.compress(_shuffle(raw, values.dtype.itemsize) if kind == "shuffle" else raw)
    dtype = values.dtype.str if values.dtype.names is None else repr(values.dtype.descr)
    return Block(dtype, values.shape, kind, len(raw), zlib.crc32(raw)), data


def decode_block(block: Block, data: bytes) -> NDArray[Any]:
    """Return the array of a block, in native byte order.

    Raises
    ------
    DamagedResultError
        If bytes and description do not belong together, or the description asks for too much.
    """
    dtype = _read_dtype(block.dtype)
    expected = math.prod(block.shape) * dtype.itemsize
    if block.raw_bytes != expected or expected > MAX_BLOCK_BYTES or min(block.shape, default=0) < 0:
        raise DamagedResultError(f"a block of {block.shape} {block.dtype} does not have {block.raw_bytes} bytes")
    try:
        if zstandard.frame_content_size(data) != expected:
            raise DamagedResultError("a block's frame has another size than its description")
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=expected) if expected else b""
    except zstandard.ZstdError as error:
        raise DamagedResultError(f"a block cannot be decompressed: {error}") from error
    if block.filter == "shuffle":
        raw = _unshuffle(raw, dtype.itemsize)
    elif block.filter != "none":
        raise DamagedResultError(f"a block has the unknown filter {block.filter!r}")
    if len(raw) != expected or zlib.crc32(raw) != block.checksum:
        raise DamagedResultError("a block does not match its checksum")
    values = np.frombuffer(raw, dtype).reshape(block.shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_dtype(text: str) -> np.dtype[Any]:
    import ast  # noqa: PLC0415 - for structured dtypes only

    try:
        dtype = np.dtype(ast.literal_eval(text) if text.startswith("[") else text)
    except (TypeError, ValueError, SyntaxError) as error:
        raise DamagedResultError(f"a block has the unknown dtype {text!r}") from error
    if dtype.hasobject:
        raise DamagedResultError(f"a block has the dtype {text!r}, which bgsim never writes")
    return dtype


def _choose_filter(raw: memoryview, itemsize: int, compressor: Any) -> str:
    if itemsize == 1 or not raw:
        return "none"
    size = _SAMPLE_BYTES // itemsize * itemsize
    middle = max(0, len(raw) - size) // 2 // itemsize * itemsize
    sample = raw[middle : middle + size]
    plain = len(compressor.compress(sample))
    return "shuffle" if len(compressor.compress(_shuffle(sample, itemsize))) < plain else "none"


def _shuffle(raw: memoryview, itemsize: int) -> bytes:
    return _by_pieces(raw, itemsize, lambda piece: piece.reshape(-1, itemsize).T)


def _unshuffle(raw: bytes, itemsize: int) -> bytes:
    return _by_pieces(raw, itemsize, lambda piece: piece.reshape(itemsize, -1).T)


def _by_pieces(raw: Any, itemsize: int, transpose: Any) -> bytes:
    source = np.frombuffer(raw, np.uint8)
    target = np.empty_like(source)
    step = SHUFFLE_BYTES // itemsize * itemsize or itemsize
    for start in range(0, len(source), step):
        piece = transpose(source[start : start + step])
        target[start : start + step].reshape(piece.shape)[...] = piece
    return target.data  # type: ignore[return-value]
