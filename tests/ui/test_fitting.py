"""Tables at every width: no line wider than the terminal, no number cut, nothing lost."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import pytest
from command import run_main
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from bgsim.models.options import asian_call
from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.listing import results_table
from bgsim.tables import Table
from bgsim.ui.fitting import lines_of, shortened
from bgsim.ui.terminal import slots_table, summary_table

NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")

texts = st.text(alphabet="abcdefgh ijklmn", max_size=30).map(str.strip)
numbers = st.one_of(
    st.integers(-(10**9), 10**9).map(lambda n: f"{n:,}"),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.6g}"),
    st.floats(0.01, 1e4).map(lambda x: f"{x:.2f} ± {x / 100:.2f}"),
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw a table as commands print them: words first, then numbers and words."""
    kinds = draw(st.lists(st.sampled_from([texts, numbers]), min_size=1, max_size=8))
    rows = draw(st.lists(st.tuples(texts.filter(bool), *kinds), min_size=1, max_size=6))
    headings = [f"{'abcdefghij'[i]} heading"[: 3 + 2 * i] for i in range(len(kinds) + 1)]
    return Table(headings, rows, title=draw(texts), remark=draw(texts), most=None)


@settings(max_examples=300, deadline=None)
@given(tables(), st.integers(20, 200), st.booleans())
def test_no_line_is_too_wide_and_no_number_is_cut(table: Table, width: int, listing: bool) -> None:
    lines = lines_of(table, width, listing=listing)
    assert max(map(cell_len, lines)) <= width
    shown = "\n".join(lines)
    whole = set(NUMBER.findall("\n".join(lines_of(table, None))))
    assert set(NUMBER.findall(shown)) == whole  # each is there, and there is no part of one
    assert not re.search(r"\d…", shown)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40).filter(str.isprintable), st.integers(1, 40))
def test_a_text_is_shortened_to_its_room(text: str, room: int) -> None:
    found = shortened(text, room)
    assert cell_len(found) <= room
    assert found == text or found.endswith("…")


def test_wide_characters_count_twice() -> None:
    table = Table(("name", "x"), [("模拟" * 20, 1.5), ("b", 2.5)], most=None)
    for width in range(20, 60):
        assert max(map(cell_len, lines_of(table, width))) <= width


def test_a_summary_at_40_columns_has_every_number(request: pytest.FixtureRequest) -> None:
    import bgsim

    table = summary_table(bgsim.run(asian_call, replicates=2000, seed=1))
    wide = "\n".join(lines_of(table, None))
    assert "\n".join(lines_of(table, 200)) == wide
    for width in range(20, 200):
        lines = lines_of(table, width)
        assert max(map(len, lines)) <= width
        assert set(NUMBER.findall(wide)) == set(NUMBER.findall(" ".join(lines))), width


@pytest.fixture(scope="module")
def sweep_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with fifty points of a sweep."""
    import bgsim

    path = tmp_path_factory.mktemp("sweep") / "s.db"
    with bgsim.Engine(path, workers=1) as engine:
        grid = {"strike": [float(k) for k in range(90, 115)], "volatility": [0.1, 0.25]}
        engine.sweep("asian_call", grid, {"steps": 4}, replicates=2).results()
    return path


def test_fifty_points_of_a_sweep_tell_apart_at_any_width(sweep_store: Path) -> None:
    store = ResultStore(sweep_store)
    try:
        table, slots = results_table(store.find(), most=None), slots_table(store)
    finally:
        store.close()
    for width in range(20, 201, 5):
        lines = lines_of(table, width, listing=True)
        assert max(map(len, lines)) <= width
        assert max(map(len, lines_of(slots, width, listing=True))) <= width
    points = re.findall(
        r"^[0-9a-f]{12} .* (9\d|1[01]\d) +(0\.1|0\.25) ", "\n".join(lines_of(table, 80, listing=True)), re.MULTILINE
    )
    assert len(set(points)) == 50
    at_40 = lines_of(table, 40, listing=True)
    assert "simulation asian_call" in at_40[0]
    assert len({line for line in at_40 if re.fullmatch(r"[0-9a-f]{12}  +\d+  +0\.\d+.*", line)}) == 50


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
@pytest.mark.parametrize("columns", [20, 40, 80, 133])
def test_no_command_writes_beyond_a_terminal(sweep_store: Path, columns: int) -> None:
    import fcntl
    import os
    import pty
    import subprocess
    import termios

    name = "asian_call"
    for command in (
        ["store", "ls"],
        ["store", "slots"],
        ["describe", name],
        ["list"],
        ["store", "jobs"],
        ["token", "ls"],
    ):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        if command[0] in ("store", "token"):
            command += ["--store", str(sweep_store)]
        environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
        process = subprocess.Popen(
            [sys.executable, "-m", "bgsim", *command], stdout=slave, stderr=subprocess.DEVNULL, env=environment
        )
        os.close(slave)
        out = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            out += data
        os.close(master)
        assert process.wait() == 0
        lines = out.decode().replace("\r", "").splitlines()
        if command[0] == "describe":
            first = next(i for i, line in enumerate(lines) if line.startswith("parameter"))
            lines = [line for line in lines[first:] if not line.startswith("Fingerprint")]

        assert max(map(len, lines), default=0) <= columns, command


def test_what_goes_to_no_terminal_is_not_cut(sweep_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    _, out, _ = run_main("store", "ls", "--store", str(sweep_store))
    assert len(out.splitlines()) == 51
    assert out.splitlines()[0].split() == ["result", "simulation", "replicates", "strike", "volatility", "stored"]


def test_an_empty_table_has_its_headings() -> None:
    assert lines_of(slots_table(MemoryStore()), 20)[0].startswith("workspace")
