"""Where passwords stand in PDUs, so that whatever leaves the sensor can hide them; they are never decoded.

S7comm: the "PLC password" of user data group 5, and the PI services of numerical controls that log in or set one.
DNP3: the authentication object of file transfer (group 70, variation 2). A protocol that carries passwords in another
way adds its finder to FINDERS. Not known here: what UMAS and other vendors' functions may carry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from sensor.decode.pdu import Protocol
from sensor.events import Columns
from sensor.protocols import s7comm_tables as s7
from sensor.protocols.dnp3_walk import header
from sensor.protocols.s7comm_services import PI_SERVICES, SECRET
from sensor.records import as_octets

S7_HEADER = 10
AUTHENTICATE_FILE, RESPONSE = 29, 129  # DNP3 function codes
FILE_AUTHENTICATION = 70 << 8 | 2
FILE_AUTHENTICATION_FIXED = 12  # octets before user name and password: their places, sizes and the key


def _s7comm(pdu: bytes) -> list[slice]:
    if len(pdu) < S7_HEADER + 6:
        return []
    data = S7_HEADER + int.from_bytes(pdu[6:8], "big")
    if pdu[1] == s7.USERDATA:
        return [slice(data + 4, len(pdu))] if pdu[S7_HEADER + 5] & 0x3F == s7.SECURITY else []
    begin = S7_HEADER + 10  # of the PI service's arguments; their length stands before them, the name behind them
    name = begin + int.from_bytes(pdu[begin - 2 : begin], "big")
    if pdu[1] != s7.JOB or pdu[S7_HEADER] != s7.PI_SERVICE or name >= len(pdu):
        return []
    called = pdu[name + 1 : name + 1 + pdu[name]].decode("ascii", "replace")
    service = PI_SERVICES.get(called)
    takes = SECRET in service.arguments if service else "LOGI" in called or "PWD" in called
    return [slice(begin, name)] if takes else []


def _dnp3(fragment: bytes) -> list[slice]:
    if len(fragment) < 2:
        return []
    octets, function = as_octets(fragment), fragment[1]
    at, found = 4 if function >= RESPONSE else 2, []
    while len(fragment) - at >= 3:
        _, qualifier, _, _, begin, after, _ = map(int, header(octets, at, len(fragment), function))
        if fragment[at] << 8 | fragment[at + 1] == FILE_AUTHENTICATION:
            prefix = {4: 1, 5: 2, 6: 4}.get(qualifier >> 4 & 7, 0)
            found.append(slice(min(begin + prefix + FILE_AUTHENTICATION_FIXED, after), after))
        at = after
    return found


FINDERS: Mapping[int, Callable[[bytes], list[slice]]] = {Protocol.S7COMM: _s7comm, Protocol.DNP3: _dnp3}


def carriers(columns: Columns) -> npt.NDArray[np.intp]:
    """Rows whose PDUs may carry a password: few, as only functions that can are looked into."""
    s7comm = np.flatnonzero(columns.protocol == Protocol.S7COMM)  # the protocol first: one octet, and it leaves few
    dnp3 = np.flatnonzero(columns.protocol == Protocol.DNP3)
    function = columns.function[s7comm]
    s7comm = s7comm[(columns.subfunction[s7comm] >> 8 == s7.SECURITY) | (function == s7.PI_SERVICE)]
    function = columns.function[dnp3]
    dnp3 = dnp3[(function == AUTHENTICATE_FILE) | (columns.object[dnp3] == FILE_AUTHENTICATION)]
    return np.sort(np.concatenate([s7comm, dnp3]))


def passwords(protocol: int, pdu: bytes) -> list[slice]:
    """Where passwords stand in a PDU (EventBatch.pdu), with what cannot be told from them. Never raises."""
    finder = FINDERS.get(protocol)
    return [span for span in finder(pdu) if pdu[span]] if finder else []
