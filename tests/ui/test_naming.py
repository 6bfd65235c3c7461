"""The simulation that a user names: in a file, in a module, by a short name; what is wrong is said in one line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgsim.errors import SimulationNotFoundError
from bgsim.registry import find_simulation
from bgsim.service.names import Simulations
from bgsim.service.settings import ServiceSettings
from bgsim.ui.naming import simulation_of

WALK = """import bgsim
@bgsim.simulation(outputs={"a": "f8"}, compile=False)
def walk(p, rng):
    return rng.random()
"""
OTHER = WALK.replace("walk", "run_away").replace("import bgsim", "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder of its own, and forget what is imported from there."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()


def write(path: Path, text: str = WALK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def why_not(name: str) -> str:
    with pytest.raises(SimulationNotFoundError) as refused:
        simulation_of(name)
    return str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["./a_model.py", "a_model.py", "a_model.py:walk", "a_model.py:", "a_model", "a_model:walk", "a_model.walk", "FULL", "FULL:walk"],
)  # fmt: skip
def test_all_ways_to_name_it_find_one_simulation_of_one_name(folder: Path, name: str) -> None:
    path = write(folder / "a_model.py")
    found = simulation_of(name.replace("FULL", str(path)))
    assert found.name == "a_model.walk"
    assert found is find_simulation("a_model:walk")
    assert found is importlib.import_module("a_model").walk


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("with space/my model.py", "my model.walk"),
        ("my-model.py", "my-model.walk"),
        ("elsewhere/below/other_model.py", "other_model.walk"),
        ("test.py", "test.walk"),
    ],
)
def test_any_file_will_do(folder: Path, file: str, expected: str) -> None:
    write(folder / file)
    assert simulation_of(file).name == expected
    assert simulation_of(f"{file}:walk").name == expected


def test_a_file_of_a_package_has_the_packages_name_and_its_relative_imports(folder: Path) -> None:
    write(folder / "a_package/__init__.py", OTHER.replace("@", "import bgsim\n@"))
    write(folder / "a_package/below/__init__.py", "")
    write(folder / "a_package/constants.py", "X = 1.0\n")
    write(folder / "a_package/below/inner.py", f"from ..constants import X\n{WALK}")
    assert simulation_of("a_package/below/inner.py").name == "a_package.below.inner.walk"
    assert simulation_of("a_package.below.inner").name == "a_package.below.inner.walk"
    assert simulation_of("a_package/__init__.py").name == "a_package.run_away"


def test_an_imported_simulation_is_none_of_the_files_own(folder: Path) -> None:
    write(folder / "user_model.py", f"from bgsim.models.options import asian_call\n{WALK}again = walk\n")
    assert simulation_of("user_model.py").name == "user_model.walk"
    assert simulation_of("user_model.py:asian_call").short_name == "asian_call"


def test_what_a_module_prints_is_no_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "noisy_model.py", f"print('noise')\n{WALK}")
    simulation_of("noisy_model.py")
    assert capsys.readouterr() == ("", "noise\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nfoo()\n", "bad_model.py:2: NameError: name 'foo' is not defined\n    foo()"),
        ("def f(:\n", "bad_model.py:1: SyntaxError: invalid syntax\n    def f(:"),
        ("import sys\nsys.exit(3)\n", "bad_model.py:2: SystemExit: 3; guard what a script does with if __name__ == '__main__'\n    sys.exit(3)"),
        ("import not_there\n", "bad_model.py:1: ModuleNotFoundError: No module named 'not_there'\n    import not_there"),
        ("def f():\n    return 1 / 0\nf()\n", "bad_model.py:2: ZeroDivisionError: division by zero\n    return 1 / 0"),
        ("import json\njson.loads('{')\n", "bad_model.py:2: JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)\n    json.loads('{')"),
        ("raise KeyError\n", "bad_model.py:1: KeyError\n    raise KeyError"),
        (WALK.replace('"f8"', '"zz"'), "bad_model.py:2: OutputError: output 'a' of bad_model.walk must have a dtype of NumPy, such as 'f8', 'i8' or '?'; got 'zz'\n    @bgsim.simulation(outputs={\"a\": \"zz\"}, compile=False)"),
        ("", "bad_model.py defines no simulation; decorate a function with @bgsim.simulation"),
        (WALK + OTHER, "bad_model.py has 2 simulations: walk, run_away; name one, as in bad_model.py:walk"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_with_the_users_own_line(folder: Path, text: str, expected: str) -> None:
    write(folder / "bad_model.py", text)
    assert why_not("bad_model.py") == expected
    sys.modules.pop("bad_model", None)
    assert why_not("./bad_model.py") == expected
    assert why_not("bad_model") == expected.replace("bad_model.py defines", "bad_model defines").replace(
        "bad_model.py has", "bad_model has"
    ).replace("in bad_model.py:walk", "in bad_model:walk")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("numpy.py", "numpy.py must be renamed, since numpy is the name of a module that is loaded already"),
        ("sys.py", "sys.py must be renamed, since sys is the name of a module that is loaded already (of Python itself)"),
        ("faker_of_packages.py", "the name of an installed package"),
        ("a.b.py", "a.b.py must be renamed: the name of a module has no dot"),
        ("./no_suffix", "no_suffix is no file of Python; its name must end in .py"),
        ("a_folder", "no simulation is named 'a_folder'"),
        ("./a_folder", "a_folder is a folder; name a file in it, such as inside.py"),
        ("./good_model", "there is no file good_model; did you mean 'good_model.py'?"),
        ("god_model.py", "there is no file god_model.py; did you mean 'good_model.py'?"),
        ("nowhere/xyz.py", "there is no file nowhere/xyz.py"),
        ("C:\\models\\q.py:walk", "there is no file C:\\models\\q.py"),
        ("good_model.py:wlak", "good_model.py has no simulation 'wlak'; did you mean 'walk'? (it has walk)"),
        ("good_model:wlak", "good_model has no simulation 'wlak'; did you mean 'walk'? (it has walk)"),
        ("asian_cal", "did you mean 'asian_call'?"),
        (":walk", "no simulation ':walk'"),
        ("\0.py", "there is no file"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(
    folder: Path, name: str, expected: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path_factory.mktemp("of") / "site-packages"
    write(installed / "faker_of_packages.py", "")
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
    for file in (
        "numpy.py",
        "sys.py",
        "faker_of_packages.py",
        "a.b.py",
        "no_suffix",
        "a_folder/inside.py",
        "good_model.py",
    ):
        write(folder / file)
    assert expected in why_not(name)


def test_two_files_of_one_stem_are_not_mixed_up(folder: Path) -> None:
    write(folder / "one/twin_model.py")
    write(folder / "two/twin_model.py")
    simulation_of("one/twin_model.py")
    assert "must be renamed, since twin_model is the name of a module that is loaded already" in why_not(
        "two/twin_model.py"
    )


def test_neither_the_registry_nor_a_service_loads_a_file(folder: Path) -> None:
    write(folder / "evil_model.py", "raise SystemError('it was loaded')\n")
    with pytest.raises(SimulationNotFoundError, match="names a file"):
        find_simulation("./evil_model.py:walk")
    served = Simulations(ServiceSettings.of({}))
    for name in ("./evil_model.py", "evil_model.py:walk", "evil_model", "evil_model:walk", "evil_model.walk"):
        with pytest.raises(SimulationNotFoundError, match="is served here"):
            served.find(name)
        assert served.known(name) is None
    assert "evil_model" not in sys.modules
