"""S7comm (protocol id 0x32): the communication of SIMATIC S7-300/400 and, where it is allowed, S7-1200/1500 CPUs.

A PDU is a header of 10 octets (12 in acknowledgements), parameters, data. No public standard exists: s7comm_tables.py
names the sources. This file holds the compiled reading (with s7comm_walk.py) and `explain`, whose parts are
s7comm_jobs.py (jobs, acknowledgements), s7comm_userdata.py, s7comm_items.py (variables) and s7comm_blocks.py (blocks).

Not decoded: S7comm-plus (protocol id 0x72; see `is_s7comm`), the contents of blocks and of data record routing. User
data that spans several PDUs is decoded as far as each PDU goes alone.

How the PDU record is filled (the rest is as sensor/decode/pdu.py says):

- function: the function code of jobs and of acknowledgements with data; ABSENT for user data and bare acknowledgements.
- subfunction: of user data, group << 8 | sub-function.
- status: of acknowledgements error class << 8 | error code, of user data responses the error number of the parameters;
  0 where nothing is wrong. A read or write of which no item succeeded is refused, with the first item's return code; 0
  is reserved and says nothing.
- object: the first item as `area << 48 | DB number << 32 | bit address` (element number for timers and counters). Other
  syntaxes set bit 56: `(0x100 | syntax) << 48 | ...`; see s7comm_walk.py. ABSENT where a request addresses no variable.
- quantity: the item count of reads, writes, subscriptions and of variable status, modify and force.
- value: the first value written or read, as unsigned raw bits, where it is one, two or four octets long.
- detail: of requests, everything that tells two behaviours apart and is neither a reference nor a value nor a password;
  of diagnostic and alarm indications the event number, so that each kind of event is a behaviour of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.decode.pdu import PDU, Anomaly, Kind, Protocol, clear, hash_bytes, mix
from sensor.operations import Verb
from sensor.protocols import s7comm_tables as t
from sensor.protocols.s7comm_items import Octets
from sensor.protocols.s7comm_jobs import describe_answer, describe_error, describe_job, verb_of
from sensor.protocols.s7comm_userdata import describe_userdata
from sensor.protocols.s7comm_walk import data_items, octets_of, specifications
from sensor.records import as_octets

PROTOCOL_ID = 0x32
HEADER, ACK_HEADER = 10, 12

S7COMM = int(Protocol.S7COMM)
REQUEST, RESPONSE, UNSOLICITED = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)

KNOWN_FUNCTION = np.zeros(256, dtype=np.bool_)
KNOWN_FUNCTION[list(t.FUNCTIONS)] = True
KNOWN_SUBFUNCTION = np.zeros(64 * 256, dtype=np.bool_)
for _group, _codes in t.SUBFUNCTIONS.items():
    KNOWN_SUBFUNCTION[[_group << 8 | _code for _code in _codes]] = True
KNOWN_SUBFUNCTION[t.PBC << 8 : (t.PBC + 1) << 8] = True  # its sub-function octet says nothing that sources agree on

# Area of a status item, by its high half octet, as S7ANY area; 0: none.
STATUS_AREA = np.zeros(16, dtype=np.int64)
STATUS_AREA[list(t.STATUS_AREAS)] = list(t.STATUS_AREAS.values())

# Plain integers: compiled code freezes what this module holds, not what another does.
JOB, ACK, ACK_DATA, USERDATA = t.JOB, t.ACK, t.ACK_DATA, t.USERDATA
READ_VARIABLE, WRITE_VARIABLE, SETUP_COMMUNICATION = t.READ_VARIABLE, t.WRITE_VARIABLE, t.SETUP_COMMUNICATION
REQUEST_DOWNLOAD, START_UPLOAD, PI_SERVICE, PLC_STOP = t.REQUEST_DOWNLOAD, t.START_UPLOAD, t.PI_SERVICE, t.PLC_STOP
INDICATION, ASK, ANSWER = t.INDICATION, t.ASK, t.ANSWER
PROGRAMMER, CYCLIC, BLOCKS, CPU, PBC, NC = t.PROGRAMMER, t.CYCLIC, t.BLOCKS, t.CPU, t.PBC, t.NC
VARIABLE_STATUS, MODIFY_VARIABLE, FORCE = t.VARIABLE_STATUS, t.MODIFY_VARIABLE, t.FORCE
DISABLE_JOB, REPLACE_JOB, UNSUBSCRIBE, READ_RECORD = t.DISABLE_JOB, t.REPLACE_JOB, t.UNSUBSCRIBE, t.READ_RECORD
READ_SZL, DIAGNOSTIC_MESSAGE, SCAN_INDICATION, AR_SEND = t.READ_SZL, t.DIAGNOSTIC_MESSAGE, t.SCAN_INDICATION, t.AR_SEND
ALARM_LOCKED, ALARM_UNLOCKED, DELETE_JOB = t.ALARM_LOCKED, t.ALARM_UNLOCKED, t.DELETE_JOB
NC_REQUEST_DOWNLOAD, NC_START_UPLOAD = t.NC_REQUEST_DOWNLOAD, t.NC_START_UPLOAD
R_ID, ITEM_OK = t.R_ID, t.ITEM_OK


@njit(cache=True, nogil=True, boundscheck=True)
def is_s7comm(buf, at, end):
    """Whether the user data of a TSDU is S7comm; protocol id 0x72 (S7comm-plus) and everything else is not."""
    return end - at >= HEADER and buf[at] == PROTOCOL_ID and 1 <= buf[at + 1] <= 7


@njit(cache=True, nogil=True, boundscheck=True)
def _holds_password(buf, at, end):
    """Whether the PI service named in buf[at:end] takes a password: its name holds "LOGIN" or "PWD"."""
    for i in range(at, end - 2):
        if buf[i] == 0x50 and buf[i + 1] == 0x57 and buf[i + 2] == 0x44:
            return True
        if i + 5 <= end and buf[i] == 0x4C and buf[i + 1] == 0x4F and buf[i + 2] == 0x47 and buf[i + 3] == 0x49:
            return True
    return False


@njit(cache=True, nogil=True, boundscheck=True)
def _hash_string(seed, buf, at, end, pdu):
    """Hash of the string whose length octet stands at `at`."""
    if at >= end:
        pdu.anomalies |= LENGTH
        return np.uint64(0)
    stop = at + 1 + np.int64(buf[at])
    if stop > end:
        pdu.anomalies |= LENGTH
        stop = end
    return hash_bytes(seed, buf, at + 1, stop)


@njit(cache=True, nogil=True, boundscheck=True)
def _pi_service(buf, at, end, seed, pdu):
    """Detail of a PI service in the parameters buf[at:end]: name and parameter block, without a password."""
    if end - at < 11:
        pdu.anomalies |= LENGTH
        return
    name = at + 10 + u16be(buf, at + 8)
    if name >= end:
        pdu.anomalies |= LENGTH
        return
    pdu.detail = _hash_string(seed, buf, name, end, pdu)
    if not _holds_password(buf, name + 1, end):
        pdu.detail = mix(pdu.detail, hash_bytes(seed, buf, at + 10, name))


@njit(cache=True, nogil=True, boundscheck=True)
def _job(buf, at, middle, end, seed, pdu):
    """What a job adds; its parameters are buf[at:middle], its data buf[middle:end]."""
    pdu.kind = REQUEST
    pdu.expects = 1
    function = pdu.function
    if function in (READ_VARIABLE, WRITE_VARIABLE):
        if middle - at < 2:
            pdu.anomalies |= LENGTH
            return
        count = np.int64(buf[at + 1])
        if specifications(buf, at + 2, middle, count, pdu) != middle:
            pdu.anomalies |= LENGTH
        pdu.detail = hash_bytes(seed, buf, at + 1, middle)
        if function == WRITE_VARIABLE:
            data_items(buf, middle, end, count, 0, 0, pdu)
    elif function == SETUP_COMMUNICATION:
        if middle - at != 8:
            pdu.anomalies |= LENGTH
        pdu.detail = hash_bytes(seed, buf, at + 1, middle)
    elif REQUEST_DOWNLOAD <= function <= START_UPLOAD:
        pdu.detail = _hash_string(seed, buf, at + 8, middle, pdu)
    elif function == PI_SERVICE:
        _pi_service(buf, at, middle, seed, pdu)
    elif function == PLC_STOP:
        pdu.detail = _hash_string(seed, buf, at + 6, middle, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _acknowledgement(buf, at, middle, end, pdu):
    """What an acknowledgement adds: `status` holds the header's error already."""
    pdu.kind = RESPONSE
    pdu.refused = 1 if pdu.status != 0 else 0
    function = pdu.function
    if pdu.refused or function not in (READ_VARIABLE, WRITE_VARIABLE):
        return
    if middle - at < 2:
        pdu.anomalies |= LENGTH
        return
    count = np.int64(buf[at + 1])
    first, good = np.int64(-1), 0
    if function == READ_VARIABLE:
        first, good = data_items(buf, middle, end, count, 1, 0, pdu)
    else:
        if end - middle < count:
            pdu.anomalies |= LENGTH
        for i in range(middle, min(middle + count, end)):
            if i == middle:
                first = np.int64(buf[i])
            good += buf[i] == ITEM_OK
    if first > 0 and good == 0:
        pdu.refused = 1
        pdu.status = first


