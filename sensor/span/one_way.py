"""Conversations of which one direction is missing although it exists.

A frame to a station that never answers proves nothing: the station may be off, or not there. An acknowledgement does:
it answers data that somebody sent (RFC 9293, section 3.4). UDP has none, and publishers, multicast and traps go one way
by nature; there only an answer without its question is a proof. PROFINET's cyclic data always go both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sensor.decode.link import MAC48, TCP, UDP
from sensor.span.fault import Fault, numbers, percent
from sensor.span.vlans import halves

if TYPE_CHECKING:
    from sensor.span.survey import Survey

MIN_ADVANCES = 3  # acknowledgements of new data: one would do, were captures not cut at their ends
MIN_SEGMENTS = 4  # segments with new data; who never hears an acknowledgement repeats the first ones instead
MIN_BRIEF, MIN_CONNECTIONS = 3, 3  # frames of a short connection, one of which acknowledges; such connections
MIN_ANSWERS = 3
PROFINET = 0x8892  # EtherType; an IO relation always has both directions (IEC 61158-6-10)
MIN_CYCLES = 50  # of it: DCP, which shares the EtherType, asks a few times and gives up
ANSWERING = (53, 123, 161, 443, 502, 20000)  # UDP ports from which nothing is sent to a client's port unasked
FIRST_CLIENT_PORT = 1024


def check(survey: Survey) -> Iterator[Fault]:
    """span.one-way: never seen; span.one-way-since: gone unseen for a while."""
    c, sides = survey.conversations, survey.sides
    frames = sides["frames"]
    unicast = c["group"] == 0
    alone = ((frames > 0).sum(axis=1) == 1) & unicast
    if pairs := halves(survey):
        alone[np.array(pairs).ravel()] = False
    silent = (frames == 0).argmax(axis=1)  # the end that is not seen
    talking = 1 - silent
    row = np.arange(len(c))
    proved = (c["transport"] == TCP) & (
        (sides["advances"][row, silent] >= MIN_ADVANCES) | (sides["segments"][row, talking] >= MIN_SEGMENTS)
    )
    # Many short connections, each with little to go by: three that agree, and not one with both directions.
    brief = alone & (c["transport"] == TCP) & (sides["acked"][row, silent] > 0) & (frames.sum(axis=1) >= MIN_BRIEF)
    if brief.sum() >= MIN_CONNECTIONS and not np.any((frames > 0).all(axis=1) & (c["transport"] == TCP)):
        proved |= brief
    ports = np.stack([c["a_port"], c["b_port"]], axis=1)
    answers = (c["transport"] == UDP) & np.isin(ports[row, talking], ANSWERING)
    answers &= ~np.isin(ports[row, silent], ANSWERING) & (ports[row, silent] >= FIRST_CLIENT_PORT)
    proved |= answers & (frames.sum(axis=1) >= MIN_ANSWERS)
    cyclic = (c["family"] == MAC48) & (c["a_port"] == PROFINET) & (c["transport"] == 0)
    proved |= cyclic & (frames.sum(axis=1) >= MIN_CYCLES)
    rows = np.flatnonzero(alone & proved)
    if len(rows):
        both = int(((frames > 0).all(axis=1) & unicast & (np.isin(c["transport"], (TCP, UDP)) | cyclic)).sum())
        yield Fault(
            "span.one-way",
            {
                "conversations": len(rows),
                "both": both,
                "percent": percent(len(rows), len(rows) + both),
                "unseen": survey.busiest(rows, silent[rows], frames[rows, talking[rows]]),
                "seen": survey.busiest(rows, talking[rows], frames[rows, talking[rows]]),
            },
            numbers(sides["first_frame"][rows, talking[rows]].tolist()),
        )
    mute = np.where(np.all(frames > 0, axis=1, keepdims=True), sides["mute"], 0)
    if mute.any():
        rows, ends = np.nonzero(mute)
        yield Fault(
            "span.one-way-since",
            {
                "conversations": len(np.unique(rows)),
                "bytes": int(sides["mute_lost"][rows, ends].sum()),
                "unseen": survey.busiest(rows, ends, mute[rows, ends]),
            },
            numbers(sides["mute_frame"][rows, ends].tolist()),
        )
