"""Codes and names of MMS and of the layers that carry it.

Sources: ISO 9506-2:2003 (services, errors, data access errors, reject reasons), ISO 8327-1 (session), ISO 8650-1
(ACSE), IEC 61850-8-1:2011 (names of controls and of functional constraints).
"""

from __future__ import annotations

from sensor.operations import Verb

# Session protocol data units (ISO 8327-1, 8.3), by their identifier SI.
CONNECT, ACCEPT, REFUSE, FINISH, DISCONNECT, ABORT, ABORT_ACCEPT, NOT_FINISHED = 13, 14, 12, 9, 10, 25, 26, 8
DATA_TRANSFER = 1
SESSION = {
    CONNECT: "connect",
    ACCEPT: "accept",
    REFUSE: "refuse",
    FINISH: "finish",
    DISCONNECT: "disconnect",
    NOT_FINISHED: "not_finished",
    ABORT: "abort",
    ABORT_ACCEPT: "abort_accept",
    DATA_TRANSFER: "data_transfer",
}

AARQ = 0x60
PASSWORD_MECHANISM = b"\x52\x03\x01"  # joint-iso-itu-t association-control authentication-mechanism password
ACSE = {AARQ: "aarq", 0x61: "aare", 0x62: "rlrq", 0x63: "rlre", 0x64: "abrt"}  # ISO 8650-1, by APDU identifier

# MMS protocol data units by tag. The function column holds the class: the tag of the request of each.
CONFIRMED, UNCONFIRMED, REJECT, CANCEL, INITIATE, CONCLUDE = 0, 3, 4, 5, 8, 11
RELEASE, SESSION_ABORT = 0x109, 0x119  # classes of what session and ACSE do by themselves
PDUS = {
    0: "confirmed_request",
    1: "confirmed_response",
    2: "confirmed_error",
    3: "unconfirmed",
    4: "reject",
    5: "cancel_request",
    6: "cancel_response",
    7: "cancel_error",
    8: "initiate_request",
    9: "initiate_response",
    10: "initiate_error",
    11: "conclude_request",
    12: "conclude_response",
    13: "conclude_error",
}
UNCONFIRMED_SERVICES = {0: "information_report", 1: "unsolicited_status", 2: "event_notification"}

READ, WRITE, INFORMATION_REPORT = 4, 5, 0

