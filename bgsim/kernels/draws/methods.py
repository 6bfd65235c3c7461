"""The methods of a kernel's ``rng`` that are bgsim's own; numba's draw all others from the same stream."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload_method, register_jitable
from numba.np.numpy_support import as_dtype, is_nonelike
from numba.np.random import generator_methods as numbas
from numba.np.random import random_methods

from bgsim.kernels.draws import numpys
from bgsim.kernels.draws.numpys import drawing
from bgsim.kernels.draws.philox import next_double, next_half, next_word, product_of
from bgsim.kernels.draws.rng_type import RngType
from bgsim.kernels.draws.ziggurat import next_exponential, next_normal

_INLINED = {"forceinline": True}
_own_method = functools.partial(overload_method, RngType, jit_options=_INLINED, strict=False)  # strict: no annotations


def _value(argument: Any) -> Any:
    """Return what an argument is that the call leaves out, or its type."""
    return argument.value if isinstance(argument, types.Omitted) else argument


def _is_scalar(size: Any) -> bool:
    return bool(is_nonelike(_value(size)))


def _dtype(argument: Any) -> np.dtype[Any] | None:
    """Return the dtype that an argument means, None if it means none."""
    given = _value(argument)
    try:
        return np.dtype(as_dtype(given) if isinstance(given, types.NumberClass) else given)
    except TypeError:
        return None


def _is_double(size: Any, dtype: Any) -> bool:
    return _is_scalar(size) and _dtype(dtype) == np.float64


def _are_numbers(*arguments: Any) -> bool:
    return all(isinstance(_value(a), types.Integer | types.Float | int | float) for a in arguments)


@_own_method("random")
def _rng_random(inst: Any, size: Any = None, dtype: Any = np.float64) -> Any:
    if _is_double(size, dtype):
        return lambda inst, size=None, dtype=np.float64: next_double(inst.bit_generator.state)
    return numbas.NumPyRandomGeneratorType_random(inst, size, dtype)


@_own_method("standard_normal")
def _rng_standard_normal(inst: Any, size: Any = None, dtype: Any = np.float64) -> Any:
    if _is_double(size, dtype):
        return lambda inst, size=None, dtype=np.float64: next_normal(inst.bit_generator.state)
    return numbas.NumPyRandomGeneratorType_standard_normal(inst, size, dtype)


@_own_method("standard_exponential")
def _rng_standard_exponential(inst: Any, size: Any = None, dtype: Any = np.float64, method: Any = "zig") -> Any:
    if _is_double(size, dtype) and _value(method) == "zig":
        return lambda inst, size=None, dtype=np.float64, method="zig": next_exponential(inst.bit_generator.state)
    return numbas.NumPyRandomGeneratorType_standard_exponential(inst, size, dtype, method)


@_own_method("uniform")
def _rng_uniform(inst: Any, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
    if _is_scalar(size) and _are_numbers(low, high):
        return lambda inst, low=0.0, high=1.0, size=None: low + (high - low) * next_double(inst.bit_generator.state)
    return numbas.NumPyRandomGeneratorType_uniform(inst, low, high, size)


@_own_method("normal")
def _rng_normal(inst: Any, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
    if _is_scalar(size) and _are_numbers(loc, scale):
        return lambda inst, loc=0.0, scale=1.0, size=None: loc + scale * next_normal(inst.bit_generator.state)
    return numbas.NumPyRandomGeneratorType_normal(inst, loc, scale, size)


@_own_method("exponential")
def _rng_exponential(inst: Any, scale: Any = 1.0, size: Any = None) -> Any:
    if _is_scalar(size) and _are_numbers(scale):
        return lambda inst, scale=1.0, size=None: scale * next_exponential(inst.bit_generator.state)
    return numbas.NumPyRandomGeneratorType_exponential(inst, scale, size)


# ---- integers ----------------------------------------------------------------------------------------

_HALF, _WORD = np.uint64(2**32 - 1), np.uint64(2**64 - 1)


@register_jitable
def _below_in_half(state: Any, last: Any) -> Any:
    """Return a whole number from 0 to `last`, which is below 2**32 - 1 (Lemire 2019)."""
    count = last + np.uint64(1)
    product = np.uint64(next_half(state)) * count
    if (product & _HALF) < count:
        rejected = (_HALF - last) % count
        while (product & _HALF) < rejected:
            product = np.uint64(next_half(state)) * count
    return product >> np.uint64(32)


@register_jitable
def _below_in_word(state: Any, last: Any) -> Any:
    """Return one from 0 to `last`, which is below 2**64 - 1."""
    count = last + np.uint64(1)
    high, low = product_of(next_word(state), count)
    if low < count:
        rejected = (_WORD - last) % count
        while low < rejected:
            high, low = product_of(next_word(state), count)
    return high


@register_jitable(**_INLINED)
def _up_to(state: Any, last: Any) -> Any:
    """Return a whole number from 0 to `last`, as NumPy draws one of 32 or 64 bits."""
    if last < _HALF:
        return np.uint64(0) if last == np.uint64(0) else _below_in_half(state, last)
    if last == _HALF:
        return np.uint64(next_half(state))
    return next_word(state) if last == _WORD else _below_in_word(state, last)


@_own_method("integers")
def _rng_integers(
    inst: Any, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: Any = False
) -> Any:
    if is_nonelike(_value(high)):
        return lambda inst, low, high=None, size=None, dtype=np.int64, endpoint=False: inst.integers(
            0, low, size, dtype, endpoint
        )
    kind = _dtype(dtype)
    if kind is None or kind.kind not in "iu" or kind.itemsize < 4 or not _is_scalar(size):
        return numbas.NumPyRandomGeneratorType_integers(inst, low, high, size, dtype, endpoint)
    for name, bound in (("low", low), ("high", high)):
        numbas.check_types(bound, [types.Integer, types.Boolean, bool, int], name)
    numbas.check_types(endpoint, [types.Boolean, bool], "endpoint")
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    check, new = random_methods._randint_arg_check, kind.type  # noqa: SLF001 - numba's own name for it

    def integers(
        inst: Any, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: Any = False
    ) -> Any:
        check(low, high, endpoint, least, most)
        first = np.uint64(low)
        last = np.uint64(high) - np.uint64(0 if endpoint else 1)
        return new(first + _up_to(inst.bit_generator.state, last - first))

    return integers


# ---- NumPy's own functions -----------------------------------------------------------------------------


@_own_method("beta")
def _rng_beta(inst: Any, a: Any, b: Any, size: Any = None) -> Any:
    draw = drawing(numpys.beta, np.float64, size)
    return lambda inst, a, b, size=None: draw(inst, size, a, b)


@_own_method("f")
def _rng_f(inst: Any, dfnum: Any, dfden: Any, size: Any = None) -> Any:
    draw = drawing(numpys.f, np.float64, size)
    return lambda inst, dfnum, dfden, size=None: draw(inst, size, dfnum, dfden)


@_own_method("negative_binomial")
def _rng_negative_binomial(inst: Any, n: Any, p: Any, size: Any = None) -> Any:
    draw = drawing(numpys.negative_binomial, np.int64, size)
    return lambda inst, n, p, size=None: draw(inst, size, n, p)


@_own_method("noncentral_chisquare")
def _rng_noncentral_chisquare(inst: Any, df: Any, nonc: Any, size: Any = None) -> Any:
    draw = drawing(numpys.noncentral_chisquare, np.float64, size)
    return lambda inst, df, nonc, size=None: draw(inst, size, df, nonc)


@_own_method("noncentral_f")
def _rng_noncentral_f(inst: Any, dfnum: Any, dfden: Any, nonc: Any, size: Any = None) -> Any:
    draw = drawing(numpys.noncentral_f, np.float64, size)
    return lambda inst, dfnum, dfden, nonc, size=None: draw(inst, size, dfnum, dfden, nonc)


@_own_method("poisson")
def _rng_poisson(inst: Any, lam: Any = 1.0, size: Any = None) -> Any:
    draw = drawing(numpys.poisson, np.int64, size)
    return lambda inst, lam=1.0, size=None: draw(inst, size, lam)


@_own_method("standard_t")
def _rng_standard_t(inst: Any, df: Any, size: Any = None) -> Any:
    draw = drawing(numpys.standard_t, np.float64, size)
    return lambda inst, df, size=None: draw(inst, size, df)


@_own_method("wald")
def _rng_wald(inst: Any, mean: Any, scale: Any, size: Any = None) -> Any:
    draw = drawing(numpys.wald, np.float64, size)
    return lambda inst, mean, scale, size=None: draw(inst, size, mean, scale)
