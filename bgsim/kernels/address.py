"""A compiled kernel as an argument of compiled code: its address, with its signature as the type.

numba's first-class functions do the same; but they ask the function for its address in Python, at every call of the
code that takes it, which costs ten times what calling that code does.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, intrinsic, models, register_model, unbox


class KernelAddress(types.Type):  # type: ignore[misc]
    """The type of a compiled function's address, an int in Python.

    Attributes
    ----------
    signature : numba Signature
        Of the function.
    """

    def __init__(self, signature: Any) -> None:
        self.signature = signature
        super().__init__(name=f"KernelAddress({signature})")

    @property
    def key(self) -> Any:
        """What makes two of them equal."""
        return self.signature


@register_model(KernelAddress)
class _AddressModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: KernelAddress) -> None:
        super().__init__(manager, kind, ir.IntType(64))


@unbox(KernelAddress)
def _unbox(kind: KernelAddress, number: Any, c: Any) -> NativeValue:
    return NativeValue(c.pyapi.long_as_ulonglong(number))


def address_of(dispatcher: Any, arguments: tuple[Any, ...]) -> tuple[int, KernelAddress]:
    """Return the address of a dispatcher's function for these argument types, and its type.

    The caller keeps the dispatcher, and with it the machine code.
    """
    compiled = dispatcher.overloads[arguments]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address, KernelAddress(compiled.signature.return_type(*arguments))


@intrinsic
def call_kernel(typingctx: Any, kernel: Any, p: Any, rng: Any, control: Any) -> Any:
    """Call a kernel of two or three arguments; what it raises is raised."""
    wanted = kernel.signature

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        convention = context.call_conv
        function = convention.get_function_type(wanted.return_type, wanted.args)
        pointer = builder.inttoptr(args[0], function.as_pointer())
        given = args[1 : 1 + len(wanted.args)]
        status, value = convention.call_function(builder, pointer, wanted.return_type, wanted.args, given)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return value

    return wanted.return_type(kernel, p, rng, control), codegen
