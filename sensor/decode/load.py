"""Numbers out of a byte buffer: one bounds check and one load, where octet by octet each octet would be checked.

Uncompiled the functions are what they look like. Compiled they read an unaligned word; IndexError outside the buffer,
as for any index under `boundscheck`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import for_the_compiler


def u16be(buf: Any, at: Any) -> Any:
    """Big-endian 16-bit number at `at`, as int64."""
    return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])


def u16le(buf: Any, at: Any) -> Any:
    """Little-endian 16-bit number at `at`, as int64."""
    return np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8)


def u32be(buf: Any, at: Any) -> Any:
    """Big-endian 32-bit number at `at`, as int64."""
    return (u16be(buf, at) << 16) | u16be(buf, at + 2)


def u32le(buf: Any, at: Any) -> Any:
    """Little-endian 32-bit number at `at`, as int64."""
    return u16le(buf, at) | (u16le(buf, at + 2) << 16)


def u64be(buf: Any, at: Any) -> Any:
    """Big-endian 64-bit number at `at`, as int64 of the same bits: store it in an unsigned field."""
    return (u32be(buf, at) << 32) | u32be(buf, at + 4)


def _compile(readable: Any, octets: int, *, big: bool) -> None:
    """Register the compiled form of one of the functions above. The machine is little-endian (x86-64, AArch64)."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, overload

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def word(typing_context: Any, buf: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            (length,) = cgutils.unpack_tuple(builder, array.shape)
            at = arguments[1]
            last = builder.sub(length, ir.Constant(length.type, octets))
            outside = builder.or_(
                builder.icmp_signed("<", at, ir.Constant(at.type, 0)), builder.icmp_signed(">", at, last)
            )
            with builder.if_then(outside, likely=False):
                context.call_conv.return_user_exc(builder, IndexError, ("a number reaches outside of the buffer",))
            kind = ir.IntType(8 * octets)
            pointer = builder.bitcast(builder.gep(array.data, [at]), kind.as_pointer())
            value = builder.load(pointer, align=1)
            if big:
                value = builder.bswap(value)
            return builder.zext(value, ir.IntType(64)) if octets < 8 else value

        return types.int64(buf, types.int64), generate

    @overload(readable, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
    def _overloaded(buf: Any, at: Any) -> Any:
        def compiled(buf: Any, at: Any) -> Any:
            return word(buf, at)  # type: ignore[call-arg]  # numba gives the first argument

        return compiled


@for_the_compiler
def _compiled_forms() -> None:
    _compile(u16be, 2, big=True)
    _compile(u16le, 2, big=False)
    _compile(u32be, 4, big=True)
    _compile(u32le, 4, big=False)
    _compile(u64be, 8, big=True)
