"""OPC UA binary, compiled: `frame` and `probe` find message chunks, `read` fills the narrow row of each.

Source: OPC 10000-6, chapter 5.2 (binary encoding), 6.7 (secure conversation) and 7.1 (connection protocol). How the PDU
record is filled:

- function: HELLO for HEL, ACK and ERR, which answer each other; then REVERSE_HELLO, OPEN, MESSAGE, CLOSE.
- subfunction: the service, as the encoding id of its request, for the response too; SERVICE_FAULT for a fault.
- transaction: the request id; HELLO has none and is 0.
- kind: NONE where the body cannot be read: it is encrypted, or goes on from an earlier chunk. Which of the two it is
  cannot be told from one chunk, and nothing is guessed.
- expects: 0 for Publish, which the server keeps until there is news; its answers are marked `continues`.
- object: of the first node `namespace << 32 | number`, where it has a number. quantity: nodes, methods, items asked
  for. value: the first value written, where it is a number.
- status: high half of the status code. A service may succeed as a whole and refuse what it was asked: of writes, calls,
  additions and deletions `refused` says that the first is refused.
- detail: node ids and attributes of all that is asked for, as far as they can be walked; of OPN policy and mode.
"""

from __future__ import annotations

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16le
from sensor.decode.pdu import NO_VALUE, Anomaly, Kind, hash_bytes, mix
from sensor.protocols import opcua_encoding as e
from sensor.protocols import opcua_tables as t
from sensor.protocols.little_endian import u32le

HEADER_BYTES = 8
MAX_CHUNK = 1 << 24  # buffers are agreed on; usual ones are 64 KiB, and nobody has 16 MiB
MAX_ITEMS = 256  # nodes of one request that are walked
HELLO, REVERSE_HELLO, OPEN, MESSAGE, CLOSE = 1, 2, 3, 4, 5
HEL, ACK, ERR, RHE, OPN, MSG, CLO = (int.from_bytes(word, "big") for word in
                                     (b"HEL", b"ACK", b"ERR", b"RHE", b"OPN", b"MSG", b"CLO"))  # fmt: skip
FINAL, INTERMEDIATE, ABORT = ord("F"), ord("C"), ord("A")

NONE, REQUEST, RESPONSE, UNSOLICITED = int(Kind.NONE), int(Kind.REQUEST), int(Kind.RESPONSE), int(Kind.UNSOLICITED)
LENGTH, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.UNKNOWN_FUNCTION)
NOTHING = int(NO_VALUE)
SERVICE_FAULT, PUBLISH, OPEN_SECURE_CHANNEL = t.SERVICE_FAULT, t.PUBLISH, t.OPEN_SECURE_CHANNEL
CLOSE_SECURE_CHANNEL, READ, WRITE, CALL = t.CLOSE_SECURE_CHANNEL, t.READ, t.WRITE, t.CALL
BROWSE, ADD_NODES, DELETE_NODES = t.BROWSE, t.ADD_NODES, t.DELETE_NODES
DELETE_REFERENCES, ADD_REFERENCES, CREATE_MONITORED_ITEMS = (
    t.DELETE_REFERENCES,
    t.ADD_REFERENCES,
    t.CREATE_MONITORED_ITEMS,
)

_REQUEST_OF = np.zeros(1 << 14, dtype=np.int32)  # encoding id -> that of the request; 0 for what is no service
_IS_RESPONSE = np.zeros(1 << 14, dtype=np.bool_)
for _known in t.SERVICES:
    _REQUEST_OF[[_known.request, _known.response]] = _known.request
    _IS_RESPONSE[_known.response] = True
_REQUEST_OF[SERVICE_FAULT] = SERVICE_FAULT
_IS_RESPONSE[SERVICE_FAULT] = True


@njit(cache=True, nogil=True, boundscheck=True)
def _word(buf, at):
    """The three letters of a message type."""
    return (np.int64(buf[at]) << 16) | (np.int64(buf[at + 1]) << 8) | np.int64(buf[at + 2])


