"""MMS, compiled: fill the narrow row from an MMS PDU, or from the session around it where there is none.

Sources: see mms_tables.py; mms_layers.py finds the MMS PDU. How the PDU record is filled (the rest is as
sensor/decode/pdu.py says):

- function: the class of the PDU, by the tag of its request: 0 confirmed service, 3 unconfirmed, 5 cancel, 8
  association, 11 conclude; 0x109 release and 0x119 abort by session or ACSE alone; 4 a rejection of no request. Errors
  and rejections of a service do not name it: they pair by class and invoke id.
- subfunction: the service's tag, plus of IEC 61850 names a finer code << 8: 1 operate, 2 select, 3 cancel, 4 report,
  5 GOOSE or sampled value control block, 6 setting.
- transaction: the invoke id; bit 32 and above for what has none.
- quantity: number of variables. value: the first one written or read, where it is a number.
- status: of refusals; DataAccessError of the first variable when none succeeded, 0x1000 | class << 8 | code of a
  service error, 0x2000 | what << 8 | reason of a rejection, 0x3000 | result of a refused association.
- detail: of requests the names and arguments without values and handles; of reports what they report.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.decode.pdu import Anomaly, Kind, hash_bytes
from sensor.protocols import mms_tables as t
from sensor.protocols.ber import CUT, child, count, element, number
from sensor.protocols.mms_data import VISIBLE_STRING, first_value
from sensor.protocols.mms_layers import inside, is_mms, presented, session_octets

__all__ = ["is_mms", "read"]

REQUEST, RESPONSE, UNSOLICITED = int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)

CONNECT, ACCEPT, REFUSE, FINISH, DISCONNECT = t.CONNECT, t.ACCEPT, t.REFUSE, t.FINISH, t.DISCONNECT
ABORT, ABORT_ACCEPT, NOT_FINISHED, DATA_TRANSFER = t.ABORT, t.ABORT_ACCEPT, t.NOT_FINISHED, t.DATA_TRANSFER
CONFIRMED, UNCONFIRMED, REJECT, CANCEL = t.CONFIRMED, t.UNCONFIRMED, t.REJECT, t.CANCEL
INITIATE, CONCLUDE, RELEASE, SESSION_ABORT = t.INITIATE, t.CONCLUDE, t.RELEASE, t.SESSION_ABORT
READ, WRITE, INFORMATION_REPORT = t.READ, t.WRITE, t.INFORMATION_REPORT
OPERATE, SELECT, CANCEL_CONTROL = t.OPERATE, t.SELECT, t.CANCEL_CONTROL
SERVICE_ERROR, REJECTION, NOT_ASSOCIATED = t.SERVICE_ERROR, t.REJECTION, t.NOT_ASSOCIATED

KNOWN_SERVICE = np.zeros(256, np.bool_)
KNOWN_SERVICE[list(t.SERVICES)] = True
HANDLE = np.zeros(256, np.bool_)
HANDLE[list(t.WITH_HANDLE)] = True
FINER_OF = np.zeros(1 << 16, np.uint8)  # by the two octets of a functional constraint
for _name, _code in t.FUNCTIONAL_CONSTRAINTS.items():
    FINER_OF[int.from_bytes(_name, "big")] = _code
CONTROLS = int.from_bytes(t.CONTROLS, "big")
DOLLAR = 0x24
# The last component of a control's name, as text; SBO is a prefix of SBOw.
_OPER = np.frombuffer(b"Oper", np.uint8)
_SBOW = np.frombuffer(b"SBOw", np.uint8)
_SBO = np.frombuffer(b"SBO", np.uint8)
_CANCEL = np.frombuffer(b"Cancel", np.uint8)

# Transactions of what has no invoke id.
ASSOCIATION, CONCLUSION, RELEASING = np.int64(1 << 32 | 8), np.int64(1 << 32 | 11), np.int64(1 << 32 | 9)
CANCELLING = np.int64(1 << 33)


@njit(cache=True, nogil=True, boundscheck=True)
def _is(buf, at, end, word):
    """Whether buf[at:] begins with `word`, ended by `end` or by the next component."""
    stop = at + len(word)
    if stop > end or (stop < end and buf[stop] != DOLLAR):
        return False
    for k in range(len(word)):  # noqa: SIM110 (compiled)
        if buf[at + k] != word[k]:
            return False
    return True


@njit(cache=True, nogil=True, boundscheck=True)
def _finer(buf, at, end, service):
    """What the variable named in buf[at:end] is for, if its name is of IEC 61850: `logical node$constraint$...`."""
    while at < end and buf[at] != DOLLAR:
        at += 1
    if end - at < 3 or (end - at > 3 and buf[at + 3] != DOLLAR):
        return np.int64(0)
    constraint = u16be(buf, at + 1)
    if constraint != CONTROLS:
        return np.int64(FINER_OF[constraint]) if service == WRITE else np.int64(0)
    for k in range(at + 3, end):
        if buf[k] == DOLLAR:
            if service == READ:
                if _is(buf, k + 1, end, _SBO):
                    return np.int64(SELECT)
            elif _is(buf, k + 1, end, _OPER):
                return np.int64(OPERATE)
            elif _is(buf, k + 1, end, _SBOW):
                return np.int64(SELECT)
            elif _is(buf, k + 1, end, _CANCEL):
                return np.int64(CANCEL_CONTROL)
    return np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True)
def _named(buf, at, end, service):
    """Finer code of the object name in buf[at:end]: of the VMD or the association (80, 82), or of a domain (A1)."""
    identifier, start, stop, _after = element(buf, at, end)
    if identifier == 0xA1:
        _identifier, _start, _stop, second = element(buf, start, stop)
        if second >= stop:
            return np.int64(0)
        identifier, start, stop, _after = element(buf, second, stop)
    return _finer(buf, start, stop, service) if identifier != CUT else np.int64(0)


@njit(cache=True, nogil=True, boundscheck=True)
def _variables(buf, identifier, at, end, service, pdu):
    """Count the variables of a variableAccessSpecification and tell what they are for; the most weighty one wins."""
    if identifier != 0xA0:  # the name of a list
        return
    finer = np.int64(0)
    pdu.quantity = 0
    while at < end:
        _identifier, start, stop, at = element(buf, at, end)
        pdu.quantity += 1
        begin, finish = child(buf, start, stop, 0xA0)
        if begin >= 0:
            code = _named(buf, begin, finish, service)
            if code > 0 and (finer == 0 or code < finer):
                finer = code
    if at > end:
        pdu.anomalies |= LENGTH
    pdu.subfunction |= finer << 8


@njit(cache=True, nogil=True, boundscheck=True)
def _tag(identifier):
    """Tag number of an identifier."""
    return identifier & 0xFFFFFF if identifier > 0xFF else identifier & 0x1F


@njit(cache=True, nogil=True, boundscheck=True)
def _service(buf, at, end, pdu):
    """Invoke id and service of a confirmed request or response: returns (begin, end) of the service's arguments."""
    identifier, start, stop, after = element(buf, at, end)
    if identifier != 0x02 or stop - start > 5 or stop == start:
        pdu.anomalies |= LENGTH
        return end, end
    pdu.transaction = number(buf, start, stop) & 0xFFFFFFFF
    identifier, start, stop, after = element(buf, after, end)
    if identifier == 0x30 and after <= end:  # modifiers stand before the service
        identifier, start, stop, after = element(buf, after, end)
    if identifier == CUT:
        pdu.anomalies |= LENGTH
        return end, end
    if after > end:
        pdu.anomalies |= LENGTH
    service = _tag(identifier)
    if service > 255 or not KNOWN_SERVICE[service]:
        pdu.anomalies |= UNKNOWN_FUNCTION
    pdu.subfunction = min(service, 255)
    return start, stop


