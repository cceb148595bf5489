"""pymodbus, client and server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from pcaps.dialogue import Frame
from pcaps.messages import modbus
from pcaps.plant import ENGINEERING, HMI, PUMP_PLC, Host
from pcaps.recordings.relay import LOOPBACK, Relay, to_frames

UNITS = (1, 2)


def _device(unit: int) -> SimDevice:
    """Coils and discrete inputs (64 each), holding and input registers (64 each)."""
    bits = [SimData(0, values=[True, False, False, True] * 16, datatype=DataType.BITS)]
    registers = [SimData(0, values=[unit * 1000 + index for index in range(64)], datatype=DataType.REGISTERS)]
    return SimDevice(unit, simdata=(bits, bits, registers, registers))


def _record(name: str, client: Host, session: Callable[[AsyncModbusTcpClient], Awaitable[None]]) -> list[Frame]:
    """Play `session` against a server with two units, and give the frames."""

    async def play() -> list[Frame]:
        identity = ModbusDeviceIdentification(  # type: ignore[no-untyped-call]
            info_name={
                "VendorName": "Fenghuo",
                "ProductCode": "PUMP-2",
                "MajorMinorRevision": "1.4",
                "ModelName": "Pump",
            }
        )
        server = ModbusTcpServer([_device(unit) for unit in UNITS], identity=identity, address=(LOOPBACK, 0))
        await server.serve_forever(background=True)
        try:
            with Relay(server.transport.sockets[0].getsockname()[1]) as relay:  # type: ignore[attr-defined]
                caller = AsyncModbusTcpClient(LOOPBACK, port=relay.port, timeout=1, retries=0, reconnect_delay=0)
                await caller.connect()
                try:
                    await session(caller)
                finally:
                    caller.close()
                    await asyncio.sleep(0.3)
        finally:
            await server.shutdown()  # type: ignore[no-untyped-call]
        return to_frames(name, relay.passed, client, PUMP_PLC, modbus.PORT)

    return asyncio.run(play())


async def _read_and_write(caller: AsyncModbusTcpClient) -> None:
    """Every ordinary public function, answered; two refusals; the device's identification."""
    for _ in range(20):
        for unit in UNITS:
            await caller.read_holding_registers(0, count=10, device_id=unit)
            await caller.read_input_registers(8, count=4, device_id=unit)
        await caller.read_coils(0, count=16, device_id=1)
        await caller.read_discrete_inputs(16, count=8, device_id=2)
        await asyncio.sleep(0.1)
    await caller.write_coil(3, True, device_id=1)
    await caller.write_coils(8, [True, True, False], device_id=1)
    await caller.write_register(5, 4711, device_id=1)
    await caller.write_registers(10, [1, 2, 3], device_id=2)
    await caller.mask_write_register(address=5, and_mask=0x00F2, or_mask=0x0025, device_id=1)
    await caller.readwrite_registers(read_address=0, read_count=4, address=20, values=[7, 8], device_id=2)
    await caller.read_holding_registers(400, count=2, device_id=1)
    await caller.read_coils(1000, count=8, device_id=2)
    await caller.read_device_information(read_code=1, object_id=0, device_id=1)
    await caller.report_device_id(device_id=1)
    await caller.read_exception_status(device_id=1)
    await caller.diag_get_comm_event_counter(device_id=1)


async def _silence(caller: AsyncModbusTcpClient) -> None:
    """Diagnostics, then the two that take a device off the air."""
    await caller.diag_query_data(b"\x12\x34", device_id=1)
    await caller.diag_read_bus_message_count(device_id=1)
    await caller.diag_clear_counters(device_id=1)
    await caller.diag_restart_communication(True, device_id=1)
    await caller.diag_force_listen_only(device_id=1, no_response_expected=True)


def reads_and_writes() -> list[Frame]:
    """An operators' station reads and writes."""
    return _record("pymodbus reads and writes", HMI, _read_and_write)


def force_listen_only() -> list[Frame]:
    """Somebody at the engineering station silences the controller."""
    return _record("pymodbus force listen only", ENGINEERING, _silence)
