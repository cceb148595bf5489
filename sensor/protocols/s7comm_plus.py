"""S7comm-plus (protocol id 0x72): SIMATIC S7-1200 and S7-1500, their engineering tools and panels. Named, not decoded.

No public standard exists, and from version 3 on contents are protected. A PDU is `72 version length(2)`, of version 3 a
digest (its length, 32 octets), then opcode, function, sequence number, session, and at the end `72 version 0 0`. These
places were read off captures of real stations; the names of functions are those in common use among analysts.

How the PDU record is filled (the rest is as sensor/decode/pdu.py says):

- function: the function code of requests and responses. transaction: the sequence number.
- subfunction: of requests that create, delete or set something: 1 where that is the session itself or an object that
  lives with it (a subscription), 0 where it belongs to the controller.
- expects: 0 where the transport flags say that no answer is wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be, u32be
from sensor.decode.pdu import PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.records import as_octets

PROTOCOL_ID = 0x72
HEADER, REQUEST_HEADER = 4, 14  # octets before the opcode; of a request from the opcode to the transport flags
DIGEST, WITH_DIGEST = 32, 3
ASK, ANSWER, NOTIFICATION = 0x31, 0x32, 0x33
NO_ANSWER = 0x40  # of the transport flags
SERVER_SESSION = 0x120  # stands for the session in the request that creates it
SHORT_LIVED = 0x7  # high four bits of objects that are made for a session and end with it
RELATION = 0xA1  # stands before the number of an object that is created
CREDIT = 0x881D  # attribute of a subscription that its client renews: how many notifications it may send

VERSIONS = (1, 2, 3, 0xFE)
EVENT_VERSION = 0xFE  # the system itself speaks; such a PDU has no opcode
OPCODES = {ASK: "request", ANSWER: "response", NOTIFICATION: "notification"}
CREATE_OBJECT, DELETE_OBJECT, SET_VARIABLE, SET_MULTI_VARIABLES = 0x04CA, 0x04D4, 0x04F2, 0x0542
FUNCTIONS: dict[int, tuple[str, Verb]] = {
    0x04BB: ("explore", Verb.IDENTIFY),
    CREATE_OBJECT: ("create_object", Verb.CONFIGURE),
    DELETE_OBJECT: ("delete_object", Verb.CONFIGURE),
    SET_VARIABLE: ("set_variable", Verb.WRITE),
    0x0524: ("get_link", Verb.READ),
    SET_MULTI_VARIABLES: ("set_multi_variables", Verb.WRITE),
    0x054C: ("get_multi_variables", Verb.READ),
    0x0556: ("begin_sequence", Verb.SESSION),
    0x0560: ("end_sequence", Verb.SESSION),
    0x056B: ("invoke", Verb.COMMAND),
    0x057C: ("set_var_substreamed", Verb.WRITE),
    0x0586: ("get_var_substreamed", Verb.READ),
}

REQUEST, RESPONSE, UNSOLICITED = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
LENGTH, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.UNKNOWN_FUNCTION)
KNOWN = np.zeros(1 << 16, np.bool_)
KNOWN[list(FUNCTIONS)] = True


@njit(cache=True, nogil=True, boundscheck=True)
def is_s7comm_plus(buf, at, end):
    """Whether the user data of a TSDU is S7comm-plus: tells it from S7comm and MMS behind COTP."""
    if end - at < HEADER or buf[at] != PROTOCOL_ID or buf[at + 1] not in VERSIONS:
        return False
    return HEADER + u16be(buf, at + 2) <= end - at


@njit(cache=True, nogil=True, boundscheck=True)
def _opcode_at(buf, at, end):
    """Where the opcode stands, at most `end`."""
    start = at + HEADER
    if end - at > HEADER + 1 + DIGEST and buf[at + 1] == WITH_DIGEST and buf[start] == DIGEST:
        start += 1 + DIGEST
    return min(start, end)


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill the cleared record `pdu` from one PDU, buf[at:end], protocol id first. Never raises, never allocates."""
    pdu.kind = UNSOLICITED
    if end - at < HEADER:
        pdu.anomalies |= LENGTH
        return
    stop = at + HEADER + u16be(buf, at + 2)
    if stop > end:
        pdu.anomalies |= LENGTH
        stop = end
    start = _opcode_at(buf, at, stop)
    if start >= stop or buf[at + 1] == EVENT_VERSION or buf[start] not in (ASK, ANSWER, NOTIFICATION):
        pdu.continues = 1  # an event, or a later part of a message whose first part has the opcode
        return
    if buf[start] == NOTIFICATION:
        return
    if stop - start < 9:
        pdu.anomalies |= LENGTH
        return
    pdu.function = u16be(buf, start + 3)
    pdu.transaction = u16be(buf, start + 7)
    if not KNOWN[pdu.function]:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if buf[start] == ANSWER:
        pdu.kind = RESPONSE
        return
    pdu.kind = REQUEST
    if stop - start < REQUEST_HEADER:
        pdu.anomalies |= LENGTH
        return
    pdu.expects = 0 if buf[start + 13] & NO_ANSWER else 1
    pdu.subfunction = _own(buf, start, stop, pdu.function)


