"""What others say about the shared captures: tshark where it is installed, and what lies beside them."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "captures"


def captures(protocol: str) -> list[Path]:
    """The shared captures of a protocol; none where the folder is missing."""
    return sorted((SHARED / protocol).glob("*/capture.pcap*")) if SHARED.is_dir() else []


def tshark(path: Path, layer: str, *fields: str) -> list[list[str]]:
    """Rows of the frames that have the layer: frame number, fields; several values of one field joined by commas."""
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("tshark is not installed")
    command = [program, "-r", str(path), "-Y", layer, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
    for field in ("frame.number", *fields):
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("|") for line in result.stdout.splitlines()]


def counted(path: Path, field: str) -> Counter[int]:
    """How often tshark found each number in a field of a capture."""
    histograms = json.loads((path.parent / "tshark.counts.json").read_text())["histograms"]
    return Counter({int(number, 0): count for number, count in histograms.get(field, {}).items()})


def zeek(path: Path, log: str) -> list[list[str]]:
    """Rows of one of Zeek's logs."""
    base = path.parent / "zeek-icsnpp-baseline" / f"{log}.log"
    packed = base.with_name(base.name + ".gz")
    text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else base.read_text()
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
