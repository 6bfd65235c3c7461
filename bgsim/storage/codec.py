"""Columns to bytes and back: a filter where it helps, zstd, and a description from which a block can be read.

A block is a column's values for consecutive replicates. Its description (`Block`) and its bytes are all that is needed
to read it; nothing in it can run code. docs/store-format.md specifies it.

Filters rearrange the bytes before zstd sees them, and a sample of the column decides which is used:

``shuffle``
    puts the first bytes of all values together, then the second ones, and so on. It helps floats and wide integers.
``bits``
    keeps a boolean in one bit.
``none``
    leaves them as they are.
"""

from __future__ import annotations

import functools
import math
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard

from bgsim.errors import DamagedResultError, StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BLOCK_BYTES = 64 * 2**20
"""Nothing larger is read, whatever a description says; a single replicate's output may be so large."""

BLOCK_BYTES = 2 * 2**20
"""Raw size at which a column is cut into blocks: enough for zstd, and several for several cores."""

PIECE_BYTES = 2**20
"""The shuffle works on pieces of this size, which stay in the processor's cache."""

LEVEL = 1
"""Of zstd. Level 3 takes twice as long for a hundredth less."""

_SAMPLE_BYTES = 2**16

_local = threading.local()


@dataclass(frozen=True, slots=True)
class Block:
    """The description of an encoded block.

    Attributes
    ----------
    dtype : str
        NumPy's notation, little-endian, such as ``"<f8"``; of a structured dtype its fields, as in a .npy file.
    shape : tuple of int
        Replicates first.
    filter : str
        ``"none"``, ``"shuffle"`` or ``"bits"``.
    raw_bytes : int
        Size before filter and compression.
    checksum : int
        CRC-32 of the raw bytes, begun with that of a label: where the block belongs.
    """

    dtype: str
    shape: tuple[int, ...]
    filter: str
    raw_bytes: int
    checksum: int


def encode_block(values: NDArray[Any], label: str = "") -> tuple[Block, bytes]:
    """Return the description and the bytes of an array.

    Parameters
    ----------
    values : ndarray
        Of any shape, order and strides.
    label : str
        Where the block belongs; it can only be read with the same label.

    Raises
    ------
    StoreError
        If it holds objects, or more than `MAX_BLOCK_BYTES`.
    """
    if values.dtype.hasobject:
        raise StoreError(f"columns of dtype {values.dtype} cannot be stored; use numbers")
    if values.nbytes > MAX_BLOCK_BYTES:
        raise StoreError(f"a block holds at most {MAX_BLOCK_BYTES:,} bytes; got {values.nbytes:,}")
    shape = values.shape
    values = np.asarray(values, dtype=values.dtype.newbyteorder("<"), order="C")
    raw = np.frombuffer(values.tobytes() if values.ndim == 0 else values.data, np.uint8) if values.size else _EMPTY
    name = _dtype_text(values.dtype)
    kind = _choose_filter(raw, values.dtype)
    data = _compressor().compress(_apply(kind, raw, values.dtype.itemsize).data)
    return Block(name, shape, kind, len(raw), _checksum(label, name, shape, kind, raw)), data


