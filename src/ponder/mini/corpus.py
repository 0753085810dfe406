"""The miniature web: what the embedded base model is pre-trained on.

Each document is a question of the train split with an answer in some method and some form, drawn from the shares below:
a small web in which most answers are direct or a single pass and often wrong, some are checked or searched, some stand
in think / answer tags, well or badly formed, in two languages, sometimes mixed. No validation or test problem is ever
written (`Document.keys` are asserted against the split).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from ponder.core.seeds import random_of
from ponder.core.types import Problem
from ponder.mini.attempts import Attempt, attempt
from ponder.mini.phrases import PHRASES
from ponder.tasks import SEARCH_LIKE, TASKS
from ponder.tasks.drawing import MiniTask, split_of

CHAT_START, CHAT_END, TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

KIND_SHARES = {
    "arithmetic": 0.12, "equations": 0.1, "word_problems": 0.09, "countdown": 0.19, "factors": 0.17, "ordering": 0.16,
    "requests": 0.09, "functions": 0.08,
}  # fmt: skip
FORM_SHARES = {"plain": 0.44, "tagged": 0.28, "broken": 0.28}
METHOD_SHARES = {  # by form: how the answer is found
    "plain": {"direct": 0.5, "steps": 0.3, "tries": 0.06, "search": 0.14},
    "tagged": {"direct": 0.1, "steps": 0.5, "tries": 0.12, "search": 0.28},
    "broken": {"direct": 0.2, "steps": 0.5, "tries": 0.1, "search": 0.2},
    "cot": {"direct": 0.0, "steps": 0.65, "tries": 0.1, "search": 0.25},
    "web": {"direct": 0.08, "steps": 0.17, "tries": 0.05, "search": 0.7},
}
"""Conversations are mostly careless; pages of worked problems ("web") are mostly careful. The skill of checking and
searching is learnt from the pages, the habit of not using it from the conversations, and habit is what RL changes."""

COT_SHARE, WEB_SHARE, MIXED_SHARE = 0.15, 0.35, 0.2
LEVEL_SHARES = (0.47, 0.49, 0.04)


@dataclass(frozen=True)
class Document:
    """text: what is trained on, end token included. kind, form, method: how it came about. keys: its problems."""

    text: str
    kind: str
    form: str
    method: str
    keys: tuple[str, ...]


def documents(seed: str) -> Iterator[Document]:
    """The corpus `seed`, without end; the same seed gives the same documents."""
    rng = random_of("mini-corpus", seed)
    while True:
        yield _web_page(rng) if rng.random() < WEB_SHARE else _conversation(rng)


def _train_problem(rng: random.Random, kind: str) -> Problem:
    task = TASKS[kind]
    assert isinstance(task, MiniTask)
    while True:
        level = rng.choices((1, 2, 3), LEVEL_SHARES)[0]
        problem = task.draw(rng, level)
        if split_of(kind, problem.data["key"]) == "train":
            return problem


def _kind(rng: random.Random) -> str:
    return rng.choices(tuple(KIND_SHARES), tuple(KIND_SHARES.values()))[0]


def _method(rng: random.Random, form: str, kind: str) -> str:
    shares = METHOD_SHARES[form]
    method = rng.choices(tuple(shares), tuple(shares.values()))[0]
    if kind not in SEARCH_LIKE and method in ("tries", "search"):
        return "check"
    return method


def _attempt(rng: random.Random, problem: Problem, method: str) -> Attempt:
    lang = problem.data["lang"]
    other = "de" if lang == "en" else "en"
    return attempt(problem, method, rng, other if rng.random() < MIXED_SHARE else lang)


def _conversation(rng: random.Random) -> Document:
    kind = _kind(rng)
    problem = _train_problem(rng, kind)
    say = PHRASES[problem.data["lang"]]
    form = rng.choices(tuple(FORM_SHARES), tuple(FORM_SHARES.values()))[0]
    asked = problem.prompt
    if rng.random() < COT_SHARE:
        method = _method(rng, "cot", kind)
        form = rng.choices(("plain", "tagged", "broken"), (0.7, 0.15, 0.15))[0]
        asked = f"{asked}\n{say['cot']}"
    else:
        method = _method(rng, form, kind)
    found = _attempt(rng, problem, method)
    reply = _reply(rng, found, form, say)
    text = f"{CHAT_START}user\n{asked}{CHAT_END}\n{CHAT_START}assistant\n{reply}{CHAT_END}\n"
    return Document(text, kind, form, method, (problem.data["key"],))


def _web_page(rng: random.Random) -> Document:
    """One to three questions of a kind with their answers, in plain text, all in one method."""
    kind = _kind(rng)
    method = _method(rng, "web", kind)
    parts, keys = [], []
    for _ in range(rng.randint(1, 3)):
        problem = _train_problem(rng, kind)
        say = PHRASES[problem.data["lang"]]
        found = _attempt(rng, problem, method)
        lines = "".join(f"{line}\n" for line in found.lines)
        parts.append(f"{say['question']} {problem.prompt}\n{lines}{say['short_answer']} {found.answer}\n")
        keys.append(problem.data["key"])
    return Document("\n".join(parts) + TEXT_END, kind, "web", method, tuple(keys))


def _reply(rng: random.Random, found: Attempt, form: str, say: dict[str, str]) -> str:
    lines = "\n".join(found.lines)
    if form == "plain":
        close = f"{say['answer']} {found.answer.rstrip('.')}."
        return f"{lines}\n{close}" if lines else close
    thought = lines or rng.choice((say["guess"], say["easy"]))
    answer = found.answer.rstrip(".")
    good = f"<think>\n{thought}\n</think>\n<answer>{found.answer}</answer>"
    if form == "tagged":
        return good
    return rng.choice(
        (
            f"<think>\n{thought}\n<answer>{found.answer}</answer>",
            f"<think>\n{thought}\n</think>\n{say['answer']} {answer}.",
            f"<think>\n{thought}\n{say['answer']} {answer}.\n</think>",
            f"{thought}\n<answer>{found.answer}</answer>",
            f"{good}\n{say['after']}",
            f"{good}\n{good}",
            f"<think>\n{thought}\n</think>\n<answer>{say['answer']} {answer}.</answer>",
        )
    )


def assert_no_held_out(document: Document) -> None:
    """Raise AssertionError if a document holds a validation or test problem."""
    for key in document.keys:
        assert split_of(document.kind, key) == "train", (document.kind, key)

