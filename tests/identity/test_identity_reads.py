"""What code reads: imports of its own, installed packages, the outside, and draws from elsewhere than rng."""

from __future__ import annotations

import importlib
import secrets
import sys
import textwrap
import types
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from new_process import printed

import bgsim
from bgsim.errors import SimulationNotFoundError, StreamError
from bgsim.identity.draws import why
from bgsim.identity.ownership import Ownership
from bgsim.identity.reads import reads_of
from bgsim.registry import find_simulation
from bgsim.user_warnings import IdentityWarning

HEAD = """
import configparser, contextlib, io, json, os, pathlib, pickle, random, secrets, sqlite3, subprocess, sys, types
import numpy as np
import bgsim
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder that modules are imported from; what was imported there is forgotten at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(folder: Path, name: str, source: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    importlib.invalidate_caches()


def imported(folder: Path, name: str, source: str) -> types.ModuleType:
    """Return a module of this source, imported anew."""
    write(folder, f"{name}.py", source)
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def simulated(folder: Path, body: str, before: str = "", name: str = "simulated") -> Any:
    """Return a plain simulation with these lines, in a module of its own."""
    lines = textwrap.indent(textwrap.dedent(body), "    ")
    decorated = '@bgsim.simulation(outputs={"x": "f8"}, compile=False)\ndef sim(p, rng):\n'
    return imported(folder, name, f"{HEAD}\n{textwrap.dedent(before)}\n{decorated}{lines}\n").sim


# ---- what a function imports itself ------------------------------------------------------------------

FAST_OR_SLOW = {
    "try": """
        try:
            import fast as impl
        except ImportError:
            import slow as impl
        return impl.f()
        """,
    "try, from": """
        try:
            from fast import f
        except ImportError:
            from slow import f
        return f()
        """,
    "branches": """
        if MODE:
            import fast as impl
        else:
            import slow as impl
        return impl.f()
        """,
    "read above the import": """
        for number in range(2):
            if number:
                return impl.f()
            import fast as impl
        """,
    "read by a function within": """
        def inner():
            return impl.f()
        import fast as impl
        return inner()
        """,
    "body of a class": """
        class A:
            import fast as impl
            r = impl.f()
        return A.r
        """,
    "attribute of a class": """
        class A:
            import fast as impl
        return A.impl.f()
        """,
    "given on": """
        import fast as impl
        other = impl
        return other.f()
        """,
}


@pytest.mark.parametrize("form", FAST_OR_SLOW)
def test_every_module_that_a_name_may_be_imported_from_counts(folder: Path, form: str) -> None:
    """An edit of the one that runs is seen, or it is said that the module cannot be followed."""
    found = []
    for value in (2.0, 7.0):
        write(folder, "slow.py", "def f():\n    return 5.0\n")
        imported(folder, "fast", f"def f():\n    return {value}\n")
        sim = simulated(folder, FAST_OR_SLOW[form], "MODE = True\n")
        with warnings.catch_warnings(action="ignore"):
            assert bgsim.run(sim, replicates=1)["x"][0] == value
        found.append(sim.fingerprint)
    said = str(sim.explain().limits)
    assert found[0] != found[1] or "the module fast" in said
    assert ("the module fast" in said) is ("class" in form)


def test_the_other_module_counts_too(folder: Path) -> None:
    """It is imported where the first is missing, so an edit of it is seen there."""
    found = []
    for value in (2.0, 7.0):
        imported(folder, "slow", f"def f():\n    return {value}\n")
        sim = simulated(folder, FAST_OR_SLOW["try"])
        assert bgsim.run(sim, replicates=1)["x"][0] == value
        found.append(sim.fingerprint)
    assert found[0] != found[1]


def test_an_optional_module_that_appears_is_seen(folder: Path) -> None:
    """One result never mixes rows from before and after."""
    sim = simulated(
        folder,
        """
        try:
            from appearing import f
        except ImportError:
            return 2.0
        return f()
        """,
    )
    with bgsim.Engine() as engine:
        assert engine.submit(sim, replicates=1).result()["x"].tolist() == [2.0]
        write(folder, "appearing.py", "def f():\n    return 7.0\n")
        assert engine.submit(sim, replicates=3).result()["x"].tolist() == [7.0] * 3


def test_a_name_that_a_module_does_not_have_yet_is_watched(folder: Path) -> None:
    """It may be set later."""
    module = imported(folder, "setting", "")
    sim = simulated(folder, "return setting.K if hasattr(setting, 'J') else 2.0", "import setting")
    before = sim.fingerprint
    module.K = 7.0
    assert sim.fingerprint != before


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("from statistics import mean as f", "statistics"),
        ("import colorsys as f", "colorsys"),
        ("import wave as f", "wave"),
        ("from scipy.special import erf as f", "scipy.special"),
        ("from scipy import stats as f", "scipy.stats"),
        ("import pandas.core.frame as f", "pandas"),
    ],
)
def test_an_installed_module_counts_the_same_before_it_is_imported(folder: Path, line: str, module: str) -> None:
    """It counts by package, version and name, so running the simulation changes nothing either."""
    write(
        folder,
        "lazy.py",
        f"import bgsim\n@bgsim.simulation(outputs={{'x': 'f8'}}, compile=False)\ndef sim(p, rng):\n"
        f"    {line}\n    return float(f is None)\n",
    )
    look = "import bgsim, lazy\nprint(lazy.sim.fingerprint)\nbgsim.run(lazy.sim, replicates=2)\nprint(lazy.sim.fingerprint)"
    assert printed(look, folder) == printed(f"import {module}\n{look}", folder)


def test_a_loop_over_modules_ends() -> None:
    """A variable may be given what is read of itself."""

    def walks(first: Any) -> Any:
        import concurrent.futures as m

        while m:
            m = m.after
        return m

    assert len(reads_of(walks.__code__).imports) <= 10


# ---- whose code it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chunk", "profile", "trace"])
def test_a_file_named_like_a_module_of_the_standard_library_is_the_users(tmp_path: Path, name: str) -> None:
    """It stands beside the script, so it comes first."""
    write(
        tmp_path,
        "named.py",
        f"from {name} import f\n{HEAD}\nsim = bgsim.simulation(lambda p, rng: f(), "
        "outputs={'x': 'f8'}, compile=False)\n",
    )
    found = []
    for value in (2.0, 7.0):
        write(tmp_path, f"{name}.py", f"def f():\n    return {value}\n")
        code = (
            "import sys; sys.path.insert(0, '')\nimport named\nprint(named.sim.function(0, 0), named.sim.fingerprint)"
        )
        found += printed(code, tmp_path).split()
    assert found[::2] == ["2.0", "7.0"]
    assert found[1] != found[3]


def test_what_is_of_the_standard_library() -> None:
    """Builtin and frozen modules, machine code, and what is not imported yet."""
    ownership = Ownership(())
    for name in ("sys", "os", "math", "json.decoder", "builtins", "importlib._bootstrap", "itertools"):
        assert ownership.installed(name) == name.partition(".")[0]
    assert ownership.installed("numpy.linalg") == "numpy"
    assert ownership.installed("no_such_module") is None
    assert ownership.installed("no_such_module", find=True) is None


def test_a_file_in_site_packages_without_a_version_is_followed(tmp_path: Path, monkeypatch: Any) -> None:
    """Nothing but its code tells one state of it from another; a package with a version counts by that."""
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(site)
    write(site, "loose_module.py", "K = 1\n")
    write(site, "versioned/__init__.py", "")
    write(site, "versioned-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: versioned\nVersion: 1.2\n")
    ownership = Ownership(())
    assert ownership.installed("loose_module", find=True) is None
    assert ownership.installed("versioned", find=True) == "versioned 1.2"
    assert ownership.installed("versioned") == "versioned 1.2"


def test_a_package_in_several_folders_is_looked_at_in_the_users_own(tmp_path: Path, monkeypatch: Any) -> None:
    """Its modules are then imported, and each counts by where it is."""
    for folder in (tmp_path / "site-packages", tmp_path):
        monkeypatch.syspath_prepend(folder)
        write(folder, "in_several/inner.py", "K = 1\n")
    assert Ownership(()).installed("in_several.inner", find=True) is None


# ---- draws from elsewhere ----------------------------------------------------------------------------

DRAWS = {
    "r = np.random\nreturn r.normal()": "np.random as a whole",
    "return getattr(np.random, 'normal')()": "np.random as a whole",
    "import random as r\nq = r\nreturn q.random()": r"random\.random\(\)",
    "import numpy.random as npr\nreturn npr.normal()": r"np\.random\.normal\(\)",
    "from numpy.random import default_rng\nreturn default_rng().random()": r"default_rng\(\) without a seed",
    "import numpy as n\nreturn n.random.default_rng(None).random()": r"default_rng\(\) without a seed",
    "return np.random.default_rng(None).random()": r"default_rng\(\) without a seed",
    "return np.random.default_rng(seed=None).random()": r"default_rng\(\) without a seed",
    "make = np.random.default_rng\nreturn make().random()": r"default_rng\(\) without a seed",
    "return random.Random(None).random()": r"random\.Random\(\) without a seed",
    "return random.SystemRandom().random()": r"random\.SystemRandom\(\)",
    "from numpy.random import Generator, PCG64\nreturn Generator(PCG64()).random()": r"PCG64\(\) without a seed",
    "return float(len(secrets.token_urlsafe()))": r"secrets\.token_urlsafe\(\)",
    "from os import urandom\nreturn float(urandom(1)[0])": r"os\.urandom\(\)",
    "from scipy import stats\nreturn stats.norm.rvs()": r"scipy\.stats\.norm\.rvs\(\) without random_state=rng",
    "from scipy.stats import norm\nreturn norm(1.0).rvs(2)[0]": r"rvs\(\) without random_state=rng",
    "return D.rvs(loc=1.0)": r"D\.rvs\(\) without random_state=rng",
    "return D.rvs(random_state=rng) + D.rvs()": r"D\.rvs\(\) without random_state=rng",
    "import pandas as pd\nreturn pd.Series([1.0, 2.0]).sample(1).iloc[0]": r"sample\(\) without random_state=rng",
    "return held.g.random()": r"simulated\.held \(a Generator that replicates share\)",
}


@pytest.mark.parametrize("body", DRAWS)
def test_a_draw_is_refused_by_name(folder: Path, body: str) -> None:
    """However the code comes to what draws."""
    before = "from scipy.stats import norm as D\nheld = types.SimpleNamespace(g=np.random.default_rng(1))"
    with pytest.raises(StreamError, match=f"{DRAWS[body]}.* in simulated.sim"):
        bgsim.run(simulated(folder, body, before), replicates=2)


NO_DRAWS = {
    "return stats.norm.cdf(rng.standard_normal())": lambda g: stats_norm().cdf(g.standard_normal()),
    "return stats.norm.ppf(rng.random())": lambda g: stats_norm().ppf(g.random()),
    "return stats.norm.rvs(random_state=rng)": lambda g: stats_norm().rvs(random_state=g),
    "return stats.norm(1.0).rvs(size=2, random_state=rng)[1]": lambda g: stats_norm()(1.0).rvs(2, random_state=g)[1],
    "return stats.norm.rvs(loc=float(p is None), **{'random_state': rng})": lambda g: stats_norm().rvs(random_state=g),
    "d = stats.norm(2.0)\nd.random_state = rng\nreturn d.rvs()": lambda g: stats_norm()(2.0).rvs(random_state=g),
    "return OF_OWN.cdf(2.0)": lambda g: 1.0,
    "return Own().rvs() + Own().sample()": lambda g: 3.0,
    "return np.random.default_rng(3).random()": lambda g: np.random.default_rng(3).random(),
    "return np.random.default_rng(seed=3).random()": lambda g: np.random.default_rng(3).random(),
    "return float(isinstance(rng, np.random.Generator))": lambda g: 1.0,
}


def stats_norm() -> Any:
    from scipy.stats import norm

    return norm


@pytest.mark.parametrize("body", NO_DRAWS)
def test_what_draws_from_rng_alone_is_run(folder: Path, body: str) -> None:
    """A generator inside an object of an installed package is no draw by itself."""
    before = "from scipy import stats\nclass Ramp(stats.rv_continuous):\n    def _cdf(self, x): return 0.0 * x + 1.0\n"
    before += "OF_OWN = Ramp(a=0.0)\nclass Own:\n    def rvs(self): return 1.0\n    def sample(self): return 2.0\n"
    with bgsim.Engine(identity="strict") as engine:
        rows = engine.submit(simulated(folder, body, before), replicates=3, seed=1).result()["x"]
    assert rows.tolist() == [NO_DRAWS[body](bgsim.replicate_rng(1, index)) for index in range(3)]


def test_a_function_that_was_replaced_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is taken for it, though its address were free."""
    original = uuid.uuid4
    monkeypatch.setattr(uuid, "uuid4", lambda: None)
    assert why(original) == "uuid.uuid4()"
    assert why(uuid.uuid4) is None
    assert why(secrets.compare_digest) is None


