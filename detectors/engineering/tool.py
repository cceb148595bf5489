"""Which programming software somebody uses, as far as the wire shows it.

S7comm: the connection request below it names the kind of connection and the slot in its TSAPs (X.224, 13.3.4; what the
octets mean is Siemens's custom). UMAS: the reservation carries the name under which the software presents itself.
CIP: who opens a connection gives its vendor (The CIP Networks Library, volume 1, 3-5.5.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from detectors.contract import Scene
from detectors.finding import Text
from detectors.wording import safe
from sensor.capture.write import frame_of
from sensor.decode.pdu import Protocol
from sensor.decode.recognise import Framing
from sensor.protocols.cip_tables import VENDORS
from sensor.protocols.cotp import explain

MAX_KNOWN = 4096  # connections and pairs of which the software is remembered
MAX_LOOKED = 16  # new connections looked at in one batch: a flood of them has no software
FRAMES_LOOKED = 16  # after the first of a connection: its request is the first that carries anything
MAX_NAME = 64
_REQUEST = re.compile(rb"\x03\x00\x00[\x0b-\x60][\x06-\x5b]\xe0", re.DOTALL)
_UMAS, _RESERVE = 90, 0x10
_KINDS = {
    "pg": Text("编程器（PG）", "a programming device (PG)"),
    "op": Text("操作面板（OP）", "an operator panel (OP)"),
    "s7_basic": Text("S7 基本通信", "an S7 basic"),
}


class Tools:
    """What is known about the software behind connections and pairs of hosts."""

    def __init__(self) -> None:
        self._seen = 0
        self._of_conversation: dict[int, Text] = {}
        self._of_pair: dict[tuple[object, ...], Text] = {}

    def observe(self, scene: Scene) -> None:
        """Look into the beginnings of connections that are new."""
        table = scene.view.conversations
        seen, self._seen = self._seen, len(table)
        if seen == len(table):
            return
        new = table[seen:]
        rows = seen + np.flatnonzero(new["promised"] == Framing.TPKT)[:MAX_LOOKED]
        for row in rows.tolist():
            if len(self._of_conversation) < MAX_KNOWN and (tool := _tsaps(scene, table[row])):
                self._of_conversation[row] = tool

    def learn(self, pair: tuple[object, ...], b: Any, fields: Mapping[str, Any], sample: bytes | None) -> None:
        """Take what a request says about who sends it."""
        if pair in self._of_pair or len(self._of_pair) >= MAX_KNOWN:
            return
        name = ""
        if b.protocol in (Protocol.MODBUS, Protocol.MODBUS_RTU) and b.function == _UMAS and b.subfunction == _RESERVE:
            name = client_name(sample or b"")
            if name:
                self._of_pair[pair] = Text(
                    f"，所用编程软件自称“{name}”", f' with programming software that calls itself "{name}"'
                )
        elif vendor := fields.get("cip.connection.originator_vendor"):
            name = VENDORS.get(int(vendor), str(vendor))
            self._of_pair[pair] = Text(f"，所用软件来自 {name}", f" with software of {name}")

    def of(self, pair: tuple[object, ...], protocol: str, conversation: int) -> Text | None:
        """The software as a part of a sentence, None where nothing is known."""
        if pair in self._of_pair:
            return self._of_pair[pair]
        return self._of_conversation.get(conversation) if protocol == "s7comm" else None


def client_name(pdu: bytes) -> str:
    """The name in a UMAS reservation: a length octet and so many printable characters at the end; "" for none."""
    at = pdu.find(bytes([_UMAS]), 1)
    body = pdu[at + 3 :] if at >= 0 else b""
    for begin in range(len(body) - 1):
        length = body[begin]
        text = body[begin + 1 : begin + 1 + length]
        if 2 <= length <= MAX_NAME and len(text) == length and begin + 1 + length >= len(body) - 1:
            word = text.rstrip(b"\0")
            if word.isascii() and word.decode("ascii").isprintable():
                return safe(word.decode("ascii"), MAX_NAME)
    return ""


def _tsaps(scene: Scene, talk: Any) -> Text | None:
    """What the connection request at the beginning of a conversation says."""
    ends = [_octets(talk, side) for side in ("a", "b")]
    first = int(talk["first_frame"])
    for frames in scene.frames:
        begin = max(first, frames.first)
        for number in range(begin, min(first + FRAMES_LOOKED, frames.first + frames.size)):
            data = frame_of(frames, number).data
            found = _REQUEST.search(data)
            if found and all(end in data for end in ends):
                length = int.from_bytes(data[found.start() + 2 : found.start() + 4], "big")
                return _said(explain(data[found.start() : found.start() + length]))
    return None


def _octets(talk: Any, side: str) -> bytes:
    low = int(talk[f"{side}_lo"])
    if talk["family"] == 4:
        return low.to_bytes(4, "big")
    return int(talk[f"{side}_hi"]).to_bytes(8, "big") + low.to_bytes(8, "big")


def _said(fields: Mapping[str, Any]) -> Text | None:
    tsap = str(fields.get("cotp.destination_tsap", ""))
    kind = _KINDS.get(str(fields.get("cotp.destination_connection_type")))
    if kind is not None:
        rack, slot = fields.get("cotp.destination_rack"), fields.get("cotp.destination_slot")
        return Text(
            f"，通过{kind.zh}连接（机架 {rack}、槽 {slot}）", f" over {kind.en} connection to rack {rack}, slot {slot},"
        )
    if not tsap:
        return None
    return Text(f"，通过到“{safe(tsap, MAX_NAME)}”的连接", f' over a connection to "{safe(tsap, MAX_NAME)}"')
