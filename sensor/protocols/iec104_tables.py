"""Codes and names of IEC 60870-5-104.

Sources: IEC 60870-5-101:2003, tables 8 to 14 (type identifications, causes, causes of each type) and 7.2.6 (information
elements); IEC 60870-5-104:2006, 5.1 (control field), 8 (types with time tag CP56Time2a); IEC TS 60870-5-7 (types 81 to
95, secure authentication).
"""

from __future__ import annotations

from typing import NamedTuple

from sensor.operations import Verb

# Functions of the U format, by the octet that activates them, with bit 8 set: a number of the type's own kind, so that
# one column holds both. S_FORMAT stands there for a bare acknowledgement.
STARTDT, STOPDT, TESTFR, S_FORMAT = 0x107, 0x113, 0x143, 0x101
CONTROL_VERBS = {STARTDT: Verb.SESSION, STOPDT: Verb.SILENCE, TESTFR: Verb.SESSION, S_FORMAT: Verb.REPORT}
CONTROL_NAMES = {
    0x07: "startdt_act",
    0x0B: "startdt_con",
    0x13: "stopdt_act",
    0x23: "stopdt_con",
    0x43: "testfr_act",
    0x83: "testfr_con",
}

VARIABLE = -1  # size of information elements that say themselves how long they are


class Type(NamedTuple):
    """A type identification: its mnemonic, octets of one set of information elements, and what it does."""

    name: str
    size: int
    verb: Verb


_TIME = 7  # CP56Time2a

