"""PCCC, the commands of older Allen-Bradley controllers (PLC-5, SLC 500, MicroLogix), which CIP carries in class 0x67.

Source: Rockwell Automation 1770-6.5.16, DF1 Protocol and Command Set Reference Manual, chapter 7. Over CIP a command
stands behind the requester id (length, vendor, serial number): `CMD STS TNS(2) [FNC] data`; a reply sets bit 6 of CMD
and has no FNC.

Not decoded: the contents of files, addresses in the logical ASCII and binary forms of PLC-5.
"""

from __future__ import annotations

from typing import Any

from sensor.operations import Verb

REPLY_BIT = 0x40
EXTENDED_STATUS = 0xF0  # STS: an EXT STS octet follows TNS

_BASIC: dict[int, tuple[str, Verb]] = {  # CMD without FNC
    0x00: ("protected_write", Verb.WRITE),
    0x01: ("unprotected_read", Verb.READ),
    0x02: ("protected_bit_write", Verb.WRITE),
    0x05: ("unprotected_bit_write", Verb.WRITE),
    0x08: ("unprotected_write", Verb.WRITE),
}
_WITH_FUNCTION: dict[int, dict[int, tuple[str, Verb]]] = {
    0x06: {
        0x00: ("echo", Verb.DIAGNOSE),
        0x01: ("read_diagnostic_counters", Verb.DIAGNOSE),
        0x02: ("set_variables", Verb.CONFIGURE),
        0x03: ("diagnostic_status", Verb.IDENTIFY),
        0x04: ("set_timeout", Verb.CONFIGURE),
        0x05: ("set_naks", Verb.CONFIGURE),
        0x06: ("set_enqs", Verb.CONFIGURE),
        0x07: ("reset_diagnostic_counters", Verb.CONFIGURE),
        0x08: ("set_data_table_size", Verb.CONFIGURE),
        0x09: ("read_link_parameters", Verb.DIAGNOSE),
        0x0A: ("set_link_parameters", Verb.CONFIGURE),
    },
    0x07: {
        0x00: ("disable_outputs", Verb.STOP),
        0x01: ("enable_outputs", Verb.START),
        0x03: ("enable_plc_scanning", Verb.START),
        0x04: ("enter_download_mode", Verb.PROGRAM_DOWN),
        0x05: ("exit_download_upload_mode", Verb.START),
        0x06: ("enter_upload_mode", Verb.PROGRAM_UP),
    },
    0x0F: {
        0x00: ("word_range_write", Verb.WRITE),
        0x01: ("word_range_read", Verb.READ),
        0x02: ("bit_write", Verb.WRITE),
        0x03: ("file_write", Verb.WRITE),
        0x04: ("file_read", Verb.READ),
        0x05: ("download_request", Verb.PROGRAM_DOWN),
        0x06: ("upload", Verb.PROGRAM_UP),
        0x07: ("shutdown", Verb.STOP),
        0x08: ("physical_write", Verb.PROGRAM_DOWN),
        0x09: ("physical_read", Verb.PROGRAM_UP),
        0x0A: ("restart_request", Verb.RESTART),
        0x11: ("get_edit_resource", Verb.SESSION),
        0x12: ("return_edit_resource", Verb.SESSION),
        0x17: ("read_bytes_physical", Verb.PROGRAM_UP),
        0x18: ("write_bytes_physical", Verb.PROGRAM_DOWN),
        0x26: ("read_modify_write", Verb.WRITE),
        0x29: ("read_section_size", Verb.IDENTIFY),
        0x3A: ("set_cpu_mode", Verb.START),  # its verb is that of the mode
        0x41: ("disable_forces", Verb.COMMAND),
        0x50: ("download_all_request", Verb.PROGRAM_DOWN),
        0x52: ("download_completed", Verb.PROGRAM_DOWN),
        0x53: ("upload_all_request", Verb.PROGRAM_UP),
        0x55: ("upload_completed", Verb.PROGRAM_UP),
        0x57: ("initialize_memory", Verb.PROGRAM_DOWN),
        0x67: ("typed_write", Verb.WRITE),
        0x68: ("typed_read", Verb.READ),
        0x79: ("read_modify_write_n", Verb.WRITE),
        0x80: ("change_mode", Verb.START),  # its verb is that of the mode
        0x81: ("open_file", Verb.FILE),
        0x82: ("close_file", Verb.FILE),
        0x88: ("execute_multiple_commands", Verb.WRITE),
        0x8F: ("apply_port_configuration", Verb.CONFIGURE),
        0xA1: ("protected_typed_logical_read_2", Verb.READ),
        0xA2: ("protected_typed_logical_read_3", Verb.READ),
        0xA7: ("protected_typed_file_read", Verb.READ),
        0xA9: ("protected_typed_logical_write_2", Verb.WRITE),
        0xAA: ("protected_typed_logical_write_3", Verb.WRITE),
        0xAB: ("protected_typed_logical_masked_write_3", Verb.WRITE),
        0xAF: ("protected_typed_file_write", Verb.WRITE),
    },
}
_MODE_COMMANDS = (0x3A, 0x80)
# Modes of `change_mode` (0x80) and `set_cpu_mode` (0x3A): the low ones halt the program, the others run or test it.
_HALT_MODES = {0x3A: frozenset({0x00, 0x01}), 0x80: frozenset({0x00, 0x01})}
_LOGICAL = {0xA1: 2, 0xA9: 2, 0xA2: 3, 0xAA: 3, 0xAB: 3}  # address fields behind the file number and type
_FILE_LETTERS = {0x82: "O", 0x83: "I", 0x84: "S", 0x85: "B", 0x86: "T", 0x87: "C", 0x88: "R", 0x89: "N", 0x8A: "F",
                 0x8B: "O", 0x8C: "I", 0x8D: "ST", 0x8E: "A", 0x91: "L"}  # fmt: skip

