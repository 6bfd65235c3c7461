"""What reaches the terminal: no escape sequence of a file's, whatever the encoding; and streams that cannot be written."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import pytest
from command import run_main
from rich.console import Console

import bgsim
from bgsim.errors import StoreError, printable
from bgsim.logs import LOGGERS
from bgsim.progress import ProgressUpdate, UpdateType
from bgsim.testing import SteppedEngine, run_all
from bgsim.ui import streams
from bgsim.ui.terminal import live_display, show_batch, show_row

HOSTILE = "\x1b]0;T\x07\x1b[2J\x9b31m\u202ex\u2066\u200b\ufeff\x00\r\n\x7f[red]:smile:" + "y" * 500
"""A title, a clearing, a C1 control, bidi overrides, what has no width, line ends, markup, and much of it."""


def harmless(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


def test_only_what_is_seen_is_printable() -> None:
    assert printable("caf\u00e9 \u00b1 1\u00a0% \u3042\n\tx") == "caf\u00e9 \u00b1 1\u00a0% \u3042\n\tx"
    assert printable("\x1b[2J\x9b\u202e\u2066\u200b\ud800\x00\r\x7f") == (
        r"\x1b[2J\x9b\u202e\u2066\u200b\ud800\x00\r\x7f"
    )
    assert printable("\U000e0041\u2028") == r"\U000e0041\u2028"
    every = map(chr, range(0x30000))
    assert all(c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" for c in printable("".join(every)))


@pytest.fixture(scope="module")
def hostile_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store whose workspace, simulation, parameters and versions are hostile."""
    path = tmp_path_factory.mktemp("hostile") / "s.db"
    odd = bgsim.simulation(
        lambda p, rng: rng.random(), outputs={"x": "f8"}, compile=False, name=f"m.{HOSTILE}", depends_on=()
    )
    with bgsim.Engine(path, workers=1) as engine:
        for value in (HOSTILE, "other"):
            engine.submit(odd, {"text": value}, replicates=5, workspace=HOSTILE).result()
    return path


@pytest.mark.parametrize(
    "command",
    ["ls", "show", "slots", "compare", "check", "ls --json", "show --json", "slots --json", "compare --json", "rm zz"],
)
def test_no_command_writes_what_acts_on_a_terminal(hostile_store: Path, command: str) -> None:
    name, *options = command.split()
    if name == "show":
        _, listed, _ = run_main("store", "ls", "--store", str(hostile_store))
        options.insert(0, listed.splitlines()[1][:12])
    code, out, err = run_main("store", name, *options, "--store", str(hostile_store))
    assert code == (2 if name == "rm" else 0), err
    assert harmless(out)
    assert harmless(err)
    if "--json" in options:
        json.loads(out)
    elif name in ("ls", "slots"):
        assert r"\x1b]0;T\x07" in out
        assert max(map(len, out.splitlines())) < 5000
        assert len(out.splitlines()) == 3  # no line of the file's own
        assert name == "ls" or "[red]" in out


def test_usage_errors_quote_their_arguments_harmlessly(hostile_store: Path) -> None:
    for arguments in (
        ["run", HOSTILE.replace("\0", "")],
        ["run", "european_call", f"--{HOSTILE}"],
        ["run", "european_call", "--set", f"{HOSTILE}=1"],
        ["run", "european_call", "--priority", HOSTILE],
        ["run", "european_call", "--store", HOSTILE],
        ["store", "compare", HOSTILE + "z", "--store", str(hostile_store)],
        ["store", "show", HOSTILE, "--store", str(hostile_store)],
        ["describe", "\udcff"],
    ):
        code, out, err = run_main(*arguments)
        assert code == 2, (arguments, err)
        assert harmless(out + err)
        assert "Traceback" not in err


def test_errors_warnings_and_logs_are_printable(caplog: pytest.LogCaptureFixture) -> None:
    assert harmless(str(StoreError(f"no {HOSTILE}")))
    assert harmless(str(bgsim.errors.RequestNotFoundError(HOSTILE)))
    for name in LOGGERS:
        caplog.clear()
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logging.getLogger(name).exception("no %s %d", HOSTILE, 3)
        assert harmless(caplog.text.replace("\n", ""))
        assert "3" in caplog.text
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bgsim.user_warnings.warn_user(HOSTILE, UserWarning)
    assert harmless(str(caught[0].message))


def test_every_logger_of_the_package_is_made_printable() -> None:
    root = Path(bgsim.__file__).parent
    named = {
        part.split('"')[0] for path in root.rglob("*.py") for part in path.read_text().split('getLogger("')[1:]
    }  # fmt: skip
    assert named == set(LOGGERS)


def test_notebooks_get_escaped_html() -> None:
    odd = bgsim.simulation(
        lambda p, rng: "<i>\x1b", outputs={"x": "U9"}, compile=False, name=f"<b>{HOSTILE}", depends_on=()
    )
    with SteppedEngine() as engine:
        job = engine.submit(odd, {"t": f"<script>{HOSTILE}"}, replicates=2)
        run_all(engine)
        texts = [job.result()._repr_html_(), repr(job.result()), str(job.status()), odd.explain()._repr_html_()]
        texts += [update._repr_html_() for update in job.updates()]
    for text in texts:
        assert harmless(text)
        assert not any(tag in text for tag in ("<script>", "<i>")) or not text.startswith("<")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "cp437"])
