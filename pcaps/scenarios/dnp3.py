"""DNP3 over TCP: a substation master and its outstations, and those who pretend to be the master."""

from __future__ import annotations

from datetime import UTC, datetime

from pcaps.dialogue import Lab
from pcaps.messages import dnp3
from pcaps.plant import FEEDER_RTU, ROGUE, STANDBY_MASTER, SUBSTATION_MASTER, TRANSFORMER_RTU, Host

MASTER, FEEDER, TRANSFORMER, STRANGER = 1, 41, 42, 3  # link addresses
RESTARTED = 0x8000  # first octet of the internal indications, bit 7
TRIP, CLOSE = 0x81, 0x41


class Talk:
    """A master and an outstation on one TCP connection."""

    def __init__(self, lab: Lab, client: Host, server: Host, master: int = MASTER, outstation: int = FEEDER) -> None:
        self.lab = lab
        self.link = lab.tcp(client, server, dnp3.PORT)
        self.master = dnp3.Station(master, outstation, master=True)
        self.outstation = dnp3.Station(outstation, master, master=False)
        self.sequence = 0
        self.unsolicited_sequence = 0

    def ask(self, function: int, objects: bytes, answer: bytes | None, *, iin: int = 0, confirm: bool = False) -> None:
        """One request; `answer`: objects of the response, None for silence; `confirm`: the response asks for one."""
        self.link.client(self.master.send(dnp3.request(self.sequence, function, objects)))
        if answer is not None:
            self.link.server(self.outstation.send(dnp3.response(self.sequence, answer, iin=iin, confirm=confirm)))
            if confirm:
                self.link.client(self.master.send(dnp3.confirm(self.sequence)))
        self.sequence = (self.sequence + 1) % 16

    def integrity_poll(self, points: int = 12) -> None:
        """Classes 1, 2, 3 and 0."""
        states = [self.lab.random.random() < 0.5 for _ in range(points)]
        values = [self.lab.random.randrange(9_900, 10_100) for _ in range(points)]
        self.ask(dnp3.READ, dnp3.INTEGRITY_POLL, dnp3.binary_inputs(states) + dnp3.analog_inputs(values))

    def event_poll(self) -> None:
        """Classes 1, 2 and 3; nothing happened."""
        self.ask(dnp3.READ, dnp3.EVENT_CLASSES, b"")

    def report(self, point: int, state: bool) -> None:
        """The outstation reports a change unasked and gets its confirm."""
        now = datetime.fromtimestamp(self.lab.now_ns // 1_000_000_000, UTC)
        event = dnp3.unsolicited(self.unsolicited_sequence, dnp3.binary_event(point, state, now))
        self.link.server(self.outstation.send(event))
        confirm = dnp3.confirm(self.unsolicited_sequence, of_unsolicited=True)
        self.link.client(self.master.send(confirm))
        self.unsolicited_sequence = (self.unsolicited_sequence + 1) % 16

    def select_operate(self, point: int, code: int) -> None:
        """Select, then operate one output; the outstation echoes both."""
        block = dnp3.crob(point, code)
        self.ask(dnp3.SELECT, block, block)
        self.ask(dnp3.OPERATE, block, block)


def benign_polling(lab: Lab) -> None:
    """Integrity polls that span several link frames, event polls, reports unasked, the time set once."""
    feeder = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    transformer = Talk(lab, SUBSTATION_MASTER, TRANSFORMER_RTU, outstation=TRANSFORMER)
    for talk in (feeder, transformer):
        talk.integrity_poll(points=60)
        talk.ask(dnp3.ENABLE_UNSOLICITED, dnp3.EVENT_CLASSES, b"")
        talk.ask(dnp3.WRITE, dnp3.time_and_date(datetime(2026, 3, 2, tzinfo=UTC)), b"")
    for second in range(120):
        feeder.event_poll()
        if second % 4 == 0:
            transformer.event_poll()
        if second % 15 == 7:
            feeder.report(second % 12, second % 2 == 0)
        if second % 60 == 30:
            feeder.integrity_poll(points=60)
        lab.wait(1.0, jitter=0.02)
    feeder.link.close()
    transformer.link.close()


def operator_switching(lab: Lab) -> None:
    """Ordinary work: from the start on the master itself selects and operates a breaker, every half minute."""
    talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    for second in range(100):
        talk.event_poll()
        if second % 30 == 3:
            talk.select_operate(2, TRIP if second % 60 == 3 else CLOSE)
            talk.report(2, second % 60 != 3)
        lab.wait(1.0, jitter=0.02)
    talk.link.close()


def cold_restart(lab: Lab) -> None:
    """Somebody with the master's link address restarts the outstation; it comes back with the restart indication."""
    talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    for _ in range(20):
        talk.event_poll()
        lab.wait(1.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, FEEDER_RTU)
    rogue.ask(dnp3.COLD_RESTART, b"", dnp3.time_delay(12_000))
    talk.link.reset("server")
    lab.wait(12)
    again = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    again.ask(dnp3.READ, dnp3.EVENT_CLASSES, b"", iin=RESTARTED)
    again.ask(dnp3.WRITE, dnp3.clear_restart(), b"")
    again.integrity_poll()
    again.link.close()


def disable_unsolicited_broadcast(lab: Lab) -> None:
    """One frame to everybody switches reporting off: no outstation may answer a broadcast, and alarms stop coming."""
    talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    for second in range(20):
        talk.event_poll()
        if second % 5 == 2:
            talk.report(second % 12, state=True)
        lab.wait(1.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, FEEDER_RTU)
    silence = dnp3.request(0, dnp3.DISABLE_UNSOLICITED, dnp3.EVENT_CLASSES)
    rogue.link.client(rogue.master.send(silence, destination=dnp3.BROADCAST_NO_CONFIRM))
    rogue.link.close()
    for _ in range(20):
        talk.event_poll()
        lab.wait(1.0, jitter=0.02)
    talk.link.close()


def rogue_master_operates(lab: Lab) -> None:
    """After three quiet minutes a second master with another link address trips breakers, by select and directly."""
    talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    for second in range(180):
        talk.event_poll()
        if second % 40 == 5:
            talk.select_operate(2, CLOSE)
        lab.wait(1.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, FEEDER_RTU, master=STRANGER)
    rogue.integrity_poll()
    rogue.select_operate(0, TRIP)
    for point in (1, 2, 3):
        rogue.ask(dnp3.DIRECT_OPERATE, dnp3.crob(point, TRIP), dnp3.crob(point, TRIP))
        talk.report(point, state=False)
        lab.wait(0.5)
    rogue.link.close()
    talk.link.close()


def file_deleted(lab: Lab) -> None:
    """The configuration file of an outstation is deleted."""
    rogue = Talk(lab, ROGUE, TRANSFORMER_RTU, outstation=TRANSFORMER)
    rogue.ask(dnp3.DELETE_FILE, dnp3.file_command("/conf/points.cfg", 0, 9), dnp3.file_status(9, 0))
    lab.wait(1)
    rogue.link.close()


def over_udp(lab: Lab) -> None:
    """The same protocol in datagrams: polls, and a direct operate without reply, which leaves no proof."""
    master, outstation = dnp3.Station(MASTER, TRANSFORMER, master=True), dnp3.Station(TRANSFORMER, MASTER, master=False)
    there, back = (dnp3.PORT, dnp3.PORT), (dnp3.PORT, dnp3.PORT)
    for sequence in range(30):
        ask = dnp3.request(sequence, dnp3.READ, dnp3.EVENT_CLASSES)
        lab.udp(SUBSTATION_MASTER, TRANSFORMER_RTU, master.send(ask), ports=there)
        lab.udp(TRANSFORMER_RTU, SUBSTATION_MASTER, outstation.send(dnp3.response(sequence)), ports=back)
        lab.wait(1.0, jitter=0.02)
    command = dnp3.request(0, dnp3.DIRECT_OPERATE_NO_REPLY, dnp3.crob(5, TRIP))
    lab.udp(SUBSTATION_MASTER, TRANSFORMER_RTU, master.send(command), ports=there)


def write_flood(lab: Lab) -> None:
    """Somebody in the master's place sets the outstation's clock 25 times a second; the outstation obeys each time."""
    talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    for _ in range(30):
        talk.event_poll()
        lab.wait(1.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, FEEDER_RTU, master=STRANGER)
    clock = dnp3.time_and_date(datetime(2026, 3, 2, tzinfo=UTC))
    for _ in range(330):
        rogue.ask(dnp3.WRITE, clock, b"")
        lab.wait(0.033)
    rogue.link.reset("client")
    talk.link.close()


def requests_replayed(lab: Lab) -> None:
    """In the master's connection the last freeze comes again and again, answered each time, and a report as well."""
    talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    for _ in range(10):
        talk.event_poll()
        lab.wait(1.0, jitter=0.02)
    for _ in range(4):
        talk.ask(7, dnp3.all_objects((20, 0)), b"")
        talk.sequence = (talk.sequence - 1) % 16
        lab.wait(0.1)
    for _ in range(4):
        talk.report(3, state=True)
        talk.unsolicited_sequence = (talk.unsolicited_sequence - 1) % 16
        lab.wait(0.1)
    talk.link.close()


def standby_master(lab: Lab) -> None:
    """Ordinary: two masters of a redundant pair, both there from the beginning; an answer got lost once behind us."""
    active = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    standby = Talk(lab, STANDBY_MASTER, FEEDER_RTU, master=2)
    for second in range(150):
        active.event_poll()
        if second % 5 == 0:
            standby.event_poll()
        if second == 70:
            active.sequence = (active.sequence - 1) % 16
        lab.wait(1.0, jitter=0.02)
    active.link.close()
    standby.link.close()


def _start(talk: Talk) -> None:
    """What a master does first: silence, clear the restart, read everything, allow reports again, set the time."""
    talk.ask(dnp3.DISABLE_UNSOLICITED, dnp3.EVENT_CLASSES, b"", iin=RESTARTED)
    talk.ask(dnp3.WRITE, dnp3.clear_restart(), b"")
    talk.integrity_poll()
    talk.ask(dnp3.ENABLE_UNSOLICITED, dnp3.EVENT_CLASSES, b"")
    now = datetime.fromtimestamp(talk.lab.now_ns // 1_000_000_000, UTC)
    talk.ask(dnp3.WRITE, dnp3.time_and_date(now), b"")


def master_starts_twice(lab: Lab) -> None:
    """Ordinary: a master starts, works, is restarted, and does again what masters do first."""
    for _ in range(2):
        talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
        _start(talk)
        for second in range(60):
            talk.event_poll()
            if second % 10 == 1:
                talk.report(second % 12, second % 20 == 1)
            lab.wait(1.0, jitter=0.02)
        talk.link.close()
        lab.wait(8)


def standby_takes_over(lab: Lab) -> None:
    """Ordinary: the master falls silent, the standby takes its place and link address, and switches a breaker later."""
    talk = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    _start(talk)
    for _ in range(200):
        talk.event_poll()
        lab.wait(1.0, jitter=0.02)
    talk.link.close()
    lab.wait(15)
    standby = Talk(lab, STANDBY_MASTER, FEEDER_RTU)
    _start(standby)
    for second in range(120):
        standby.event_poll()
        if second == 60:
            standby.select_operate(2, TRIP)
        lab.wait(1.0, jitter=0.02)
    standby.link.close()