def decode_block(block: Block, data: bytes, label: str = "", out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the array of a block, in native byte order.

    Parameters
    ----------
    block, data
        What `encode_block` returned.
    label : str
        That of `encode_block`.
    out : ndarray, optional
        Where to put it, C-contiguous, of the block's dtype and shape.

    Raises
    ------
    DamagedResultError
        If bytes, description and label do not belong together, or the description asks for too much.
    """
    dtype = parse_dtype(block.dtype)
    expected = math.prod(block.shape) * dtype.itemsize
    if block.raw_bytes != expected or expected > MAX_BLOCK_BYTES or min(block.shape, default=0) < 0:
        raise DamagedResultError(f"a block of {block.shape} {block.dtype} does not have {block.raw_bytes} bytes")
    direct = out if dtype.isnative else None
    raw = _invert(block.filter, _decompress(block.filter, data, expected), dtype.itemsize, expected, direct)
    if _checksum(label, block.dtype, block.shape, block.filter, raw) != block.checksum:
        raise DamagedResultError("a block does not match its checksum")
    if direct is not None:
        return direct
    values = raw.view(dtype).reshape(block.shape).astype(dtype.newbyteorder("="), copy=False)
    if out is not None:
        out[...] = values
    return values


def rows_per_block(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Return how many replicates of an output go into one block.

    Raises
    ------
    StoreError
        If a single one is too large.
    """
    row_bytes = max(1, dtype.itemsize * math.prod(shape))
    if row_bytes > MAX_BLOCK_BYTES:
        raise StoreError(
            f"one replicate's output of {row_bytes:,} bytes is larger than the {MAX_BLOCK_BYTES:,} that can be stored"
        )
    return max(1, BLOCK_BYTES // row_bytes)


@functools.lru_cache(maxsize=256)
def parse_dtype(text: str) -> np.dtype[Any]:
    """Return the dtype that a description names.

    Raises
    ------
    DamagedResultError
        If there is none, or bgsim would never write it.
    """
    import ast  # noqa: PLC0415 - for structured dtypes only

    try:
        description: Any = ast.literal_eval(text) if text.startswith("[") else text
        dtype = np.lib.format.descr_to_dtype(description)
    except (TypeError, ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DamagedResultError(f"a block has the unknown dtype {text!r}") from error
    if dtype.hasobject or dtype.itemsize == 0:
        raise DamagedResultError(f"a block has the dtype {text!r}, which bgsim never writes")
    return dtype


_EMPTY = np.empty(0, np.uint8)


def _dtype_text(dtype: np.dtype[Any]) -> str:
    description = np.lib.format.dtype_to_descr(dtype)
    return description if isinstance(description, str) else repr(description)


def _checksum(label: str, dtype: str, shape: tuple[int, ...], kind: str, raw: NDArray[Any]) -> int:
    """Return the CRC-32 of the description's text and the raw bytes: a changed description shows as well."""
    return zlib.crc32(raw.data, zlib.crc32(f"{label} {dtype} {shape} {kind}".encode()))


def _compressor() -> zstandard.ZstdCompressor:
    """Return this thread's compressor: making one takes longer than compressing a small block."""
    try:
        return _local.compressor  # type: ignore[no-any-return]
    except AttributeError:
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
        return _local.compressor  # type: ignore[no-any-return]


def _decompressor() -> zstandard.ZstdDecompressor:
    try:
        return _local.decompressor  # type: ignore[no-any-return]
    except AttributeError:
        _local.decompressor = zstandard.ZstdDecompressor()
        return _local.decompressor  # type: ignore[no-any-return]


def _decompress(kind: str, data: bytes, raw_bytes: int) -> NDArray[Any]:
    """Return the filtered bytes, having compared their size with the description before making room for them."""
    expected = (raw_bytes + 7) // 8 if kind == "bits" else raw_bytes
    try:
        if zstandard.frame_content_size(data) != expected:
            raise DamagedResultError("a block's frame has another size than its description")
        filtered = _decompressor().decompress(data, max_output_size=expected, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamagedResultError(f"a block cannot be decompressed: {error}") from error
    if len(filtered) != expected:
        raise DamagedResultError("a block's frame ends early")
    return np.frombuffer(filtered, np.uint8)


def _choose_filter(raw: NDArray[Any], dtype: np.dtype[Any]) -> str:
    if dtype.kind == "b":
        # A byte that is neither 0 nor 1 would not come back; NumPy makes none, a view of other memory may hold one.
        return "bits" if raw.size and raw.max() <= 1 else "none"
    itemsize = dtype.itemsize
    if itemsize == 1 or not raw.size:
        return "none"
    size = max(1, _SAMPLE_BYTES // itemsize) * itemsize
    middle = max(0, len(raw) - size) // 2 // itemsize * itemsize
    sample = raw[middle : middle + size]
    plain = len(_compressor().compress(sample.data))
    return "shuffle" if len(_compressor().compress(_shuffle(sample, itemsize).data)) < plain else "none"


def _apply(kind: str, raw: NDArray[Any], itemsize: int) -> NDArray[Any]:
    if kind == "bits":
        return np.packbits(raw)
    return _shuffle(raw, itemsize) if kind == "shuffle" else raw


def _invert(kind: str, filtered: NDArray[Any], itemsize: int, raw_bytes: int, out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the raw bytes, which are those of `out` if it is given."""
    if kind not in ("none", "bits", "shuffle"):
        raise DamagedResultError(f"a block has the unknown filter {kind!r}")
    target = None if out is None or not raw_bytes else out.reshape(-1).view(np.uint8)
    if kind == "shuffle":
        target = np.empty_like(filtered) if target is None else target
        _unshuffle(filtered, itemsize, target)
        return target
    raw = np.unpackbits(filtered, count=raw_bytes) if kind == "bits" else filtered
    if target is None:
        return raw
    target[...] = raw
    return target


def _shuffle(raw: NDArray[Any], itemsize: int) -> NDArray[Any]:
    target = np.empty_like(raw)
    step = max(1, PIECE_BYTES // itemsize) * itemsize
    for start in range(0, len(raw), step):
        piece = raw[start : start + step].reshape(-1, itemsize).T
        target[start : start + step].reshape(piece.shape)[...] = piece
    return target


def _unshuffle(filtered: NDArray[Any], itemsize: int, target: NDArray[Any]) -> None:
    step = max(1, PIECE_BYTES // itemsize) * itemsize
    for start in range(0, len(filtered), step):
        planes = filtered[start : start + step].reshape(itemsize, -1)
        values = target[start : start + step].reshape(-1, itemsize)
        if itemsize > _MANY_PLANES:
            values[...] = planes.T
        else:
            for i in range(itemsize):
                values[:, i] = planes[i]  # plane by plane: 1.6 times as fast as the transposed copy


_MANY_PLANES = 64
