"""Whether there is anything industrial in the traffic, told by registered ports and EtherTypes.

Sources: the port numbers of IANA, and where a maker never registered one, its manuals; EtherTypes of the IEEE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sensor.compiled import njit
from sensor.decode.link import OK
from sensor.span.fault import Fault

if TYPE_CHECKING:
    from sensor.span.survey import Survey

PORTS: Mapping[str, tuple[int, ...]] = {
    "Modbus": (502, 802),
    "S7comm / MMS": (102,),
    "DNP3": (20000, 19999),
    "IEC 60870-5-104": (2404, 19998),
    "EtherNet/IP": (44818, 2222),
    "OPC UA": (4840, 4843),
    "BACnet": (47808,),
    "PROFINET": (34962, 34963, 34964),
    "EtherCAT": (34980,),
    "FF HSE": (1089, 1090, 1091, 3622),
    "FINS": (9600,),
    "MELSEC": (5006, 5007, 5562),
    "GE SRTP": (18245, 18246),
    "HART-IP": (5094,),
    "CODESYS": (1217, 2455, 11740),
    "ADS": (48898, 48899),
    "Niagara Fox": (1911, 4911),
    "PCWorx": (1962,),
    "ProConOS": (20547,),
    "Crimson": (789,),
    "C37.118": (4712, 4713),
    "DLMS/COSEM": (4059,),
}
ETHERTYPES: Mapping[str, tuple[int, ...]] = {
    "PROFINET": (0x8892,),
    "EtherCAT": (0x88A4,),
    "GOOSE": (0x88B8,),
    "Sampled values": (0x88BA,),
    "POWERLINK": (0x88AB,),
    "SERCOS III": (0x88CD,),
}
NAMES = ("", *dict.fromkeys((*PORTS, *ETHERTYPES)))
_BY_ETHERTYPE = np.array([(code, NAMES.index(name)) for name, codes in ETHERTYPES.items() for code in codes], np.int64)

# Enough to have met a slow poll: fewer frames, or a shorter look, may have missed it.
MIN_FRAMES = 200
MIN_NS = 60 * 10**9


def port_table() -> npt.NDArray[np.uint8]:
    """(65536,) place in NAMES of the protocol that a port is known for, 0 where it is for none."""
    table = np.zeros(65536, np.uint8)
    for name, ports in PORTS.items():
        table[list(ports)] = NAMES.index(name)
    return table


@njit(cache=True, nogil=True, boundscheck=True)
def note(s, packet, verdict):
    """Count the frame for its protocol."""
    which = np.int64(0)
    if verdict == OK:
        which = np.int64(s.ports[packet.dst_port])
        if which == 0:
            which = np.int64(s.ports[packet.src_port])
    elif packet.network < 0:
        for k in range(len(_BY_ETHERTYPE)):
            if packet.ethertype == _BY_ETHERTYPE[k, 0]:
                which = _BY_ETHERTYPE[k, 1]
    s.industrial[which] += 1


def seen(survey: Survey) -> dict[str, int]:
    """Frames of each industrial protocol that was seen, most frequent first."""
    counted = survey.state.industrial[1 : len(NAMES)]
    order = np.argsort(-counted, kind="stable")
    return {NAMES[1 + k]: int(counted[k]) for k in order if counted[k]}


def check(survey: Survey) -> Iterator[Fault]:
    """span.no-industrial: judged where stations talk, for a port that is no mirror is told of by reach.py."""
    counts = survey.counts
    long_enough = counts.frames >= MIN_FRAMES or int(counts.latest_ns) - int(counts.earliest_ns) >= MIN_NS
    if counts.unicast == 0 or not long_enough or seen(survey):
        return
    if counts.malformed + counts.fragments + counts.cut > counts.frames // 2:  # ports were not there to be read
        return
    yield Fault("span.no-industrial", {"frames": int(counts.frames), "conversations": int(counts.conversations)})