@njit(cache=True, nogil=True, boundscheck=True)
def _programmer_request(buf, at, end, seed, pdu):
    """Object, quantity, value and detail of a programmer command; buf[at:end] is the payload behind the data head."""
    if end - at < 4:
        pdu.anomalies |= LENGTH
        return
    middle = at + 4 + u16be(buf, at)
    stop = middle + u16be(buf, at + 2)
    if stop != end:
        pdu.anomalies |= LENGTH
    middle, stop = min(middle, end), min(stop, end)
    code = pdu.subfunction & 0xFF
    if DISABLE_JOB <= code <= REPLACE_JOB:  # the job's number is a reference, its function is not
        place = middle + 2 if code in (REPLACE_JOB, DELETE_JOB) else middle
        pdu.detail = mix(seed, np.uint64(buf[place])) if place < stop else np.uint64(0)
        return
    pdu.detail = hash_bytes(seed, buf, at + 4, middle)
    if code not in (VARIABLE_STATUS, MODIFY_VARIABLE, FORCE):
        return
    if stop - middle < 2:
        pdu.anomalies |= LENGTH
        return
    count = u16be(buf, middle)
    values = middle + 2 + 6 * count
    pdu.quantity = count
    if count == 0:
        pdu.anomalies |= ILLEGAL
    if values > stop:
        pdu.anomalies |= LENGTH
        values = stop
    pdu.detail = mix(pdu.detail, hash_bytes(seed, buf, middle, values))
    if values - middle >= 8:
        at = middle + 2
        area = STATUS_AREA[buf[at] >> 4]
        place = u16be(buf, at + 4)
        if buf[at] & 0x0F != 4:  # timers and counters have a number, the others an octet and, of bits, a bit
            place = place << 3
            if buf[at] & 0x0F == 0:
                place |= np.int64(buf[at + 1]) & 7
        pdu.object = (area << 48) | (u16be(buf, at + 2) << 32) | place
    if code != VARIABLE_STATUS:
        data_items(buf, values, stop, count, 0, 1, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _userdata_request(buf, at, end, seed, pdu):
    """What a user data request adds; buf[at:end] is the payload behind the four octets of the data head."""
    group, code = pdu.subfunction >> 8, pdu.subfunction & 0xFF
    if group == PROGRAMMER:
        _programmer_request(buf, at, end, seed, pdu)
    elif group == CYCLIC:
        if code == UNSUBSCRIBE:  # names a job by its number, which is a reference
            return
        items = at + (2 if code == READ_RECORD else 4)
        if items > end:
            pdu.anomalies |= LENGTH
            return
        specifications(buf, items, end, np.int64(buf[at + 1]), pdu)
        pdu.detail = hash_bytes(seed, buf, at, end)
    elif group == CPU and code == READ_SZL:
        pdu.detail = hash_bytes(seed, buf, at, min(at + 4, end))  # id and index; a follow-up request has neither
    elif group in (CPU, BLOCKS):
        pdu.detail = hash_bytes(seed, buf, at, end)
    elif group == PBC:
        pdu.detail = hash_bytes(seed, buf, at, min(at + 8, end))  # the R_ID's specification
    elif group == NC and code in (NC_REQUEST_DOWNLOAD, NC_START_UPLOAD):
        pdu.detail = hash_bytes(seed, buf, at, end)  # the file's name


@njit(cache=True, nogil=True, boundscheck=True)
def _indication(buf, at, end, seed, pdu):
    """Which event an indication of the CPU reports; buf[at:end] is the payload behind the data head."""
    code = pdu.subfunction & 0xFF
    if code == DIAGNOSTIC_MESSAGE:
        pdu.detail = hash_bytes(seed, buf, at, min(at + 2, end))
        return
    if code == AR_SEND:
        pdu.detail = hash_bytes(seed, buf, at, min(at + 8, end))
        return
    # Alarms: time stamp of eight octets (between two of two in SCAN), function, count, first specification. Locking and
    # unlocking carry no time. The event number is the specification's octets 4 to 7.
    first = at + (12 if code == SCAN_INDICATION else 8)
    if code in (ALARM_LOCKED, ALARM_UNLOCKED):
        first = at
    if end - first >= 10:
        pdu.detail = hash_bytes(seed, buf, first + 6, first + 10)


@njit(cache=True, nogil=True, boundscheck=True)
def _userdata(buf, at, middle, end, seed, pdu):
    """Parameters buf[at:middle]: head, count, 0x12, length, syntax, type and group, sub-function, sequence [, ...]."""
    pdu.kind = UNSOLICITED
    if middle - at < 8:
        pdu.anomalies |= LENGTH
        return
    if buf[at] > 1:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if buf[at + 4] == R_ID and buf[at + 3] == 6:  # USEND: an identification stands where others have type and group
        pdu.detail = hash_bytes(seed, buf, at + 5, middle)
        return
    kind = np.int64(buf[at + 5]) >> 6
    group = np.int64(buf[at + 5]) & 0x3F
    pdu.subfunction = group << 8 | np.int64(buf[at + 6])
    if not KNOWN_SUBFUNCTION[pdu.subfunction]:
        pdu.anomalies |= UNKNOWN_FUNCTION
    payload = end
    if end - middle >= 4:
        payload = middle + 4
        if octets_of(np.int64(buf[middle + 1]), u16be(buf, middle + 2)) != end - payload:
            pdu.anomalies |= LENGTH
    elif end != middle:
        pdu.anomalies |= LENGTH
    if kind == ASK:
        pdu.kind = REQUEST
        pdu.expects = 1
        if payload < end:
            _userdata_request(buf, payload, end, seed, pdu)
    elif kind == ANSWER:
        pdu.kind = RESPONSE
        pdu.status = u16be(buf, at + 10) if middle - at >= 12 else 0
        pdu.refused = 1 if pdu.status != 0 else 0
    elif kind == INDICATION:
        if group == CPU:
            _indication(buf, payload, end, seed, pdu)
    else:
        pdu.anomalies |= ILLEGAL


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill the cleared record `pdu` from one S7comm PDU, buf[at:end], protocol id first. Never raises, never allocates.

    seed: of the hash in `detail`, the same for the whole run.
    """
    pdu.protocol = S7COMM
    if end - at < HEADER:
        pdu.kind = UNSOLICITED
        pdu.anomalies |= LENGTH
        return
    rosctr = np.int64(buf[at + 1])
    pdu.transaction = u16be(buf, at + 4)
    start = at + (ACK_HEADER if rosctr in (ACK, ACK_DATA) else HEADER)
    middle = start + u16be(buf, at + 6)
    stop = middle + u16be(buf, at + 8)
    if stop != end:
        pdu.anomalies |= LENGTH
    start, middle, stop = min(start, end), min(middle, end), min(stop, end)
    if rosctr == USERDATA:
        _userdata(buf, start, middle, stop, seed, pdu)
        return
    if rosctr in (JOB, ACK_DATA) and middle > start:
        pdu.function = np.int64(buf[start])
        if not KNOWN_FUNCTION[buf[start]]:
            pdu.anomalies |= UNKNOWN_FUNCTION
    if rosctr == JOB:
        if middle == start:  # a job without a function
            pdu.anomalies |= ILLEGAL
        _job(buf, start, middle, stop, seed, pdu)
    elif rosctr in (ACK, ACK_DATA):
        pdu.status = u16be(buf, at + 10) if end - at >= ACK_HEADER else 0
        _acknowledgement(buf, start, middle, stop, pdu)
    else:
        pdu.kind = UNSOLICITED
        pdu.anomalies |= UNKNOWN_FUNCTION


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """Every field of one S7comm PDU; the keys are S7COMM in sensor/schema.py. Never raises.

    pdu: from the protocol id. request: the PDU of the matched request, which types the values of a read and names the
    variables of both; without it values are shown as their transport size has them. Passwords are never in the result.
    """
    out: dict[str, Any] = {}
    octets = Octets(pdu)
    octets.take(1)
    rosctr = octets.number()
    out["s7comm.rosctr"] = rosctr
    out["s7comm.rosctr_name"] = t.ROSCTR.get(rosctr, "unknown")
    if redundancy := octets.number(2):
        out["s7comm.redundancy_id"] = redundancy
    out["s7comm.pdu_reference"] = octets.number(2)
    out["s7comm.parameter_length"] = octets.number(2)
    out["s7comm.data_length"] = octets.number(2)
    verb = Verb.UNKNOWN
    if rosctr in (t.ACK, t.ACK_DATA):
        describe_error(octets, out)
        verb = verb_of(request)
    parameters = Octets(octets.take(out["s7comm.parameter_length"]))
    data = Octets(octets.take(out["s7comm.data_length"]))
    if rosctr == t.USERDATA:
        verb = describe_userdata(parameters, data, request, out)
    elif rosctr in (t.JOB, t.ACK_DATA) and parameters.left:
        function = parameters.number()
        name, verb = t.FUNCTIONS.get(function, ("unknown", Verb.UNKNOWN))
        out["s7comm.function"] = function
        out["s7comm.function_name"] = name
        if rosctr == t.JOB:
            verb = describe_job(function, parameters, data, out) or verb
        else:
            describe_answer(function, parameters, data, request, out)
            verb = verb_of(request) if request else verb
    out["event.action"] = verb.value
    found = _anomalies(pdu)
    if octets.short or parameters.short or data.short:
        found |= Anomaly.LENGTH
    if found:
        out["anomalies"] = [flag.name.lower() for flag in Anomaly if flag in found and flag.name]
    return {name: value for name, value in out.items() if value != []}


def _anomalies(pdu: bytes) -> Anomaly:
    """What `read` finds wrong with the PDU, so that a row and its explanation agree."""
    row = np.zeros(1, dtype=PDU)[0]
    clear(row)
    with np.errstate(over="ignore"):  # without numba, numpy warns that the hash wraps
        read(as_octets(pdu), 0, len(pdu), np.uint64(0), row)
    return Anomaly(int(row.anomalies))
