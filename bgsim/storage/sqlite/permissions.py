"""Files beside a store's file: nobody may read them who may not read the store."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def make_like(path: Path, new: Path) -> None:
    """Make an empty file that as many may read as another, and whose owner is the same if that is allowed."""
    found = path.stat()
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        if hasattr(os, "fchown"):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fchmod(descriptor, found.st_mode & 0o777)
    finally:
        os.close(descriptor)