TYPES: dict[int, Type] = {
    1: Type("M_SP_NA_1", 1, Verb.REPORT),
    2: Type("M_SP_TA_1", 4, Verb.REPORT),
    3: Type("M_DP_NA_1", 1, Verb.REPORT),
    4: Type("M_DP_TA_1", 4, Verb.REPORT),
    5: Type("M_ST_NA_1", 2, Verb.REPORT),
    6: Type("M_ST_TA_1", 5, Verb.REPORT),
    7: Type("M_BO_NA_1", 5, Verb.REPORT),
    8: Type("M_BO_TA_1", 8, Verb.REPORT),
    9: Type("M_ME_NA_1", 3, Verb.REPORT),
    10: Type("M_ME_TA_1", 6, Verb.REPORT),
    11: Type("M_ME_NB_1", 3, Verb.REPORT),
    12: Type("M_ME_TB_1", 6, Verb.REPORT),
    13: Type("M_ME_NC_1", 5, Verb.REPORT),
    14: Type("M_ME_TC_1", 8, Verb.REPORT),
    15: Type("M_IT_NA_1", 5, Verb.REPORT),
    16: Type("M_IT_TA_1", 8, Verb.REPORT),
    17: Type("M_EP_TA_1", 6, Verb.REPORT),
    18: Type("M_EP_TB_1", 7, Verb.REPORT),
    19: Type("M_EP_TC_1", 7, Verb.REPORT),
    20: Type("M_PS_NA_1", 5, Verb.REPORT),
    21: Type("M_ME_ND_1", 2, Verb.REPORT),
    30: Type("M_SP_TB_1", 1 + _TIME, Verb.REPORT),
    31: Type("M_DP_TB_1", 1 + _TIME, Verb.REPORT),
    32: Type("M_ST_TB_1", 2 + _TIME, Verb.REPORT),
    33: Type("M_BO_TB_1", 5 + _TIME, Verb.REPORT),
    34: Type("M_ME_TD_1", 3 + _TIME, Verb.REPORT),
    35: Type("M_ME_TE_1", 3 + _TIME, Verb.REPORT),
    36: Type("M_ME_TF_1", 5 + _TIME, Verb.REPORT),
    37: Type("M_IT_TB_1", 5 + _TIME, Verb.REPORT),
    38: Type("M_EP_TD_1", 3 + _TIME, Verb.REPORT),
    39: Type("M_EP_TE_1", 4 + _TIME, Verb.REPORT),
    40: Type("M_EP_TF_1", 4 + _TIME, Verb.REPORT),
    41: Type("S_IT_TC_1", VARIABLE, Verb.REPORT),
    45: Type("C_SC_NA_1", 1, Verb.COMMAND),
    46: Type("C_DC_NA_1", 1, Verb.COMMAND),
    47: Type("C_RC_NA_1", 1, Verb.COMMAND),
    48: Type("C_SE_NA_1", 3, Verb.COMMAND),
    49: Type("C_SE_NB_1", 3, Verb.COMMAND),
    50: Type("C_SE_NC_1", 5, Verb.COMMAND),
    51: Type("C_BO_NA_1", 4, Verb.COMMAND),
    58: Type("C_SC_TA_1", 1 + _TIME, Verb.COMMAND),
    59: Type("C_DC_TA_1", 1 + _TIME, Verb.COMMAND),
    60: Type("C_RC_TA_1", 1 + _TIME, Verb.COMMAND),
    61: Type("C_SE_TA_1", 3 + _TIME, Verb.COMMAND),
    62: Type("C_SE_TB_1", 3 + _TIME, Verb.COMMAND),
    63: Type("C_SE_TC_1", 5 + _TIME, Verb.COMMAND),
    64: Type("C_BO_TA_1", 4 + _TIME, Verb.COMMAND),
    70: Type("M_EI_NA_1", 1, Verb.REPORT),
    81: Type("S_CH_NA_1", VARIABLE, Verb.AUTHENTICATE),
    82: Type("S_RP_NA_1", VARIABLE, Verb.AUTHENTICATE),
    83: Type("S_AR_NA_1", VARIABLE, Verb.AUTHENTICATE),
    84: Type("S_KR_NA_1", VARIABLE, Verb.AUTHENTICATE),
    85: Type("S_KS_NA_1", VARIABLE, Verb.AUTHENTICATE),
    86: Type("S_KC_NA_1", VARIABLE, Verb.AUTHENTICATE),
    87: Type("S_ER_NA_1", VARIABLE, Verb.AUTHENTICATE),
    90: Type("S_US_NA_1", VARIABLE, Verb.AUTHENTICATE),
    91: Type("S_UQ_NA_1", VARIABLE, Verb.AUTHENTICATE),
    92: Type("S_UR_NA_1", VARIABLE, Verb.AUTHENTICATE),
    93: Type("S_UK_NA_1", VARIABLE, Verb.AUTHENTICATE),
    94: Type("S_UA_NA_1", VARIABLE, Verb.AUTHENTICATE),
    95: Type("S_UC_NA_1", VARIABLE, Verb.AUTHENTICATE),
    100: Type("C_IC_NA_1", 1, Verb.READ),
    101: Type("C_CI_NA_1", 1, Verb.READ),
    102: Type("C_RD_NA_1", 0, Verb.READ),
    103: Type("C_CS_NA_1", _TIME, Verb.TIME_SET),
    104: Type("C_TS_NA_1", 2, Verb.DIAGNOSE),
    105: Type("C_RP_NA_1", 1, Verb.RESTART),
    106: Type("C_CD_NA_1", 2, Verb.DIAGNOSE),
    107: Type("C_TS_TA_1", 2 + _TIME, Verb.DIAGNOSE),
    110: Type("P_ME_NA_1", 3, Verb.CONFIGURE),
    111: Type("P_ME_NB_1", 3, Verb.CONFIGURE),
    112: Type("P_ME_NC_1", 5, Verb.CONFIGURE),
    113: Type("P_AC_NA_1", 1, Verb.CONFIGURE),
    120: Type("F_FR_NA_1", 6, Verb.FILE),
    121: Type("F_SR_NA_1", 7, Verb.FILE),
    122: Type("F_SC_NA_1", 4, Verb.FILE),
    123: Type("F_LS_NA_1", 5, Verb.FILE),
    124: Type("F_AF_NA_1", 4, Verb.FILE),
    125: Type("F_SG_NA_1", VARIABLE, Verb.FILE),
    126: Type("F_DR_TA_1", 13, Verb.FILE),
    127: Type("F_SC_NB_1", 16, Verb.FILE),
}

