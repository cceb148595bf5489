"""How the stages that take headers off a frame speak with one another: verdicts, layers, tunnels.

While headers are taken off, the PACKET record (state.py) is a cursor: buf[at:end] is what is left, `stop` where it
ended on the wire (beyond `end` when the capture was cut short), `layer` and `kind` say what stands at `at`.
"""

from __future__ import annotations

from enum import IntEnum

from sensor.compiled import njit

# Verdicts on a frame. MORE is for the stages only: a header was taken off, and the cursor stands behind it.
OK, NOT_IP, FRAGMENT, MALFORMED, OTHER, TOO_DEEP, GOOSE, MORE = 0, 1, 2, 3, 4, 5, 6, 7

# What stands at the cursor; `kind` is the EtherType or the IP protocol number, where the layer has one.
ETHERNET_FRAME, ETHERNET_PAYLOAD, IP_PAYLOAD, IP_PACKET, LABEL, PPP, LLC = 0, 1, 2, 3, 4, 5, 6

MAX_HEADERS = 32  # taken off one frame: stacked carrier networks need about fifteen; more hides what is inside

IPV4, IPV6, MPLS, MPLS_UPSTREAM, BRIDGED, GOOSE_TYPE = 0x0800, 0x86DD, 0x8847, 0x8848, 0x6558, 0x88B8  # EtherTypes
TCP, UDP = 6, 17  # IP protocol numbers


class Tunnel(IntEnum):
    """What the frame was carried in: the innermost one."""

    NONE = 0
    MPLS = 1
    PPPOE = 2
    IPIP = 3  # IP in IP, either version in either
    GRE = 4
    NVGRE = 5
    ERSPAN = 6
    VXLAN = 7
    GENEVE = 8
    PBB = 9  # provider backbone bridging, MAC in MAC


@njit(cache=True, nogil=True, boundscheck=True)
def onward(packet, at, end, stop, layer, kind):
    """Move the cursor: `kind` in `layer` stands at `at`."""
    packet.at = at
    packet.end = min(end, stop)
    packet.stop = stop
    packet.layer = layer
    packet.kind = kind
    return MORE
