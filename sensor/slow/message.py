"""Message: one distinct message of a slow protocol. Notice: that it was seen, in one batch of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """What a slow protocol said, parsed.

    number: the same in a run means the same message; a message may have another later, where very many were seen.
    protocol: "arp", "lldp", "profinet_dcp", "dhcp", "dhcpv6", "dns", "mdns", "llmnr", "netbios", "cdp", "stp", "lacp".
    source_mac, destination_mac: lower case with colons, "" where the link layer has none.
    source_ip, destination_ip, source_port, destination_port: of UDP, otherwise "" and None.
    vlan, tunnel, segment: as in sensor.view.Conversation.
    fields: names of sensor/schema.py, text made printable; "anomalies" where it is malformed.
    """

    number: int
    protocol: str
    source_mac: str
    destination_mac: str
    source_ip: str
    destination_ip: str
    source_port: int | None
    destination_port: int | None
    vlan: int | None
    tunnel: str | None
    segment: int | None
    fields: Mapping[str, Any]

    def evidence(self) -> dict[str, Any]:
        """All of it under the names of the schema, as the PDU of a finding's evidence."""
        ends = {
            "source.mac": self.source_mac,
            "source.ip": self.source_ip,
            "source.port": self.source_port,
            "destination.mac": self.destination_mac,
            "destination.ip": self.destination_ip,
            "destination.port": self.destination_port,
            "network.transport": "udp" if self.source_ip else "ethernet",
            "network.protocol": self.protocol,
            "network.vlan.id": self.vlan,
            "network.tunnel.type": self.tunnel,
            "network.tunnel.id": self.segment,
        }
        return {name: value for name, value in ends.items() if value not in (None, "")} | dict(self.fields)


@dataclass(frozen=True, slots=True)
class Notice:
    """A message was seen `count` times in one batch of frames.

    new: for the first time. first_ns, last_ns: capture times; frame: number of the first frame that carried it.
    """

    message: Message
    new: bool
    count: int
    first_ns: int
    last_ns: int
    frame: int