# Confirmed services by tag: the standard's name and what it does.
SERVICES: dict[int, tuple[str, Verb]] = {
    0: ("status", Verb.DIAGNOSE),
    1: ("get_name_list", Verb.IDENTIFY),
    2: ("identify", Verb.IDENTIFY),
    3: ("rename", Verb.CONFIGURE),
    READ: ("read", Verb.READ),
    WRITE: ("write", Verb.WRITE),
    6: ("get_variable_access_attributes", Verb.IDENTIFY),
    7: ("define_named_variable", Verb.CONFIGURE),
    8: ("define_scattered_access", Verb.CONFIGURE),
    9: ("get_scattered_access_attributes", Verb.IDENTIFY),
    10: ("delete_variable_access", Verb.CONFIGURE),
    11: ("define_named_variable_list", Verb.CONFIGURE),
    12: ("get_named_variable_list_attributes", Verb.IDENTIFY),
    13: ("delete_named_variable_list", Verb.CONFIGURE),
    14: ("define_named_type", Verb.CONFIGURE),
    15: ("get_named_type_attributes", Verb.IDENTIFY),
    16: ("delete_named_type", Verb.CONFIGURE),
    17: ("input", Verb.READ),
    18: ("output", Verb.WRITE),
    19: ("take_control", Verb.CONFIGURE),
    20: ("relinquish_control", Verb.CONFIGURE),
    21: ("define_semaphore", Verb.CONFIGURE),
    22: ("delete_semaphore", Verb.CONFIGURE),
    23: ("report_semaphore_status", Verb.DIAGNOSE),
    24: ("report_pool_semaphore_status", Verb.DIAGNOSE),
    25: ("report_semaphore_entry_status", Verb.DIAGNOSE),
    26: ("initiate_download_sequence", Verb.PROGRAM_DOWN),
    27: ("download_segment", Verb.PROGRAM_DOWN),
    28: ("terminate_download_sequence", Verb.PROGRAM_DOWN),
    29: ("initiate_upload_sequence", Verb.PROGRAM_UP),
    30: ("upload_segment", Verb.PROGRAM_UP),
    31: ("terminate_upload_sequence", Verb.PROGRAM_UP),
    32: ("request_domain_download", Verb.PROGRAM_DOWN),
    33: ("request_domain_upload", Verb.PROGRAM_UP),
    34: ("load_domain_content", Verb.PROGRAM_DOWN),
    35: ("store_domain_content", Verb.PROGRAM_UP),
    36: ("delete_domain", Verb.PROGRAM_DOWN),
    37: ("get_domain_attributes", Verb.IDENTIFY),
    38: ("create_program_invocation", Verb.PROGRAM_DOWN),
    39: ("delete_program_invocation", Verb.PROGRAM_DOWN),
    40: ("start", Verb.START),
    41: ("stop", Verb.STOP),
    42: ("resume", Verb.START),
    43: ("reset", Verb.RESTART),
    44: ("kill", Verb.STOP),
    45: ("get_program_invocation_attributes", Verb.IDENTIFY),
    46: ("obtain_file", Verb.FILE),
    47: ("define_event_condition", Verb.CONFIGURE),
    48: ("delete_event_condition", Verb.CONFIGURE),
    49: ("get_event_condition_attributes", Verb.IDENTIFY),
    50: ("report_event_condition_status", Verb.DIAGNOSE),
    51: ("alter_event_condition_monitoring", Verb.CONFIGURE),
    52: ("trigger_event", Verb.COMMAND),
    53: ("define_event_action", Verb.CONFIGURE),
    54: ("delete_event_action", Verb.CONFIGURE),
    55: ("get_event_action_attributes", Verb.IDENTIFY),
    56: ("report_event_action_status", Verb.DIAGNOSE),
    57: ("define_event_enrollment", Verb.CONFIGURE),
    58: ("delete_event_enrollment", Verb.CONFIGURE),
    59: ("alter_event_enrollment", Verb.CONFIGURE),
    60: ("report_event_enrollment_status", Verb.DIAGNOSE),
    61: ("get_event_enrollment_attributes", Verb.IDENTIFY),
    62: ("acknowledge_event_notification", Verb.REPORT),
    63: ("get_alarm_summary", Verb.READ),
    64: ("get_alarm_enrollment_summary", Verb.READ),
    65: ("read_journal", Verb.READ),
    66: ("write_journal", Verb.WRITE),
    67: ("initialize_journal", Verb.CONFIGURE),
    68: ("report_journal_status", Verb.DIAGNOSE),
    69: ("create_journal", Verb.CONFIGURE),
    70: ("delete_journal", Verb.CONFIGURE),
    71: ("get_capability_list", Verb.IDENTIFY),
    72: ("file_open", Verb.FILE),
    73: ("file_read", Verb.FILE),
    74: ("file_close", Verb.FILE),
    75: ("file_rename", Verb.FILE),
    76: ("file_delete", Verb.FILE),
    77: ("file_directory", Verb.FILE),
}
# Services whose argument is a handle that the server gave: the number differs each time and says nothing.
WITH_HANDLE = (30, 31, 73, 74)

# What a variable of IEC 61850 is for, told from its name `LN$FC$...`: the finer code of reads and writes.
OPERATE, SELECT, CANCEL_CONTROL, REPORT_CONTROL, MULTICAST_CONTROL, SETTING = 1, 2, 3, 4, 5, 6
FINER = {
    OPERATE: ("operate", Verb.COMMAND),
    SELECT: ("select", Verb.COMMAND),
    CANCEL_CONTROL: ("cancel", Verb.COMMAND),
    REPORT_CONTROL: ("report_control", Verb.REPORT),
    MULTICAST_CONTROL: ("multicast_control", Verb.CONFIGURE),
    SETTING: ("setting", Verb.CONFIGURE),
}
# Functional constraints (IEC 61850-7-2, table 18) as two octets of text.
CONTROLS = b"CO"
FUNCTIONAL_CONSTRAINTS = {
    b"RP": REPORT_CONTROL,
    b"BR": REPORT_CONTROL,
    b"LG": REPORT_CONTROL,
    b"GO": MULTICAST_CONTROL,
    b"MS": MULTICAST_CONTROL,
    b"US": MULTICAST_CONTROL,
    b"SP": SETTING,
    b"SG": SETTING,
    b"SE": SETTING,
    b"CF": SETTING,
}

