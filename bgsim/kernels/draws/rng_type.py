"""What numba knows a kernel's ``rng`` as: a generator of its own kind, which holds the address of a stream."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, box, intrinsic, make_attribute_wrapper, models, overload, register_model, unbox
from numba.np.random import generator_core

from bgsim.kernels.draws.philox import next_double, next_half, next_word, place


class PhiloxType(types.Type):  # type: ignore[misc]
    """The type of a stream's source of bits, which numba's methods draw from."""

    def __init__(self) -> None:
        super().__init__("bgsim.Philox")


class RngType(types.NumPyRandomGeneratorType):  # type: ignore[misc]
    """The type of a kernel's ``rng``: it has the methods of numba's generators, and faster ones before them."""

    def __init__(self) -> None:
        super(types.NumPyRandomGeneratorType, self).__init__("Rng")  # numba's own would take the name of its type


PHILOX, RNG = PhiloxType(), RngType()


@register_model(PhiloxType)
class _PhiloxModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: PhiloxType) -> None:
        super().__init__(manager, kind, [("state", types.uintp)])


@register_model(RngType)
class _RngModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: RngType) -> None:
        super().__init__(manager, kind, [("bit_generator", PHILOX)])


make_attribute_wrapper(PhiloxType, "state", "state")
make_attribute_wrapper(RngType, "bit_generator", "bit_generator")


@unbox(RngType)
def _unbox(kind: RngType, found: Any, c: Any) -> NativeValue:
    """Refuse what Python gives to a function that was compiled for a kernel's stream; numba asks for this."""
    c.pyapi.err_set_string("PyExc_TypeError", "only a kernel can give its rng to this function")
    return NativeValue(cgutils.get_null_value(c.context.get_value_type(kind)), is_error=cgutils.true_bit)


@box(RngType)
def _box(kind: RngType, value: Any, c: Any) -> Any:
    c.pyapi.err_set_string("PyExc_TypeError", "a kernel's rng cannot leave the kernel")
    return c.pyapi.get_null_object()


def _draws_by(function: Any, draw: Any) -> None:
    """Have what numba's methods draw with draw from a stream, too."""

    @overload(function, strict=False)  # strict: no annotations
    def of_stream(bitgen: Any) -> Any:
        return (lambda bitgen: draw(bitgen.state)) if isinstance(bitgen, PhiloxType) else None


_draws_by(generator_core.next_uint64, next_word)
_draws_by(generator_core.next_uint32, next_half)
_draws_by(generator_core.next_double, next_double)


@intrinsic
def rng_of_replicate(typingctx: Any, state: Any, key0: Any, key1: Any, index: Any) -> Any:
    """Return the ``rng`` of a replicate under a key, from the address of a stream, which is then at its start.

    All are of type uint64. The stream is borrowed: its owner keeps it alive, and no other thread draws from it.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place(builder, *arguments)
        source = cgutils.create_struct_proxy(PHILOX)(context, builder)
        source.state = arguments[0]
        rng = cgutils.create_struct_proxy(RNG)(context, builder)
        rng.bit_generator = source._getvalue()  # noqa: SLF001 - numba's own name for it
        return rng._getvalue()  # noqa: SLF001 - numba's own name for it

    return RNG(types.uint64, types.uint64, types.uint64, types.uint64), codegen
