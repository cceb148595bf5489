"""S7comm codes and their names, as data.

Siemens never published the protocol. The codes come from captures, from the STEP 7 manuals where those print them
("System Software for S7-300/400, System and Standard Functions") and from what independent dissectors agree on. Names
of sub-functions differ between sources, so the code always stands beside the name. Names are ours, in snake case.
"""

from __future__ import annotations

from sensor.decode.pdu import ABSENT
from sensor.operations import Verb

# ROSCTR, remote operating service control: octet 1 of the header.
JOB, ACK, ACK_DATA, USERDATA = 1, 2, 3, 7
ROSCTR = {JOB: "job", ACK: "ack", ACK_DATA: "ack_data", USERDATA: "userdata"}

# Functions of jobs and their acknowledgements: first octet of the parameters.
READ_VARIABLE, WRITE_VARIABLE, SETUP_COMMUNICATION = 0x04, 0x05, 0xF0
REQUEST_DOWNLOAD, DOWNLOAD_BLOCK, DOWNLOAD_ENDED = 0x1A, 0x1B, 0x1C
START_UPLOAD, UPLOAD, END_UPLOAD = 0x1D, 0x1E, 0x1F
PI_SERVICE, PLC_STOP = 0x28, 0x29

FUNCTIONS: dict[int, tuple[str, Verb]] = {
    READ_VARIABLE: ("read_variable", Verb.READ),
    WRITE_VARIABLE: ("write_variable", Verb.WRITE),
    REQUEST_DOWNLOAD: ("request_download", Verb.PROGRAM_DOWN),
    DOWNLOAD_BLOCK: ("download_block", Verb.PROGRAM_DOWN),
    DOWNLOAD_ENDED: ("download_ended", Verb.PROGRAM_DOWN),
    START_UPLOAD: ("start_upload", Verb.PROGRAM_UP),
    UPLOAD: ("upload", Verb.PROGRAM_UP),
    END_UPLOAD: ("end_upload", Verb.PROGRAM_UP),
    PI_SERVICE: ("pi_service", Verb.COMMAND),  # the service's name says more: s7comm_services.PI_SERVICES
    PLC_STOP: ("plc_stop", Verb.STOP),
    SETUP_COMMUNICATION: ("setup_communication", Verb.SESSION),
}

# User data: the high two bits of the parameters' octet 5 are the type, the low six the group. Groups 0x20 and 0x3F show
# that the group is wider than the half octet that older descriptions give it.
INDICATION, ASK, ANSWER = 0, 1, 2
USERDATA_TYPES = {INDICATION: "indication", ASK: "request", ANSWER: "response"}

MODE_TRANSITION, PROGRAMMER, CYCLIC, BLOCKS, CPU, SECURITY, PBC, TIME, ROUTING, NC = 0, 1, 2, 3, 4, 5, 6, 7, 0x20, 0x3F
GROUPS = {
    MODE_TRANSITION: "mode_transition",
    PROGRAMMER: "programmer_commands",
    CYCLIC: "cyclic_services",
    BLOCKS: "block_functions",
    CPU: "cpu_functions",
    SECURITY: "security",
    PBC: "pbc_bsend",
    TIME: "time_functions",
    ROUTING: "data_record_routing",
    NC: "nc_programming",
}

VARIABLE_STATUS, MODIFY_VARIABLE, FORCE = 0x02, 0x08, 0x09
DISABLE_JOB, DELETE_JOB, REPLACE_JOB = 0x0D, 0x0F, 0x12  # and between them enable, read list, read
CYCLIC_TRANSFER, UNSUBSCRIBE, CHANGE_DRIVEN, CHANGE_DRIVEN_MODIFY, READ_RECORD = 0x01, 0x04, 0x05, 0x07, 0x08
LIST_BLOCKS, LIST_BLOCKS_OF_TYPE, BLOCK_INFO = 0x01, 0x02, 0x03
READ_SZL, MESSAGE_SERVICE, DIAGNOSTIC_MESSAGE = 0x01, 0x02, 0x03
SCAN_INDICATION, ALARM_LOCKED, ALARM_UNLOCKED, AR_SEND, ALARM_QUERY = 0x09, 0x0D, 0x0E, 0x10, 0x13
NC_REQUEST_DOWNLOAD, NC_START_UPLOAD = 0x01, 0x06

