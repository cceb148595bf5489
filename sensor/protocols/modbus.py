"""Modbus over TCP and UDP: the MBAP header and the function codes in it.

Sources: MODBUS Application Protocol Specification V1.1b3 (MAP); MODBUS Messaging on TCP/IP Implementation Guide V1.0b
(TCP guide), section 3.1. Function 90 carries Schneider Electric's UMAS: see modbus_tables.py. `frame`, `probe` and
`read` are compiled and stand in modbus_kernel.py; serial frames without this header are read by modbus_rtu.py. Both
framings share the reading of the PDU: modbus_pdu.py (compiled) and modbus_explain.py (full depth).
"""

from __future__ import annotations

from typing import Any

from sensor.decode.pdu import Kind
from sensor.protocols.modbus_explain import explain_pdu
from sensor.protocols.modbus_kernel import HEADER_BYTES, alone, frame, probe, proof, read

__all__ = ["alone", "explain", "frame", "probe", "proof", "read"]


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """Every field of one ADU, named as in sensor/schema.py.

    pdu: the ADU from the transaction id. kind: whether it was sent to the server or by it. request: the ADU that a
    response answers, where it is known: it tells the address of what was read. Never raises.
    """
    if len(pdu) <= HEADER_BYTES:
        return {"anomalies": ["length"]}
    fields: dict[str, Any] = {
        "modbus.transaction_id": int.from_bytes(pdu[0:2], "big"),
        "modbus.unit_id": pdu[6],
    }
    asked = request[HEADER_BYTES:] if request is not None else None
    fields = explain_pdu(fields, pdu[HEADER_BYTES:], kind, asked)
    if int.from_bytes(pdu[4:6], "big") + 6 != len(pdu) and "length" not in fields.get("anomalies", ()):
        fields["anomalies"] = ["length", *fields.get("anomalies", ())]
    return fields