@njit(cache=True, nogil=True, boundscheck=True)
def _confirmed_request(buf, at, end, seed, pdu):
    pdu.kind = REQUEST
    pdu.expects = 1
    start, stop = _service(buf, at, end, pdu)
    service = pdu.subfunction
    if service < 0 or HANDLE[service]:
        return
    if service == READ:
        start, stop = child(buf, start, stop, 0xA1)
        if start < 0:
            pdu.anomalies |= ILLEGAL
            return
        identifier, begin, finish, _after = element(buf, start, stop)
        _variables(buf, identifier, begin, finish, READ, pdu)
    elif service == WRITE:
        identifier, begin, finish, after = element(buf, start, stop)
        _variables(buf, identifier, begin, finish, WRITE, pdu)
        values, last = child(buf, min(after, stop), stop, 0xA0)
        if values < 0:
            pdu.anomalies |= ILLEGAL
        else:
            pdu.value = first_value(buf, values, last)
            if identifier == 0xA0 and count(buf, values, last) != pdu.quantity:
                pdu.anomalies |= LENGTH
        start, stop = begin, finish
    pdu.detail = hash_bytes(seed, buf, start, stop)


@njit(cache=True, nogil=True, boundscheck=True)
def _confirmed_response(buf, at, end, pdu):
    pdu.kind = RESPONSE
    start, stop = _service(buf, at, end, pdu)
    if pdu.subfunction not in (READ, WRITE):
        return
    if pdu.subfunction == READ:
        start, stop = child(buf, start, stop, 0xA1)
        if start < 0:
            pdu.anomalies |= ILLEGAL
            return
        pdu.value = first_value(buf, start, stop)
    good = False
    error = np.int64(-1)
    results = np.int64(0)
    while start < stop:
        identifier, begin, finish, start = element(buf, start, stop)
        results += 1
        if identifier != 0x80:  # a failure
            good = True
        elif error < 0:
            error = number(buf, begin, finish) & 0xFF
    pdu.quantity = results
    if error >= 0 and not good:
        pdu.refused = 1
        pdu.status = error


