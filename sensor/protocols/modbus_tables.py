"""Modbus: codes, names, verbs and limits.

Sources: MODBUS Application Protocol Specification V1.1b3 (MAP), sections 4.1 (sizes), 6 (functions) and 7 (exceptions);
PI-MBUS-300 for the functions that MAP annex A only reserves; MODBUS/TCP carries them all. UMAS, which Schneider
Electric sends in function 90, is not public: its sub-codes are as published by those who studied it on the wire.
"""

from __future__ import annotations

from sensor.operations import Verb

READ_COILS = 1
READ_DISCRETE_INPUTS = 2
READ_HOLDING_REGISTERS = 3
READ_INPUT_REGISTERS = 4
WRITE_SINGLE_COIL = 5
WRITE_SINGLE_REGISTER = 6
READ_EXCEPTION_STATUS = 7
DIAGNOSTICS = 8
GET_COMM_EVENT_COUNTER = 11
GET_COMM_EVENT_LOG = 12
WRITE_MULTIPLE_COILS = 15
WRITE_MULTIPLE_REGISTERS = 16
REPORT_SERVER_ID = 17
READ_FILE_RECORD = 20
WRITE_FILE_RECORD = 21
MASK_WRITE_REGISTER = 22
READ_WRITE_REGISTERS = 23
READ_FIFO_QUEUE = 24
ENCAPSULATED_INTERFACE = 43
UMAS = 90

# Function code -> (name, verb). A diagnostic, an encapsulated interface or UMAS has its verb from the finer code, where
# that is known: see SUBFUNCTION_VERBS.
FUNCTIONS: dict[int, tuple[str, Verb]] = {
    READ_COILS: ("read_coils", Verb.READ),
    READ_DISCRETE_INPUTS: ("read_discrete_inputs", Verb.READ),
    READ_HOLDING_REGISTERS: ("read_holding_registers", Verb.READ),
    READ_INPUT_REGISTERS: ("read_input_registers", Verb.READ),
    WRITE_SINGLE_COIL: ("write_single_coil", Verb.WRITE),
    WRITE_SINGLE_REGISTER: ("write_single_register", Verb.WRITE),
    READ_EXCEPTION_STATUS: ("read_exception_status", Verb.DIAGNOSE),
    DIAGNOSTICS: ("diagnostics", Verb.DIAGNOSE),
    GET_COMM_EVENT_COUNTER: ("get_comm_event_counter", Verb.DIAGNOSE),
    GET_COMM_EVENT_LOG: ("get_comm_event_log", Verb.DIAGNOSE),
    WRITE_MULTIPLE_COILS: ("write_multiple_coils", Verb.WRITE),
    WRITE_MULTIPLE_REGISTERS: ("write_multiple_registers", Verb.WRITE),
    REPORT_SERVER_ID: ("report_server_id", Verb.IDENTIFY),
    READ_FILE_RECORD: ("read_file_record", Verb.FILE),
    WRITE_FILE_RECORD: ("write_file_record", Verb.FILE),
    MASK_WRITE_REGISTER: ("mask_write_register", Verb.WRITE),
    READ_WRITE_REGISTERS: ("read_write_multiple_registers", Verb.WRITE),
    READ_FIFO_QUEUE: ("read_fifo_queue", Verb.READ),
    ENCAPSULATED_INTERFACE: ("encapsulated_interface_transport", Verb.UNKNOWN),
    UMAS: ("umas", Verb.UNKNOWN),
}

# Names of codes that the standard reserves for old products and does not define: a name, no verb.
RESERVED_FUNCTIONS = {
    9: "program_484",
    10: "poll_484",
    13: "program_controller",
    14: "poll_controller",
    18: "program_584",
    19: "reset_communications_link",
    41: "reserved_41",
    42: "reserved_42",
    91: "reserved_91",
    125: "firmware_replacement",
    126: "program_584_984",
    127: "report_local_address",
}
USER_DEFINED = (*range(65, 73), *range(100, 111))  # MAP 5.1: what they mean is between the two who speak

DIAGNOSTIC_RESTART = 1
DIAGNOSTIC_FORCE_LISTEN_ONLY = 4
DIAGNOSTIC_COUNTERS = range(11, 19)
DIAGNOSTIC_NAMES = {
    0: "return_query_data",
    DIAGNOSTIC_RESTART: "restart_communications",
    2: "return_diagnostic_register",
    3: "change_ascii_input_delimiter",
    DIAGNOSTIC_FORCE_LISTEN_ONLY: "force_listen_only_mode",
    10: "clear_counters_and_diagnostic_register",
    11: "return_bus_message_count",
    12: "return_bus_communication_error_count",
    13: "return_bus_exception_error_count",
    14: "return_server_message_count",
    15: "return_server_no_response_count",
    16: "return_server_nak_count",
    17: "return_server_busy_count",
    18: "return_bus_character_overrun_count",
    20: "clear_overrun_counter_and_flag",
}

CANOPEN = 13
DEVICE_IDENTIFICATION = 14
MEI_NAMES = {CANOPEN: "canopen_general_reference", DEVICE_IDENTIFICATION: "read_device_identification"}

