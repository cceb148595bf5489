"""Codes and names of the Common Industrial Protocol, and which verb of `event.action` each service is.

Sources: The CIP Networks Library, Volume 1 (common services: Appendix A; general status: Appendix B; objects: chapter
5; Connection Manager and its extended status: 3-5), Volume 2 (EtherNet/IP). What Rockwell Automation adds: publication
1756-PM020 (Logix data access: services and classes of tags). Classes that no publication describes are marked
`observed`: their meaning is what engineering software was seen to do with them.
"""

from __future__ import annotations

from sensor.operations import Verb

RESPONSE_BIT = 0x80

GET_ATTRIBUTES_ALL, SET_ATTRIBUTES_ALL, GET_ATTRIBUTE_LIST, SET_ATTRIBUTE_LIST = 0x01, 0x02, 0x03, 0x04
RESET, START, STOP, CREATE, DELETE, MULTIPLE_SERVICE_PACKET = 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A
GET_ATTRIBUTE_SINGLE, SET_ATTRIBUTE_SINGLE = 0x0E, 0x10
READ_TAG, WRITE_TAG, READ_MODIFY_WRITE, READ_FRAGMENTED, WRITE_FRAGMENTED = 0x4C, 0x4D, 0x4E, 0x52, 0x53
EXECUTE_PCCC = 0x4B
FORWARD_CLOSE, UNCONNECTED_SEND, FORWARD_OPEN, LARGE_FORWARD_OPEN = 0x4E, 0x52, 0x54, 0x5B

# Volume 1, appendix A: services that mean the same for every object.
COMMON_SERVICES: dict[int, tuple[str, Verb]] = {
    0x01: ("get_attributes_all", Verb.READ),
    0x02: ("set_attributes_all", Verb.WRITE),
    0x03: ("get_attribute_list", Verb.READ),
    0x04: ("set_attribute_list", Verb.WRITE),
    0x05: ("reset", Verb.CONFIGURE),  # of an object; of the Identity object it restarts the device, see OBJECT_SERVICES
    0x06: ("start", Verb.START),
    0x07: ("stop", Verb.STOP),
    0x08: ("create", Verb.CONFIGURE),
    0x09: ("delete", Verb.CONFIGURE),
    0x0A: ("multiple_service_packet", Verb.SESSION),  # its verb is that of the weightiest service in it
    0x0D: ("apply_attributes", Verb.CONFIGURE),
    0x0E: ("get_attribute_single", Verb.READ),
    0x10: ("set_attribute_single", Verb.WRITE),
    0x11: ("find_next_object_instance", Verb.IDENTIFY),
    0x14: ("error_response", Verb.REPORT),
    0x15: ("restore", Verb.CONFIGURE),
    0x16: ("save", Verb.CONFIGURE),
    0x17: ("no_operation", Verb.DIAGNOSE),
    0x18: ("get_member", Verb.READ),
    0x19: ("set_member", Verb.WRITE),
    0x1A: ("insert_member", Verb.CONFIGURE),
    0x1B: ("remove_member", Verb.CONFIGURE),
    0x1C: ("group_sync", Verb.TIME_SET),
    0x1D: ("get_connection_point_member_list", Verb.IDENTIFY),
}

IDENTITY, MESSAGE_ROUTER, ASSEMBLY, CONNECTION, CONNECTION_MANAGER, FILE = 0x01, 0x02, 0x04, 0x05, 0x06, 0x37
TIME_SYNC, PCCC, PORT, TCPIP_INTERFACE, ETHERNET_LINK = 0x43, 0x67, 0xF4, 0xF5, 0xF6
PROGRAM, LOGIX_69, ROUTINE_CODE, SYMBOL, TEMPLATE, LOGIX_6D, LOGIX_70 = 0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x70
TREND, LOGIX_74, LOGIX_7E, WALL_CLOCK, CONTROLLER, CHANGE_LOG, TAG_LIST = 0x72, 0x74, 0x7E, 0x8B, 0x8E, 0xAC, 0xB2

