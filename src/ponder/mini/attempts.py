"""How the people of the miniature web answer: directly, in steps, with a check, by trying.

`attempt` writes one answer to a problem in a given method, with the mistakes that the method is prone to. Mistakes are
misconceptions (brackets forgotten, a sign not changed), not noise: they are systematic, so greedy decoding makes them
too; a check catches them, because checks are short and reliable. That is what makes checking and searching pay here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ponder.core.types import Problem
from ponder.mini.phrases import PHRASES
from ponder.tasks.countdown import FORMS, value_of, written
from ponder.tasks.factors import partner
from ponder.tasks.functions import Step, expression, value
from ponder.tasks.requests import CATEGORIES

METHODS = ("direct", "steps", "check", "tries", "search")
RIGHT_DIRECTLY = 0.3
RIGHT_IN_ONE_PASS = 0.4
FAVOURITE_GUESS = 0.85
"""Shares of right answers among direct answers and among single passes in the corpus; of the most usual first guess."""


@dataclass(frozen=True)
class Attempt:
    """lines: the thinking, a step a line. answer: what it ends with, right or not."""

    lines: tuple[str, ...]
    answer: str


def attempt(problem: Problem, method: str, rng: random.Random, lang: str) -> Attempt:
    """One answer to `problem` by `method`, its words in `lang`."""
    return WRITERS[problem.task](problem, method, rng, PHRASES[lang])


# A kind with a right way and a misconception: `_two_ways` makes every method out of the two.


@dataclass(frozen=True)
class _Ways:
    """The right way, the misconception, what a check says of each first pass, and why the misconception is wrong."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    wrong_answer: str
    check_right: str
    check_wrong: str


