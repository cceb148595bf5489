"""DNP3 application layer (IEEE 1815-2012, clause 4; object library: Annex A): one whole application fragment a PDU.

Link frames and transport segments are put together before (`dnp3_link.py`); the objects are data (`dnp3_library.py`),
and their contents become readable in `dnp3_values.py`. `read` and `read_link` are compiled and stand in
dnp3_kernel.py; `explain` gives the full depth of both, fragments and link frames without user data.

Not decoded: data sets (groups 85 to 88), device profiles and private registration objects are delimited and given as
octets; secure authentication is shown, not verified.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.decode.pdu import PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.protocols.dnp3_kernel import CON, FIN, FIR, READ, RESPONSE, SEQ, UNS, WRITE, read, read_link
from sensor.protocols.dnp3_link import (
    LINK_FUNCTION,
    PRIMARY_FUNCTIONS,
    PRM,
    SECONDARY_FUNCTIONS,
    Octets,
    is_bare,
)
from sensor.protocols.dnp3_points import Points, object_types
from sensor.protocols.dnp3_values import indications
from sensor.records import as_octets

__all__ = ["FUNCTIONS", "VERBS", "action", "explain", "read", "read_link"]

FUNCTIONS: dict[int, tuple[str, Verb]] = {  # 4.2; each code has one verb, `action` refines it by the object
    0: ("confirm", Verb.REPORT),
    1: ("read", Verb.READ),
    2: ("write", Verb.WRITE),
    3: ("select", Verb.COMMAND),
    4: ("operate", Verb.COMMAND),
    5: ("direct_operate", Verb.COMMAND),
    6: ("direct_operate_nr", Verb.COMMAND),
    7: ("immed_freeze", Verb.WRITE),
    8: ("immed_freeze_nr", Verb.WRITE),
    9: ("freeze_clear", Verb.WRITE),
    10: ("freeze_clear_nr", Verb.WRITE),
    11: ("freeze_at_time", Verb.WRITE),
    12: ("freeze_at_time_nr", Verb.WRITE),
    13: ("cold_restart", Verb.RESTART),
    14: ("warm_restart", Verb.RESTART),
    15: ("initialize_data", Verb.CONFIGURE),
    16: ("initialize_appl", Verb.CONFIGURE),
    17: ("start_appl", Verb.START),
    18: ("stop_appl", Verb.STOP),
    19: ("save_config", Verb.CONFIGURE),
    20: ("enable_unsolicited", Verb.REPORT),
    21: ("disable_unsolicited", Verb.SILENCE),
    22: ("assign_class", Verb.CONFIGURE),
    23: ("delay_measure", Verb.DIAGNOSE),
    24: ("record_current_time", Verb.TIME_SET),
    25: ("open_file", Verb.FILE),
    26: ("close_file", Verb.FILE),
    27: ("delete_file", Verb.FILE),
    28: ("get_file_info", Verb.FILE),
    29: ("authenticate_file", Verb.AUTHENTICATE),
    30: ("abort_file", Verb.FILE),
    31: ("activate_config", Verb.CONFIGURE),
    32: ("authenticate_req", Verb.AUTHENTICATE),
    33: ("auth_req_no_ack", Verb.AUTHENTICATE),
    129: ("response", Verb.REPORT),
    130: ("unsolicited_response", Verb.REPORT),
    131: ("authenticate_resp", Verb.AUTHENTICATE),
}
VERBS: dict[int, Verb] = {code: verb for code, (_, verb) in FUNCTIONS.items()}

# A write or read of these groups is not just that; where several come together, the first here names it.
FINER_VERBS: dict[int, dict[int, Verb]] = {
    WRITE: {10: Verb.COMMAND, 50: Verb.TIME_SET, 34: Verb.CONFIGURE, 0: Verb.CONFIGURE, 70: Verb.FILE},
    READ: {70: Verb.FILE, 0: Verb.IDENTIFY},
}
LINK_VERBS: dict[int, Verb] = {0: Verb.SESSION, 2: Verb.DIAGNOSE, 9: Verb.SESSION}  # of a primary station (9.2)


def action(fragment: bytes) -> Verb:
    """The verb of a fragment: its function's, or a finer one where its objects say more."""
    if len(fragment) < 2:
        return Verb.UNKNOWN
    function = fragment[1]
    if function in FINER_VERBS:
        groups = {group for group, _ in object_types(as_octets(fragment), 2, function)}
        for group, verb in FINER_VERBS[function].items():
            if group in groups:
                return verb
    return VERBS.get(function, Verb.UNKNOWN)


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """Every field of an application fragment, by the names of `sensor/schema.py`. Never raises.

    request: the fragment that a response answers, where known; `event.action` is then the request's.
    """
    octets = as_octets(pdu)
    record = np.zeros(1, PDU)[0]
    clear(record)
    if is_bare(octets, 0, len(pdu)):
        return _explain_link(octets, record)
    read(octets, 0, len(pdu), 0, 0, np.uint64(0), record)
    answers = kind == Kind.RESPONSE and request is not None
    fields: dict[str, Any] = {"event.action": str(action(request if answers and request is not None else pdu))}
    if pdu:
        control = pdu[0]
        fields["dnp3.sequence"] = control & SEQ
        for name, bit in (("fir", FIR), ("fin", FIN), ("con", CON), ("uns", UNS)):
            fields[f"dnp3.control.{name}"] = bool(control & bit)
    if len(pdu) >= 2:
        function = pdu[1]
        fields["dnp3.function_code"] = function
        fields["dnp3.function"] = FUNCTIONS[function][0] if function in FUNCTIONS else f"function_{function}"
        if record["status"] >= 0:
            status = int(record["status"]) & 0xFFFF
            fields["dnp3.iin"] = status
            if status:
                fields["dnp3.iin_bits"] = indications(status)
        if function in FUNCTIONS and (function < RESPONSE or record["status"] >= 0):
            fields |= Points(octets, function).walk(2 if function < RESPONSE else 4)
    anomalies = Anomaly(int(record["anomalies"]))
    if anomalies:
        fields["anomalies"] = [str(bit.name).lower() for bit in anomalies]
    return fields


def _explain_link(octets: Octets, record: Any) -> dict[str, Any]:
    """Fields of a link frame without user data."""
    read_link(octets, 0, len(octets), record)
    code = int(octets[3]) & LINK_FUNCTION
    asks = bool(octets[3] & PRM)
    names = PRIMARY_FUNCTIONS if asks else SECONDARY_FUNCTIONS
    verb = LINK_VERBS.get(code, Verb.UNKNOWN) if asks else Verb.SESSION
    fields: dict[str, Any] = {
        "event.action": str(verb),
        "dnp3.link.function_code": code,
        "dnp3.link.function": names.get(code, f"function_{code}").lower(),
    }
    anomalies = Anomaly(int(record["anomalies"]))
    if anomalies:
        fields["anomalies"] = [str(bit.name).lower() for bit in anomalies]
    return fields
