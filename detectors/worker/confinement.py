"""What a worker gives up before the first frame: whatever frames make of it, it computes, reads and answers.

Four layers, each where the kernel has it; `confine` says which hold:

- limits: private memory, processor time, no file may grow, no core dump (setrlimit(2));
- privileges: no capability, and none can come back (capset(2), PR_SET_NO_NEW_PRIVS);
- files: only the program's own folders can be read, nothing can be written, no TCP, no signal to others (landlock(7));
- calls: a list of system calls, with their arguments where these matter; all others fail (seccomp(2)). There is no
  socket, no program to run, no file to write or remove among them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

PRIVATE_BYTES = 1024 * 1024 * 1024  # of private memory, beyond what a worker has when it is ready
ADDRESS_BYTES = 6 * 1024 * 1024 * 1024  # of addresses beyond that: tables are large and mostly never touched
CPU_S = 20  # of processor time for one batch; the sensor cuts much sooner, this holds where it cannot
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 1, 22, 38, 47, 4
_CLONE_NEWNET, _CLONE_THREAD = 0x40000000, 0x00010000
_KILL, _ALLOW, _EPERM, _ENOSYS = 0x80000000, 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | 0o20000000  # the last: O_TMPFILE

# linux/audit.h and the tables of system calls: (number of the architecture, calls without more ado, those with a look
# at an argument: open, openat, clone, clone3, prlimit64, tgkill; -1 where the architecture has none).
# In both in this order: read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
# pread64 readv writev sched_yield mremap madvise dup nanosleep getpid exit exit_group fcntl getdents64 getcwd futex
# sched_getaffinity set_tid_address restart_syscall clock_gettime clock_getres clock_nanosleep gettid sigaltstack
# newfstatat readlinkat faccessat faccessat2 pselect6 ppoll set_robust_list getrandom membarrier statx rseq gettimeofday
# getrusage sysinfo uname getuid getgid geteuid getegid recvfrom sendto; of x86-64 also poll select stat lstat access
# readlink. recvfrom and sendto need a socket: there is the one to the sensor and no way to another.
_CALLS = {
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 20, 24, 25, 28, 32, 35, 39, 60, 231, 72, 217, 79, 202, 204,
         218, 219, 228, 229, 230, 186, 131, 262, 267, 269, 439, 270, 271, 273, 318, 324, 332, 334, 96, 98, 99, 63, 102,
         104, 107, 108, 45, 44, 7, 23, 4, 6, 21, 89),
        (2, 257, 56, 435, 302, 234),
    ),
    "aarch64": (
        0xC00000B7,
        (63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 67, 65, 66, 124, 216, 233, 23, 101, 172, 93, 94, 25, 61,
         17, 98, 123, 96, 128, 113, 114, 115, 178, 132, 79, 78, 48, 439, 72, 73, 99, 278, 283, 291, 293, 169, 165, 179,
         160, 174, 176, 175, 177, 207, 206),
        (-1, 56, 220, 435, 261, 131),
    ),
}  # fmt: skip


def die_with_parent() -> None:
    """End when the process that forked this one ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def confine(readable: Iterable[Path]) -> list[str]:
    """Give up what is not needed; the names of the layers that hold. readable: what may be read besides the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = ["limits"]
    private, address = _sizes()
    for what, limit in (
        (resource.RLIMIT_DATA, private + PRIVATE_BYTES), (resource.RLIMIT_AS, address + ADDRESS_BYTES),
        (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (limit, limit))
    if libc.unshare(_CLONE_NEWNET) == 0:
        held.append("network")
    libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    dropped = libc.capset(struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", 0, 0, 0, 0, 0, 0)) == 0
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held += ["privileges"] if dropped else []
        held += ["files"] if _landlock(libc, readable) else []
        held += ["calls"] if _seccomp(libc) else []
    return held


def allow_cpu(seconds: int = CPU_S) -> None:
    """So much more processor time, counted from now: then SIGXCPU ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _sizes() -> tuple[int, int]:
    """(private memory, addresses) of this process, in bytes."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return int(fields["VmData"].split()[0]) * 1024, int(fields["VmSize"].split()[0]) * 1024


def _landlock(libc: ctypes.CDLL, readable: Iterable[Path]) -> bool:
    """Let files be read below `readable`, the interpreter and its libraries; nothing else. linux/landlock.h."""
    create, add, restrict = 444, 445, 446
    abi = libc.syscall(create, None, 0, 1)
    if abi < 1:
        return False
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    network, scope = 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0
    wanted = struct.pack("=QQQ", files, network, scope)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    rules = libc.syscall(create, wanted, len(wanted), 0)
    if rules < 0:
        return False
    try:
        may = 1 << 2 | 1 << 3  # read a file, list a folder
        for path in {Path(sys.prefix), Path(sys.base_prefix), Path("/usr"), Path("/lib"), Path("/lib64"), *readable}:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            libc.syscall(add, rules, 1, struct.pack("=Qi", may, place), 0)
            os.close(place)
        return bool(libc.syscall(restrict, rules, 0) == 0)
    finally:
        os.close(rules)


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Let all system calls fail but those of _CALLS; whether that worked. linux/seccomp.h, linux/filter.h."""
    known = _CALLS.get(platform.machine())
    if known is None or sys.byteorder != "little":
        return False
    architecture, plain, (open_, openat, clone, clone3, prlimit, tgkill) = known
    load, equal, any_of, give = 0x20, 0x15, 0x45, 0x06

    def argument(number: int) -> tuple[int, int, int, int]:
        return load, 0, 0, 16 + 8 * number

    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, _KILL), (load, 0, 0, 0)]
    for call in plain:
        program += [(equal, 0, 1, call), (give, 0, 0, _ALLOW)]
    for call, look, test, value, yes, no in (
        (open_, 1, any_of, _WRITING, _EPERM, _ALLOW),
        (openat, 2, any_of, _WRITING, _EPERM, _ALLOW),
        (clone, 0, any_of, _CLONE_THREAD, _ALLOW, _EPERM),
        (clone3, 0, any_of, 0xFFFFFFFF, _ENOSYS, _ENOSYS),  # its arguments lie in memory; glibc then takes clone
        (prlimit, 0, equal, 0, _ALLOW, _EPERM),
        (tgkill, 0, equal, os.getpid(), _ALLOW, _EPERM),
    ):
        if call >= 0:
            program += [(equal, 0, 4, call), argument(look), (test, 0, 1, value), (give, 0, 0, yes), (give, 0, 0, no)]
    program.append((give, 0, 0, _EPERM))
    octets = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(octets, len(octets))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    wanted = Program(len(program), ctypes.addressof(buffer))
    return bool(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(wanted), 0, 0) == 0)
