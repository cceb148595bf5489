"""The uncompiled functions of each protocol, driven by their coverage (atheris, libFuzzer): finds what mutation misses.

    NUMBA_DISABLE_JIT=1 python -m tools.fuzz_readable PROTOCOL [libFuzzer options, as -max_total_time=600] [CORPUS]

Needs `pip install atheris==3.0.0` (wheels for Python 3.11 to 3.13). Begins with the messages that tools/fuzz.py begins
with; what libFuzzer adds stays in CORPUS, under var/ unless named. An exception, a slow input or a row that breaks the
contract of sensor/decode/pdu.py ends the run, and the input is written beside.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np

try:
    import atheris
except ImportError:
    sys.exit("fuzz_readable needs atheris: pip install atheris==3.0.0")
if os.environ.get("NUMBA_DISABLE_JIT") != "1":
    sys.exit("fuzz_readable looks at uncompiled code: run it with NUMBA_DISABLE_JIT=1")

with atheris.instrument_imports(include=["sensor.protocols", "sensor.decode"]):
    from sensor.decode import recognise
    from sensor.decode.pdu import PDU, Kind, Protocol
    from sensor.decode.read import READERS
    from sensor.decode.state import MESSAGE
    from sensor.view import EXPLAINERS

from sensor.schema import FIELDS
from tools.fuzz import ROOT, corpus

LIMIT = 1400
# Octets of the corpus's messages before what `read` takes: TPKT and COTP, link header and transport octet of DNP3.
BEFORE = {Protocol.S7COMM: 7, Protocol.S7COMM_PLUS: 7, Protocol.MMS: 7, Protocol.DNP3: 11}


def main() -> None:
    """See the module."""
    protocol = Protocol[sys.argv.pop(1).upper()]
    begun = ROOT / "var" / "fuzz" / "corpus" / protocol.name.lower()
    begun.mkdir(parents=True, exist_ok=True)
    for message in corpus(protocol):
        (begun / hashlib.sha256(message).hexdigest()[:16]).write_bytes(message)
    skip = BEFORE.get(protocol, 0)
    messages, pdus = np.zeros(1, MESSAGE), np.zeros(1, PDU)
    explain = EXPLAINERS[protocol][1]

    def one(payload: bytes) -> None:
        payload = payload[:LIMIT]
        data = np.frombuffer(payload, np.uint8)
        recognise.recognise(data, 0, len(data))
        recognise.foreign(data, 0, len(data))
        if len(data) <= skip:
            return
        message = messages[0]
        message.protocol, message.at, message.octets = protocol, skip, len(data) - skip
        message.to_server = data[0] & 1
        READERS[protocol](data, data, messages, 0, 1, np.uint64(7), pdus)
        for request in (None, payload[skip:]):
            fields = explain(payload[skip:], Kind(int(pdus[0].kind) or 1), request)
            assert set(fields) <= set(FIELDS), sorted(set(fields) - set(FIELDS))
            json.dumps(fields)

    arguments = [sys.argv[0], *sys.argv[1:], "-timeout=30", f"-max_len={LIMIT}"]
    if not any(Path(argument).is_dir() for argument in sys.argv[1:]):
        arguments.append(str(begun))
    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
