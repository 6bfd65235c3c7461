"""What is handed out: a wheel that works in an empty environment, and an archive of the sources that makes the same one."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from paths import ROOT

import bgsim

# A new environment gets its packages from an index, and pip's own time is no part of the test.
pytestmark = pytest.mark.timeout(600)

WHEEL = f"bgsim-{bgsim.__version__}-py3-none-any.whl"
SOURCES = f"bgsim-{bgsim.__version__}.tar.gz"


def done(command: list[str | Path], folder: Path, **more: str) -> str:
    """Run a command in a folder, where nothing of this checkout can be imported by chance; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | more
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the archive, and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], folder)
    assert {path.name for path in folder.iterdir()} == {WHEEL, SOURCES}
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def of_the_package() -> dict[str, bytes]:
    files = (path for path in (ROOT / "bgsim").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}


def test_the_wheel_has_every_file_of_the_package_and_no_other(built: Path) -> None:
    found = contents(built / WHEEL)
    assert {name: text for name, text in found.items() if not name.startswith("bgsim-")} == of_the_package()
    assert {"bgsim/py.typed", "bgsim/ui/notebook/card.js", "bgsim/service/page/index.html"} <= found.keys()
    about = f"bgsim-{bgsim.__version__}.dist-info"
    assert found[f"{about}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_of_the_archive_is_that_of_the_checkout(built: Path, tmp_path: Path) -> None:
    done([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT], tmp_path)
    assert contents(tmp_path / WHEEL) == contents(built / WHEEL)


def test_the_archive_has_what_a_packager_needs_and_nothing_that_was_left_lying_about(built: Path) -> None:
    with tarfile.open(built / SOURCES) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert of_the_package().keys() <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")} <= names
    assert {"tests/golden/store-1.db", "docs/contributing.md", "LICENSE", "README.md", "CITATION.cff"} <= names
    left = (".venv", ".hypothesis", ".pytest_cache", "__pycache__", "dist/", "site/", ".demo", ".git/")
    assert [name for name in names if any(word in name for word in left)] == []
    assert [name for name in names if name.endswith((".db", ".pyc")) and not name.startswith("tests/golden/")] == []


def test_an_index_would_take_it(built: Path) -> None:
    said = done(
        [sys.executable, "-m", "twine", "--no-color", "check", "--strict", built / WHEEL, built / SOURCES], built
    )
    assert said.count("PASSED") == 2
    with zipfile.ZipFile(built / WHEEL) as archive:
        about = email.message_from_bytes(archive.read(f"bgsim-{bgsim.__version__}.dist-info/METADATA"))
    assert about["Version"] == bgsim.__version__
    assert about["License-Expression"] == "MIT"
    assert "## Ten lines" in str(about.get_payload())
    assert {"notebook", "service", "plots", "xarray"} <= set(about.get_all("Provides-Extra", []))


SCRIPT = """
import bgsim, sys
from pathlib import Path
from bgsim.models.options import asian_call

assert Path(bgsim.__file__).is_relative_to(sys.prefix), bgsim.__file__
with bgsim.Engine("runs.db") as engine:
    print(engine.submit(asian_call, {"steps": 12}, replicates=1000, seed=7).result().summary()["payoff"].count)
"""


def test_the_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """With the packages that it declares, and no others, in a folder that knows nothing of this one."""
    venv.create(tmp_path / "empty", with_pip=True)
    programs = tmp_path / "empty" / ("Scripts" if os.name == "nt" else "bin")
    away = tmp_path / "away"
    away.mkdir()
    done([programs / "python", "-m", "pip", "install", "--disable-pip-version-check", built / WHEEL], away)
    own: Mapping[str, str] = {"NUMBA_CACHE_DIR": str(tmp_path / "compiled"), "BGSIM_STORE": str(away / "cli.db")}
    assert bgsim.__version__ in done([programs / "bgsim", "--version"], away, **own)
    assert "asian_call" in done([programs / "bgsim", "list"], away, **own)
    done([programs / "bgsim", "run", "european_call", "--replicates", "1000"], away, **own)
    assert (away / "cli.db").exists()
    assert done([programs / "python", "-c", SCRIPT], away, **own) == "1000\n"


# ---- what is said of it ------------------------------------------------------------------------------


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]


def test_the_citation_is_of_this_version() -> None:
    """The keys that the Citation File Format 1.2.0 requires, and those that bgsim gives."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert (citation["title"], citation["version"]) == ("bgsim", bgsim.__version__)
    assert (citation["type"], citation["license"]) == ("software", "MIT")
    assert citation["authors"] == [{"name": "The bgsim authors"}]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["keywords"] == project["keywords"]
