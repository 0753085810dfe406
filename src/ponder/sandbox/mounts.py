"""A root of one's own: a tiny read-only tmpfs with read-only views of the interpreter and its libraries in it.

Standard library only. Sources: mount_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
from collections.abc import Iterable

from ponder.sandbox import kernel

DEVICES = ("/dev/null", "/dev/urandom")  # not /dev/zero: shared maps of it escape the memory limit
SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
NEVER = ("/", "/proc", "/sys", "/dev", "/tmp", "/etc", "/home", "/root", "/var", "/run", "/usr")


def readable_paths(extra: Iterable[str]) -> list[str]:
    """What a program must read to run Python: the standard library, and the folders of the shared libraries in use."""
    wanted = [
        *SYSTEM,
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}),
    ]
    wanted += [path for path in sys.path if path.endswith("lib-dynload")]
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        mapped = {line.split(maxsplit=5)[5].rstrip("\n") for line in maps if " /" in line}
    libraries = {os.path.dirname(path) for path in mapped if ".so" in os.path.basename(path)}
    wanted += [*("/nix/store" if path.startswith("/nix/store/") else path for path in sorted(libraries)), *extra]
    kept: list[str] = []
    for path in wanted:
        path = os.path.normpath(path)
        if os.path.exists(path) and path not in NEVER and not any(_within(path, other) for other in kept):
            kept.append(path)
    return kept


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith(other + "/")


def enter(readable: Iterable[str]) -> None:
    """Makes the new root and moves into it: no path leads to anything else of the host. Raises OSError."""
    base = "/tmp" if os.path.isdir("/tmp") else "/mnt"
    # Links are followed now: over the root of old, /lib may point into a folder that the new one does not have.
    chosen = [(path, os.path.realpath(path)) for path in readable]
    fds = {path: os.open(real, os.O_PATH | os.O_CLOEXEC) for path, real in chosen}
    devices = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in DEVICES}
    kernel.mount("none", "/", None, kernel.REC | kernel.PRIVATE)
    own = kernel.NOSUID | kernel.NODEV
    kernel.mount("tmpfs", base, "tmpfs", own, "size=256k,mode=755")
    bound: set[str] = set()
    for path, real in chosen:
        for place in {path, real} - bound:
            _bind(fds[path], base + place, kernel.RDONLY)
            bound.add(place)
    for path, fd in devices.items():
        _bind(fd, base + path, 0)
    os.makedirs(base + "/tmp", exist_ok=True)  # where a scratch directory goes
    kernel.mount("tmpfs", base, None, kernel.REMOUNT | kernel.BIND | kernel.RDONLY | own)
    os.chdir(base)
    kernel.syscall("pivot_root", ctypes.create_string_buffer(b"."), ctypes.create_string_buffer(b"."))
    kernel.umount(".")
    os.chdir("/")
    for fd in [*fds.values(), *devices.values()]:
        os.close(fd)


def _bind(fd: int, target: str, flags: int) -> None:
    source = f"/proc/self/fd/{fd}"
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o444))
    try:
        kernel.mount(source, target, None, kernel.BIND)
    except OSError:  # mounts below it are locked to it in a user namespace
        kernel.mount(source, target, None, kernel.BIND | kernel.REC)
    flags |= kernel.BIND | kernel.REMOUNT | kernel.NOSUID
    # What the host set on the mount is locked in a user namespace, and must be said again.
    has = os.statvfs(target).f_flag
    for there, here in ((os.ST_NODEV, kernel.NODEV), (os.ST_NOEXEC, kernel.NOEXEC), (os.ST_RDONLY, kernel.RDONLY)):
        flags |= here if has & there else 0
    for there, here in ((os.ST_NOATIME, 1024), (os.ST_NODIRATIME, 2048), (os.ST_RELATIME, 1 << 21)):
        flags |= here if has & there else 0
    kernel.mount("none", target, None, flags)


def scratch(mb: int) -> None:
    """An empty /tmp of `mb` MiB in a mount namespace of this process alone; it goes when the process does."""
    kernel.unshare(kernel.NEWNS)
    flags = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
    kernel.mount("tmpfs", "/tmp", "tmpfs", flags, f"size={mb}m,nr_inodes=1024,mode=777")