# Schneider's "upload" writes the program into the controller and its "download" reads it out: the other way round than
# in ATT&CK and in everybody else's words. So these names say between whom the program moves.
UMAS_NAMES: dict[int, tuple[str, Verb]] = {
    0x01: ("initialise_communication", Verb.SESSION),
    0x02: ("read_controller_id", Verb.IDENTIFY),
    0x03: ("read_project_information", Verb.IDENTIFY),
    0x04: ("read_controller_information", Verb.IDENTIFY),
    0x06: ("read_card_information", Verb.IDENTIFY),
    0x0A: ("echo", Verb.DIAGNOSE),
    0x10: ("take_reservation", Verb.SESSION),
    0x11: ("release_reservation", Verb.SESSION),
    0x12: ("keep_alive", Verb.SESSION),
    0x20: ("read_memory_block", Verb.READ),
    0x22: ("read_variables", Verb.READ),
    0x23: ("write_variables", Verb.WRITE),
    0x24: ("read_coils_and_registers", Verb.READ),
    0x25: ("write_coils_and_registers", Verb.WRITE),
    0x30: ("begin_program_transfer_to_controller", Verb.PROGRAM_DOWN),
    0x31: ("program_block_to_controller", Verb.PROGRAM_DOWN),
    0x32: ("end_program_transfer_to_controller", Verb.PROGRAM_DOWN),
    0x33: ("begin_program_transfer_from_controller", Verb.PROGRAM_UP),
    0x34: ("program_block_from_controller", Verb.PROGRAM_UP),
    0x35: ("end_program_transfer_from_controller", Verb.PROGRAM_UP),
    0x39: ("read_ethernet_master_data", Verb.READ),
    0x40: ("start_controller", Verb.START),
    0x41: ("stop_controller", Verb.STOP),
    0x50: ("monitor_controller", Verb.READ),
    0x58: ("check_controller", Verb.DIAGNOSE),
    0x70: ("read_io_object", Verb.READ),
    0x71: ("write_io_object", Verb.WRITE),
    0x73: ("read_module_status", Verb.DIAGNOSE),
}
UMAS_OK = 0xFE
UMAS_ERROR = 0xFD

SUBFUNCTION_NAMES: dict[int, dict[int, str]] = {
    DIAGNOSTICS: DIAGNOSTIC_NAMES,
    ENCAPSULATED_INTERFACE: MEI_NAMES,
    UMAS: {code: name for code, (name, _) in UMAS_NAMES.items()},
}
SUBFUNCTION_VERBS: dict[tuple[int, int], Verb] = {
    **{(DIAGNOSTICS, code): Verb.DIAGNOSE for code in DIAGNOSTIC_NAMES},
    (DIAGNOSTICS, DIAGNOSTIC_RESTART): Verb.RESTART,
    (DIAGNOSTICS, DIAGNOSTIC_FORCE_LISTEN_ONLY): Verb.SILENCE,
    (ENCAPSULATED_INTERFACE, CANOPEN): Verb.CONFIGURE,  # reaches through to the object dictionary of a CANopen device
    (ENCAPSULATED_INTERFACE, DEVICE_IDENTIFICATION): Verb.IDENTIFY,
    **{(UMAS, code): verb for code, (_, verb) in UMAS_NAMES.items()},
}


def verb(function: int, subfunction: int | None) -> Verb:
    """What a function does, as finely as its sub-code is known."""
    if subfunction is not None and (function, subfunction) in SUBFUNCTION_VERBS:
        return SUBFUNCTION_VERBS[function, subfunction]
    return FUNCTIONS[function][1] if function in FUNCTIONS else Verb.UNKNOWN


def function_name(function: int) -> str:
    """The standard's name of a function code, in snake case; else "user_defined", "reserved_..." or "undefined"."""
    if function in FUNCTIONS:
        return FUNCTIONS[function][0]
    if function in USER_DEFINED:
        return "user_defined"
    return RESERVED_FUNCTIONS.get(function, "undefined")


EXCEPTIONS = {
    1: "illegal_function",
    2: "illegal_data_address",
    3: "illegal_data_value",
    4: "server_device_failure",
    5: "acknowledge",
    6: "server_device_busy",
    7: "negative_acknowledge",  # PI-MBUS-300; not in MAP any more
    8: "memory_parity_error",
    10: "gateway_path_unavailable",
    11: "gateway_target_device_failed_to_respond",
}

# MAP 6.21: objects of the device identification that the standard names.
DEVICE_OBJECTS = {
    0: "vendor_name",
    1: "product_code",
    2: "major_minor_revision",
    3: "vendor_url",
    4: "product_name",
    5: "model_name",
    6: "user_application_name",
}
DEVICE_ID_CODES = {1: "basic", 2: "regular", 3: "extended", 4: "individual"}

# MAP 6.10: bits of the bytes in the communication event log.
_RECEIVED = {1: "communication_error", 4: "character_overrun", 5: "in_listen_only_mode", 6: "broadcast"}
_SENT = {
    0: "read_exception",
    1: "abort_exception",
    2: "busy_exception",
    3: "program_nak_exception",
    4: "write_timeout",
    5: "in_listen_only_mode",
}


def comm_event(event: int) -> str:
    """Name of one byte of the communication event log: what happened, and the bits that are set with it."""
    if event & 0x80:
        return " ".join(["received", *(name for bit, name in _RECEIVED.items() if event >> bit & 1)])
    if event & 0x40:
        return " ".join(["sent", *(name for bit, name in _SENT.items() if event >> bit & 1)])
    return {0x00: "communication_restart", 0x04: "entered_listen_only_mode"}.get(event, f"undefined 0x{event:02x}")


# MAP 6.1 to 6.18: the most that one request may ask for or write.
MAX_QUANTITY = {
    READ_COILS: 2000,
    READ_DISCRETE_INPUTS: 2000,
    READ_HOLDING_REGISTERS: 125,
    READ_INPUT_REGISTERS: 125,
    WRITE_MULTIPLE_COILS: 1968,
    WRITE_MULTIPLE_REGISTERS: 123,
    READ_WRITE_REGISTERS: 125,
}
MAX_QUANTITY_WRITTEN = 121  # of function 23
MAX_FIFO_COUNT = 31
FILE_REFERENCE_TYPE = 6
MAX_FILE_RECORD = 9999