# ---- the outside -------------------------------------------------------------------------------------

OUTSIDE = {
    "return float(pathlib.Path(str(PATH)).read_text())": r"read_text\(\)",
    "return float(PATH.read_text())": r"PATH\.read_text\(\)",
    "return float(PATH.read_bytes())": r"PATH\.read_bytes\(\)",
    "with PATH.open() as f:\n    return float(f.read())": r"PATH\.open\(\)",
    "return float(np.loadtxt(PATH))": "loadtxt",
    "return float(np.genfromtxt(PATH))": "genfromtxt",
    "return float(np.fromfile(PATH, sep=' ')[0])": "fromfile",
    "return float(np.memmap(PATH, dtype='S3', shape=1)[0])": "memmap",
    "import pandas as pd\nreturn float(pd.read_csv(PATH, header=None).iloc[0, 0])": r"pandas\.read_csv\(\)",
    "c = configparser.ConfigParser()\nc.read('n.ini')\nreturn 2.0": r"read\(\)",
    "import linecache\nreturn float(linecache.getline(str(PATH), 1))": r"linecache\.getline\(\)",
    "import codecs\nwith codecs.open(str(PATH)) as f:\n    return float(f.read())": r"codecs\.open\(\)",
    "with io.FileIO(PATH) as f:\n    return float(f.read())": "FileIO",
    "with io.open(PATH) as f:\n    return float(f.read())": "open",
    "return 2.0 * os.path.exists(PATH)": "exists",
    "return 2.0 * len(os.listdir(PATH.parent)[:1])": "listdir",
    "return 2.0 * PATH.is_file()": r"PATH\.is_file\(\)",
    "return float(subprocess.run(['cat', PATH], capture_output=True).stdout)": r"subprocess\.run",
    "with contextlib.closing(sqlite3.connect(':memory:')):\n    return 2.0": "connect",
    "import importlib.util as u\nreturn 2.0 + 0.0 * (u.spec_from_file_location('a', PATH) is None)": "spec_from_file",
    "return pickle.loads(pickle.dumps(2.0))": "loads",
    "return (lambda: 0).__globals__['TWO']": "__globals__",
    "return sys._getframe().f_globals['TWO']": "_getframe",
    "import inspect\nreturn inspect.currentframe().f_globals['TWO']": r"inspect\.currentframe\(\)",
    "import decimal\nreturn 2.0 + 0.0 * decimal.getcontext().prec": r"decimal\.getcontext\(\)",
}


