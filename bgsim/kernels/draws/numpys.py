"""Distributions that NumPy has as functions of C, which draw from a kernel's stream here.

NumPy exports them for such use: they take a ``bitgen_t``, that is the address of a state and of the functions that
draw from it, and both are bgsim's own here. So a kernel gets the numbers that plain Python gets. Some numbers of
numba's own versions of these methods are others: its `poisson` and what is made of that are biased for means from 10
to 15, `wald` loses digits, and `beta`, `f` and `standard_t` fail for small parameters.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import register_jitable
from numba.np.numpy_support import is_nonelike
from numba.np.random.generator_methods import check_size

from bgsim.kernels.draws.layout import BITGEN, I32, I64, new_function, store
from bgsim.kernels.draws.philox import double_of, half_of, word_of

_F64 = ir.DoubleType()
_POISSON_MOST = np.iinfo(np.int64).max - 10.0 * np.sqrt(np.iinfo(np.int64).max)
"""The largest mean that NumPy takes."""

MISSING: list[str] = []
"""Functions that this NumPy does not export, as none does on Windows."""


def store_bitgen(builder: Any, state: Any) -> None:
    """Put a ``bitgen_t`` into a stream."""
    store(builder, state, state, BITGEN)
    draws = ((word_of, I64), (half_of, I32), (double_of, _F64), (word_of, I64))
    for word, (draw, result) in enumerate(draws, BITGEN + 1):
        function, inner, (given,) = new_function(builder.module, f"bgsim.{draw.__name__}", result, 1)
        inner.ret(draw(inner, given))
        store(builder, builder.ptrtoint(function, I64), state, word)


def _numpys(name: str, result: Any, *arguments: Any) -> Any:
    """Return one of NumPy's functions for compiled code.

    Machine code finds it by a name of ours, so that what is kept on disk holds no address.
    """
    library = ctypes.CDLL(np.random._generator.__file__)  # noqa: SLF001 - NumPy's guide does so
    symbol = f"bgsim.numpy.{name}"
    if hasattr(library, name):
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        llvmlite.binding.add_symbol(symbol, address)
    else:
        MISSING.append(name)
    return types.ExternalFunction(symbol, result(types.uintp, *arguments))


_F, _I = types.float64, types.int64
_random_beta = _numpys("random_beta", _F, _F, _F)
_random_f = _numpys("random_f", _F, _F, _F)
_random_negative_binomial = _numpys("random_negative_binomial", _I, _F, _F)
_random_noncentral_chisquare = _numpys("random_noncentral_chisquare", _F, _F, _F)
_random_noncentral_f = _numpys("random_noncentral_f", _F, _F, _F, _F)
_random_poisson = _numpys("random_poisson", _I, _F)
_random_standard_t = _numpys("random_standard_t", _F, _F)
_random_wald = _numpys("random_wald", _F, _F, _F)
_bitgen = np.uint64(8 * BITGEN)

# ---- a number, given the address of a stream; each function refuses what NumPy refuses -----------------


@register_jitable
def beta(state: Any, a: Any, b: Any) -> Any:
    """Draw a number between 0 and 1."""
    if a <= 0.0 or b <= 0.0:
        raise ValueError("beta: a and b must be above 0")
    return _random_beta(state + _bitgen, a, b)


@register_jitable
def f(state: Any, dfnum: Any, dfden: Any) -> Any:
    """Draw a ratio of variances."""
    if dfnum <= 0.0 or dfden <= 0.0:
        raise ValueError("f: dfnum and dfden must be above 0")
    return _random_f(state + _bitgen, dfnum, dfden)


@register_jitable
def negative_binomial(state: Any, n: Any, p: Any) -> Any:
    """Draw a number of failures."""
    if not (n > 0.0 and 0.0 < p <= 1.0):
        raise ValueError("negative_binomial: n must be above 0, p above 0 and at most 1")
    if not (1.0 - p) / p * (n + 10.0 * np.sqrt(n)) <= _POISSON_MOST:
        raise ValueError("negative_binomial: n is too large or p too small")
    return _random_negative_binomial(state + _bitgen, n, p)


@register_jitable
def noncentral_chisquare(state: Any, df: Any, nonc: Any) -> Any:
    """Draw a sum of squares."""
    if df <= 0.0 or nonc < 0.0:
        raise ValueError("noncentral_chisquare: df must be above 0, nonc at least 0")
    return _random_noncentral_chisquare(state + _bitgen, df, nonc)


@register_jitable
def noncentral_f(state: Any, dfnum: Any, dfden: Any, nonc: Any) -> Any:
    """Draw a ratio of variances."""
    if dfnum <= 0.0 or dfden <= 0.0 or nonc < 0.0:
        raise ValueError("noncentral_f: dfnum and dfden must be above 0, nonc at least 0")
    return _random_noncentral_f(state + _bitgen, dfnum, dfden, nonc)


@register_jitable
def poisson(state: Any, lam: Any) -> Any:
    """Draw a number of events."""
    if not 0.0 <= lam <= _POISSON_MOST:
        raise ValueError("poisson: lam must be at least 0, and at most about 9.2e18")
    return _random_poisson(state + _bitgen, lam)


@register_jitable
def standard_t(state: Any, df: Any) -> Any:
    """Draw a number of Student's distribution."""
    if df <= 0.0:
        raise ValueError("standard_t: df must be above 0")
    return _random_standard_t(state + _bitgen, df)


@register_jitable
def wald(state: Any, mean: Any, scale: Any) -> Any:
    """Draw a time of first passage."""
    if mean <= 0.0 or scale <= 0.0:
        raise ValueError("wald: mean and scale must be above 0")
    return _random_wald(state + _bitgen, mean, scale)


# ---- one, or an array of them --------------------------------------------------------------------------


def drawing(draw: Any, dtype: Any, size: Any) -> Any:
    """Return a function of rng, size and parameters for compiled code: it draws a number, or an array of a size."""
    name = f"random_{draw.__name__}"
    if name in MISSING:
        raise TypingError(f"NumPy {np.__version__} does not export {name} here")
    if is_nonelike(size.value if isinstance(size, types.Omitted) else size):

        @register_jitable
        def drawn(rng: Any, size: Any, *parameters: Any) -> Any:
            return draw(rng.bit_generator.state, *parameters)

        return drawn
    check_size(size)

    @register_jitable
    def filled(rng: Any, size: Any, *parameters: Any) -> Any:
        out = np.empty(size, dtype)
        flat = out.flat
        for i in range(out.size):
            flat[i] = draw(rng.bit_generator.state, *parameters)
        return out

    return filled
