"""Arrays without ownership, for compiled code that calls deep.

Every compiled function counts a reference for each array it is given, in atomic operations that cost more than reading
a frame. The caller of the outermost kernel holds the arrays anyway, so the kernel borrows them once and passes that on.
"""

from __future__ import annotations

from typing import Any

from sensor.compiled import for_the_compiler


def borrow(array: Any) -> Any:
    """The same array, not counted; valid as long as the caller holds the original. Uncompiled: the array itself."""
    return array


@for_the_compiler
def _compiled_form() -> None:
    from numba.core import cgutils
    from numba.extending import intrinsic, overload

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def without_owner(typing_context: Any, array: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            view = context.make_array(signature.args[0])(context, builder, arguments[0])
            view.meminfo = cgutils.get_null_value(view.meminfo.type)
            return view._getvalue()

        return array(array), generate

    @overload(borrow, inline="always")  # type: ignore[untyped-decorator, unused-ignore]
    def _borrow(array: Any) -> Any:
        def compiled(array: Any) -> Any:
            return without_owner(array)  # type: ignore[call-arg]  # numba gives the first argument

        return compiled
