"""What a program can make this process pay: nothing that grows faster than its frames."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from ponder.sandbox import codec
from ponder.sandbox.compare import same
from ponder.sandbox.limits import Limits, Outcome
from ponder.sandbox.stdio import run_stdio


@pytest.mark.parametrize("filler", [b'\\"', b'"', b"\\", b'"\\'])
def test_an_unclosed_text_in_a_frame_costs_its_length(filler: bytes) -> None:
    frame = b'{"n":1,"v":' + b"[" * 900 + b'"' + filler * (900_000 // len(filler))
    began = time.process_time()
    for ending in (b"", b"}"):
        with pytest.raises(codec.Uncrossable):
            codec.unpack(frame + ending)
    assert time.process_time() - began < 2  # quadratic: an hour


def test_a_decimal_is_not_compared_with_a_number_of_megabits() -> None:
    long = 1 << 4_000_000
    began = time.process_time()
    assert not same(Decimal("1.5"), long) and not same([long], [Decimal("1.5")])
    assert same(Decimal(3), 3) and same(3, Decimal(3)) and same(long, long)
    assert time.process_time() - began < 2


class _Prints:
    """A sandbox in which every program prints what it is."""

    def run(self, program: str, stdin: bytes, limits: Limits) -> Outcome:
        return Outcome("ok", program.encode(), "", 0.0, 0.0, 0)


@pytest.mark.parametrize(("printed", "passed"), [("2", 1), ("3", 0), ("junk", 0)])
def test_a_checker_that_fails_on_an_output_alone_finds_it_wrong(printed: str, passed: int) -> None:
    def checker(given: str, want: str, got: str) -> bool:
        return int(got) == int(want)

    sandbox: Any = _Prints()
    told = run_stdio(printed, [("1", "2")], sandbox, Limits(), stop_early=True, checker=checker)
    assert (told.passed, told.status) == (passed, "ok" if passed else "wrong")


def test_a_checker_that_fails_on_the_expected_output_is_at_fault() -> None:
    def checker(given: str, want: str, got: str) -> bool:
        raise ValueError("broken")

    sandbox: Any = _Prints()
    with pytest.raises(ValueError, match="broken"):
        run_stdio("2", [("1", "2")], sandbox, Limits(), stop_early=True, checker=checker)
