"""Which store a command uses; the room of the stores is imported when one is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import platformdirs

from bgsim.errors import StoreError
from bgsim.ui.streams import FilePath

if TYPE_CHECKING:
    from bgsim.storage import ResultStore


def default_store() -> Path:
    """Make the directory of the default store; return the store's path."""
    try:
        directory = platformdirs.user_data_path("bgsim")
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # the latter: there is no home
        raise StoreError(
            f"the default store has no directory: {error}; name a file with --store or BGSIM_STORE"
        ) from error
    return directory / "results.db"


store_option = click.option(
    "--store",
    type=FilePath(),
    envvar="BGSIM_STORE",
    help="SQLite file that keeps the results.  [env: BGSIM_STORE; default: in the user's data directory]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextmanager
def opened_store(path: Path | None) -> Iterator[ResultStore]:
    """Open an existing store, by default the user's."""
    path = path or default_store()
    try:
        is_there = path.exists()
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
    if not is_there:
        raise click.UsageError(f"there is no store {path} yet; `bgsim run` makes it")
    from bgsim.storage import ResultStore  # noqa: PLC0415 - completion needs no store

    store = ResultStore(path)
    try:
        yield store
    finally:
        store.close()
