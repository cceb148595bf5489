"""Passwords that crossed the wire are hidden in the frames that findings carry: evidence travels further than the wire.

The decoder never keeps them; raw frames do. In the frame that completes a PDU with a password its octets are blotted
out, and so are they in any other frame of the run (a repetition, an earlier segment). A frame in which they cannot be
found, because segments or checksums cut them in pieces, is not shown at all. The ring of raw frames on the sensor's own
disk is the wire's copy and keeps what the wire carried.
"""

from __future__ import annotations

from collections import OrderedDict

from sensor.capture.write import Frame
from sensor.events import EventBatch
from sensor.protocols.passwords import carriers, passwords

MAX_FRAMES = 1 << 16  # frames with passwords that are remembered: older ones have left the evidence's reach
MAX_VALUES = 256  # passwords that are looked for in all frames
TELLING = 4  # different octets that a password needs, before its value is looked for everywhere
BLOT = b"*"


class Secrets:
    """What must not be shown of the frames of one run."""

    def __init__(self) -> None:
        self._frames: OrderedDict[int, list[tuple[bytes, list[slice]]]] = OrderedDict()
        self._values: OrderedDict[bytes, None] = OrderedDict()

    def learn(self, batch: EventBatch) -> None:
        """Remember the passwords in the PDUs of a batch, before anything of it is shown."""
        for row in carriers(batch.columns).tolist():
            pdu = batch.pdu(row)
            spans = passwords(int(batch.columns.protocol[row]), pdu)
            if not spans:
                continue
            self._frames.setdefault(int(batch.columns.frame[row]), []).append((pdu, spans))
            for span in spans:
                if len(set(pdu[span])) >= TELLING:
                    self._values[pdu[span]] = None
        while len(self._frames) > MAX_FRAMES:
            self._frames.popitem(last=False)
        while len(self._values) > MAX_VALUES:
            self._values.popitem(last=False)

    def hide(self, number: int, frame: Frame) -> Frame | None:
        """Frame `number` without passwords; None where one is in it that cannot be found."""
        data = frame.data
        for pdu, spans in self._frames.get(number, ()):
            at = data.find(pdu)
            for span in spans:
                secret = pdu[span]
                if at >= 0:
                    begin = at + span.start
                    data = data[:begin] + BLOT * len(secret) + data[begin + len(secret) :]
                elif secret in data:
                    data = data.replace(secret, BLOT * len(secret))
                else:
                    return None
        for secret in self._values:
            data = data.replace(secret, BLOT * len(secret))
        return frame if data is frame.data else frame._replace(data=data)
