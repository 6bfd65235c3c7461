"""Files that a command writes: checked before any work starts, never overwritten unasked, and whole or not there."""

from __future__ import annotations

import contextlib
import csv
import errno
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from bgsim.errors import BgsimError, MissingExtraError
from bgsim.ui.streams import FilePath, remark

if TYPE_CHECKING:
    from bgsim.result import SimulationResult

_F = TypeVar("_F", bound=Callable[..., Any])

_NETCDF = {"netcdf4": ("netCDF4",), "h5netcdf": ("h5netcdf", "h5py"), "scipy": ("scipy",)}
"""Engines by which xarray writes ``.nc``, the best first, and the packages of each."""

force_option = click.option("--force", is_flag=True, help="Overwrite an existing file without asking.")


def output_option(suffixes: tuple[str, ...], what: str) -> Callable[[_F], _F]:
    """Return the option ``--output``."""
    return click.option("--output", type=FilePath(), help=f"Write {what} to this file: {', '.join(suffixes)}.")


def _write_npz(result: SimulationResult, path: Path) -> None:
    from bgsim.storage.npz import write_arrays  # noqa: PLC0415 - completion needs none of it

    with path.open("wb") as file:
        write_arrays(file, result)


def _write_csv(result: SimulationResult, path: Path) -> None:
    from bgsim.kernels.outputs import flat_columns  # noqa: PLC0415

    columns = flat_columns(result)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["replicate", *columns])
        writer.writerows(zip(range(result.replicates), *(c.tolist() for c in columns.values()), strict=True))


def _netcdf_engine() -> str | None:
    """Return the best engine whose packages are installed."""
    return next((name for name, packages in _NETCDF.items() if all(map(importlib.util.find_spec, packages))), None)


def _write_netcdf(data: Any, path: Path) -> None:
    engine = _netcdf_engine()
    dataset = data.to_xarray()
    if engine == "scipy":  # NetCDF 3 has no 64-bit integers
        dataset = dataset.map(lambda column: column.astype("f8") if column.dtype.kind in "iu" else column)
    dataset.to_netcdf(path, engine=engine)


class Format(NamedTuple):
    """A kind of file.

    Attributes
    ----------
    write : callable
        ``write(data, path)``
    packages : tuple of str
        Which it needs.
    """

    write: Callable[[Any, Path], None]
    packages: tuple[str, ...] = ()


_PARQUET = Format(lambda data, path: data.to_pandas().to_parquet(path), ("pandas", "pyarrow"))
_NC = Format(_write_netcdf, ("xarray",))

OF_RESULT = {".csv": Format(_write_csv), ".npz": Format(_write_npz), ".parquet": _PARQUET, ".nc": _NC}
"""By suffix, how a result is written, a row a replicate."""

OF_SWEEP = {
    ".csv": Format(lambda batch, path: batch.to_pandas().to_csv(path), ("pandas",)),
    ".parquet": _PARQUET,
    ".nc": _NC,
}
"""By suffix, how a sweep is written, a row a point."""


def check_output(path: Path, suffixes: Collection[str], *, force: bool, option: str = "--output") -> None:
    """Refuse a file that cannot be written, before any work starts; ask about one that exists.

    Raises
    ------
    click.UsageError
        Also if the file exists, and there is no terminal to ask at.
    SystemExit
        If the user does not want it overwritten.
    """
    if path.suffix not in suffixes:
        raise click.UsageError(f"{option} must end in {' or '.join(suffixes)}; got {path}")
    try:
        if not path.parent.is_dir():
            raise click.UsageError(f"{option}: there is no directory {path.parent}")
        if path.is_dir():
            raise click.UsageError(f"{option}: {path} is a directory")
        exists = path.is_file()
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if exists or not path.exists():
            _beside(path.resolve()).cleanup()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise click.UsageError(f"{option}: {path} cannot be written: {why}") from error
    if not exists or force:  # of a device or a pipe nothing is lost
        return
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{option}: {path} exists; --force overwrites it")
    if not click.confirm(f"{path} exists. Overwrite it?", err=True):
        remark("nothing was done")
        sys.exit(1)


def check_format(path: Path, formats: Mapping[str, Format], *, force: bool) -> None:
    """Do as `check_output`, and refuse what cannot be written since a package is not installed.

    Raises
    ------
    click.UsageError, SystemExit
        See there.
    MissingExtraError
    """
    check_output(path, formats, force=force)
    suffix = path.suffix
    missing = sorted(package for package in formats[suffix].packages if importlib.util.find_spec(package) is None)
    if suffix == ".nc" and _netcdf_engine() is None:
        missing.append("netCDF4")
    if missing:
        raise MissingExtraError(f"a {suffix} file needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def write(data: Any, path: Path, formats: Mapping[str, Format]) -> None:
    """Write a result or a sweep to a file that `check_format` has passed.

    Raises
    ------
    BgsimError
        See `replacing`.
    """
    with replacing(path) as part:
        formats[path.suffix].write(data, part)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write to; it takes its place when it is whole. A device or a pipe is written itself.

    Raises
    ------
    BgsimError
        Whatever the library raises that writes: each has its own for what a kind of file cannot hold.
    """
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        target = path.resolve()  # the file that a link points to
        with _beside(target) as folder:
            part = Path(folder, target.name)
            yield part
            if target.exists():
                part.chmod(target.stat().st_mode & 0o777)
            part.replace(target)
    except (BgsimError, click.ClickException):
        raise
    except Exception as error:
        why = getattr(error, "strerror", None) or error
        raise BgsimError(f"{path} cannot be written: {why}") from error


def _beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    """Make a folder in which a file is written before it takes its place."""
    return tempfile.TemporaryDirectory(dir=target.parent, prefix=".bgsim-")
