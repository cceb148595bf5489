"""The same protocols as difficult frames carry them, and what is no industrial protocol at all."""

from __future__ import annotations

from pcaps.dialogue import MSS, Lab
from pcaps.messages import modbus
from pcaps.messages import s7comm as s7
from pcaps.plant import (
    ENGINEERING,
    FEEDER_RTU,
    HMI,
    HMI_6,
    PRESS_PLC,
    PUMP_PLC,
    PUMP_PLC_6,
    ROGUE,
    SUBSTATION_MASTER,
    VALVE_PLC,
)
from pcaps.scenarios import dnp3 as dnp3_scenarios
from pcaps.scenarios import modbus as modbus_scenarios
from pcaps.scenarios import s7comm as s7_scenarios


def _read_pair(transaction: int) -> tuple[bytes, bytes]:
    """Request and response of one ordinary read of four registers."""
    ask = modbus.adu(transaction, 1, modbus.read(3, 0, 4))
    return ask, modbus.adu(transaction, 1, modbus.registers(3, [transaction, 1480, 0, 730]))


def segmentation(lab: Lab) -> None:
    """Modbus split over segments, pipelined into one, out of order, retransmitted, cut at each octet: 60 reads."""
    link = lab.tcp(HMI, PUMP_PLC, modbus.PORT)
    for transaction in range(1, 21):  # split at every place a request has, then at places of the response
        ask, answer = _read_pair(transaction)
        link.client(ask, cuts=(1 + (transaction - 1) % (len(ask) - 1),))
        link.server(answer, cuts=(transaction % (len(answer) - 1) + 1,))
        lab.wait(0.2)
    pairs = [_read_pair(transaction) for transaction in range(21, 31)]
    link.client(b"".join(ask for ask, _ in pairs))  # ten requests in one segment, ten answers in another
    link.server(b"".join(answer for _, answer in pairs))
    lab.wait(0.2)
    for transaction in range(31, 41):  # one octet a segment
        ask, answer = _read_pair(transaction)
        link.client(ask, cuts=range(1, len(ask)))
        link.server(answer)
        lab.wait(0.2)
    for transaction in range(41, 51):  # the tail overtakes the head
        ask, answer = _read_pair(transaction)
        link.client(ask, cuts=(4, 8), order=(2, 0, 1))
        link.server(answer, cuts=(7, 9, 12), order=(3, 1, 0, 2))
        lab.wait(0.2)
    for transaction in range(51, 61):  # sent twice: the first answer was slow
        ask, answer = _read_pair(transaction)
        (frame,) = link.client(ask)
        lab.wait(0.25)
        lab.repeat(frame)
        lab.wait(0.001)
        link.server(answer)
        lab.wait(0.2)
    link.close()


def segment_lost(lab: Lab) -> None:
    """The mirror port dropped the sixth of twelve requests: what came before and what follows still counts."""
    link = lab.tcp(HMI, PUMP_PLC, modbus.PORT)
    for transaction in range(1, 13):
        ask, answer = _read_pair(transaction)
        if transaction == 6:
            link.next_seq["client"] += len(ask)  # the request was on the wire but not in the capture
            link.server(answer)
        else:
            link.exchange(ask, answer)
        lab.wait(1.0)
    link.close()


def one_direction(lab: Lab) -> None:
    """A mirror port that copies only what the controllers receive: commands and polls, and not one answer."""
    lab.copies_only_to = PUMP_PLC
    talk = modbus_scenarios.Talk(lab, HMI, PUMP_PLC)
    for second in range(60):
        talk.read_holding(0, [512, 1480, 0, 730])
        if second % 10 == 4:
            talk.write_register(8, 500)
        lab.wait(1.0, jitter=0.02)
    talk.link.close()


def vlan_and_ipv6(lab: Lab) -> None:
    """Tagged, doubly tagged and IPv6: the same two machines speak each of them, thirty reads each."""
    for client, server, tags in ((HMI, PUMP_PLC, (120,)), (HMI, VALVE_PLC, (40, 120)), (HMI_6, PUMP_PLC_6, ())):
        link = lab.tcp(client, server, modbus.PORT, tags=tags)
        for transaction in range(1, 31):
            link.exchange(*_read_pair(transaction))
            lab.wait(0.5, jitter=0.02)
        link.close()


def midstream(lab: Lab) -> None:
    """The capture begins in the middle of conversations: no handshake was seen, the first segment is half a message."""
    link = lab.tcp(HMI, PUMP_PLC, modbus.PORT, midstream=True)
    _, answer = _read_pair(500)
    link.server(answer[9:])
    for transaction in range(501, 531):
        link.exchange(*_read_pair(transaction))
        lab.wait(0.5)
    press = lab.tcp(ENGINEERING, PRESS_PLC, s7.PORT, midstream=True)
    for reference in range(700, 720):
        press.client(s7.job(reference, s7.read_var((s7.DB, 10, 0, 8))))
        press.server(s7.ack_data(reference, b"\x04\x01", s7.read_var_data(bytes(8))))
        lab.wait(0.5)


def garbage_on_industrial_ports(lab: Lab) -> None:
    """TLS, HTTP, SSH and random octets on ports 502, 102 and 20000. Nothing of it is the protocol of the port."""
    hello = bytes.fromhex("16030100c8010000c40303") + lab.random.randbytes(194)
    web = b"GET /cgi-bin/luci HTTP/1.1\r\nHost: 10.20.2.11:502\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
    for port, server in ((502, PUMP_PLC), (102, PRESS_PLC), (20000, VALVE_PLC)):
        for opening in (hello, web, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", lab.random.randbytes(3 * MSS)):
            link = lab.tcp(ROGUE, server, port)
            link.client(opening)
            link.server(lab.random.randbytes(90))
            link.reset("server")
            lab.wait(1)


def three_protocols(lab: Lab) -> None:
    """A quarter of an hour on a quiet mirror port, shortened: the three protocols side by side, and one stop."""
    pump = modbus_scenarios.Talk(lab, HMI, PUMP_PLC)
    press = s7_scenarios.Talk(lab, HMI, PRESS_PLC)
    feeder = dnp3_scenarios.Talk(lab, SUBSTATION_MASTER, FEEDER_RTU)
    for second in range(40):
        modbus_scenarios.poll_pump(pump)
        s7_scenarios.poll_press(press)
        feeder.event_poll()
        if second == 30:
            engineer = s7_scenarios.Talk(lab, ENGINEERING, PRESS_PLC, s7_scenarios.PROGRAMMER)
            engineer.job(s7.PLC_STOP, b"\x29")
            engineer.link.close()
        lab.wait(1.0, jitter=0.02)
    for talk in (pump, press, feeder):
        talk.link.close()
