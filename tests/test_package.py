"""What the package promises as a whole: a light import, files short enough to read, and documents that are true."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from types import FrameType

import kernels
import pytest
from paths import ROOT

import bgsim
import bgsim.testing


def in_new_process(code: str, **options: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_import_starts_no_thread_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, threading, bgsim\n"
        "print(threading.active_count(), [m for m in ('numba', 'sqlite3', 'sqlite_utils', 'asyncio', 'rich', 'click',"
        " 'zstandard', 'pandas') if m in sys.modules])"
    )
    assert in_new_process(code) == "1 []\n"


def test_running_plain_python_needs_no_numba() -> None:
    code = (
        "import sys, bgsim\n"
        "f = bgsim.simulation(lambda p, rng: rng.random(), outputs={'x': 'f8'}, compile=False)\n"
        "bgsim.run(f, replicates=3)\nprint('numba' in sys.modules)"
    )
    assert in_new_process(code) == "False\n"


@pytest.mark.parametrize("first", ["bgsim.engine", "bgsim.models.options", "bgsim.simulation", "bgsim.ui.cli"])
def test_no_module_hides_a_public_name(first: str) -> None:
    """`bgsim.simulation` and `bgsim.run` are functions, whatever was imported before."""
    code = f"import {first}, bgsim\nprint(callable(bgsim.simulation), callable(bgsim.run), callable(bgsim.parameter))"
    assert in_new_process(code) == "True True True\n"


def test_every_public_name_is_there() -> None:
    for name in bgsim.__all__:
        assert getattr(bgsim, name) is not None
    assert set(bgsim.__all__) <= set(dir(bgsim))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bgsim.nothing  # noqa: B018


MOST_LINES = 400
MOST_AT_THE_TOP = 24


def test_no_file_is_too_long_to_read() -> None:
    """What imports what is the contract of import-linter, in pyproject.toml; this is what no linter of ours counts."""
    lines = {path: len(path.read_text().splitlines()) for path in (ROOT / "bgsim").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > MOST_LINES} == {}


def test_the_top_of_the_package_can_be_taken_in_at_a_glance() -> None:
    assert len(list((ROOT / "bgsim").glob("*.py"))) <= MOST_AT_THE_TOP


def test_the_changelog_has_this_version() -> None:
    assert f"## [{bgsim.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_what_errors_tell_to_install_are_packages_of_an_extra() -> None:
    """A checkout has no index to install ``bgsim[...]`` from, so errors name the packages themselves."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = {re.split(r"[<>=\[]", requirement)[0] for requirements in extras.values() for requirement in requirements}
    source = "".join(path.read_text() for path in (ROOT / "bgsim").rglob("*.py"))
    assert not re.findall(r"Error\([^)]*pip install .?bgsim", source)
    told = re.findall(r"pip install ([a-z][a-z0-9 -]*)", source)
    named = {word for words in told for word in words.removesuffix(" brings them").split()}
    assert {"tqdm", "cronsim", "tzdata", "pyarrow", "python-libsbml", "uvicorn"} <= named <= known


# ---- documents ---------------------------------------------------------------------------------------

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def snippets(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_snippet_runs(path: Path, tmp_path: Path) -> None:
    """In the order of the document, in one process, where a newcomer would be: the root of a clone."""
    code = "\n\n".join(snippets(path, "python"))
    if not code:
        pytest.skip("has no snippets")
    script = tmp_path / "snippets.py"
    script.write_text(code)
    path_of_modules = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONWARNINGS": "error", "PYTHONPATH": path_of_modules}
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=170,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_test_that_a_document_names_exists() -> None:
    defined = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for path in DOCUMENTS:
        text = path.read_text()
        assert [name for name in re.findall(r"`(tests/[\w/.]+)`", text) if not (ROOT / name).exists()] == []
        guarantees = text if path.name in ("guarantees.md", "queue.md") else ""
        assert [name for name in re.findall(r"`(test_\w+)`", guarantees) if f"def {name}(" not in defined] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_link_beside_the_documentation_leads_to_a_file(name: str) -> None:
    """mkdocs checks those of docs/."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text())
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
NAMED_FILE = re.compile(r"`((?:bgsim|tests)/[\w/]*(?:\.py)?)`")
NAME = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)*)`")
STEP = re.compile(r"^\d+\. `([\w.]+)` \(`(bgsim/[\w/]+\.py)`\) ", flags=re.MULTILINE)


def names_in(path: Path) -> set[str]:
    """Return what a module defines: its variables, functions and classes, and what these have, as `Class.name`."""
    found: set[str] = set()

    def add(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                add(node.body, f"{prefix}{node.name}.")
                attributes = [n for n in ast.walk(node) if isinstance(n, ast.Attribute)]
                found.update(
                    f"{node.name}.{a.attr}"
                    for a in attributes
                    if isinstance(a.value, ast.Name) and a.value.id == "self"
                )
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            found.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    add(ast.parse(path.read_text()).body, "")
    return found


def test_the_files_and_functions_of_the_architecture_exist() -> None:
    """A name stands in a file that its line names, or, where that names none, in any."""
    defined = {str(path.relative_to(ROOT)): names_in(path) for path in (ROOT / "bgsim").rglob("*.py")}
    everywhere = set().union(*defined.values())
    text = re.sub(r"^```.*?^```", "", ARCHITECTURE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert [name for name in NAMED_FILE.findall(text) if not (ROOT / name).exists()] == []
    words = {state.name for state in bgsim.JobState} | {priority.name for priority in bgsim.Priority} | {"bgsim"}
    wrong = [name for name in NAME.findall(text) if name not in everywhere | words]
    for name, path in re.findall(r"`([\w.]+)`\s+\(`(bgsim/[\w/]+\.py)`\)", text):
        wrong += [f"{path}: {name}"] if name not in defined[path] else []
    for row in re.findall(r"^\| .*\|$", text, flags=re.MULTILINE):
        files = [name for name in NAMED_FILE.findall(row) if name.endswith(".py")]
        there = set().union(*(defined[name] for name in files))
        wrong += [f"{row}: {name}" for name in NAME.findall(row) if files and name not in everywhere & there | words]
    assert wrong == []


def test_the_walk_of_the_architecture_is_the_way_of_a_job() -> None:
    """Each stop is called, in this order, in its thread; no stop comes twice."""
    calls: dict[str, list[tuple[str, str]]] = {}

    def trace(frame: FrameType, event: str, _: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(ROOT / "bgsim"):
            made = calls.setdefault(threading.current_thread().name, [])
            made.append((frame.f_code.co_qualname, str(file.relative_to(ROOT))))

    kernels.one_draw.warmup()  # untraced: numba makes millions of calls
    before = sys.getprofile()
    threading.setprofile(trace)
    try:
        with bgsim.Engine(workers=1) as engine:
            threading.setprofile(None)
            for seed in range(20):  # until its pace is known
                engine.submit(kernels.one_draw, replicates=1, seed=seed).result()
            calls.clear()
            sys.setprofile(trace)
            engine.submit(kernels.one_draw, replicates=1, seed=99).result()
            sys.setprofile(before)
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    text = ARCHITECTURE.read_text()
    callers, workers = (STEP.findall(part) for part in text.partition("In the worker's thread:")[::2])
    assert len({*callers, *workers}) == len(callers) + len(workers) > 40
    for thread, stops in ((threading.current_thread().name, callers), ("bgsim-worker-0", workers)):
        made = iter(calls[thread])
        assert [stop for stop in stops if stop not in made] == []


ALIASES = {"Control": "bgsim.control", "Rng": "bgsim.streams"}
"""Public types that are another's, and where bgsim names them."""


def test_the_reference_has_every_public_name() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    listed = set(re.findall(r"^::: ([\w.]+)$", pages, flags=re.MULTILINE))
    internal = {"GATES", "HANDSHAKE_S", "parts"}
    for module, names in ((bgsim, bgsim.__all__), (bgsim.testing, set(bgsim.testing.__all__) - internal)):
        homes = {name: getattr(module, name).__module__ for name in names} | ALIASES
        assert [n for n, home in homes.items() if not {home, f"{home}.{n}"} & listed] == []


def serves(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Start a service, as in the documents but for its port, and end it."""
    with subprocess.Popen([*command, "--port", "0"], stdout=-1, text=True, cwd=folder, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://")
        process.terminate()
        assert process.wait() == 0


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists(path: Path, tmp_path: Path) -> None:
    """Each `bgsim` command in a console block runs, in a folder with the files that the document shows, and the examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for snippet in snippets(path, "python"):
        if name := re.match(r"# (\w+\.py)\n", snippet):
            (tmp_path / name[1]).write_text(snippet)
    environment = {**os.environ, "BGSIM_STORE": str(tmp_path / "runs.db"), "COLUMNS": "120"}
    for block in snippets(path, "console"):
        for line in block.splitlines():
            if line.startswith("$ bgsim "):
                command = [sys.executable, "-m", "bgsim", *shlex.split(line.removeprefix("$ bgsim "))]
                if "serve" in command:
                    serves(command, tmp_path, environment)
                    continue
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=170, cwd=tmp_path, env=environment, check=False
                )
                assert done.returncode == 0, (line, done.stderr)
            elif line.startswith("$ make "):
                targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
                assert line.split()[2] in targets


DOCTESTED = [
    "bgsim.streams",
    "bgsim.engine",
    "bgsim.parameters.fields",
    "bgsim.jobs.parameter_rows",
    "bgsim.queue_manager",
    "bgsim.models.network",
]


@pytest.mark.parametrize("name", DOCTESTED)
def test_docstring_examples_run(name: str) -> None:
    import doctest

    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, extraglobs={"bgsim": bgsim}, optionflags=doctest.ELLIPSIS)
    assert tried
    assert not failed
