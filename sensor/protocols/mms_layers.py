"""Session, presentation and ACSE around MMS, compiled: where the MMS PDU stands in the user data of a TSDU.

Sources: ISO 8327-1 (session PDUs), ISO 8823-1 (presentation), ISO 8650-1 (ACSE). Only the way to the MMS PDU is read.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.protocols import mms_tables as t
from sensor.protocols.ber import CUT, child, element

CONNECT, ACCEPT, REFUSE, FINISH, DISCONNECT = t.CONNECT, t.ACCEPT, t.REFUSE, t.FINISH, t.DISCONNECT
ABORT, ABORT_ACCEPT, NOT_FINISHED, DATA_TRANSFER = t.ABORT, t.ABORT_ACCEPT, t.NOT_FINISHED, t.DATA_TRANSFER
USER_DATA, EXTENDED_USER_DATA = 193, 194  # PGI of session user data
ITEM = 5  # PGI of the connect/accept item, with which CONNECT and ACCEPT begin


@njit(cache=True, nogil=True, boundscheck=True)
def _bare(buf, at, end):
    """Whether an MMS PDU without session and presentation begins here; some stacks leave these layers out."""
    identifier, start, stop, after = element(buf, at, end)
    if after != end:
        return False
    first = np.int64(buf[start]) if start < stop else np.int64(-1)
    if identifier in (0xA0, 0xA1):  # the invoke id, at most five octets
        return first == 0x02 and stop - start > 3 and 1 <= buf[start + 1] <= 5
    if identifier in (0xA2, 0xA4, 0xA7):
        return first == 0x80 or (identifier == 0xA4 and 0x81 <= first <= 0x8B)
    if identifier == 0xA3:
        return first in (0xA0, 0xA1, 0xA2)
    if identifier in (0x85, 0x86):
        return 1 <= stop - start <= 5
    if identifier in (0x8B, 0x8C):
        return start == stop
    return identifier in (0xA8, 0xA9) and first in (0x80, 0x81) and stop - start > 8


@njit(cache=True, nogil=True, boundscheck=True)
def session_octets(buf, at, end):
    """How long the session PDU at `at` claims to be, with its head; at least two octets are there."""
    size = np.int64(buf[at + 1])
    if size == 255 and end - at >= 4:
        return 4 + u16be(buf, at + 2)
    return 2 + size


@njit(cache=True, nogil=True, boundscheck=True)
def is_mms(buf, at, end):
    """Whether the user data of a TSDU is MMS or the session that carries it: tells it from S7comm behind COTP."""
    if end - at < 2:
        return False
    octet = np.int64(buf[at])
    if octet in (CONNECT, ACCEPT, REFUSE, FINISH, DISCONNECT, NOT_FINISHED, ABORT, ABORT_ACCEPT):
        return session_octets(buf, at, end) <= end - at or (end - at > 4 and buf[at + 2] == ITEM)
    if octet == DATA_TRANSFER:  # GIVE TOKENS and DATA TRANSFER, both without parameters, then presentation data
        return (
            end - at > 4 and buf[at + 1] == 0 and buf[at + 2] == 1 and buf[at + 3] == 0 and buf[at + 4] in (0x60, 0x61)
        )
    return _bare(buf, at, end)


@njit(cache=True, nogil=True, boundscheck=True)
def _session_data(buf, at, end):
    """User data of the session PDU in buf[at:end], whose parameters begin behind its length: (-1, -1) without any."""
    size = np.int64(buf[at + 1])
    at += 2
    if size == 255:
        at += 2
    while at + 2 <= end:
        code, size = np.int64(buf[at]), np.int64(buf[at + 1])
        at += 2
        if size == 255:
            if at + 2 > end:
                break
            size = u16be(buf, at)
            at += 2
        if code in (USER_DATA, EXTENDED_USER_DATA):
            return at, min(at + size, end)
        at += size
    return np.int64(-1), np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def _presented(buf, at, end):
    """(begin, end) of the first value that presentation data in buf[at:end] carries; (-1, -1) where there is none.

    CP and CPA (a SET) hold it in their normal-mode parameters, aborts in theirs, data as it is.
    """
    for _ in range(3):
        identifier, start, stop, _after = element(buf, at, end)
        if identifier == 0x60:  # simply encoded
            return start, stop
        if identifier == 0x61:  # fully encoded: a list of context, value
            start, stop = child(buf, start, stop, 0x30)
            if start < 0:
                break
            at, end = child(buf, start, stop, 0xA0)
            return at, end
        if identifier == 0x31:
            at, end = child(buf, start, stop, 0xA2)
        elif identifier == 0xA0:
            at, end = start, stop
        else:
            break
        if at < 0:
            break
        while at < end:  # to the user data among the parameters
            identifier, _start, _stop, after = element(buf, at, end)
            if identifier in (0x60, 0x61, CUT):
                break
            at = after
    return np.int64(-1), np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def presented(buf, at, end):
    """(session PDU, begin and end of what presentation carries) in the user data of a TSDU.

    The session PDU is 0 where there is no session and no presentation; the place is (-1, -1) where nothing is carried.
    """
    nothing = np.int64(-1)
    if end - at < 2:
        return np.int64(0), nothing, nothing
    session = np.int64(buf[at])
    if session == DATA_TRANSFER:
        start, stop = _presented(buf, min(at + 4, end), end)
    elif session < 0x20:
        start, stop = _session_data(buf, at, end)
        if start >= 0:
            start, stop = _presented(buf, start, stop)
    else:
        return np.int64(0), at, end
    if start >= stop:
        return session, nothing, nothing
    return session, start, stop


@njit(cache=True, nogil=True, boundscheck=True)
def inside(buf, at, end):
    """(ACSE identifier, begin and end of the MMS PDU) in what presentation carries.

    The identifier is 0 without ACSE, the place (-1, -1) without MMS.
    """
    identifier, start, stop, _after = element(buf, at, end)
    if identifier < 0x60 or identifier > 0x64:
        return np.int64(0), at, end
    start, stop = child(buf, start, stop, 0xBE)  # user information
    if start >= 0:
        start, stop = child(buf, start, stop, 0x28)  # EXTERNAL
    if start >= 0:
        start, stop = child(buf, start, stop, 0xA0)
    return identifier, start, stop
