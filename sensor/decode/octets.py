"""Runs of octets: copied and compared in one call of the C library, where a loop would check and move one by one.

Uncompiled the functions are what they look like. Compiled they check the bounds once; IndexError outside a buffer.
Every buffer is a contiguous array of uint8.
"""

from __future__ import annotations

from typing import Any

from sensor.compiled import for_the_compiler

OUTSIDE = "a run of octets reaches outside of the buffer"


def copy(source: Any, at: Any, target: Any, to: Any, size: Any) -> None:
    """Copy `size` octets from source[at] to target[to]; both may lie in one buffer and overlap."""
    if size < 0 or at < 0 or to < 0 or at + size > len(source) or to + size > len(target):
        raise IndexError(OUTSIDE)
    target[to : to + size] = source[at : at + size]


def same(one: Any, at: Any, other: Any, to: Any, size: Any) -> bool:
    """Whether `size` octets from one[at] and other[to] are equal."""
    if size < 0 or at < 0 or to < 0 or at + size > len(one) or to + size > len(other):
        raise IndexError(OUTSIDE)
    return bool((one[at : at + size] == other[to : to + size]).all())


@for_the_compiler
def _compiled_forms() -> None:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, overload

    def checked(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any]:
        """Pointers to both runs, once they are known to lie in their buffers."""
        size, pointers = arguments[4], []
        for k in (0, 2):
            array = context.make_array(signature.args[k])(context, builder, arguments[k])
            (length,) = cgutils.unpack_tuple(builder, array.shape)
            at = arguments[k + 1]
            zero = ir.Constant(at.type, 0)
            outside = builder.or_(
                builder.or_(builder.icmp_signed("<", at, zero), builder.icmp_signed("<", size, zero)),
                builder.icmp_signed(">", at, builder.sub(length, size)),
            )
            with builder.if_then(outside, likely=False):
                context.call_conv.return_user_exc(builder, IndexError, (OUTSIDE,))
            pointers.append(builder.gep(array.data, [at]))
        return pointers[0], pointers[1]

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def move(typing_context: Any, source: Any, at: Any, target: Any, to: Any, size: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            begin, into = checked(context, builder, signature, arguments)
            cgutils.raw_memmove(builder, into, begin, arguments[4], 1)
            return context.get_dummy_value()

        return types.none(source, types.int64, target, types.int64, types.int64), generate

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def equal(typing_context: Any, one: Any, at: Any, other: Any, to: Any, size: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, second = checked(context, builder, signature, arguments)
            kind = ir.FunctionType(ir.IntType(32), [first.type, second.type, arguments[4].type])
            compare = cgutils.get_or_insert_function(builder.module, kind, "memcmp")
            return builder.icmp_signed("==", builder.call(compare, [first, second, arguments[4]]), ir.IntType(32)(0))

        return types.boolean(one, types.int64, other, types.int64, types.int64), generate

    @overload(copy, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
    def _copy(source: Any, at: Any, target: Any, to: Any, size: Any) -> Any:
        def compiled(source: Any, at: Any, target: Any, to: Any, size: Any) -> Any:
            move(source, at, target, to, size)  # type: ignore[call-arg]  # numba gives the first argument

        return compiled

    @overload(same, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
    def _same(one: Any, at: Any, other: Any, to: Any, size: Any) -> Any:
        def compiled(one: Any, at: Any, other: Any, to: Any, size: Any) -> Any:
            return equal(one, at, other, to, size)  # type: ignore[call-arg]  # numba gives the first argument

        return compiled
