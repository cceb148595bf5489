"""DNP3 fragments as narrow rows: who asks what of whom, what is hashed, what is wrong, and any octets at all."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.dnp3_wire import hexed, octets

from sensor import compiled
from sensor.decode.pdu import ABSENT, NO_VALUE, PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.protocols import dnp3, dnp3_walk

MASTER, OUTSTATION = 1, 1024
SEED = np.uint64(0x1234_5678_9ABC_DEF0)

INTEGRITY_POLL = hexed("C8 01 # first, final, sequence 8; read", "3C0206 3C0306 3C0406 3C0106 # class 1, 2, 3, 0")
CLOSE_POINT_3 = hexed(
    "C1 05         # direct operate",
    "0C01 28 0100  # g12v1, two octets of index and count, one object",
    "0300          # point 3",
    "41            # control code: close, pulse on",
    "01            # count",
    "64000000      # on 100 ms",
    "C8000000      # off 200 ms",
    "00            # status",
)
SET_POINT_5 = hexed("C1 05", "2903 17 01 # g41v3, one octet of index and count", "05", "0000A0C1 # -20.0", "00")
RESTARTED = hexed("C8 81", "9000 # device restart, need time", "0102 00 0000 # g1v2, point 0 to 0", "81")
READ_POINTS_4_TO_9 = hexed("C0 01", "1E02 00 04 09")


def read(data: bytes, source: int = MASTER, destination: int = OUTSTATION, module: ModuleType = dnp3) -> np.void:
    """The record that is filled from one fragment, which stands between other octets."""
    record = np.zeros(1, PDU)[0]
    clear(record)
    with np.errstate(over="ignore"):  # the hash wraps on purpose
        module.read(octets(b"\x05" + data + b"\x64\x64\x64\x64"), 1, 1 + len(data), source, destination, SEED, record)
    return record


def anomalies(data: bytes) -> Anomaly:
    return Anomaly(int(read(data)["anomalies"]))


def changed(data: bytes, at: int, octet: int) -> bytes:
    return data[:at] + bytes([octet]) + data[at + 1 :]


@pytest.fixture(scope="module")
def plain() -> Iterator[ModuleType]:
    """The same modules once more, run as plain Python all the way down."""
    names = ("sensor.decode.pdu", "sensor.protocols.dnp3")
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith(names)}
    before, compiled.INTERPRETED = compiled.INTERPRETED, True
    try:
        module = importlib.import_module("sensor.protocols.dnp3")
    finally:
        compiled.INTERPRETED = before
        sys.modules.update(kept)
        sys.modules["sensor.protocols"].dnp3 = kept["sensor.protocols.dnp3"]
    assert not hasattr(module.read, "py_func"), "this copy is not compiled"
    return module


# --- who asks what of whom --------------------------------------------------------------------------------------------


def test_a_request_is_asked_by_the_link_source_and_expects_an_answer():
    row = read(INTEGRITY_POLL)
    assert (row["kind"], row["expects"], row["function"], row["transaction"]) == (Kind.REQUEST, 1, 1, 8)
    assert row["station"] == MASTER << 16 | OUTSTATION
    assert row["status"] == ABSENT
    assert row["anomalies"] == 0


def test_a_response_belongs_to_the_same_station_as_its_request():
    row = read(RESTARTED, source=OUTSTATION, destination=MASTER)
    assert (row["kind"], row["expects"], row["refused"], row["transaction"]) == (Kind.RESPONSE, 0, 0, 8)
    assert row["station"] == read(INTEGRITY_POLL)["station"]
    assert row["status"] == 0x9000
    assert row["object"] == ABSENT, "a response inherits what only requests carry"


def test_a_later_fragment_of_a_response_continues_it():
    assert read(RESTARTED)["continues"] == 0
    assert read(changed(RESTARTED, 0, 0x49))["continues"] == 1
    assert read(changed(INTEGRITY_POLL, 0, 0x49))["continues"] == 0, "a request has no other to continue"


def test_unsolicited_responses_and_their_confirmations_count_apart_from_the_others():
    unsolicited = read(hexed("F8 82 0000 0201 17 01 05 81"), source=OUTSTATION, destination=MASTER)
    assert (unsolicited["kind"], unsolicited["object"]) == (Kind.UNSOLICITED, 0x0201)
    assert unsolicited["transaction"] == 16 + 8
    confirmation = read(hexed("D8 00"))
    assert (confirmation["kind"], confirmation["expects"], confirmation["transaction"]) == (Kind.REQUEST, 0, 16 + 8)
    assert confirmation["station"] == unsolicited["station"]
    assert read(hexed("C8 00"))["transaction"] == 8


@pytest.mark.parametrize("function", range(34))
def test_only_functions_that_the_standard_leaves_unanswered_expect_nothing(function):
    assert read(bytes([0xC0, function]))["expects"] == (function not in (0, 6, 8, 10, 12, 33))


@pytest.mark.parametrize("broadcast", [0xFFFD, 0xFFFE, 0xFFFF])
def test_nobody_answers_a_broadcast(broadcast):
    assert read(hexed("C0 0D"), destination=broadcast)["expects"] == 0
    assert read(hexed("C0 0D"), destination=0xFFFC)["expects"] == 1


def test_of_a_request_in_several_fragments_only_the_last_expects_an_answer():
    assert read(changed(INTEGRITY_POLL, 0, 0x88))["expects"] == 0
    assert read(changed(INTEGRITY_POLL, 0, 0x49))["expects"] == 1


@pytest.mark.parametrize(
    ("iin", "refused"), [("0100", 0), ("0200", 0), ("0001", 1), ("0002", 1), ("0004", 1), ("0008", 0), ("0010", 0)]
)
def test_a_response_refuses_when_it_does_not_know_what_it_was_asked(iin, refused):
    assert read(hexed("C0 81", iin))["refused"] == refused


@pytest.mark.parametrize("status", [1, 4, 12, 127])
def test_a_response_refuses_when_any_echoed_control_did_not_succeed(status):
    echo = hexed("C1 81 0000 0C01 17 02", "03 41 01 64000000 64000000 00", "04 41 01 64000000 64000000")
    assert read(echo + b"\x00")["refused"] == 0
    assert read(echo + bytes([status]))["refused"] == 1
    assert read(hexed("C1 81 0000 2902 28 0100 0700 1400") + bytes([status]))["refused"] == 1
    assert read(CLOSE_POINT_3[:-1] + bytes([status]))["refused"] == 0, "a request refuses nothing"


# --- objects, points, values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "object_", "quantity"),
    [
        (INTEGRITY_POLL, 0x3C02, 4),
        (READ_POINTS_4_TO_9, 0x1E02, 6),
        (CLOSE_POINT_3, 0x0C01, 1),
        (hexed("C0 01 1E02 01 0000 FFFF"), 0x1E02, 65536),
        (hexed("C0 01 1E00 17 03 01 05 07"), 0x1E00, 3),
        (hexed("C0 01 3C02 07 0A"), 0x3C02, 10),
        (hexed("C0 01 0100 02 00000000 FFFFFFFF"), 0x0100, 0x7FFFFFFF),
        (hexed("C0 0D"), ABSENT, ABSENT),
    ],
)
def test_a_request_names_its_first_object_and_counts_the_points_it_addresses(data, object_, quantity):
    row = read(data)
    assert (row["object"], row["quantity"], row["anomalies"]) == (object_, quantity, 0)


@pytest.mark.parametrize(
    ("object_", "value"),
    [
        ("2901 17 01 05 FEFFFFFF 00", -2),
        ("2901 17 01 05 FFFFFF7F 00", 2**31 - 1),
        ("2902 17 01 05 0080 00", -32768),
        ("2903 17 01 05 0000A0C1 00", -20),
        ("2903 17 01 05 00002C41 00", 11),  # 10.75
        ("2903 17 01 05 00000080 00", 0),  # -0.0
        ("2903 17 01 05 01000000 00", 0),  # the smallest number there is
        ("2903 17 01 05 0000C07F 00", NO_VALUE),  # not a number
        ("2903 17 01 05 000080FF 00", NO_VALUE),  # minus infinity
        ("2904 17 01 05 000000000088C340 00", 10000),
        ("2904 17 01 05 0000000000000842 00", 3 * 2**32),
        ("2904 17 01 05 000000000000E043 00", NO_VALUE),  # 2**63
        ("2904 17 01 05 FFFFFFFFFFFFEF7F 00", NO_VALUE),  # the largest number there is
        ("0C01 17 01 05 81 01 64000000 64000000 00", 0x81),
        ("0C01 17 02 05 03 01 64000000 64000000 00 06 04 01 64000000 64000000 00", 0x03),
        ("0A01 00 00 07 55", NO_VALUE),
    ],
)
def test_the_value_is_the_first_analog_output_or_control_code(object_, value):
    row = read(hexed("C1 05", object_))
    assert (row["value"], row["anomalies"]) == (value, 0)


def test_the_status_of_the_first_refused_control_stands_above_the_indications():
    blocks = "".join(f"{point:02x} 41 01 64000000 C8000000 {status:02x}" for point, status in ((3, 0), (4, 7), (5, 4)))
    record = read(hexed("C1 81 1004", "0C01 17 03", blocks))
    assert (record["refused"], record["status"]) == (1, 7 << 16 | 0x1004)
    assert dnp3.explain(hexed("C1 81 1004", "0C01 17 03", blocks), Kind.RESPONSE)["dnp3.iin"] == 0x1004


@pytest.mark.parametrize(
    ("objects", "value", "listed"),
    [
        ("0102 00 0304 81 01", 1, [1, 0]),
        ("0101 00 0004 05", 1, [1, 0, 1, 0, 0]),
        ("0302 00 0000 C1", 3, [3]),
        ("1E01 00 0000 01 FEFFFFFF", -2, [-2]),
        ("1E04 00 0001 2C01 FFFF", 300, [300, -1]),
        ("1E05 00 0000 01 0000A0C1", -20, [-20]),
        ("2002 17 01 05 01 9CFF", -100, [-100]),
        ("1401 00 0000 01 FFFFFFFF", 0xFFFFFFFF, [0xFFFFFFFF]),
        ("0202 17 01 07 81 000000000000", 1, [1]),
        ("2803 00 0000 01 0000807F", NO_VALUE, None),  # infinity
        ("3201 07 01 000000000001", NO_VALUE, None),  # a time is no value
    ],
)
def test_the_values_of_a_response_are_there_for_detectors(objects, value, listed):
    fragment = hexed("C1 81 0000", objects)
    assert read(fragment)["value"] == value
    fields = dnp3.explain(fragment, Kind.RESPONSE)
    assert "anomalies" not in fields
    assert fields.get("dnp3.values") == listed


def test_repetitions_of_a_command_are_one_behaviour_and_other_commands_are_not():
    def detail(data: bytes) -> int:
        return int(read(data)["detail"])

    command = detail(CLOSE_POINT_3)
    assert detail(changed(CLOSE_POINT_3, 0, 0xC7)) == command, "another sequence number"
    assert detail(changed(CLOSE_POINT_3, 10, 5)) == command, "another count"
    assert detail(changed(CLOSE_POINT_3, 11, 0xFA)) == command, "another time"
    assert detail(changed(CLOSE_POINT_3, 7, 4)) != command, "another point"
    assert detail(changed(CLOSE_POINT_3, 9, 0x81)) != command, "trip, not close"
    setting = detail(SET_POINT_5)
    assert detail(changed(SET_POINT_5, 8, 0x42)) == setting, "another value"
    assert detail(changed(SET_POINT_5, 6, 6)) != setting, "another point"
    time = hexed("C0 02 3201 07 01 7B806E877401")
    assert detail(time) == detail(changed(time, 8, 0xFF)), "another time to set"
    indication = hexed("C0 02 5001 00 07 07 00")
    assert detail(indication) != detail(changed(indication, 7, 1)), "another state of the indication"
    assert detail(READ_POINTS_4_TO_9) != detail(changed(READ_POINTS_4_TO_9, 6, 8)), "another range"


def test_files_of_different_names_or_modes_are_different_behaviours_and_handles_are_not():
    def opened(name: bytes, mode: int, key: int = 0) -> int:
        command = hexed("1A00") + len(name).to_bytes(2, "little") + bytes(8) + key.to_bytes(4, "little") + bytes(4)
        command += mode.to_bytes(2, "little") + hexed("0004 0000") + name
        return int(read(hexed("C0 19 4603 5B 01") + len(command).to_bytes(2, "little") + command)["detail"])

    assert opened(b"/boot.cfg", 1) == opened(b"/boot.cfg", 1, key=77)
    assert opened(b"/boot.cfg", 1) != opened(b"/boot.cfg", 2)
    assert opened(b"/boot.cfg", 1) != opened(b"/boot.cfh", 1)
    block = hexed("C0 01 4605 5B 01 0800 12345678 00000000")
    assert read(block)["detail"] == read(changed(block, 12, 1))["detail"]


# --- what is wrong ----------------------------------------------------------------------------------------------------

WRONG = {
    "nothing at all": ("", Anomaly.LENGTH),
    "no function": ("C0", Anomaly.LENGTH),
    "a response without indications": ("C0 81 00", Anomaly.LENGTH),
    "a cut object header": ("C0 01 3C02", Anomaly.LENGTH),
    "a cut range": ("C0 01 1E02 01 0000 FF", Anomaly.LENGTH),
    "fewer objects than the range says": ("C0 81 0000 1E02 00 00 02 01 0000 01 0000", Anomaly.LENGTH),
    "fewer indexes than the count says": ("C0 01 1E02 28 0300 0100 0200", Anomaly.LENGTH),
    "four thousand million points": ("C0 81 0000 0102 02 00000000 FFFFFFFF 01", Anomaly.LENGTH),
    "four thousand million objects without a size": ("C0 02 6E00 09 FFFFFFFF", Anomaly(0)),
    "an object size beyond the fragment": ("C0 19 4603 5B 01 FFFF 1A00", Anomaly.LENGTH),
    "an attribute beyond the fragment": ("C0 81 0000 00FC 00 00 00 01 20 41", Anomaly.LENGTH),
    "a range that runs backwards": ("C0 01 1E02 00 09 04", Anomaly.ILLEGAL),
    "a reserved prefix code": ("C0 01 1E02 77 01", Anomaly.ILLEGAL),
    "a reserved range specifier": ("C0 01 1E02 0A 01", Anomaly.ILLEGAL),
    "the reserved bit of the qualifier": ("C0 01 3C02 86", Anomaly.ILLEGAL),
    "an object of unknown size": ("C0 81 0000 C801 07 01 00", Anomaly.ILLEGAL),
    "a packed format with indexes": ("C0 81 0000 0101 17 01 05 01", Anomaly.ILLEGAL),
    "a request marked as unsolicited": ("D0 01", Anomaly.ILLEGAL),
    "an unsolicited response not marked as such": ("E0 82 0000", Anomaly.ILLEGAL),
    "a reserved indication": ("C0 81 0040", Anomaly.ILLEGAL),
    "a request of unknown function": ("C0 22", Anomaly.UNKNOWN_FUNCTION),
    "a response of unknown function": ("C0 84 0000 DEAD", Anomaly.UNKNOWN_FUNCTION),
}


@pytest.mark.parametrize(("data", "anomaly"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_becomes_an_anomaly(data, anomaly):
    assert anomalies(hexed(data)) == anomaly


@pytest.mark.parametrize("data", [INTEGRITY_POLL, CLOSE_POINT_3, SET_POINT_5, RESTARTED, READ_POINTS_4_TO_9])
def test_ordinary_fragments_have_no_anomalies_and_every_cut_of_their_objects_has(data):
    assert anomalies(data) == 0
    headers = 4 if data[1] >= 129 else 2
    boundaries = {headers + 3 * n for n in range(9)} if data is INTEGRITY_POLL else {headers}
    for size in range(len(data)):
        assert (anomalies(data[:size]) == Anomaly.LENGTH) == (size not in boundaries), size


# --- the verbs --------------------------------------------------------------------------------------------------------


def test_every_function_of_the_standard_has_one_verb_and_one_name():
    defined = [*range(34), 129, 130, 131]
    assert sorted(dnp3.VERBS) == defined
    assert Verb.UNKNOWN not in dnp3.VERBS.values()
    assert len({name for name, _ in dnp3.FUNCTIONS.values()}) == len(defined)


@pytest.mark.parametrize(
    ("functions", "verb"),
    [
        ((3, 4, 5, 6), Verb.COMMAND),
        ((13, 14), Verb.RESTART),
        ((18,), Verb.STOP),
        ((21,), Verb.SILENCE),
        ((25, 26, 27, 28, 30), Verb.FILE),
        ((29, 32, 33, 131), Verb.AUTHENTICATE),
        ((15, 16, 19, 22, 31), Verb.CONFIGURE),
    ],
)
def test_dangerous_functions_have_the_verb_that_detectors_look_for(functions, verb):
    assert {dnp3.action(bytes([0xC0, function])) for function in functions} == {verb}


@pytest.mark.parametrize(
    ("data", "verb"),
    [
        ("C0 02 5001 00 07 07 00", Verb.WRITE),
        ("C0 02 3201 07 01 7B806E877401", Verb.TIME_SET),
        ("C0 02 5001 00 07 07 00 3203 07 01 7B806E877401", Verb.TIME_SET),  # behind something harmless
        ("C0 02 0A01 00 00 07 55", Verb.COMMAND),
        ("C0 02 2201 17 01 05 0A00", Verb.CONFIGURE),
        ("C0 01 3C0206", Verb.READ),
        ("C0 01 00FE 00 00 00", Verb.IDENTIFY),
        ("C0 01 4605 5B 01 0800 12345678 00000000", Verb.FILE),
        ("C0 7B", Verb.UNKNOWN),
        ("C0", Verb.UNKNOWN),
    ],
)
def test_the_objects_refine_what_a_read_or_write_is(data, verb):
    assert dnp3.action(hexed(data)) == verb


# --- any octets at all ------------------------------------------------------------------------------------------------

HEADERS = st.builds(
    lambda object_, qualifier, rest: bytes(object_) + bytes([qualifier]) + rest,
    st.tuples(st.sampled_from([0, 1, 2, 10, 12, 20, 30, 41, 50, 60, 70, 80, 110, 120, 200]), st.integers(0, 9)),
    st.sampled_from([0, 1, 2, 3, 6, 7, 8, 9, 0x17, 0x28, 0x39, 0x48, 0x5B, 0x6B, 0x01, 0x07]) | st.integers(0, 255),
    st.binary(max_size=16),
)
FRAGMENTS = st.builds(
    lambda control, function, headers: bytes([control, function]) + b"".join(headers),
    st.integers(0, 255),
    st.sampled_from([*range(34), 129, 130, 131]) | st.integers(0, 255),
    st.lists(HEADERS, max_size=5),
)


@given(data=FRAGMENTS | st.binary(max_size=40), addresses=st.tuples(st.integers(0, 65535), st.integers(0, 65535)))
@settings(max_examples=1500, deadline=None)
@example(data=CLOSE_POINT_3, addresses=(1, 2))
@example(data=SET_POINT_5, addresses=(1, 0xFFFF))
@example(data=hexed("C1 81 0000 2904 17 01 05 000000000088C340 01"), addresses=(1, 0))
def test_compiled_and_plain_reading_agree_on_any_octets(plain, data, addresses):
    compiled, readable = read(data, *addresses), read(data, *addresses, plain)
    assert compiled.tolist() == readable.tolist()


@given(data=FRAGMENTS | st.binary(max_size=40))
@settings(max_examples=600, deadline=None)
def test_the_walk_always_moves_on_and_stays_in_the_fragment(data):
    at, steps = 2, 0
    while at < len(data):
        _, _, first, count, objects, after, _ = dnp3_walk.header(octets(data), at, len(data), data[1])
        assert at < after <= len(data)
        assert objects <= after
        assert 0 <= count <= 2**32
        assert -1 <= first < 2**32
        at, steps = after, steps + 1
    assert steps <= len(data)
