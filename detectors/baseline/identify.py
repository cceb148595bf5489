"""What a behaviour is: its operation, name and objects. Each distinct request is described once; floods are bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.baseline.extents import Extent
from detectors.baseline.objects import extents_of, function_of
from detectors.roles import COMMANDING
from detectors.sigma.matcher import Matcher
from sensor.decode.pdu import Outcome, Protocol, family
from sensor.operations import Verb
from sensor.view import View

MAX_DESCRIBED = (
    8192  # distinct requests described in one run, 50 to 100 us each; further ones are judged by codes alone
)

# Requests of Modbus whose one range stands in the columns `object` and `quantity`.
IN_COLUMNS = frozenset({1, 2, 3, 4, 5, 6, 15, 16, 22})
_CODES = ("protocol", "function", "subfunction", "outcome", "station")
_CONTENT = (*_CODES, "object", "quantity", "detail")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a request is. commands: it changes a device or its process. described: False where MAX_DESCRIBED was reached
    and only its codes are known."""

    name: str
    operation: str = ""
    kind: str = ""
    commands: bool = False
    extents: tuple[Extent, ...] = ()
    described: bool = True


class Identifier:
    """Identities of behaviours. skipped: behaviours beyond MAX_DESCRIBED."""

    def __init__(self) -> None:
        self._known: dict[tuple[int | str, ...], Identity] = {}
        self.skipped = 0

    def ranged(self, table: npt.NDArray[np.void], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which rows name their objects in the columns alone."""
        b = table.take(rows)
        modbus = (b["protocol"] == Protocol.MODBUS) | (b["protocol"] == Protocol.MODBUS_RTU)
        ranged: npt.NDArray[np.bool_] = modbus & np.isin(b["function"], list(IN_COLUMNS)) & (b["object"] >= 0)
        return ranged

    def identity(self, view: View, row: int, matcher: Matcher) -> Identity:
        """What a behaviour is. matcher: that of the run, which has looked at it."""
        b = view.behaviours.table[row]
        protocol, function = int(b.protocol), int(b.function)
        by_codes = family(protocol) == Protocol.MODBUS and function in IN_COLUMNS
        rules = matcher.numbers(row)
        names = (matcher.rules[number].id for number in rules)
        key: tuple[int | str, ...] = (*(int(b[name]) for name in (_CODES if by_codes else _CONTENT)), *names)
        if key not in self._known:
            if len(self._known) >= MAX_DESCRIBED:
                self.skipped += 1
                return Identity(f"function {function}", described=False)
            self._known[key] = self._identify(view, row, rules, matcher, with_objects=not by_codes)
        return self._known[key]

    def _identify(
        self, view: View, row: int, rules: Sequence[int], matcher: Matcher, *, with_objects: bool
    ) -> Identity:
        behaviour = view.behaviours.table[row]
        fields: dict[str, Any] = view.behaviours.describe(row)
        protocol = family(int(behaviour.protocol))
        named = (matcher.rules[number] for number in rules)
        operation = next((rule for rule in named if rule.id.startswith("operation.")), None)
        try:
            commands = Verb(fields.get("event.action", "")) in COMMANDING
        except ValueError:
            commands = False
        reports = behaviour.outcome == Outcome.UNSOLICITED
        # What a device reports changes with its process: objects of reports are no habit worth comparing.
        extents = tuple(dict.fromkeys(extents_of(protocol, fields))) if with_objects and not reports else ()
        return Identity(
            name=function_of(protocol, fields),
            operation=operation.id if operation else "",
            kind=operation.kind if operation else "",
            commands=commands and not reports,
            extents=extents,
        )


def column_extent(behaviour: Any) -> Extent:
    """The range of a request whose objects stand in the columns."""
    first = int(behaviour.object)
    return Extent("", first, first + max(int(behaviour.quantity), 1) - 1)
