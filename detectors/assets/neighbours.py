"""What slow protocols say about devices: LLDP, PROFINET DCP, DHCP, CDP, names."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from detectors.assets.asset import Claim, short
from sensor.slow.message import Message

NOBODY = "0.0.0.0"  # noqa: S104  # an address that is not given yet
ZERO_MAC = "00:00:00:00:00:00"
MAKERS = {42: "Siemens"}  # numbers of PROFIBUS and PROFINET International that are known to be right
TEXTS: dict[str, tuple[str, str]] = {
    "lldp.system_name": ("name", "lldp"),
    "lldp.system_description": ("description", "lldp"),
    "cdp.device_id": ("name", "cdp"),
    "cdp.platform": ("model", "cdp"),
    "cdp.software_version": ("software", "cdp"),
    "dcp.name_of_station": ("station_name", "profinet dcp"),
    "dcp.type_of_station": ("model", "profinet dcp"),
    "dhcp.hostname": ("hostname", "dhcp"),
    "dhcp.client_name": ("hostname", "dhcp name"),
    "dhcp.vendor_class": ("description", "dhcp"),
}
LISTS = {
    "lldp.capabilities": ("capability", "lldp"), "cdp.capabilities": ("capability", "cdp"),
    "dcp.roles": ("profinet_role", "profinet dcp"),
    "lldp.management_addresses": ("management_address", "lldp"), "cdp.addresses": ("management_address", "cdp"),
}  # fmt: skip


class Speaker(NamedTuple):
    """Whom a message is about: hardware address and IP address, each "" where it does not say."""

    mac: str
    ip: str


def unicast(address: str) -> str:
    """An IP address of one host, "" for any other. One that ends in .255 is most often its network's broadcast."""
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    if ip.is_multicast or ip.is_unspecified or (ip.version == 4 and address.endswith(".255")):
        return ""
    return address


def one_mac(mac: str) -> str:
    """A hardware address of one device, "" for groups and for none."""
    return "" if not mac or mac == ZERO_MAC or int(mac[:2], 16) & 1 else mac


def speaker(message: Message) -> Speaker:
    """Who speaks, or whom the message is about."""
    f = message.fields
    mac, ip = message.source_mac, ""
    if message.protocol == "arp":
        mac, ip = f.get("arp.sender.mac", ""), f.get("arp.sender.ip", "")
    elif message.protocol in ("dhcp", "dhcpv6"):
        mac = f.get("dhcp.client_mac", "")
        given = f.get("dhcp.message_type_name") in ("ack", "reply")
        ip = f.get("dhcp.assigned_ip", "") if given else f.get("dhcp.client_ip", "")
    elif message.protocol == "profinet_dcp":
        if f.get("dcp.response") or f.get("dcp.service_name") == "hello":
            ip = f.get("dcp.ip", "")
    elif message.protocol in ("lldp", "cdp"):
        ip = next(iter(f.get("lldp.management_addresses") or f.get("cdp.addresses") or ()), "")
    else:
        ip = message.source_ip
    return Speaker(one_mac(mac), unicast(ip))


def claims(message: Message) -> Iterator[Claim]:
    """What the message says about `speaker(message)`."""
    f = message.fields
    about_itself = message.protocol != "profinet_dcp" or f.get("dcp.response") or f.get("dcp.service_name") == "hello"
    if not about_itself:  # a search or a setting names another station
        return
    for name, (attribute, source) in TEXTS.items():
        if value := short(f.get(name, "")):
            yield Claim("", attribute, value, source, name)
    for name, (attribute, source) in LISTS.items():
        if values := [short(value) for value in f.get(name, ()) if value != NOBODY]:
            yield Claim("", attribute, ", ".join(values), source, name)
    if (maker := f.get("dcp.vendor_id")) is not None:
        yield Claim("", "vendor_id", f"0x{maker:04X}", "profinet dcp", "dcp.vendor_id")
        yield Claim("", "device_id", f"0x{f.get('dcp.device_id', 0):04X}", "profinet dcp", "dcp.device_id")
        if maker in MAKERS:
            yield Claim("", "vendor", MAKERS[maker], "profinet dcp", "dcp.vendor_id")
    if message.protocol == "stp" and "stp.bridge" in f:
        yield Claim("", "capability", "bridge", "stp", "stp.bridge")
    if message.protocol == "netbios" and (name := _own_netbios_name(message)):
        yield Claim("", "hostname", name, "netbios", "dns.answers")


def _own_netbios_name(message: Message) -> str:
    """The name for which a host answers with its own address, or which it registers."""
    for answer in message.fields.get("dns.answers", ()):
        name, _, rest = str(answer).partition("<")
        if rest.startswith(("00>", "20>")) and rest.endswith(f" NB {message.source_ip}"):
            return short(name)
    return ""
