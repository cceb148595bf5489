"""GOOSE: events of protection and control devices, multicast on Ethernet (EtherType 88B8 hex) and repeated for ever.

Sources: IEC 61850-8-1:2011, annex A (IECGoosePdu) and annex C (EtherType header: APPID, length, two reserved words, of
which the first holds the simulation bit). Not decoded: GSE management, and security extensions (IEC 62351-6) behind
the PDU.

How the PDU record is filled (the rest is as sensor/decode/pdu.py says):

- kind: always unsolicited: a publisher speaks and nobody answers.
- station: the APPID. function: 1, the tag of the PDU in the protocol; 0: GSE management.
- subfunction: 1 when simulated (bit of the header, or test flag of edition 1), plus 2 when it needs commissioning, plus
  4 when the message breaks the standard: it shall not hide among the sound ones of its publisher.
- object: the configuration revision. quantity: number of data set entries. value: stNum. transaction: sqNum.
- detail: which publisher: control block and data set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be
from sensor.decode.pdu import PDU, Anomaly, Kind, clear, hash_bytes, mix
from sensor.operations import Verb
from sensor.protocols.ber import CUT, count, element, elements, find, number
from sensor.protocols.mms_data import texts, utc_time
from sensor.records import as_octets
from sensor.text import wire_text

HEADER = 8
GOOSE_PDU, MANAGEMENT_PDU = 0x61, 0x60
SIMULATED = 0x8000  # of the first reserved word
TEST, NEEDS_COMMISSIONING, BROKEN = 1, 2, 4

# Context tags of IECGoosePdu, in its order; the identifier is 0x80 | tag, of `allData` 0xAB.
CONTROL_BLOCK, TIME_TO_LIVE, DATA_SET, ID, TIME, STATE, SEQUENCE, SIMULATION, REVISION, COMMISSIONING, ENTRIES, DATA = (
    range(12)
)
MANDATORY = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11

UNSOLICITED = int(Kind.UNSOLICITED)
LENGTH, ILLEGAL, UNKNOWN_FUNCTION = int(Anomaly.LENGTH), int(Anomaly.ILLEGAL), int(Anomaly.UNKNOWN_FUNCTION)


@njit(cache=True, nogil=True, boundscheck=True)
def frame(buf, at, end):
    """Length of the message that begins with the APPID at buf[at], without padding; 0: cut; -1: none begins here."""
    if end - at < HEADER:
        return 0
    length = u16be(buf, at + 2)
    return length if length >= HEADER else -1


@njit(cache=True, nogil=True, boundscheck=True)
def _fields(buf, at, end, seed, pdu):
    """The fields of an IECGoosePdu in buf[at:end]."""
    seen = np.int64(0)
    entries = np.int64(-1)
    h = np.uint64(seed)
    while at < end:
        identifier, start, stop, at = element(buf, at, end)
        if at > end:
            pdu.anomalies |= LENGTH
        tag = identifier & 0x1F
        if identifier == CUT or identifier != (0xAB if tag == DATA else 0x80 | tag) or tag > DATA:
            pdu.anomalies |= ILLEGAL
            continue
        if seen >> tag:  # twice, or out of order
            pdu.anomalies |= ILLEGAL
        seen |= 1 << tag
        if tag in (CONTROL_BLOCK, DATA_SET):
            h = mix(hash_bytes(h, buf, start, stop), np.uint64(tag))
        elif tag == TIME:
            if stop - start != 8:
                pdu.anomalies |= LENGTH
        elif tag == STATE:
            pdu.value = number(buf, start, stop)
        elif tag == SEQUENCE:
            pdu.transaction = number(buf, start, stop)
        elif tag == REVISION:
            pdu.object = number(buf, start, stop)
        elif tag == SIMULATION:
            if stop > start and buf[start]:
                pdu.subfunction |= TEST
        elif tag == COMMISSIONING:
            if stop > start and buf[start]:
                pdu.subfunction |= NEEDS_COMMISSIONING
        elif tag == ENTRIES:
            entries = number(buf, start, stop)
            if 0 <= entries <= 0xFFFF:
                pdu.quantity = entries
            else:
                pdu.anomalies |= ILLEGAL
        elif tag == DATA and entries >= 0 and count(buf, start, stop) != entries:
            pdu.anomalies |= LENGTH
    if seen & MANDATORY != MANDATORY:
        pdu.anomalies |= ILLEGAL
    pdu.detail = h


@njit(cache=True, nogil=True, boundscheck=True)
def read(buf, at, end, seed, pdu):
    """Fill the cleared record `pdu` from one message, buf[at:end], APPID first. Never raises, never allocates."""
    pdu.kind = UNSOLICITED
    if end - at < HEADER:
        pdu.anomalies |= LENGTH
        return
    pdu.station = u16be(buf, at)
    pdu.subfunction = TEST if u16be(buf, at + 4) & SIMULATED else 0
    identifier, start, stop, after = element(buf, at + HEADER, end)
    if after != end or u16be(buf, at + 2) != end - at:
        pdu.anomalies |= LENGTH
    if identifier == GOOSE_PDU:
        pdu.function = 1
        _fields(buf, start, stop, seed, pdu)
    elif identifier == MANAGEMENT_PDU:
        pdu.function = 0
    else:
        pdu.anomalies |= UNKNOWN_FUNCTION
    if pdu.anomalies:
        pdu.subfunction |= BROKEN


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> dict[str, Any]:
    """Every field of one message; the keys are GOOSE in sensor/schema.py. Never raises. pdu: from the APPID."""
    out: dict[str, Any] = {"event.action": Verb.REPORT.value}
    if len(pdu) >= HEADER:
        out["goose.appid"] = int.from_bytes(pdu[:2], "big")
        out["goose.length"] = int.from_bytes(pdu[2:4], "big")
        simulated = pdu[4] >= SIMULATED >> 8
        body = find(pdu[HEADER:], GOOSE_PDU)
        if body is not None:
            _explain_fields(body, out)
        elif find(pdu[HEADER:], MANAGEMENT_PDU) is not None:
            out["event.action"] = Verb.IDENTIFY.value
        else:
            out["event.action"] = Verb.UNKNOWN.value
        out["goose.simulation"] = bool(out.get("goose.simulation")) or simulated
    row = np.zeros(1, dtype=PDU)[0]
    clear(row)
    read(as_octets(pdu), 0, len(pdu), np.uint64(0), row)
    found = Anomaly(int(row.anomalies))
    if found:
        out["anomalies"] = [str(flag.name).lower() for flag in Anomaly if flag in found]
    return {name: value for name, value in out.items() if value is not None and value != []}


_TEXTS = {CONTROL_BLOCK: "goose.control_block", DATA_SET: "goose.data_set", ID: "goose.id"}
_NUMBERS = {
    TIME_TO_LIVE: "goose.time_allowed_to_live",
    STATE: "goose.state_number",
    SEQUENCE: "goose.sequence_number",
    REVISION: "goose.configuration_revision",
    ENTRIES: "goose.entry_count",
}
_FLAGS = {SIMULATION: "goose.simulation", COMMISSIONING: "goose.needs_commissioning"}


def _explain_fields(body: bytes, out: dict[str, Any]) -> None:
    for each in elements(body):
        tag = each.tag
        if each.identifier == 0x80 | DATA | 0x20:
            out["goose.values"] = texts(each.data)
        elif each.identifier != 0x80 | tag:
            continue
        elif tag in _TEXTS:
            out[_TEXTS[tag]] = wire_text(each.data)
        elif tag in _NUMBERS:
            out[_NUMBERS[tag]] = each.number
        elif tag in _FLAGS:
            out[_FLAGS[tag]] = any(each.data)
        elif tag == TIME and len(each.data) == 8:
            out["goose.time"] = utc_time(each.data)
            out["goose.time_quality"] = each.data[7]
