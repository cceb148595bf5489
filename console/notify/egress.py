"""Which addresses the console may connect to on an organisation's wish: public ones, unless the operator allows more.

An organisation types in a webhook's URL; without this guard it could make the console speak to machines that only the
console can reach (server-side request forgery, CWE-918). A name is resolved once and the connection goes to the address
that was checked, so that a second answer of the name server changes nothing (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291 2.5.5.1, deprecated


class ForbiddenAddressError(Exception):
    """The address is not one that may be connected to; the text says which and why."""


def is_public(address: IPv4 | IPv6) -> bool:
    """Whether an address belongs to a host of the public internet; embedded IPv4 addresses are judged themselves."""
    if isinstance(address, IPv6):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and (address in NAT64 or address in IPV4_COMPATIBLE):
            inner = IPv4(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses to connect to, the preferred first. Raises ForbiddenAddressError, or OSError where there is none.

    A name with any forbidden address is refused altogether: its owner would choose the order.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that no name server could hold
        raise OSError(f"{host} is not a name") from error
    addresses = [ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
    if not addresses:
        raise OSError(f"{host} has no address")
    if not allow_private:
        for address in addresses:
            if not is_public(address):
                raise ForbiddenAddressError(f"{host} is {address}, which is not a public address")
    return list(dict.fromkeys(str(address) for address in addresses))
