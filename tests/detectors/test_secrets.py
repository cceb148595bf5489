"""Passwords cross the wire; no event, finding or evidence of ours carries them on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.s7 import ask, job
from support.wire import Talk, frames

from detectors.finding import Finding, FindingId, to_dict
from detectors.pipeline import Options, Pipeline
from detectors.secrets import Secrets
from pcaps.messages import dnp3
from sensor.capture.write import Frame
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Protocol
from sensor.protocols.passwords import passwords

SECRET = b"g3heim!7"
LEVEL = ask(5, 1, SECRET.hex())  # the password of a CPU, as its eight octets travel
LOG_IN = job(f"28 000000000000FD 000E 03 303031 08 {SECRET.hex()} 00 09 5F4E5F4C4F47494E5F")  # "001"; _N_LOGIN_
AUTHENTICATE = bytes.fromhex(f"C0 1D 4602 5B 01 1800 0C00 0400 1000 0800 00000000 75736572 {SECRET.hex()}")  # "user"
STOP = job("29 0000000000 09 505F50524F4752414D")


def tpkt(pdu: bytes) -> bytes:
    return b"\3\0" + (len(pdu) + 7).to_bytes(2, "big") + b"\2\xf0\x80" + pdu


def over(port: int, *payloads: bytes) -> list[bytes]:
    talk = Talk(dport=port)
    return [*talk.handshake(), *(talk.asks(payload) for payload in payloads)]


def link(fragment: bytes) -> bytes:
    return dnp3.Station(1, 4, master=True).send(fragment)


def found(packets: list[bytes]) -> list[Finding]:
    return list(Pipeline(Options()).run([frames(packets)]))


def cut(payload: bytes) -> list[bytes]:
    """The payload in two segments, in the middle of the password."""
    at = payload.index(SECRET) + 4
    return [payload[:at], payload[at:]]


CASES = {
    "a CPU's level": over(102, tpkt(LEVEL)),
    "a numerical control": over(102, tpkt(LOG_IN)),
    "a file of an outstation": over(20000, link(AUTHENTICATE)),
    "two PDUs in a frame": over(102, tpkt(LEVEL) + tpkt(STOP)),
    "said again": over(102, tpkt(LEVEL), tpkt(STOP), tpkt(LEVEL)),
    "cut in the middle": over(102, *cut(tpkt(LEVEL)), tpkt(STOP)),
}


@pytest.mark.parametrize("case", CASES)
def test_no_event_finding_or_evidence_holds_the_password(case):
    findings = found(CASES[case])
    decoder = Decoder()
    events = [
        decoder.view.fields(batch, row) for batch in decoder.decode([frames(CASES[case])]) for row in range(batch.size)
    ]
    assert events
    told = json.dumps(events) + json.dumps([to_dict(it, FindingId("s", 1, 1)) for it in findings], default=str)
    assert SECRET.decode() not in told
    assert SECRET.hex() not in told.lower()
    assert not any(SECRET in it.evidence.pcap or SECRET[:4] in it.evidence.pcap for it in findings)


def test_the_rest_of_the_frame_stays_evidence():
    (finding,) = [it for it in found(CASES["two PDUs in a frame"]) if it.rule_id == "operation.s7comm.stop"]
    assert STOP in finding.evidence.pcap
    assert LEVEL.replace(SECRET, b"*" * 8) in finding.evidence.pcap


def test_a_frame_in_which_the_password_cannot_be_found_is_not_shown():
    batch = next(iter(Decoder().decode([frames(CASES["a file of an outstation"])])))
    secrets = Secrets()
    secrets.learn(batch)
    number = int(batch.columns.frame[0])
    whole = frames(CASES["a file of an outstation"]).data.tobytes()
    assert SECRET not in whole, "the checksum of a block cuts it"
    assert secrets.hide(number, Frame(0, whole, len(whole))) is None
    other = Frame(0, b"nothing to hide", 15)
    assert secrets.hide(number + 1, other) is other


@pytest.mark.parametrize(
    ("protocol", "pdu"), [(Protocol.S7COMM, LEVEL), (Protocol.S7COMM, LOG_IN), (Protocol.DNP3, AUTHENTICATE)]
)
def test_every_password_is_found_and_nothing_else_is_taken_for_one(protocol, pdu):
    assert any(SECRET in pdu[span] for span in passwords(protocol, pdu))
    assert passwords(Protocol.S7COMM, STOP) == []
    assert passwords(Protocol.MODBUS, pdu) == []


@given(data=st.binary(max_size=60), kind=st.sampled_from([Protocol.S7COMM, Protocol.DNP3]))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_searched_without_harm(data, kind):
    for head in (b"", LEVEL[:16], LOG_IN[:20], AUTHENTICATE[:9]):
        for span in passwords(kind, head + data):
            assert (head + data)[span]
