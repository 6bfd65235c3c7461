"""C peers: a source compiled with ``cc -O3`` into a temporary folder, calling NumPy's bit generator as C code does."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import numpy as np


def compile_c(source: str) -> ctypes.CDLL | None:
    """Return the compiled source, None where there is no C compiler, saying so.

    It may include ``numpy/random/distributions.h``: NumPy's own C library of distributions is linked.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        print("  (skipped: no C compiler `cc`)")
        return None
    includes = [np.get_include(), sysconfig.get_path("include")]
    libraries = Path(np.random.__file__).parent / "lib"
    with tempfile.TemporaryDirectory() as folder:
        code, library = Path(folder) / "peer.c", Path(folder) / "peer.so"
        code.write_text(source, encoding="utf-8")
        command = [compiler, "-O3", "-fPIC", "-shared", *(f"-I{path}" for path in includes), str(code)]
        command += [f"-L{libraries}", "-lnpyrandom", "-lm", "-o", str(library)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))


def bit_generator_address(rng: np.random.Generator) -> ctypes.c_void_p:
    """Return the address of the generator's ``bitgen_t``."""
    return ctypes.cast(rng.bit_generator.ctypes.bit_generator, ctypes.c_void_p)