@njit(cache=True, nogil=True, boundscheck=True)
def _begins(buf, at, have):
    """Whether the first octets, up to three, begin one of the message types."""
    for word in (HEL, ACK, ERR, RHE, OPN, MSG, CLO):
        same = True
        for k in range(min(have, 3)):
            if np.int64(buf[at + k]) != (word >> (16 - 8 * k)) & 0xFF:
                same = False
        if same:
            return True
    return False


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the chunk that begins at buf[at], even beyond `end`; 0: needs more bytes to tell; -1: none begins."""
    have = end - at
    if not _begins(buf, at, have):
        return -1
    if have < 4:
        return 0
    if buf[at + 3] != FINAL and (_word(buf, at) != MSG or (buf[at + 3] != INTERMEDIATE and buf[at + 3] != ABORT)):
        return -1
    if have < HEADER_BYTES:
        return 0
    size = u32le(buf, at + 4)
    if size < HEADER_BYTES + 4 or size > MAX_CHUNK:
        return -1
    return size


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """True where the bytes begin OPC UA so plainly that the port does not matter."""
    have = end - at
    if have < 12:
        return False
    size = frame(buf, at, end)
    if size <= 0:
        return False
    word = _word(buf, at)
    if word == ACK:
        return size == 28
    if word == HEL:
        return have >= 32 and size < 8192 and (u32le(buf, at + 28) == size - 32 or u32le(buf, at + 28) == 0xFFFFFFFF)
    if word == ERR:
        return size < 8192 and have >= 16 and buf[at + 11] & 0x80 != 0
    if word == RHE:
        return size < 8192 and have >= 12 and u32le(buf, at + 8) < size
    if word == OPN:
        return have >= 20 and 16 < u32le(buf, at + 12) < 256 and buf[at + 16] == 0x68 and buf[at + 17] == 0x74
    return size >= 28 and have >= 16 and u32le(buf, at + 8) != 0  # every channel has a number


@njit(cache=True, nogil=True, boundscheck=True)
def service(buf, at, end):
    """(encoding id, where the header begins) of the body at `at`; id -1 where no service can be read.

    The body begins with the id of its type, a number in namespace 0. An id that is no known service is believed where
    a time of our days follows where a header has it.
    """
    number = e.node(buf, at, end)
    begin = e.skip_node(buf, at, end)
    if number <= 0 or number >= 1 << 32 or begin < 0:
        return np.int64(-1), np.int64(at)
    if number < len(_REQUEST_OF) and _REQUEST_OF[number]:
        stamp = begin if _IS_RESPONSE[number] else e.skip_node(buf, begin, end)
        return (number, begin) if e.plausible_time(buf, stamp, end) or begin == end else (np.int64(-1), np.int64(at))
    if e.plausible_time(buf, begin, end) or e.plausible_time(buf, e.skip_node(buf, begin, end), end):
        return number, begin
    return np.int64(-1), np.int64(at)


@njit(cache=True, nogil=True, boundscheck=True)
def body_at(buf, at, end):
    """Where the sequence header of OPN, MSG or CLO begins; -1 where the chunk is cut before it or OPN is encrypted."""
    if _word(buf, at) != OPN:
        return np.int64(at + 16) if at + 24 <= end else np.int64(-1)
    policy = e.skip_string(buf, at + 12, end)
    if policy < 0 or policy - 5 < at + 16 or not ends_in_none(buf, policy):
        return np.int64(-1)
    after = e.skip_string(buf, e.skip_string(buf, policy, end), end)
    return after if after >= 0 and after + 8 <= end else np.int64(-1)


@njit(cache=True, nogil=True, boundscheck=True)
def ends_in_none(buf, end):
    """Whether a security policy URI that ends before `end` is that of no security: ...#None."""
    return buf[end - 5] == 0x23 and _word(buf, end - 4) == 0x4E6F6E and buf[end - 1] == 0x65


@njit(cache=True, nogil=True, boundscheck=True)
def _items(buf, at, end, asked, pdu):
    """What a request is about: a list of nodes; `at` is behind its header."""
    if asked == READ:
        at += 12  # max age, which times
    elif asked == CREATE_MONITORED_ITEMS:
        at += 8  # subscription, which times
    elif asked == BROWSE:
        at = e.skip_node(buf, at, end)  # view
        if at < 0:
            return
        at += 16  # its time and version, most references
    if at < 0 or at + 4 > end:
        return
    count = u32le(buf, at)
    if count >= e.NULL:
        count = 0
    pdu.quantity = min(count, 0x7FFFFFFF)
    pdu.detail = mix(pdu.detail, count)
    at += 4
    for k in range(min(count, MAX_ITEMS)):
        begin = at
        at = e.skip_node(buf, at, end)
        if at < 0:
            return
        if k == 0:
            pdu.object = e.node(buf, begin, end)
        if asked in (READ, WRITE, CREATE_MONITORED_ITEMS):
            at = e.skip_string(buf, at + 4, end)  # attribute, index range
            if at < 0:
                return
            pdu.detail = hash_bytes(pdu.detail, buf, begin, at)
            if asked == WRITE:
                if k == 0:
                    pdu.value = e.number(buf, at, end)
                at = e.skip_data_value(buf, at, end)
            else:
                at = e.skip_string(buf, at + 2, end)  # data encoding: a qualified name
                if asked == CREATE_MONITORED_ITEMS and at >= 0:
                    at = e.skip_extension(buf, at + 16, end)  # mode, handle, interval, filter
                    at += 5 if at >= 0 else 0
        elif asked == CALL:
            at = e.skip_node(buf, at, end)
            if at < 0:
                return
            pdu.detail = hash_bytes(pdu.detail, buf, begin, at)
            if at + 4 > end:
                return
            arguments = u32le(buf, at)
            at += 4
            if arguments < e.NULL:
                for _ in range(min(arguments, MAX_ITEMS)):
                    at = e.skip_variant(buf, at, end)
                    if at < 0:
                        return
        elif asked == BROWSE:
            at = e.skip_node(buf, at + 4, end)  # direction, kind of reference
            if at < 0:
                return
            pdu.detail = hash_bytes(pdu.detail, buf, begin, at)
            at += 9
        elif asked == DELETE_NODES:
            pdu.detail = hash_bytes(pdu.detail, buf, begin, at)
            at += 1
        else:  # nodes and references to add: what follows the first node has no fixed form
            pdu.detail = hash_bytes(pdu.detail, buf, begin, at)
            return
        if at < 0 or at > end:
            return


