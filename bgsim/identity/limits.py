"""What cannot be followed: it reaches names, code or data that are made or found only at run time."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

_NAMES = "it reaches names that are made at run time"
_CODE = "it runs code that is made at run time"
_MODULES = "it imports modules by names that are made at run time"
_OUTSIDE = "it reads what is outside of the program"
_SETTING = "it reads a setting that other code may change"

_BY_MODULE = {
    _NAMES: {
        "builtins": "globals",
        "inspect": "currentframe stack",
        "pkgutil": "resolve_name",
        "sys": "modules _getframe",
    },
    _CODE: {
        "builtins": "eval exec compile",
        "marshal": "load loads",
        "pickle": "load loads Unpickler",
        "runpy": "run_module run_path",
    },
    _MODULES: {
        "builtins": "__import__",
        "importlib": "import_module reload",
        "importlib.machinery": "SourceFileLoader",
        "importlib.util": "spec_from_file_location",
    },
    _OUTSIDE: {
        "builtins": "open input",
        "bz2": "open BZ2File",
        "codecs": "open",
        "dbm": "open",
        "fileinput": "input FileInput",
        "glob": "glob iglob",
        "gzip": "open GzipFile",
        "h5py": "File",
        "http.client": "HTTPConnection HTTPSConnection",
        "importlib.resources": "as_file contents files is_resource open_* path read_*",
        "io": "FileIO open_code",
        "joblib": "load",
        "linecache": "getline getlines",
        "lzma": "open LZMAFile",
        "mmap": "mmap",
        "netCDF4": "Dataset",
        "numpy": "fromfile fromregex genfromtxt load loadtxt memmap",
        "os": "environ environb fdopen getenv getenvb listdir lstat open popen scandir stat system walk",
        "os.path": "exists getmtime getsize isdir isfile lexists",
        "pandas": "read_* ExcelFile HDFStore",
        "pkgutil": "get_data iter_modules",
        "polars": "read_* scan_*",
        "requests": "get head post put request Session",
        "scipy.io": "loadmat mmread readsav",
        "scipy.io.wavfile": "read",
        "shelve": "open",
        "socket": "create_connection getaddrinfo gethostbyname gethostname socket",
        "sqlite3": "connect",
        "subprocess": "call check_call check_output getoutput getstatusoutput Popen run",
        "tarfile": "open TarFile",
        "torch": "load",
        "urllib.request": "build_opener urlopen urlretrieve",
        "xarray": "load_* open_*",
        "zipfile": "ZipFile",
    },
    _SETTING: {"decimal": "getcontext"},
}
"""What of modules cannot be followed, by the reason; ``read_*`` stands for all such names."""

METHODS: dict[str, tuple[str, str | None]] = {
    "__builtins__": (_NAMES, None),
    "__globals__": (_NAMES, None),
    "f_back": (_NAMES, None),
    "f_globals": (_NAMES, None),
    "f_locals": (_NAMES, None),
    "exists": (_OUTSIDE, None),
    "is_dir": (_OUTSIDE, None),
    "is_file": (_OUTSIDE, None),
    "iterdir": (_OUTSIDE, None),
    "open": (_OUTSIDE, None),
    "read": (_OUTSIDE, "configparser"),
    "read_bytes": (_OUTSIDE, None),
    "read_csv": (_OUTSIDE, None),
    "read_text": (_OUTSIDE, None),
    "rglob": (_OUTSIDE, None),
}
"""Attributes of objects, whatever these are: why they cannot be followed, and, of a name that others have as well, the
package that the same function has to use."""


def why_not(value: Any) -> str | None:
    """Return why something of an installed package cannot be followed, None if it can."""
    found = _by_address(len(sys.modules)).get(id(value))
    return None if found is None else found[1]


def why_not_named(name: str) -> str | None:
    """Return the same for the dotted name of what is not imported yet."""
    module, _, attribute = name.rpartition(".")
    for why, modules in _BY_MODULE.items():
        if any(fnmatchcase(attribute, pattern) for pattern in modules.get(module, "").split()):
            return why
    return None


@functools.lru_cache(maxsize=1)
def _by_address(_modules: int) -> dict[int, tuple[Any, str]]:
    """Return things with why they cannot be followed, by their addresses; anew when a module has been imported."""
    return {id(thing): (thing, why) for thing, why in _things()}


def _things() -> Iterator[tuple[Any, str]]:
    for why, modules in _BY_MODULE.items():
        for module, patterns in modules.items():
            space = vars(sys.modules[module]) if sys.modules.get(module) else {}  # None keeps it from being imported
            for pattern in patterns.split():
                names = [name for name in list(space) if fnmatchcase(name, pattern)] if "*" in pattern else [pattern]
                yield from ((space[name], why) for name in names if name in space)
