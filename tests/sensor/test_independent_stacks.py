"""Protocol stacks that others wrote say what they sent and read; our events say the same.

pymodbus, python-snap7 and dnp3py belong to the lab extra; without them these tests are skipped.
"""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pymodbus", reason="pymodbus of the lab extra is not installed")
pytest.importorskip("snap7", reason="python-snap7 of the lab extra is not installed")

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.framer import FramerRTU, FramerSocket, FramerType
from pymodbus.pdu import DecodePDU, ExceptionResponse, FileRecord, diag_message, file_message
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import register_message as registers
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from pcaps.files import pcap
from pcaps.plant import HMI, PUMP_PLC
from pcaps.recordings.relay import LOOPBACK, Relay, to_frames
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Kind
from sensor.protocols import modbus, modbus_rtu
from sensor.protocols import modbus_tables as tables

REPOSITORY = Path(__file__).parents[2]
MBAP, RTU = FramerSocket(DecodePDU(True)), FramerRTU(DecodePDU(True))

addresses, units = st.integers(0, 0xFFFF), st.integers(1, 247)
words = st.integers(0, 0xFFFF)


def decoded(path: Path) -> list[dict[str, Any]]:
    decoder = Decoder()
    batches = decoder.decode(open_capture(path))
    return [decoder.view.fields(batch, row) for batch in batches for row in range(batch.size)]


def explained(pdu: Any, kind: Kind) -> dict[str, Any]:
    """Our reading of a PDU that pymodbus framed, the same in both framings."""
    fields = modbus.explain(MBAP.buildFrame(pdu), kind)
    serial = modbus_rtu.explain(RTU.buildFrame(pdu), kind)
    assert "anomalies" not in fields
    assert fields.pop("modbus.transaction_id") == pdu.transaction_id
    assert serial.pop("modbus.framing") == "rtu"
    assert serial == fields
    assert (fields["modbus.unit_id"], fields["modbus.function_code"]) == (pdu.dev_id, pdu.function_code & 0x7F)
    return fields


@given(unit=units, address=addresses, values=st.lists(words, min_size=1, max_size=100), transaction=words)
@settings(max_examples=60, deadline=None)
def test_registers_are_read_as_pymodbus_writes_them(unit, address, values, transaction):
    address = min(address, 0x10000 - len(values))
    common = {"dev_id": unit, "transaction_id": transaction}
    asked = explained(registers.ReadHoldingRegistersRequest(address=address, count=len(values), **common), Kind.REQUEST)
    assert (asked["modbus.address"], asked["modbus.quantity"]) == (address, len(values))
    told = explained(registers.ReadInputRegistersResponse(registers=values, **common), Kind.RESPONSE)
    assert told["modbus.values"] == values
    one = explained(registers.WriteSingleRegisterRequest(address=address, registers=values[:1], **common), Kind.REQUEST)
    assert (one["modbus.address"], one["modbus.values"]) == (address, values[:1])
    many = explained(registers.WriteMultipleRegistersRequest(address=address, registers=values, **common), Kind.REQUEST)
    assert (many["modbus.address"], many["modbus.values"]) == (address, values)
    masked = explained(registers.MaskWriteRegisterRequest(address, values[0], values[-1], **common), Kind.REQUEST)
    assert (masked["modbus.and_mask"], masked["modbus.or_mask"]) == (values[0], values[-1])
    both = explained(
        registers.ReadWriteMultipleRegistersRequest(
            read_address=0, read_count=3, write_address=address, write_registers=values, **common
        ),
        Kind.REQUEST,
    )
    assert (both["modbus.read.quantity"], both["modbus.write.address"], both["modbus.values"]) == (3, address, values)
    queue = explained(file_message.ReadFifoQueueResponse(values[:31], **common), Kind.RESPONSE)
    assert queue["modbus.values"] == values[:31]


@given(unit=units, address=st.integers(0, 0xF000), values=st.lists(st.booleans(), min_size=1, max_size=200))
@settings(max_examples=40, deadline=None)
def test_coils_are_read_as_pymodbus_writes_them(unit, address, values):
    many = explained(bits.WriteMultipleCoilsRequest(address=address, bits=values, dev_id=unit), Kind.REQUEST)
    assert (many["modbus.address"], many["modbus.values"]) == (address, [int(value) for value in values])
    one = explained(bits.WriteSingleCoilRequest(address=address, bits=values[:1], dev_id=unit), Kind.REQUEST)
    assert one["modbus.values"] == [int(values[0])]
    told = explained(bits.ReadCoilsResponse(bits=values, dev_id=unit), Kind.RESPONSE)
    assert told["modbus.values"][: len(values)] == [int(value) for value in values]