STATUS: dict[int, str] = {  # STS, high half: errors of the remote node
    0x00: "success",
    0x10: "illegal_command_or_format",
    0x20: "host_will_not_communicate",
    0x30: "remote_node_missing",
    0x40: "hardware_fault",
    0x50: "addressing_problem_or_memory_protected",
    0x60: "function_not_allowed_by_command_protection",
    0x70: "processor_in_program_mode",
    0x80: "compatibility_mode_file_missing",
    0x90: "remote_node_cannot_buffer_command",
    0xB0: "remote_node_downloading",
    0xF0: "extended_status",
}


def explain(message: bytes) -> tuple[dict[str, Any], Verb]:
    """Fields and verb of one command or reply from CMD on. Never raises."""
    if len(message) < 4:
        return {}, Verb.UNKNOWN
    command, status = message[0], message[1]
    fields: dict[str, Any] = {
        "cip.pccc.command": command & ~REPLY_BIT,
        "cip.pccc.transaction": int.from_bytes(message[2:4], "little"),
    }
    if command & REPLY_BIT:
        fields["cip.pccc.status"] = status
        fields["cip.pccc.status_name"] = (
            STATUS.get(status & 0xF0, "undefined") if status > 0x0F else ("success" if status == 0 else "local_error")
        )
        if status == EXTENDED_STATUS and len(message) > 4:
            fields["cip.pccc.extended_status"] = message[4]
        return fields, Verb.UNKNOWN
    name, verb = _BASIC.get(command, ("undefined", Verb.UNKNOWN))
    functions = _WITH_FUNCTION.get(command)
    if functions is not None and len(message) > 4:
        function = message[4]
        fields["cip.pccc.function"] = function
        name, verb = functions.get(function, ("undefined", Verb.UNKNOWN))
        if command == 0x0F and function in _MODE_COMMANDS and len(message) > 5:
            fields["cip.pccc.mode"] = message[5]
            verb = Verb.STOP if message[5] in _HALT_MODES[function] else Verb.START
        if command == 0x0F and function in _LOGICAL:
            fields["cip.pccc.address"] = _address(message[5:], _LOGICAL[function])
    fields["cip.pccc.name"] = name
    return fields, verb


def _address(data: bytes, levels: int) -> str | None:
    """`size file type element [sub-element]` as N7:0 or T4:1/2; an octet of 255 says that two octets follow."""
    at, numbers = 1, []
    for position in range(levels + 1):
        if at >= len(data):
            return None
        if data[at] == 0xFF and position != 1:
            numbers.append(int.from_bytes(data[at + 1 : at + 3], "little"))
            at += 3
        else:
            numbers.append(data[at])
            at += 1
    file, kind, element, *sub = numbers
    letter = _FILE_LETTERS.get(kind, f"0x{kind:02X}:")
    return f"{letter}{file}:{element}" + (f"/{sub[0]}" if sub and sub[0] else "")
