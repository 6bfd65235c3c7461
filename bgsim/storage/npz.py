"""Arrays in ``.npz`` files, as `numpy.savez_compressed` writes them: read without trusting anything that a file says.

A file names the size of each array three times: in the zip's directory, in the array's header, and by its bytes. The
sizes are compared with each other and with a limit before memory is taken. No pickled object is read.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from bgsim.errors import StoreError, brief
from bgsim.parameters.nesting import read_literal

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SUFFIX = ".npy"

_LARGEST_HEADER = 2**16
"""Bytes; a structured dtype has a long one."""

_DESCRIPTION_BYTES = 2**24
"""That arrays may take beyond the limit, for headers and the text that describes them."""

_MOST_DIMENSIONS = 32

_LENGTHS = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}
"""How the length of a header is written, by the version of the format."""

_ERRORS = (
    OSError, ValueError, TypeError, KeyError, OverflowError, EOFError, SyntaxError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What zipfile and NumPy raise for odd bytes; RuntimeError of an encrypted member."""


def write_arrays(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a file, compressed; any text is a name."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path, max_bytes: float) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by their names, in its order.

    Raises
    ------
    StoreError
        If it is no such file, or its arrays take more than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, max_bytes)
            return {member.filename.removesuffix(_SUFFIX): _read_member(archive, member) for member in members}
    except StoreError:
        raise
    except _ERRORS as error:
        raise StoreError(f"it is no .npz file that can be read: {brief(str(error))}") from error


def _check_members(members: list[zipfile.ZipInfo], max_bytes: float) -> None:
    names = set()
    for member in members:
        name = member.filename
        if not name.endswith(_SUFFIX):
            raise StoreError(f"{brief(name)} in it is no array")
        if name in names:
            raise StoreError(f"it has two arrays of the name {brief(name.removesuffix(_SUFFIX))}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise StoreError(f"{brief(name)} in it is compressed by another method than deflate")
        names.add(name)
    size = sum(member.file_size for member in members)
    if size > max_bytes + _DESCRIPTION_BYTES:
        raise StoreError(f"its arrays take {size:,} bytes, more than max_storage_bytes={int(max_bytes):,} of the store")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    name = brief(member.filename.removesuffix(_SUFFIX))
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _LENGTHS:
            raise StoreError(f"array {name} is of the unknown format {version}")
        form = _LENGTHS[version]
        (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
        if length > _LARGEST_HEADER:
            raise StoreError(f"array {name} has a header of {length:,} bytes; {_LARGEST_HEADER:,} are read")
        header = read_literal(file.read(length).decode("utf-8" if version == (3, 0) else "latin-1").strip())
        dtype, shape, fortran = _described(name, header)
        size = math.prod(shape) * dtype.itemsize
        left = member.file_size - len(np.lib.format.magic(*version)) - struct.calcsize(form) - length
        if size != left:
            raise StoreError(f"array {name} says that it has {size:,} bytes, and has {left:,}")
        data = file.read(size)
        if len(data) != size or file.read(1):
            raise StoreError(f"array {name} says that it has {size:,} bytes, and has others")
    if not size:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _described(name: str, header: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return dtype, shape, and whether the order is Fortran's, from an array's header."""
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise StoreError(f"array {name} has the header {brief(header)}")
    shape, fortran = header["shape"], header["fortran_order"]
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS or not isinstance(fortran, bool):
        raise StoreError(f"array {name} has the shape {brief(shape)} and the order {brief(fortran)}")
    if not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise StoreError(f"array {name} has the shape {brief(shape)}")
    try:
        dtype = np.lib.format.descr_to_dtype(header["descr"])
    except Exception as error:  # NumPy raises many kinds
        raise StoreError(f"array {name} has no dtype that there is: {brief(header['descr'])}") from error
    if dtype.hasobject or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise StoreError(f"array {name} is of the dtype {brief(str(dtype))}, which bgsim never writes")
    return dtype, shape, fortran
