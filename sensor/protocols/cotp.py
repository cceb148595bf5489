"""TPKT (RFC 1006, section 6) and COTP (ITU-T X.224 / ISO 8073, section 13), class 0: the framing below S7comm.

A TPKT is `03 reserved length(2)`, its length counting these four octets. One TPDU follows: a length indicator (LI, the
octets of the header after itself), the TPDU code in the high four bits of the next octet, then the fixed and the
variable part. Class 0 knows CR, CC, DR, DT and ER; the codes of the other classes are recognised, because a peer may
send them, but only their code is decoded.

Not decoded: the variable part's checksum and quality parameters (class 4), and TPDUs concatenated in one TPKT, which
class 0 forbids (X.224, 6.4).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be

VERSION = 3
SMALLEST = 7  # four octets of TPKT, then the DT header of three; RFC 1006, section 6

DT, CR, CC, DR, DC, ED, AK, EA, RJ, ER = 0xF0, 0xE0, 0xD0, 0x80, 0xC0, 0x10, 0x60, 0x20, 0x50, 0x70

TPDU_NAMES = {
    CR: "connection_request",
    CC: "connection_confirm",
    DR: "disconnect_request",
    DC: "disconnect_confirm",
    DT: "data",
    ED: "expedited_data",
    AK: "data_acknowledgement",
    EA: "expedited_data_acknowledgement",
    RJ: "reject",
    ER: "error",
}

# X.224, 13.5.3 d) and 13.12.3 c)
DISCONNECT_REASONS = {
    0: "not_specified",
    1: "congestion_at_tsap",
    2: "session_entity_not_attached",
    3: "address_unknown",
    128: "normal_disconnect",
    129: "remote_congestion",
    130: "negotiation_failed",
    131: "duplicate_source_reference",
    132: "mismatched_references",
    133: "protocol_error",
    135: "reference_overflow",
    136: "connection_request_refused",
    138: "header_or_parameter_length_invalid",
}
REJECT_CAUSES = {0: "not_specified", 1: "invalid_parameter_code", 2: "invalid_tpdu_type", 3: "invalid_parameter_value"}

# Octet 0 of a two-octet TSAP of an S7 station: what the connection is for. From 0x10 on it names a connection resource.
CONNECTION_TYPES = {1: "pg", 2: "op", 3: "s7_basic"}

_TPDU_SIZE, _CALLING_TSAP, _CALLED_TSAP = 0xC0, 0xC1, 0xC2  # parameter codes, X.224, 13.3.4


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the TPKT that begins at `at`; 0: consistent so far, wait for more; -1: no TPKT begins here.

    The reserved octet is not judged: RFC 1006 gives it no value and stations ignore it, so that a sender who sets it
    would otherwise go unseen. The COTP header behind it is judged instead: few bytes pass as LI and code by chance.
    """
    have = end - at
    if have < 1:
        return 0
    if buf[at] != VERSION:
        return -1
    if have < 4:
        return 0
    length = u16be(buf, at + 2)
    if length < SMALLEST:
        return -1
    if have < 5:
        return 0
    indicator = np.int64(buf[at + 4])
    if indicator < 2 or indicator == 255 or 5 + indicator > length:
        return -1
    if have < 6:
        return 0
    code = np.int64(buf[at + 5]) & 0xF0
    if code not in (DT, CR, CC, DR, DC, ED, AK, EA, RJ, ER):
        return -1
    return length


@njit(cache=True, nogil=True, boundscheck=True)
def probe(buf, at, end):
    """Whether buf[at:end] begins with a TPKT so surely that its port need not say so.

    A connection request or confirm must bring a TPDU size or a TSAP (X.224, 13.3.4), which those of remote desktops do
    not; data must be S7comm, S7comm-plus or an ISO session (MMS).
    """
    if end - at < 11 or buf[at + 1] != 0 or frame(buf, at, end) <= 0:
        return False
    indicator = np.int64(buf[at + 4])
    code = np.int64(buf[at + 5]) & 0xF0
    if code in (CR, CC):
        if indicator < 8 or at + 12 > end or u16be(buf, at + 2) != 5 + indicator:
            return False
        return _TPDU_SIZE <= buf[at + 11] <= _CALLED_TSAP
    if code != DT or indicator != 2:
        return False
    first, second = buf[at + 7], buf[at + 8]
    if first == 0x32:  # S7comm: one of its message types, and a reserved word
        return 1 <= second <= 7 and u16be(buf, at + 9) == 0
    if first == 0x72:  # S7comm-plus: its version
        return 1 <= second <= 3
    # ISO 8327: GIVE TOKENS and DATA TRANSFER in front of a presentation, or CONNECT and ACCEPT with their lengths
    if first == 0x01 and second == 0 and u16be(buf, at + 9) == 0x0100:
        return True
    return (first == 0x0D or first == 0x0E) and u16be(buf, at + 2) == 7 + 2 + np.int64(second)