@njit(cache=True, nogil=True, boundscheck=True)
def _own(buf, at, end, function):
    """Whether the request whose opcode stands at `at` is about its own session: 1 or 0; -1: it cannot be."""
    session = u32be(buf, at + 9)
    if function == CREATE_OBJECT:
        if session == SERVER_SESSION:
            return 1
        return 1 if end - at >= 30 and buf[at + 25] == RELATION and u32be(buf, at + 26) >> 28 == SHORT_LIVED else 0
    if function not in (DELETE_OBJECT, SET_VARIABLE, SET_MULTI_VARIABLES) or end - at < REQUEST_HEADER + 4:
        return -1
    of = u32be(buf, at + REQUEST_HEADER)
    if of == session or of >> 28 == SHORT_LIVED:
        return 1
    return 1 if function == SET_VARIABLE and end - at >= 21 and u16be(buf, at + 19) == CREDIT else 0


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """The names in one PDU; the keys are S7COMM_PLUS in sensor/schema.py. Never raises.

    request: the matched request, which tells what an answer is about.
    """
    row = _row(pdu)
    function, own = int(row.function), int(row.subfunction) == 1
    if request is not None:
        own = int(_row(request).subfunction) == 1
    out: dict[str, Any] = {}
    if len(pdu) >= HEADER:
        out["s7comm_plus.version"] = pdu[1]
        out["s7comm_plus.length"] = int.from_bytes(pdu[2:4], "big")
        buffer = as_octets(pdu)
        start = int(_opcode_at(buffer, 0, len(pdu)))
        if start < len(pdu) and not row.continues:
            out["s7comm_plus.opcode"] = pdu[start]
            out["s7comm_plus.opcode_name"] = OPCODES.get(pdu[start], "unknown")
            if row.kind == REQUEST and len(pdu) >= start + 13:
                out["s7comm_plus.session"] = int.from_bytes(pdu[start + 9 : start + 13], "big")
    verb = Verb.REPORT
    if function >= 0:
        name, verb = FUNCTIONS.get(function, ("unknown", Verb.UNKNOWN))
        out["s7comm_plus.function"], out["s7comm_plus.function_name"] = function, name
        out["s7comm_plus.sequence"] = int(row.transaction)
        verb = Verb.SESSION if own else verb
    out["event.action"] = verb.value
    found = Anomaly(int(row.anomalies))
    if found:
        out["anomalies"] = [str(flag.name).lower() for flag in Anomaly if flag in found]
    return out


def _row(pdu: bytes) -> Any:
    """The narrow row of one PDU, so that it and its explanation agree."""
    row = np.zeros(1, dtype=PDU)[0]
    clear(row)
    read(as_octets(pdu), 0, len(pdu), np.uint64(0), row)
    return row
