"""IEC 104: a control centre and its station, and what Industroyer did to such a station."""

from __future__ import annotations

from pcaps.dialogue import Lab
from pcaps.messages import iec104
from pcaps.plant import FEEDER_RTU, ROGUE, SUBSTATION_MASTER, Host

STATION = 3  # common address
BREAKERS = range(1101, 1117)  # information object addresses
ALL_POINTS = b"\x14"  # qualifier of a station interrogation
OPEN, CLOSED = b"\x01", b"\x02"  # of a double command, execute


class Talk:
    """A connection of a controlling to a controlled station, started."""

    def __init__(self, lab: Lab, client: Host, server: Host) -> None:
        self.link = lab.tcp(client, server, iec104.PORT)
        self.master, self.station = iec104.connect()
        self.link.exchange(iec104.control(iec104.STARTDT), iec104.control(iec104.STARTDT_CONFIRMED))

    def ask(self, kind: int, address: int, element: bytes) -> None:
        """Activation and its confirmation."""
        for side, say, cause in (
            (self.link.client, self.master.say, iec104.ACTIVATION),
            (self.link.server, self.station.say, iec104.CONFIRMATION),
        ):
            side(say(iec104.asdu(kind, cause, STATION, (address, element))))

    def interrogate(self) -> None:
        """A general interrogation: all breakers, then its end."""
        self.ask(iec104.INTERROGATION, 0, ALL_POINTS)
        points = [(address, bytes([address % 2 + 1])) for address in BREAKERS]
        self.link.server(self.station.say(iec104.asdu(3, iec104.INTERROGATED, STATION, *points)))
        end = iec104.asdu(iec104.INTERROGATION, iec104.TERMINATION, STATION, (0, ALL_POINTS))
        self.link.server(self.station.say(end))

    def report(self, address: int, state: bytes) -> None:
        """The station tells a change of a breaker by itself."""
        self.link.server(self.station.say(iec104.asdu(3, iec104.SPONTANEOUS, STATION, (address, state))))


def _watch(lab: Lab, talk: Talk, seconds: int) -> None:
    """What a control centre sees of a quiet station."""
    for second in range(seconds):
        if second % 60 == 0:
            talk.interrogate()
        elif second % 4 == 0:
            talk.report(BREAKERS[second % 5], OPEN)
        lab.wait(1.0, jitter=0.02)


def industroyer(lab: Lab) -> None:
    """A host that was never there asks for all points, then opens, closes and opens each breaker in turn."""
    centre = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    _watch(lab, centre, 130)
    attack = Talk(lab, ROGUE, FEEDER_RTU)
    attack.interrogate()
    lab.wait(1)
    for address in BREAKERS:
        for state in (OPEN, CLOSED, OPEN):
            attack.ask(iec104.DOUBLE_COMMAND, address, state)
            lab.wait(0.3, jitter=0.1)
        centre.report(address, OPEN)
    attack.link.reset("client")
    centre.interrogate()
    centre.link.close()


def operator_switching(lab: Lab) -> None:
    """Ordinary work: the control centre opens a feeder, earths it and closes it again; five breakers, ten minutes."""
    centre = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    _watch(lab, centre, 60)
    for address, state in zip(BREAKERS[:5], (OPEN, OPEN, CLOSED, CLOSED, CLOSED), strict=True):
        centre.ask(iec104.DOUBLE_COMMAND, address, state)
        centre.report(address, state)
        lab.wait(45, jitter=0.1)
    centre.link.close()


def messages_put_in(lab: Lab) -> None:
    """Somebody in between puts his own reports into the connection: the numbers of the station do not follow."""
    centre = Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    _watch(lab, centre, 60)
    for address in BREAKERS[:4]:
        centre.station.sent = (centre.station.sent + 5) % 0x8000
        centre.report(address, CLOSED)
        centre.station.sent = (centre.station.sent - 6) % 0x8000
        lab.wait(2)
        centre.report(address, OPEN)
    centre.link.close()
