"""Columns to bytes and back, for every dtype, order and stride; and what is refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bgsim.errors import DamagedResultError, StoreError
from bgsim.storage.codec import codec, segments
from bgsim.storage.codec.codec import (
    BLOCK_BYTES,
    MAX_BLOCK_BYTES,
    Block,
    decode,
    encode_block,
    layout_of,
    rows_per_block,
)
from bgsim.storage.codec.parallel import for_each


def decode_block(block: Block, data: bytes, label: str = "", out: np.ndarray | None = None) -> np.ndarray:
    """Decode a block as `segments` does."""
    layout = layout_of(block.dtype, block.shape)
    begun = zlib.crc32(f"{label} {layout.text} {block.filter}".encode())
    return decode(layout, block.filter, block.raw_bytes, block.checksum, data, begun, out)


scalar_dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(endianness="?"),
    hnp.timedelta64_dtypes(endianness="?"),
    hnp.byte_string_dtypes(min_len=1),
    hnp.unicode_string_dtypes(endianness="?", min_len=1),
)
dtypes = scalar_dtypes | hnp.array_dtypes(scalar_dtypes, max_size=3, allow_subarrays=True)


def raw_arrays(dtype: np.dtype) -> st.SearchStrategy[np.ndarray]:
    """Arrays of any bytes, so of any NaN payload too; only booleans are 0 or 1."""

    def build(shape: tuple[int, ...], seed: int) -> np.ndarray:
        count = int(np.prod(shape, dtype=int))
        data = np.random.default_rng(seed).integers(0, 256, count * dtype.itemsize, dtype=np.uint8)
        if "?" in str(dtype.descr) or "b1" in str(dtype.descr):
            data &= 1
        elif dtype.kind == "U" or "U" in str(dtype.descr):
            data[:] = 0  # most bytes are no characters
        return np.frombuffer(data.tobytes(), dtype).reshape(shape)

    return st.builds(build, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9), st.integers(0, 2**32))


def view_of(array: np.ndarray, kind: str) -> np.ndarray:
    if kind == "fortran":
        return np.asfortranarray(array)
    if kind == "transposed":
        return array.T
    if array.ndim and kind == "reversed":
        return array[::-1]
    if array.ndim and kind == "strided":
        return np.repeat(array, 2, axis=0)[::2]
    return array


@settings(max_examples=300)
@given(st.data(), dtypes, st.sampled_from(["plain", "fortran", "transposed", "reversed", "strided"]))
def test_every_array_comes_back_bit_for_bit(data, dtype, kind) -> None:
    array = view_of(data.draw(raw_arrays(dtype)), kind)
    block, encoded = encode_block(array, "here")
    found = decode_block(block, encoded, "here")
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("=")
    little = array.dtype.newbyteorder("<")
    assert np.asarray(found, little).tobytes() == np.asarray(array, little).tobytes()


@settings(max_examples=100)
@given(
    st.sampled_from(["<f8", "<i4", "<u2", "?", "<c16", "i1"]),
    st.integers(1, 5000),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_columns_come_back_in_a_given_place(dtype, rows, width, seed) -> None:
    values = (np.random.default_rng(seed).random((rows, width)) * 9).astype(dtype)
    block, encoded = encode_block(values)
    out = np.empty_like(values)
    assert decode_block(block, encoded, "", out) is out
    assert out.tobytes() == values.tobytes()


def test_nan_payloads_and_signs_survive() -> None:
    bits = np.array([0x7FF8000000000001, 0xFFF8DEADBEEF0000, 0x7FF0000000000001, 0x8000000000000000], np.uint64)
    block, data = encode_block(bits.view(np.float64))
    assert np.array_equal(decode_block(block, data).view(np.uint64), bits)


def test_padding_of_an_aligned_structure_survives() -> None:
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    values = np.zeros(5, dtype)
    values["b"] = np.arange(5)
    block, data = encode_block(values)
    found = decode_block(block, data)
    assert found.dtype == dtype
    assert np.array_equal(found, values)


def test_a_boolean_of_another_byte_survives() -> None:
    odd = np.frombuffer(bytes([0, 1, 2, 255]), np.bool_)
    block, data = encode_block(odd)
    assert decode_block(block, data).tobytes() == odd.tobytes()


rng = np.random.default_rng(0)
KINDS = {
    "random floats": rng.random(500_000),
    "smooth floats": np.sin(np.arange(500_000) / 1000.0),
    "random walk": np.cumsum(rng.standard_normal(500_000)),
    "small integers": rng.poisson(4.0, 500_000),
    "wide integers": rng.integers(0, 2**40, 500_000),
    "short integers": rng.integers(0, 1000, 500_000, dtype=np.int32),
    "booleans": rng.random(1_000_000) < 0.3,
    "rare booleans": rng.random(1_000_000) < 0.001,
    "constant": np.full(500_000, 1.5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_is_within_five_percent_of_the_better_filter(kind) -> None:
    """Against zstd of the whole column at once, plain and with all of it shuffled."""
    values = KINDS[kind]
    raw = values.view(np.uint8)
    compressor = zstandard.ZstdCompressor(level=codec.LEVEL)
    shuffled = np.ascontiguousarray(raw.reshape(-1, values.itemsize).T)
    best = min(len(compressor.compress(raw.data)), len(compressor.compress(shuffled.data)))
    ours = segments.split({"a": values}, 0, "0" * 32).size_bytes
    assert ours <= 1.05 * best + 64 * (values.nbytes // BLOCK_BYTES + 1)


@pytest.mark.parametrize("dtype", [object, [("a", "f8"), ("b", object)]])
def test_objects_are_refused(dtype) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        encode_block(np.empty(3, dtype))


@pytest.mark.parametrize("text", ["|O", "nonsense", "[('a', '|O')]", "[('a'", "[1]", "V0", "[" * 500, "<f8,<f8x", ""])
def test_a_description_of_objects_or_nonsense_is_refused(text) -> None:
    with pytest.raises(DamagedResultError):
        decode_block(Block(text, (1,), "none", 8, 0), b"")


def test_a_block_has_a_bound() -> None:
    with pytest.raises(StoreError, match="at most"):
        encode_block(np.zeros(MAX_BLOCK_BYTES + 1, np.uint8))
    with pytest.raises(StoreError, match="one replicate"):
        rows_per_block(np.dtype("f8"), (MAX_BLOCK_BYTES // 8 + 1,))
    assert rows_per_block(np.dtype("f8"), (MAX_BLOCK_BYTES // 8,)) == 1
    assert rows_per_block(np.dtype("f8"), (0,)) >= 1


def test_a_decompression_bomb_is_refused_before_there_is_room_for_it() -> None:
    """A terabyte of zeros in a few bytes, whatever the description says of it."""
    gigabytes = 2**40
    frame = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(2**20)))
    honest = zstandard.get_frame_parameters(bytes(frame))
    assert honest.content_size == 2**20
    # A frame header with an 8-byte content size: single segment, size field of 8 bytes.
    bomb = struct.pack("<IBQ", 0xFD2FB528, 0b11100000, gigabytes) + b"\x03\x00\x00\x00"
    for raw_bytes, shape in ((gigabytes, (gigabytes // 8,)), (8, (1,)), (2**20, (2**17,))):
        with pytest.raises(DamagedResultError):
            decode_block(Block("<f8", shape, "none", raw_bytes, 0), bomb)
    with pytest.raises(DamagedResultError):
        decode_block(Block("<f8", (1,), "none", 8, 0), bytes(frame))


@settings(max_examples=300)
@given(st.integers(0, 10**9), st.integers(0, 7), st.sampled_from(["<f8", "?", "<i4"]))
def test_a_flipped_bit_is_found(position, bit, dtype) -> None:
    values = (np.random.default_rng(1).random(300) * 3).astype(dtype)
    block, data = encode_block(values, "x")
    damaged = bytearray(data)
    damaged[position % len(data)] ^= 1 << bit
    try:
        found = decode_block(block, bytes(damaged), "x")
    except DamagedResultError:
        return
    assert found.tobytes() == values.tobytes()  # a bit that means nothing


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "<i8"},
        {"shape": (20, 15)},
        {"filter": "none"},
        {"filter": "bits"},
        {"filter": "rot13"},
        {"raw_bytes": 8},
        {"shape": (-300,)},
        {"shape": (2**62,)},
        {"checksum": 1},
    ],
)
def test_a_changed_description_is_found(change) -> None:
    block, data = encode_block(np.arange(300.0), "x")
    with pytest.raises(DamagedResultError):
        decode_block(block._replace(**change), data, "x")


def test_a_block_in_another_place_is_found() -> None:
    block, data = encode_block(np.arange(300.0), "x")
    with pytest.raises(DamagedResultError, match="checksum"):
        decode_block(block, data, "y")


def test_trailing_and_missing_bytes_are_found() -> None:
    block, data = encode_block(np.arange(300.0))
    for changed in (data[:-1], data + b"\0", data + data, b""):
        with pytest.raises(DamagedResultError):
            decode_block(block, changed)


def test_helpers_share_the_items_and_the_first_error_stops_them() -> None:
    done: list[int] = []
    for_each(done.append, range(100), helpers=3)
    assert sorted(done) == list(range(100))
    for helpers in (0, 2):
        drawn = []

        def items(drawn=drawn):
            for i in range(1000):
                drawn.append(i)
                yield i

        def fail(_: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            for_each(fail, items(), helpers=helpers)
        assert len(drawn) <= helpers + 1


def test_without_new_threads_the_caller_does_it_alone(monkeypatch) -> None:
    """As while the interpreter ends."""

    def refuse(self) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr("threading.Thread.start", refuse)
    done: list[int] = []
    for_each(done.append, range(10), helpers=2)
    assert done == list(range(10))
