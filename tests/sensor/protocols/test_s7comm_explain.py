"""S7comm at full depth: what people read of jobs, acknowledgements and user data, and that nothing makes it raise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.s7 import ack, ack_data, answer, ask, indicate, job, userdata

from sensor.decode.pdu import PDU, Kind, clear
from sensor.operations import Verb
from sensor.protocols import s7comm
from sensor.protocols import s7comm_tables as t
from sensor.protocols.s7comm_errors import ERROR_CLASSES, ERRORS, EVENT_CLASSES, EVENTS
from sensor.protocols.s7comm_events import clock
from sensor.protocols.s7comm_items import printable
from sensor.protocols.s7comm_services import PI_SERVICES
from sensor.protocols.s7comm_szl import LISTS
from sensor.schema import FIELDS

READ_REAL_AND_TIMER = job(
    "04 02"
    "12 0A 10 08 0001 0001 84 000010"  # REAL, one, DB 1, octet 2
    "12 0A 10 1D 0002 0000 1D 000005"  # TIMER, two, from T 5
)
PASSWORD = b"\x53\x65\x43\x72\x45\x74\x21\x21"


def explain(octets: bytes, request: bytes | None = None) -> dict:
    fields = s7comm.explain(octets, Kind.NONE, request)
    assert set(fields) <= set(FIELDS), "every key is in the schema"
    return fields


def items(specification: str) -> list[str]:
    return explain(job(f"04 01 {specification}"))["s7comm.items"]


# --- header and errors ------------------------------------------------------------------------------------------------


def test_a_set_up_says_how_many_jobs_and_how_long_a_pdu():
    assert explain(job("F0 00 0001 0002 01E0", reference=0x1234)) == {
        "s7comm.rosctr": 1,
        "s7comm.rosctr_name": "job",
        "s7comm.pdu_reference": 0x1234,
        "s7comm.parameter_length": 8,
        "s7comm.data_length": 0,
        "s7comm.function": 0xF0,
        "s7comm.function_name": "setup_communication",
        "s7comm.max_amq_calling": 1,
        "s7comm.max_amq_called": 2,
        "s7comm.pdu_length": 480,
        "event.action": "session",
    }


def test_errors_stand_as_class_code_and_name_and_only_in_acknowledgements():
    fields = explain(ack(0xD241))
    assert (fields["s7comm.error_class"], fields["s7comm.error_code"]) == (0xD2, 0x41)
    assert fields["s7comm.error_name"] == "not_permitted_at_protection_level"
    assert "s7comm.function" not in fields
    assert "s7comm.error_class" not in explain(READ_REAL_AND_TIMER)
    assert explain(ack_data("29", error=0x8500))["s7comm.error_name"] == "frame_wrong"


def test_a_bare_acknowledgement_has_the_verb_of_its_request():
    assert explain(ack(0xD241), job("29 0000000000 09 505F50524F4752414D"))["event.action"] == "stop"
    assert explain(ack(0xD241))["event.action"] == "unknown"


# --- variables --------------------------------------------------------------------------------------------------------


def test_addresses_are_written_as_step_7_users_read_them():
    fields = explain(READ_REAL_AND_TIMER)
    assert fields["s7comm.items"] == ["DB1.DBX 2.0 REAL 1", "T 5 TIMER 2"]
    assert fields["s7comm.item_count"] == 2
    assert fields["s7comm.areas"] == ["T", "DB"]
    assert fields["s7comm.db_numbers"] == [1]


@pytest.mark.parametrize(
    ("specification", "address"),
    [
        ("12 0A 10 02 000A 0001 84 000000", "DB1.DBX 0.0 BYTE 10"),
        ("12 0A 10 01 0001 0000 83 000021", "M 4.1 BIT 1"),
        ("12 0A 10 04 0002 0009 85 000008", "DI9.DIX 1.0 WORD 2"),
        ("12 0A 10 1C 0001 0000 1C 000003", "C 3 COUNTER 1"),
        ("12 0A 10 77 0001 0000 99 000008", "AREA 0x99 1.0 TYPE_0x77 1"),
        ("12 0A 10 02 0040 002F 01 000FFE", "RECORD 4094 INDEX 47 LENGTH 64"),
        ("12 0E B2 FF 8A0E 0007 11223344 20000001", "DB7 SYMBOL 0x11223344 LID 1"),
        ("12 12 B2 FF 0000 0052 11223344 20000001 50000003", "M SYMBOL 0x11223344 LID 1 BY_IDX 3"),
        ("12 0E B2 FF 1234 0052 11223344 90000001", "ROOT 0x1234/0x0052 SYMBOL 0x11223344 PART9 1"),
        ("12 0C B0 02 0A 0002 0064 04 0003 0000", "DB2.DBX 100.0 BYTE 10 + DB3.DBX 0.0 BYTE 4"),
        ("12 08 82 41 0001 0002 7F 01", "NCK C1 MODULE 0x7F COLUMN 1 LINE 2 x1"),
        ("12 08 84 01 0001 0002 7F 01", "NCK N1 MODULE 0x7F COLUMN 1 LINE 2 x1"),
        ("12 0A A2 01 0000 0000 0A4C 0003", "DRIVE P2636[3]"),
        ("12 06 13 00 0000000A", "R_ID 0x0000000A"),
        ("12 03 77 0102", "SYNTAX 0x77 0102"),
    ],
)
def test_every_syntax_of_a_variable_has_an_address(specification, address):
    assert items(specification) == [address]


def test_values_of_a_read_are_typed_by_the_request():
    pdu = ack_data("04 02", "FF 07 0004 3DCCCCCD  FF 09 0004 00010002")
    fields = explain(pdu, READ_REAL_AND_TIMER)
    assert fields["s7comm.values"] == ["0.1", "00010002"]
    assert fields["s7comm.items"] == ["DB1.DBX 2.0 REAL 1", "T 5 TIMER 2"]
    assert fields["event.action"] == "read"
    alone = explain(pdu)
    assert alone["s7comm.values"] == ["0.1", "00010002"], "the transport size says REAL, too"
    assert "s7comm.items" not in alone


@pytest.mark.parametrize(
    ("specification", "data", "value"),
    [
        ("12 0A 10 01 0001 0000 83 000021", "00 03 0001 01", "1"),
        ("12 0A 10 05 0002 0001 84 000000", "00 05 0020 FFFF 0002", "-1 2"),
        ("12 0A 10 07 0001 0001 84 000000", "00 06 0004 FFFFFFFE", "-2"),
        ("12 0A 10 03 0004 0001 84 000000", "00 09 0004 41421B5C", "AB\\x1b\\"),
        ("12 0A 10 02 0003 0001 84 000000", "00 04 0018 0A0B0C", "0a0b0c"),
        ("12 0A 10 05 0001 0001 84 000000", "00 05 0018 0A0B0C", "0a0b0c"),  # no whole number of integers
    ],
)
def test_written_values_are_shown_in_their_type(specification, data, value):
    assert explain(job(f"05 01 {specification}", data))["s7comm.values"] == [value]


def test_joined_areas_of_an_s7_400_have_a_value_each():
    areas = "12 0C B0 02 02 0002 0064 01 0003 0000"  # DB 2 from octet 100, two octets; DB 3 from octet 0, one
    values = "FF 09 0005 FF 0102 0A 00"
    fields = explain(ack_data("04 01", values), job(f"04 01 {areas}"))
    assert fields["s7comm.items"] == ["DB2.DBX 100.0 BYTE 2 + DB3.DBX 0.0 BYTE 1"]
    assert fields["s7comm.values"] == ["0102 + object_does_not_exist"]
    assert fields["s7comm.db_numbers"] == [2, 3]
    fields = explain(answer(2, 5, f"00 01 {values}"), ask(2, 5, f"00 01 01 05 {areas}"))
    assert fields["s7comm.values"] == ["0102 + object_does_not_exist"]


def test_return_codes_are_named_item_by_item():
    fields = explain(ack_data("05 03", "FF 0A 05"))
    assert fields["s7comm.return_codes"] == [0xFF, 0x0A, 0x05]
    assert fields["s7comm.return_names"] == ["success", "object_does_not_exist", "address_out_of_range"]
    fields = explain(ack_data("04 02", "0A 00 0000 FF 04 0008 01"))
    assert fields["s7comm.return_codes"] == [0x0A, 0xFF]
    assert fields["s7comm.values"] == ["", "01"]


# --- blocks and services ----------------------------------------------------------------------------------------------


def test_a_download_names_its_block_and_sizes():
    fields = explain(job("1A 00 0000 00000000 09 5F30413030303031 50 0D 31 303030323138 303030313236"))
    assert fields["s7comm.block"] == "DB1"
    assert fields["s7comm.block_name"] == "_0A00001P"
    assert (fields["s7comm.block_type"], fields["s7comm.block_number"]) == ("DB", 1)
    assert fields["s7comm.file_system"] == "passive"
    assert (fields["s7comm.load_memory_length"], fields["s7comm.mc7_length"]) == (218, 126)
    assert fields["event.action"] == "program-down"


def test_a_download_ended_with_an_error_says_which():
    fields = explain(job("1C 00 D241 00000000 09 5F30383030303031 50"))
    assert fields["s7comm.block"] == "OB1"
    assert fields["s7comm.error_number"] == 0xD241


def test_an_upload_carries_its_number_and_length():
    fields = explain(ack_data("1D 00 0100 00000007 07 30303030323136"))
    assert (fields["s7comm.upload_id"], fields["s7comm.block_length"]) == (7, 216)
    assert explain(job("1E 00 0000 00000007"))["s7comm.upload_id"] == 7
    fields = explain(ack_data("1E 01", "0004 00FB 70700101"))
    assert fields["s7comm.more_data"] is True
    assert fields["s7comm.transferred_octets"] == 4


def test_a_name_that_is_no_block_is_a_file():
    fields = explain(job("1D 00 0000 00000000 0A 5F4E5F4D50463144495F"))
    assert fields["s7comm.file"] == "_N_MPF1DI_"
    assert "s7comm.block" not in fields


@pytest.mark.parametrize(
    ("block", "name", "service", "meaning", "verb"),
    [
        ("0000", "505F50524F4752414D", "P_PROGRAM", "start_program", Verb.START),
        ("0002 4320", "505F50524F4752414D", "P_PROGRAM", "cold_start_program", Verb.RESTART),
        ("0002 4550", "5F4D4F4455", "_MODU", "copy_ram_to_rom", Verb.CONFIGURE),
        ("0000", "5F47415242", "_GARB", "compress_memory", Verb.CONFIGURE),
        ("000A 01 00 3041303030303150", "5F494E5345", "_INSE", "activate_block", Verb.PROGRAM_DOWN),
        ("0000", "5F585858", "_XXX", "unknown", Verb.COMMAND),
    ],
)
def test_pi_services_are_named_and_have_a_verb(block, name, service, meaning, verb):
    fields = explain(job(f"28 000000000000FD {block} {len(bytes.fromhex(name)):02X} {name}"))
    assert (fields["s7comm.service"], fields["s7comm.service_name"]) == (service, meaning)
    assert fields["event.action"] == verb
    assert "anomalies" not in fields


def test_a_service_lists_every_block_it_is_about():
    two = "0012 02 00 3042303030303041 3041303030313741"  # "0B00000A" "0A00017A"
    fields = explain(job(f"28 000000000000FD {two} 05 5F44454C45"))
    assert fields["s7comm.service"] == "_DELE"
    assert fields["s7comm.blocks"] == ["SDB0", "DB17"]
    assert fields["s7comm.block"] == "SDB0"
    assert fields["s7comm.file_system"] == "active"


def test_the_answer_to_a_service_has_its_verb():
    stopped = job("28 000000000000FD 0002 4320 09 505F50524F4752414D")
    assert explain(ack_data("28 00"), stopped)["event.action"] == "restart"


def test_arguments_of_numerical_controls_are_named():
    arguments = "0018 03 303031 04 2F412F42 00 0D 2F5F4E5F5750445F4449522F41"
    fields = explain(job(f"28 000000000000FD {arguments} 09 5F4E5F465F52454E41"))
    assert fields["s7comm.service"] == "_N_F_RENA"
    assert fields["s7comm.service_arguments"] == ["address=001", "old_file=/A/B", "new_file=/_N_WPD_DIR/A"]
    assert fields["event.action"] == "file"


def test_stopping_the_plc_names_the_program():
    fields = explain(job("29 0000000000 09 505F50524F4752414D"))
    assert fields["s7comm.service"] == "P_PROGRAM"
    assert fields["event.action"] == "stop"


@pytest.mark.parametrize(
    "octets",
    [
        ask(5, 1, PASSWORD.hex()),
        job(f"28 000000000000FD 000E 03 303031 08 {PASSWORD.hex()} 00 09 5F4E5F4C4F47494E5F"),  # _N_LOGIN_
        job(f"28 000000000000FD 0010 03 303031 08 {PASSWORD.hex()} 00 01 31 09 5F4E5F4E4557505744"),  # _N_NEWPWD
        job(f"28 000000000000FD 000E 03 303031 08 {PASSWORD.hex()} 00 09 5F4E5F5345545057 44"),  # one nobody knows
    ],
)
def test_a_password_is_never_read_out(octets):
    text = json.dumps(explain(octets))
    assert "SeCrEt" not in text
    assert PASSWORD.hex() not in text


def test_a_log_in_is_an_authentication_with_its_password_hidden():
    fields = explain(job(f"28 000000000000FD 000E 03 303031 08 {PASSWORD.hex()} 00 09 5F4E5F4C4F47494E5F"))
    assert fields["s7comm.service_arguments"] == ["address=001", "password=***"]
    assert fields["event.action"] == "authenticate"


# --- user data --------------------------------------------------------------------------------------------------------


def test_a_request_for_a_status_list_names_it():
    fields = explain(ask(4, 1, "0111 0001"))
    assert fields["s7comm.userdata.type"] == "request"
    assert (fields["s7comm.userdata.group"], fields["s7comm.userdata.subfunction"]) == (4, 1)
    assert (fields["s7comm.szl.id"], fields["s7comm.szl.index"]) == (0x0111, 1)
    assert fields["s7comm.szl.name"] == "module_identification"
    assert "s7comm.function" not in fields


def test_a_module_identifies_itself():
    order_number = b"6ES7 315-2EH14-0AB0 ".hex()
    fields = explain(
        answer(
            4,
            1,
            "0011 0000 001C 0002"  # list 0x11, records of 28 octets, two of them
            f"0001 {order_number} 00C0 0004 0001"
            f"0007 {20 * '20'} 00C0 5603 0206",  # firmware "V", 3, 2, 6
        )
    )
    assert fields["s7comm.module.order_number"] == "6ES7 315-2EH14-0AB0"
    assert fields["s7comm.module.firmware"] == "V3.2.6"
    assert fields["s7comm.error_name"] == "no_error"


def test_a_module_without_versions_still_gives_its_order_number():
    record = f"0001 {b'6ES7 315-2EH14-0AB0'.hex()} 0000 0303 00"
    fields = explain(answer(4, 1, f"0011 0000 001A 0001 {record}"))
    assert fields["s7comm.module.order_number"] == "6ES7 315-2EH14-0AB0"
    assert "s7comm.module.firmware" not in fields


def test_components_identify_themselves():
    def record(index: int, text: bytes) -> str:
        return f"{index:04X}{text.ljust(32, bytes(1)).hex()}"

    records = record(1, b"PLANT-7") + record(5, b"S C-X1") + record(7, b"CPU 315\x1b[31m") + record(9, b"\x00\x2a")
    fields = explain(answer(4, 1, f"001C 0000 0022 0004 {records}"))
    assert fields["s7comm.module.plc_name"] == "PLANT-7"
    assert fields["s7comm.module.serial_number"] == "S C-X1"
    assert fields["s7comm.module.type"] == "CPU 315\\x1b[31m", "control characters are escaped"
    assert fields["s7comm.module.manufacturer"] == 42


def test_mode_and_protection_level_are_read_from_their_lists():
    fields = explain(answer(4, 1, "0424 0000 0014 0001 5144FF08 00000000 00000000 1612151726091230"))
    assert (fields["s7comm.operating_mode"], fields["s7comm.operating_mode_name"]) == (8, "run")
    fields = explain(answer(4, 1, f"0132 0004 0028 0001 0004 0001 0003 0003 0002 {'00' * 30}"))
    assert fields["s7comm.protection.level"] == 3
    assert fields["s7comm.protection.key_position"] == "run_p"


def test_a_later_data_unit_is_not_taken_for_a_list():
    last = answer(4, 1, "4D4D4320 3344", unit=0xD5, more=0)
    assert explain(last)["s7comm.userdata.continues"] is True
    assert "s7comm.szl.id" not in explain(last)
    middle = answer(4, 1, "4D4D4320 3344", unit=0xD5, more=1)
    assert explain(middle, ask(4, 1))["s7comm.userdata.continues"] is True, "its request asks for more"
    first = answer(4, 1, "00A0 0000 0014 0010 4304", unit=0xD5, more=1)
    fields = explain(first, ask(4, 1, "00A00000"))
    assert fields["s7comm.szl.name"] == "diagnostic_buffer"
    assert "anomalies" not in fields, "the rest comes with the next data unit"


def test_the_diagnostic_buffer_lists_its_events():
    entries = f"4304 {18 * '00'} 4302 {18 * '00'} 4ABC {18 * '00'}"
    fields = explain(answer(4, 1, f"00A0 0000 0014 0003 {entries}"))
    assert fields["s7comm.diagnostic.buffer"] == [
        "0x4304 stop_by_programmer_or_sfb20",
        "0x4302 startup_to_run",
        "0x4ABC mode_transition",
    ]


def test_a_diagnostic_message_says_what_happened_and_when():
    fields = explain(indicate(4, 3, "4304 FF 84 0000 000000000000 9401092153421521"))
    assert fields["s7comm.diagnostic.event_name"] == "stop_by_programmer_or_sfb20"
    assert fields["s7comm.diagnostic.event_class"] == "mode_transition"
    assert fields["s7comm.diagnostic.entering"] is True
    assert fields["s7comm.time"] == "1994-01-09T21:53:42.152"


def test_a_mode_transition_is_the_evidence_of_a_stop():
    fields = explain(userdata("01 00 10 10 00 00 00 00"))
    assert (fields["s7comm.userdata.group"], fields["s7comm.mode"], fields["s7comm.mode_name"]) == (0, 0, "stop")
    assert fields["event.action"] == "report"


def test_an_alarm_has_its_event_signals_and_values():
    fields = explain(
        indicate(
            4,
            0x05,
            "1612151726091234"  # when
            "00 01"  # function, one object
            "12 0A 16 02 000000AF 05 00 FE FF"  # two values, event 0xAF, signals 1 and 3, states, acknowledged
            "FF 04 0010 0001  FF 04 0008 07",
        )
    )
    assert fields["s7comm.alarm.ids"] == ["0x000000AF"]
    assert fields["s7comm.alarm.signals"] == ["1,3"]
    assert fields["s7comm.alarm.acknowledged_going"] == ["2,3,4,5,6,7,8"]
    assert fields["s7comm.alarm.values"] == ["0001", "07"]
    assert fields["s7comm.time"] == "2016-12-15T17:26:09.123"
    assert "anomalies" not in fields


def test_locking_an_alarm_silences_it():
    fields = explain(ask(4, 7, "00 01 12 06 15 00 000000AF"))
    assert fields["s7comm.alarm.ids"] == ["0x000000AF"]
    assert fields["event.action"] == "silence"


def test_queries_for_alarms_and_their_answers():
    fields = explain(ask(4, 0x13, "00 01 12 08 1A 00 01 34 00000004"))
    assert (fields["s7comm.alarm.query"], fields["s7comm.alarm.type"]) == ("by_alarm_type", "alarm_s")
    pending = "00 01 FF 09 0018 0A 00 00 02 0000002F 00 00 CF CF 0A 00 00 02 000000AF 00 01 FE FE"
    fields = explain(answer(4, 0x13, pending))
    assert fields["s7comm.alarm.ids"] == ["0x0000002F", "0x000000AF"]
    assert fields["s7comm.alarm.type"] == "alarm_8"


def test_a_subscription_to_messages_names_its_events_and_client():
    fields = explain(ask(4, 2, "83 00 57494E4343202020 09 00"))
    assert fields["s7comm.subscription.events"] == ["mode_transition", "system_diagnosis", "alarms"]
    assert fields["s7comm.subscription.name"] == "WINCC"
    assert fields["s7comm.subscription.alarms"] == "alarm_s_initiate"


def test_a_cyclic_subscription_has_interval_and_variables():
    fields = explain(ask(2, 1, "00 01 01 05 12 0A 10 02 000A 0001 84 000000"))
    assert fields["s7comm.cyclic.interval"] == 5000
    assert fields["s7comm.items"] == ["DB1.DBX 0.0 BYTE 10"]
    fields = explain(indicate(2, 1, "00 01 FF 04 0010 0102"))
    assert fields["s7comm.values"] == ["0102"]
    fields = explain(ask(2, 4, "05 03"))
    assert (fields["s7comm.cyclic.function"], fields["s7comm.cyclic.job"]) == (5, 3)


def test_forcing_shows_what_is_forced_to_which_value():
    fields = explain(
        ask(
            1,
            9,
            "0014 001A"  # sizes of parameters and data
            "000000000000000000000000000000000000 0300"  # parameters, trigger at the end of the cycle
            "0002 72 01 0005 0006 10 03 0000 0001"  # two variables: DB5 word at octet 6; input bit 1.3
            "00 04 0010 BEEF  00 03 0001 01 00",
        )
    )
    assert fields["s7comm.items"] == ["DB5.DBX 6.0 WORD 1", "I 1.3 BIT 1"]
    assert fields["s7comm.values"] == ["beef", "1"]
    assert fields["s7comm.test.trigger"] == "cycle_end"
    assert fields["event.action"] == "command"
    assert "anomalies" not in fields


def test_variable_status_knows_timers_and_their_values_come_as_indications():
    fields = explain(ask(1, 2, f"0014 0008 {20 * '00'} 0001 54 02 0000 0007"))
    assert fields["s7comm.items"] == ["T 7 x2"]
    fields = explain(indicate(1, 2, "0004 000A 00000000 0001 FF 09 0001 2A 00 0000"))
    assert fields["s7comm.values"] == ["2a"]


def test_jobs_of_the_test_functions_are_named():
    assert explain(ask(1, 0x0F, "0000 0004 0000 08 02"))["s7comm.test.jobs"] == ["modify_variable/2"]
    listed = explain(answer(1, 0x10, "0000 0008 09 01 0001 02 03 0000"))
    assert listed["s7comm.test.jobs"] == ["force/1", "variable_status/3"]


def test_blocks_are_counted_listed_and_described():
    assert explain(answer(3, 1, "3038 0001 3041 0002"))["s7comm.block_counts"] == ["OB=1", "DB=2"]
    assert explain(ask(3, 2, "3041"))["s7comm.block_type"] == "DB"
    assert explain(answer(3, 2, "0001 2205 0007 2205"))["s7comm.block_numbers"] == [1, 7]
    assert explain(ask(3, 3, "3038303030303142"))["s7comm.block"] == "OB1"
    fields = explain(
        answer(
            3,
            3,
            "3038 004A 0022 7070 01"  # type, length, unknown
            "01 01 08 0001"  # linked, STL, OB 1
            "000000DA 00000003"  # load memory, know-how protection
            "02468ACE 2A3C 00000000 0001"  # time stamps of code and interface
            "001C 0000 0016 007E"  # lengths: two sections, local data, code
            f"{b'ENGINEER'.hex()} {b'FAM     '.hex()} {b'MAIN    '.hex()}"
            "13 00 BEEF 00000000 00000000",  # version 1.3, checksum
        )
    )
    assert fields["s7comm.block"] == "OB1"
    assert fields["s7comm.block_info.language"] == "stl"
    assert fields["s7comm.block_info.know_how_protected"] is True
    assert fields["s7comm.block_info.author"] == "ENGINEER"
    assert fields["s7comm.block_info.version"] == "1.3"
    assert fields["s7comm.block_info.interface_time"] == "1984-01-02T00:00:00"
    assert fields["s7comm.mc7_length"] == 126


def test_setting_the_clock_shows_the_time():
    fields = explain(ask(7, 2, "00 19 1612151726091235"))
    assert fields["s7comm.time"] == "2016-12-15T17:26:09.123"
    assert fields["event.action"] == "time-set"


@pytest.mark.parametrize("octets", ["1613151726091230", "1602301726091230", "16A2151726091230", "0000", "00" * 8])
def test_what_is_no_time_is_left_out(octets):
    assert clock(bytes.fromhex(octets)) is None


def test_numerical_controls_name_the_file_they_load():
    fields = explain(ask(0x3F, 1, b"/_N_WKS_DIR/_N_A_MPF".hex()))
    assert fields["s7comm.file"] == "/_N_WKS_DIR/_N_A_MPF"
    assert fields["s7comm.userdata.group"] == 0x3F
    assert fields["event.action"] == "program-down"


def test_programmed_sending_shows_its_r_id():
    assert explain(ask(6, 0, "12 06 13 00 00000001 0004 01020304"))["s7comm.r_id"] == "0x00000001"
    fields = explain(userdata("00 01 12 06 13 00 0000000A", "00 00 0001 FF 09 0002 0102"))
    assert (fields["s7comm.r_id"], fields["s7comm.values"]) == ("0x0000000A", ["0102"])


def test_a_wrong_password_is_named_and_its_code_stands_beside():
    fields = explain(answer(5, 1, error=0xD602))
    assert (fields["s7comm.error_number"], fields["s7comm.error_name"]) == (0xD602, "password_wrong")
    assert fields["s7comm.userdata.return_name"] == "no_data"


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        *(t.ROSCTR, t.GROUPS, t.MODES, t.SYNTAX_IDS, t.RETURN_CODES, t.DATA_SIZES, t.FILE_SYSTEMS, t.BLOCK_LANGUAGES),
        *(ERRORS, ERROR_CLASSES, EVENTS, EVENT_CLASSES, LISTS, t.TRIGGER_POINTS),
    ],
)
def test_names_are_snake_case_and_codes_fit_their_octets(table):
    for code, name in table.items():
        assert name == name.lower()
        assert name.replace("_", "").isalnum()
        assert isinstance(code, str) or 0 <= code <= 0xFFFF


def test_every_pi_service_has_a_verb_and_argument_names():
    for name, service in PI_SERVICES.items():
        assert isinstance(service.verb, Verb), name
        assert service.verb is not Verb.UNKNOWN, name
        assert len(set(service.arguments)) == len(service.arguments), name


def test_no_character_of_a_wire_string_survives_unprintable():
    assert printable(bytes(range(256))).isprintable()
    assert printable("\u202e烽火".encode()) == "\\u202e烽火", "direction marks are escaped, plant names are not"
    assert printable(b"AB  \0\0") == "AB"


# --- any bytes at all -------------------------------------------------------------------------------------------------

BODIES = [
    READ_REAL_AND_TIMER, job("1A 00 0000 00000000 09 5F30413030303031 50 0D 31 303030323138 303030313236"),
    job("28 000000000000FD 000A 01 00 3041303030303150 05 5F494E5345"), ack(0xD241),
    ack_data("04 02", "FF 07 0004 3DCCCCCD  FF 09 0004 00010002"), ask(4, 1, "0111 0001"),
    answer(4, 1, "001C 0000 0022 0001 0001" + 32 * "41"), ask(2, 1, "00 01 01 05 12 0A 10 02 000A 0001 84 000000"),
    indicate(4, 3, "4304 FF 84 0000 000000000000 9401092153421521"), answer(3, 3, 78 * "30"), ask(0x3F, 6, "0101 41"),
    indicate(4, 0x05, "1612151726091234 00 01 12 0A 16 02 000000AF 05 00 FE FF FF 04 0010 0001 FF 04 0008 07"),
    answer(4, 0x13, "00 01 FF 09 0018 0A 00 00 02 0000002F 00 00 CF CF"),
    ask(1, 9, "0014 0008" + 20 * "00" + "0001 7201 0005 0006"),
]  # fmt: skip


@st.composite
def damaged(draw):
    octets = bytearray(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(0, 5))):
        octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    return bytes(octets[: draw(st.integers(0, len(octets)))] if draw(st.booleans()) else octets)


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(damaged(), st.binary(max_size=80).map(lambda rest: b"\x32" + rest), st.binary(max_size=30)),
    st.one_of(st.none(), damaged(), st.binary(max_size=30)),
)
def test_explaining_any_bytes_never_raises_and_gives_json_of_known_fields(octets, request):
    fields = explain(octets, request)
    json.dumps(fields)
    assert fields["event.action"] in {verb.value for verb in Verb}
    for name, value in fields.items():
        assert isinstance(value, list) == FIELDS[name].many, name
        assert value != [], "a field without values is absent"
        texts = value if isinstance(value, list) else [value]
        assert all(not isinstance(text, str) or text.isprintable() for text in texts), name


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 0x3F), st.integers(0, 0x20), st.integers(0, 2), st.binary(max_size=60))
def test_every_group_and_sub_function_survives_any_payload(group, code, kind, payload):
    make = (lambda g, c, p: indicate(g, c, p), ask, answer)[kind]
    fields = explain(make(group, code, payload.hex()))
    json.dumps(fields)
    assert fields["s7comm.userdata.group"] == group
    if group == t.SECURITY and len(payload) > 3:
        assert payload.hex() not in json.dumps(fields)


@settings(max_examples=200, deadline=None)
@given(damaged())
def test_the_explanation_agrees_with_the_row(octets):
    row = np.zeros(1, dtype=PDU)[0]
    clear(row)
    s7comm.read(np.frombuffer(octets, dtype=np.uint8), 0, len(octets), np.uint64(1), row)
    fields = explain(octets)
    if len(octets) >= 12:
        assert fields["s7comm.pdu_reference"] == row.transaction
        assert fields.get("s7comm.function", -1) == row.function
        if "s7comm.error_class" in fields and not row.refused:
            assert fields["s7comm.error_number"] == 0
    if row.subfunction >= 0 and "s7comm.userdata.group" in fields:
        code = fields.get("s7comm.userdata.subfunction", fields.get("s7comm.mode"))
        assert fields["s7comm.userdata.group"] << 8 | code == row.subfunction
    if row.anomalies:
        assert fields["anomalies"]
