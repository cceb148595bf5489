"""Records anew: `python -m pcaps.recordings [NAME ...]`. Times and free choices of the stacks differ in every run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pcaps.dialogue import Frame
from pcaps.files import pcap
from pcaps.recordings import dnp3, modbus, s7comm

HERE = Path(__file__).resolve().parent.parent

RECORDINGS: dict[str, Callable[[], list[Frame]]] = {
    "modbus/pymodbus_reads_and_writes.pcap": modbus.reads_and_writes,
    "modbus/pymodbus_force_listen_only.pcap": modbus.force_listen_only,
    "s7comm/snap7_reads_and_writes.pcap": s7comm.reads_and_writes,
    "s7comm/snap7_program.pcap": s7comm.program,
    "dnp3/dnp3py_polling.pcap": dnp3.polling,
    "dnp3/dnp3py_control.pcap": dnp3.control,
}


def main(names: list[str]) -> int:
    """Record the captures named, or all of them."""
    unknown = [name for name in names if name not in RECORDINGS]
    if unknown:
        print(f"no such recording: {', '.join(unknown)}", file=sys.stderr)
        return 2
    for name in names or RECORDINGS:
        frames = RECORDINGS[name]()
        (HERE / name).write_bytes(pcap(frames))
        print(f"{name}: {len(frames)} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
