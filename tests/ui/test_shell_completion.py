"""Completion in real shells, and what the command line says of misspelt words."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import run_main

SCRIPTS = Path(sys.executable).parent

WITHOUT_NUMBA = """
import sys
sys.argv[0] = "bgsim"
from bgsim.ui.cli import main
try:
    main()
finally:
    assert not {"numba", "sqlite_utils", "pandas", "xarray", "IPython", "starlette", "distributed"} & sys.modules.keys()
"""


def completions(words: str, folder: Path) -> list[str]:
    """Ask as the script for bash does; the last word is incomplete."""
    environment = {**os.environ, "_BGSIM_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(shlex.split(words)) - (not words.endswith(" ")))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, timeout=60, cwd=folder, env=environment,
        check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("bgsim sw", ["sweep"]),
        ("bgsim store exp", ["export"]),
        ("bgsim run asian", ["asian_call", "asian_option"]),
        ("bgsim describe heston", ["heston_option"]),
        ("bgsim sweep mm", ["mmc"]),
        ("bgsim run asian_call --priority h", ["high"]),
        ("bgsim run asian_call --prio", ["--priority"]),
        ("bgsim sweep asian_call --da", ["--dask"]),
        ("bgsim run my_mod", ["my_mod"]),
        ("bgsim completion f", ["fish"]),
    ],
)
def test_words_are_completed_without_numba(tmp_path: Path, words: str, expected: list[str]) -> None:
    assert completions(words, tmp_path) == expected


MODEL = """
import bgsim, typing
print("noise")
class P(typing.NamedTuple):
    strike: float = 1.0
    steps: int = 1
@bgsim.simulation(outputs={"a": "f8"}, compile=False)
def walk(p: P, rng):
    return p.strike
"""


def test_the_parameters_of_the_simulation_are_completed(tmp_path: Path) -> None:
    (tmp_path / "a_model.py").write_text(MODEL)
    assert completions("bgsim run a_model.py --set ", tmp_path) == ["strike=", "steps="]
    assert completions("bgsim run a_model.py:walk --set str", tmp_path) == ["strike="]
    assert completions("bgsim sweep a_model.py --set strike=1 --set st", tmp_path) == ["steps="]
    assert completions("bgsim run nothing.py --set st", tmp_path) == []
    (tmp_path / "a_model.py").write_text("raise SystemExit(3)")
    assert completions("bgsim run a_model.py --set st", tmp_path) == []


IN_SHELLS = {
    "bash": """eval "$(bgsim completion bash)"
COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}
_bgsim_completion bgsim "${{COMP_WORDS[$COMP_CWORD]}}" ""; printf '%s\\n' "${{COMPREPLY[@]}}" """,
    "fish": """bgsim completion fish | source; complete -C "{line}" """,
    "zsh": """autoload -Uz compinit; compinit -u -D; eval "$(bgsim completion zsh)"
words=({words}); CURRENT={current}
_describe() {{ print -l -- ${{(P)3}} }}; compadd() {{ print -l -- ${{(P)@[-1]}} }}; _files() {{ print files }}
_bgsim_completion""",
}


@pytest.mark.parametrize("shell", IN_SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bgsim sw", "sweep"),
        ("bgsim run european_", "european_call"),
        ("bgsim run a_model.py --set str", "strike="),
        ("bgsim run x --priority cr", "critical"),
    ],
)
def test_real_shells_complete(tmp_path: Path, shell: str, line: str, expected: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "a_model.py").write_text(MODEL)
    words = line.split()
    script = IN_SHELLS[shell].format(
        words=" ".join(map(shlex.quote, words)), last=len(words) - 1, current=len(words), line=line
    )
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        [shell, *options, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment,
        check=False,
    )  # fmt: skip
    assert expected in done.stdout, done.stderr
    assert "noise" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["desribe", "asian_call"], "describe"),
        (["sweap"], "sweep"),
        (["store", "lss"], "ls"),
        (["store", "jbos"], "jobs"),
        (["token", "nwe"], "new"),
        (["run", "asian_call", "--replicates", "3", "--sed", "1"], "--seed"),
        (["sweep", "asian_call", "--desing", "sobol"], "--design"),
        (["run", "asian_call", "--set", "stirke=1"], "strike"),
        (["run", "asian_call", "--priority", "hihg"], "high"),
        (["run", "asian_cal"], "asian_call"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_misspelt_words_get_the_nearest(arguments: list[str], suggested: str, as_json: bool) -> None:
    code, out, err = run_main(*arguments, *(["--json"] if as_json else []), "--store", ":memory:")
    assert code == 2
    said = err
    if as_json:
        error = json.loads(out)["error"]
        assert error["exit_code"] == 2
        said = error["message"]
    else:
        assert out == ""
    assert f"id you mean '{suggested}'?" in said or f"'{suggested}'" in said