CAUSES: dict[int, str] = {
    1: "periodic",
    2: "background_scan",
    3: "spontaneous",
    4: "initialised",
    5: "requested",
    6: "activation",
    7: "activation_confirmation",
    8: "deactivation",
    9: "deactivation_confirmation",
    10: "activation_termination",
    11: "return_by_remote_command",
    12: "return_by_local_command",
    13: "file_transfer",
    14: "authentication",
    15: "session_key_maintenance",
    16: "user_key_maintenance",
    20: "interrogated_by_station",
    **{20 + group: f"interrogated_by_group_{group}" for group in range(1, 17)},
    37: "counter_interrogated_in_general",
    **{37 + group: f"counter_interrogated_by_group_{group}" for group in range(1, 5)},
    44: "unknown_type",
    45: "unknown_cause",
    46: "unknown_common_address",
    47: "unknown_object_address",
}
PRIVATE_CAUSES, PRIVATE_TYPES = range(48, 64), range(128, 256)  # left to agreement between vendor and user

# The causes that a type may have in the direction in which it is asked (table 14); answers have 7 to 10 and 44 to 47.
ASKED_WITH: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((*range(45, 52), *range(58, 65), 113), (6, 8)),
    **dict.fromkeys((100, 101), (6, 8)),
    102: (5,),
    103: (6,),
    **dict.fromkeys((104, 105, 107, 110, 111, 112), (6,)),
    106: (3, 6),
    122: (5, 13),
    124: (13,),
    127: (5, 13),
}

# What a type is allowed to report with beside that, where it is an asked type as well.
REPORTED_WITH: dict[int, tuple[int, ...]] = {
    103: (3,),
    **dict.fromkeys((110, 111, 112), tuple(range(20, 37))),
}

# 7.2.6.26 to 7.2.6.30
COMMAND_QUALIFIERS = {0: "no_additional_definition", 1: "short_pulse", 2: "long_pulse", 3: "persistent_output"}
RESET_QUALIFIERS = {0: "not_used", 1: "general_reset", 2: "reset_of_pending_time_tagged_events"}
FREEZES = {0: "read", 1: "freeze", 2: "freeze_with_reset", 3: "reset"}
INITIALISATION_CAUSES = {0: "local_power_on", 1: "local_manual_reset", 2: "remote_reset"}
PARAMETER_KINDS = {0: "not_used", 1: "threshold", 2: "smoothing_factor", 3: "low_limit", 4: "high_limit"}
PARAMETER_ACTIVATIONS = {1: "loaded_parameters", 2: "parameter_of_object", 3: "persistent_transmission_of_object"}
SINGLE, DOUBLE = ("off", "on"), ("indeterminate", "off", "on", "indeterminate")
STEPS = ("not_permitted", "lower", "higher", "not_permitted")

# Bits of the quality descriptor (7.2.6.3) and of single and double points (7.2.6.1, 7.2.6.2), which lack `overflow`.
QUALITIES = {0x01: "overflow", 0x10: "blocked", 0x20: "substituted", 0x40: "not_topical", 0x80: "invalid"}

# 7.2.6.30: what a call of files asks for; 7.2.6.32: what is acknowledged.
FILE_CALLS = {
    1: "select_file",
    2: "request_file",
    3: "deactivate_file",
    4: "delete_file",
    5: "select_section",
    6: "request_section",
    7: "deactivate_section",
}
FILE_ACKNOWLEDGEMENTS = {
    1: "file_acknowledged",
    2: "file_not_acknowledged",
    3: "section_acknowledged",
    4: "section_not_acknowledged",
}


def verb(function: int, subfunction: int = -1) -> Verb:
    """What a function of the event column does; `subfunction` as there: its octet 1 tells a counter's reset."""
    if function in CONTROL_VERBS:
        return CONTROL_VERBS[function]
    if function == 101 and subfunction >> 8 > 0:  # freezes or resets counters
        return Verb.WRITE
    return TYPES[function].verb if function in TYPES else Verb.UNKNOWN
