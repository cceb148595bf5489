"""The sensor program on interfaces, with the hook by which frames set off faults (faults.py). A program of its own.

python -m support.trippable_sensor CONSOLE SPOOL INTERFACE       the key stands in FENGHUO_SENSOR_KEY
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from detectors.live_feed import LiveOptions
from detectors.program import SensorProgram
from sensor import uplink


def main() -> int:
    """Listen until SIGTERM."""
    logging.basicConfig(level=logging.INFO)
    url, spool, interface = sys.argv[1:]
    uplink.HEARTBEAT_S = 0.5  # the test waits for what heartbeats tell
    key, say = os.environ["FENGHUO_SENSOR_KEY"], logging.getLogger("sensor").info
    program = SensorProgram(url, key, Path(spool), say=say, hook="support.faults:trip")
    signal.signal(signal.SIGTERM, lambda *_: program.stop())
    return program.listen(LiveOptions([interface]))


if __name__ == "__main__":
    sys.exit(main())
