"""The S7comm row: what `read` fills from one PDU, what lies in it, and any bytes at all."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.s7 import ack, ack_data, answer, ask, indicate, job, userdata

from sensor import compiled
from sensor.decode import pdu
from sensor.decode.pdu import ABSENT, NO_VALUE, PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.protocols import s7comm, s7comm_walk
from sensor.protocols import s7comm_tables as t

SEED = np.uint64(0x1234_5678_9ABC_DEF0)
DB1_BYTES = "12 0A 10 02 000A 0001 84 000000"  # S7ANY: BYTE, 10 of them, DB 1, area DB, bit address 0
M4_BIT1 = "12 0A 10 01 0001 0000 83 000021"  # S7ANY: BIT, one, no DB, area M, bit address 0x21
DB7_SYMBOL = "12 12 B2 FF 8A0E 0007 11223344 20000001 40000002"  # symbolic, DB 7, checksum, LID 1, obtained by LID 2
NCK_ITEM = "12 08 82 41 0001 0002 7F 01"  # NCK: area C unit 1, column 1, line 2, module 0x7F, one line
DRIVE_ITEM = "12 0A A2 01 0000 0000 0A4C 0003"  # DriveES: parameter 2636, index 3
DB_AREAS = "12 0C B0 02 0A 0002 0064 04 0003 0000"  # two areas: DB 2 from octet 100, DB 3 from octet 0

READ_TWO = job(f"04 02 {DB1_BYTES} {M4_BIT1}")
WRITE_WORD = job(
    "05 01 12 0A 10 04 0001 0001 84 000010",  # WORD, one, DB 1, octet 2
    "00 04 0010 1234",  # no return code yet, BYTE/WORD/DWORD, 16 bits
)
SETUP = job("F0 00 0001 0002 01E0")  # parallel jobs calling and called, PDU length 480
REQUEST_DOWNLOAD = job(
    "1A 00 0000 00000000"  # function, status, unknown
    "09 5F30413030303031 50"  # "_0A00001P": DB 1, passive
    "0D 31 303030323138 303030313236"  # "1", load memory 218, code 126
)
START_UPLOAD = job("1D 00 0000 00000000 09 5F30383030303031 41")  # "_0800001A": OB 1, active
UPLOAD = job("1E 00 0000 00000007")
INSERT_DB1 = job(
    "28 000000000000FD"  # PI service, unknown
    "000A 01 00 3041303030303150"  # parameter block: one block, "0A00001P"
    "05 5F494E5345"  # "_INSE"
)
LOG_IN = job(
    "28 000000000000FD"
    "0010 03 303031 0A 67656865696D31323334 00"  # "001", "geheim1234", a fill octet
    "09 5F4E5F4C4F47494E5F"  # "_N_LOGIN_"
)
LOG_IN_OTHERWISE = job("28 000000000000FD 0010 03 303031 0A 41424344454647484950 00 09 5F4E5F4C4F47494E5F")
PLC_STOP = job("29 0000000000 09 505F50524F4752414D")  # "P_PROGRAM"
PASSWORD = ask(5, 1, "1122334455667788")
MODIFY = ask(
    1,
    8,
    "0014 001A"  # sizes of parameters and data
    "0000000000000000000000000000000000000000"  # parameters
    "0002 72 01 0005 0006 10 03 0000 0001"  # two variables: DB5 word at octet 6; input bit 1.3
    "00 04 0010 BEEF  00 03 0001 01 00",  # their values, the second with its fill octet
)


def as_array(octets: bytes) -> np.ndarray:
    return np.frombuffer(octets, dtype=np.uint8)


def read(octets: bytes, kernel=s7comm, seed=SEED) -> np.void:
    """The row of one PDU that lies between other bytes."""
    row = np.zeros(1, dtype=PDU)[0]
    clear(row)
    with np.errstate(over="ignore"):  # the hash wraps on purpose
        kernel.read(as_array(b"before" + octets + b"behind"), 6, 6 + len(octets), seed, row)
    return row


def anomalies(octets: bytes) -> Anomaly:
    return Anomaly(int(read(octets).anomalies))


def load_plain(module):
    spec = importlib.util.spec_from_file_location(f"plain_{module.__name__}", module.__file__)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


@pytest.fixture(scope="module")
def plain():
    """The same files, run as plain Python."""
    before = compiled.INTERPRETED
    compiled.INTERPRETED = True
    try:
        base, walk, kernel = load_plain(pdu), load_plain(s7comm_walk), load_plain(s7comm)
    finally:
        compiled.INTERPRETED = before
    kernel.hash_bytes, kernel.mix = base.hash_bytes, base.mix
    for name in ("data_items", "octets_of", "specifications"):
        setattr(kernel, name, getattr(walk, name))
    assert not hasattr(kernel.read, "py_func"), "this copy is not compiled"
    return kernel


# --- recognition ------------------------------------------------------------------------------------------------------


def is_s7comm(octets: bytes) -> bool:
    return bool(s7comm.is_s7comm(as_array(octets), 0, len(octets)))


def test_s7comm_is_told_from_s7comm_plus_and_from_other_users_of_cotp():
    assert is_s7comm(READ_TWO)
    assert not is_s7comm(b"\x72" + READ_TWO[1:]), "S7comm-plus"
    assert not is_s7comm(b"\x32\x08" + READ_TWO[2:]), "no such ROSCTR"
    assert not is_s7comm(READ_TWO[:9]), "too short for a header"
    assert not is_s7comm(b"")


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_a_read_asks_for_its_first_variable_and_counts_all():
    row = read(READ_TWO)
    assert (row.kind, row.expects, row.function, row.subfunction) == (Kind.REQUEST, 1, t.READ_VARIABLE, ABSENT)
    assert row.transaction == 0x0500
    assert row.object == 0x84 << 48 | 1 << 32
    assert row.quantity == 2
    assert (row.value, row.status, row.anomalies) == (NO_VALUE, ABSENT, 0)


def test_a_bit_address_is_part_of_the_object():
    assert read(job(f"04 01 {M4_BIT1}")).object == 0x83 << 48 | 0x21


@pytest.mark.parametrize(
    ("item", "packed"),
    [
        (DB7_SYMBOL, 0x84 << 48 | 7 << 32),
        ("12 0E B2 FF 0000 0052 11223344 20000001", 0x83 << 48),  # symbolic, flags
        (DB_AREAS, 0x84 << 48 | 2 << 32 | 800),
        (NCK_ITEM, 0x182 << 48 | 0x41 << 40 | 0x7F << 32 | 1 << 16 | 2),
        (DRIVE_ITEM, 0x1A2 << 48 | 2636 << 16 | 3),
        ("12 03 77 0102", 0x177 << 48),  # a syntax nobody knows
    ],
)
def test_every_syntax_of_a_variable_packs_into_an_object_of_its_own(item, packed):
    row = read(job(f"04 01 {item}"))
    assert row.object == packed
    assert row.anomalies == 0


def test_a_write_gives_its_first_value_as_raw_bits():
    row = read(WRITE_WORD)
    assert row.value == 0x1234
    assert row.object == 0x84 << 48 | 1 << 32 | 16
    assert read(job(f"05 01 {M4_BIT1}", "00 03 0001 01")).value == 1
    assert read(job("05 01 12 0A 10 08 0001 0001 84 000000", "00 07 0004 3F800000")).value == 0x3F800000


def test_a_value_longer_than_four_octets_is_no_simple_value():
    assert read(job(f"05 01 {DB1_BYTES}", "00 04 0050 00112233445566778899")).value == NO_VALUE


def test_the_detail_of_a_write_does_not_depend_on_value_or_reference():
    other_value = job("05 01 12 0A 10 04 0001 0001 84 000010", "00 04 0010 9999", reference=0x0777)
    assert read(other_value).detail == read(WRITE_WORD).detail
    assert read(job("05 01 12 0A 10 04 0001 0001 84 000018", "00 04 0010 1234")).detail != read(WRITE_WORD).detail


def test_the_second_variable_makes_another_behaviour_although_the_first_is_the_same():
    other = read(job(f"04 02 {DB1_BYTES} {DB1_BYTES}"))
    assert other.object == read(READ_TWO).object
    assert other.detail != read(READ_TWO).detail


def test_the_seed_changes_every_detail():
    assert read(READ_TWO).detail != read(READ_TWO, seed=np.uint64(7)).detail


def test_a_download_is_told_apart_by_its_block_alone():
    other_size = job(REQUEST_DOWNLOAD[10:].hex().replace("303030323138", "303030333030"))
    other_block = job(REQUEST_DOWNLOAD[10:].hex().replace("3030303031", "3030303032"))
    assert read(REQUEST_DOWNLOAD).detail == read(other_size).detail
    assert read(REQUEST_DOWNLOAD).detail != read(other_block).detail


def test_an_upload_number_is_a_reference_and_not_part_of_the_detail():
    assert read(UPLOAD).detail == 0
    assert read(UPLOAD).anomalies == 0


def test_a_pi_service_is_told_apart_by_name_and_parameter_block():
    other = job(INSERT_DB1[10:].hex().replace("5f494e5345", "5f44454c45"))  # _DELE of the same block
    assert read(INSERT_DB1).detail != read(other).detail
    assert read(INSERT_DB1).detail != 0


def test_a_password_never_reaches_the_detail():
    assert read(LOG_IN).detail == read(LOG_IN_OTHERWISE).detail
    assert read(PASSWORD).detail == 0
    assert read(LOG_IN).anomalies == 0


@pytest.mark.parametrize("octets", [SETUP, REQUEST_DOWNLOAD, START_UPLOAD, UPLOAD, INSERT_DB1, PLC_STOP, WRITE_WORD])
def test_a_job_is_a_request_whoever_sends_it(octets):
    row = read(octets)
    assert (row.kind, row.expects, row.refused, row.anomalies) == (Kind.REQUEST, 1, 0, 0)
    assert row.function == octets[10]


# --- acknowledgements -------------------------------------------------------------------------------------------------


def test_an_acknowledgement_without_error_grants():
    row = read(ack_data("04 01", "FF 04 0010 0102"))
    assert (row.kind, row.refused, row.status, row.expects) == (Kind.RESPONSE, 0, 0, 0)
    assert row.value == 0x0102
    assert (row.object, row.quantity, row.detail) == (ABSENT, ABSENT, 0), "what only requests carry is inherited"


def test_an_error_in_the_header_refuses_and_a_bare_ack_names_no_function():
    row = read(ack(0xD241))
    assert (row.kind, row.refused, row.status) == (Kind.RESPONSE, 1, 0xD241)
    assert row.function == ABSENT
    assert read(ack_data("28 02", error=0xD2A9)).status == 0xD2A9


def test_a_read_or_write_of_which_nothing_succeeded_is_refused_with_the_first_return_code():
    row = read(ack_data("04 02", "0A 00 0000 05 00 0000"))
    assert (row.refused, row.status) == (1, 0x0A)
    row = read(ack_data("05 02", "05 0A"))
    assert (row.refused, row.status) == (1, 0x05)


def test_one_item_that_succeeded_makes_it_granted():
    row = read(ack_data("04 02", "0A 00 0000 FF 04 0008 01"))
    assert (row.refused, row.status, row.anomalies) == (0, 0, 0)
    assert (read(ack_data("05 02", "05 FF")).refused) == 0


def test_an_odd_item_is_followed_by_a_fill_octet_unless_it_is_the_last():
    assert anomalies(ack_data("04 02", "FF 04 0008 01 00 FF 04 0008 02")) == 0
    assert anomalies(ack_data("04 02", "FF 04 0008 01 00 FF 04 0008 02 00")) == 0, "harmless after the last"
    two = f"05 02 {DB1_BYTES} {DB1_BYTES}"
    assert anomalies(job(two, "00 04 0008 01 00 00 04 0008 02")) == 0
    assert anomalies(job(two, "00 04 0008 01 00 04 0008 02")) == Anomaly.LENGTH


# --- user data --------------------------------------------------------------------------------------------------------


def test_user_data_takes_its_role_from_the_type_bits():
    assert read(ask(4, 1, "00110000")).kind == Kind.REQUEST
    assert read(answer(4, 1, "00110000 001C 0000")).kind == Kind.RESPONSE
    assert read(indicate(4, 3, "4304" + 18 * "00")).kind == Kind.UNSOLICITED


@pytest.mark.parametrize(("group", "code"), [(1, 0x16), (5, 1), (0x20, 3), (0x3F, 1)])
def test_the_group_is_six_bits_wide(group, code):
    row = read(ask(group, code, "0000"))
    assert row.subfunction == group << 8 | code
    assert row.function == ABSENT
    assert not row.anomalies & Anomaly.UNKNOWN_FUNCTION


def test_the_error_number_of_a_response_refuses():
    row = read(answer(5, 1, error=0xD602))
    assert (row.refused, row.status) == (1, 0xD602)
    row = read(answer(4, 1, "00110000 001C 0000"))
    assert (row.refused, row.status) == (0, 0)


def test_a_mode_transition_carries_the_mode_as_its_sub_function():
    pushed = userdata("01 00 10 10 00 00 02 00", reference=0)
    row = read(pushed)
    assert (row.kind, row.subfunction, row.anomalies) == (Kind.UNSOLICITED, 2, 0)


def test_status_lists_are_told_apart_by_id_and_index():
    details = {int(read(ask(4, 1, item)).detail) for item in ("00110000", "00110001", "001C0000")}
    assert len(details) == 3
    assert read(ask(4, 1)).detail == 0, "a request for the next data unit names no list"


def test_modifying_variables_has_object_count_and_value_like_a_write():
    row = read(MODIFY)
    assert row.object == 0x84 << 48 | 5 << 32 | 6 << 3
    assert (row.quantity, row.value, row.anomalies) == (2, 0xBEEF, 0)
    other_value = MODIFY.replace(b"\xbe\xef", b"\x00\x01")
    assert read(other_value).detail == read(MODIFY).detail
    other_address = MODIFY.replace(b"\x72\x01\x00\x05", b"\x72\x01\x00\x09")
    assert read(other_address).detail != read(MODIFY).detail


def test_a_subscription_has_object_and_count_and_an_end_of_one_does_not():
    row = read(ask(2, 1, f"00 01 01 05 {DB1_BYTES}"))
    assert (row.object, row.quantity, row.anomalies) == (0x84 << 48 | 1 << 32, 1, 0)
    assert read(ask(2, 4, "05 01")).object == ABSENT


def test_diagnostic_events_are_behaviours_of_their_own():
    stop, start = indicate(4, 3, "4304" + 18 * "00"), indicate(4, 3, "4302" + 18 * "00")
    later = indicate(4, 3, "4304" + 17 * "00" + "11")
    assert read(stop).detail != read(start).detail
    assert read(stop).detail == read(later).detail


def test_alarms_are_told_apart_by_event_number_and_not_by_time():
    def alarm(time: str, event: str) -> bytes:
        return indicate(4, 0x12, f"{time} 00 01 12 0A 16 00 {event} 01 00 00 00")

    first = read(alarm("1612151726091230", "000000AF"))
    assert first.detail == read(alarm("1712151726091230", "000000AF")).detail
    assert first.detail != read(alarm("1612151726091230", "000000B0")).detail


def test_a_usend_has_no_group_and_is_told_apart_by_its_r_id():
    def usend(r_id: str) -> bytes:
        return userdata(f"00 01 12 06 13 00 {r_id}", "00 00 0001 FF 09 0002 0102")

    row = read(usend("00000001"))
    assert (row.kind, row.subfunction) == (Kind.UNSOLICITED, ABSENT)
    assert row.detail != read(usend("00000002")).detail


def test_a_programmer_command_cannot_hide_behind_the_syntax_of_a_usend():
    memory_reset = userdata("00 01 12 04 13 41 0C 00", "0A 00 0000")
    assert read(memory_reset).subfunction == 0x010C


# --- what lies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        READ_TWO[:-1],  # the header claims one octet more
        READ_TWO + b"\0",  # and one less
        job(f"04 03 {DB1_BYTES} {M4_BIT1}"),  # three variables claimed, two there
        job(f"04 01 {DB1_BYTES} {M4_BIT1}"),  # one claimed, two there
        job("04 01 12 FF 10 02"),  # a specification longer than the parameters
        job("04"),  # no count at all
        job(f"05 01 {DB1_BYTES}", "00 04 0050 0011"),  # ten octets claimed, two there
        job(f"05 01 {DB1_BYTES}"),  # nothing to write
        job("F0 00 0001"),  # a set-up cut short
        job("1A 00 0000 00000000 FF 5F"),  # a name longer than the parameters
        job("28 000000000000FD FFFF 01"),  # a parameter block longer than the parameters
        job("29 0000000000"),  # no service name
        ack_data("05 05", "FF"),  # five return codes claimed
        userdata("00 01 12 04 11"),  # parameters cut short
        userdata("00 01 12 04 11 44 01 00", "FF 09 0099 0011"),  # data longer than they are
        ask(1, 2, "0000 0002 FFFF"),  # 65,535 variables claimed
        b"\x32\x01\x00",  # not even a header
    ],
)
def test_lengths_and_counts_that_lie_are_anomalies(octets):
    assert Anomaly.LENGTH in anomalies(octets)


def test_no_variable_at_all_and_no_function_at_all_are_illegal():
    assert anomalies(job("04 00")) == Anomaly.ILLEGAL
    assert anomalies(job("")) == Anomaly.ILLEGAL


@pytest.mark.parametrize("octets", [job("99"), ask(4, 0x77, "00"), ask(0x2A, 1, "00"), b"\x32\x05" + SETUP[2:]])
def test_codes_that_nobody_defines_are_kept_and_marked(octets):
    assert Anomaly.UNKNOWN_FUNCTION in anomalies(octets)


def test_items_of_no_length_end_the_walk():
    zero_items = userdata("00 01 12 04 11 41 02 00", "FF 09 0006 0000 0002 FFFF")
    assert Anomaly.LENGTH in anomalies(zero_items)
    assert Anomaly.LENGTH in anomalies(job("04 FF" + 255 * " 12 00"))
    assert Anomaly.LENGTH in anomalies(ack_data("04 FF", 40 * "FF 00 0000"))


# --- tables -----------------------------------------------------------------------------------------------------------


def test_every_code_has_exactly_one_verb_and_no_code_is_unknown():
    assert all(isinstance(verb, Verb) and verb is not Verb.UNKNOWN for verb in t.VERBS.values())
    assert {key[0] for key in t.VERBS if key[1] == ABSENT} == set(t.FUNCTIONS)
    for group, codes in t.SUBFUNCTIONS.items():
        assert {(ABSENT, group << 8 | code) for code in codes} <= set(t.VERBS)
    assert len(t.VERBS) == len(t.FUNCTIONS) + sum(map(len, t.SUBFUNCTIONS.values()))


@pytest.mark.parametrize(
    ("function", "subfunction", "verb"),
    [
        (0x04, ABSENT, Verb.READ),
        (0x05, ABSENT, Verb.WRITE),
        (0x1A, ABSENT, Verb.PROGRAM_DOWN),
        (0x1C, ABSENT, Verb.PROGRAM_DOWN),
        (0x1D, ABSENT, Verb.PROGRAM_UP),
        (0x29, ABSENT, Verb.STOP),
        (ABSENT, 0x0108, Verb.WRITE),
        (ABSENT, 0x0109, Verb.COMMAND),
        (ABSENT, 0x010C, Verb.RESTART),
        (ABSENT, 0x0407, Verb.SILENCE),
        (ABSENT, 0x0501, Verb.AUTHENTICATE),
        (ABSENT, 0x0702, Verb.TIME_SET),
    ],
)
def test_the_dangerous_codes_have_the_verbs_that_detectors_expect(function, subfunction, verb):
    assert t.VERBS[function, subfunction] is verb


# --- any bytes at all -------------------------------------------------------------------------------------------------

SEEDS = [
    READ_TWO, WRITE_WORD, SETUP, REQUEST_DOWNLOAD, START_UPLOAD, UPLOAD, INSERT_DB1, LOG_IN, PLC_STOP, PASSWORD, MODIFY,
    ack(0xD241), ack_data("04 02", "FF 04 0008 01 00 FF 04 0008 02"), ask(2, 1, f"00 01 01 05 {DB1_BYTES}"),
    ask(4, 1, "00110000"), answer(4, 1, "00110000 001C 0000"), indicate(4, 3, "4304" + 18 * "00"),
    indicate(4, 0x12, "1612151726091230 00 01 12 0A 16 00 000000AF 01 00 00 00"), ask(0x3F, 1, "5F4E"),
]  # fmt: skip


@st.composite
def damaged(draw):
    """A PDU with a few octets changed, then perhaps cut or lengthened."""
    octets = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    keep = draw(st.integers(0, len(octets)))
    return bytes(octets[:keep] if draw(st.booleans()) else octets) + draw(st.binary(max_size=6))


@settings(max_examples=400, deadline=None)
@given(st.one_of(damaged(), st.binary(max_size=60).map(lambda rest: b"\x32" + rest)))
@example(b"\x32\x07" + bytes(8))
@example(bytes.fromhex("0003000005000004000b00000402ff04000801000004000802"))  # whose return code is reserved
def test_any_bytes_fill_the_same_row_compiled_and_plain_and_never_raise(plain, octets):
    row, same = read(octets), read(octets, plain)
    for name in PDU.names:
        assert row[name] == same[name], name
    assert row.kind in (Kind.REQUEST, Kind.RESPONSE, Kind.UNSOLICITED)
    assert row.quantity >= -1
    assert row.object >= -1
    assert not row.refused or row.status != 0


@settings(max_examples=200, deadline=None)
@given(damaged(), st.binary(min_size=1, max_size=30))
def test_a_row_never_depends_on_bytes_outside_the_pdu(octets, behind):
    row, other = np.zeros(1, dtype=PDU)[0], np.zeros(1, dtype=PDU)[0]
    clear(row)
    clear(other)
    s7comm.read(as_array(octets), 0, len(octets), SEED, row)
    s7comm.read(as_array(behind + octets + behind), len(behind), len(behind) + len(octets), SEED, other)
    assert row == other