# Of group 0 the sub-function octet is the mode that the CPU has entered.
MODES = {
    0: "stop",
    1: "warm_restart",
    2: "run",
    3: "hot_restart",
    4: "hold",
    6: "cold_restart",
    9: "run_redundant",
    11: "link_up",
    12: "update",
}

SUBFUNCTIONS: dict[int, dict[int, tuple[str, Verb]]] = {
    MODE_TRANSITION: {mode: (name, Verb.REPORT) for mode, name in MODES.items()},
    PROGRAMMER: {
        0x01: ("block_status", Verb.DIAGNOSE),
        VARIABLE_STATUS: ("variable_status", Verb.READ),
        0x03: ("output_istack", Verb.DIAGNOSE),
        0x04: ("output_bstack", Verb.DIAGNOSE),
        0x05: ("output_lstack", Verb.DIAGNOSE),
        0x06: ("time_measurement", Verb.DIAGNOSE),
        0x07: ("force_selection", Verb.DIAGNOSE),
        MODIFY_VARIABLE: ("modify_variable", Verb.WRITE),
        FORCE: ("force", Verb.COMMAND),
        0x0A: ("breakpoint", Verb.DIAGNOSE),
        0x0B: ("exit_hold", Verb.START),
        0x0C: ("memory_reset", Verb.RESTART),
        DISABLE_JOB: ("disable_job", Verb.DIAGNOSE),
        0x0E: ("enable_job", Verb.DIAGNOSE),
        DELETE_JOB: ("delete_job", Verb.DIAGNOSE),
        0x10: ("read_job_list", Verb.DIAGNOSE),
        0x11: ("read_job", Verb.DIAGNOSE),
        REPLACE_JOB: ("replace_job", Verb.DIAGNOSE),
        0x13: ("block_status_v2", Verb.DIAGNOSE),
        0x16: ("flash_led", Verb.IDENTIFY),
    },
    CYCLIC: {
        CYCLIC_TRANSFER: ("cyclic_transfer", Verb.REPORT),
        UNSUBSCRIBE: ("unsubscribe", Verb.REPORT),
        CHANGE_DRIVEN: ("change_driven_transfer", Verb.REPORT),
        CHANGE_DRIVEN_MODIFY: ("change_driven_transfer_modify", Verb.REPORT),
        READ_RECORD: ("read_record", Verb.READ),
    },
    BLOCKS: {
        LIST_BLOCKS: ("list_blocks", Verb.IDENTIFY),
        LIST_BLOCKS_OF_TYPE: ("list_blocks_of_type", Verb.IDENTIFY),
        BLOCK_INFO: ("block_info", Verb.IDENTIFY),
    },
    CPU: {
        READ_SZL: ("read_szl", Verb.IDENTIFY),
        MESSAGE_SERVICE: ("message_service", Verb.REPORT),
        DIAGNOSTIC_MESSAGE: ("diagnostic_message", Verb.REPORT),
        0x05: ("alarm_8_indication", Verb.REPORT),
        0x06: ("notify_indication", Verb.REPORT),
        0x07: ("alarm_8_lock", Verb.SILENCE),
        0x08: ("alarm_8_unlock", Verb.REPORT),
        SCAN_INDICATION: ("scan_indication", Verb.REPORT),
        0x0B: ("alarm_acknowledge", Verb.REPORT),
        0x0C: ("alarm_acknowledge_indication", Verb.REPORT),
        ALARM_LOCKED: ("alarm_8_lock_indication", Verb.REPORT),
        ALARM_UNLOCKED: ("alarm_8_unlock_indication", Verb.REPORT),
        AR_SEND: ("ar_send_indication", Verb.REPORT),
        0x11: ("alarm_sq_indication", Verb.REPORT),
        0x12: ("alarm_s_indication", Verb.REPORT),
        ALARM_QUERY: ("alarm_query", Verb.READ),
        0x16: ("notify_8_indication", Verb.REPORT),
    },
    SECURITY: {
        0x01: ("plc_password", Verb.AUTHENTICATE),
        0x02: ("cancel_password", Verb.AUTHENTICATE),
    },
    PBC: {0x00: ("bsend", Verb.WRITE)},
    TIME: {
        0x01: ("read_clock", Verb.READ),
        0x02: ("set_clock", Verb.TIME_SET),
        0x03: ("read_clock_following", Verb.READ),
        0x04: ("set_clock_following", Verb.TIME_SET),
    },
    ROUTING: {
        0x01: ("routing_init", Verb.SESSION),
        0x02: ("routing_finish", Verb.SESSION),
        0x03: ("routing_data", Verb.CONFIGURE),
    },
    NC: {
        NC_REQUEST_DOWNLOAD: ("nc_request_download", Verb.PROGRAM_DOWN),
        0x02: ("nc_download_block", Verb.PROGRAM_DOWN),
        0x03: ("nc_continue_download", Verb.PROGRAM_DOWN),
        0x04: ("nc_download_ended", Verb.PROGRAM_DOWN),
        NC_START_UPLOAD: ("nc_start_upload", Verb.PROGRAM_UP),
        0x07: ("nc_upload", Verb.PROGRAM_UP),
        0x08: ("nc_continue_upload", Verb.PROGRAM_UP),
    },
}

