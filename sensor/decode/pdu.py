"""The narrow row that every protocol fills: the contract between the stream kernel and `protocols/<name>.py`.

The kernel has one PDU record for each message of a batch. It clears the record, calls the protocol's compiled `read`,
and then matches, interns and stores what was filled in. Absent numbers are ABSENT (-1).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

from sensor.compiled import INTERPRETED, njit
from sensor.records import record

ABSENT = -1
MAY_BE_ANSWERED = 2  # a request to which an answer is not missed, but paired where it comes
if INTERPRETED:
    np.seterr(over="ignore")  # uncompiled, numpy warns of the wrapping that hashes are made of


class Protocol(IntEnum):
    """Value of the `protocol` column."""

    NONE = 0
    MODBUS = 1
    S7COMM = 2
    DNP3 = 3
    IEC104 = 4
    ENIP = 5
    OPCUA = 6
    BACNET = 7
    MMS = 8
    GOOSE = 9
    S7COMM_PLUS = 10  # named, not decoded
    MODBUS_RTU = 11  # serial frames in TCP or UDP; printed as modbus too


def family(protocol: int) -> Protocol:
    """The protocol whose codes and rules hold, however it is framed."""
    return Protocol.MODBUS if protocol == Protocol.MODBUS_RTU else Protocol(protocol)


class Kind(IntEnum):
    """Role of a PDU. It belongs to the PDU, not to the TCP direction: in an S7 download the PLC sends the jobs."""

    NONE = 0
    REQUEST = 1
    RESPONSE = 2
    UNSOLICITED = 3  # a server speaks without being asked


class Outcome(IntEnum):
    """What became of an exchange; part of a behaviour's identity."""

    ASKED = 0  # a request, at the moment it is seen
    ANSWERED = 1  # a response that grants
    REFUSED = 2  # a response that refuses; `status` says how
    UNANSWERED = 3  # a request that expects an answer and got none in time
    UNSOLICITED = 4


class Anomaly(IntFlag):
    """Bits of the `anomalies` column. Traffic never raises: what is wrong is data."""

    GAP = 1 << 0  # bytes of the stream are missing just before this PDU
    SPLIT = 1 << 1  # the PDU arrived in several segments
    LENGTH = 1 << 2  # a declared length or count contradicts the bytes that are there
    TRUNCATED = 1 << 3  # the capture did not keep all bytes of the PDU
    CHECKSUM = 1 << 4  # a checksum inside the protocol is wrong (DNP3 link CRC)
    UNKNOWN_FUNCTION = 1 << 5  # a function code that the standard does not define
    ILLEGAL = 1 << 6  # well-formed, but the standard forbids it (quantity 0, reserved bit, ...)
    ORPHAN = 1 << 7  # a response whose request was not seen
    REPEATED = 1 << 8  # the same transaction was asked again before it was answered
    SEQUENCE = 1 << 9  # a protocol sequence number jumps (DNP3 transport)
    OVERLAP = 1 << 10  # the same place of the stream was sent twice with different bytes: this is the second reading
    LIMIT = 1 << 11  # a cap of the decoder was reached in this stream: the counters say which
    FRAGMENTED = 1 << 12  # arrived in IP fragments


PDU = record(
    [
        ("protocol", "u1"),
        ("kind", "u1"),
        ("expects", "u1"),  # 1 when a request must be answered, MAY_BE_ANSWERED
        ("refused", "u1"),  # 1 when a response refuses
        ("continues", "u1"),  # 1 for a later fragment of a response that has begun: it has no request of its own
        ("station", "i8"),  # device behind the address: Modbus unit id; DNP3 asker << 16 | asked; otherwise ABSENT
        ("function", "i4"),  # the protocol's function code
        ("subfunction", "i4"),  # finer code: Modbus FC 8/43/90 sub-code; S7 user-data group << 8 | sub-function
        (
            "transaction",
            "i8",
        ),  # what pairs request and response: Modbus transaction id, S7 PDU reference, DNP3 sequence
        (
            "object",
            "i8",
        ),  # first object addressed: Modbus address; S7 area/DB/offset packed; DNP3 group << 8 | variation
        ("quantity", "i4"),  # how many: Modbus quantity, S7 item count, DNP3 points addressed
        ("value", "i8"),  # first value carried, for ranges; NO_VALUE when there is none
        ("status", "i4"),  # Modbus exception code; S7 error class << 8 | code; DNP3 internal indications
        ("detail", "u8"),  # seeded hash of whatever else makes this request a different behaviour (item list, name)
        ("anomalies", "u4"),
    ]
)

NO_VALUE = np.iinfo(np.int64).min


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def clear(pdu):
    """Set every field of a PDU record to its absent value."""
    pdu.protocol = 0
    pdu.kind = 0
    pdu.expects = 0
    pdu.refused = 0
    pdu.continues = 0
    pdu.station = -1
    pdu.function = -1
    pdu.subfunction = -1
    pdu.transaction = -1
    pdu.object = -1
    pdu.quantity = -1
    pdu.value = NO_VALUE
    pdu.status = -1
    pdu.detail = 0
    pdu.anomalies = 0


@njit(cache=True, nogil=True, boundscheck=True)
def mix(seed, value):
    """One step of a seeded 64-bit hash (splitmix64 finaliser over seed xor value).

    The seed is random in each run, so that nobody on the wire can aim two behaviours at one hash.
    """
    h = np.uint64(seed) ^ np.uint64(value)
    h = (h + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, nogil=True, boundscheck=True)
def hash_bytes(seed, buf, at, end):
    """Seeded 64-bit hash of buf[at:end], eight bytes a step, length included."""
    h = mix(seed, np.uint64(end - at))
    i = at
    while i + 8 <= end:
        word = np.uint64(0)
        for k in range(8):
            word = (word << np.uint64(8)) | np.uint64(buf[i + k])
        h = mix(h, word)
        i += 8
    word = np.uint64(0)
    while i < end:
        word = (word << np.uint64(8)) | np.uint64(buf[i])
        i += 1
    return mix(h, word)
