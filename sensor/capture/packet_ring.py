"""One packet socket and its ring of received frames in memory shared with the kernel (AF_PACKET, TPACKET_V3).

Source: Linux Documentation/networking/packet_mmap.rst, packet(7), include/uapi/linux/if_packet.h. It needs the
capability CAP_NET_RAW and nothing else. It cannot send: it has no transmit ring, and nothing here writes to the socket.

The kernel fills blocks, a reader takes them one after the other and gives each back. What finds no free block is
dropped by the kernel and counted in PACKET_STATISTICS, which is set to zero by every reading.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
import sys

import numpy as np
import numpy.typing as npt

from sensor.capture.blocks import BLOCK_FRAMES, BLOCK_LENGTH, BLOCK_STATUS, unpack_block
from sensor.capture.pcap import Columns
from sensor.text import printable

# A block must hold the longest frame that anybody gives us (offloaded segments: 64 KiB). Many small blocks rather than
# a few large ones: on a quiet link every BLOCK_MS takes a block, however empty, so their number is how long a reader
# may be away.
BLOCK_BYTES = 256 * 1024
BLOCK_MS = 50  # a block that is not full is handed over after this time, at the latest after twice as long
LEAST_BLOCKS = 4
FRAME_BYTES = 2048  # only to satisfy the kernel's arithmetic: frames in a block have any length

_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _FANOUT, _IGNORE_OUTGOING = 1, 5, 6, 10, 18, 23
_MR_PROMISC = 1
_TPACKET_V3 = 2
_FANOUT_HASH, _FANOUT_UNIQUE_ID = 0, 0x2000
_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_BPF_RETURN = 0x06  # BPF_RET | BPF_K: the constant says how many bytes of the frame are kept, 0 for none of it
_STATUS_KERNEL, _STATUS_USER = 0, 1
_SIOCGIFHWADDR, _SIOCGIFFLAGS = 0x8927, 0x8913

# LINKTYPE_ by ARPHRD_ (include/uapi/linux/if_arp.h) for the interfaces that a sensor meets.
_LINKTYPE = {1: 1, 772: 1, 65534: 101}  # Ethernet; loopback, which has Ethernet headers; tun: raw IP


class LiveError(Exception):
    """An interface on which nothing can be captured; one clear line that says what to do."""


class PacketRing:
    """Frames of one interface, or with `join` a share of them: each connection whole, in both directions.

    dropped: frames for which the kernel found no block; received: those it put into one; both as of the last `count`.
    taken: frames that `take` has given out; unreadable: those of blocks that contradict themselves.
    """

    def __init__(self, interface: str, ring_bytes: int, *, promiscuous: bool, join: PacketRing | None = None) -> None:
        """Made shut: nothing is received before `open`. join: another ring of this interface to share frames with.

        ring_bytes: memory for frames, locked; at least LEAST_BLOCKS blocks. LiveError where that cannot be.
        """
        self.interface = interface
        self.received = self.dropped = self.taken = self.unreadable = 0
        self._next = 0
        self._socket = _packet_socket()
        try:
            self.index = _interface_index(interface)
            self.linktype = _linktype(self._socket, interface)
            self._blocks = max(ring_bytes // BLOCK_BYTES, LEAST_BLOCKS)
            self._set_up(promiscuous, join)
        except LiveError:
            self._socket.close()
            raise
        except OSError as error:
            self._socket.close()
            raise LiveError(
                f"{printable(interface)}: cannot be captured from ({error.strerror}); is it up, is there memory for a "
                f"buffer of {ring_bytes} bytes, and is this Linux 4.20 or later?"
            ) from error

    def _set_up(self, promiscuous: bool, join: PacketRing | None) -> None:
        it = self._socket
        self.shut()
        it.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        it.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        size = self._blocks * BLOCK_BYTES
        request = struct.pack("7I", BLOCK_BYTES, self._blocks, FRAME_BYTES, size // FRAME_BYTES, BLOCK_MS, 0, 0)
        it.setsockopt(_SOL_PACKET, _RX_RING, request)
        self._map = mmap.mmap(it.fileno(), size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._octets = np.frombuffer(self._map, np.uint8)
        self._halves: npt.NDArray[np.uint16] = self._octets.view(np.uint16)
        self._words: npt.NDArray[np.uint32] = self._octets.view(np.uint32)
        by_block = self._words.reshape(self._blocks, -1)
        self._status = by_block[:, BLOCK_STATUS // 4]
        self._frames = by_block[:, BLOCK_FRAMES // 4]
        self._lengths = by_block[:, BLOCK_LENGTH // 4]
        it.bind((self.interface, _ETH_P_ALL))
        if promiscuous:  # held by this socket: the kernel takes it back when the socket is closed, however that happens
            it.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8s", self.index, _MR_PROMISC, 0, b""))
        self.group = 0  # number of the group of rings that share an interface, 0 where this one has it alone
        if join is not None:
            self.group = join.group or join._found_group()
            it.setsockopt(_SOL_PACKET, _FANOUT, self.group | _FANOUT_HASH << 16)

    def _found_group(self) -> int:
        """Begin a group of rings that share the frames of this interface; its number."""
        self._socket.setsockopt(_SOL_PACKET, _FANOUT, (_FANOUT_HASH | _FANOUT_UNIQUE_ID) << 16)
        self.group = self._socket.getsockopt(_SOL_PACKET, _FANOUT) & 0xFFFF
        return self.group

    def fileno(self) -> int:
        """For poll: readable when a block is ready."""
        return self._socket.fileno()

    def open(self, snap: int) -> None:
        """Receive from now on, of each frame the first `snap` bytes."""
        self._filter(snap)

    def shut(self) -> None:
        """Receive nothing more; what was received stays to be taken."""
        self._filter(0)

    def _filter(self, keep: int) -> None:
        program = struct.pack("HBBI", _BPF_RETURN, 0, 0, keep)
        held = ctypes.create_string_buffer(program, len(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(held)))

    def ready(self, most_bytes: int) -> tuple[list[int], int, int, bool]:
        """Blocks to be taken next: (their numbers, bytes and frames in them, whether more are ready).

        Bytes of a block count with all headers, which is more than its frames with VLAN tags put back.
        """
        numbers: list[int] = []
        size = frames = 0
        block = self._next
        while len(numbers) < self._blocks and self._status[block] & _STATUS_USER:
            length = int(self._lengths[block])
            if numbers and size + length > most_bytes:
                return numbers, size, frames, True
            numbers.append(block)
            size += length
            frames += int(self._frames[block])
            block = (block + 1) % self._blocks
        return numbers, size, frames, False

    def take(
        self, numbers: list[int], data: npt.NDArray[np.uint8], filled: int, columns: Columns, rows: int
    ) -> tuple[int, int]:
        """Copy the frames of these blocks behind `filled` bytes and `rows` rows, give the blocks back; (filled, rows).

        Between reading a block's status, its frames, and writing its status back, the interpreter takes and releases
        its lock, which orders these accesses on every processor.
        """
        for block in numbers:
            filled, after = unpack_block(
                self._octets, self._halves, self._words, block * BLOCK_BYTES, BLOCK_BYTES, self.linktype, data, filled,
                rows, *columns,
            )  # fmt: skip
            self.unreadable += int(self._frames[block]) - (after - rows)
            rows = after
            self._status[block] = _STATUS_KERNEL
            self._next = (block + 1) % self._blocks
            self.taken += int(self._frames[block])
        return filled, rows

    def count(self) -> None:
        """Bring `received` and `dropped` up to date."""
        packets, drops, _ = struct.unpack("III", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        self.received += packets - drops
        self.dropped += drops

    def error(self) -> int:
        """The error that waits on the socket, which is cleared by this (ENETDOWN when the interface goes down); 0."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Count for the last time, and let go of the socket and its memory."""
        if self._socket.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            self.count()
        self._socket.close()
        del self._octets, self._halves, self._words, self._status, self._frames, self._lengths
        self._map.close()  # it holds the socket too


