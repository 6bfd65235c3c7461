"""Make docs/terminal.svg, a picture that moves: a run with its bar, and the same command answered from the store.

``python docs/picture.py`` runs both in a pseudo-terminal and draws what it shows, when it shows it.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME as THEME
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "terminal.svg"
COMMAND = "run battle --scenario examples/encounters/ogre_bridge.json -n 600000 --seed 1"
COLUMNS = 104
WIDTH, HEIGHT, BASELINE, MARGIN, HEAD = (
    8.4,
    18,
    14,
    14,
    34,
)  # of a character, of a line, of the frame around them; pixels

CONSOLE = Console(width=COLUMNS, force_terminal=True, color_system="truecolor")
PROMPT = "\x1b[1;32m$\x1b[0m \x1b[1m"
TYPING_S, READING_S, LAST_S = 1.2, 2.5, 5.0
TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


@dataclass
class Terminal:
    """What a terminal shows, by lines. bgsim writes each line anew from its start, so no cell is looked at."""

    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    at_start: bool = False

    def write(self, text: str) -> None:
        """Take text with escape codes."""
        for arguments, verb, control, words in TOKEN.findall(text):
            if control == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
            elif verb == "A":
                self.row = max(0, self.row - int(arguments or 1))
            elif verb == "K":
                self.lines[self.row] = ""
            if verb == "m" or words:
                before = "" if self.at_start else self.lines[self.row]
                self.lines[self.row] = before + (words or f"\x1b[{arguments}m")
            self.at_start = control == "\r" or (self.at_start and not words and control != "\n")


def in_terminal(command: str, store: str) -> Iterator[tuple[float, str]]:
    """Run bgsim in a pseudo-terminal; yield what it writes, escape codes and all, and the seconds until then."""
    master, slave = pty.openpty()
    environment = {**os.environ, "BGSIM_STORE": store, "COLUMNS": str(COLUMNS), "LINES": "30", "TERM": "xterm-256color"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bgsim", *command.split()], stdout=slave, stderr=slave, cwd=ROOT, env=environment
    )
    os.close(slave)
    while True:
        try:
            shown = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        yield time.monotonic() - began, shown.decode()
    assert process.wait() == 0


def recorded(store: str) -> tuple[list[tuple[float, list[str]]], float]:
    """Return what is shown from which second on, and how long the whole takes."""
    terminal = Terminal()
    frames: list[tuple[float, list[str]]] = []
    now = 0.0
    for _ in in_terminal(COMMAND, f"{store}.before"):
        pass  # compiled, so that the picture shows how it is from the second day on
    for part in range(2):
        terminal.write(f"{PROMPT}bgsim {COMMAND}\x1b[0m\n")
        frames.append((now, list(terminal.lines)))
        now += TYPING_S
        elapsed = 0.0
        for elapsed, text in in_terminal(COMMAND, store):
            terminal.write(text)
            frames.append((now + elapsed, list(terminal.lines)))
        now += elapsed + (LAST_S if part else READING_S)
        terminal.write("\n")
    return frames, now


def spans(frames: list[tuple[float, list[str]]], end: float) -> Iterator[tuple[int, str, float, float]]:
    """Yield each line as it is for a while: its number, its text, from when to when."""
    shown: dict[int, tuple[str, float]] = {}
    for now, lines in [*frames, (end, [])]:
        for row in range(max(len(lines), max(shown, default=-1) + 1)):
            text = lines[row] if row < len(lines) else ""
            before, since = shown.get(row, ("", now))
            if text != before or now == end:
                if before.strip() and now > since:
                    yield row, before, since, now
                shown[row] = (text, now)


def drawn(row: int, line: str) -> str:
    """Return the elements of a line."""
    text = Text.from_ansi(line)
    text.rstrip()
    parts, column = [], 0
    for segment in text.render(CONSOLE):
        words, style = segment.text, segment.style or Style()
        if words.strip():
            x, y = MARGIN + column * WIDTH, HEAD + row * HEIGHT + BASELINE
            look = f'fill="{colour(style)}"' + (' font-weight="bold"' if style.bold else "")
            size = f'x="{x:.1f}" y="{y}" textLength="{len(words) * WIDTH:.1f}"'
            parts.append(f"<text {size} {look}>{escape(words).replace(' ', '&#160;')}</text>")
        column += len(words)
    return "".join(parts)


def colour(style: Style) -> str:
    """Return the colour of a text, as SVG writes it."""
    plain = THEME.foreground_color
    found = style.color.get_truecolor(THEME) if style.color and not style.color.is_default else plain
    if style.dim:
        found = type(found)(*(round((a + b) / 2) for a, b in zip(found, THEME.background_color, strict=True)))
    return found.hex


def picture(frames: list[tuple[float, list[str]]], end: float) -> str:
    """Return the SVG. Without animation, or for a reader who wants none, it is the last frame."""
    rules, groups = [], []
    for number, (row, line, since, until) in enumerate(spans(frames, end)):
        steps = {0.0: "hidden", since / end * 100: "visible"}
        if until < end:
            steps[until / end * 100] = "hidden"
        rules.append(f"@keyframes k{number}{{{''.join(f'{at:.2f}%{{visibility:{v}}}' for at, v in steps.items())}}}")
        last = "" if until == end else ' visibility="hidden"'
        groups.append(f'<g{last} style="animation-name:k{number}">{drawn(row, line)}</g>')
    rows = max(len(lines) for _, lines in frames)
    width, height = round(COLUMNS * WIDTH + 2 * MARGIN), HEAD + rows * HEIGHT + MARGIN
    dots = "".join(
        f'<circle cx="{20 + 18 * n}" cy="17" r="6" fill="{c}"/>'
        for n, c in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="14"'
        " font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\">\n"
        "<title>A run of bgsim with its bar, and the same command answered from the store</title>\n"
        f"<style>g[style]{{animation:{end:.2f}s step-end infinite}}"
        "@media(prefers-reduced-motion:reduce){g[style]{animation:none!important}}\n" + "\n".join(rules) + "</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="{THEME.background_color.hex}"/>{dots}\n'
        + "\n".join(groups)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        PICTURE.write_text(picture(*recorded(f"{folder}/runs.db")), encoding="utf-8")