DATA_ACCESS_ERRORS = {
    0: "object_invalidated",
    1: "hardware_fault",
    2: "temporarily_unavailable",
    3: "object_access_denied",
    4: "object_undefined",
    5: "invalid_address",
    6: "type_unsupported",
    7: "type_inconsistent",
    8: "object_attribute_inconsistent",
    9: "object_access_unsupported",
    10: "object_non_existent",
    11: "object_value_invalid",
}

# Error classes of ServiceError and the names of their codes.
ERROR_CLASSES: dict[int, tuple[str, dict[int, str]]] = {
    0: ("vmd_state", {0: "other", 1: "vmd_state_conflict", 2: "vmd_operational_problem",
                      3: "domain_transfer_problem", 4: "state_machine_id_invalid"}),
    1: ("application_reference", {0: "other", 1: "application_unreachable", 2: "connection_lost",
                                  3: "application_reference_invalid", 4: "context_unsupported"}),
    2: ("definition", {0: "other", 1: "object_undefined", 2: "invalid_address", 3: "type_unsupported",
                       4: "type_inconsistent", 5: "object_exists", 6: "object_attribute_inconsistent"}),
    3: ("resource", {0: "other", 1: "memory_unavailable", 2: "processor_resource_unavailable",
                     3: "mass_storage_unavailable", 4: "capability_unavailable", 5: "capability_unknown"}),
    4: ("service", {0: "other", 1: "primitives_out_of_sequence", 2: "object_state_conflict", 3: "pdu_size",
                    4: "continuation_invalid", 5: "object_constraint_conflict"}),
    5: ("service_preempt", {0: "other", 1: "timeout", 2: "deadlock", 3: "cancel"}),
    6: ("time_resolution", {0: "other", 1: "unsupportable_time_resolution"}),
    7: ("access", {0: "other", 1: "object_access_unsupported", 2: "object_non_existent", 3: "object_access_denied",
                   4: "object_invalidated"}),
    8: ("initiate", {0: "other", 1: "version_incompatible", 2: "max_segment_insufficient",
                     3: "max_services_outstanding_calling_insufficient",
                     4: "max_services_outstanding_called_insufficient", 5: "service_cbb_insufficient",
                     6: "parameter_cbb_insufficient", 7: "nesting_level_insufficient"}),
    9: ("conclude", {0: "other", 1: "further_communication_required"}),
    10: ("cancel", {0: "other", 1: "invoke_id_unknown", 2: "cancel_not_possible"}),
    11: ("file", {0: "other", 1: "filename_ambiguous", 2: "file_busy", 3: "filename_syntax_error",
                  4: "content_type_invalid", 5: "position_invalid", 6: "file_access_denied", 7: "file_non_existent",
                  8: "duplicate_filename", 9: "insufficient_space_in_filestore"}),
    12: ("others", {}),
}  # fmt: skip

REJECTED = {
    1: "confirmed_request",
    2: "confirmed_response",
    3: "confirmed_error",
    4: "unconfirmed",
    5: "pdu",
    6: "cancel_request",
    7: "cancel_response",
    8: "cancel_error",
    9: "conclude_request",
    10: "conclude_response",
    11: "conclude_error",
}

OBJECT_CLASSES = {
    0: "named_variable",
    1: "scattered_access",
    2: "named_variable_list",
    3: "named_type",
    4: "semaphore",
    5: "event_condition",
    6: "event_action",
    7: "event_enrollment",
    8: "journal",
    9: "domain",
    10: "program_invocation",
    11: "operator_station",
}

# Bits of the status column: which of the ways to refuse it tells about.
SERVICE_ERROR, REJECTION, NOT_ASSOCIATED = 0x1000, 0x2000, 0x3000


def verb(function: int, subfunction: int) -> Verb:
    """What the function and subfunction columns of an event do."""
    service, finer = subfunction & 0xFF, subfunction >> 8
    if function == UNCONFIRMED:
        return Verb.REPORT
    if function in (INITIATE, CONCLUDE, CANCEL, RELEASE, SESSION_ABORT, REJECT):
        return Verb.SESSION
    if function != CONFIRMED or subfunction < 0 or service not in SERVICES:
        return Verb.UNKNOWN
    return FINER[finer][1] if finer in FINER else SERVICES[service][1]
