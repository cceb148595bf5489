"""Findings as sensors send them, for the console's tests."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

from detectors.finding import Evidence, Finding, FindingId, Severity, Text, to_dict

EPOCH = 1_764_000_000
START_NS = 1_795_334_400_000_000_000  # 2026-11-22 08:00 UTC

# A classic pcap, little-endian, microseconds, Ethernet, with one frame of 16 bytes.
PCAP = struct.pack("<IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1, 1_795_334_400, 0, 16, 16) + bytes(range(16))

STOP = Finding(
    rule_id="operation.s7comm.stop",
    rule_name=Text(zh="控制器被停止", en="Controller stopped"),
    severity=Severity.CRITICAL,
    protocol="s7comm",
    first_ns=START_NS,
    last_ns=START_NS + 1_000_000,
    explanation=Text(zh="工程站停止了控制器的程序。", en="A station stopped the controller's program."),
    source_ip="10.0.0.5",
    source_port=49152,
    destination_ip="10.0.0.9",
    destination_port=102,
    techniques=("T0858",),
    fields={"event.action": "stop", "s7comm.function": 41},
    evidence=Evidence(frames=(7, 8), pdus=({"frame": 7, "s7comm.function": 41, "event.action": "stop"},), pcap=PCAP),
)


def record(sequence: int, finding: Finding = STOP, epoch: int = EPOCH, sensor: str = "s1", **changes: Any) -> Any:
    """One finding as JSON; `changes` are fields of Finding."""
    return to_dict(replace(finding, **changes), FindingId(sensor, epoch, sequence))


def send(client: Any, key: str, records: list[Any], epoch: int = EPOCH) -> Any:
    """POST a batch as a sensor does; gives the response."""
    return client.post(
        "/api/v1/findings", json={"epoch": epoch, "findings": records}, headers={"Authorization": f"Bearer {key}"}
    )