# What a PDU does, by the `function` and `subfunction` columns of its row (subfunction = group << 8 | sub-function).
VERBS: dict[tuple[int, int], Verb] = {(code, ABSENT): verb for code, (_, verb) in FUNCTIONS.items()} | {
    (ABSENT, group << 8 | code): verb for group, codes in SUBFUNCTIONS.items() for code, (_, verb) in codes.items()
}

# Variable specification: octet 0 is always 0x12, octet 1 the length after itself, octet 2 the syntax.
SPECIFICATION = 0x12
S7ANY, R_ID, ALARM_LOCK, ALARM_INDICATION, ALARM_ACK = 0x10, 0x13, 0x15, 0x16, 0x19
ALARM_QUERY_SET, NOTIFY_INDICATION, DRIVE_ES, DB_READ, SYMBOLIC_1200 = 0x1A, 0x1C, 0xA2, 0xB0, 0xB2
NCK, NCK_METRIC, NCK_INCH = 0x82, 0x83, 0x84
SYNTAX_IDS = {
    S7ANY: "s7any",
    0x11: "parameter_short",
    0x12: "parameter_extended",
    R_ID: "pbc_r_id",
    ALARM_LOCK: "alarm_lock",
    ALARM_INDICATION: "alarm_indication",
    ALARM_ACK: "alarm_acknowledge",
    ALARM_QUERY_SET: "alarm_query",
    NOTIFY_INDICATION: "notify_indication",
    NCK: "nck",
    NCK_METRIC: "nck_metric",
    NCK_INCH: "nck_inch",
    DRIVE_ES: "drive_es",
    DB_READ: "db_read",
    SYMBOLIC_1200: "symbolic_1200",
}

# Memory areas: how an address is written, and whether the address counts elements instead of bits.
RECORD, COUNTERS, TIMERS = 0x01, 0x1C, 0x1D
PERIPHERY, INPUTS, OUTPUTS, FLAGS, DATA_BLOCK, INSTANCE_DB = 0x80, 0x81, 0x82, 0x83, 0x84, 0x85
AREAS = {
    RECORD: "RECORD",
    0x03: "SYSINFO200",
    0x05: "SYSFLAG200",
    0x06: "AI200",
    0x07: "AQ200",
    COUNTERS: "C",
    TIMERS: "T",
    0x1E: "C200",
    0x1F: "T200",
    PERIPHERY: "P",
    INPUTS: "I",
    OUTPUTS: "Q",
    FLAGS: "M",
    DATA_BLOCK: "DB",
    INSTANCE_DB: "DI",
    0x86: "L",
    0x87: "V",
}
COUNTED_AREAS = frozenset({COUNTERS, TIMERS, 0x1E, 0x1F})

# Transport size of an item's specification: the type of its elements.
BIT, BYTE, CHAR, WORD, INT, DWORD, DINT, REAL = 1, 2, 3, 4, 5, 6, 7, 8
TRANSPORT_SIZES = {
    BIT: "BIT",
    BYTE: "BYTE",
    CHAR: "CHAR",
    WORD: "WORD",
    INT: "INT",
    DWORD: "DWORD",
    DINT: "DINT",
    REAL: "REAL",
    9: "DATE",
    10: "TOD",
    11: "TIME",
    12: "S5TIME",
    15: "DATE_AND_TIME",
    28: "COUNTER",
    29: "TIMER",
    30: "IEC_COUNTER",
    31: "IEC_TIMER",
    32: "HS_COUNTER",
}

