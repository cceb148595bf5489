"""A wire of our own: two network namespaces and a veth pair between them. Needs root and iproute2."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SENDER = ROOT / "tools" / "send_frames.py"
CLONE_NEWNET = 0x40000000


def why_not() -> str:
    """Why no wire can be made here; "" where one can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if shutil.which("ip") is None:
        return "the command `ip` (package iproute2) is not installed"
    name = f"fh{secrets.token_hex(3)}"
    pair = ["-n", name, "link", "add", "name", "one", "type", "veth", "peer", "name", "two"]
    for command in (["netns", "add", name], pair):
        tried = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
        if tried.returncode:
            break
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return f"`ip {' '.join(command)}`: {tried.stderr.strip()}" if tried.returncode else ""


def ip(*arguments: str) -> str:
    """What the command `ip` says."""
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout


class Wire:
    """`mirror` in the namespace of the sensor, and its other end `tap` where frames are sent from."""

    def __init__(self) -> None:
        mark = secrets.token_hex(3)
        self.here, self.there = f"fhs{mark}", f"fht{mark}"
        ip("netns", "add", self.here)
        ip("netns", "add", self.there)
        self.plug()

    def plug(self, mirror: str = "mirror", tap: str = "tap", mtu: int = 1500) -> None:
        """Make a pair of ends, and put both up: without addresses, so that nobody but us has anything to say there."""
        pair = ("type", "veth", "peer", "name", tap, "netns", self.there)
        ip("-n", self.here, "link", "add", "name", mirror, *pair)
        for space, end in ((self.here, mirror), (self.there, tap)):
            ip("netns", "exec", space, "sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{end}/disable_ipv6")
            ip("-n", space, "link", "set", end, "mtu", str(mtu), "up")

    def unplug(self, mirror: str = "mirror") -> None:
        """The pair is gone, as when a network card is pulled."""
        ip("-n", self.here, "link", "del", mirror)

    def set(self, *arguments: str) -> None:
        """`ip link set` at the sensor's end."""
        ip("-n", self.here, "link", "set", *arguments)

    def link(self, name: str = "mirror", there: bool = False) -> dict[str, Any]:
        """What `ip link` says of an end."""
        space = self.there if there else self.here
        (found,) = json.loads(ip("-n", space, "-json", "-details", "-stats", "link", "show", name))
        return dict(found)

    def command(self, *arguments: str, there: bool = False) -> list[str]:
        """A command that runs in the sensor's namespace, or in the other."""
        return ["ip", "netns", "exec", self.there if there else self.here, *arguments]

    def send(self, *arguments: str, interface: str = "tap") -> int:
        """Send frames from the other end, in a process of its own; how many the kernel took."""
        with self.sending(*arguments, interface=interface) as process:
            said, _ = process.communicate()
        assert process.returncode == 0
        return int(json.loads(said)["sent"])

    @contextmanager
    def sending(self, *arguments: str, interface: str = "tap") -> Iterator[subprocess.Popen[str]]:
        """The same, while it goes on."""
        command = self.command(sys.executable, str(SENDER), interface, *arguments, there=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            yield process

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread in the sensor's namespace."""
        setns = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.here}") as space:
            assert setns(space.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert setns(home.fileno(), CLONE_NEWNET) == 0

    def remove(self) -> None:
        """Both namespaces and all that is in them."""
        for space in (self.here, self.there):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