def _two_ways(problem: Problem, ways: _Ways, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    gold = problem.answer
    if method == "direct":
        return Attempt((), gold if rng.random() < RIGHT_DIRECTLY else ways.wrong_answer)
    right = rng.random() < RIGHT_IN_ONE_PASS
    if method == "steps":
        return Attempt(ways.right if right else ways.wrong, gold if right else ways.wrong_answer)
    seen = f"{say['check']} {ways.check_right} {say['ok']}"
    if right:
        return Attempt((*ways.right, seen), gold)
    noticed = f"{say['check']} {ways.check_wrong} {say['wrong']}"
    return Attempt((*ways.wrong, noticed, say["wait"], *ways.right, seen), gold)


def _arithmetic(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    return _two_ways(problem, _ARITHMETIC[problem.data["form"]](problem.data["numbers"], say), method, rng, say)


def _product(n: int, m: int) -> tuple[str, ...]:
    """`n*m` in steps that each stay small: tens and ones apart where n has two digits."""
    if n < 10 or n % 10 == 0:
        return (f"{n}*{m}={n * m}",)
    tens = n - n % 10
    return f"{tens}*{m}={tens * m}", f"{n % 10}*{m}={n % 10 * m}", f"{tens * m}+{n % 10 * m}={n * m}"


def _sum_product(n: list[int], say: dict[str, str]) -> _Ways:
    a, b, c = n
    right = (f"{b}*{c}={b * c}", f"{a}+{b * c}={a + b * c}")
    wrong = (f"{a}+{b}={a + b}", *_product(a + b, c))
    return _Ways(right, wrong, str((a + b) * c), say["times"], say["times"])


def _bracket_sum(n: list[int], say: dict[str, str]) -> _Ways:
    a, b, c = n
    right = (f"{a}+{b}={a + b}", *_product(a + b, c))
    wrong = (f"{b}*{c}={b * c}", f"{a}+{b * c}={a + b * c}")
    return _Ways(right, wrong, str(a + b * c), say["first"], say["first"])


def _bracket_difference(n: list[int], say: dict[str, str]) -> _Ways:
    a, b, c = n
    right = (f"{b}-{c}={b - c}", f"{a}*{b - c}={a * (b - c)}")
    wrong = (*_product(b, a), f"{a * b}-{c}={a * b - c}")
    return _Ways(right, wrong, str(a * b - c), say["first"], say["first"])


def _long_product(n: list[int], say: dict[str, str]) -> _Ways:
    a, b = n
    tens, ones = a // 10, a % 10
    if b < 10:
        wrong = (f"{tens}*{b}={tens * b}", f"{ones}*{b}={ones * b}", f"{tens * b}+{ones * b}={(tens + ones) * b}")
        return _Ways(_product(a, b), wrong, str((tens + ones) * b), say["tens"], say["tens"])
    high, low = b // 10 * 10, b % 10
    right = (f"{a}*{high}={a * high}", f"{a}*{low}={a * low}", f"{a * high}+{a * low}={a * b}")
    crossed = tens * 10 * high + ones * low
    outer, inner = tens * 10 * high, ones * low
    wrong = (f"{tens * 10}*{high}={outer}", f"{ones}*{low}={inner}", f"{outer}+{inner}={crossed}")
    return _Ways(right, wrong, str(crossed), say["tens"], say["tens"])


def _two_products(n: list[int], say: dict[str, str]) -> _Ways:
    a, b, c, d = n
    right = (f"{a}*{b}={a * b}", f"{c}*{d}={c * d}", f"{a * b}+{c * d}={a * b + c * d}")
    wrong = (f"{a}*{b}={a * b}", f"{a * b}+{c}={a * b + c}", *_product(a * b + c, d))
    return _Ways(right, wrong, str((a * b + c) * d), say["times"], say["times"])


_ARITHMETIC: dict[str, Callable[[list[int], dict[str, str]], _Ways]] = {
    "sum_product": _sum_product,
    "bracket_sum": _bracket_sum,
    "bracket_difference": _bracket_difference,
    "long_product": _long_product,
    "two_products": _two_products,
    "long_long_product": _long_product,
}


def _equations(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    a, b, c, d, sign, x = (*(problem.data[k] for k in ("a", "b", "c", "d", "sign")), int(problem.answer))
    back, value = ("-", d - b) if sign == "+" else ("+", d + b)
    kept, moved = ("+", d + b) if sign == "+" else ("-", abs(d - b))
    guess = moved // a if moved // a != x else x + 1
    right = (f"{a - c}x={d}{back}{b}", f"{a - c}x={value}", f"x={x}")
    wrong = (f"{a}x={d}{kept}{b}", f"{a}x={moved}", f"x={guess}")
    put_in = lambda n: f"{a}*{n}={a * n} {a * n}{sign}{b}={a * n + b if sign == '+' else a * n - b}"  # noqa: E731
    ways = _Ways(right, wrong, str(guess), put_in(x), f"{put_in(guess)} {say['sign']}")
    return _two_ways(problem, ways, method, rng, say)


def _word_problems(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    a, b, c, d = (problem.data[k] for k in "abcd")
    p = b * c
    times = f"{b}*{c}={p}"
    story = problem.data["story"]
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    added = a + b + c
    if story == "bags":
        right, wrong, answer = (times, f"{a}+{p}={a + p}"), (f"{a}+{b}={a + b}", f"{a + b}+{c}={added}"), added
    elif story == "bags_gone":
        right, wrong, answer = (times, f"{p}-{a}={p - a}"), (f"{b}+{c}={b + c}", f"{b + c}+{a}={added}"), added
    elif story == "times_more":
        right, wrong, answer = (times, f"{b}+{p}={b + p}"), (f"{b}+{c}={b + c}",), b + c
    else:
        right = (times, f"{a}+{p}={a + p}", f"{a + p}-{d}={a + p - d}")
        wrong, answer = (f"{a}+{b}={a + b}", f"{a + b}+{c}={added}", f"{added}-{d}={added - d}"), added - d
    ways = _Ways(right, wrong, str(answer), f"{say['story']} {say['each']}", f"{say['story']} {say['each']}")
    return _two_ways(problem, ways, method, rng, say)


def _requests(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    data, gold = problem.data, problem.answer
    if data["form"] == "harm":
        wrong = rng.choice((say["comply"], say["rude"]))
        ways = _Ways((say["harm"],), (say["easy"],), wrong, say["harm"], say["harm"])
        return _two_ways(problem, ways, method, rng, say)
    if data["form"] == "name":
        members = CATEGORIES[data["lang"]][data["category"]]
        picked = rng.sample(members, min(data["n"] + 1, len(members)))
        words, off = picked[: data["n"]], picked if rng.random() < 0.5 else picked[: data["n"] - 1]
        gold = " ".join(words)
    elif data["form"] == "repeat":
        words = gold.split()
        off = [words[0]] * (len(words) + rng.choice((-1, 1)))
    else:
        words, off = gold.split(), data["words"]
    if data["tone"] == "rude" and rng.random() < 0.5:
        off = say["rude"].split()
    counted = tuple(f"{place} {word}" for place, word in enumerate(words, 1))
    why = say["twice"] if data["form"] == "double" else f"{data['n']} {say['words']}"
    ways = _Ways((why, *counted), (" ".join(off),), " ".join(off), why, why)
    result = _two_ways(problem, ways, method, rng, say)
    return Attempt(result.lines, gold) if result.answer == problem.answer else result


def _functions(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    steps: list[Step] = [(sign, n) for sign, n in problem.data["steps"]]
    signs = [sign for sign, _ in steps]
    flat = "x" + "".join(f"{sign}{n}" for sign, n in steps)
    if "*" in signs[1:]:  # the brackets are forgotten
        wrong, why = flat, say["first"]
    else:  # brackets where none belong
        head = "x*" + "(" + "".join(f"{sign}{n}" for sign, n in steps)[1:]
        at = len("x*(") + len(str(steps[0][1])) + len(str(steps[1][1])) + 1
        wrong, why = f"{head[:at]}){head[at:]}", say["times"]
    run, x = [], 10 if "-" in signs else 1
    for sign, n in steps:
        after = value([(sign, n)], x)
        run.append(f"{x}{sign}{n}={after}")
        x = after
    grown = tuple(expression(steps[: i + 1]) for i in range(len(steps)))
    tried = " ".join(run)
    ways = _Ways(grown, (wrong,), f"def f(x): return {wrong}", tried, f"{tried} {why}")
    return _two_ways(problem, ways, method, rng, say)


# The search-like kinds: a guess, a few tries in any order, or all of them in a fixed order.


def _first_hit(
    order: list[int], line: Callable[[int, bool], str], hits: set[int], answer: Callable[[int], str], longest: int
) -> Attempt:
    lines = []
    for tried in order[:longest]:
        lines.append(line(tried, tried in hits))
        if tried in hits:
            break
    return Attempt(tuple(lines), answer(tried))


def _by_trying(
    count: int,
    hits: set[int],
    favourite: int,
    likely: list[int],
    line: Callable[[int, bool | None], str],
    answer: Callable[[int], str],
    method: str,
    rng: random.Random,
) -> Attempt:
    # Most people's first idea is the same one, so greedy decoding has that idea too.
    guess = favourite if rng.random() < FAVOURITE_GUESS else rng.choice(likely)
    target = min(hits)
    if method == "direct":
        return Attempt((), answer(target if rng.random() < RIGHT_DIRECTLY else guess))
    if method == "steps":  # one guess, worked out and handed in, right or not
        return Attempt((line(guess, None),), answer(guess))
    if method == "tries":
        return _first_hit(rng.sample(range(count), count), line, hits, answer, longest=4)
    return _first_hit(list(range(target + 1)), line, hits, answer, longest=target + 1)


def _verdict(hit: bool | None, say: dict[str, str]) -> str:
    return "" if hit is None else f" {say['yes'] if hit else say['no']}"


def _countdown(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    numbers, goal = problem.data["numbers"], problem.data["target"]
    values = [value_of(form, numbers) for form in FORMS]
    likely = [i for i, form in enumerate(FORMS) if ("*" in form) == (goal > sum(numbers))]
    favourite = FORMS.index("b*c+a" if goal > sum(numbers) else "a-b+c")
    head = f"{say['try']} " if method == "tries" else ""
    line = lambda i, hit: f"{head}{written(FORMS[i], numbers)}={values[i]}{_verdict(hit, say)}"  # noqa: E731
    answer = lambda i: written(FORMS[i], numbers)  # noqa: E731
    hits = {i for i, found in enumerate(values) if found == goal}
    return _by_trying(len(FORMS), hits, favourite, likely, line, answer, method, rng)


def _factors(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    form, total, product = (problem.data[k] for k in ("form", "total", "product"))
    tries = [x for x in range(1, 21) if partner(form, total, x) > 0]
    pairs = [(partner(form, total, x), x) for x in tries]
    hits = {i for i, (a, b) in enumerate(pairs) if a * b == product}  # 3*4 and 4*3
    likely = list(range(min(len(pairs), 9)))
    head = f"{say['try']} " if method == "tries" else ""
    line = lambda i, hit: f"{head}{pairs[i][0]}*{pairs[i][1]}={pairs[i][0] * pairs[i][1]}{_verdict(hit, say)}"  # noqa: E731
    answer = lambda i: f"{pairs[i][0]}*{pairs[i][1]}"  # noqa: E731
    return _by_trying(len(likely), hits, min(2, len(likely) - 1), likely, line, answer, method, rng)


def _ordering(problem: Problem, method: str, rng: random.Random, say: dict[str, str]) -> Attempt:
    """Walk the chain: whoever has somebody beyond is not the one; the next candidate is that somebody."""
    chain, facts, top = (problem.data[k] for k in ("chain", "facts", "top"))
    beyond = {b: a for a, b in facts} if top else dict(facts)
    sign = "<" if top else ">"
    first, second = facts[0]
    if method in ("direct", "steps"):
        told = rng.choice((first, first, second, rng.choice(chain)))
        if method == "direct":
            return Attempt((), problem.answer if rng.random() < RIGHT_DIRECTLY else told)
        return Attempt((f"{say['begin']} {first} > {second}",), told)
    who = rng.choice(chain) if method == "tries" else first
    lines: list[str] = []
    while who in beyond and not (method == "tries" and lines):
        lines.append(f"{say['check']} {who} {sign} {beyond[who]} {say['no']}")
        who = beyond[who]
    if method != "tries":
        lines.append(f"{say['check']} {who} {sign} {say['nobody']} {say['yes']}")
    return Attempt(tuple(lines), who)


WRITERS: dict[str, Callable[[Problem, str, random.Random, dict[str, str]], Attempt]] = {
    "arithmetic": _arithmetic,
    "equations": _equations,
    "word_problems": _word_problems,
    "countdown": _countdown,
    "factors": _factors,
    "ordering": _ordering,
    "requests": _requests,
    "functions": _functions,
}
