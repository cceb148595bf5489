"""The imaginary plant of all captures: who is who. Private addresses, locally administered MAC addresses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """One machine on the plant network.

    ip: IPv4 or IPv6 address; mac: as scapy writes it; mirror: which of the sensor's two mirror ports sees it.
    """

    ip: str
    mac: str
    mirror: int = 0


HMI = Host("10.20.1.10", "02:00:0a:14:01:0a")  # the operators' station: polls and writes set points
HISTORIAN = Host("10.20.1.15", "02:00:0a:14:01:0f")  # reads only
ENGINEERING = Host("10.20.1.20", "02:00:0a:14:01:14")  # programs the controllers
ROGUE = Host("10.20.9.66", "02:00:0a:14:09:42")  # a laptop that belongs to nobody
OUTSIDE = Host("192.168.77.5", "02:00:c0:a8:4d:05")  # reaches the plant through a router

PUMP_PLC = Host("10.20.2.11", "02:00:0a:14:02:0b")
VALVE_PLC = Host("10.20.2.12", "02:00:0a:14:02:0c")
HEAT_PLC_1 = Host("10.20.2.21", "02:00:0a:14:02:15")
HEAT_PLC_2 = Host("10.20.2.22", "02:00:0a:14:02:16")
HEAT_PLC_3 = Host("10.20.2.23", "02:00:0a:14:02:17")
PRESS_PLC = Host("10.20.3.31", "02:00:0a:14:03:1f", mirror=1)  # an S7-300
MIXER_PLC = Host("10.20.3.32", "02:00:0a:14:03:20", mirror=1)  # an S7-400
SUBSTATION_MASTER = Host("10.20.4.10", "02:00:0a:14:04:0a")
STANDBY_MASTER = Host("10.20.4.11", "02:00:0a:14:04:0b")
FEEDER_RTU = Host("10.20.4.41", "02:00:0a:14:04:29")
TRANSFORMER_RTU = Host("10.20.4.42", "02:00:0a:14:04:2a")

HMI_6 = Host("fd20:0:0:1::10", "02:00:0a:14:01:0a")
PUMP_PLC_6 = Host("fd20:0:0:2::11", "02:00:0a:14:02:0b")

PROTECTION = Host("", "02:00:0a:14:05:01")  # speaks GOOSE only
ROUTER = Host("10.20.0.1", "02:00:0a:14:00:01")
STRANGER = Host("192.0.43.10", "02:00:0a:14:00:01")  # on the Internet (an address of IANA's own), behind the router
