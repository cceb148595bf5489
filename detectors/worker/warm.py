"""What a worker would load or compile on first use, before: it may write no file, and its watchdog waits a second.

python -m detectors.worker.warm     compiles all of it into the cache of sensor/kernel_cache.py
"""

from __future__ import annotations

import numpy as np

from detectors.pipeline import Options, Pipeline
from detectors.sigma.ruleset import shipped
from sensor.capture.frames import FrameBatch
from sensor.decode.compilation import compile_ahead
from sensor.records import as_octets

# An ARP request, and a Modbus request over TCP: read one register.
_ARP = bytes.fromhex("ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002")
_MODBUS = bytes.fromhex(
    "020000000002020000000001" "0800" "45000034000000004006" "0000" "0a0000010a000002"
    "c00101f6" "00000001" "00000001" "50180400" "00000000" "000100000006" "010300000001"
)  # fmt: skip


def warm_up() -> None:
    """Load all that is loaded on first use."""
    compile_ahead()
    shipped()
    begin = np.array([0], np.int64)
    for data in (_ARP, _MODBUS):
        size = np.array([len(data)], np.int32)
        frames = FrameBatch(as_octets(data), begin, begin, size, size, np.array([1], np.int32), 1)
        list(Pipeline(Options(report=lambda *_: None)).run([frames]))


if __name__ == "__main__":
    warm_up()
