"""Looks into artifacts with YARA, in a process of its own that can do nothing else. Started by detectors/yara_jail.py.

Artifacts are what attackers send, and YARA with its modules is a large parser in C. So this program reads from standard
input and writes to standard output, and before the first artifact it gives up everything else: memory and processor
time are limited, no file, socket or program can be opened (seccomp, where the machine is one of those known here), no
privilege can come back. It is a script without imports from this package: it starts in the time that YARA loads.

A message is four octets of length, most significant first, and so many octets. In: rules as JSON, {"sources": {name:
text}, "timeout": seconds}, then for each artifact a JSON of externals and the octets. Out: {"jail": [...]}, then for
each artifact {"matches": [[rule, [[string, offset], ...]], ...], "more": how many were left out}.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import struct
import sys

MEMORY_BYTES = 768 * 1024 * 1024  # of address space: interpreter, rules, one artifact
CPU_S = 900  # over the child's whole life; one artifact has the parent's limit
MAX_MESSAGE = 32 * 1024 * 1024
MAX_MATCHES = 64  # rules that one artifact is told to match
MAX_STRINGS = 16  # places told for one rule
NOBODY = 65534
EXTERNALS = {"kind": "", "name": "", "protocol": "", "to_device": False, "complete": True}

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER, _CLONE_NEWNET = 22, 38, 2, 0x40000000
# Calls that a process needs which only computes, reads and writes: by architecture (linux/audit.h) their numbers.
# read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn madvise mremap getpid
# exit exit_group futex clock_gettime clock_nanosleep sigaltstack getrandom gettid tgkill sched_yield restart_syscall
# gettimeofday getrusage sched_getaffinity prlimit64 ioctl(no)
_ALLOWED = {
    "x86_64": (0xC000003E, (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 28, 25, 39, 60, 231, 202, 228, 230, 131, 318,
                            186, 234, 24, 219, 96, 98, 204, 35)),
    "aarch64": (0xC00000B7, (63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 233, 216, 172, 93, 94, 98, 113, 115,
                             132, 278, 178, 131, 124, 128, 169, 165, 123, 101)),
}  # fmt: skip


def confine() -> list[str]:
    """Give up what is not needed; the names of what worked."""
    done = []
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 3),
    ):  # fmt: skip
        resource.setrlimit(what, (limit, limit))
    done.append("limits")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        done.append("network")
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            done.append("user")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        done.append("privileges")
        if _seccomp(libc):
            done.append("calls")
    return done


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Let every system call fail but those of _ALLOWED; whether that worked. linux/seccomp.h, linux/filter.h."""
    known = _ALLOWED.get(platform.machine())
    if known is None:
        return False
    architecture, calls = known
    load, equal, give = 0x20, 0x15, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, 0x80000000), (load, 0, 0, 0)]
    program += [(equal, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    program += [(give, 0, 0, 0x00050001), (give, 0, 0, 0x7FFF0000)]  # EPERM; allow
    octets = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(octets, len(octets))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    wanted = Program(len(program), ctypes.addressof(buffer))
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(wanted), 0, 0) == 0)


def _read(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive() -> bytes:
    """One message; ends the process where there is none."""
    (size,) = struct.unpack(">I", _read(4))
    if size > MAX_MESSAGE:
        os._exit(3)
    return _read(size)


def send(value: object) -> None:
    """One message as JSON."""
    data = json.dumps(value).encode()
    data = struct.pack(">I", len(data)) + data
    while data:
        data = data[os.write(1, data) :]


def main() -> None:
    """See the module."""
    import yara

    task = json.loads(receive())
    rules = yara.compile(sources=task["sources"], externals=EXTERNALS, includes=False)
    yara.set_config(max_match_data=0)
    rules.match(data=b"\0", timeout=1)  # whatever is loaded on first use, is loaded now
    send({"jail": confine()})
    while True:
        externals = json.loads(receive())
        found = rules.match(data=receive(), externals=externals, timeout=task["timeout"])
        matches = [
            [
                match.rule,
                [
                    [string.identifier, place.offset]
                    for string in match.strings[:MAX_STRINGS]
                    for place in string.instances[:1]
                ],
            ]
            for match in found[:MAX_MATCHES]
        ]
        send({"matches": matches, "more": max(len(found) - MAX_MATCHES, 0)})


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # whatever it is costs this artifact, and no word about it is needed
        os._exit((sys.exc_info()[0] is MemoryError and 4) or 5)
