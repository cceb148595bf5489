"""Send frames on an interface as fast as this machine can, or at a rate: the other end of a live capture under test.

    python tools/send_frames.py INTERFACE --count 100000 [--rate 5000] [--capture FILE]

Needs root, or CAP_NET_RAW. Frames are those of the capture, over and over; without one, Ethernet frames of 64 bytes
that carry their number. Prints how many the kernel took and in what time, as JSON. Only for a wire of one's own: two
network namespaces and a veth pair between them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import socket
import struct
import time
from pathlib import Path

BATCH = 128  # frames for each system call
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
ETHERTYPE_LOCAL = bytes.fromhex("88b5")  # IEEE 802, local experimental: nobody answers


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):  # struct mmsghdr of sendmmsg(2)
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )


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
        self._held = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
        self._vectors = (_Vector * len(frames))()
        self._messages = (_Message * len(frames))()
        for i, (held, frame) in enumerate(zip(self._held, frames, strict=True)):
            self._vectors[i] = _Vector(ctypes.addressof(held), len(frame))
            self._messages[i].vectors = ctypes.pointer(self._vectors[i])
            self._messages[i].vector_count = 1

    def send(self, count: int, rate: float) -> int:
        """Send `count` frames, `rate` in a second (0: as fast as it goes); how many the kernel took."""
        sent, size = 0, len(self._messages)
        begin = time.perf_counter()
        step = BATCH if not rate else max(1, min(BATCH, int(rate / 1000)))
        while sent < count:
            if rate:
                ahead = sent / rate - (time.perf_counter() - begin)
                if ahead > 0:
                    time.sleep(ahead)
            at = sent % size
            length = min(step, count - sent, size - at)
            place = ctypes.byref(self._messages, at * ctypes.sizeof(_Message))
            done = self._send(self._socket.fileno(), place, length, 0)
            if done > 0:
                sent += done
            elif ctypes.get_errno() not in (11, 105):  # EAGAIN, ENOBUFS: again
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