def test_every_encoding_gets_a_summary(encoding: str) -> None:
    code, out, _ = run_main("run", "european_call", "-n", "500", "--store", ":memory:", encoding=encoding)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[0] == "output"
    assert ("±" if encoding != "ascii" else "+/-") in lines[1]


def in_shell(command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BGSIM_STORE": str(folder / "s.db"), **more}
    line = command.replace("bgsim ", f"{sys.executable} -m bgsim ", 1)
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=120, cwd=folder, env=environment, check=False
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("bgsim run european_call -n 10 >/dev/full", 1),
        ("bgsim run european_call -n 10 --json >/dev/full", 1),
        ("bgsim list >/dev/full", 1),
        ("bgsim --help >/dev/full", 1),
        ("bgsim run european_call -n 10 2>/dev/full", 0),
        ("bgsim run european_call -n 10 >&- 2>&- <&-", 0),
        ("bgsim list | head -c 1; exit ${PIPESTATUS[1]}", 0),
        ("bgsim run european_call -n 10 --output /dev/full/x.csv", 2),
    ],
)
def test_a_stream_that_cannot_be_written_costs_no_traceback(tmp_path: Path, command: str, code: int) -> None:
    done = in_shell(command, tmp_path)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == code, done.stderr
    if command.endswith(">/dev/full") and "2>" not in command:
        assert "No space left on device" in done.stderr


def test_a_home_that_cannot_be_written_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    for home in ("/proc", "/dev/null"):
        done = in_shell("unset BGSIM_STORE XDG_DATA_HOME; bgsim store ls", tmp_path, HOME=home)
        assert done.returncode == 2
        assert "--store or BGSIM_STORE" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["a\0b.db", "x" * 300, "/dev/null", "a/" * 3000, "\udcff.db", "dangling/x.db", ""])
def test_a_path_that_no_store_can_have_is_refused(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dangling").symlink_to("nowhere")
    for open_it in (bgsim.Engine, bgsim.ResultStore):
        with pytest.raises(StoreError) as caught:
            open_it(path)
        assert len(str(caught.value)) < 1000


def test_a_link_that_points_nowhere_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "nowhere" / "x.db")
    with pytest.raises(StoreError, match="nowhere of the store does not exist; make it"):
        bgsim.ResultStore(link)


def test_memory_is_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", Path(":memory:")):
        with bgsim.Engine(name, workers=1) as engine:
            assert isinstance(engine.store, bgsim.MemoryStore)
    assert run_main("run", "european_call", "-n", "10", "--store", ":memory:")[0] == 0
    with pytest.raises(StoreError, match="MemoryStore"):
        bgsim.ResultStore(":memory:")
    assert list(tmp_path.iterdir()) == []


def test_a_remark_that_cannot_be_written_is_lost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    streams.remark("text")
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(streams.StandardOutputError, match="No space"):
        streams.say("text")


def test_cells_are_short_and_in_one_line() -> None:
    assert streams.cell("a\nb\tc") == r"a\nb\tc"
    assert len(streams.cell("x" * 10_000)) == 60


@pytest.mark.parametrize("columns", [20, 30, 40, 59, 60, 80, 200])
def test_the_live_display_keeps_bar_and_per_cent(columns: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=columns, force_terminal=True, color_system=None, markup=False)
    with live_display(console) as display:
        row = display.add_task("", total=1.0, count="", rest="")
        update = ProgressUpdate(
            "asian_call-1234abcd-1", 2, UpdateType.PROGRESS, 0.4275, 42_750_000, 100_000_000, 3_000.0, "running", (), 0.0,
            {"rate": 1_234_567.0},
        )  # fmt: skip
        show_row(display, row, update, name="asian_call-1234abcd-1 ")
        display.refresh()
        shown = out.getvalue()
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))
    line = next(line for line in reversed(lines) if "%" in line)
    assert len(line) <= columns
    assert " 43%" in line
    assert line.count("━") + line.count("╸") >= 2  # of five columns at least
    assert ("42,750,000/100,000,000" in line) == (columns >= 80)
    assert ("3.0 s left" in line) == (columns >= 100)


def test_the_rows_of_a_sweep_tell_apart_on_a_narrow_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=40, force_terminal=True, color_system=None, markup=False)
    with bgsim.Engine(workers=1) as engine:
        batch = engine.sweep("european_call", {"strike": [90.0, 95.0], "rate": [0.01, 0.02]}, replicates=10)
        show_batch(batch, console, ["strike", "rate"])
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert "4 of 4 jobs" in shown
    rows = {line[:8] for line in re.split(r"[\r\n]+", shown) if re.match(r"9[05], 0\.0[12]", line)}
    assert rows <= {"90, 0.01", "90, 0.02", "95, 0.01", "95, 0.02"}
    assert rows or "100%" in shown  # all may have ended before the first look
