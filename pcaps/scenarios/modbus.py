"""Modbus/TCP: ordinary polling, and what has been done to Modbus devices in earnest."""

from __future__ import annotations

from pcaps.dialogue import Lab, TcpDialogue
from pcaps.messages import modbus
from pcaps.plant import HEAT_PLC_1, HEAT_PLC_2, HEAT_PLC_3, HISTORIAN, HMI, OUTSIDE, PUMP_PLC, ROGUE, VALVE_PLC, Host

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, GATEWAY_NO_RESPONSE = 1, 2, 11


class Talk:
    """A Modbus client on one connection: counts transactions, speaks in operations."""

    def __init__(self, lab: Lab, client: Host, server: Host, unit: int = 1, *, first_transaction: int = 1) -> None:
        self.link: TcpDialogue = lab.tcp(client, server, modbus.PORT)
        self.unit = unit
        self.transaction = first_transaction
        self.random = lab.random

    def ask(self, request: bytes, response: bytes | None, unit: int | None = None) -> None:
        """One request, and its response unless the server stays silent."""
        unit = self.unit if unit is None else unit
        self.link.client(modbus.adu(self.transaction, unit, request))
        if response is not None:
            self.link.server(modbus.adu(self.transaction, unit, response))
        self.transaction += 1

    def read_holding(self, address: int, values: list[int], unit: int | None = None) -> None:
        """FC 3, answered."""
        self.ask(modbus.read(3, address, len(values)), modbus.registers(3, values), unit)

    def read_inputs(self, address: int, values: list[int], unit: int | None = None) -> None:
        """FC 4, answered."""
        self.ask(modbus.read(4, address, len(values)), modbus.registers(4, values), unit)

    def read_coils(self, address: int, values: list[bool], unit: int | None = None) -> None:
        """FC 1, answered."""
        self.ask(modbus.read(1, address, len(values)), modbus.bits(1, values), unit)

    def write_register(self, address: int, value: int) -> None:
        """FC 6, answered by its echo."""
        self.ask(modbus.write_register(address, value), modbus.write_register(address, value))

    def write_registers(self, address: int, values: list[int]) -> None:
        """FC 16, answered."""
        self.ask(modbus.write_registers(address, values), modbus.wrote_registers(address, len(values)))

    def write_coil(self, address: int, on: bool) -> None:
        """FC 5, answered by its echo."""
        self.ask(modbus.write_coil(address, on), modbus.write_coil(address, on))


def poll_pump(talk: Talk, level: int = 512) -> None:
    """What the operators' station asks of the pump controller each second: levels, pressures, states."""
    drift = talk.random.randrange(-6, 7)
    talk.read_holding(0, [level + drift, 1480 + drift, 0, 730])
    talk.read_inputs(100, [2040 + drift, 1999 - drift])
    talk.read_coils(16, [True, False, True, True, False, False, True, False])


def benign_polling(lab: Lab) -> None:
    """Two stations poll two controllers for four minutes; the operator sets the level now and then, from the start."""
    pump, valve = Talk(lab, HMI, PUMP_PLC), Talk(lab, HMI, VALVE_PLC, unit=3)
    history = Talk(lab, HISTORIAN, PUMP_PLC)
    for second in range(240):
        poll_pump(pump)
        if second % 2 == 0:
            valve.read_holding(40, [valve.random.randrange(0, 1000) for _ in range(6)])
        if second % 10 == 0:
            history.read_inputs(100, [2040, 1999])
        if second % 30 == 5:
            pump.write_register(8, 500 + second % 60)
        lab.wait(1.0, jitter=0.02)
    for talk in (pump, valve, history):
        talk.link.close()


