"""Make docs/terminal.svg: what a real terminal shows during and after a run. ``python docs/picture.py``."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
COMMAND = "run battle --scenario examples/encounters/ogre_bridge.json --replicates 1000000 --seed 1"


def in_terminal(arguments: list[str], store: str) -> str:
    """Run bgsim in a pseudo-terminal and return what it wrote, escape codes and all."""
    master, slave = pty.openpty()
    environment = {**os.environ, "BGSIM_STORE": store, "COLUMNS": "96", "LINES": "30", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "bgsim", *arguments], stdout=slave, stderr=slave, cwd=ROOT, env=environment
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    assert process.wait() == 0
    return shown.decode()


def main() -> None:
    """Run the same command twice and draw a frame of the bar and what is left on the screen."""
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            shown = in_terminal(COMMAND.split(), f"{folder}/runs.db")
            frames = [f for f in shown.replace("\n", "\r").split("\r") if "left" in f]
            final = shown[shown.rindex("output ") :].replace("\r", "")
            console.print(Text("$ bgsim " + COMMAND, style="bold"), soft_wrap=True)
            if frames:
                console.print(Text.from_ansi(frames[len(frames) * 2 // 3]))
            console.print(Text.from_ansi(final))
    svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="bgsim"), flags=re.DOTALL)  # no remote fonts
    (ROOT / "docs" / "terminal.svg").write_text(svg.replace("Fira Code, monospace", "monospace"))


if __name__ == "__main__":
    main()