CLASSES: dict[int, str] = {
    0x01: "identity",
    0x02: "message_router",
    0x03: "devicenet",
    0x04: "assembly",
    0x05: "connection",
    0x06: "connection_manager",
    0x07: "register",
    0x08: "discrete_input_point",
    0x09: "discrete_output_point",
    0x0A: "analog_input_point",
    0x0B: "analog_output_point",
    0x0E: "presence_sensing",
    0x0F: "parameter",
    0x10: "parameter_group",
    0x12: "group",
    0x1D: "discrete_input_group",
    0x1E: "discrete_output_group",
    0x1F: "discrete_group",
    0x20: "analog_input_group",
    0x21: "analog_output_group",
    0x22: "analog_group",
    0x23: "position_sensor",
    0x24: "position_controller_supervisor",
    0x25: "position_controller",
    0x26: "block_sequencer",
    0x27: "command_block",
    0x28: "motor_data",
    0x29: "control_supervisor",
    0x2A: "ac_dc_drive",
    0x2B: "acknowledge_handler",
    0x2C: "overload",
    0x2D: "softstart",
    0x2E: "selection",
    0x30: "s_device_supervisor",
    0x35: "trip_point",
    0x37: "file",
    0x39: "safety_supervisor",
    0x3A: "safety_validator",
    0x41: "event_log",
    0x42: "motion_device_axis",
    0x43: "time_sync",
    0x44: "modbus",
    0x45: "originator_connection_list",
    0x46: "modbus_serial_link",
    0x47: "device_level_ring",
    0x48: "qos",
    0x4D: "target_connection_list",
    0x4E: "base_energy",
    0x4F: "electrical_energy",
    0x52: "snmp",
    0x53: "power_management",
    0x54: "rstp_bridge",
    0x55: "rstp_port",
    0x5D: "cip_security",
    0x5E: "ethernet_ip_security",
    0x5F: "certificate_management",
    0x67: "pccc",
    0x68: "program",
    0x6A: "routine_code",  # observed: source text of routines and the I/O tree is read from and written to it
    0x6B: "symbol",
    0x6C: "template",
    0x72: "trend",  # observed: collections of tags that are read together, made and cleared by who watches
    0x8B: "wall_clock_time",
    0x8E: "controller",  # observed: start and stop change between run and program mode
    0xAC: "change_log",
    0xB2: "tag_list",  # observed: made by operator stations, read as a whole
    0xF0: "controlnet",
    0xF1: "controlnet_keeper",
    0xF2: "controlnet_scheduling",
    0xF3: "connection_configuration",
    0xF4: "port",
    0xF5: "tcp_ip_interface",
    0xF6: "ethernet_link",
    0xF7: "componet_link",
    0xF8: "componet_repeater",
}

