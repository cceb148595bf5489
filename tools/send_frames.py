"""Send frames on an interface as fast as this machine can, or at a rate: the other end of a live capture under test.

    python tools/send_frames.py INTERFACE --count 100000 [--rate 5000] [--capture FILE]

Needs root, or CAP_NET_RAW. Frames are those of the capture, over and over; without one, Ethernet frames of 64 bytes
that carry their number. Prints how many the kernel took and in what time, as JSON. Only for a wire of one's own: two
network namespaces and a veth pair between them.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import socket
import struct
import time
from pathlib import Path

import numpy as np

BATCH = 128  # frames for each system call
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
ETHERTYPE_LOCAL = bytes.fromhex("88b5")  # IEEE 802, local experimental: nobody answers
VECTOR = np.dtype([("base", "u8"), ("length", "u8")])  # struct iovec
MESSAGE = np.dtype(  # struct mmsghdr of sendmmsg(2)
    [
        ("name", "u8"), ("name_length", "u4"), ("", "u4"), ("vectors", "u8"), ("vector_count", "u8"),
        ("control", "u8"), ("control_length", "u8"), ("flags", "i4"), ("", "u4"), ("sent", "u4"), ("", "u4"),
    ]
)  # fmt: skip


def numbered(count: int, size: int = 64) -> list[bytes]:
    """Broadcast frames that carry their number."""
    head = b"\xff" * 6 + bytes.fromhex("02000000c0de") + ETHERTYPE_LOCAL
    return [(head + number.to_bytes(8, "big")).ljust(size, b"\0") for number in range(count)]


def frames_of(capture: str) -> list[bytes]:
    """The frames of a classic pcap file of this machine's byte order; not by the sensor's reader, which compiles."""
    data, at, frames = Path(capture).read_bytes(), 24, []
    while at < len(data):
        _, _, length, _ = struct.unpack_from("=IIII", data, at)
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


class Sender:
    """Frames made ready to be sent many times."""

    def __init__(self, interface: str, frames: list[bytes]) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: it receives nothing
        self._socket.bind((interface, 0))
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._data = np.frombuffer(b"".join(frames), np.uint8)
        lengths = np.array([len(frame) for frame in frames], np.uint64)
        self._vectors = np.zeros(len(frames), VECTOR)
        self._vectors["base"] = np.uint64(self._data.ctypes.data) + np.cumsum(lengths) - lengths
        self._vectors["length"] = lengths
        self._messages = np.zeros(len(frames), MESSAGE)
        each = np.arange(len(frames), dtype=np.uint64) * np.uint64(VECTOR.itemsize)
        self._messages["vectors"] = np.uint64(self._vectors.ctypes.data) + each
        self._messages["vector_count"] = 1

    def send(self, count: int, rate: float) -> int:
        """Send `count` frames, `rate` in a second (0: as fast as it goes); how many the kernel took."""
        sent, size, file = 0, len(self._messages), self._socket.fileno()
        begin = time.perf_counter()
        step = BATCH if not rate else max(1, min(BATCH, int(rate / 1000)))
        while sent < count:
            if rate:
                ahead = sent / rate - (time.perf_counter() - begin)
                if ahead > 0:
                    time.sleep(ahead)
            at = sent % size
            length = min(step, count - sent, size - at)
            done = self._send(file, ctypes.c_void_p(self._messages.ctypes.data + at * MESSAGE.itemsize), length, 0)
            if done > 0:
                sent += done
            elif ctypes.get_errno() not in (errno.EAGAIN, errno.ENOBUFS):
                raise OSError(ctypes.get_errno(), "sendmmsg")
        return sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interface")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=0, help="frames in a second; 0: as fast as it goes")
    parser.add_argument("--capture", help="send the frames of this capture, over and over")
    options = parser.parse_args()
    frames = frames_of(options.capture) if options.capture else numbered(min(options.count, 65536))
    sender = Sender(options.interface, frames)
    begin = time.perf_counter()
    sent = sender.send(options.count, options.rate)
    print(json.dumps({"sent": sent, "seconds": time.perf_counter() - begin}))


if __name__ == "__main__":
    main()
