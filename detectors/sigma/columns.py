"""Which fields columns decide: most events are told apart by their codes and are never described.

Of a request the codes in the columns say what stands in its code fields, so that a condition over them is decided once
for each combination of codes. A steady field is the same in all events of a behaviour; any other may change from one
event to the next (values, times, ports, lengths), and rules that ask for one are evaluated event by event.
tests/detectors/sigma/test_columns.py holds this against every event of every capture at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from detectors.sigma.tree import Node, weaker
from sensor.decode.pdu import ABSENT, Kind, Outcome, Protocol
from sensor.view import EXPLAINERS

FUNCTION_FIELDS: Mapping[int, str] = {  # that are the `function` column
    Protocol.MODBUS: "modbus.function_code",
    Protocol.MODBUS_RTU: "modbus.function_code",
    Protocol.S7COMM: "s7comm.function",
    Protocol.DNP3: "dnp3.function_code",
    Protocol.IEC104: "iec104.type",
    Protocol.S7COMM_PLUS: "s7comm_plus.function",
    Protocol.ENIP: "enip.command",
}
SUBFUNCTION_FIELDS: Mapping[int, Mapping[str, Callable[[int], int]]] = {  # that are in the `subfunction` column
    Protocol.ENIP: {"cip.service": lambda code: code},
    Protocol.OPCUA: {"opcua.service_id": lambda code: code},
    Protocol.BACNET: {"bacnet.service": lambda code: code},
    Protocol.MODBUS: {"modbus.subfunction_code": lambda code: code},
    Protocol.MODBUS_RTU: {"modbus.subfunction_code": lambda code: code},
    Protocol.MMS: {"mms.service_code": lambda code: code & 0xFF},
    Protocol.S7COMM: {
        "s7comm.userdata.group": lambda code: code >> 8,
        "s7comm.userdata.subfunction": lambda code: code & 0xFF,
    },
}
EXACT = frozenset({"network.protocol", "event.kind", "event.outcome"})
CODES = frozenset(FUNCTION_FIELDS.values()).union(*(fields.keys() for fields in SUBFUNCTION_FIELDS.values()))

# What protocol, codes and station of a request say, so that no two requests with the same ones differ in it.
STATIONS = frozenset({"modbus.unit_id", "dnp3.link.source", "dnp3.link.destination", "iec104.common_address"})
KEYED = EXACT | CODES | STATIONS | {
    "iec104.control", "iec104.cause_code", "iec104.select", "iec104.freeze", "mms.purpose",  "bacnet.apdu_type",
}  # fmt: skip
# What is the same in all events of a behaviour: of requests whatever makes a behaviour another one; answers and what a
# device sends unasked carry contents of their own.
STEADY = EXACT | CODES | STATIONS | {
    "event.action", "source.ip", "source.mac", "destination.ip", "destination.mac", "network.transport",
    "modbus.function", "modbus.exception_code", "modbus.exception",
    "s7comm.rosctr", "s7comm.rosctr_name", "s7comm.function_name", "s7comm.mode", "s7comm.mode_name",
    "s7comm.error_class", "s7comm.error_code", "s7comm.error_number", "s7comm.error_name",
    "dnp3.function", "iec104.type_name", "iec104.cause_code", "iec104.cause", "iec104.format", "iec104.negative",
    "mms.service", "mms.pdu", "mms.pdu_code", "goose.simulation", "goose.needs_commissioning",
    "opcua.service", "opcua.status", "opcua.status_name", "cip.service_name", "cip.status", "cip.status_name",
    "bacnet.apdu_type", "bacnet.apdu_type_name", "bacnet.service_name", "bacnet.bvlc_function",
    "s7comm_plus.function_name",
}  # fmt: skip
STEADY_REQUEST = STEADY | KEYED | {
    "modbus.subfunction", "modbus.address", "modbus.quantity", "modbus.write.address", "modbus.write.quantity",
    "s7comm.service", "s7comm.service_name", "s7comm.items", "s7comm.item_count", "s7comm.areas", "s7comm.db_numbers",
    "dnp3.objects", "dnp3.file.mode", "dnp3.file.name", "iec104.file.operation", "iec104.addresses",
    "iec104.originator", "iec104.object_count",
    "cip.class", "cip.class_name", "cip.instance", "cip.path", "cip.contained.actions", "cip.contained.services",
    "cip.connection.transport_class", "opcua.security_mode", "opcua.nodes", "mms.variables",
    "bacnet.object", "bacnet.object_type", "bacnet.object_instance", "bacnet.property", "bacnet.property_name",
    "bacnet.properties", "bacnet.network_message", "bacnet.password_given", "bacnet.state", "bacnet.state_name",
}  # fmt: skip


class Codes(NamedTuple):
    """What the columns say about a kind of event. function, subfunction: None where they are left open."""

    protocol: int
    kind: int
    outcome: int
    function: int | None = None
    subfunction: int | None = None

    def fields(self) -> dict[str, Any]:
        """The fields that follow, as a description would give them."""
        known: dict[str, Any] = {
            "network.protocol": EXPLAINERS[self.protocol][0],
            "event.kind": Kind(self.kind).name.lower(),
            "event.outcome": Outcome(self.outcome).name.lower(),
        }
        if self.kind == Kind.RESPONSE:  # its codes are those of its request
            return known
        if self.function is not None and self.function != ABSENT and self.protocol in FUNCTION_FIELDS:
            known[FUNCTION_FIELDS[self.protocol]] = self.function
        grouped = self.protocol == Protocol.S7COMM and self.function != ABSENT  # user data has no function
        if self.subfunction is not None and self.subfunction != ABSENT and not grouped:
            for name, part in SUBFUNCTION_FIELDS.get(self.protocol, {}).items():
                known[name] = part(self.subfunction)
        return known

    def open(self) -> frozenset[str]:
        """Code fields about which nothing is known."""
        if self.kind == Kind.RESPONSE:
            return CODES
        unknown: set[str] = set()
        if self.function is None:
            unknown.update(FUNCTION_FIELDS.values())
        if self.function is None or self.subfunction is None:
            unknown.update(*(fields.keys() for fields in SUBFUNCTION_FIELDS.values()))
        return frozenset(unknown)


def by_codes(node: Node, unknown: frozenset[str]) -> Node:
    """A condition over code fields that holds for every event for which `node` may hold.

    A code in a column does not say that the field is there, for the PDU may be cut: so nothing follows below a "not".
    """
    return weaker(node, lambda name, positive: name in EXACT or (positive and name in CODES and name not in unknown))


def steady_fields(kind: int) -> frozenset[str]:
    """Fields that are the same in all events of a behaviour whose events are of this kind."""
    return STEADY_REQUEST if kind == Kind.REQUEST else STEADY


def by_behaviour(node: Node, fields: frozenset[str]) -> Node:
    """A condition over steady `fields` that holds for every event for which `node` may hold."""
    return weaker(node, lambda name, _: name in fields)