@pytest.mark.parametrize("body", OUTSIDE)
def test_what_reads_the_outside_is_warned_of_by_name(folder: Path, body: str) -> None:
    """Its results are delivered, and not kept."""
    write(folder, "number.txt", "2.0\n")
    before = f"PATH = pathlib.Path({str(folder / 'number.txt')!r})\nTWO = 2.0\n"
    sim = simulated(folder, body, before)
    with bgsim.Engine() as engine:
        with pytest.warns(IdentityWarning, match=OUTSIDE[body]):
            job = engine.submit(sim, replicates=1)
        assert job.result()["x"].tolist() == [2.0]
        assert engine.store.results() == []


INSIDE = {
    "print('x', file=sys.stderr)\nreturn 2.0": "",
    "sys.stdout.flush()\nreturn 2.0": "",
    "ERRORS.write('x')\nreturn 2.0": "from sys import stderr as ERRORS",
    "log('x')\nreturn 2.0": "def log(text, file=sys.stderr):\n    print(text, file=file)\n",
    "return Own().open() + Own().exists": "class Own:\n    def __init__(self): self.exists = 1.0\n    def open(self): return 1.0\n",
    "return OWN.read_text": "OWN = types.SimpleNamespace(read_text=2.0)",
    "return OWN.open": "from typing import NamedTuple\nclass N(NamedTuple):\n    open: float\nOWN = N(2.0)\n",
    "return json.loads('2.0')": "",
    "return float(str(PATH.parent))": "PATH = pathlib.PurePosixPath('2.0/a')",
    "return float(io.StringIO('2.0').read())": "",
}


