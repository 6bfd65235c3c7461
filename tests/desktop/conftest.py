"""A screen in memory for all tests of windows, and Qt's application without any screen."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("QT_API", "pyside6")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """An X server in memory; its name, which is also in the environment."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed; make test-ui installs it on Debian")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=(writing,), stdout=-3, stderr=-3) as server:
        os.close(writing)
        try:
            with os.fdopen(reading) as found:
                name = f":{found.readline().strip()}"
            assert name != ":", "Xvfb did not start"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DISPLAY", name)
                yield name
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def application() -> Any:
    """Qt's application."""
    QtWidgets = pytest.importorskip(
        "qtpy.QtWidgets", reason="qtpy, or a binding of Qt, is not installed", exc_type=ImportError
    )
    made = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    made.setQuitOnLastWindowClosed(False)
    return made


@pytest.fixture(autouse=True)
def no_garbage_of_windows() -> Iterator[None]:
    """Collect what a test leaves in this thread: neither Qt nor Tk may be freed in a worker of the next."""
    yield
    gc.collect()
