"""Runs one program and prints its seconds by the clock, seconds of processor time and peak memory in bytes.

A small process of its own, because Linux counts into a child's peak what the process that started it held: the bench
itself, with numba and the traces it made, is large. Called as: spawn.py OUTPUT COMMAND ARGUMENT...
"""

import os
import subprocess
import sys
import time

with open(sys.argv[1], "wb") as out:
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
process.returncode = os.waitstatus_to_exitcode(status)
if process.returncode:
    sys.exit(f"exit code {process.returncode}")
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