def function_scan(lab: Lab) -> None:
    """After a minute of polling somebody tries every public function code once, 1 to 127, on the pump controller."""
    hmi = Talk(lab, HMI, PUMP_PLC)
    for _ in range(20):
        poll_pump(hmi)
        lab.wait(1.0, jitter=0.02)
    scan = Talk(lab, ROGUE, PUMP_PLC)
    known = {
        1: (modbus.read(1, 0, 1), modbus.bits(1, [True])),
        2: (modbus.read(2, 0, 1), modbus.bits(2, [False])),
        3: (modbus.read(3, 0, 1), modbus.registers(3, [512])),
        4: (modbus.read(4, 0, 1), modbus.registers(4, [2040])),
    }
    for function in range(1, 128):
        request, response = known.get(function, (bytes([function]), modbus.exception(function, ILLEGAL_FUNCTION)))
        scan.ask(request, response)
        lab.wait(0.05, jitter=0.3)
    scan.link.close()
    for _ in range(5):
        poll_pump(hmi)
        lab.wait(1.0, jitter=0.02)
    hmi.link.close()


def point_scan(lab: Lab) -> None:
    """Somebody reads register after register to learn which exist: 0 to 1199, in steps of eight; few are there."""
    scan = Talk(lab, ROGUE, VALVE_PLC, unit=3)
    for address in range(0, 1200, 8):
        if address < 48:
            scan.read_holding(address, [scan.random.randrange(1000) for _ in range(8)])
        else:
            scan.ask(modbus.read(3, address, 8), modbus.exception(3, ILLEGAL_ADDRESS))
        lab.wait(0.1, jitter=0.3)
    scan.link.close()


def force_listen_only(lab: Lab) -> None:
    """Restart communications, then force listen only: the controller goes deaf, the polls stay unanswered."""
    hmi, rogue = Talk(lab, HMI, PUMP_PLC), Talk(lab, ROGUE, PUMP_PLC)
    for _ in range(15):
        poll_pump(hmi)
        lab.wait(1.0, jitter=0.02)
    rogue.ask(modbus.diagnostics(1), modbus.diagnostics(1))
    lab.wait(2)
    rogue.ask(modbus.diagnostics(4), None)
    lab.wait(0.5)
    for _ in range(6):
        hmi.ask(modbus.read(3, 0, 4), None)
        lab.wait(3)
    hmi.link.reset("client")


def rogue_writer(lab: Lab) -> None:
    """For three minutes only the operators' station writes; then a machine never seen before switches pumps off."""
    hmi = Talk(lab, HMI, PUMP_PLC)
    for second in range(180):
        poll_pump(hmi)
        if second % 20 == 3:
            hmi.write_register(8, 505)
        lab.wait(1.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, PUMP_PLC)
    for coil in (16, 18, 19, 22):
        rogue.write_coil(coil, on=False)
        lab.wait(0.4, jitter=0.2)
    rogue.link.close()
    for _ in range(10):
        poll_pump(hmi, level=260)
        lab.wait(1.0, jitter=0.02)
    hmi.link.close()


def heating_registers_overwritten(lab: Lab) -> None:
    """From another network three heating controllers get new measured values, as FrostyGoop did in January 2024."""
    controllers = (HEAT_PLC_1, HEAT_PLC_2, HEAT_PLC_3)
    polls = [Talk(lab, HMI, controller) for controller in controllers]
    for _ in range(90):
        for poll in polls:
            poll.read_holding(0, [68 + poll.random.randrange(3), 71, 55, 40, 0, 1])
        lab.wait(2.0, jitter=0.02)
    for controller in controllers:
        attack = Talk(lab, OUTSIDE, controller)
        attack.read_holding(0, [69, 71, 55, 40, 0, 1])
        lab.wait(1.5)
        for address in (0, 1, 2):
            attack.write_register(address, 12)
            lab.wait(0.3)
        attack.write_registers(16, [0, 0, 0, 0])
        attack.link.close()
        lab.wait(4)
    for poll in polls:
        poll.read_holding(0, [12, 12, 12, 40, 0, 1])
        poll.link.close()


