"""Telling the service manager how the program is: sd_notify(3), a datagram to the socket that NOTIFY_SOCKET names.

With `Type=notify` and `WatchdogSec=` in its unit, systemd begins what waits for the sensor when it listens, and starts
it anew when it does not turn any more. Without a service manager nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)

STARTING_S = 30  # by so much the time for the start is made longer, each time it goes on


class ServiceManager:
    """See the module."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every_s = _watchdog_s() / 3
        self._next = 0.0
        self._status = ""

    def ready(self, status: str) -> None:
        """The program does its work."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def starting(self, status: str) -> None:
        """The start goes on: a compiler may take minutes. Sent once in a while, however often it is called."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + STARTING_S / 3
            self._send(f"EXTEND_TIMEOUT_USEC={STARTING_S * 1_000_000}\nSTATUS={_line(status)}")

    def turns(self) -> None:
        """The program's loop turns; call it in each turn, it sends as often as the watchdog wants."""
        if self._every_s and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every_s
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The program ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(message.encode(), self._address)
        except OSError as error:
            log.debug("the service manager was not told: %s", error)


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _watchdog_s() -> float:
    """How often the watchdog wants to be told, 0 where there is none for this process."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid.isdecimal() and int(pid) != os.getpid()):
        return 0.0
    return int(microseconds) / 1e6
