"""The filter, run by an interpreter of its own: every number allowed or refused as the tables say, on both machines."""

from __future__ import annotations

import errno
import struct

import pytest

from ponder.sandbox import seccomp

ALLOW, KILL = "allow", "kill"
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def verdict(filters: bytes, number: int, arguments: tuple[int, ...] = (), arch: int = 0) -> str | int:
    """Classic BPF as the kernel runs it: what the filter says of one system call; the errno where it is refused."""
    words = list(arguments) + [0] * (6 - len(arguments))
    data = struct.pack("<IIQ6Q", number, arch, 0, *[word & (1 << 64) - 1 for word in words])
    steps = list(struct.iter_unpack("=HBBI", filters))
    accumulator = place = 0
    while True:
        code, true, false, constant = steps[place]
        place += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, constant)[0]
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x15:
            place += true if accumulator == constant else false
        elif code == 0x45:
            place += true if accumulator & constant else false
        else:
            assert code == 0x06, f"no such instruction: {code:#x}"
            if constant == 0x7FFF0000:
                return ALLOW
            return KILL if constant == 0x80000000 else constant & 0xFFFF


@pytest.fixture(params=sorted(ARCHES))
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(seccomp, "MACHINE", request.param)
    return str(request.param)


def ask(machine: str, name: str, *arguments: int) -> str | int:
    column = seccomp.AUDIT_ARCH[machine][1]
    number = (seccomp.ALLOWED | seccomp.RULED)[name][column]
    return verdict(seccomp.program(), number, arguments, ARCHES[machine])


def test_the_tables_are_the_whole_of_what_is_allowed(machine):
    column, filters = seccomp.AUDIT_ARCH[machine][1], seccomp.program()
    allowed = {numbers[column] for numbers in seccomp.ALLOWED.values()} - {-1}
    ruled = {numbers[column] for numbers in seccomp.RULED.values()}
    assert not allowed & ruled and len(filters) // 8 < 4096
    for number in [*range(600), 0x40000000, 0x40000001, 0x4000003B, 0xFFFFFFFF]:
        if number not in ruled:
            expected = ALLOW if number in allowed else errno.EPERM
            assert verdict(filters, number, (), ARCHES[machine]) == expected, number


def test_numbers_agree_with_the_kernels_own_for_calls_that_every_program_makes():
    # asm/unistd_64.h and asm-generic/unistd.h, by heart and twice: a slip in the table would open or break something.
    known = {
        "read": (0, 63), "write": (1, 64), "openat": (257, 56), "close": (3, 57), "mmap": (9, 222), "brk": (12, 214),
        "futex": (202, 98), "clone": (56, 220), "exit_group": (231, 94), "ioctl": (16, 29), "fcntl": (72, 25),
        "getrandom": (318, 278), "rt_sigreturn": (15, 139), "prlimit64": (302, 261), "socketpair": (53, 199),
    }  # fmt: skip
    assert {name: (seccomp.ALLOWED | seccomp.RULED)[name] for name in known} == known


def test_a_foreign_instruction_set_kills(machine):
    for arch in (0x40000003, 0x40000028, *(other for name, other in ARCHES.items() if name != machine)):
        assert verdict(seccomp.program(), 1, (), arch) == KILL


def test_clone_makes_threads_and_nothing_else(machine):
    thread = 0x3D0F00  # what glibc asks for
    assert ask(machine, "clone", thread) == ALLOW
    assert ask(machine, "clone", 17) == errno.EPERM  # fork
    assert ask(machine, "clone", 0x4111) == errno.EPERM  # vfork
    assert ask(machine, "clone", 0x10000) == ask(machine, "clone", 0x100) == errno.EPERM
    for namespace in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(machine, "clone", thread | namespace) == errno.EPERM
    assert ask(machine, "clone3", 0, 0) == errno.ENOSYS


def test_argument_rules(machine):
    assert ask(machine, "ioctl", 0, 0x5401) == ask(machine, "ioctl", 0, 0x5451) == ALLOW
    assert ask(machine, "ioctl", 0, 0x5412) == errno.EPERM  # TIOCSTI types into a terminal
    assert ask(machine, "ioctl", 0, 0x541C) == errno.EPERM  # TIOCLINUX pastes into one
    assert ask(machine, "socketpair", 1, 1) == ask(machine, "socketpair", 1, 1 | 0x80000 | 0x800) == ALLOW
    for family, kind in ((1, 2), (1, 5), (2, 1), (16, 1), (30, 1)):
        assert ask(machine, "socketpair", family, kind) == errno.EPERM
    assert ask(machine, "prctl", 15) == ALLOW and ask(machine, "prctl", 4, 1) == errno.EPERM
    assert ask(machine, "prlimit64", 0) == ALLOW and ask(machine, "prlimit64", 1) == errno.EPERM
    assert ask(machine, "mmap", 0, 4096, 3, 0x22) == ask(machine, "mmap", 0, 4096, 1, 0x01) == ALLOW
    assert ask(machine, "mmap", 0, 4096, 3, 0x21) == ask(machine, "mmap", 0, 4096, 3, 0x23) == errno.EPERM
    assert ask(machine, "fcntl", 0, 3) == ask(machine, "fcntl", 0, 1030) == ALLOW
    for command in (8, 10, 15, 1024, 1026, 1031, 1033):  # SETOWN, SETSIG, SETOWN_EX, leases, notify, pipe size, seals
        assert ask(machine, "fcntl", 0, command) == errno.EPERM


def test_a_machine_without_a_table_is_refused(monkeypatch):
    monkeypatch.setattr(seccomp, "MACHINE", "riscv64")
    with pytest.raises(OSError, match="no table of system calls for riscv64"):
        seccomp.program()