@njit(cache=True, nogil=True, boundscheck=True)
def proof(buf, at, end):
    """1: a TPKT begins at `at` beyond doubt, as is asked after garbage; 0: more bytes are needed; -1: none does.

    A DT TPDU with the header of class 0, or a CR or CC that fills its TPKT.
    """
    have = end - at
    if buf[at] != VERSION or (have > 1 and buf[at + 1] != 0):
        return -1
    if have < SMALLEST:
        return 0
    length, indicator, code = u16be(buf, at + 2), np.int64(buf[at + 4]), np.int64(buf[at + 5])
    if length < SMALLEST:
        return -1
    if code == DT:
        return 1 if indicator == 2 and buf[at + 6] & 0x7F == 0 else -1
    return 1 if code in (CR, CC) and indicator + 5 == length else -1


@njit(cache=True, nogil=True, boundscheck=True)
def hides(buf, at, end):
    """Whether the TPKT at `at` is none that a station of class 0 would take, and one begins beyond doubt behind it.

    Garbage may look like a header; it must not swallow what follows.
    """
    if end - at < SMALLEST:
        return False
    indicator, code = np.int64(buf[at + 4]), np.int64(buf[at + 5])
    if code & 0xF0 == DT:
        doubtful = code != DT or indicator != 2 or buf[at + 6] & 0x7F != 0
    else:
        doubtful = indicator + 5 != u16be(buf, at + 2)
    if doubtful:
        for i in range(at + 1, min(end, at + u16be(buf, at + 2))):
            if proof(buf, i, end) > 0:
                return True
    return False


@njit(cache=True, nogil=True, boundscheck=True)
def data(buf, at, end):
    """(TPDU code, where its user data starts, 1 if it ends the TSDU) of the whole TPKT in buf[at:end].

    Code 0 and an empty rest where the bytes hold no TPDU. `start` never passes `end`.
    """
    if end - at < 6:
        return 0, end, 1
    code = np.int64(buf[at + 5]) & 0xF0
    start = min(at + 5 + np.int64(buf[at + 4]), end)
    if code == DT and end - at >= SMALLEST:
        return code, start, np.int64(buf[at + 6]) >> 7
    return code, start, 1


def explain(tpkt: bytes) -> dict[str, Any]:
    """Every field of the COTP header of one TPKT; see `COTP` in sensor/schema.py for the keys. Never raises.

    tpkt: the whole TPKT from its version octet. What is wrong goes to `anomalies`.
    """
    out: dict[str, Any] = {}
    if len(tpkt) < 6:
        return {"anomalies": ["length"]}
    code, body = tpkt[5] & 0xF0, tpkt[6 : 5 + tpkt[4]]
    out["cotp.tpdu_code"] = code
    out["cotp.tpdu"] = TPDU_NAMES.get(code, "unknown")
    whole = True
    if code in (CR, CC, DR, DC, ER):
        out["cotp.destination_reference"] = int.from_bytes(body[0:2], "big")
    if code in (CR, CC, DR, DC):
        out["cotp.source_reference"] = int.from_bytes(body[2:4], "big")
    if code in (CR, CC) and len(body) >= 5:
        out["cotp.class"] = body[4] >> 4
        whole = _variable_part(body[5:], out)
    elif code == DR and len(body) >= 5:
        out["cotp.reason_code"] = body[4]
        out["cotp.reason"] = DISCONNECT_REASONS.get(body[4], "unknown")
    elif code == ER and len(body) >= 3:
        out["cotp.reason_code"] = body[2]
        out["cotp.reason"] = REJECT_CAUSES.get(body[2], "unknown")
    elif code == DT and len(body) >= 1:
        out["cotp.eot"] = body[0] >> 7 == 1
        out["cotp.tpdu_number"] = body[0] & 0x7F
    elif code in (CR, CC, DR, ER, DT):
        whole = False
    if not whole or int.from_bytes(tpkt[2:4], "big") != len(tpkt) or 5 + tpkt[4] > len(tpkt):
        out["anomalies"] = ["length"]
    return out


def _variable_part(body: bytes, out: dict[str, Any]) -> bool:
    """Read the parameters of a CR or CC (code, length, value) into `out`; False where a length lies."""
    at = 0
    while at + 2 <= len(body):
        code, length = body[at], body[at + 1]
        value = body[at + 2 : at + 2 + length]
        if len(value) < length:
            return False
        if code == _TPDU_SIZE and length == 1:
            if 7 <= value[0] <= 13:  # 2**7 to 2**13 octets
                out["cotp.tpdu_size"] = 1 << value[0]
        elif code == _CALLING_TSAP:
            _tsap("source", value, out)
        elif code == _CALLED_TSAP:
            _tsap("destination", value, out)
        at += 2 + length
    return at == len(body)


def _tsap(side: str, value: bytes, out: dict[str, Any]) -> None:
    """A TSAP as text where all of it is printable ("SIMATIC-ROOT-OP"), otherwise as hex; rack and slot of S7 stations.

    Of two octets the first says what the connection is for, the second holds the rack in its high three bits and the
    slot in its low five.
    """
    printable = len(value) > 2 and all(0x20 <= octet < 0x7F for octet in value)
    out[f"cotp.{side}_tsap"] = value.decode("ascii") if printable else value.hex()
    if len(value) == 2 and (value[0] in CONNECTION_TYPES or value[0] >= 0x10):
        out[f"cotp.{side}_connection_type"] = CONNECTION_TYPES.get(value[0], "resource")
        out[f"cotp.{side}_rack"] = value[1] >> 5
        out[f"cotp.{side}_slot"] = value[1] & 0x1F
