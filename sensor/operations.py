"""The verbs of `event.action`: one vocabulary for what a PDU does, whatever the protocol.

Each protocol maps each of its function codes to exactly one verb (tests/sensor/test_operations.py); the raw code is
always kept beside it.
"""

from __future__ import annotations

from enum import StrEnum


class Verb(StrEnum):
    """What a PDU does to the device that is asked. The value is what `event.action` prints."""

    READ = "read"
    WRITE = "write"
    COMMAND = "command"  # moves something now: CROB operate, force
    IDENTIFY = "identify"  # asks who the device is or what it holds
    DIAGNOSE = "diagnose"
    PROGRAM_UP = "program-up"  # program leaves the controller (T0845)
    PROGRAM_DOWN = "program-down"  # program enters or changes in the controller (T0843)
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    SILENCE = "silence"  # the device is told to stop answering or reporting
    TIME_SET = "time-set"
    CONFIGURE = "configure"
    FILE = "file"
    AUTHENTICATE = "authenticate"
    SESSION = "session"  # opens, keeps or closes a conversation
    REPORT = "report"  # data sent unasked, subscriptions, confirmations
    UNKNOWN = "unknown"  # a code the standard does not define