# Services from 0x4B on mean what the object says (Volume 1, 4-8); some common services are worth another verb there.
OBJECT_SERVICES: dict[int, dict[int, tuple[str, Verb]]] = {
    IDENTITY: {
        GET_ATTRIBUTES_ALL: ("get_attributes_all", Verb.IDENTIFY),
        GET_ATTRIBUTE_LIST: ("get_attribute_list", Verb.IDENTIFY),
        GET_ATTRIBUTE_SINGLE: ("get_attribute_single", Verb.IDENTIFY),
        RESET: ("reset", Verb.RESTART),
        0x4B: ("flash_leds", Verb.DIAGNOSE),
    },
    CONNECTION_MANAGER: {
        FORWARD_CLOSE: ("forward_close", Verb.SESSION),
        UNCONNECTED_SEND: ("unconnected_send", Verb.SESSION),  # of its own only where what it carries is not there
        FORWARD_OPEN: ("forward_open", Verb.SESSION),
        0x56: ("get_connection_data", Verb.DIAGNOSE),
        0x57: ("search_connection_data", Verb.DIAGNOSE),
        0x5A: ("get_connection_owner", Verb.DIAGNOSE),
        LARGE_FORWARD_OPEN: ("large_forward_open", Verb.SESSION),
    },
    FILE: {
        0x4B: ("initiate_upload", Verb.FILE),
        0x4C: ("initiate_download", Verb.FILE),
        0x4D: ("initiate_partial_read", Verb.FILE),
        0x4E: ("initiate_partial_write", Verb.FILE),
        0x4F: ("upload_transfer", Verb.FILE),
        0x50: ("download_transfer", Verb.FILE),
        0x51: ("clear_file", Verb.FILE),
    },
    PCCC: {EXECUTE_PCCC: ("execute_pccc", Verb.UNKNOWN)},  # its verb is that of the command in it
    MESSAGE_ROUTER: {0x4B: ("symbolic_translation", Verb.IDENTIFY)},
    PROGRAM: {CREATE: ("create", Verb.PROGRAM_DOWN), DELETE: ("delete", Verb.PROGRAM_DOWN)},
    LOGIX_69: {CREATE: ("create", Verb.PROGRAM_DOWN), DELETE: ("delete", Verb.PROGRAM_DOWN)},
    ROUTINE_CODE: {
        CREATE: ("create", Verb.PROGRAM_DOWN),
        DELETE: ("delete", Verb.PROGRAM_DOWN),
        0x4F: ("upload_fragment", Verb.PROGRAM_UP),
        0x50: ("download_fragment", Verb.PROGRAM_DOWN),
    },
    SYMBOL: {
        CREATE: ("create", Verb.PROGRAM_DOWN),
        DELETE: ("delete", Verb.PROGRAM_DOWN),
        0x55: ("get_instance_attribute_list", Verb.IDENTIFY),
    },
    TEMPLATE: {
        CREATE: ("create", Verb.PROGRAM_DOWN),
        DELETE: ("delete", Verb.PROGRAM_DOWN),
        READ_TAG: ("read_template", Verb.IDENTIFY),
        GET_ATTRIBUTE_LIST: ("get_attribute_list", Verb.IDENTIFY),
    },
    LOGIX_6D: {CREATE: ("create", Verb.PROGRAM_DOWN), DELETE: ("delete", Verb.PROGRAM_DOWN)},
    LOGIX_70: {CREATE: ("create", Verb.PROGRAM_DOWN), DELETE: ("delete", Verb.PROGRAM_DOWN)},
    LOGIX_7E: {CREATE: ("create", Verb.PROGRAM_DOWN), DELETE: ("delete", Verb.PROGRAM_DOWN)},
    TREND: {
        CREATE: ("create", Verb.SESSION),
        DELETE: ("delete", Verb.SESSION),
        RESET: ("reset", Verb.SESSION),
        0x4B: ("add_to_trend", Verb.SESSION),
        READ_TAG: ("read_trend", Verb.READ),
    },
    LOGIX_74: {0x4B: ("acquire_edit_lock", Verb.SESSION), 0x4C: ("release_edit_lock", Verb.SESSION)},  # observed
    WALL_CLOCK: {
        SET_ATTRIBUTES_ALL: ("set_attributes_all", Verb.TIME_SET),
        SET_ATTRIBUTE_LIST: ("set_attribute_list", Verb.TIME_SET),
        SET_ATTRIBUTE_SINGLE: ("set_attribute_single", Verb.TIME_SET),
    },
    TAG_LIST: {
        CREATE: ("create", Verb.SESSION),
        DELETE: ("delete", Verb.SESSION),
        READ_TAG: ("read_tag_list", Verb.READ),
        0x4E: ("add_tag", Verb.SESSION),
    },
}
TAG_SERVICES: dict[int, tuple[str, Verb]] = {  # 1756-PM020: of tags, by name or by instance of the Symbol object
    READ_TAG: ("read_tag", Verb.READ),
    WRITE_TAG: ("write_tag", Verb.WRITE),
    READ_MODIFY_WRITE: ("read_modify_write_tag", Verb.WRITE),
    READ_FRAGMENTED: ("read_tag_fragmented", Verb.READ),
    WRITE_FRAGMENTED: ("write_tag_fragmented", Verb.WRITE),
}
# Setting attributes of these changes how the device is set up, not what the process does.
CONFIGURATION_CLASSES = frozenset({
    IDENTITY, MESSAGE_ROUTER, CONNECTION, CONNECTION_MANAGER, 0x44, 0x45, 0x46, 0x47, 0x48, 0x52, 0x54, 0x55, 0x5D,
    0x5E, 0x5F, PROGRAM, LOGIX_69, ROUTINE_CODE, SYMBOL, TEMPLATE, LOGIX_6D, LOGIX_70, LOGIX_7E, CONTROLLER, CHANGE_LOG,
    PORT, TCPIP_INTERFACE, ETHERNET_LINK, 0xF0, 0xF1, 0xF2, 0xF3, 0xF7, 0xF8,
})  # fmt: skip
_CLOCKS = (TIME_SYNC, WALL_CLOCK)

