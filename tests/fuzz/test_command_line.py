"""Whatever the command line is given, it ends with 0, 1 or 2, in bounded time, and writes nothing that acts on a terminal."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run_main
from fuzzing import MARKS, ODD_TEXTS, fuzz
from hypothesis import given
from hypothesis import strategies as st

import bgsim
from bgsim.models.options import EuropeanCall, european_call

pytestmark = MARKS

NUMBERS = st.sampled_from(
    ["0", "1", "7", "-1", "nan", "inf", "-inf", "1e400", "1e-400", "0.5", "9" * 19, "9" * 5000, str(2**63), "٣", "1_0", "0x1", " 1", ""]
)  # fmt: skip
PLACES = ["", ".", "/dev/null", "/dev/full", "/proc/x", "x" * 300, "no/where.db", ":memory:", "a\0b", "\udcff", "s.db", "text.txt", "x.csv", "x.npz", "x.parquet"]  # fmt: skip
TEXTS = ODD_TEXTS | st.sampled_from([*PLACES, "[[" * 50_000, '{"a":1}', "true", "null", "\x1b]0;x\x07", "m\u202e", "=", "%", "--", "-n"])  # fmt: skip
FIELDS = st.sampled_from(["strike", "volatility", "rate", "maturity", "spot", "µ", "strik"]) | TEXTS
SETTINGS = st.builds("{}={}".format, FIELDS, NUMBERS | TEXTS) | TEXTS
WORKSPACES = st.sampled_from(["bgsim.models.options.european_call", "european_call"]) | TEXTS


def option(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.one_of(st.tuples(st.just(name), values).map(list), values.map(lambda value: [f"{name}={value}"]))


def flags(*names: str) -> st.SearchStrategy[list[str]]:
    return st.sampled_from(names).map(lambda name: [name])


def command(
    words: list[str], *arguments: st.SearchStrategy[str], options: st.SearchStrategy[list[str]]
) -> st.SearchStrategy[list[str]]:
    given = st.tuples(*arguments).map(list)
    return st.builds(
        lambda first, rest: [*words, *first, *itertools.chain(*rest)], given, st.lists(options, max_size=4)
    )


STORE = option("--store", st.sampled_from(PLACES))
RUN = st.one_of(
    option("-n", NUMBERS), option("--seed", NUMBERS), option("--timeout", NUMBERS), option("--set", SETTINGS),
    option("--priority", TEXTS), option("--workspace", WORKSPACES), option("--output", st.sampled_from(PLACES) | TEXTS),
    option("--scenario", TEXTS), option("--rules", TEXTS), option("--workers", st.sampled_from(["1", "0", "-1", "nan", "9" * 5000, ""])),
    flags("--json", "--refresh", "--nonsense", "--help"), STORE,
)  # fmt: skip
JSON = flags("--json") | STORE
LS = st.one_of(
    option("--set", SETTINGS | st.sampled_from(["strike=90..100", "strike=..", "strike=1..x", "seed=1"])),
    option("--simulation", TEXTS | st.just("european_call")), option("--seed", NUMBERS), option("-n", NUMBERS),
    option("--since", TEXTS | NUMBERS | st.sampled_from(["1 h", "2 days ago", "1e400 s", "-1 d", "0001-01-01", "9999-12-31"])),
    JSON,
)  # fmt: skip
HASHES = st.sampled_from(["{hash}", "", "0", "f"]) | TEXTS
COMMANDS = st.one_of(
    command(["run"], st.sampled_from(["european_call"] * 6 + ["european_cal", "os:path", ":", "a..b", "\0"]), options=RUN),
    command(["describe"], TEXTS | st.just("european_call"), options=flags("--help", "--x")),
    command(["explain"], st.just("european_call"), options=option("--result", HASHES) | JSON),
    command(["store", "ls"], options=LS),
    command(["store", "show"], HASHES, options=JSON),
    command(["store", "slots"], options=JSON),
    command(["store", "compare"], WORKSPACES, options=option("--confidence", NUMBERS) | JSON),
    command(["store", "export"], HASHES, st.sampled_from(PLACES) | TEXTS, options=JSON),
    command(["store", "import"], st.sampled_from(PLACES) | TEXTS, options=JSON),
    command(["store", "rm"], st.sampled_from(["", "0"]) | TEXTS, options=JSON),
    command(["store", "clean"], options=option("--max-bytes", NUMBERS) | option("--max-age-days", NUMBERS) | JSON),
    command(["store", "check"], options=JSON),
    st.lists(TEXTS, max_size=4),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def folder() -> Iterator[tuple[Path, str]]:
    """Return a folder to work in, with a store of two results, and the hash of one."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BGSIM_STORE", str(Path(name, "s.db")))
        Path("text.txt").write_text("no store", encoding="utf-8")
        with bgsim.Engine("s.db", workers=1) as engine:
            jobs = [engine.submit(european_call, EuropeanCall(strike=k), replicates=5) for k in (90.0, 100.0)]
            found = [job.result() for job in jobs]
        assert found
        store = bgsim.ResultStore("s.db")
        with contextlib.closing(store):
            yield Path(name), store.results()[0].hash


@given(arguments=COMMANDS)
@fuzz(10)
def test_any_command_line_ends_well(folder: tuple[Path, str], arguments: list[str]) -> None:
    line = [argument.replace("{hash}", folder[1][:12]) for argument in arguments]
    if any(large(line, at) for at in range(len(line))):
        return
    code, data, remarks = run_main(*line)
    assert code in (0, 1, 2), remarks
    assert all(c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" for c in data + remarks)
    assert "Traceback" not in remarks
    if code == 0 and "--json" in line and "--help" not in line and "-h" not in line:
        json.loads(data)
    if code:
        assert remarks.strip()
        assert len(remarks) < 120_000


def large(line: list[str], at: int) -> bool:
    """Tell whether a word asks for more replicates than a test has time for."""
    try:
        return (
            float(line[at].rpartition("=")[2].removeprefix("-n")) > 10_000 and int(line[at].rpartition("=")[2]) < 2**63
        )
    except (ValueError, OverflowError):
        return False
