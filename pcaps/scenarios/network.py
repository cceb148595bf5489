"""Searches, false addresses and strangers: what happens below and beside the protocols."""

from __future__ import annotations

from dataclasses import replace

from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from pcaps.dialogue import Lab
from pcaps.messages import arp, modbus
from pcaps.plant import ENGINEERING, HMI, PUMP_PLC, ROGUE, ROUTER, STRANGER, VALVE_PLC, Host
from pcaps.scenarios.modbus import Talk

S7_PORT, PCOM_PORT, TRISTATION_PORT = 102, 20256, 1502


def _knock(lab: Lab, source: Host, address: str, port: int) -> None:
    """A SYN that nobody answers, through the router."""
    target = Host(address, ROUTER.mac)
    lab.emit(source, target, TCP(sport=lab.random.randrange(49152, 65536), dport=port, flags="S", seq=1))


def slow_sweep(lab: Lab) -> None:
    """Between ordinary polls somebody calls one address a minute on the port of S7 controllers, for two hours."""
    hmi = Talk(lab, HMI, PUMP_PLC)
    for minute in range(120):
        hmi.read_holding(0, [512, 1480, 0, 730])
        lab.wait(20, jitter=0.1)
        _knock(lab, ROGUE, f"10.20.7.{minute + 1}", S7_PORT)
        lab.wait(40, jitter=0.1)
    hmi.link.close()


def devices_not_there_yet(lab: Lab) -> None:
    """Commissioning: the operators' station polls one controller and calls twelve that are not there, all the time."""
    hmi = Talk(lab, HMI, PUMP_PLC)
    for _ in range(10):
        hmi.read_holding(0, [512, 1480, 0, 730])
        for device in range(12):
            _knock(lab, HMI, f"10.20.7.{device + 1}", modbus.PORT)
        lab.wait(8)
    hmi.link.close()


def unit_sweep(lab: Lab) -> None:
    """Behind a serial gateway somebody tries one unit a minute; three answer, the gateway knows no others."""
    hmi = Talk(lab, HMI, VALVE_PLC, unit=1)
    scan = Talk(lab, ROGUE, VALVE_PLC)
    for unit in range(1, 61):
        hmi.read_holding(0, [unit, 3])
        lab.wait(30)
        if unit <= 3:
            scan.read_holding(0, [7], unit)
        else:
            scan.ask(modbus.read(3, 0, 1), modbus.exception(3, 11), unit)
        lab.wait(30, jitter=0.1)
    scan.link.close()
    hmi.link.close()


def _claims(lab: Lab, mac: str, ip: str, to: Host) -> None:
    lab.raw(arp.message(arp.REPLY, (mac, ip), (to.mac, to.ip)))
    lab.now_ns += 2_000_000


def _asks(lab: Lab, host: Host, target: Host) -> None:
    lab.raw(arp.message(arp.REQUEST, (host.mac, host.ip), (arp.NOBODY, target.ip)))
    lab.now_ns += 1_000_000
    _claims(lab, target.mac, target.ip, host)


def arp_man_in_the_middle(lab: Lab) -> None:
    """A laptop tells both ends that it is the other one; from then on all segments come from its network card."""
    plc = PUMP_PLC
    _asks(lab, HMI, plc)
    _asks(lab, ROGUE, plc)
    talk = Talk(lab, HMI, plc)
    for second in range(60):
        if second >= 30:
            talk.link.client_host, talk.link.server_host = replace(HMI, mac=ROGUE.mac), replace(plc, mac=ROGUE.mac)
            if second % 2 == 0:
                _claims(lab, ROGUE.mac, plc.ip, HMI)
                _claims(lab, ROGUE.mac, HMI.ip, plc)
        if second % 10 == 9:
            _asks(lab, HMI, plc)
        talk.read_holding(0, [512, 1480, 0, 730] if second < 30 else [512, 1480, 0, 400])
        lab.wait(1.0, jitter=0.02)
    talk.link.close()


def controller_replaced(lab: Lab) -> None:
    """Ordinary work: a broken controller is replaced; its address answers from another network card for good."""
    for plc in (PUMP_PLC, replace(PUMP_PLC, mac="02:00:0a:14:02:77")):
        for _ in range(3):
            _asks(lab, HMI, plc)
            talk = Talk(lab, HMI, plc)
            talk.read_holding(0, [512, 1480, 0, 730])
            talk.link.close()
            lab.wait(20)
        lab.wait(600)


def pcom_from_the_internet(lab: Lab) -> None:
    """A stranger on the Internet asks a controller who it is, by the protocol of its vendor; it answers."""
    link = lab.tcp(replace(STRANGER, mac=ROUTER.mac), VALVE_PLC, PCOM_PORT)
    link.client(bytes.fromhex("a1b265000800") + b"/00IDED\r")
    link.server(bytes.fromhex("a1b265001a00") + b"/A00IDV1210 A003 01 0F0C\r")
    link.close()


def safety_controllers_searched(lab: Lab) -> None:
    """A broadcast on the port of TriStation, as TRITON searched for safety controllers; an engineer polls meanwhile."""
    poll = Talk(lab, ENGINEERING, PUMP_PLC)
    for _ in range(10):
        poll.read_holding(0, [512, 1480, 0, 730])
        lab.wait(1)
    everybody = Host("10.20.255.255", arp.ALL)
    lab.emit(
        ROGUE, everybody, UDP(sport=1502, dport=TRISTATION_PORT) / Raw(bytes.fromhex("060000000000") + b"\x54\x25")
    )
    poll.link.close()
