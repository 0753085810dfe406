"""The system calls that a walled program may make: an allow-list in classic BPF, made by hand. Standard library only.

Everything else is EPERM; a foreign instruction set (int 0x80 on x86_64) kills; x32 numbers are in no list. Left out on
purpose: socket, execve, fork, kill; chmod, chown, utime, truncate and extended attributes (Landlock does not mediate
them); memfd_create, shared memory and queues, keyrings, io_uring, userfaultfd, namespaces, ptrace, bpf.
Sources: seccomp(2), linux/seccomp.h, linux/filter.h; numbers from asm/unistd_64.h and asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from ponder.sandbox.kernel import MACHINE, PR_SET_SECCOMP, prctl

ALLOWED = {  # x86_64, aarch64 (-1: it has no such call)
    # files
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "lseek": (8, 62),
    "open": (2, -1),
    "openat": (257, 56),
    "openat2": (437, 437),
    "creat": (85, -1),
    "close": (3, 57),
    "close_range": (436, 436),
    "stat": (4, -1),
    "lstat": (6, -1),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, -1),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, -1),
    "readlinkat": (267, 78),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "getdents": (78, -1),
    "getdents64": (217, 61),
    "dup": (32, 23),
    "dup2": (33, -1),
    "dup3": (292, 24),
    "pipe": (22, -1),
    "pipe2": (293, 59),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fadvise64": (221, 223),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "sync_file_range": (277, 84),
    "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    "flock": (73, 32),
    "umask": (95, 166),
    # scratch directory
    "mkdir": (83, -1),
    "mkdirat": (258, 34),
    "rmdir": (84, -1),
    "unlink": (87, -1),
    "unlinkat": (263, 35),
    "rename": (82, -1),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, -1),
    "linkat": (265, 37),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    # memory
    "brk": (12, 214),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "mincore": (27, 232),
    "msync": (26, 227),
    "membarrier": (324, 283),
    # waiting
    "poll": (7, -1),
    "ppoll": (271, 73),
    "select": (23, -1),
    "pselect6": (270, 72),
    "epoll_create": (213, -1),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, -1),
    "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441),
    "eventfd": (284, -1),
    "eventfd2": (290, 19),
    "futex": (202, 98),
    "futex_waitv": (449, 449),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "pause": (34, -1),
    "restart_syscall": (219, 128),
    "wait4": (61, 260),
    "waitid": (247, 95),
    # socket pairs of asyncio
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "shutdown": (48, 210),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "getsockopt": (55, 209),
    # time
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, -1),
    "times": (100, 153),
    "alarm": (37, -1),
    "setitimer": (38, 103),
    "getitimer": (36, 102),
    # signals of its own
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    # threads
    "set_tid_address": (218, 96),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "getcpu": (309, 168),
    "gettid": (186, 178),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # about itself
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getgroups": (115, 158),
    "getpgrp": (111, -1),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "setrlimit": (160, 164),
    "getrandom": (318, 278),
    "getpriority": (140, 141),
}
RULED = {  # allowed for some arguments only
    # by rule
    "clone": (56, 220),
    "clone3": (435, 435),
    "ioctl": (16, 29),
    "socketpair": (53, 199),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "mmap": (9, 222),
    "fcntl": (72, 25),
}
AUDIT_ARCH = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # value in seccomp_data, column of the tables

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, ANY, AND, RETURN = 0x20, 0x15, 0x45, 0x54, 0x06

Step = tuple[int, int, int, int]  # code, jump if true, jump if false, constant
NAMESPACES = 0x7E020080  # every CLONE_NEW*: the kernel refuses them with threads, this says it again


def _load(argument: int) -> Step:
    return (
        LOAD,
        0,
        0,
        16 + 8 * argument,
    )  # the low word; each value below is an int to the kernel, or has no high bits


def _one_of(argument: int, values: tuple[int, ...], mask: int = 0xFFFFFFFF) -> list[Step]:
    """Allows where the argument, masked, is one of the values; EPERM otherwise."""
    steps = [_load(argument), (AND, 0, 0, mask)]
    for place, value in enumerate(values):
        steps.append((EQUAL, len(values) - place, 0, value))
    return [*steps, (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW)]


def _rules() -> dict[str, list[Step]]:
    refuse, allow = (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW)
    thread = 0x00010100  # CLONE_THREAD | CLONE_VM: a thread, never a process
    return {
        "clone": [
            _load(0), (ANY, 4, 0, NAMESPACES), (AND, 0, 0, thread), (EQUAL, 1, 0, thread), refuse, allow, refuse,
        ],
        # Its arguments are behind a pointer, which no filter can read; libc falls back to clone on ENOSYS.
        "clone3": [(RETURN, 0, 0, ERRNO | errno.ENOSYS)],
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
        "ioctl": _one_of(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
        # AF_UNIX streams; a datagram pair could sendto() any socket path. The mask drops NONBLOCK and CLOEXEC.
        "socketpair": [_load(0), (EQUAL, 1, 0, 1), refuse, *_one_of(1, (1,), 0xF)],
        "prctl": _one_of(0, (15, 16)),  # SET_NAME, GET_NAME
        "prlimit64": _one_of(0, (0,)),  # its own limits
        # Shared anonymous memory is not counted by RLIMIT_DATA.
        "mmap": [_load(3), (AND, 0, 0, 0x21), (EQUAL, 1, 0, 0x21), allow, refuse],
        # No F_SETOWN and F_SETSIG (a signal to any process of the same user), no leases, no larger pipes.
        "fcntl": _one_of(1, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)),
    }  # fmt: skip


def program() -> bytes:
    """The filter for this machine, as an array of sock_filter. Raises OSError on an architecture without a table."""
    if MACHINE not in AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"seccomp: no table of system calls for {MACHINE}")
    arch, column = AUDIT_ARCH[MACHINE]
    steps: list[Step] = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, arch), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    for numbers in ALLOWED.values():
        if numbers[column] >= 0:
            steps += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ALLOW)]
    for name, rule in _rules().items():
        steps += [(EQUAL, 0, len(rule), RULED[name][column]), *rule]
    steps.append((RETURN, 0, 0, ERRNO | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def install(filters: bytes) -> None:
    """Puts this thread, and all that it starts, under the filter. Needs no_new_privs. Raises OSError."""
    array = ctypes.create_string_buffer(filters, len(filters))
    head = struct.pack("@HP", len(filters) // 8, ctypes.addressof(array))
    prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(head, len(head)))
