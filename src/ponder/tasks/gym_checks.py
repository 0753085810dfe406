"""Comparisons for reasoning-gym's tasks: (answer, gold, metadata) -> right, wrong or (None) undecided.

None evaluates the answer. Several of reasoning-gym's own scorers do (`eval`, sympy's parser), or pay for a list of
candidates, for a text that contains the gold answer or for any text at all; they are asked (`Theirs`) only where a
question has several right answers, only about answers of the form asked for, and only full credit counts.
"""

from __future__ import annotations

import importlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from ponder.core.errors import PonderError
from ponder.verify.expression import ExpressionError, read_expression
from ponder.verify.numbers import read_number

Check = Callable[[str, str, Mapping[str, Any]], bool | None]

_LOCK = threading.Lock()
_SPACE = re.compile(r"[ \t]+")


def _exact(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """The same text, but for spaces at ends of lines and runs of them."""
    return _lines(answer) == _lines(gold)


def same(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """The same text without case; the same number; the same JSON value."""
    if _lines(answer).casefold() == _lines(gold).casefold():
        return True
    value = read_number(gold)
    if value is not None:
        return read_number(answer) == value
    if gold.lstrip().startswith(("[", "{")):
        left, right = _json(answer), _json(gold)
        return right is not None and left == right
    return False


def _grid(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """The same rows of cells, however they are spaced; also written as a list of lists."""
    rows = _json(answer) if answer.lstrip().startswith("[") else None
    if isinstance(rows, list):
        answer = "\n".join(" ".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)
    return _lines(answer).split() == _lines(gold).split() and answer.strip().count("\n") == gold.strip().count("\n")


def _close(tolerance: Fraction) -> Check:
    """The same number, but for a rounding of at most `tolerance`; the degree sign may be missing."""

    def check(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
        value, wanted = (read_number(text.replace("°", "")) for text in (answer, gold))
        return value is not None and wanted is not None and abs(value - wanted) <= tolerance

    return check


def _numbers(ordered: bool) -> Check:
    """The same list of numbers, in brackets or not; a single one may carry a degree sign."""

    def read(text: str) -> list[Fraction | None]:
        parts = text.replace("°", "").strip().strip("()[]").split(",") if text.strip() else []
        values = [read_number(part) for part in parts]
        return values if ordered or None in values else sorted(values)  # type: ignore[type-var]

    def check(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
        wanted = read(gold)
        return (bool(wanted) and None not in wanted and read(answer) == wanted) or same(answer, gold, metadata)

    return check


def _fraction(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """The same numerator and denominator: 6/8 is no simplification."""

    def read(text: str) -> str:
        latex = re.fullmatch(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(-?\d+)\s*\}", text.strip().strip("$").strip())
        return f"{latex[1]}/{latex[2]}" if latex else text.replace(" ", "").strip("$")

    return read(answer) == read(gold)


def _symbolic(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool | None:
    """Equivalent as mathematics (in a worker process, with a limit); `+ C` is set aside on both sides."""
    from ponder.verify.math import verify_math

    if any(sign in answer for sign in ",;\n") or answer.count("(") != answer.count(")"):
        return False  # one expression is asked for

    def without(text: str) -> str:
        bare = text.strip()
        left = bare[:-1].rstrip() if bare[-1:] in ("C", "c") else ""
        return left[:-1].rstrip() if left.endswith("+") else bare

    return verify_math(without(answer), without(gold), form="bare").correct


def _expression(answer: str, numbers: list[int], target: int) -> bool:
    left, equals, right = answer.partition("=")
    if equals and right.strip() != str(target):
        return False
    try:
        expression = read_expression(left)
    except ExpressionError:
        return False
    return sorted(expression.numbers) == sorted(numbers) and expression.value == target


def _countdown(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    return _expression(answer, list(metadata["numbers"]), int(metadata["target"]))


def _puzzle24(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    return _expression(answer, list(metadata["numbers"]), 24)


def _queens(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    return _lines(answer) in {_lines(board) for board in metadata["valid_answers"]}


def _factors(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    read = lambda text: [part.strip() for part in re.split(r"×|\*|·|\\times|x", text)]  # noqa: E731
    given = read(answer)
    return all(part.isdigit() and part.isascii() for part in given) and sorted(given) == sorted(read(gold))


def _cryptarithm(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool | None:
    letters = [part.partition("=")[0].strip() for part in answer.split(",")]
    if len(set(letters)) < len(letters):  # their scorer takes the last of several values
        return False
    return Theirs(r"[A-Za-z0-9=,\s]+")(answer, gold, metadata)


def _roles(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """Who is what (`Lily is an egoist, and Logan is an altruist.`), in any order, each said once."""

    def read(text: str) -> list[tuple[str, str]]:
        parts = [part.strip() for part in re.split(r",|\.|;|\n|\band\b", text) if part.strip()]
        said = [re.fullmatch(r"(\w+)(?: is an? | is |: ?)(\w+)", part) for part in parts]
        return sorted((m[1].lower(), m[2].lower()) for m in said if m) if all(said) else []

    return bool(read(gold)) and read(answer) == read(gold)


def _board(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """The same digits in the same rows; the signs between them may be missing."""
    if not re.fullmatch(r"[\d<>∧∨^v|\s]+", answer):
        return False
    read = lambda text: [digits for line in text.split("\n") if (digits := re.findall(r"\d", line))]  # noqa: E731
    return read(answer) == read(gold)


def _three_figures(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """The same number to three significant figures, which is what is asked for."""
    number = r"[-+]?\d{1,60}(?:\.\d{1,60})?(?:[eE][-+]?\d{1,3})?"
    texts = [text.strip().replace(",", "") for text in (answer, gold)]
    return all(re.fullmatch(number, text) for text in texts) and len({f"{Decimal(text):.2e}" for text in texts}) == 1


def _listed(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool:
    """The same list of numbers, in quotes or not."""
    bare = lambda text: text.replace("'", "").replace('"', "")  # noqa: E731
    return answer.strip().startswith("[") and bool(_numbers(True)(bare(answer), bare(gold), metadata))


def _conclusion(answer: str, gold: str, metadata: Mapping[str, Any]) -> bool | None:
    """Their check of a conclusion, but for one that only repeats a premise."""
    bare = lambda text: re.sub(r"[\s()]", "", text)  # noqa: E731
    if len(answer) > 300 or bare(answer) in {bare(str(premise)) for premise in metadata["premises"]} - {bare(gold)}:
        return False
    return Theirs(r"[A-Z∧∨→↔¬()\s]+")(answer, gold, metadata)


@dataclass(frozen=True)
class Theirs:
    """reasoning-gym's own scorer, for answers that match `form` as a whole; right is full credit."""

    form: str

    def __call__(self, answer: str, gold: str, metadata: Mapping[str, Any]) -> bool | None:
        if not re.fullmatch(self.form, answer.strip()):
            return False
        name = str(metadata["source_dataset"])
        entry = {"answer": gold, "metadata": json.loads(json.dumps(metadata))}  # some scorers write into it
        with _LOCK:
            scorer = _scorer(name)
            try:
                return float(scorer.score_answer(answer.strip(), entry)) >= 1.0
            except Exception:  # the scorers raise whatever a broken answer makes them
                return False


@lru_cache(maxsize=128)
def _scorer(name: str) -> Any:
    return library().create_dataset(name, seed=0, size=1)


def library() -> Any:
    """The module `reasoning_gym`, or PonderError where it is not installed."""
    try:
        return importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise PonderError("gym: tasks need reasoning-gym; pip install 'ponder[gym]'") from error


def _lines(text: str) -> str:
    return "\n".join(_SPACE.sub(" ", line).strip() for line in text.strip().split("\n"))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


_LIST = Theirs(r"\[[^\0]*\]")
_TEXT_TASKS = """ab acre aiw base_conversion basic_arithmetic bf binary_alternation bitwise_arithmetic caesar_cipher
calendar_arithmetic chain_sum circuit_logic codeio color_cube_rotation count_bits count_primes course_schedule
decimal_arithmetic decimal_chain_sum dice emoji_mystery family_relationships figlet_font game_of_life
game_of_life_halting gcd gsm_symbolic isomorphic_strings largest_island lcm leg_counting letter_counting letter_jumble
list_functions mahjong_puzzle maze modulo_grid needle_haystack number_sequence path_star products ransom_note
rectangle_count rotten_oranges self_reference sentence_reordering simple_equations simple_geometry spell_backward
spiral_matrix string_insertion string_manipulation string_splitting string_synthesis syllogism time_intervals tsumego
word_sequence_reversal word_sorting zebra_puzzles""".split()

GYM: dict[str, Check] = {
    **dict.fromkeys(_TEXT_TASKS, same),
    **dict.fromkeys(
        ("arc_1d", "arc_agi", "binary_matrix", "manipulate_matrix", "mini_sudoku", "rearc", "rotate_matrix", "sudoku",
         "survo"), _grid
    ),
    "advanced_geometry": _numbers(ordered=True),
    "coin_flip": _close(Fraction(1, 10_000)),
    "complex_arithmetic": _symbolic,
    "countdown": _countdown,
    "cryptarithm": _cryptarithm,
    "fraction_simplification": _fraction,
    "futoshiki": _board,
    "graph_color": Theirs(r"\{[^\0]*\}"),
    "group_anagrams": _LIST,
    "intermediate_integration": _symbolic,
    "jugs": _LIST,
    "kakurasu": Theirs(r"[01,\[\]\s]+"),
    "knight_swap": Theirs(r"(?i:no)|\[[^\0]*\]"),
    "knights_knaves": _roles,
    "n_queens": _queens,
    "number_filtering": _listed,
    "number_format": _close(Fraction(1, 100)),
    "number_sorting": _listed,
    "palindrome_generation": Theirs(r"[A-Za-z]+"),
    "palindrome_partitioning": _LIST,
    "polynomial_equations": _numbers(ordered=False),
    "polynomial_multiplication": _symbolic,
    "pool_matrix": Theirs(r"[-0-9.\s]+"),
    "power_function": _three_figures,
    "prime_factorization": _factors,
    "propositional_logic": _conclusion,
    "puzzle24": _puzzle24,
    "quantum_lock": Theirs(r"[ABC→>,\s-]+"),
    "rubiks_cube": Theirs(r"(?:[A-Za-z]{1,2}[0-3]?'?(?:\s|$)){1,2000}"),
    "shortest_path": Theirs(r"[a-z\s]+"),
    "simple_integration": _symbolic,
    "sokoban": Theirs(r"[UDLR]+"),
    "tower_of_hanoi": Theirs(r"(?:Move disk \d{1,2} from Peg \d{1,2} to Peg \d{1,2}\s*){1,2000}"),
    "word_ladder": Theirs(r"[A-Za-z,\s]+"),
}  # fmt: skip
"""How the answer to each of reasoning-gym's tasks is compared with its gold answer."""

NEEDS_METADATA = {name for name, check in GYM.items() if isinstance(check, Theirs)} | {
    "countdown", "cryptarithm", "n_queens", "propositional_logic", "puzzle24",
}  # fmt: skip
"""The tasks whose comparison reads the question's metadata besides the gold answer."""
