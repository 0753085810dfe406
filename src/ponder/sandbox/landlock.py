"""Landlock: what of the file system a program may touch, and nothing else. Standard library only.

Source: linux/landlock.h. Rights of a newer ABI than the kernel's are left out; canaries judge whether the rest holds.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from ponder.sandbox.kernel import syscall

WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
FILE_RIGHTS = WRITE_FILE | READ_FILE | TRUNCATE
FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
SCRATCH = 0b0111_0001_1011_1110  # all but execution, devices, sockets, FIFOs and ioctl


def abi() -> int:
    """The kernel's Landlock version. Raises OSError where it has none, or where it is switched off or filtered."""
    return syscall("landlock_create", None, 0, 1)


def ruleset(
    readable: Iterable[str], devices: Iterable[str] = ("/dev/null", "/dev/urandom"), scratch: str = ""
) -> int:
    """A descriptor of rules: `readable` may be read, `devices` read and written, everything below `scratch` written.

    TCP is refused (ABI 4), and so are signals and abstract sockets out of the jail (ABI 6). Raises OSError.
    """
    version = abi()
    handled = FS_RIGHTS[min(version, 5)]
    attributes = [handled]
    if version >= 4:
        attributes.append(3)  # bind and connect of TCP
    if version >= 6:
        attributes.append(3)  # abstract sockets and signals
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    rules = syscall("landlock_create", ctypes.create_string_buffer(packed, len(packed)), len(packed), 0)
    try:
        for path in readable:
            _allow(rules, path, READ_FILE | READ_DIR, handled)
        for path in devices:
            _allow(rules, path, FILE_RIGHTS, handled)
        if scratch:
            _allow(rules, scratch, SCRATCH, handled)
    except BaseException:
        os.close(rules)
        raise
    return rules


def _allow(rules: int, path: str, rights: int, handled: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # it cannot be read either
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= FILE_RIGHTS
        packed = struct.pack("=Qi", rights & handled, fd)
        syscall("landlock_add", rules, 1, ctypes.create_string_buffer(packed, len(packed)), 0)
    finally:
        os.close(fd)


def restrict(rules: int) -> None:
    """Puts this thread, and all that it starts, under the rules. Needs no_new_privs. Raises OSError."""
    syscall("landlock_restrict", rules, 0)
