"""What must never reach a computer algebra system: told from the text, in linear time, before anything is parsed."""

from __future__ import annotations

import math
import re

MAX_LENGTH = 2000  # characters
MAX_TOKENS = 600
MAX_DIGITS = 500  # in one number
MAX_DEPTH = 30  # of brackets
MAX_EXPONENT = 20_000  # a literal exponent
MAX_POWER_DIGITS = 30_000  # of a literal power, written out
MAX_FACTORIAL = 2_000
MAX_RANGE = 1_000  # terms of a sum or product
MAX_BIG_SIGNS = 3  # sums, products, integrals and limits
MAX_REPEATS = 120  # of one token

_TOKEN = re.compile(r"\\[A-Za-z]+|\d+(?:\.\d+)?|\*\*|[^\s]", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_GROWS = {"!", "\\binom", "\\dbinom", "\\tbinom", "\\prod", "\\sum"}
_OPEN, _CLOSE = "([{", ")]}"
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def guard(text: str) -> str | None:
    """Why `text` is not handed to the symbolic tier, in a few words; None where it may be.

    It errs on the safe side: what it refuses is answered as unknown, never as wrong. Linear in the text.
    """
    if len(text) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    parts = _TOKEN.findall(text)
    if len(parts) > MAX_TOKENS:
        return f"more than {MAX_TOKENS} tokens"
    return (
        _numbers(parts) or _nesting(parts) or _repeats(parts) or _powers(parts) or _factorials(parts) or _ranges(parts)
    )


def _numbers(parts: list[str]) -> str | None:
    if any(len(part) > MAX_DIGITS for part in parts):
        return f"a number of more than {MAX_DIGITS} digits"
    return None


def _nesting(parts: list[str]) -> str | None:
    depth = 0
    for part in parts:
        if part in _OPEN:
            depth += 1
            if depth > MAX_DEPTH:
                return f"brackets nested more than {MAX_DEPTH} deep"
        elif part in _CLOSE:
            depth = max(0, depth - 1)
    return None


def _repeats(parts: list[str]) -> str | None:
    seen: dict[str, int] = {}
    for part in parts:
        if part in "{},&-+0123456789()":  # a long list or matrix repeats these
            continue
        seen[part] = seen.get(part, 0) + 1
        if seen[part] > MAX_REPEATS:
            return f"{part[:10]!r} more than {MAX_REPEATS} times"
    if seen.get("|", 0) > 16 or seen.get("\\sqrt", 0) > 40:
        return "too many bars or roots"
    return None


def _group(parts: list[str], at: int) -> int:
    """Where the operand at `at` ends: signs, then a bracket group, a command with its groups, or one token."""
    while at < len(parts) and parts[at] in "+-−":
        at += 1
    if at >= len(parts):
        return at
    if parts[at].startswith("\\") and parts[at] not in ("\\{", "\\}"):
        at += 1
        while at < len(parts) and parts[at] in "{[":
            at = _match(parts, at)
        return at
    return _match(parts, at) if parts[at] in _OPEN else at + 1


def _match(parts: list[str], at: int) -> int:
    depth = 0
    for here in range(at, len(parts)):
        depth += (parts[here] in _OPEN) - (parts[here] in _CLOSE)
        if depth == 0:
            return here + 1
    return len(parts)


def _powers(parts: list[str]) -> str | None:
    """Towers and huge powers. The nesting is bounded by then, so looking into every exponent stays linear."""
    end_of_exponent: list[int] = []
    for at, part in enumerate(parts):
        while end_of_exponent and at >= end_of_exponent[-1]:
            end_of_exponent.pop()
        if part == "**" and (not at or at + 1 == len(parts)):
            continue  # bold type, not a power
        if part not in ("^", "**"):
            if part[0] in _RAISED and at and _count(parts, at, _RAISED) > 4:
                return "a huge power"
            continue
        end = _group(parts, at + 1)
        while end < len(parts) and parts[end] in ("^", "**") and len(end_of_exponent) < 3:  # 2^2^2 without braces
            end = _group(parts, end + 1)
            end_of_exponent.append(end)
        inside = parts[at + 1 : end]
        end_of_exponent.append(end)
        if len(end_of_exponent) >= 3:
            return "a tower of exponents"
        numbers = [float(one) if len(one) < 40 else math.inf for one in inside if _NUMBER.fullmatch(one)]
        if any(one in _GROWS for one in inside) and any(one > 6 for one in numbers):
            return "a huge power"
        size = 1.0  # the numbers of an exponent may be a product or a tower: no less than either
        tower = "^" in inside or "**" in inside
        for one in reversed(numbers):
            size = _power(max(one, 1.0), size) if tower else size * max(one, 1.0)
        if size > MAX_EXPONENT:
            return "a tower of exponents" if tower else "a huge power"
        base = parts[at - 1] if at else ""
        if _NUMBER.fullmatch(base) and len(base) * size > MAX_POWER_DIGITS:
            return "a huge power"
        if base in _CLOSE and size > 60:
            group = _before(parts, at)
            below = at > len(group) and parts[at - len(group) - 1] == "_"  # \sum_{k=1}^{100}
            if not below and any(one.isalpha() or one.startswith("\\") for one in group):
                return "a huge power of a sum"
    return None


def _power(base: float, exponent: float) -> float:
    return base**exponent if exponent * math.log10(base) < 15 else 1e15


def _count(parts: list[str], at: int, signs: str) -> int:
    run = 0
    while at + run < len(parts) and parts[at + run][0] in signs:
        run += 1
    return run


def _before(parts: list[str], at: int) -> list[str]:
    """The bracket group that ends just before `at`."""
    depth = 0
    for here in range(at - 1, -1, -1):
        depth += (parts[here] in _CLOSE) - (parts[here] in _OPEN)
        if depth == 0:
            return parts[here:at]
    return parts[:at]


def _factorials(parts: list[str]) -> str | None:
    factorials = 0
    for at, part in enumerate(parts):
        if part == "!" and at and not (at + 1 < len(parts) and parts[at + 1] == "="):
            factorials += 1
            operand = _before(parts, at) if parts[at - 1] in _CLOSE else [parts[at - 1]]
            if any(_NUMBER.fullmatch(one) and (len(one) > 9 or float(one) > MAX_FACTORIAL) for one in operand):
                return "a huge factorial"
            if parts[at - 1] == "!" or any(one in ("!", "^", "**", "\\binom") for one in operand):
                return "a factorial of a power or factorial"
            product = 1.0
            for one in operand:
                product *= max(1.0, float(one)) if _NUMBER.fullmatch(one) else 1.0
            if product > MAX_FACTORIAL:
                return "a huge factorial"
        elif part in ("\\binom", "\\dbinom", "\\tbinom", "\\choose"):
            start = max(0, at - 12) if part == "\\choose" else at + 1
            end = at + 12 if part == "\\choose" else _group(parts, at)
            operand = parts[start:end]
            if any(one in ("!", "^", "**", "\\binom", "\\dbinom") for one in operand):
                return "a binomial of a power or factorial"
            if any(_NUMBER.fullmatch(one) and (len(one) > 9 or float(one) > 20_000) for one in operand):
                return "a huge binomial"
        elif part in ("\\Gamma", "\\zeta"):
            return "a special function"
    return "too many factorials" if factorials > 12 else None


def _ranges(parts: list[str]) -> str | None:
    big = 0
    for at, part in enumerate(parts):
        if part not in ("\\sum", "\\prod", "\\int", "\\lim", "\\iint", "\\iiint", "\\oint"):
            continue
        big += 1
        if big > MAX_BIG_SIGNS:
            return "too many sums, products or integrals"
        here = at + 1
        while here < len(parts) and parts[here] in ("_", "^"):
            end = _group(parts, here + 1)
            inside = parts[here + 1 : end]
            if part in ("\\sum", "\\prod"):
                if any(one in ("!", "^", "**") for one in inside):
                    return "a range that is a power or factorial"
                if any(_NUMBER.fullmatch(one) and (len(one) > 9 or float(one) > MAX_RANGE) for one in inside):
                    return "a long range"
            here = end
    return None


def peel(text: str) -> str:
    """`text` without the brackets that stand around the whole of it: `(((x)))` is x. Linear; not `(1,2)`, a tuple."""
    text = text.strip()
    if len(text) < 3 or text[0] not in "({" or len(text) > 100_000:
        return text
    opened: list[int] = []
    partner: dict[int, int] = {}
    for at, sign in enumerate(text):
        if sign in _OPEN:
            opened.append(at)
        elif sign in _CLOSE:
            if not opened:
                return text
            partner[opened.pop()] = at
    first, last = 0, len(text) - 1
    pairs = {"(": ")", "{": "}"}
    while first < last:
        whole = partner.get(first) == last and text[last - 1] != "\\"
        if whole and text[last] == pairs.get(text[first]):
            first, last = first + 1, last - 1
        elif text[first].isspace():
            first += 1
        elif text[last].isspace():
            last -= 1
        else:
            break
    inner = text[first : last + 1]
    return text if not inner or "," in inner or ";" in inner else inner


_TOWER = re.compile(r"\d{1,40}(?:\^\{?\d{1,40})+\}*", re.ASCII)
_HUGE_FACTORIAL = re.compile(r"(?:\d{1,40}|[({]\d{1,40}(?:\^\{?\d{1,40}\}?)?[)}])!", re.ASCII)


def least_digits(text: str) -> float | None:
    """How many decimal digits a literal tower (`9^{9^{9}}`) or factorial (`(10^9)!`) has at least; None for other text.

    From logarithms: nothing is worked out. Capped at 1e15, so that a comparison of two of them decides nothing.
    """
    bare = "".join(text.split())
    if len(bare) > 400:
        return None
    numbers = [float(one) for one in re.findall(r"[0-9]+", bare)]
    if _HUGE_FACTORIAL.fullmatch(bare):
        size = _log10(numbers)
        if size > 15:
            return 1e15
        return max(0.0, 10**size * (size - 0.4343)) * 0.999 if size > 1 else 0.0  # n! > (n/e)^n
    if _TOWER.fullmatch(bare) and bare.count("{") == bare.count("}"):
        return min(1e15, _log10(numbers) * 0.999)
    return None


def _log10(tower: list[float]) -> float:
    """The logarithm of a tower, from its top down; 1e15 where it is more."""
    if any(one < 2 for one in tower):
        return 0.0
    value = tower[-1] if len(tower) > 1 else 1.0
    for base in reversed(tower[1:-1]):
        value = _power(base, value)
    return min(1e15, math.log10(tower[0]) * value)
