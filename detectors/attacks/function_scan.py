"""Function scan: one asker tries codes that a device does not support.

Catches distinct function codes that are unknown to the standard or refused as illegal, however slowly they come:
distinct codes are counted, not rates. Blind to a scan whose every code is supported, and where no answers are captured
(codes that the standard does not define are then still seen). Technique: T0888.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from detectors.attacks.scan import Refusal, Scans
from detectors.contract import Scene
from detectors.finding import Finding
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch

ENOUGH = 3  # distinct codes: one may be a master's probe at start, two a mistake
WINDOW_NS = 24 * 3600 * 10**9

ILLEGAL_FUNCTION = 0x01  # Modbus exception code, V1.1b3 section 7
NO_FUNCTION = 0x01  # DNP3 IIN2.0, function code not supported
NOT_SUPPORTED = {
    Protocol.S7COMM: frozenset(
        {0x8104, 0x8404, 0x8500}
    ),  # error class << 8 | code: no such service, PDU not acceptable
    Protocol.ENIP: frozenset({0x08}),  # CIP general status: service not supported
    Protocol.OPCUA: frozenset({0x800B}),  # BadServiceUnsupported
    Protocol.BACNET: frozenset({0x10000009}),  # reject: unrecognized service
}


def unsupported(refusal: Refusal) -> bool:
    """Whether a refusal says that the device does not know the function."""
    if refusal.protocol == Protocol.MODBUS:
        return refusal.status == ILLEGAL_FUNCTION
    if refusal.protocol == Protocol.DNP3:
        return bool(refusal.status & NO_FUNCTION)
    return refusal.status in NOT_SUPPORTED.get(Protocol(refusal.protocol), ())


class FunctionScan:
    """See the module."""

    name = "function_scan"

    def __init__(self) -> None:
        self._scans = Scans(
            "scan.function",
            enough=ENOUGH,
            window_ns=WINDOW_NS,
            counts=lambda refusal: refusal.unknown or unsupported(refusal),
            what=lambda refusal: (refusal.function, refusal.subfunction),
            shown=_shown,
        )

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._scans.observe(batch, scene)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        return self._scans.flush(scene)


def _shown(refusal: Refusal) -> str:
    if refusal.function < 0:
        return f"0x{refusal.subfunction >> 8 & 0xFF:02X}/0x{refusal.subfunction & 0xFF:02X}"
    if refusal.protocol == Protocol.ENIP:
        return f"0x{refusal.subfunction if refusal.subfunction >= 0 else refusal.function:02X}"
    sub = f"/{refusal.subfunction}" if refusal.subfunction >= 0 else ""
    return f"0x{refusal.function:02X}" if refusal.protocol == Protocol.S7COMM else f"{refusal.function}{sub}"
