"""The example of a cluster: a process of it is killed, and the bytes are those of one thread."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from paths import ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_process_is_killed_and_the_bytes_are_those_of_one_thread() -> None:
    command = [sys.executable, str(ROOT / "examples" / "cluster.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    killed = re.search(r"^killed process \d+$", done.stdout, flags=re.MULTILINE)
    assert killed is not None, done.stdout
    assert "(600,000/600,000)" in done.stdout[killed.end() :]
    cluster, thread = (line.split() for line in done.stdout.splitlines()[-2:])
    assert (cluster[0], thread[:2]) == ("cluster", ["one", "thread"])
    assert re.fullmatch("[0-9a-f]{64}", cluster[-1])
    assert cluster[-1] == thread[-1]
    assert "Traceback" not in done.stderr