def umas_stop(lab: Lab) -> None:
    """Schneider UMAS: identify, take the reservation, stop the controller, release, and nobody has started it since."""
    rogue = Talk(lab, ROGUE, PUMP_PLC, unit=0)
    session = 0x1F
    for code, data, answer in (
        (0x02, b"", b"\x06\x00\x01\x05\x30\x00\x00"),
        (0x01, b"\x00", b"\xfd\x03\x00\x80"),
        (0x04, b"", b"\x10\x02\x00\x00\x00\x00"),
    ):
        rogue.ask(modbus.umas(0, code, data), modbus.umas(0, 0xFE, answer))
        lab.wait(0.2)
    rogue.ask(modbus.umas(0, 0x10, b"\x01\x00\x00\x00\x06LAPTOP"), modbus.umas(0, 0xFE, bytes([session])))
    lab.wait(0.5)
    rogue.ask(modbus.umas(session, 0x41, b"\xff\x00"), modbus.umas(session, 0xFE))
    lab.wait(0.5)
    rogue.ask(modbus.umas(session, 0x11), modbus.umas(session, 0xFE))
    rogue.link.close()


def unanswered_commands(lab: Lab) -> None:
    """The valve controller acknowledges at TCP but no longer answers: the operator's writes go nowhere."""
    hmi = Talk(lab, HMI, VALVE_PLC, unit=3)
    for second in range(40):
        hmi.read_holding(40, [120, 121, 122, 0, 0, 9])
        if second in {4, 9}:
            hmi.write_register(60, 300)
        lab.wait(1.0, jitter=0.02)
    for attempt in range(8):
        hmi.ask(modbus.write_register(60, 300 + attempt), None)
        lab.wait(5)
    hmi.link.reset("client")


def gateway_with_absent_unit(lab: Lab) -> None:
    """A serial gateway answers for the units behind it; unit 7 is away and the gateway says so. Nothing is wrong."""
    hmi = Talk(lab, HMI, VALVE_PLC, unit=1)
    for _ in range(30):
        for unit in (1, 2, 3):
            hmi.read_holding(0, [unit * 100, unit * 100 + 1], unit)
        hmi.ask(modbus.read(3, 0, 2), modbus.exception(3, GATEWAY_NO_RESPONSE), 7)
        lab.wait(2.0, jitter=0.02)
    hmi.link.close()


def broadcast_write(lab: Lab) -> None:
    """One write to unit 0 reaches every device behind the serial gateway; by the standard nobody answers."""
    hmi = Talk(lab, HMI, VALVE_PLC, unit=1)
    for _ in range(12):
        for unit in (1, 2, 3):
            hmi.read_holding(0, [unit * 100, unit * 100 + 1], unit)
        lab.wait(2.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, VALVE_PLC)
    rogue.ask(modbus.write_coil(1, on=False), None, unit=0)
    lab.wait(1.0)
    rogue.link.close()
    hmi.link.close()


def meters_flooded(lab: Lab) -> None:
    """As Fuxnet did to its gateways: writes to one meter after the other behind a gateway, faster than any bus."""
    hmi = Talk(lab, HMI, PUMP_PLC)
    for _ in range(30):
        poll_pump(hmi)
        lab.wait(1.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, PUMP_PLC)
    for number in range(2000):
        request = modbus.write_register(rogue.random.randrange(64), rogue.random.randrange(65536))
        rogue.ask(request, None, 1 + number % 40)
        lab.wait(0.005)
    hmi.link.close()


def commands_replayed(lab: Lab) -> None:
    """The operators' set points are recorded, and played back in another connection under the station's own address."""
    hmi, recorded = Talk(lab, HMI, PUMP_PLC, first_transaction=4100), []
    for second in range(120):
        poll_pump(hmi)
        if second % 15 == 4:
            recorded.append((hmi.transaction, 500 + second))
            hmi.write_register(8, 500 + second)
        lab.wait(1.0, jitter=0.02)
    replay = Talk(lab, HMI, PUMP_PLC)
    for transaction, value in recorded:
        replay.transaction = transaction
        replay.write_register(8, value)
        lab.wait(0.4)
    for _ in range(20):
        poll_pump(hmi)
        lab.wait(1.0, jitter=0.02)
    replay.link.close()
    hmi.link.close()
