"""What columns decide, by field: codes, and what is the same in all events of a behaviour.

A steady field is the same in all events of a behaviour; any other may change from one event to the next (values, times,
ports, lengths). tests/detectors/sigma/test_naive_matching.py holds this against every event of every capture at hand.
Nothing here needs the decoder: who only searches what was kept does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from detectors.sigma.tree import Node, weaker

# By `network.protocol`, the field that is the `function` column, and those in the `subfunction` column.
FUNCTION_FIELDS: Mapping[str, str] = {
    "modbus": "modbus.function_code",
    "s7comm": "s7comm.function",
    "dnp3": "dnp3.function_code",
    "iec104": "iec104.type",
    "s7comm_plus": "s7comm_plus.function",
    "enip": "enip.command",
}
SUBFUNCTION_FIELDS: Mapping[str, Mapping[str, Callable[[int], int]]] = {
    "enip": {"cip.service": lambda code: code},
    "opcua": {"opcua.service_id": lambda code: code},
    "bacnet": {"bacnet.service": lambda code: code},
    "modbus": {"modbus.subfunction_code": lambda code: code},
    "mms": {"mms.service_code": lambda code: code & 0xFF},
    "s7comm": {
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


def steady_fields(*, request: bool) -> frozenset[str]:
    """Fields that are the same in all events of a behaviour: of requests, or of all else."""
    return STEADY_REQUEST if request else STEADY


def by_behaviour(node: Node, fields: frozenset[str]) -> Node:
    """A condition over steady `fields` that holds for every event for which `node` may hold."""
    return weaker(node, lambda name, _: name in fields)
