"""What numba keeps: machine code on disk, machine code that is older than its values, and copies with values of now."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

HEAD = """
import collections, operator
from typing import Any, NamedTuple
import numpy as np
import bgsim
from numba import cfunc, njit, objmode, stencil, vectorize
from numba.extending import overload, register_jitable
"""


def write(folder: Path, source: str, name: str = "model") -> None:
    """Write a module."""
    (folder / f"{name}.py").write_text(HEAD + textwrap.dedent(source))


def in_process(folder: Path, code: str, seed: str = "0") -> list[str]:
    """Run code in a new process, with one cache of machine code in the folder; return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROLOGUE + textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(folder / "machine_code"),
            "PYTHONHASHSEED": seed,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split("\n")[:-1]


PROLOGUE = """
import sys
sys.path.insert(0, "")
import bgsim, model
def ask(simulation=model.sim):
    try:
        with bgsim.Engine() as engine:
            print(engine.submit(simulation, replicates=1).result()["x"][0])
    except bgsim.errors.BgsimError as error:
        print(type(error).__name__)
def stored(simulation=model.sim):
    with bgsim.Engine() as engine:
        engine.submit(simulation, replicates=1).result()
        print(engine.submit(simulation, replicates=1).status().from_store)
"""


# ---- machine code on disk ----------------------------------------------------------------------------


def test_a_helper_that_calls_itself_runs_in_each_process(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        @njit
        def fib(n):
            if n < 2:
                return 1.0
            return fib(n - 1) + fib(n - 2)

        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return fib(10)
        """,
    )
    assert [in_process(tmp_path, "ask()") for _ in range(2)] == [["89.0"]] * 2


def test_a_file_of_another_identity_is_compiled_anew(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        @bgsim.simulation(outputs={"x": "f8"})
        def sim(p, rng):
            return 2.0
        """,
    )
    assert in_process(tmp_path, "ask()") == ["2.0"]
    files = sorted((tmp_path / "machine_code" / "bgsim").iterdir())
    assert len(files) > 1
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(content)
    assert in_process(tmp_path, "ask()") == ["2.0"]


def test_a_file_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    from bgsim.kernel_cache import _is_ours

    file = tmp_path / "a.kernel"
    file.touch(mode=0o600)
    found = []
    for mode in (0o600, 0o644, 0o664, 0o606):
        file.chmod(mode)
        found.append(_is_ours(file))
    for mode in (0o700, 0o775, 0o777, 0o1777):
        tmp_path.chmod(mode)
        found.append(_is_ours(tmp_path))
    tmp_path.chmod(0o700)
    assert found == [True, True, False, False, True, False, False, True]
