"""What a survey saw, in figures: the half of the answer that stands there whether something is wrong or not."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.decode.link import TCP, UDP
from sensor.decode.packet import Tunnel
from sensor.span import content, vlans
from sensor.span.fault import percent, seconds
from sensor.span.survey import Survey

TUNNELS = {
    Tunnel.MPLS: "MPLS", Tunnel.PPPOE: "PPPoE", Tunnel.IPIP: "IP in IP", Tunnel.GRE: "GRE", Tunnel.NVGRE: "NVGRE",
    Tunnel.ERSPAN: "ERSPAN", Tunnel.VXLAN: "VXLAN", Tunnel.GENEVE: "GENEVE", Tunnel.PBB: "802.1ah",
}  # fmt: skip


def seen(survey: Survey) -> dict[str, Any]:
    """Figures by name; times in RFC 3339, spans in seconds, shares in percent, rates in Mbit/s."""
    counts = survey.counts
    figures: dict[str, Any] = {"frames": int(counts.frames), "bytes": int(counts.bytes)}
    if not counts.frames:
        return figures
    span = int(counts.latest_ns) - int(counts.earliest_ns)
    c, frames = survey.conversations, survey.sides["frames"]
    talks = np.isin(c["transport"], (TCP, UDP)) & (c["group"] == 0)
    both = (frames > 0).all(axis=1)
    segments, gaps = int(survey.sides["segments"].sum()), int(survey.sides["gaps"].sum())
    tags = vlans.seen(survey)
    figures |= {
        "first": survey.time(int(counts.earliest_ns)),
        "last": survey.time(int(counts.latest_ns)),
        "seconds": seconds(span),
        "mbit_mean": float(f"{counts.bytes * 8000 / span:.3g}") if span > 0 else 0.0,
        "mbit_peak": survey.peak_mbit(),
        "largest": int(counts.largest),
        "conversations": int(talks.sum()),
        "conversations_both_ways": int((talks & both).sum()),
        "unicast": int(counts.unicast),
        "multicast": int(counts.multicast),
        "broadcast": int(counts.broadcast),
        "untagged": tags.pop(-1, 0),
        "vlans": {str(vlan): count for vlan, count in tags.items()},
        "qinq": {str(vlan): count for vlan, count in vlans.outer(survey).items()},
        "tunnels": {
            name: int(survey.state.tunnels[kind]) for kind, name in TUNNELS.items() if survey.state.tunnels[kind]
        },
        "industrial": content.seen(survey),
        "copies": int(survey.state.copied.sum()),
        "tcp_segments": segments,
        "tcp_gaps": gaps,
        "loss_percent": percent(gaps, segments + gaps),
        "late": int(survey.sides["late"].sum()),
    }
    for name in ("cut", "malformed", "fragments", "refused"):
        if counts[name]:
            figures[name] = int(counts[name])
    return figures
