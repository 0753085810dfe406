"""Finding the answer: strictly as training reads it, leniently as evaluation may."""

from __future__ import annotations

import pytest

from ponder.verify.answers import CUES, extract

GOOD = "<think>\n2*5=10\n</think>\n<answer>27</answer>"

STRICT = [
    (GOOD, "27"),
    ("<think>a</think><answer> x = 5 </answer>", "x = 5"),
    ("<think>a</think>\n<answer>two\nlines</answer>\n", "two\nlines"),
    ("<think>a</think><answer>\\boxed{5}</answer>", "\\boxed{5}"),
    ("27", None),
    ("<answer>27</answer>", None),
    ("<think>a</think>27", None),
    ("<think>a</think><answer>27", None),
    ("<think>a</think><answer></answer>", None),
    ("<think></think><answer>27</answer>", None),
    ("<think>a<answer>27</answer>", None),
    ("<think>a</think><answer>27</answer> Hope that helps!", None),
    ("<think>a</think><answer>26</answer><answer>27</answer>", None),
    ("<think>a</think>so<answer>27</answer>", None),
    ("Well <think>a</think><answer>27</answer>", None),
    ("<think>a</think><answer>2<answer>7</answer></answer>", None),
    ("<think>a <answer>26</answer></think><answer>27</answer>", None),
    ("<answer>27</answer><think>a</think>", None),
    ("<THINK>a</THINK><ANSWER>27</ANSWER>", None),
    ("The answer is 27.", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "answer"), STRICT)
def test_strict(text: str, answer: str | None) -> None:
    assert extract(text) == extract(text, "strict") == answer


def test_strict_where_the_prompt_opened_the_thought() -> None:
    assert extract("a</think><answer>27</answer>", opened=True) == "27"
    assert extract("a</think><answer>27</answer>") is None
    assert extract(GOOD, opened=True) == "27"  # opened it again: forgiven
    assert extract("</think><answer>27</answer>", opened=True) is None


LENIENT = [
    (GOOD, "27"),
    ("<think>a</think><answer>27", "27"),
    ("<think>a<answer>27</answer>", "27"),
    ("<answer>26</answer> wait <answer>27</answer>", "27"),
    ("<think>so <answer>27</think>", "27"),
    ("<answer>The answer is 27.</answer>", "27"),
    ("<answer>Die Antwort ist 27.</answer>", "27"),
    ("<answer>x = 5</answer>", "x = 5"),
    ("<answer></answer> so \\boxed{27}", "27"),
    ("so \\boxed{26}, no: \\boxed{27}.", "27"),
    ("so \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"),
    ("so \\boxed{ {a} {b{c}} }", "{a} {b{c}}"),
    ("\\boxed{27", "27"),
    ("The answer is 27.", "27"),
    ("the ANSWER is: 27", "27"),
    ("**Answer:** 27", "27"),
    ("The answer is **27**.", "27"),
    ("Die Antwort ist 27.", "27"),
    ("Antwort: 27\nFrage: Was ist 3?", "27"),
    ("Answer: 26\nAnswer: 27\n", "27"),
    ("Answer:\n27\n28", "27"),
    ("2+25=27\n#### 27", "27"),
    ("The answer is Ann.", "Ann"),
    ("The answer is I cannot help with that.", "I cannot help with that"),
    ("The answer is 27.</think>", "27"),
    ("İİİ: the answer is 27.", "27"),  # their lower case is longer
    ("first 3, then 27 apples", "27"),
    ("it is -27", "-27"),
    ("30-3", "3"),
    ("(30)-3", "3"),
    ("so 1,234 in all", "1,234"),
    ("so 12.50 in all.", "12.50"),
    ("12,3456", "3456"),
    ("Ann is taller.\nIt is Ann.", "It is Ann"),
    ("<think>Ann</think>\nAnn", "Ann"),
    ("Answer:\r\n27\r\n", "27"),
    ("", None),
    ("  \n ", None),
    (" . ", None),
]


@pytest.mark.parametrize(("text", "answer"), LENIENT)
def test_lenient(text: str, answer: str | None) -> None:
    assert extract(text, "lenient") == answer


def test_tags_go_before_boxes_before_cues_before_numbers() -> None:
    pieces = ["3 men", "The answer is 4.", "\\boxed{5}", "<answer>6</answer>"]
    for order in (pieces, pieces[::-1]):
        for left, wanted in ((4, "6"), (3, "5"), (2, "4"), (1, "3")):
            text = "\n".join(piece for piece in order if piece in pieces[:left])
            assert extract(text, "lenient") == wanted, text


def test_what_is_well_formed_is_read_alike() -> None:
    for text, answer in STRICT:
        if answer is not None and "boxed" not in text:
            assert extract(text, "lenient") == answer


def test_cues_are_lower_case() -> None:
    assert all(cue == cue.lower() for cue in CUES)


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="unknown mode 'loose': one of strict, lenient"):
        extract("27", "loose")
