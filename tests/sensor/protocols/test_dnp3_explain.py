"""DNP3 fragments at full depth: every kind of object in words, commands, files, and any octets at all."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.dnp3_wire import hexed

from sensor.decode.pdu import Kind
from sensor.protocols import dnp3, dnp3_values
from sensor.protocols.dnp3_objects import GROUPS, OBJECTS
from sensor.protocols.dnp3_points import MAX_HEADERS, MAX_OBJECTS, MAX_POINTS
from sensor.schema import DNP3, FIELDS

TIME = "7B806E877401"  # 2020-09-13T12:26:40.123Z


def explain(data: str | bytes, kind: Kind = Kind.REQUEST, request: str | None = None) -> dict[str, object]:
    octets = hexed(data) if isinstance(data, str) else data
    return dnp3.explain(octets, kind, hexed(request) if request is not None else None)


def points(*objects: str, header: str = "C0 81 0000") -> list[str]:
    """The points of a fragment, after which nothing may be wrong."""
    fields = explain(header + "".join(objects))
    assert "anomalies" not in fields
    assert "dnp3.undecoded" not in fields
    return list(fields.get("dnp3.points", []))


# --- the fragment -----------------------------------------------------------------------------------------------------


def test_the_header_of_a_request_is_taken_apart():
    assert explain("A7 01 3C0206 3C0106") == {
        "event.action": "read",
        "dnp3.sequence": 7,
        "dnp3.control.fir": True,
        "dnp3.control.fin": False,
        "dnp3.control.con": True,
        "dnp3.control.uns": False,
        "dnp3.function_code": 1,
        "dnp3.function": "read",
        "dnp3.objects": ["g60v2", "g60v1"],
        "dnp3.object_headers": [
            "g60v2 class objects, class 1 data, all points, qualifier 0x06",
            "g60v1 class objects, class 0 data, all points, qualifier 0x06",
        ],
        "dnp3.point_count": 2,
    }


def test_the_internal_indications_are_named():
    fields = explain("C0 81 9024")
    assert fields["dnp3.iin"] == 0x9024
    assert fields["dnp3.iin_bits"] == ["need_time", "device_restart", "parameter_error", "config_corrupt"]
    assert "dnp3.iin_bits" not in explain("C0 81 0000")
    every = explain("C0 81 FFFF")["dnp3.iin_bits"]
    assert every == list(dnp3_values.INDICATIONS)


def test_a_response_does_what_its_request_asked_for():
    assert explain("C0 81 0000", Kind.RESPONSE, "C0 0D")["event.action"] == "restart"
    assert explain("C0 81 0000", Kind.RESPONSE)["event.action"] == "report"
    assert explain("F0 82 0000", Kind.UNSOLICITED, "C0 0D")["event.action"] == "report"


def test_an_undefined_function_keeps_its_code_and_its_octets_undecoded():
    fields = explain("C0 4D 3C0206")
    assert (fields["dnp3.function_code"], fields["dnp3.function"]) == (77, "function_77")
    assert (fields["event.action"], fields["anomalies"]) == ("unknown", ["unknown_function"])
    assert "dnp3.objects" not in fields


# --- points -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ("0101 00 03 06 05", ["g1v1 point 3: 1", "g1v1 point 4: 0", "g1v1 point 5: 1", "g1v1 point 6: 0"]),
        ("0102 01 0200 0200 81", ["g1v2 point 2: 1 [online]"]),
        (f"0202 28 0100 0500 01 {TIME}", ["g2v2 point 5: 0, at 2020-09-13T12:26:40.123Z [online]"]),
        ("0203 17 01 05 A0 0A00", ["g2v3 point 5: 1, 10 ms after the common time [chatter_filter]"]),
        ("0301 00 00 01 09", ["g3v1 point 0: off", "g3v1 point 1: on"]),
        ("0302 00 00 00 C3", ["g3v2 point 0: indeterminate [online restart]"]),
        (f"0402 17 01 02 41 {TIME}", ["g4v2 point 2: off, at 2020-09-13T12:26:40.123Z [online]"]),
        ("0A02 00 00 00 91", ["g10v2 point 0: 1 [online local_forced]"]),
        ("0D01 17 01 03 84", ["g13v1 point 3: 1, not_supported"]),
        ("1401 00 00 00 21 0A000000", ["g20v1 point 0: 10 [online rollover]"]),
        ("1406 00 00 01 0A00 FFFF", ["g20v6 point 0: 10", "g20v6 point 1: 65535"]),
        (f"1505 00 00 00 41 FFFF0000 {TIME}", ["g21v5 point 0: 65535, at 2020-09-13T12:26:40.123Z [online discontinuity]"]),  # noqa: E501
        ("1602 17 01 09 01 0500", ["g22v2 point 9: 5 [online]"]),
        ("1702 17 01 09 01 0500", ["g23v2 point 9: 5 [online]"]),
        ("1E01 00 00 00 21 FFFFFFFF", ["g30v1 point 0: -1 [online over_range]"]),
        ("1E04 00 00 00 0080", ["g30v4 point 0: -32768"]),
        ("1E05 00 00 00 01 0000C841", ["g30v5 point 0: 25.0 [online]"]),
        ("1E06 00 00 00 01 000000000000F87F", ["g30v6 point 0: nan [online]"]),
        (f"1F03 00 00 00 01 05000000 {TIME}", ["g31v3 point 0: 5, at 2020-09-13T12:26:40.123Z [online]"]),
        (f"2007 17 01 01 03 0000C841 {TIME}", ["g32v7 point 1: 25.0, at 2020-09-13T12:26:40.123Z [online restart]"]),
        ("2102 17 01 01 01 0500", ["g33v2 point 1: 5 [online]"]),
        ("2203 17 01 01 0000C841", ["g34v3 point 1: 25.0"]),
        ("2802 00 01 01 01 0500", ["g40v2 point 1: 5 [online]"]),
        ("2A02 17 01 01 01 0500", ["g42v2 point 1: 5 [online]"]),
        ("2B02 17 01 01 07 0500", ["g43v2 point 1: 5, local"]),
        (f"3201 07 01 {TIME}", ["g50v1: at 2020-09-13T12:26:40.123Z"]),
        (f"3202 07 01 {TIME} E8030000", ["g50v2: at 2020-09-13T12:26:40.123Z, interval 1000 ms"]),
        (f"3204 17 01 02 {TIME} 05000000 03", ["g50v4 point 2: at 2020-09-13T12:26:40.123Z, interval 5, units 3"]),
        ("3202 07 01 FFFFFFFFFFFF 00000000", ["g50v2: at 281474976710655 ms since 1970, interval 0 ms"]),
        ("3401 07 01 0500", ["g52v1: delay_s 5"]),
        ("3402 07 01 0500", ["g52v2: delay 5 ms"]),
        ("5001 00 04 07 09", ["g80v1 point 4: need_time 1", "g80v1 point 5: local_control 0"]),
        ("5101 07 01 E4 1E 02", ["g81v1: fill 228, of_group 30, of_variation 2"]),
        ("5501 5B 01 0300 010203", ["g85v1: 010203"]),
        ("5602 00 05 05 07", ["g86v2 point 5: characteristics 7"]),
        ("6501 00 00 00 3412", ["g101v1 point 0: 1234"]),
        ("6603 07 01 00", None),  # no such variation
        ("6601 00 02 02 FF", ["g102v1 point 2: 255"]),
        ("6E03 00 00 01 414243 1B5B41", ["g110v3 point 0: ABC", "g110v3 point 1: \\x1b[A"]),
        ("6F02 17 01 07 4F4B", ["g111v2 point 7: OK"]),
        ("7002 17 01 07 4F4B", ["g112v2 point 7: OK"]),
        ("7102 17 01 07 4F4B", ["g113v2 point 7: OK"]),
        ("7901 00 03 03 41 0500 2A000000", ["g121v1 point 3: 42, association 5 [online discontinuity]"]),
    ],
)  # fmt: skip
def test_points_are_given_with_index_value_time_and_flags(objects, expected):
    if expected is None:
        assert explain("C0 81 0000" + objects)["anomalies"] == ["illegal"]
    else:
        listed = points(objects)
        assert listed[: len(expected)] == expected
        assert len(listed) == max(len(expected), 4 if objects.startswith("5001") else 0)


def test_relative_times_add_to_the_common_time_before_them():
    fields = explain(f"C0 81 0000 3301 07 01 {TIME} 0203 17 01 05 81 E803")
    assert fields["dnp3.points"] == [
        "g51v1: at 2020-09-13T12:26:40.123Z",
        "g2v3 point 5: 1, at 2020-09-13T12:26:41.123Z [online]",
    ]
    assert fields["dnp3.time"] == "2020-09-13T12:26:40.123Z"


def test_points_that_are_only_named_are_listed_by_their_indexes():
    fields = explain("C0 01 1E00 28 0200 0500 0900")
    assert fields["dnp3.points"] == ["g30v0 point 5", "g30v0 point 9"]
    assert fields["dnp3.indexes"] == [5, 9]
    assigned = explain("C0 16 3C0206 0100 17 01 07")
    assert assigned["dnp3.objects"] == ["g60v2", "g1v0"]
    assert assigned["dnp3.points"] == ["g1v0 point 7"]


@pytest.mark.parametrize(
    ("data", "objects", "listed"),
    [
        (
            f"C0 0B 3202 07 01 {TIME} 60EA0000 1400 06",  # freeze at a time: that time, then which counters
            ["g50v2", "g20v0"],
            ["g50v2: at 2020-09-13T12:26:40.123Z, interval 60000 ms"],
        ),
        ("C0 09 1400 00 02 05", ["g20v0"], []),  # freeze and clear
        ("C0 15 3C0206 3C0306 3C0406", ["g60v2", "g60v3", "g60v4"], []),  # disable unsolicited
        ("C0 12 5A01 5B 01 0300 504C43", ["g90v1"], ["g90v1: name PLC"]),  # stop application
        ("C0 02 3C02 07 05", ["g60v2"], []),  # nothing follows an object without octets
    ],
)
def test_a_function_decides_whether_objects_follow_their_headers(data, objects, listed):
    fields = explain(data)
    assert fields["dnp3.objects"] == objects
    assert fields.get("dnp3.points", []) == listed
    assert not {"anomalies", "dnp3.undecoded"} & set(fields)


def test_the_list_of_points_is_capped_and_the_count_is_exact():
    fields = explain(hexed("C0 81 0000 0101 01 0000 E703") + bytes(125))
    assert len(fields["dnp3.points"]) == MAX_POINTS
    assert fields["dnp3.point_count"] == 1000
    named = explain(hexed("C0 01 0100 17 FF") + bytes(range(255)))
    assert named["dnp3.indexes"] == list(range(MAX_POINTS))
    assert named["dnp3.point_count"] == 255


@pytest.mark.parametrize("before", ["0C03 01 0000 E703" + "FF" * 125, "2902 17 FF" + "010000 00" * 255])
def test_no_command_hides_behind_many_points(before):
    fields = explain(hexed("C0 05" + before + "0C01 17 01 07 81 01 64000000 64000000 00"))
    assert fields["dnp3.command"][-1] == "trip point 7"
    assert len(fields["dnp3.points"]) == MAX_POINTS


def test_every_output_that_a_write_sets_is_a_command():
    assert len(explain(hexed("C0 02 0A01 01 0000 E703") + bytes(125))["dnp3.command"]) == 1000


def test_what_explaining_looks_into_is_bounded():
    fields = explain(hexed("C0 05 2902 08 FFFF") + bytes(3 * 65535))
    assert len(fields["dnp3.command"]) == MAX_OBJECTS
    assert fields["dnp3.point_count"] == 65535


def test_long_strings_are_cut():
    fields = explain(hexed("C0 1F 4608 5B 01 E803") + b"a" * 1000)
    assert fields["dnp3.file.name"] == "a" * 1000
    fields = explain(hexed("C0 1F 4608 5B 01 D007") + b"a" * 2000)
    assert fields["dnp3.file.name"] == "a" * dnp3_values.MAX_TEXT_SHOWN + "…"


def test_a_flood_of_object_headers_is_capped_and_the_rest_is_counted():
    fields = explain(hexed("C0 01") + hexed("3C0206") * 20_000)
    assert len(fields["dnp3.objects"]) == MAX_HEADERS
    assert fields["dnp3.undecoded"] == 3 * (20_000 - MAX_HEADERS)


@pytest.mark.parametrize(
    ("objects", "undecoded"),
    [
        ("C801 07 01 DEADBEEF", 4),  # no such object
        ("1E02 00 05 02 0102", 4),  # from 5 to 2
        ("1E02 8F 0102", 2),  # reserved qualifier
        ("1E02", 2),
        ("1E02 00 00 00 01 0000 1E", 1),
    ],
)
def test_what_cannot_be_delimited_is_counted(objects, undecoded):
    assert explain("C0 81 0000" + objects)["dnp3.undecoded"] == undecoded


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "command"),
    [
        ("41", "close point 3"),
        ("81", "trip point 3"),
        ("83", "trip point 3"),
        ("01", "pulse on point 3"),
        ("02", "pulse off point 3"),
        ("03", "latch on point 3"),
        ("04", "latch off point 3"),
        ("00", "no operation point 3"),
        ("20", "no operation point 3"),
        ("09", "operation type 9 point 3"),
        ("C1", "reserved trip-close code point 3"),
    ],
)
def test_a_control_says_what_it_does_to_which_point(code, command):
    fields = explain(f"C0 03 0C01 17 01 03 {code} 01 64000000 C8000000 00")
    assert fields["dnp3.command"] == [command]
    assert fields["event.action"] == "command"
    assert "dnp3.command_status" not in fields


def test_a_control_gives_count_times_and_the_status_of_its_echo():
    request = "C0 05 0C01 28 0100 0300 61 02 64000000 C8000000 00"
    assert explain(request)["dnp3.points"] == [
        "g12v1 point 3: close, code pulse_on close clear, count 2, on 100 ms, off 200 ms"
    ]
    echo = explain("C0 81 0000 0C01 28 0100 0300 61 02 64000000 C8000000 07", Kind.RESPONSE, request)
    assert echo["dnp3.command_status"] == ["local"]
    assert echo["dnp3.points"][0].endswith("off 200 ms, local")
    assert echo["event.action"] == "command"


def test_analog_outputs_give_their_set_points():
    fields = explain("C0 05 2901 17 01 02 F6FFFFFF 00 2903 17 02 03 0000C841 00 04 0000C07F 00")
    assert fields["dnp3.command"] == ["set point 2 to -10", "set point 3 to 25.0", "set point 4 to nan"]
    assert fields["dnp3.setpoint"] == [-10.0, 25.0], "what JSON cannot carry stands in the command only"


def test_writing_outputs_is_a_command_too():
    fields = explain("C0 02 0A01 00 02 03 01")
    assert fields["dnp3.command"] == ["set point 2 to 1", "set point 3 to 0"]
    assert "dnp3.command" not in explain("C0 81 0000 0A01 00 02 03 01"), "a response that reports them is not"


# --- files, attributes, authentication --------------------------------------------------------------------------------

FILE_COMMAND = hexed(
    "C0 19            # open file",
    "4603 5B 01 2300  # g70v3, one object of 35 octets",
    "1A00 0900        # offset and length of the name",
    f"{TIME}          # created",
    "B401             # permissions",
    "00000000         # authentication key",
    "39300000         # size 12345",
    "0200             # mode: write",
    "0004 0100        # block size, request id",
    "2F626F6F742E636667  # /boot.cfg",
)


def test_a_file_command_gives_name_mode_size_and_permissions():
    fields = explain(FILE_COMMAND)
    assert fields["event.action"] == "file"
    assert fields["dnp3.file.name"] == "/boot.cfg"
    assert fields["dnp3.file.mode"] == "write"
    assert fields["dnp3.file.size"] == 12345
    assert fields["dnp3.file.permissions"] == "rw-rw-r--"
    assert "created 2020-09-13T12:26:40.123Z" in fields["dnp3.points"][0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            "C0 81 0000 4604 5B 01 0D00 12345678 39300000 0004 0100 00",
            {"handle": 0x78563412, "size": 12345, "status": "success"},
        ),
        ("C0 81 0000 4604 5B 01 0F00 00000000 00000000 0004 0100 03 4E6F", {"status": "file_not_found", "handle": 0}),
        ("C0 01 4605 5B 01 0800 12345678 00000000", {"handle": 0x78563412, "block": 0, "last_block": False}),
        ("C0 02 4605 5B 01 0A00 12345678 03000080 4D5A", {"block": 3, "last_block": True}),
        ("C0 81 0000 4606 5B 01 0900 12345678 03000080 14", {"block": 3, "status": "block_seq"}),
        (
            f"C0 81 0000 4607 5B 01 1500 1400 0100 0000 02000000 {TIME} ED01 0100 2F",
            {"type": "directory", "name": "/", "permissions": "rwxr-xr-x", "size": 2},
        ),
        ("C0 1F 4608 5B 01 0400 612E6263", {"name": "a.bc"}),
    ],
)
def test_file_transfer_is_followed_by_handle_block_and_status(data, expected):
    fields = explain(data)
    assert {name: fields.get(f"dnp3.file.{name}") for name in expected} == expected
    assert "anomalies" not in fields


def test_an_empty_message_is_not_mentioned():
    assert points("4606 5B 01 0900 12345678 03000080 00") == [
        "g70v6: handle 2018915346, block 3, last_block True, success"
    ]


def test_a_password_on_the_wire_is_not_repeated_in_the_event():
    fields = explain("C0 1D 4602 5B 01 1500 0C00 0400 1000 0500 00000000 75736572 73776F7264")
    assert fields["event.action"] == "authenticate"
    assert "user user" in fields["dnp3.points"][0]
    assert "password of 5 octets, not shown" in fields["dnp3.points"][0]
    assert "73776f7264" not in json.dumps(fields)
    assert "sword, " not in json.dumps(fields)


def test_a_file_object_that_is_too_short_says_so():
    fields = explain("C0 19 4603 5B 01 1C00 1A00 0900" + "00" * 22 + "2F62")
    assert fields["dnp3.file.name"] == "/b"
    assert fields["dnp3.points"][0].endswith("(cut short)")


def test_declared_sizes_allocate_nothing():
    fields = explain("C0 19 4603 5B 01 FFFFFFFF" + "FF" * 40)
    assert fields["anomalies"] == ["length"]


@pytest.mark.parametrize(
    ("object_", "attribute"),
    [
        ("00F8 00 00 00 01 03 414243", "device serial number: ABC"),
        ("00F0 00 00 00 02 02 0008", "maximum transmit fragment size: 2048"),
        ("00DB 00 00 00 03 01 FF", "support for analog output events: -1"),
        ("00CB 00 00 00 04 04 0000C841", "device location altitude: 25.0"),
        (f"00C6 00 00 00 07 06 {TIME}", "configuration build date: 2020-09-13T12:26:40.123Z"),
        ("00C8 00 00 00 05 02 BEEF", "configuration signature: beef"),
        ("00FF 00 00 00 FE 04 F001 FA00", "list of attribute variations: 240 (writable) 250"),
        ("0005 00 02 02 02 01 07", "attribute 5 of set 2: 7"),
        ("00FC 00 00 00 01 06 3C623E0A7F22", "device manufacturer's name: <b>\\n\\x7f\""),
    ],
)
def test_device_attributes_are_named(object_, attribute):
    fields = explain("C0 81 0000" + object_)
    assert fields["dnp3.attributes"] == [attribute]
    assert "anomalies" not in fields


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("C0 83 0000 7801 5B 01 0C00 01000000 0200 04 01 DEADBEEF", {"user": 2, "sequence": 1}),
        ("C0 20 7802 5B 01 0800 01000000 0200 CAFE", {"user": 2, "sequence": 1}),
        ("C0 05 7803 07 01 01000000 0200 2902 17 01 05 0500 00 7809 5B 01 0200 CAFE", {"user": 2, "sequence": 1}),
        ("C0 20 7804 07 01 0200", {"user": 2}),
        ("C0 83 0000 7805 5B 01 0D00 05000000 0200 01 02 04 0200 BEEF", {"user": 2, "key_status": "not_init"}),
        (f"C0 83 0000 7807 5B 01 0F00 05000000 0200 0100 0B {TIME}", {"user": 2, "error": "unknown_user"}),
    ],
)
def test_authentication_says_who_and_what_went_wrong(data, expected):
    fields = explain(data)
    assert {name: fields.get(f"dnp3.authentication.{name}") for name in expected} == expected
    assert "anomalies" not in fields


def test_hostile_names_are_shown_escaped():
    name = "a\n\r\x1b[31m\u202e<script>\x00\ud7ff".encode() + b"\xff\xfe"
    command = FILE_COMMAND[:10] + len(name).to_bytes(2, "little") + FILE_COMMAND[12:34] + name
    command = command[:6] + (26 + len(name)).to_bytes(2, "little") + command[8:]
    shown = explain(command)["dnp3.file.name"]
    assert shown.isprintable()
    assert shown == "a\\n\\r\\x1b[31m\\u202e<script>\\x00\\ud7ff\\xff\\xfe"


# --- the whole library, and any octets at all -------------------------------------------------------------------------


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_object_of_the_library_is_explained_without_anomalies(group):
    for (of_group, variation), described in OBJECTS.items():
        if of_group != group:
            continue
        size = described.bits // 8 if described.bits > 0 else 40 if described.bits < 0 else 0
        qualifier = "07 01" if described.bits >= 8 else "00 00 00" if described.bits >= 0 else "5B 01 2800"
        data = hexed(f"C0 81 0000 {group:02X}{variation:02X} {qualifier}") + bytes(
            max(1, size) if described.bits else 0
        )
        fields = explain(data)
        assert "anomalies" not in fields, (group, variation)
        assert "dnp3.undecoded" not in fields, (group, variation)
        assert fields["dnp3.objects"] == [f"g{group}v{variation}"]
        if described.bits:
            assert len(fields["dnp3.points"]) == 1


EXAMPLES = [
    FILE_COMMAND,
    hexed("C0 81 9000 4604 5B 01 0D00 12345678 39300000 0004 0100 00"),
    hexed("C0 02 4605 5B 01 0A00 12345678 03000080 4D5A"),
    hexed(f"C0 81 0000 4607 5B 01 1500 1400 0100 0000 02000000 {TIME} ED01 0100 2F"),
    hexed("C0 81 0000 0C01 28 0100 0300 61 02 64000000 C8000000 07"),
    hexed("C0 05 2901 17 01 02 F6FFFFFF 00"),
    hexed("C0 81 0000 00F8 00 00 00 01 03 414243"),
    hexed("C0 83 0000 7805 5B 01 0D00 05000000 0200 01 02 04 0200 BEEF"),
    hexed(f"C0 83 0000 7807 5B 01 0F00 05000000 0200 0100 0B {TIME}"),
    hexed(f"C0 02 3201 07 01 {TIME} 1E"),
    hexed("0564 05 C9 0004 0100 9881 # a link frame: request link status"),
]


def test_every_field_of_the_schema_is_given_by_some_fragment():
    added_from_the_link = {"dnp3.link.source", "dnp3.link.destination"}
    given_fields = {name for data in EXAMPLES for name in explain(data)}
    assert {field.name for field in DNP3} == added_from_the_link | {n for n in given_fields if n.startswith("dnp3.")}


def check(fields: dict[str, object]) -> None:
    """Names, types and text as the schema and JSON want them."""
    json.dumps(fields, allow_nan=False)
    for name, value in fields.items():
        field = FIELDS[name]
        for item in value if field.many else [value]:  # type: ignore[attr-defined]
            if field.type == "long":
                assert type(item) is int
                assert -(2**63) <= item < 2**63
            elif field.type == "double":
                assert isinstance(item, float)
                assert math.isfinite(item)
            elif field.type == "boolean":
                assert type(item) is bool
            else:
                assert type(item) is str
                assert item.isprintable()


OBJECT_BYTES = st.sampled_from([0, 1, 2, 3, 4, 10, 12, 20, 30, 41, 50, 51, 70, 80, 101, 110, 120, 121, 200])
HEADERS = st.builds(
    lambda group, variation, qualifier, rest: bytes([group, variation, qualifier]) + rest,
    OBJECT_BYTES,
    st.integers(0, 15) | st.integers(0, 255),
    st.sampled_from([0, 1, 6, 7, 8, 0x17, 0x28, 0x5B]) | st.integers(0, 255),
    st.binary(max_size=60) | st.lists(st.integers(0, 3), max_size=60).map(bytes),  # small sizes and counts
)
FRAGMENTS = st.builds(
    lambda control, function, headers: bytes([control, function]) + b"".join(headers),
    st.integers(0, 255),
    st.sampled_from([1, 2, 3, 5, 25, 32, 129, 130, 131]) | st.integers(0, 255),
    st.lists(HEADERS, max_size=4),
)


@given(data=FRAGMENTS | st.binary(max_size=60), kind=st.sampled_from(Kind), request=st.none() | FRAGMENTS)
@settings(max_examples=1500, deadline=None)
@example(data=hexed("C0 02 6E00 09 FFFFFFFF"), kind=Kind.REQUEST, request=None)
@example(data=hexed("C0 81 0000 0102 02 00000000 FFFFFFFF"), kind=Kind.RESPONSE, request=b"")
@example(data=hexed("C0 81 0000 00C3 09 FFFFFFFF 0000"), kind=Kind.RESPONSE, request=b"\xc0")
@example(
    data=hexed("C0 81 0000 00FC 5B 02 0000 0100 01"), kind=Kind.RESPONSE, request=None
)  # attributes of 0 and 1 octet
def test_explaining_any_octets_never_raises_and_gives_what_the_schema_says(data, kind, request):
    check(dnp3.explain(data, kind, request))


@given(data=st.sampled_from(EXAMPLES), at=st.integers(0, 60), octet=st.integers(0, 255), size=st.integers(0, 60))
@settings(max_examples=1000, deadline=None)
def test_explaining_turned_and_cut_fragments_never_raises(data, at, octet, size):
    at %= len(data)
    check(explain((data[:at] + bytes([octet]) + data[at + 1 :])[:size]))