@njit(cache=True, nogil=True, boundscheck=True)
def _results(buf, at, end, asked, pdu):
    """Take the first result of an operation into the row of a response whose service as a whole has succeeded."""
    at = e.response_end(buf, at, end)
    if at < 0 or at + 8 > end:
        return
    count = u32le(buf, at)
    if count == 0 or count >= e.NULL:
        return
    if buf[at + 7] & 0x80:
        pdu.refused = 1
        pdu.status = u16le(buf, at + 6)


@njit(cache=True, nogil=True, boundscheck=True)
def _service(buf, at, end, final, pdu):
    """OPN, MSG or CLO in the clear; `at` is its sequence header. final: no further chunk follows."""
    code, begin = service(buf, at + 8, end)
    if code < 0:
        return
    pdu.transaction = u32le(buf, at + 4)
    known = code < len(_REQUEST_OF) and _REQUEST_OF[code] != 0
    if not known:
        pdu.subfunction = min(code, 0x7FFFFFFF)
        pdu.anomalies |= UNKNOWN_FUNCTION
        pdu.kind = RESPONSE if e.plausible_time(buf, begin, end) else REQUEST
        pdu.continues = 1
        return
    asked = np.int64(_REQUEST_OF[code])
    pdu.subfunction = asked
    if _IS_RESPONSE[code]:
        pdu.kind = RESPONSE
        if asked in (PUBLISH, SERVICE_FAULT):
            pdu.continues = 1
        if begin + 16 > end:
            pdu.anomalies |= LENGTH
            return
        if u32le(buf, begin + 12):
            pdu.status = u16le(buf, begin + 14)
        if buf[begin + 15] & 0x80:
            pdu.refused = 1
        elif asked in (WRITE, CALL, ADD_NODES, ADD_REFERENCES, DELETE_NODES, DELETE_REFERENCES):
            _results(buf, begin, end, asked, pdu)
        return
    pdu.kind = REQUEST
    if asked != PUBLISH and asked != CLOSE_SECURE_CHANNEL:
        pdu.expects = 1
    behind = e.request_end(buf, begin, end)
    if behind < 0:
        if final:
            pdu.anomalies |= LENGTH
        return
    if asked == OPEN_SECURE_CHANNEL:
        if behind + 12 <= end:
            pdu.detail = mix(pdu.detail, u32le(buf, behind + 8))
    elif asked in (READ, WRITE, CALL, BROWSE, ADD_NODES, ADD_REFERENCES, DELETE_NODES, DELETE_REFERENCES,
                   CREATE_MONITORED_ITEMS):  # fmt: skip
        _items(buf, behind, end, asked, pdu)


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill one PDU record from the whole chunk buf[at:end]."""
    if end - at < HEADER_BYTES + 4:
        pdu.anomalies |= LENGTH
        return
    word = _word(buf, at)
    if u32le(buf, at + 4) != end - at:
        pdu.anomalies |= LENGTH
    pdu.function = HELLO
    if word == HEL:
        pdu.kind = REQUEST
        pdu.expects = 1
        pdu.transaction = 0
        if end - at < 32:
            pdu.anomalies |= LENGTH
        else:
            pdu.detail = hash_bytes(seed, buf, at + 28, end)
        return
    if word == ACK:
        pdu.kind = RESPONSE
        pdu.transaction = 0
        return
    if word == ERR:  # also ends a connection that said hello long ago
        pdu.kind = RESPONSE
        pdu.transaction = 0
        pdu.continues = 1
        pdu.refused = 1
        pdu.status = u16le(buf, at + 10)
        return
    if word == RHE:
        pdu.kind = UNSOLICITED
        pdu.function = REVERSE_HELLO
        return
    pdu.function = OPEN if word == OPN else MESSAGE if word == MSG else CLOSE
    pdu.detail = seed
    if word == OPN:
        policy = e.skip_string(buf, at + 12, end)
        if policy < 0:
            pdu.anomalies |= LENGTH
            return
        pdu.detail = hash_bytes(seed, buf, at + 12, policy)
    if buf[at + 3] == ABORT:
        return
    begin = body_at(buf, at, end)
    if begin >= 0:
        _service(buf, begin, end, buf[at + 3] == FINAL, pdu)
