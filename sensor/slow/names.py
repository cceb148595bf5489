"""DNS, mDNS, LLMNR and NetBIOS names: which names are asked for, and who says to have them.

RFC 1035, 4.1; RFC 6762 (mDNS), RFC 4795 (LLMNR), RFC 1002, 4.2 and 1001, 14.1 (NetBIOS).
"""

from __future__ import annotations

from typing import Any

from sensor.slow.octets import ip, number, text

HEAD = 12
MOST_RECORDS = 32  # looked at in one message
MOST_LABELS = 32  # of a name, with those behind pointers: RFC 1035 allows 127 of one octet each
TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
         47: "NSEC", 255: "ANY"}  # fmt: skip
NETBIOS_NAME, NETBIOS_STATUS = 32, 33
NETBIOS_TYPES = {NETBIOS_NAME: "NB", NETBIOS_STATUS: "NBSTAT"}
MOST_NAMES = 16  # of a NetBIOS node status


def _name(data: bytes, at: int) -> tuple[list[bytes], int]:
    """(labels of the name at `at`, where what follows begins); the position is -1 where there is no whole name."""
    labels: list[bytes] = []
    behind = 0
    for _ in range(MOST_LABELS):
        if at >= len(data):
            return labels, -1
        length = data[at]
        if length >= 0xC0:  # a pointer to where the rest stands; each takes one turn, so that loops end
            if at + 2 > len(data):
                return labels, -1
            behind = behind or at + 2
            at = number(data[at : at + 2]) & 0x3FFF
        elif length == 0:
            return labels, behind or at + 1
        else:
            labels.append(data[at + 1 : at + 1 + length])
            at += 1 + length
    return labels, behind or -1


def _dotted(labels: list[bytes]) -> str:
    return text(b".".join(labels)[:256]) or "."


def _netbios(labels: list[bytes]) -> str:
    """A NetBIOS name out of its half-octet coding, with its suffix: FILESERVER<20>."""
    coded = labels[0] if labels else b""
    if len(coded) != 32 or any(not 0x41 <= octet <= 0x50 for octet in coded):
        return text(coded)
    plain = bytes((coded[at] - 0x41) << 4 | (coded[at + 1] - 0x41) for at in range(0, 32, 2))
    return f"{text(plain[:15])}<{plain[15]:02x}>"


def read(data: bytes, *, netbios: bool = False) -> dict[str, Any]:
    """Fields of one message."""
    if len(data) < HEAD:
        return {"anomalies": ["truncated"]}
    flags = number(data[2:4])
    types = NETBIOS_TYPES if netbios else TYPES
    fields: dict[str, Any] = {
        "dns.id": number(data[:2]),
        "dns.type": "answer" if flags >> 15 else "query",
        "dns.op_code": flags >> 11 & 15,
        "dns.response_code": flags & 15,
    }
    questions, answers = [], []
    at = HEAD
    for _ in range(min(number(data[4:6]), MOST_RECORDS)):
        labels, at = _name(data, at)
        if at < 0 or at + 4 > len(data):
            return fields | {"anomalies": ["truncated"]}
        kind = number(data[at : at + 2])
        questions.append(f"{_netbios(labels) if netbios else _dotted(labels)} {types.get(kind, kind)}")
        at += 4
    records = number(data[6:8]) + number(data[8:10]) + number(data[10:12])
    for _ in range(min(records, MOST_RECORDS)):
        labels, at = _name(data, at)
        if at < 0 or at + 10 > len(data):
            fields["anomalies"] = ["truncated"]
            break
        kind, length = number(data[at : at + 2]), number(data[at + 8 : at + 10])
        begin, at = at + 10, at + 10 + length
        if at > len(data):
            fields["anomalies"] = ["truncated"]
            break
        owner = _netbios(labels) if netbios else _dotted(labels)
        shown = _netbios_value(kind, data[begin:at]) if netbios else _value(kind, data, begin, at)
        answers.append(f"{owner} {types.get(kind, kind)} {shown}".strip())
    if questions:
        fields["dns.questions"] = questions
    if answers:
        fields["dns.answers"] = answers
    return fields


def _value(kind: int, data: bytes, at: int, end: int) -> str:
    """The value of a record as text, "" where it is not worth telling."""
    if kind in (1, 28):
        return ip(data[at:end])
    if kind in (2, 5, 12):
        return _dotted(_name(data, at)[0])
    if kind == 33 and end - at > 6:
        return f"{_dotted(_name(data, at + 6)[0])}:{number(data[at + 4 : at + 6])}"
    if kind == 16 and end > at:
        return text(data[at + 1 : at + 1 + data[at]])
    return ""


def _netbios_value(kind: int, value: bytes) -> str:
    if kind == NETBIOS_NAME and len(value) >= 6:
        return ip(value[2:6])
    if kind == NETBIOS_STATUS and value:
        count = min(value[0], MOST_NAMES, (len(value) - 1) // 18)
        return " ".join(f"{text(value[at : at + 15])}<{value[at + 15]:02x}>" for at in range(1, 1 + 18 * count, 18))
    return ""


def read_netbios(data: bytes) -> dict[str, Any]:
    """Fields of one message of the NetBIOS name service."""
    return read(data, netbios=True)
