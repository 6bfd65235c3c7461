"""Ctrl-C, SIGTERM and SIGHUP at any moment of the command: the right exit code, and no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import environment, folder, wait_for_progress  # noqa: F401 - the fixture

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent to one process")

STOPS_WHILE_IT_LOADS = """
import sys, time
class Finder:
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            print("here", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Finder())
"""

COMMANDS = {
    "module": [sys.executable, "-m", "bgsim"],
    "script": [str(Path(sys.executable).with_name("bgsim"))],
}


def start(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:  # noqa: F811
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment(folder), **variables},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["numpy", "click", "bgsim.engine", "numba"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_signal_while_modules_load_ends_the_command_in_silence(
    folder: Path,  # noqa: F811
    command: list[str],
    module: str,
    number: signal.Signals,
) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(STOPS_WHILE_IT_LOADS.format(name=module))
    path = os.pathsep.join([str(folder / "site"), environment(folder).get("PYTHONPATH", "")])
    process = start(folder, *command, "run", "european_call", "-n", "10", PYTHONPATH=path)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(number)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_keep_the_finished_replicates_as_ctrl_c_does(
    folder: Path,  # noqa: F811
    number: signal.Signals,
) -> None:
    process = start(folder, sys.executable, "-m", "bgsim", "run", "mine:slow", "-n", "4000000", "--json")
    wait_for_progress(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert json.loads(out)["error"] == {"type": "interrupted", "message": "interrupted", "exit_code": 128 + number}
    assert "the same command goes on from there" in err
    assert "Traceback" not in err


def test_sighup_that_the_parent_ignores_stays_ignored(folder: Path) -> None:  # noqa: F811
    """As `nohup` wants it: a second signal would end the process at once."""
    command = [sys.executable, "-m", "bgsim", "run", "mine:slow", "-n", "4000000"]
    process = start(folder, "sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command)
    wait_for_progress(process)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "the same command goes on from there" in err


def test_ctrl_c_while_it_compiles_does_not_wait_for_the_compiler(folder: Path) -> None:  # noqa: F811
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(STOPS_WHILE_IT_LOADS.format(name="bgsim.kernels.compiled"))
    path = os.pathsep.join([str(folder / "site"), environment(folder).get("PYTHONPATH", "")])
    process = start(folder, sys.executable, "-m", "bgsim", "run", "european_call", "-n", "10", PYTHONPATH=path)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (
        err.splitlines()[-1] == "bgsim: interrupted while compiling; no replicate was done, so there is nothing to keep"
    )


def test_a_reader_who_leaves_early_ends_the_command_in_silence(folder: Path) -> None:  # noqa: F811
    process = start(folder, "sh", "-c", f"{sys.executable} -m bgsim list | head -1")
    out, err = process.communicate(timeout=60)
    assert len(out.splitlines()) == 1
    assert err == ""


HANDED_TO_ANOTHER_THREAD = """
import signal, threading
from bgsim.ui import serve_cli
from bgsim.ui.cli import main
from bgsim.ui.interrupts import handle_signals

class Handing(serve_cli.Latch):
    def wait(self):
        threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
        return super().wait()

serve_cli.Latch = Handing
handle_signals()
main(["serve", "served.db", "--port", "0"])
"""


def test_a_signal_that_the_system_hands_to_another_thread_ends_a_service(folder: Path) -> None:  # noqa: F811
    process = start(folder, sys.executable, "-c", HANDED_TO_ANOTHER_THREAD)
    out, err = process.communicate(timeout=60)
    assert out.startswith("http://")
    assert "SIGTERM: jobs have 30 s to end" in err
    assert process.returncode == 0, err
