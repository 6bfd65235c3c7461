"""Blocks: columns to bytes and back, by a filter and zstd.

A block is a column's values for consecutive replicates. Its description (`Block`) and its bytes suffice to read it, and
nothing in it can run code. docs/reference/store-format.md specifies it.

Filters (`bgsim.storage.codec.filters`) rearrange the bytes before zstd sees them; a sample of the column decides which.
"""

from __future__ import annotations

import functools
import math
import threading
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import zstandard

from bgsim.errors import DamagedResultError, StoreError
from bgsim.parameters.fields import brief
from bgsim.parameters.nesting import read_literal
from bgsim.storage.codec import filters

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BLOCK_BYTES = 64 * 2**20
"""No larger block is read, whatever its description says; one replicate's output may be this large."""

BLOCK_BYTES = 2 * 2**20
"""Raw size at which a column is cut into blocks: enough for zstd, and several for several cores."""

LEVEL = 1
"""Of zstd. Level 3 takes twice as long for a hundredth less."""

_SAMPLE_BYTES = 2**16

_local = threading.local()


class Block(NamedTuple):
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
        CRC-32 of a label, which says where the block belongs, and of the raw bytes.
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
        Where the block belongs; only the same label reads it.

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
    raw = values.reshape(-1).view(np.uint8) if values.size else _EMPTY
    name = dtype_text(values.dtype)
    kind, data = _compress(raw, values.dtype)
    # The checksum covers the description too, so that a changed one is noticed.
    checksum = zlib.crc32(raw.data, zlib.crc32(f"{label} {name} {shape} {kind}".encode()))
    return Block(name, shape, kind, len(raw), checksum), data


class Layout(NamedTuple):
    """What follows from a block's dtype and shape; see `layout_of`.

    Attributes
    ----------
    dtype : dtype
        Little-endian.
    shape : tuple of int
    native : bool
        Whether this machine is little-endian.
    raw_bytes : int
    text : str
        As the checksum covers it.
    planes : tuple of int
        Shape of the shuffled bytes: a row holds one byte of each value.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    native: bool
    raw_bytes: int
    text: str
    planes: tuple[int, int]


@functools.lru_cache(maxsize=256)
def layout_of(dtype_text: str, shape: tuple[int, ...]) -> Layout:
    """Return the layout that a description names.

    Raises
    ------
    DamagedResultError
        If bgsim never writes such a block.
    """
    dtype = parse_dtype(dtype_text)
    raw_bytes = math.prod(shape) * dtype.itemsize
    if raw_bytes > MAX_BLOCK_BYTES or min(shape, default=0) < 0:
        raise DamagedResultError(f"a block cannot be of {shape} {dtype_text}")
    return Layout(
        dtype,
        shape,
        native=dtype.isnative,
        raw_bytes=raw_bytes,
        text=f"{dtype_text} {shape}",
        planes=(dtype.itemsize, raw_bytes // dtype.itemsize),
    )


def decode(
    layout: Layout,
    kind: str,
    raw_bytes: int,
    checksum: int,
    data: bytes,
    begun: int,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the array of a block in native byte order, read-only unless it is `out`.

    Parameters
    ----------
    layout : Layout
    kind, raw_bytes, checksum
        As in `Block`: `kind` is the filter.
    data : bytes
        What `encode_block` returned.
    begun : int
        CRC-32 of the text of label, layout and filter.
    out : ndarray, optional
        Where to put it, C-contiguous, of the block's dtype and shape.

    Raises
    ------
    DamagedResultError
        If bytes, description and label do not belong together, or the description asks for too much.
    """
    if raw_bytes != layout.raw_bytes:
        raise DamagedResultError(f"a block of {layout.shape} {layout.dtype} does not have {raw_bytes} bytes")
    filtered = decompress(data, (raw_bytes + 7) // 8 if kind == "bits" else raw_bytes)
    direct = out if layout.native else None
    raw = filters.invert(kind, np.frombuffer(filtered, np.uint8), layout.dtype.itemsize, raw_bytes, direct)
    if zlib.crc32(raw.data, begun) != checksum:
        raise DamagedResultError("a block does not match its checksum")
    if direct is not None:
        return direct
    values = raw.view(layout.dtype).reshape(layout.shape)
    if not layout.native:
        values = values.astype(layout.dtype.newbyteorder("="))
    if out is not None:
        out[...] = values
        return out
    values.flags.writeable = False
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
        If there is none, or bgsim never writes it.
    """
    try:
        description: Any = read_literal(text) if text.startswith("[") else text
        dtype = np.lib.format.descr_to_dtype(description)
    except (TypeError, ValueError, SyntaxError) as error:
        raise DamagedResultError(f"a block has the unknown dtype {brief(text)}") from error
    if dtype.hasobject or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise DamagedResultError(f"a block has the dtype {brief(text)}, which bgsim never writes")
    return dtype


_EMPTY = np.empty(0, np.uint8)


@functools.lru_cache(maxsize=256)
def dtype_text(dtype: np.dtype[Any]) -> str:
    """Return how a description names a dtype."""
    description = np.lib.format.dtype_to_descr(dtype)
    return description if isinstance(description, str) else repr(description)


def compressor() -> zstandard.ZstdCompressor:
    """Return this thread's compressor: making one takes longer than compressing a small block."""
    try:
        return _local.compressor  # type: ignore[no-any-return]
    except AttributeError:
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
        return _local.compressor  # type: ignore[no-any-return]


def decompress(data: bytes, size: int) -> bytes:
    """Return the filtered bytes; their size is compared with the description before memory is allocated.

    Raises
    ------
    DamagedResultError
        If the size differs, or `data` is not one frame.
    """
    try:
        undo = _local.decompress  # this thread's
    except AttributeError:
        undo = _local.decompress = zstandard.ZstdDecompressor().decompress
    try:
        if zstandard.frame_content_size(data) != size:
            raise DamagedResultError("a block's frame has another size than its description")
        filtered: bytes = undo(data, size, False, False)  # one frame, and nothing after it
    except zstandard.ZstdError as error:
        if "alloc" in str(error).lower():  # "Allocation error : not enough memory": the moment's, not the block's
            raise MemoryError(f"a block cannot be decompressed: {error}") from error
        raise DamagedResultError(f"a block cannot be decompressed: {error}") from error
    if len(filtered) != size:
        raise DamagedResultError("a block's frame ends early")
    return filtered


def _compress(raw: NDArray[Any], dtype: np.dtype[Any]) -> tuple[str, bytes]:
    """Return filter and compressed bytes: the smaller form of a small block, the one a sample chooses of a large."""
    compress, itemsize = compressor().compress, dtype.itemsize
    other = filters.helpful(raw, dtype)
    if other == "none":
        return "none", compress(raw.data)
    size = max(1, _SAMPLE_BYTES // itemsize) * itemsize
    middle = max(0, len(raw) - size) // 2 // itemsize * itemsize
    sample = raw[middle : middle + size]
    plain, filtered = compress(sample.data), compress(filters.apply(other, sample, itemsize).data)
    kind = other if len(filtered) < len(plain) else "none"
    if len(sample) == len(raw):
        return kind, plain if kind == "none" else filtered
    return kind, compress(filters.apply(kind, raw, itemsize).data)