# Transport size of an item's data. Lengths of the first three count bits, of the others octets.
DATA_BIT, DATA_BYTE, DATA_INTEGER, DATA_NCK_1, DATA_NCK_2 = 3, 4, 5, 0x11, 0x12
DATA_SIZES = {
    0: "null",
    DATA_BIT: "bit",
    DATA_BYTE: "byte_word_dword",
    DATA_INTEGER: "integer",
    6: "dinteger",
    7: "real",
    9: "octet_string",
    DATA_NCK_1: "nck_address_1",
    DATA_NCK_2: "nck_address_2",
}
BIT_COUNTED = frozenset({DATA_BIT, DATA_BYTE, DATA_INTEGER})

ITEM_OK, NO_OBJECT = 0xFF, 0x0A  # the latter with length 0 in user data: there is no data
RETURN_CODES = {
    0x00: "reserved",
    0x01: "hardware_fault",
    0x03: "access_not_allowed",
    0x05: "address_out_of_range",
    0x06: "data_type_not_supported",
    0x07: "data_type_inconsistent",
    NO_OBJECT: "object_does_not_exist",
    ITEM_OK: "success",
}

# Block types, as two characters in names of blocks ("_0A00001P") and as one octet in block information.
BLOCK_TYPES = {8: "OB", 9: "CMOD", 0xA: "DB", 0xB: "SDB", 0xC: "FC", 0xD: "SFC", 0xE: "FB", 0xF: "SFB"}
FILE_SYSTEMS = {"P": "passive", "A": "active", "B": "active_and_passive"}
BLOCK_LANGUAGES = {
    0: "undefined",
    1: "stl",
    2: "lad",
    3: "fbd",
    4: "scl",
    5: "db",
    6: "graph",
    7: "sdb",
    8: "cpu_db",
    0x11: "sdb_after_reset",
    0x12: "sdb_routing",
    0x29: "encrypted",
}

NCK_AREAS = {
    0: "N",
    1: "B",
    2: "C",
    3: "A",
    4: "T",
    5: "V",
    6: "H",
    7: "M",
}  # NCK, mode group, channel, axis, ...
SYMBOLIC_AREAS = {0x50: INPUTS, 0x51: OUTPUTS, 0x52: FLAGS, 0x53: COUNTERS, 0x54: TIMERS}  # S7-1200 symbolic access
SYMBOLIC_DB = 0x8A0E  # root of a symbolic address into a data block
SYMBOLIC_PARTS = {2: "LID", 3: "IDX", 4: "BY_LID", 5: "BY_IDX", 6: "START", 7: "LEN"}

# Variable status, modify and force name an area by its high half octet and a type by its low one.
STATUS_AREAS = {0: FLAGS, 1: INPUTS, 2: OUTPUTS, 3: PERIPHERY, 5: TIMERS, 6: COUNTERS, 7: DATA_BLOCK}
STATUS_TYPES = {0: "BIT", 1: "BYTE", 2: "WORD", 3: "DWORD", 4: ""}

TRIGGER_POINTS = {
    0x0000: "immediately",
    0x0100: "system_trigger",
    0x0200: "cycle_start",
    0x0300: "cycle_end",
    0x0400: "run_to_stop",
    0x0500: "after_code_address",
    0x0600: "code_address_area",
    0x0601: "code_address_area_with_call_environment",
    0x0700: "data_address",
    0x0800: "data_address_area",
    0x0900: "local_data_address",
    0x0A00: "local_data_address_area",
    0x0B00: "range_trigger",
    0x0C00: "before_code_address",
}

TIME_BASES_MS = {0: 100, 1: 1000, 2: 10_000}
MESSAGE_EVENTS = {0x01: "mode_transition", 0x02: "system_diagnosis", 0x04: "user_diagnosis", 0x80: "alarms"}
ALARM_SUBSCRIPTIONS = {
    0: "scan_abort",
    1: "scan_initiate",
    4: "alarm_abort",
    5: "alarm_initiate",
    6: "ar_send_abort",
    7: "ar_send_initiate",
    8: "alarm_s_abort",
    9: "alarm_s_initiate",
}
ALARM_QUERY_TYPES = {1: "by_alarm_type", 3: "by_event_id"}
ALARM_TYPES = {1: "scan", 2: "alarm_8", 4: "alarm_s"}
