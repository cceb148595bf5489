"""Point scan: one asker looks for what a device holds.

Catches requests for many distinct addresses or objects that the device refuses because they do not exist, however
slowly they come: distinct objects are counted, not rates. Blind to somebody who asks only for what exists. Technique:
T0861.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from detectors.attacks.scan import Refusal, Scans
from detectors.contract import Scene
from detectors.finding import Finding
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch
from sensor.protocols.bacnet_tables import object_name

ENOUGH = 10  # distinct objects: a wrong point list has a handful
WINDOW_NS = 24 * 3600 * 10**9

ILLEGAL_ADDRESS = 0x02  # Modbus exception code, V1.1b3 section 7
OBJECT_UNKNOWN = 0x02 | 0x04  # DNP3 IIN2.1 object unknown, IIN2.2 parameter error (no such index)
MISSING = {
    # return codes of items (address out of range, type, object does not exist), error codes (block not found, SZL id or
    # index unknown)
    Protocol.S7COMM: frozenset({0x05, 0x06, 0x0A, 0xD209, 0xD401, 0xD402}),
    Protocol.IEC104: frozenset({47}),  # cause of transmission: unknown information object address
    Protocol.OPCUA: frozenset({0x8033, 0x8034, 0x8035}),  # BadNodeIdInvalid, BadNodeIdUnknown, BadAttributeIdInvalid
    # error class << 16 | code: unknown-object, unknown-property
    Protocol.BACNET: frozenset({1 << 16 | 31, 1 << 16 | 32, 2 << 16 | 32}),
}
NO_SUCH_TARGET = frozenset({0x04, 0x05, 0x14, 0x16})  # CIP general status: path, attribute or object is not there


def missing(refusal: Refusal) -> bool:
    """Whether a refusal says that there is no such object."""
    if refusal.protocol == Protocol.MODBUS:
        return refusal.status == ILLEGAL_ADDRESS
    if refusal.protocol == Protocol.DNP3:
        return bool(refusal.status & OBJECT_UNKNOWN)
    if refusal.protocol == Protocol.ENIP:
        return refusal.status & 0xFF in NO_SUCH_TARGET and refusal.status >> 24 == 0
    return refusal.status in MISSING.get(Protocol(refusal.protocol), ())


class PointScan:
    """See the module."""

    name = "point_scan"

    def __init__(self) -> None:
        self._scans = Scans(
            "scan.point",
            enough=ENOUGH,
            window_ns=WINDOW_NS,
            counts=missing,
            what=lambda refusal: (refusal.function, refusal.object, refusal.detail),
            shown=_shown,
        )

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._scans.observe(batch, scene)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        return self._scans.flush(scene)


def _shown(refusal: Refusal) -> str:
    """The object in the protocol's words."""
    if refusal.object < 0:
        return f"0x{refusal.subfunction:04X}" if refusal.subfunction >= 0 else "?"
    if refusal.protocol == Protocol.ENIP:
        return f"0x{refusal.object >> 47:02X}/{refusal.object >> 15 & 0xFFFFFFFF}/{refusal.object & 0x7FFF}"
    if refusal.protocol == Protocol.OPCUA:
        return f"ns={refusal.object >> 32};i={refusal.object & 0xFFFFFFFF}"
    if refusal.protocol == Protocol.BACNET:
        return object_name(refusal.object >> 22)
    if refusal.protocol == Protocol.DNP3:
        return f"g{refusal.object >> 8}v{refusal.object & 0xFF}"
    if refusal.protocol == Protocol.S7COMM:
        area, db, bit = refusal.object >> 48, refusal.object >> 32 & 0xFFFF, refusal.object & 0xFFFFFFFF
        return f"DB{db} @{bit // 8}" if db else f"area 0x{area:02X} @{bit // 8}"
    return str(refusal.object)