@given(
    unit=units,
    records=st.lists(
        st.tuples(st.integers(1, 0xFFFF), st.integers(0, 9999), st.binary(min_size=2, max_size=20)),
        min_size=1,
        max_size=5,
    ),
)
@settings(max_examples=40, deadline=None)
def test_file_records_are_read_as_pymodbus_writes_them(unit, records):
    contents = [data[: len(data) // 2 * 2] for _, _, data in records]
    asked = [FileRecord(*it[:2], record_length=len(data)) for it, data in zip(records, contents, strict=True)]
    written = [FileRecord(*it[:2], record_data=data) for it, data in zip(records, contents, strict=True)]
    for request in (
        file_message.ReadFileRecordRequest(asked, dev_id=unit),
        file_message.WriteFileRecordRequest(written, dev_id=unit),
    ):
        fields = explained(request, Kind.REQUEST)
        assert fields["modbus.file.numbers"] == [number for number, _, _ in records]
        assert fields["modbus.file.records"] == [record for _, record, _ in records]
        assert fields["modbus.file.lengths"] == [len(data) // 2 for data in contents]
    assert b"".join(value.to_bytes(2, "big") for value in fields["modbus.values"]) == b"".join(contents)


def test_every_diagnostic_of_pymodbus_has_our_name_but_modbus_plus():
    codes = {
        kind.sub_function_code
        for _, kind in inspect.getmembers(diag_message, inspect.isclass)
        if issubclass(kind, diag_message.DiagnosticBase) and getattr(kind, "sub_function_code", 9999) != 9999
    }
    assert codes - {19, 21} == set(tables.DIAGNOSTIC_NAMES)  # 19 and 21 are not in the standard any more
    for code in range(1, 12):
        fields = modbus.explain(MBAP.buildFrame(ExceptionResponse(3, exception_code=code, device_id=1)), Kind.RESPONSE)
        assert fields["modbus.exception_code"] == code


def test_what_a_serial_gateway_says_to_pymodbus_it_says_to_us(tmp_path):
    async def play() -> tuple[list[Any], list[Any]]:
        values = [SimData(0, values=[100 + index for index in range(32)], datatype=DataType.REGISTERS)]
        coils = [SimData(0, values=[True, False, False, True] * 4, datatype=DataType.BITS)]
        device = SimDevice(5, simdata=(coils, coils, values, values))
        server = ModbusTcpServer([device], framer=FramerType.RTU, address=(LOOPBACK, 0))
        await server.serve_forever(background=True)
        said: list[Any] = []
        try:
            with Relay(server.transport.sockets[0].getsockname()[1]) as relay:
                client = AsyncModbusTcpClient(LOOPBACK, port=relay.port, framer=FramerType.RTU, reconnect_delay=0)
                await client.connect()
                said.append((await client.read_holding_registers(3, count=4, device_id=5)).registers)
                await client.write_register(9, 4711, device_id=5)
                said.append((await client.read_input_registers(9, count=2, device_id=5)).registers)
                said.append((await client.read_coils(0, count=8, device_id=5)).bits[:8])
                said.append((await client.read_holding_registers(4000, count=1, device_id=5)).exception_code)
                client.close()
                await asyncio.sleep(0.2)
        finally:
            await server.shutdown()
        return said, relay.passed

    said, passed = asyncio.run(play())
    path = tmp_path / "serial.pcap"
    path.write_bytes(pcap(to_frames("serial gateway", passed, HMI, PUMP_PLC, 4001)))
    events = decoded(path)
    assert [event["modbus.framing"] for event in events] == ["rtu"] * 10
    assert [event["event.outcome"] for event in events] == ["asked", "answered"] * 4 + ["asked", "refused"]
    answers = events[1::2]
    assert [answers[0]["modbus.values"], answers[2]["modbus.values"], answers[3]["modbus.values"]] == said[:3]
    assert answers[1]["modbus.values"] == [4711]
    assert answers[4]["modbus.exception_code"] == said[3]


def test_what_snap7_reads_and_writes_we_see(tmp_path):
    from snap7.client import Client
    from snap7.server import Server
    from snap7.type import SrvArea

    from pcaps.recordings.s7comm import _free_port

    server = Server(log=False)
    server.register_area(SrvArea.DB, 7, bytearray(range(200)))
    port = _free_port()
    server.start_to(LOOPBACK, port)
    try:
        with Relay(port) as relay:
            client = Client()
            client.connect(LOOPBACK, 0, 2, relay.port)
            read = [bytes(client.db_read(7, start, size)) for start, size in ((0, 1), (10, 17), (199, 1))]
            client.db_write(7, 30, bytearray(b"\xde\xad\xbe\xef"))
            read.append(bytes(client.db_read(7, 29, 6)))
            client.disconnect()
    finally:
        server.stop()
    path = tmp_path / "snap7.pcap"
    path.write_bytes(pcap(to_frames("snap7", relay.passed, HMI, PUMP_PLC, 102)))
    events = decoded(path)
    told = [
        bytes.fromhex(event["s7comm.values"][0])
        for event in events
        if event.get("s7comm.function") == 4 and event["event.kind"] == "response"
    ]
    assert told == read
    (written,) = [event for event in events if event.get("s7comm.function") == 5 and event["event.kind"] == "request"]
    assert written["s7comm.values"] == ["deadbeef"]
    assert written["s7comm.db_numbers"] == [7]


def test_the_points_of_dnp3py_are_those_that_were_put_into_its_database():
    events = decoded(REPOSITORY / "pcaps" / "dnp3" / "dnp3py_polling.pcap")
    poll = next(event for event in events if event["event.outcome"] == "answered" and "dnp3.values" in event)
    states, measures = poll["dnp3.values"][:24], poll["dnp3.values"][24:48]
    assert states == [float(index % 3 == 0) for index in range(24)]  # pcaps/recordings/dnp3.py, _points
    assert measures == [100.0 + index for index in range(24)]
