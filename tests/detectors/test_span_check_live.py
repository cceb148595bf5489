"""`fenghuo span-check --interface` on a wire of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mirror import frames_of, without_sender

from sensor.capture.write import small_pcap
from tools.wires import ROOT, Wire, why_not

GOOD = ROOT / "pcaps" / "modbus" / "benign_polling.pcap"
REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    try:
        yield made
    finally:
        made.remove()


def judged(wire: Wire, frames: Path | None, count: int = 0) -> tuple[int, dict[str, Any]]:
    """(exit code, verdict) of listening for a few seconds while the capture is sent at the other end."""
    ready = "from sensor.capture.live import LiveSource; import fenghuo; fenghuo.main()"
    command = wire.command(
        sys.executable, "-c", ready, "span-check", "--interface", "mirror", "--seconds", "4", "--format", "jsonl"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        if frames is not None:  # over and over, for the listening begins when everything is compiled
            with wire.sending("--capture", str(frames), "--count", str(count), "--rate", "200") as sender:
                said, _ = process.communicate()
                sender.kill()
        else:
            said, _ = process.communicate()
    return process.returncode, json.loads(said)


def test_a_missing_direction_is_seen_on_a_live_link(wire: Wire, tmp_path: Path) -> None:
    half = without_sender(frames_of(GOOD), 502)
    broken = tmp_path / "half.pcap"
    broken.write_bytes(small_pcap(1, half_of(half)))
    code, verdict = judged(wire, broken, 100_000)
    assert (code, verdict["capture"]) == (1, "mirror")
    assert [it["id"] for it in verdict["faults"]] == ["span.one-way"]
    assert verdict["seen"]["frames"] > 100


def half_of(frames: list[Any]) -> list[tuple[int, bytes, int]]:
    """Frames as the writer takes them."""
    return [(it.ts_ns, it.data, it.wire) for it in frames]


def test_a_silent_link_and_one_that_is_down_are_faults(wire: Wire) -> None:
    assert [it["id"] for it in judged(wire, None)[1]["faults"]] == ["span.empty"]
    wire.set("mirror", "down")
    code, verdict = judged(wire, None)
    assert code == 1
    assert {it["id"] for it in verdict["faults"]} == {"span.no-link", "span.empty"}
