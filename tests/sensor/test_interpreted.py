"""The kernels are plain Python: uncompiled they give the same events, so what is fuzzed readable is what runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.events import Columns

ROOT = Path(__file__).parents[2]
CAPTURES = sorted(path.as_posix() for path in (ROOT / "pcaps").glob("*/*.pcap*") if path.stat().st_size < 20_000)
SEED = 20261122


def digest(capture: str) -> str:
    """Of every column of every event, of the bytes of each PDU, and of all counters."""
    decoder = Decoder(seed=SEED)
    seen = hashlib.sha256()
    for batch in decoder.decode(open_capture(capture)):
        for name in Columns._fields:
            seen.update(getattr(batch.columns, name).tobytes())
        for row in range(batch.size):
            seen.update(batch.pdu(row))
    return seen.hexdigest() + str(decoder.counters())


def test_compiled_and_interpreted_kernels_give_the_same_events_on_every_sample() -> None:
    assert len(CAPTURES) > 20
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    code = "import sys, test_interpreted as t; [print(t.digest(path)) for path in sys.argv[1:]]"
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *CAPTURES],
        capture_output=True, text=True, env=environment, timeout=600, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines() == [digest(capture) for capture in CAPTURES]