# From light to heavy: a packet of several services is named by the heaviest.
WEIGHT = (
    Verb.SESSION, Verb.DIAGNOSE, Verb.READ, Verb.IDENTIFY, Verb.REPORT, Verb.UNKNOWN, Verb.FILE, Verb.PROGRAM_UP,
    Verb.AUTHENTICATE, Verb.TIME_SET, Verb.WRITE, Verb.COMMAND, Verb.CONFIGURE, Verb.PROGRAM_DOWN, Verb.START,
    Verb.SILENCE, Verb.RESTART, Verb.STOP,
)  # fmt: skip

GENERAL_STATUS: dict[int, str] = {  # Volume 1, B-1
    0x00: "success",
    0x01: "connection_failure",
    0x02: "resource_unavailable",
    0x03: "invalid_parameter_value",
    0x04: "path_segment_error",
    0x05: "path_destination_unknown",
    0x06: "partial_transfer",
    0x07: "connection_lost",
    0x08: "service_not_supported",
    0x09: "invalid_attribute_value",
    0x0A: "attribute_list_error",
    0x0B: "already_in_requested_state",
    0x0C: "object_state_conflict",
    0x0D: "object_already_exists",
    0x0E: "attribute_not_settable",
    0x0F: "privilege_violation",
    0x10: "device_state_conflict",
    0x11: "reply_data_too_large",
    0x12: "fragmentation_of_a_primitive_value",
    0x13: "not_enough_data",
    0x14: "attribute_not_supported",
    0x15: "too_much_data",
    0x16: "object_does_not_exist",
    0x17: "fragmentation_sequence_not_in_progress",
    0x18: "no_stored_attribute_data",
    0x19: "store_operation_failure",
    0x1A: "request_packet_too_large",
    0x1B: "response_packet_too_large",
    0x1C: "missing_attribute_list_entry_data",
    0x1D: "invalid_attribute_value_list",
    0x1E: "embedded_service_error",
    0x1F: "vendor_specific_error",
    0x20: "invalid_parameter",
    0x21: "write_once_value_already_written",
    0x22: "invalid_reply_received",
    0x23: "buffer_overflow",
    0x24: "message_format_error",
    0x25: "key_failure_in_path",
    0x26: "path_size_invalid",
    0x27: "unexpected_attribute_in_list",
    0x28: "invalid_member_id",
    0x29: "member_not_settable",
    0x2A: "group_2_only_server_failure",
    0x2B: "unknown_modbus_error",
    0x2C: "attribute_not_gettable",
}
SUCCESS, PARTIAL_TRANSFER, SERVICE_NOT_SUPPORTED = 0x00, 0x06, 0x08

CONNECTION_STATUS: dict[int, str] = {  # Volume 1, 3-5.6: extended status of general status 1
    0x0100: "connection_in_use",
    0x0103: "transport_class_not_supported",
    0x0106: "ownership_conflict",
    0x0107: "connection_not_found",
    0x0109: "invalid_connection_size",
    0x0110: "device_not_configured",
    0x0111: "rpi_not_supported",
    0x0113: "out_of_connections",
    0x0114: "vendor_or_product_code_mismatch",
    0x0115: "device_type_mismatch",
    0x0116: "revision_mismatch",
    0x0117: "invalid_application_path",
    0x0119: "non_listen_only_connection_not_opened",
    0x011A: "target_out_of_connections",
    0x0203: "connection_timed_out",
    0x0204: "unconnected_request_timed_out",
    0x0205: "parameter_error_in_unconnected_request",
    0x0301: "no_buffer_memory",
    0x0311: "port_not_available",
    0x0312: "link_address_not_valid",
    0x0315: "invalid_segment_in_path",
    0x0316: "forward_close_path_mismatch",
}

