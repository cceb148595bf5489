"""VLAN tags: VLANs that are expected and missing, and conversations whose two directions carry different tags.

A mirror that keeps the tag in one direction and strips it in the other tears conversations apart, for the VLAN is a
part of who somebody is: the same addresses repeat in every machine line. Tagged frames beside untagged ones are no
fault: that is what a trunk with a native VLAN looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sensor.decode.link import TCP, UDP
from sensor.span.fault import MAX_EXAMPLES, Fault, numbers

if TYPE_CHECKING:
    from sensor.span.survey import Survey

MIN_FRAMES = 3  # of each half
MIN_TAGGED = 20  # frames with one and the same outer tag
ALL_SHARE = 0.99  # of the frames: the rest may be the switch's own


def halves(survey: Survey) -> list[tuple[int, int]]:
    """Pairs of conversations that are the two directions of one, under different tags."""
    c, sides = survey.conversations, survey.sides
    frames = sides["frames"]
    alone = ((frames > 0).sum(axis=1) == 1) & (c["group"] == 0) & np.isin(c["transport"], (TCP, UDP))
    waiting: dict[tuple[int, ...], int] = {}
    found = []
    for row in np.flatnonzero(alone & (frames.sum(axis=1) >= MIN_FRAMES)).tolist():
        end_a, end_b = survey.ends(row)
        sender, receiver = (end_a, end_b) if frames[row, 0] else (end_b, end_a)
        transport = int(c["transport"][row])
        other = waiting.get((transport, *receiver, *sender))
        if other is not None and c["vlan"][other] != c["vlan"][row]:
            found.append((other, row))
        else:
            waiting[transport, *sender, *receiver] = row
    return found


def seen(survey: Survey) -> dict[int, int]:
    """Frames of each VLAN; -1: without tag, 0: tagged for priority only."""
    table = survey.state.vlans
    return {int(place) - 1: int(table[place]) for place in np.flatnonzero(table)}


def outer(survey: Survey) -> dict[int, int]:
    """Frames by outermost VLAN, where there are two tags or more (QinQ)."""
    table = survey.state.outer_vlans
    return {int(vlan): int(table[vlan]) for vlan in np.flatnonzero(table)}


def check(survey: Survey) -> Iterator[Fault]:
    """span.vlan-missing, span.tags-differ, span.outer-tag."""
    tags = seen(survey)
    for vlan, count in outer(survey).items():
        if count >= max(MIN_TAGGED, ALL_SHARE * survey.counts.frames):
            yield Fault("span.outer-tag", {"count": count, "vlan": vlan, "seen": sorted(t for t in tags if t >= 0)})
    missing = sorted(survey.expected_vlans - tags.keys())
    if missing:
        yield Fault(
            "span.vlan-missing",
            {"missing": missing[:MAX_EXAMPLES], "count": len(missing), "seen": sorted(t for t in tags if t > 0)},
        )
    pairs = halves(survey)
    if not pairs:
        return
    c = survey.conversations
    firsts = survey.sides["first_frame"]
    yield Fault(
        "span.tags-differ",
        {
            "conversations": len(pairs),
            "examples": [
                f"{survey.name(first)}: {_tag(c['vlan'][first])}, {_tag(c['vlan'][second])}"
                for first, second in pairs[:MAX_EXAMPLES]
            ],
        },
        numbers([int(firsts[row].max()) for pair in pairs for row in pair]),
    )


def _tag(vlan: int) -> str:
    return f"VLAN {vlan}" if vlan >= 0 else "no tag"
