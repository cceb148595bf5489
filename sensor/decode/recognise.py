"""What a conversation speaks, by its content: any port may carry any protocol, and a port's promise may be broken.

A conversation on a watched port begins with the framing that its port promises; every other one is UNDECIDED, and its
first payloads are shown to each protocol's `probe`. What nobody claims within PROBES payloads is FOREIGN and costs no
more than a look into the conversation table. Protocols that are no industrial ones are named where it is easy, for
people want to know what it is that runs on port 502.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np

from sensor.compiled import njit
from sensor.decode.load import u16be, u32be
from sensor.decode.pdu import family
from sensor.protocols import bacnet_kernel, cotp, dnp3_link, enip_kernel, iec104, modbus, modbus_rtu, opcua_kernel

PROBES = 8  # payloads that are looked at before a conversation counts as foreign
PROBE_BYTES = 32  # a payload shorter than this may be the beginning of a message: its rest is waited for


class Framing(IntEnum):
    """How the bytes of a conversation are cut into messages. Where that is a Protocol's own way it has its number."""

    UNDECIDED = 0
    MODBUS = 1  # MBAP
    TPKT = 2  # with COTP: S7comm, S7comm-plus, MMS
    DNP3 = 3
    IEC104 = 4
    ENIP = 5
    OPCUA = 6
    BACNET = 7  # BVLC
    MODBUS_RTU = 11
    FOREIGN = 255  # none of these


# Ports as registered with IANA: mbap, iso-tsap, dnp, iec-104, EtherNet-IP-2, opcua-tcp, bacnet.
WATCHED_PORTS: Mapping[int, int] = {
    502: Framing.MODBUS, 102: Framing.TPKT, 20000: Framing.DNP3, 2404: Framing.IEC104, 44818: Framing.ENIP,
    4840: Framing.OPCUA, 47808: Framing.BACNET,
}  # fmt: skip
PROMISES: Mapping[int, str] = {
    Framing.MODBUS: "modbus", Framing.TPKT: "s7comm", Framing.DNP3: "dnp3", Framing.IEC104: "iec104",
    Framing.ENIP: "enip", Framing.OPCUA: "opcua", Framing.BACNET: "bacnet",
}  # fmt: skip


class Foreign(IntEnum):
    """Protocols that are recognised only to be named."""

    UNKNOWN = 0
    TLS = 1
    HTTP = 2
    SSH = 3
    SMB = 4
    TELNET = 5
    FTP_OR_SMTP = 6
    VNC = 7
    MQTT = 8
    RDP = 9


UNDECIDED, MODBUS, TPKT, DNP3 = int(Framing.UNDECIDED), int(Framing.MODBUS), int(Framing.TPKT), int(Framing.DNP3)
MODBUS_RTU = int(Framing.MODBUS_RTU)
IEC104, ENIP, OPCUA = int(Framing.IEC104), int(Framing.ENIP), int(Framing.OPCUA)
BACNET = int(Framing.BACNET)
UNKNOWN, TLS, HTTP, SSH, SMB = (int(Foreign(code)) for code in range(5))
TELNET, FTP_OR_SMTP, VNC, MQTT, RDP = (int(Foreign(code)) for code in range(5, 10))


def spoken(talk: Any) -> str:
    """Name of what a row of the conversation table carries: by its messages, else by its port's promise."""
    if talk.protocol:
        return family(int(talk.protocol)).name.lower()
    return PROMISES.get(int(talk.promised)) or "other"


def _words(*words: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([int.from_bytes(word.encode(), "big") for word in words], np.int64)


HTTP_WORDS = _words("GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "HTTP")  # RFC 9110, section 9
MAIL_WORDS = _words("220 ", "220-", "EHLO", "HELO", "USER", "PASS", "421 ", "530 ")  # RFC 959, RFC 5321
SSH_WORD, VNC_WORD = int(_words("SSH-")[0]), int(_words("RFB ")[0])  # RFC 4253, 4.2; RFC 6143, 7.1.1
SMB1_WORD, SMB2_WORD = 0xFF534D42, 0xFE534D42  # MS-SMB, MS-SMB2: behind a NetBIOS session header
MQTT_WORD = int(_words("MQTT")[0])
COOKIE_WORD = int(_words("Cook")[0])  # MS-RDPBCGR, 2.2.1.1: "Cookie: mstshash=" behind TPKT and X.224


@njit(cache=True, nogil=True, boundscheck=True)
def recognise(buf, at, end):
    """Framing of the bytes buf[at:end], which begin a message if they are an industrial protocol; UNDECIDED if none."""
    if dnp3_link.probe(buf, at, end):
        return DNP3
    if cotp.probe(buf, at, end):
        return TPKT
    if modbus.probe(buf, at, end):
        return MODBUS
    if iec104.probe(buf, at, end):
        return IEC104
    if enip_kernel.probe(buf, at, end):
        return ENIP
    if opcua_kernel.probe(buf, at, end):
        return OPCUA
    if bacnet_kernel.probe(buf, at, end):
        return BACNET
    if modbus_rtu.probe(buf, at, end):  # last: two octets of CRC prove the least
        return MODBUS_RTU
    return UNDECIDED


@njit(cache=True, nogil=True, boundscheck=True)
def foreign(buf, at, end):
    """Which Foreign protocol begins at buf[at]; UNKNOWN where none of them does."""
    have = end - at
    if have < 4:
        return UNKNOWN
    first = np.int64(buf[at])
    if 0x14 <= first <= 0x17 and buf[at + 1] == 3 and buf[at + 2] <= 4:  # RFC 8446, 5.1: type, legacy version
        return TLS
    word = np.int64(u32be(buf, at))
    if word == SSH_WORD:
        return SSH
    if word == VNC_WORD:
        return VNC
    for known in HTTP_WORDS:
        if word == known:
            return HTTP
    for known in MAIL_WORDS:
        if word == known:
            return FTP_OR_SMTP
    if first == 0xFF and 0xFB <= buf[at + 1] <= 0xFE:  # RFC 854: IAC and WILL, WON'T, DO or DON'T
        return TELNET
    if have >= 8 and first == 0:
        inner = np.int64(u32be(buf, at + 4))
        if inner in (SMB1_WORD, SMB2_WORD):
            return SMB
    if first == 0x10 and have >= 8 and u16be(buf, at + 2) == 4 and np.int64(u32be(buf, at + 4)) == MQTT_WORD:
        return MQTT
    if have >= 15 and first == 3 and buf[at + 5] == 0xE0 and np.int64(u32be(buf, at + 11)) == COOKIE_WORD:
        return RDP
    return UNKNOWN
