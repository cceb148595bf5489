"""dnp3py, master and outstation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from dnp3.application.builder import build_cold_restart_request
from dnp3.core.enums import ControlCode
from dnp3.database.database import Database
from dnp3.database.point import AnalogInputConfig, BinaryInputConfig, EventClass
from dnp3.master.config import MasterConfig
from dnp3.master.master import Master
from dnp3.master.tcp_runner import MasterTcpRunner
from dnp3.outstation.config import OutstationConfig
from dnp3.outstation.handler import CommandResult, DefaultCommandHandler
from dnp3.outstation.outstation import Outstation
from dnp3.outstation.tcp_runner import OutstationTcpRunner

from pcaps.dialogue import Frame
from pcaps.messages import dnp3
from pcaps.plant import FEEDER_RTU, SUBSTATION_MASTER
from pcaps.recordings.relay import LOOPBACK, Relay, to_frames

MASTER, OUTSTATION = 1, 41  # link addresses; the stack's defaults do not fit each other, and then it stays silent
POINTS = 24

Session = Callable[[MasterTcpRunner, Database], Awaitable[None]]


class Breakers(DefaultCommandHandler):
    """An outstation that carries out every binary output command and restarts when told to."""

    def select_binary_output(
        self, index: int, code: ControlCode, count: int, on_time: int, off_time: int
    ) -> CommandResult:
        """May be operated."""
        return CommandResult.success()

    def operate_binary_output(
        self, index: int, code: ControlCode, count: int, on_time: int, off_time: int, select_sequence: int
    ) -> CommandResult:
        """Done."""
        return CommandResult.success()

    def direct_operate_binary_output(
        self, index: int, code: ControlCode, count: int, on_time: int, off_time: int
    ) -> CommandResult:
        """Done."""
        return CommandResult.success()

    def cold_restart(self) -> int:
        """Back in 5000 ms."""
        return 5000


def _points() -> Database:
    """Binary and analog inputs, whose changes are events of class 1 and 2."""
    database = Database()
    for index in range(POINTS):
        database.add_binary_input(index, BinaryInputConfig(event_class=EventClass.CLASS_1), value=index % 3 == 0)
        database.add_analog_input(index, AnalogInputConfig(event_class=EventClass.CLASS_2), value=100.0 + index)
    return database


def _record(name: str, session: Session) -> list[Frame]:
    """Play `session` against an outstation, and give the frames."""

    async def play() -> list[Frame]:
        database = _points()
        config = OutstationConfig(address=OUTSTATION, master_address=MASTER)
        station = OutstationTcpRunner(
            outstation=Outstation(config=config, database=database, handler=Breakers()), host=LOOPBACK, port=0
        )
        serving = asyncio.create_task(station.run())
        while station.local_address is None:
            await asyncio.sleep(0.01)
        with Relay(station.local_address[1]) as relay:
            master = Master(config=MasterConfig(address=MASTER, outstation_address=OUTSTATION))
            runner = MasterTcpRunner(master=master, host=LOOPBACK, port=relay.port, response_timeout=3)
            await runner.open()
            try:
                await session(runner, database)
            finally:
                await runner.close()
                await asyncio.sleep(0.3)
                await station.stop()
                serving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await serving
        return to_frames(name, relay.passed, SUBSTATION_MASTER, FEEDER_RTU, dnp3.PORT)

    return asyncio.run(play())


async def _poll(runner: MasterTcpRunner, database: Database) -> None:
    """Integrity polls and event polls; points change in between."""
    await runner.integrity_poll()
    for round_ in range(12):
        database.update_binary_input(round_, value=round_ % 2 == 0)
        database.update_analog_input(round_, 200.0 + round_)
        await runner.class_poll()
        await asyncio.sleep(0.1)
    await runner.integrity_poll()


async def _control(runner: MasterTcpRunner, database: Database) -> None:
    """Select and operate, direct operate, reporting switched on and off, a cold restart."""
    await runner.integrity_poll()
    await runner.enable_unsolicited()
    for index, code in ((2, ControlCode.LATCH_ON), (3, ControlCode.TRIP_PULSE_ON)):
        select = runner.master.command_builder().add_crob(index, code, on_time=100, off_time=100).build_select()
        await runner.request(runner.master.build_select(select))
        operate = runner.master.command_builder().add_crob(index, code, on_time=100, off_time=100).build_operate()
        await runner.request(runner.master.build_operate(operate))
        await asyncio.sleep(0.1)
    direct = runner.master.command_builder().add_crob(5, ControlCode.CLOSE_PULSE_ON, on_time=50).build_direct_operate()
    await runner.request(runner.master.build_direct_operate(direct))
    await runner.disable_unsolicited()
    await runner.request(build_cold_restart_request(seq=9))


def polling() -> list[Frame]:
    """A master polls."""
    return _record("dnp3py polling", _poll)


def control() -> list[Frame]:
    """A master operates outputs and restarts the outstation."""
    return _record("dnp3py control", _control)