DATA_TYPES: dict[int, tuple[str, int]] = {  # Volume 1, C-6.1: elementary types, octets of each
    0xC1: ("BOOL", 1),
    0xC2: ("SINT", 1),
    0xC3: ("INT", 2),
    0xC4: ("DINT", 4),
    0xC5: ("LINT", 8),
    0xC6: ("USINT", 1),
    0xC7: ("UINT", 2),
    0xC8: ("UDINT", 4),
    0xC9: ("ULINT", 8),
    0xCA: ("REAL", 4),
    0xCB: ("LREAL", 8),
    0xD1: ("BYTE", 1),
    0xD2: ("WORD", 2),
    0xD3: ("DWORD", 4),
    0xD4: ("LWORD", 8),
}
STRUCTURE = 0x02A0  # 1756-PM020: a handle of two octets follows
SIGNED = frozenset({0xC2, 0xC3, 0xC4, 0xC5})
REAL, LREAL = 0xCA, 0xCB

DEVICE_TYPES: dict[int, str] = {  # Volume 1, 6-7
    0x00: "generic_device",
    0x02: "ac_drive",
    0x03: "motor_overload",
    0x04: "limit_switch",
    0x05: "inductive_proximity_switch",
    0x06: "photoelectric_sensor",
    0x07: "general_purpose_discrete_io",
    0x09: "resolver",
    0x0C: "communications_adapter",
    0x0E: "programmable_logic_controller",
    0x10: "position_controller",
    0x13: "dc_drive",
    0x15: "contactor",
    0x16: "motor_starter",
    0x17: "soft_start",
    0x18: "human_machine_interface",
    0x1A: "mass_flow_controller",
    0x1B: "pneumatic_valves",
    0x1C: "vacuum_pressure_gauge",
    0x22: "encoder",
    0x23: "safety_discrete_io",
    0x25: "cip_motion_drive",
    0x2B: "generic_device_keyable",
    0x2C: "managed_switch",
}
VENDORS: dict[int, str] = {  # assigned by ODVA; only makers that are often met
    1: "Rockwell Automation/Allen-Bradley",
    26: "Festo",
    47: "Omron",
    57: "Pepperl+Fuchs",
    90: "HMS Industrial Networks",
    97: "Danfoss",
    108: "Beckhoff",
    161: "Mitsubishi Electric",
    243: "Schneider Electric",
    256: "Turck",
    283: "Hilscher",
    367: "Keyence",
    562: "Phoenix Contact",
    591: "Fanuc",
    678: "Cognex",
    808: "SICK",
    991: "Moxa",
}


def service(code: int, class_id: int | None, *, tag: bool) -> tuple[str, Verb]:
    """Name and verb of a service. class_id: the last class in the path, None without one; tag: the path names a tag."""
    if tag and code in TAG_SERVICES:
        return TAG_SERVICES[code]
    if class_id is not None and code in OBJECT_SERVICES.get(class_id, {}):
        return OBJECT_SERVICES[class_id][code]
    if class_id == SYMBOL and code in TAG_SERVICES:
        return TAG_SERVICES[code]
    if code in COMMON_SERVICES:
        name, verb = COMMON_SERVICES[code]
        if verb == Verb.WRITE and class_id in _CLOCKS:
            return name, Verb.TIME_SET
        if verb == Verb.WRITE and class_id in CONFIGURATION_CLASSES:
            return name, Verb.CONFIGURE
        return name, verb
    if 0x32 <= code <= 0x4A:
        return "vendor_specific", Verb.UNKNOWN
    return ("object_specific" if 0x4B <= code <= 0x63 else "reserved"), Verb.UNKNOWN