def interface_flags(interface: str) -> tuple[int, int] | None:
    """(index, IFF_ flags) of an interface (netdevice(7)); None where there is no such interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as it:
        try:
            answer = fcntl.ioctl(it, _SIOCGIFFLAGS, _request(interface))
            return socket.if_nametoindex(interface), int(struct.unpack_from("H", answer, 16)[0])
        except OSError:
            return None


def _packet_socket() -> socket.socket:
    if not sys.platform.startswith("linux"):
        raise LiveError(f"live capture works on Linux only, and this is {sys.platform}; give captures instead")
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: deaf until it is bound
    except PermissionError:
        python = os.path.realpath(sys.executable)
        raise LiveError(
            "capturing needs the capability CAP_NET_RAW; start the sensor by systemd with "
            f"AmbientCapabilities=CAP_NET_RAW, or run `setcap cap_net_raw+ep {python}` once as root"
        ) from None
    except OSError as error:
        raise LiveError(f"this kernel gives no packet sockets ({error.strerror}); give captures instead") from None


def _interface_index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except (OSError, ValueError):
        names = ", ".join(sorted(name for _, name in socket.if_nameindex()))
        raise LiveError(f"no interface is named {printable(interface)}; this machine has {names}") from None


def _linktype(it: socket.socket, interface: str) -> int:
    kind = struct.unpack_from("H", fcntl.ioctl(it, _SIOCGIFHWADDR, _request(interface)), 16)[0]
    if kind not in _LINKTYPE:
        raise LiveError(f"{printable(interface)}: not an Ethernet interface (ARP hardware type {kind})")
    return _LINKTYPE[kind]


def _request(interface: str) -> bytes:
    """struct ifreq for a question about an interface."""
    return struct.pack("16s24x", interface.encode("utf-8", "surrogateescape")[:15])
