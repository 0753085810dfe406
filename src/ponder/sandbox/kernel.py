"""System calls that Python's `os` does not offer, through ctypes. Standard library only: it is loaded inside the walls.

Numbers and structures: the kernel's user-space headers (asm/unistd_64.h, asm-generic/unistd.h, linux/capability.h).
"""

from __future__ import annotations

import ctypes
import os
import sys

NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38

MACHINE = os.uname().machine if sys.platform == "linux" and sys.maxsize > 1 << 32 else sys.platform
_SHARED = {"landlock_create": 444, "landlock_add": 445, "landlock_restrict": 446, "close_range": 436}
NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126, **_SHARED},
    "aarch64": {"pivot_root": 41, "capset": 91, **_SHARED},
}.get(MACHINE, {})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def checked(what: str, result: int) -> int:
    """`result`, or OSError naming `what` where it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _long(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)


def syscall(name: str, *arguments: int | ctypes._Pointer | ctypes.Array | None) -> int:
    """A system call of `NUMBERS`. Raises OSError; also where this architecture is not in the table."""
    if name not in NUMBERS:
        raise OSError(38, f"{name}: no number known on {MACHINE}")
    given = [_long(value) if isinstance(value, int) else value for value in arguments]
    return checked(name, int(_libc.syscall(_long(NUMBERS[name]), *given)))


def prctl(option: int, first: int = 0, second: int | ctypes.Array = 0) -> int:
    """prctl(2), for the options of this file. Raises OSError."""
    given = [_long(value) if isinstance(value, int) else value for value in (first, second)]
    return checked(f"prctl {option}", _libc.prctl(option, *given, _long(0), _long(0)))


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    checked("unshare", _libc.unshare(flags))


def setns(fd: int, kind: int) -> None:
    """setns(2). Raises OSError."""
    checked("setns", _libc.setns(fd, kind))


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). Raises OSError naming the target."""
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind and kind.encode(), ctypes.c_ulong(flags), data and data.encode()
    )
    checked(f"mount {target}", result)


def umount(target: str) -> None:
    """umount2(2), detaching. Raises OSError."""
    checked(f"umount {target}", _libc.umount2(os.fsencode(target), DETACH))


def drop_capabilities() -> None:
    """Empties the permitted, effective and inheritable sets. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    syscall("capset", header, (ctypes.c_uint32 * 6)())


def close_from(first: int) -> None:
    """Closes every descriptor from `first` up."""
    try:
        syscall("close_range", first, 0x7FFFFFFF, 0)
    except OSError:
        os.closerange(first, 4096)
