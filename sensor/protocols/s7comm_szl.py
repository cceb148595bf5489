"""System status lists (SZL) of S7 CPUs: what a CPU tells about itself, read by user data group 4, sub-function 1.

Source: Siemens "System Software for S7-300/400, System and Standard Functions", the chapter on system status lists. An
id is module class (4 bits), number of the extract (4 bits), number of the list (8 bits).
"""

from __future__ import annotations

from typing import Any

from sensor.protocols.s7comm_errors import EVENT_CLASSES, EVENTS
from sensor.protocols.s7comm_items import Octets, printable

LISTS = {
    0x00: "szl_ids",
    0x11: "module_identification",
    0x12: "cpu_characteristics",
    0x13: "user_memory_areas",
    0x14: "system_areas",
    0x15: "block_types",
    0x16: "priority_classes",
    0x17: "permitted_sdbs",
    0x18: "io_configuration",
    0x19: "led_status",
    0x1C: "component_identification",
    0x21: "interrupt_assignment",
    0x22: "interrupt_status",
    0x23: "priority_class_status",
    0x24: "operating_modes",
    0x25: "process_image_assignment",
    0x31: "communication_capabilities",
    0x32: "communication_status",
    0x33: "diagnosis_subscribers",
    0x37: "ethernet_details",
    0x71: "h_system_group",
    0x74: "led_status",
    0x75: "switched_dp_slaves",
    0x81: "start_information",
    0x82: "start_events",
    0x90: "dp_master_systems",
    0x91: "module_status",
    0x92: "rack_status",
    0x94: "station_status",
    0x95: "dp_master_details",
    0x96: "module_status_pn_dp",
    0xA0: "diagnostic_buffer",
    0xB1: "module_diagnosis_record_0",
    0xB2: "module_diagnosis_record_1_by_slot",
    0xB3: "module_diagnosis_record_1_by_address",
    0xB4: "dp_slave_diagnosis",
}

# Records of list 0x1C by the low octet of their index.
COMPONENTS = {
    1: "plc_name",
    2: "name",
    3: "plant",
    4: "copyright",
    5: "serial_number",
    7: "type",
    8: "memory_card_serial",
    9: "manufacturer",
    10: "oem",
    11: "location",
}
OPERATING_MODES = {
    1: "stop_update",
    2: "stop_memory_reset",
    3: "stop_self_initialisation",
    4: "stop",
    5: "startup_cold_restart",
    7: "startup_warm_restart",
    6: "startup_hot_restart",
    8: "run",
    9: "run_redundant",
    10: "hold",
    11: "link_up",
    12: "update",
    13: "defective",
    14: "self_test",
    15: "no_power",
}
KEY_POSITIONS = {0: "undefined", 1: "run", 2: "run_p", 3: "stop", 4: "memory_reset"}


def list_name(szl_id: int) -> str:
    """Name of the list of an SZL id."""
    return LISTS.get(szl_id & 0xFF, "unknown")


def event_name(event_id: int) -> str:
    """Name of a diagnostic event, otherwise the name of its class."""
    return EVENTS.get(event_id) or EVENT_CLASSES.get(event_id >> 12, "unknown")


def describe_request(octets: Octets, out: dict[str, Any]) -> None:
    """Id and index of a request or at the head of a response."""
    szl_id = octets.number(2)
    out["s7comm.szl.id"] = szl_id
    out["s7comm.szl.index"] = octets.number(2)
    out["s7comm.szl.name"] = list_name(szl_id)


def describe_response(octets: Octets, out: dict[str, Any]) -> None:
    """Head and records of the first PDU of a response. Records are read as far as they are whole."""
    describe_request(octets, out)
    if octets.left < 4:
        return  # a refusal repeats id and index at most
    length, count = octets.number(2), octets.number(2)
    out["s7comm.szl.record_length"] = length
    out["s7comm.szl.record_count"] = count
    number, extract = out["s7comm.szl.id"] & 0xFF, out["s7comm.szl.id"]
    events = []
    for _ in range(count if length else 0):
        if octets.left < length:
            break
        record = octets.take(length)
        if number == 0x11:
            _identification(record, out)
        elif number == 0x1C:
            _component(record, out)
        elif extract & 0xFFF == 0x424 and length >= 4:
            out["s7comm.operating_mode"] = record[3] & 0x0F
            out["s7comm.operating_mode_name"] = OPERATING_MODES.get(record[3] & 0x0F, "unknown")
        elif number == 0x32 and record[:2] == b"\0\x04" and length >= 10:
            _protection(record, out)
        elif number == 0xA0 and length >= 2:
            events.append(int.from_bytes(record[:2], "big"))
    if events:
        out["s7comm.diagnostic.buffer"] = [f"0x{event:04X} {event_name(event)}" for event in events]


def _identification(record: bytes, out: dict[str, Any]) -> None:
    """List 0x11: index, order number of 20 characters, type, two version words, which simulated CPUs leave out."""
    index, order_number = int.from_bytes(record[:2], "big"), printable(record[2:22])
    if index in (1, 6, 7) and order_number:
        out.setdefault("s7comm.module.order_number", order_number)
    if len(record) < 28:
        return
    if index in (1, 7) and record[24] == ord("V"):
        out["s7comm.module.firmware"] = f"V{record[25]}.{record[26]}.{record[27]}"
    elif index in (1, 6):
        out["s7comm.module.hardware"] = int.from_bytes(record[26:28], "big")


def _component(record: bytes, out: dict[str, Any]) -> None:
    """List 0x1C: index, whose low octet says what, and 32 octets of text (number 9: three words)."""
    name = COMPONENTS.get(record[1]) if len(record) > 2 else None
    if name == "manufacturer":
        out["s7comm.module.manufacturer"] = int.from_bytes(record[2:4], "big")
    elif name and printable(record[2:]):
        out[f"s7comm.module.{name}"] = printable(record[2:])


def _protection(record: bytes, out: dict[str, Any]) -> None:
    """List 0x32, index 4: level by the key switch, by password, valid level, position of the switch."""
    out["s7comm.protection.level"] = int.from_bytes(record[6:8], "big")
    position = int.from_bytes(record[8:10], "big")
    out["s7comm.protection.key_position"] = KEY_POSITIONS.get(position, "unknown")
