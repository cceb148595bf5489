"""Program invocation (PI) services of function 0x28, as data. The `_N_` ones belong to Sinumerik numerical controls.

Names and the order of arguments are what captures show and independent dissectors agree on; the wording is ours.
"""

from __future__ import annotations

from typing import NamedTuple

from sensor.operations import Verb


class Service(NamedTuple):
    """One PI service.

    meaning: what it does, in snake case; verb: the value of event.action.
    arguments: names of its string arguments in order, "" for those of the PLC's own services, which have no strings.
    """

    meaning: str
    verb: Verb
    arguments: tuple[str, ...] = ()


BLOCK_SERVICES = frozenset({"_INSE", "_INS2", "_DELE"})  # their argument is a list of blocks
SECRET = "password"  # noqa: S105  the name of the argument whose value is never shown


def _nc(meaning: str, verb: Verb, *arguments: str) -> Service:
    """A service of a numerical control; its first argument is always the address range identifier."""
    return Service(meaning, verb, ("address", *arguments))


PI_SERVICES: dict[str, Service] = {
    "P_PROGRAM": Service("start_program", Verb.START),  # argument "C ": cold start
    "_INSE": Service("activate_block", Verb.PROGRAM_DOWN),
    "_INS2": Service("activate_block", Verb.PROGRAM_DOWN),
    "_DELE": Service("delete_block", Verb.PROGRAM_DOWN),
    "_GARB": Service("compress_memory", Verb.CONFIGURE),
    "_MODU": Service("copy_ram_to_rom", Verb.CONFIGURE),
    "_N_LOGIN_": _nc("log_in", Verb.AUTHENTICATE, SECRET),
    "_N_LOGOUT": _nc("log_out", Verb.AUTHENTICATE),
    "_N_NEWPWD": _nc("set_password", Verb.AUTHENTICATE, SECRET, "password_level"),
    "_N_CANCEL": _nc("cancel_alarms", Verb.SILENCE),
    "_N_CONFIG": _nc("activate_machine_data", Verb.CONFIGURE, "class"),
    "_N_DASAVE": _nc("copy_ram_to_flash", Verb.CONFIGURE),
    "_N_IBN_SS": _nc("set_commissioning_switch", Verb.CONFIGURE, "switch"),
    "_N_NCKMOD": _nc("set_nck_mode", Verb.CONFIGURE, "on_off", "mode", "factor"),
    "_N_MMCSEM": _nc("set_semaphore", Verb.CONFIGURE, "function_number", "semaphore_value"),
    "_N_SCALE_": _nc("set_unit_of_measure", Verb.CONFIGURE),
    "_N_SETUFR": _nc("activate_user_frame", Verb.CONFIGURE),
    "_N_DIGIOF": _nc("digitizing_off", Verb.CONFIGURE),
    "_N_DIGION": _nc("digitizing_on", Verb.CONFIGURE),
    "_N_OST_OF": _nc("overstore_off", Verb.CONFIGURE),
    "_N_OST_ON": _nc("overstore_on", Verb.CONFIGURE),
    "_N_STRTLK": _nc("disable_start", Verb.COMMAND),
    "_N_STRTUL": _nc("enable_start", Verb.COMMAND),
    "_N_SELECT": _nc("select_program", Verb.COMMAND, "file"),
    "_N_EXTERN": _nc("select_external_program", Verb.COMMAND, "file"),
    "_N_EXTMOD": _nc("select_external_program", Verb.COMMAND, "file"),
    "_N_ENDEXT": _nc("end_external_program", Verb.COMMAND),
    "_N_ASUP__": _nc(
        "assign_interrupt", Verb.CONFIGURE, "interrupt_number", "priority", "lift_fast", "block_sync", "file"
    ),
    "_N_FINDBL": _nc("activate_search", Verb.COMMAND, "find_mode"),
    "_N_SEL_BL": _nc("select_block", Verb.COMMAND, "line_number"),
    "_N_DELVAR": _nc(
        "delete_data_block", Verb.WRITE, "data_block", "first_column", "last_column", "first_row", "last_row"
    ),
    "_N_F_CLOS": _nc("close_file", Verb.FILE, "edit_window"),
    "_N_F_COPY": _nc("copy_file", Verb.FILE, "direction", "source_file", "destination_file"),
    "_N_F_DELE": _nc("delete_file", Verb.FILE, "file"),
    "_N_F_DELR": _nc("delete_file_without_rights", Verb.FILE, "file"),
    "_N_F_DMDA": _nc("delete_mda_memory", Verb.FILE, "channel_number"),
    "_N_F_OPEN": _nc("open_file", Verb.FILE, "file", "edit_window"),
    "_N_F_OPER": _nc("open_file_for_reading", Verb.FILE, "file", "edit_window"),
    "_N_F_PROR": _nc("protect_file", Verb.FILE, "file", "protection"),
    "_N_F_PROT": _nc("protect_file", Verb.FILE, "file", "protection"),
    "_N_F_RENA": _nc("rename_file", Verb.FILE, "old_file", "new_file"),
    "_N_F_SEEK": _nc(
        "seek_in_file", Verb.FILE, "edit_window", "seek_pointer", "window_size", "compare_string", "skip_count"
    ),
    "_N_F_XFER": _nc("select_file_for_upload", Verb.FILE, "file"),
    "_N_LOCKE_": _nc("lock_file", Verb.FILE, "file"),
    "_N_SRTEXT": _nc("mark_file", Verb.FILE, "file"),
    "_N_CHEKDM": _nc("check_d_numbers", Verb.DIAGNOSE, "magazine", "d_number", "spindle_number"),
    "_N_CHKDNO": _nc("check_d_numbers", Verb.DIAGNOSE, "tool", "other_tool", "d_number"),
    "_N_DZERO_": _nc("invalidate_d_numbers", Verb.CONFIGURE),
    "_N_CRCEDN": _nc("create_cutting_edge", Verb.CONFIGURE, "tool", "d_number"),
    "_N_CREACE": _nc("create_cutting_edge", Verb.CONFIGURE, "tool"),
    "_N_CRTOCE": _nc("create_tool_with_edge", Verb.CONFIGURE, "tool", "edge"),
    "_N_CREATO": _nc("create_tool", Verb.CONFIGURE, "tool"),
    "_N_DELECE": _nc("delete_cutting_edge", Verb.CONFIGURE, "tool", "d_number"),
    "_N_DELETO": _nc("delete_tool", Verb.CONFIGURE, "tool"),
    "_N_SETTST": _nc("activate_replacement_tools", Verb.CONFIGURE, "magazine", "wear_group", "tool_status"),
    "_N_TMAWCO": _nc("set_active_wear_group", Verb.CONFIGURE, "magazine", "wear_group", "search_strategy"),
    "_N_TMCRTC": _nc("create_tool_with_edge", Verb.CONFIGURE, "tool_id", "tool", "duplo_number", "edge"),
    "_N_TMCRTO": _nc("create_tool", Verb.CONFIGURE, "tool_id", "tool", "duplo_number"),
    "_N_TMFDPL": _nc(
        "find_place_for_tool", Verb.READ, "tool", "place", "magazine", "reference_place", "reference_magazine"
    ),
    "_N_TMFPBP": _nc(
        "find_empty_place",
        Verb.READ,
        "first_magazine",
        "first_place",
        "last_magazine",
        "last_place",
        "reference_magazine",
        "reference_place",
        "half_places_left",
        "half_places_right",
        "half_places_up",
        "half_places_down",
        "place_type",
        "search_direction",
    ),
    "_N_TMGETT": _nc("find_tool_number", Verb.READ, "tool_name", "duplo_number"),
    "_N_TMMVTL": _nc("move_tool", Verb.COMMAND, "tool", "from_place", "from_magazine", "to_place", "to_magazine"),
    "_N_TMPCIT": _nc("set_piece_counter", Verb.CONFIGURE, "spindle_number", "increment"),
    "_N_TMPOSM": _nc(
        "position_magazine",
        Verb.COMMAND,
        "tool",
        "tool_id",
        "duplo_number",
        "from_place",
        "from_magazine",
        "to_place",
        "to_magazine",
    ),
    "_N_TMRASS": _nc("reset_active_state", Verb.CONFIGURE),
    "_N_TRESMO": _nc("reset_monitoring", Verb.CONFIGURE, "tool", "d_number", "monitoring_modes"),
    "_N_TSEARC": _nc("search_tools", Verb.READ),
}
