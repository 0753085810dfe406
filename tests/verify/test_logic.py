"""Orders, truth-tellers and countdown expressions: what is right, and everything else is wrong."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations, product
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.verify.countdown import verify_countdown
from ponder.verify.logic import verify_ordering, verify_truth_tellers

NAMES = ["Ann", "Bob", "Cid"]
ORDERS = [
    ('Ann, Bob, Cid', NAMES), ('Ann > Bob > Cid', NAMES), ('1. Ann\n2. Bob\n3. Cid', NAMES),
    ('Ann, Bob and Cid', NAMES), ('Ann, Bob, and Cid.', NAMES), ('Ann, dann Bob, dann Cid', NAMES),
    ('ann, bob, cid', NAMES), ('The order is: Ann, Bob, Cid.', NAMES),
    ('<think>Bob, Ann, Cid</think><answer>Ann, Bob, Cid</answer>', NAMES),
    ('\\boxed{\\text{Ann, Bob, Cid}}', NAMES), ('\\boxed{\\text{Ann} > \\text{Bob} > \\text{Cid}}', NAMES),
    ('Ann → Bob → Cid', NAMES), ('Ann -> Bob -> Cid', NAMES), ('Cid < Bob < Ann', 'Ann > Bob > Cid'),
    ('We try Bob, Ann, Cid but that fails. So the order is Ann, Bob, Cid.', NAMES),
    ('So, Ann, Bob, Cid.', NAMES), ('**1st:** Ann\n**2nd:** Bob\n**3rd:** Cid', NAMES),
    ('- Ann (tallest)\n- Bob\n- Cid (shortest)', NAMES),
    ('The final order from tallest to shortest is:\n\n1. **Ann**\n2. **Bob**\n3. **Cid**', NAMES),
    ('Die Reihenfolge ist Ann, Bob und Cid.', NAMES), ('Ann is first, Bob is second, Cid is third', NAMES),
    ("['Ann', 'Bob', 'Cid']", NAMES), ('["Ann", "Bob", "Cid"]', NAMES), ('1) Ann 2) Bob 3) Cid', NAMES),
    ('A, B, C', ['A', 'B', 'C']), ('A > B > C', ['A', 'B', 'C']),
    ('red, green, blue', ['red', 'green', 'blue']), ('Ann > Bob, Bob > Cid', NAMES),
    ('Ann, Bob, Cid.\n\nHope that helps! Bob and Cid are close.', NAMES),
    ('<answer>Ann, Bob, Cid</answer> or Bob, Ann, Cid', NAMES),
]  # fmt: skip
OTHER_ORDERS = [
    ('Bob, Ann, Cid', NAMES), ('Ann, Bob', NAMES), ('Ann, Bob, Cid, Dan', NAMES), ('Dan, Ann, Bob, Cid', NAMES),
    ('Ann, Bob, Bob, Cid', NAMES), ('Ann < Bob < Cid', 'Ann > Bob > Cid'), ('Ann > Bob < Cid', NAMES),
    ('Ann, Bob, Cid or Bob, Ann, Cid', NAMES), ('Bob, Ann, Cid or Ann, Bob, Cid', NAMES),
    ('<answer>Ann, Bob, Cid\nBob, Ann, Cid</answer>', NAMES), ('', NAMES), ("I don't know", NAMES),
    ('Ann is taller than Bob.', NAMES), ('<answer>red, green, blue, black</answer>', ['red', 'green', 'blue']),
    ('Annabel, Bob, Cid', NAMES),
]  # fmt: skip


@pytest.mark.parametrize(("pred", "gold"), ORDERS)
def test_right_orders(pred: str, gold: Any) -> None:
    verdict = verify_ordering(pred, gold)
    assert verdict.correct is True and verdict.method == "ordering", verdict


@pytest.mark.parametrize(("pred", "gold"), OTHER_ORDERS)
def test_wrong_orders(pred: str, gold: Any) -> None:
    verdict = verify_ordering(pred, gold)
    assert verdict.correct is False and verdict.note, verdict


@pytest.mark.parametrize("shape", [", ".join, " > ".join, " -> ".join, "\n".join, " and ".join, ", then ".join])
def test_of_all_orders_one_is_right(shape: Any) -> None:
    people = ["Ann", "Bob", "Cara", "Dan"]
    right = [order for order in permutations(people) if verify_ordering(shape(order), people).correct]
    assert right == [tuple(people)]


@pytest.mark.parametrize("gold", ["", "Ann", ["Ann"], ["Ann", "ann"], []])
def test_an_order_needs_two_names(gold: Any) -> None:
    with pytest.raises(PonderError, match="must name two or more, each once"):
        verify_ordering("Ann", gold)


TWO = {"A": True, "B": False}
THREE = {"Zoey": True, "Jack": False, "Mia": True}
ROLES = [
    ('A is a knight, B is a knave', TWO), ('A is a knight and B is a knave.', TWO),
    ('A: knight, B: knave', TWO), ('A = knight\nB = knave', TWO),
    ('| Person | Role |\n|---|---|\n| A | Knight |\n| B | Knave |', TWO), ('Knights: A. Knaves: B.', TWO),
    ('Knights: A\nKnaves: B', TWO), ('A is a truth-teller and B is a liar', TWO),
    ('A tells the truth, B lies', TWO), ('A ist ein Ritter, B ist ein Schurke', TWO),
    ('A sagt die Wahrheit, B lügt.', TWO), ('A ist Wahrheitssager und B ist Lügner', TWO),
    ('A is not a knave, B is not a knight', TWO), ('<answer>A is a knight, B is a knave</answer>', TWO),
    ('\\boxed{A \\text{ is a knight}, B \\text{ is a knave}}', TWO),
    ('\\boxed{\\text{A is a knight and B is a knave}}', TWO),
    ('Zoey is a saint, Jack is a sinner, and Mia is a saint.', THREE),
    ('Zoey and Mia are saints, and Jack is a sinner.', THREE),
    ('Zoey and Mia are knights while Jack is a knave.', THREE), ('Saints: Zoey, Mia; Sinners: Jack', THREE),
    ('The knights are Zoey and Mia. The knave is Jack.', THREE),
    ('Zoey (knight), Jack (knave), Mia (knight)', THREE),
    ('If Jack is a knight, then Zoey lies. That is impossible. '
     'So Jack is a knave, Zoey is a knight and Mia is a knight.', THREE),
    ('Jack says Zoey is a knave. Zoey is a knight. Jack is a knave. Mia is a knight.', THREE),
    ('Assume Jack is a knight. '
     'Contradiction.\n\nJack is a knight?\n\nTherefore Zoey is a knight, Jack is a knave, Mia is a knight.', THREE),
    ('- **Zoey**: Knight\n- **Jack**: Knave\n- **Mia**: Knight', THREE),
    ('Zoey: True, Jack: False, Mia: True', THREE), ('Zoey ist ehrlich, Jack lügt und Mia ist ehrlich', THREE),
    ('Zoey ist keine Lügnerin, Jack ist ein Lügner, Mia ist ein Ritter', THREE),
    ('zoey is a knight, jack is a knave, mia is a knight', THREE), ('All are knights', {'A': True, 'B': True}),
    ('Everyone is a knave.', {'A': False, 'B': False}),
    ('Neither A nor B is a knight', {'A': False, 'B': False}),
    ('A and B are both knaves', {'A': False, 'B': False}), ('A and B are knights', {'A': True, 'B': True}),
    ('Alle lügen', {'A': False, 'B': False}), ("A isn't a knight, B is a knight", {'A': False, 'B': True}),
    ('Both are knights.', {'A': True, 'B': True}), ('Beide lügen.', {'A': False, 'B': False}),
    ('Only A is a knight; B is a knave', TWO), ('A is a knight, whereas B is a knave', TWO),
    ('A is the knight and B the knave', TWO),
]  # fmt: skip
OTHER_ROLES = [
    ('A is a knave, B is a knight', TWO), ('A is a knight', TWO),
    ('A is a knight, B is a knave, C is a knight', TWO), ('A is a knight. A is a knave. B is a knave.', TWO),
    ('Either A is a knight and B is a knave, or A is a knave and B is a knight', TWO),
    ('A is a knight or a knave, B is a knave', TWO), ('Both are knights', TWO),
    ('<answer>A is a knight, B is a knave. A is a knave, B is a knave.</answer>', TWO),
    ('Zoey is a saint, Jack is a sinner, and Mia is a sinner.', THREE),
    ('Zoey is a saint, Jack is a sinner, Mia is a saint, and Tom is a saint.', THREE),
    ('Case 1: Zoey is a knight, Jack is a knave, Mia is a knight.\n\n'
     'Case 2: Zoey is a knave, Jack is a knave, Mia is a knight.', THREE),
    ('Case 1: Zoey is a knave, Jack is a knave, Mia is a knight.\n\n'
     'Case 2: Zoey is a knight, Jack is a knave, Mia is a knight.', THREE),
    ('', THREE), ('knight knave knight', THREE),
    ('Zoey is a knight/knave, Jack is a knight/knave, and Mia is a knight/knave', THREE),
]  # fmt: skip


@pytest.mark.parametrize(("pred", "gold"), ROLES)
def test_right_roles(pred: str, gold: dict[str, bool]) -> None:
    verdict = verify_truth_tellers(pred, gold)
    assert verdict.correct is True and verdict.method == "truth-tellers", verdict


@pytest.mark.parametrize(("pred", "gold"), OTHER_ROLES)
def test_wrong_roles(pred: str, gold: dict[str, bool]) -> None:
    assert verify_truth_tellers(pred, gold).correct is False


def test_of_all_assignments_one_is_right() -> None:
    for values in product([True, False], repeat=3):
        said = dict(zip(THREE, values, strict=True))
        for truthful, lying in (("knight", "knave"), ("truth-teller", "liar"), ("saint", "sinner")):
            text = ", ".join(f"{name} is a {truthful if value else lying}" for name, value in said.items())
            assert verify_truth_tellers(text, THREE).correct == (said == THREE), text


def test_gold_roles_may_be_words_a_text_or_named() -> None:
    assert verify_truth_tellers("A is a knight, B is a knave", {"A": "truth-teller", "B": "liar"}).correct
    assert verify_truth_tellers("A is a hero, B is a villain", "A is a knight, and B is a knave.").correct
    assert verify_truth_tellers("A is a dalek, B is a doctor", TWO, roles=("dalek", "doctor")).correct
    assert not verify_truth_tellers("A is a dalek, B is a doctor", TWO).correct
    for gold in ({"A": "banana"}, {}, "nobody knows"):
        with pytest.raises(PonderError):
            verify_truth_tellers("A is a knight", gold)


NUMBERS = [3, 4, 6]
EXPRESSIONS = [
    ('3+4+6', 13), ('<answer>3 + 4 + 6 = 13</answer>', 13), ('\\boxed{6\\times 4-3}', 21), ('6*4-3=21', 21),
    ('\\boxed{\\frac{6}{3}\\cdot 4}', 8), ('6/3*4', 8), ('6 ÷ 3 × 4 = 8', 8), ('The answer is: (6/3)*4', 8),
    ('<think>3+4+6</think> 6 x 4 - 3', 21), ('(6*4)-3 = 24-3 = 21', 21), ('6*4-3.', 21), ('$6*4-3$', 21),
    ('**6*4-3**', 21), ('`6*4-3`', 21), ('[6*4]-3', 21), ('21 = 6*4-3', 21),
]  # fmt: skip
OTHER_EXPRESSIONS = [
    ('(3-4+6)*1', 5), ('6*4-3=22', 21), ('6*4', 24), ('6*4*1', 24), ("__import__('os')", 8), ('9**9**9', 8),
    ('6*4-3 or 3+4', 21), ('', 1), ('21', 21), ('6*4-3*0', 24), ('63+4-6', 61),
]  # fmt: skip


@pytest.mark.parametrize(("pred", "target"), EXPRESSIONS)
def test_right_expressions(pred: str, target: int) -> None:
    verdict = verify_countdown(pred, NUMBERS, target)
    assert verdict.correct is True and verdict.method == "countdown", verdict


@pytest.mark.parametrize(("pred", "target"), OTHER_EXPRESSIONS)
def test_wrong_expressions(pred: str, target: int) -> None:
    verdict = verify_countdown(pred, NUMBERS, target)
    assert verdict.correct is False and verdict.note, verdict


def test_numbers_may_be_left_out_where_that_is_asked_for() -> None:
    assert not verify_countdown("6*4", NUMBERS, 24).correct
    assert verify_countdown("6*4", NUMBERS, 24, use_all=False).correct
    assert not verify_countdown("6*4+3-3", NUMBERS, 24, use_all=False).correct
    assert verify_countdown("3+3*4", [3, 3, 4], 15).correct and not verify_countdown("3*4+3", [3, 4, 4], 15).correct
    assert verify_countdown("4/6+3", NUMBERS, Fraction(11, 3)).correct


@pytest.mark.parametrize(
    ("numbers", "target"), [([], 1), ("346", 1), ([1, "2"], 3), ([1, -2], 3), ([1, 2], 1.5), ([1], True)]
)
def test_a_countdown_row_without_sense_is_refused(numbers: Any, target: Any) -> None:
    with pytest.raises(PonderError, match="countdown"):
        verify_countdown("1", numbers, target)


def test_unknown_forms_are_refused() -> None:
    for call in (
        lambda: verify_ordering("Ann, Bob", ["Ann", "Bob"], form="x"),
        lambda: verify_truth_tellers("A is a knight", TWO, form="x"),
        lambda: verify_countdown("1", [1], 1, form="x"),
    ):
        with pytest.raises(PonderError, match="unknown form 'x'"):
            call()
