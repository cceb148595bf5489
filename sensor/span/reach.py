"""Whether the port carries other stations' traffic at all, or only what a switch floods to every port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sensor.compiled import njit
from sensor.span.fault import Fault, percent

if TYPE_CHECKING:
    from sensor.span.survey import Survey

# EtherTypes whose frames go to groups by design: GOOSE, GSE management, sampled values, EtherCAT, POWERLINK, SERCOS.
# A process bus may hold nothing else, so these frames say neither that the port is a mirror nor that it is none.
BY_DESIGN = (0x88B8, 0x88B9, 0x88BA, 0x88A4, 0x88AB, 0x88CD)
MIN_FRAMES = 5
FLOODED_SHARE = 0.02  # unicast that a switch floods while it has not learned where its receiver is


@njit(cache=True, nogil=True, boundscheck=True)
def _is_group(packet, buf):
    """(to a group, to everybody) of a frame, by its link layer, or by IP where that has no addresses."""
    at = packet.ethernet
    if at >= 0:
        everybody = True
        for k in range(6):
            everybody = everybody and buf[at + k] == 0xFF
        return buf[at] & 0x01 != 0, everybody
    if packet.family == 4:
        everybody = packet.dst_lo == np.uint64(0xFFFFFFFF)
        return everybody or packet.dst_lo >> np.uint64(28) == np.uint64(0xE), everybody
    return packet.dst_hi >> np.uint64(56) == np.uint64(0xFF), False


@njit(cache=True, nogil=True, boundscheck=True)
def note(counts, packet, buf):
    """Count whom the frame is for; returns whether that is a group."""
    group, everybody = _is_group(packet, buf)
    if not group:
        counts.unicast += 1
    elif everybody:
        counts.broadcast += 1
    else:
        counts.multicast += 1
    if group and packet.network < 0 and packet.ethertype in BY_DESIGN:
        counts.by_design += 1
    return group


def check(survey: Survey) -> Iterator[Fault]:
    """span.only-broadcast."""
    counts = survey.counts
    grouped = counts.broadcast + counts.multicast
    known = grouped + counts.unicast
    if known < MIN_FRAMES or counts.by_design or counts.unicast > FLOODED_SHARE * known:
        return
    c, sides = survey.conversations, survey.sides
    if np.any((c["group"] == 0) & (sides["frames"] > 0).all(axis=1)):
        return
    yield Fault(
        "span.only-broadcast",
        {
            "frames": int(known),
            "broadcast": int(counts.broadcast),
            "multicast": int(counts.multicast),
            "unicast": int(counts.unicast),
            "percent": percent(grouped, known),
        },
    )