@njit(cache=True, nogil=True, boundscheck=True)
def _service_error(buf, at, end, pdu):
    """Status out of a ServiceError (its class is a context tag, its code the value) in buf[at:end]."""
    pdu.refused = 1
    start, stop = child(buf, at, end, 0xA0)
    if start < 0:
        pdu.anomalies |= ILLEGAL
        return
    identifier, begin, finish, after = element(buf, start, stop)
    if identifier == CUT or after > stop:
        pdu.anomalies |= LENGTH
        return
    pdu.status = SERVICE_ERROR | (_tag(identifier) & 0x0F) << 8 | (number(buf, begin, finish) & 0xFF)


@njit(cache=True, nogil=True, boundscheck=True)
def _error(buf, at, end, pdu):
    """Confirmed error and cancel error: the invoke id [0], then the ServiceError."""
    pdu.kind = RESPONSE
    start, stop = child(buf, at, end, 0x80)
    if start >= 0 and 1 <= stop - start <= 5:
        pdu.transaction = number(buf, start, stop) & 0xFFFFFFFF
    else:
        pdu.anomalies |= ILLEGAL
    inside = np.int64(0xA2) if pdu.function == CONFIRMED else np.int64(0xA1)
    start, stop = child(buf, at, end, inside)
    if start < 0:
        pdu.refused = 1
        pdu.anomalies |= ILLEGAL
    else:
        _service_error(buf, start, stop, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def _reject(buf, at, end, pdu):
    """A rejection says of which PDU, and of confirmed ones the invoke id [0]."""
    pdu.kind = UNSOLICITED
    pdu.function = REJECT
    while at < end:
        identifier, start, stop, at = element(buf, at, end)
        what = _tag(identifier)
        if identifier == CUT or at > end:
            pdu.anomalies |= LENGTH
        elif identifier == 0x80 and 1 <= stop - start <= 5:
            pdu.transaction = number(buf, start, stop) & 0xFFFFFFFF
        elif 1 <= what <= 11:
            pdu.status = REJECTION | what << 8 | (number(buf, start, stop) & 0xFF)
            if what == 1 or what == 5:
                pdu.function = CONFIRMED
            elif what == 6:
                pdu.function = CANCEL
            elif what == 9:
                pdu.function = CONCLUDE
    if pdu.function == CONCLUDE:
        pdu.transaction = CONCLUSION
    elif pdu.transaction < 0:
        pdu.function = REJECT
    elif pdu.function == CANCEL:
        pdu.transaction |= CANCELLING
    if pdu.function != REJECT:
        pdu.kind = RESPONSE
        pdu.refused = 1


@njit(cache=True, nogil=True, boundscheck=True)
def _unconfirmed(buf, at, end, seed, pdu):
    pdu.kind = UNSOLICITED
    identifier, start, stop, after = element(buf, at, end)
    if identifier == CUT or after > end:
        pdu.anomalies |= LENGTH
        return
    pdu.subfunction = min(_tag(identifier), 255)
    if pdu.subfunction > 2:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if pdu.subfunction != INFORMATION_REPORT:
        return
    identifier, begin, finish, after = element(buf, start, stop)
    _variables(buf, identifier, begin, finish, WRITE, pdu)
    h = hash_bytes(seed, buf, begin, finish)
    values, last = child(buf, min(after, stop), stop, 0xA0)
    if values >= 0:
        identifier, begin, finish, _after = element(buf, values, last)
        if identifier == VISIBLE_STRING:  # IEC 61850: the name of the report stands first
            h = hash_bytes(h, buf, begin, finish)
    pdu.detail = h


@njit(cache=True, nogil=True, boundscheck=True)
def _mms(buf, at, end, seed, pdu):
    """The MMS PDU in buf[at:end]."""
    identifier, start, stop, after = element(buf, at, end)
    if after != end:
        pdu.anomalies |= LENGTH
    pdu.kind = UNSOLICITED
    if identifier == 0xA0:
        pdu.function = CONFIRMED
        _confirmed_request(buf, start, stop, seed, pdu)
    elif identifier == 0xA1:
        pdu.function = CONFIRMED
        _confirmed_response(buf, start, stop, pdu)
    elif identifier == 0xA2:
        pdu.function = CONFIRMED
        _error(buf, start, stop, pdu)
    elif identifier == 0xA3:
        pdu.function = UNCONFIRMED
        _unconfirmed(buf, start, stop, seed, pdu)
    elif identifier == 0xA4:
        _reject(buf, start, stop, pdu)
    elif identifier in (0x85, 0x86, 0xA7):
        pdu.function = CANCEL
        if identifier == 0xA7:
            _error(buf, start, stop, pdu)
        else:
            pdu.kind = REQUEST if identifier == 0x85 else RESPONSE
            pdu.expects = 1 if identifier == 0x85 else 0
            pdu.transaction = number(buf, start, stop) & 0xFFFFFFFF
        pdu.transaction |= CANCELLING
    elif identifier in (0xA8, 0xA9, 0xAA, 0x8B, 0x8C, 0xAD):
        pdu.function = INITIATE if identifier in (0xA8, 0xA9, 0xAA) else CONCLUDE
        pdu.transaction = ASSOCIATION if pdu.function == INITIATE else CONCLUSION
        if identifier in (0xA8, 0x8B):
            pdu.kind = REQUEST
            pdu.expects = 1
        else:
            pdu.kind = RESPONSE
        if identifier in (0xAA, 0xAD):
            _service_error(buf, start, stop, pdu)
    else:
        pdu.anomalies |= UNKNOWN_FUNCTION


@njit(cache=True, nogil=True, boundscheck=True)
def _session(session, acse, pdu):
    """A PDU of session or ACSE that carries no MMS."""
    pdu.kind = UNSOLICITED
    if session in (CONNECT, ACCEPT, REFUSE) or acse in (0x60, 0x61):
        pdu.function = INITIATE
        pdu.transaction = ASSOCIATION
        pdu.kind = REQUEST if session == CONNECT or acse == 0x60 else RESPONSE
    elif session in (ABORT, ABORT_ACCEPT) or acse == 0x64:
        pdu.function = SESSION_ABORT
    elif session in (FINISH, DISCONNECT, NOT_FINISHED) or acse in (0x62, 0x63):
        pdu.function = RELEASE
        pdu.transaction = RELEASING
        pdu.kind = REQUEST if session == FINISH or acse == 0x62 else RESPONSE
    else:
        pdu.anomalies |= LENGTH
    pdu.expects = 1 if pdu.kind == REQUEST else 0


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill the cleared record `pdu` from the user data of one TSDU, buf[at:end]. Never raises, never allocates."""
    session, start, stop = presented(buf, at, end)
    acse, begin, finish = np.int64(0), np.int64(-1), np.int64(-1)
    if start >= 0:
        acse, begin, finish = inside(buf, start, stop)
    if begin < 0 or begin >= finish:
        _session(session, acse, pdu)
    else:
        _mms(buf, begin, finish, seed, pdu)
    if 0 < session != DATA_TRANSFER and session_octets(buf, at, end) != end - at:
        pdu.anomalies |= LENGTH
    if session == REFUSE:
        pdu.refused = 1
        pdu.status = NOT_ASSOCIATED
    elif acse == 0x61:
        result = _association_result(buf, start, stop)
        if result > 0:
            pdu.refused = 1
            pdu.status = NOT_ASSOCIATED | result


@njit(cache=True, nogil=True, boundscheck=True)
def _association_result(buf, at, end):
    """The result of the AARE in buf[at:end], [2] INTEGER: 0 accepted, 1 rejected for good, 2 for now; -1: none."""
    start, stop = child(buf, at, end, 0x61)
    if start >= 0:
        start, stop = child(buf, start, stop, 0xA2)
    if start >= 0:
        start, stop = child(buf, start, stop, 0x02)
    return number(buf, start, stop) & 0xFF if 0 <= start < stop else np.int64(-1)