@pytest.mark.parametrize("body", INSIDE)
def test_what_reads_nothing_of_the_outside_is_kept(folder: Path, body: str) -> None:
    """Streams that are written to are no input, and a class of the user's may use any name."""
    sim = simulated(folder, body, INSIDE[body])
    with bgsim.Engine(identity="strict") as engine:
        assert engine.submit(sim, replicates=2).result()["x"].tolist() == [2.0, 2.0]
        assert engine.submit(sim, replicates=2).status().from_store == 2


def test_a_redirected_stream_is_no_change(folder: Path) -> None:
    """A simulation may be run with its output elsewhere."""
    sim = simulated(
        folder,
        "with redirect_stdout(io.StringIO()):\n    print('x', file=sys.stdout)\n    return 2.0",
        "from contextlib import redirect_stdout",
    )
    assert bgsim.run(sim, replicates=3)["x"].tolist() == [2.0] * 3


# ---- finding simulations -----------------------------------------------------------------------------


def test_a_script_beside_the_user_comes_before_the_standard_library(tmp_path: Path) -> None:
    """As with python -m."""
    write(tmp_path, "chunk.py", f"{HEAD}\nsim = bgsim.simulation(lambda p, rng: 2.0, outputs={{'x': 'f8'}})\n")
    code = "import sys; sys.path.remove('')\nfrom bgsim.registry import find_simulation\nprint(find_simulation('chunk:sim').name)"
    assert printed(code, tmp_path).split() == ["chunk.<lambda>"]


@pytest.mark.parametrize("name", ["model.py:sim", "some/model.py:sim", "./model.py:sim"])
def test_a_path_is_answered_with_what_to_write(name: str) -> None:
    with pytest.raises(SimulationNotFoundError, match="names a file; write model:sim, in the folder"):
        find_simulation(name)
    with pytest.raises(SimulationNotFoundError, match="write model:NAME"):
        find_simulation("model.py")
