"""MMS: services through session and presentation, controls of IEC 61850, and any bytes at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ber import ber, integer
from support.kernels import mutations, row

from sensor.decode.pdu import NO_VALUE, Anomaly, Kind
from sensor.operations import Verb
from sensor.protocols import mms, mms_tables
from sensor.schema import MMS

NAMES = {field.name for field in MMS} | {"event.action", "anomalies"}
MMS_CONTEXT, ACSE_CONTEXT = b"\x02\x01\x03", b"\x02\x01\x01"


def presented(apdu: bytes, context: bytes = MMS_CONTEXT) -> bytes:
    return ber(0x61, ber(0x30, context, ber(0xA0, apdu)))


def data(apdu: bytes) -> bytes:
    """An MMS PDU in a data transfer."""
    return b"\x01\x00\x01\x00" + presented(apdu)


def session(code: int, user: bytes) -> bytes:
    """A session PDU with user data."""
    parameters = b"\xc1\xff" + len(user).to_bytes(2, "big") + user
    return bytes([code, 0xFF]) + len(parameters).to_bytes(2, "big") + parameters


def association(code: int, identifier: int, apdu: bytes, *more: bytes) -> bytes:
    """CONNECT or ACCEPT with an AARQ or AARE."""
    acse = ber(identifier, *more, ber(0xBE, ber(0x28, MMS_CONTEXT, ber(0xA0, apdu))))
    normal = ber(0xA2, ber(0x81, b"\0\0\0\1"), presented(acse, ACSE_CONTEXT))
    return session(code, ber(0x31, ber(0xA0, ber(0x80, b"\x01")), normal))


def asks(invoke: int, service: bytes) -> bytes:
    return data(ber(0xA0, integer(0x02, invoke), service))


def answers(invoke: int, service: bytes) -> bytes:
    return data(ber(0xA1, integer(0x02, invoke), service))


def fails(invoke: int, kind: int, code: int) -> bytes:
    return data(ber(0xA2, integer(0x80, invoke), ber(0xA2, ber(0xA0, integer(0x80 | kind, code)))))


def variables(*items: str, domain: str = "LD0") -> bytes:
    """A list of variables of a domain."""
    return b"".join(
        ber(0x30, ber(0xA0, ber(0xA1, ber(0x1A, domain.encode()), ber(0x1A, item.encode())))) for item in items
    )


def reads(invoke: int, *items: str) -> bytes:
    return asks(invoke, ber(0xA4, ber(0xA1, ber(0xA0, variables(*items)))))


def writes(invoke: int, item: str, value: bytes) -> bytes:
    return asks(invoke, ber(0xA5, ber(0xA0, variables(item)), ber(0xA0, value)))


INITIATE = ber(0xA8, integer(0x80, 65000), integer(0x81, 5), integer(0x82, 5), ber(0xA4, integer(0x80, 1)))
ACCEPTS = ber(0xA9, integer(0x80, 65000), integer(0x81, 5), integer(0x82, 5), ber(0xA4, integer(0x80, 1)))
OPER = ber(0xA2, ber(0x83, b"\x01"), ber(0x85, b"\x05"))
MESSAGES = [
    association(mms_tables.CONNECT, 0x60, INITIATE),
    association(mms_tables.ACCEPT, 0x61, ACCEPTS, ber(0xA2, integer(0x02, 0))),
    reads(7, "GGIO1$ST$Ind1", "GGIO1$MX$AnIn1"),
    answers(7, ber(0xA4, ber(0xA1, ber(0x83, b"\x01"), ber(0x80, b"\x0a")))),
    writes(8, "CSWI1$CO$Pos$Oper", OPER),
    answers(8, ber(0xA5, ber(0x81))),
    fails(8, 7, 3),
    data(ber(0xA3, ber(0xA0, ber(0xA1, ber(0x80, b"RPT")), ber(0xA0, ber(0x8A, b"rcb01"), ber(0x86, b"\x01"))))),
    data(ber(0xA4, integer(0x80, 9), integer(0x81, 1))),
    session(mms_tables.FINISH, presented(ber(0x62, ber(0x80, b"\0")), ACSE_CONTEXT)),
    INITIATE,
]


def explained(pdu: bytes, kind: Kind = Kind.REQUEST, request: bytes | None = None) -> dict[str, Any]:
    fields = mms.explain(pdu, kind, request)
    assert fields.keys() <= NAMES
    return fields


def recognised(pdu: bytes) -> bool:
    return bool(mms.is_mms(np.frombuffer(pdu, np.uint8), 0, len(pdu)))


@pytest.mark.parametrize("pdu", MESSAGES)
def test_sound_messages_are_recognised_and_without_anomaly(pdu: bytes) -> None:
    assert recognised(pdu)
    assert row(mms, pdu).anomalies == 0
    assert "anomalies" not in explained(pdu, Kind(int(row(mms, pdu).kind)))


@pytest.mark.parametrize(
    "other",
    [
        bytes.fromhex("32010000000100080000f0000001000101e0"),
        bytes.fromhex("720100e431000004ca0000000100000120"),
        b"GET / HTTP/1.1\r\n",
        b"\x03\x00\x00\x0b",
        b"",
        b"\x01\x00\x01\x00",
        b"\xa0\x00",
    ],
)
def test_what_else_stands_behind_cotp_is_not_mms(other: bytes) -> None:
    assert not recognised(other)


def test_an_association_is_asked_for_and_accepted() -> None:
    asked, accepted = row(mms, MESSAGES[0]), row(mms, MESSAGES[1])
    assert (asked.kind, asked.expects, accepted.kind, accepted.refused) == (Kind.REQUEST, 1, Kind.RESPONSE, 0)
    assert (asked.function, asked.transaction) == (accepted.function, accepted.transaction) == (8, 1 << 32 | 8)
    fields = explained(MESSAGES[0])
    assert (fields["mms.session"], fields["mms.acse"], fields["mms.pdu"]) == ("connect", "aarq", "initiate_request")
    assert fields["event.action"] == Verb.SESSION


def test_a_refused_association_says_so() -> None:
    refused = association(mms_tables.ACCEPT, 0x61, ACCEPTS, ber(0xA2, integer(0x02, 1)))
    assert (row(mms, refused).refused, row(mms, refused).status) == (1, 0x3001)
    assert explained(refused, Kind.RESPONSE)["mms.association_result"] == 1
    by_session = session(mms_tables.REFUSE, b"")
    assert (row(mms, by_session).kind, row(mms, by_session).refused) == (Kind.RESPONSE, 1)


def test_a_password_is_seen_and_never_shown() -> None:
    secret = ber(0x8B, b"\x52\x03\x01"), ber(0xAC, ber(0x80, b"hunter2"))
    pdu = association(mms_tables.CONNECT, 0x60, INITIATE, *secret)
    fields = explained(pdu)
    assert fields["mms.authentication"] == "password"
    assert "hunter2" not in str(fields)
    other = association(mms_tables.CONNECT, 0x60, INITIATE, secret[0], ber(0xAC, ber(0x80, b"letmein")))
    assert row(mms, other).detail == row(mms, pdu).detail
    assert "mms.authentication" not in explained(MESSAGES[0])


def test_a_read_and_its_answer_are_paired_and_name_the_same_variables() -> None:
    asked, answered = row(mms, MESSAGES[2]), row(mms, MESSAGES[3])
    assert (asked.kind, asked.function, asked.subfunction, asked.quantity) == (Kind.REQUEST, 0, 4, 2)
    assert (answered.kind, answered.function, answered.transaction) == (Kind.RESPONSE, 0, 7)
    assert (answered.value, answered.refused) == (1, 0), "one of two was read"
    fields = explained(MESSAGES[3], Kind.RESPONSE, MESSAGES[2])
    assert fields["mms.variables"] == ["LD0/GGIO1$ST$Ind1", "LD0/GGIO1$MX$AnIn1"]
    assert fields["mms.values"] == ["true", "(object_non_existent)"]
    assert fields["mms.access_errors"] == ["object_non_existent"]


def test_an_answer_of_which_nothing_succeeded_refuses() -> None:
    read = answers(7, ber(0xA4, ber(0xA1, ber(0x80, b"\x03"), ber(0x80, b"\x0a"))))
    written = answers(7, ber(0xA5, ber(0x80, b"\x03")))
    for pdu in (read, written):
        assert (row(mms, pdu).refused, row(mms, pdu).status) == (1, 3)
        assert explained(pdu, Kind.RESPONSE)["mms.access_errors"][0] == "object_access_denied"


def test_an_error_pairs_with_its_request_although_it_does_not_name_the_service() -> None:
    error, asked = row(mms, fails(8, 7, 3)), row(mms, MESSAGES[4])
    assert (error.kind, error.refused, error.status) == (Kind.RESPONSE, 1, 0x1703)
    assert (error.function, error.transaction) == (asked.function, asked.transaction)
    fields = explained(fails(8, 7, 3), Kind.RESPONSE, MESSAGES[4])
    assert (fields["mms.error_class"], fields["mms.error"]) == ("access", "object_access_denied")
    assert (fields["mms.service"], fields["event.action"]) == ("write", "command")
    assert fields["mms.variables"] == ["LD0/CSWI1$CO$Pos$Oper"]


def test_a_rejection_of_a_request_refuses_it() -> None:
    rejected = row(mms, MESSAGES[8])
    assert (rejected.kind, rejected.refused, rejected.function, rejected.transaction) == (Kind.RESPONSE, 1, 0, 9)
    assert rejected.status == 0x2101
    of_nothing = row(mms, data(ber(0xA4, integer(0x85, 0))))
    assert (of_nothing.kind, of_nothing.function) == (Kind.UNSOLICITED, 4)


@pytest.mark.parametrize(
    ("item", "finer", "purpose", "verb"),
    [
        ("CSWI1$CO$Pos$Oper", 1, "operate", Verb.COMMAND),
        ("CSWI1$CO$Pos$Oper$ctlVal", 1, "operate", Verb.COMMAND),
        ("CSWI1$CO$Pos$SBOw", 2, "select", Verb.COMMAND),
        ("CSWI1$CO$Pos$Cancel", 3, "cancel", Verb.COMMAND),
        ("LLN0$BR$brcb01$RptEna", 4, "report_control", Verb.REPORT),
        ("LLN0$GO$gcb01$GoEna", 5, "multicast_control", Verb.CONFIGURE),
        ("LLN0$SP$SGCB$ActSG", 6, "setting", Verb.CONFIGURE),
        ("GGIO1$SV$Ind$subVal", 0, None, Verb.WRITE),
        ("LLN0$COPY$Oper", 0, None, Verb.WRITE),
        ("Operate", 0, None, Verb.WRITE),
    ],
)
def test_what_is_written_tells_what_the_write_is_for(item: str, finer: int, purpose: str | None, verb: Verb) -> None:
    pdu = writes(1, item, OPER)
    record, fields = row(mms, pdu), explained(pdu)
    assert (record.subfunction, record.value) == (5 | finer << 8, 1)
    assert (fields.get("mms.purpose"), fields["event.action"]) == (purpose, verb)


def test_a_control_is_found_wherever_it_stands_among_the_variables() -> None:
    pdu = asks(1, ber(0xA5, ber(0xA0, variables("LLN0$BR$b$RptEna", "A$CO$P$Oper")), ber(0xA0, OPER, OPER)))
    assert row(mms, pdu).subfunction == 5 | 1 << 8


def test_reading_a_select_object_selects_and_reading_other_controls_reads() -> None:
    assert row(mms, reads(1, "CSWI1$CO$Pos$SBO")).subfunction == 4 | 2 << 8
    assert explained(reads(1, "CSWI1$CO$Pos$SBO"))["event.action"] == "command"
    assert row(mms, reads(1, "CSWI1$CO$Pos$SBOw")).subfunction == 4
    assert row(mms, reads(1, "CSWI1$CO")).subfunction == 4


def test_values_and_invoke_ids_are_no_part_of_a_behaviour_and_names_are() -> None:
    off = ber(0xA2, ber(0x83, b"\x00"), ber(0x85, b"\x06"))
    same = {int(row(mms, pdu).detail) for pdu in (writes(1, "A$CO$P$Oper", OPER), writes(2, "A$CO$P$Oper", off))}
    assert len(same) == 1
    assert int(row(mms, writes(1, "B$CO$P$Oper", OPER)).detail) not in same


@pytest.mark.parametrize(
    ("service", "name", "verb", "objects"),
    [
        (ber(0xBF28, ber(0x80, b"main")), "start", Verb.START, ["main"]),
        (ber(0xBF29, ber(0x80, b"main")), "stop", Verb.STOP, ["main"]),
        (ber(0xBF2C, ber(0x80, b"main")), "kill", Verb.STOP, ["main"]),
        (ber(0x9F24, b"LD0"), "delete_domain", Verb.PROGRAM_DOWN, ["LD0"]),
        (ber(0xBA, ber(0x80, b"LD0"), ber(0xA1, ber(0x1A, b"cap"))), "initiate_download_sequence", Verb.PROGRAM_DOWN,
         ["LD0", "cap"]),
        (ber(0x9F1E, b"\x01"), "upload_segment", Verb.PROGRAM_UP, None),
        (ber(0x82), "identify", Verb.IDENTIFY, None),
        (ber(0xBF7E, b""), "unknown", Verb.UNKNOWN, None),
    ],
)  # fmt: skip
def test_services_are_named_with_what_they_are_about(
    service: bytes, name: str, verb: Verb, objects: list[str] | None
) -> None:
    fields = explained(asks(3, service))
    assert (fields["mms.service"], fields["event.action"], fields.get("mms.objects")) == (name, verb, objects)
    assert (row(mms, asks(3, service)).anomalies == 0) == (name != "unknown")


def test_files_are_named() -> None:
    deletes = asks(3, ber(0xBF4C, ber(0x19, b"COMTRADE/1.cfg")))
    assert explained(deletes)["mms.file.names"] == ["COMTRADE/1.cfg"]
    opens = asks(3, ber(0xBF48, ber(0xA0, ber(0x19, b"COMTRADE/1.cfg")), integer(0x81, 0)))
    assert (explained(opens)["mms.service"], explained(opens)["mms.file.names"]) == ("file_open", ["COMTRADE/1.cfg"])


def test_handles_are_no_part_of_a_behaviour() -> None:
    details = {int(row(mms, asks(1, ber(0x9F49, bytes([handle])))).detail) for handle in (1, 2, 3)}
    assert details == {0}


def test_reports_are_unsolicited_and_known_by_their_name() -> None:
    report = MESSAGES[7]
    assert (row(mms, report).kind, row(mms, report).function) == (Kind.UNSOLICITED, 3)
    fields = explained(report, Kind.UNSOLICITED)
    assert (fields["mms.report"], fields["mms.variable_list"], fields["event.action"]) == ("rcb01", "RPT", "report")


def test_what_is_left_out_below_mms_does_not_matter() -> None:
    pdu = ber(0xA0, integer(0x02, 7), ber(0xBF29, ber(0x80, b"main")))
    assert recognised(pdu)
    assert row(mms, pdu).detail == row(mms, data(pdu)).detail
    assert explained(pdu)["mms.service"] == "stop"


def test_releases_and_aborts_are_told_without_mms() -> None:
    release = row(mms, MESSAGES[9])
    confirmed = row(mms, session(mms_tables.DISCONNECT, presented(ber(0x63, ber(0x80, b"\0")), ACSE_CONTEXT)))
    assert (release.kind, confirmed.kind) == (Kind.REQUEST, Kind.RESPONSE)
    assert (release.function, release.transaction) == (confirmed.function, confirmed.transaction)
    abort = row(mms, session(mms_tables.ABORT, b""))
    assert (abort.kind, abort.function) == (Kind.UNSOLICITED, 0x119)
    assert explained(MESSAGES[9])["mms.acse"] == "rlrq"


@pytest.mark.parametrize(
    ("pdu", "anomaly"),
    [
        (data(ber(0xA0, integer(0x02, 1))), Anomaly.LENGTH),
        (asks(1, ber(0xA5, ber(0xA0, variables("a", "b")), ber(0xA0, OPER))), Anomaly.LENGTH),
        (asks(1, ber(0xA4)), Anomaly.ILLEGAL),
        (data(ber(0xAF)), Anomaly.UNKNOWN_FUNCTION),
        (data(ber(0xA2, integer(0x80, 1))), Anomaly.ILLEGAL),
        (MESSAGES[2][:-3], Anomaly.LENGTH),
        (MESSAGES[0] + b"\0", Anomaly.LENGTH),
    ],
)
def test_what_contradicts_itself_is_said(pdu: bytes, anomaly: Anomaly) -> None:
    assert Anomaly(int(row(mms, pdu).anomalies)) & anomaly
    assert anomaly.name.lower() in explained(pdu)["anomalies"]


def test_every_service_has_a_verb() -> None:
    assert set(mms_tables.SERVICES) == set(range(78))
    for service in mms_tables.SERVICES:
        assert mms_tables.verb(0, service) is not Verb.UNKNOWN
    assert mms_tables.verb(0, 200) is Verb.UNKNOWN


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x01\x00\x01\x00", b"\x0d\xff\x00\x40\xc1\x3c", b"\xa0\x20"]))
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_reading_fail(tail: bytes, head: bytes) -> None:
    pdu = head + tail
    record = row(mms, pdu)
    assert record.kind in (Kind.REQUEST, Kind.RESPONSE, Kind.UNSOLICITED)
    explained(pdu, Kind(int(record.kind)), pdu)
    recognised(pdu)


def test_mutated_messages_are_read_and_explained_alike() -> None:
    seen = 0
    for pdu in mutations(MESSAGES, 2500, seed=9506):
        record = row(mms, pdu)
        fields = explained(pdu, Kind(int(record.kind)), MESSAGES[4])
        assert sorted(fields.get("anomalies", [])) == sorted(
            str(bit.name).lower() for bit in Anomaly(int(record.anomalies))
        )
        seen += record.value != NO_VALUE
    assert seen > 100


def test_nesting_without_end_costs_no_more_than_its_length() -> None:
    for filling in (b"\xa2\x80", b"\x30\x80", b"\xa0\x80", b"\x61\x80"):
        pdu = data(ber(0xA0, integer(0x02, 1), ber(0xA5, ber(0xA0, filling * 9000), ber(0xA0, filling * 9000))))
        assert row(mms, pdu).kind == Kind.REQUEST
        explained(pdu)
