"""The miniature web: no held-out problem, every kind of page, and forms that are what they are called."""

from __future__ import annotations

import re
from itertools import islice

import pytest

from ponder.core.seeds import random_of
from ponder.core.thinking import TAGS, parse
from ponder.mini import corpus as module
from ponder.mini.attempts import METHODS
from ponder.mini.corpus import CHAT_END, CHAT_START, TEXT_END, Document, assert_no_held_out, documents
from ponder.mini.phrases import PHRASES
from ponder.tasks import KINDS, TASKS
from ponder.tasks.drawing import LANGUAGES, MiniTask, split_of
from ponder.verify.answers import extract
from tests.tasks.reading import Reading, read

COT = tuple(PHRASES[lang]["cot"] for lang in LANGUAGES)
ASKED = re.compile(
    rf"{re.escape(CHAT_START)}user\n(.*?)(?:\n(?:{'|'.join(map(re.escape, COT))}))?{re.escape(CHAT_END)}", re.S
)
PAGE = re.compile(rf"^(?:{'|'.join(PHRASES[lang]['question'] for lang in LANGUAGES)}) (.*)$", re.M)


def prompts_of(document: Document) -> list[str]:
    """The questions in a document, from its text alone."""
    return PAGE.findall(document.text) if document.form == "web" else ASKED.findall(document.text)


def reply_of(document: Document) -> str:
    return document.text.partition(f"{CHAT_START}assistant\n")[2].removesuffix(f"{CHAT_END}\n")


@pytest.fixture(scope="module")
def readings(corpus: list[Document]) -> list[list[Reading]]:
    return [[read(document.kind, prompt) for prompt in prompts_of(document)] for document in corpus]


def test_no_held_out_problem(corpus: list[Document], readings: list[list[Reading]]) -> None:
    written: dict[str, set[tuple[object, ...]]] = {}
    for document, read_here in zip(corpus, readings, strict=True):
        assert len(document.keys) == len(read_here) >= 1, document.text
        assert all(split_of(document.kind, key) == "train" for key in document.keys)
        assert_no_held_out(document)
        written.setdefault(document.kind, set()).update(reading.content for reading in read_here)
    for kind, contents in written.items():  # the same once more, from the questions' texts and not from their keys
        task = TASKS[kind]
        assert isinstance(task, MiniTask)
        rng = random_of("held out", kind)
        drawn = [task.draw(rng, at % 3 + 1) for at in range(2000)]
        held_out = {read(kind, p.prompt).content for p in drawn if split_of(kind, p.data["key"]) != "train"}
        assert len(held_out) > 5 and not held_out & contents
        assert {read(kind, p.prompt).content for p in drawn} & contents  # the comparison compares like with like


def test_a_held_out_problem_is_noticed(corpus: list[Document]) -> None:
    (problem,) = TASKS["countdown"].problems("test", 1)
    with pytest.raises(AssertionError, match="countdown"):
        assert_no_held_out(Document("text", "countdown", "web", "direct", (corpus[0].keys[0], problem.data["key"])))


def test_a_seed_is_a_corpus(corpus: list[Document]) -> None:
    assert list(islice(documents("tests"), 200)) == corpus[:200]
    other = list(islice(documents("tests 2"), 200))
    assert len({d.text for d in other} & {d.text for d in corpus[:200]}) < 10


def test_everything_occurs(corpus: list[Document], readings: list[list[Reading]]) -> None:
    size = len(corpus)
    assert {d.kind for d in corpus} == set(KINDS)
    assert {d.method for d in corpus} == set(METHODS)
    assert {d.form for d in corpus} == {"plain", "tagged", "broken", "web"}
    for form in ("plain", "tagged", "broken"):
        found = [d for d in corpus if d.form == form]
        assert {d.kind for d in found} == set(KINDS) and {d.method for d in found} == set(METHODS)
        assert len(found) > size / 25
    languages = [reading.lang for found in readings for reading in found]
    assert 0.15 < languages.count("de") / len(languages) < 0.45
    asked_to_think = sum(any(cot in d.text for cot in COT) for d in corpus)
    assert 0.02 < asked_to_think / size < 0.4
    assert len({d.text for d in corpus}) > 0.6 * size  # a web, not one page


def test_thoughts_are_mixed_in_language_now_and_then(corpus: list[Document], readings: list[list[Reading]]) -> None:
    """Language mixing is there to be seen, in both directions, and is not the rule."""
    mixed, plain = {"en": 0, "de": 0}, {"en": 0, "de": 0}
    for document, found in zip(corpus, readings, strict=True):
        lang = found[0].lang
        if document.form != "web" and document.method == "check":
            words = reply_of(document)
            other = PHRASES["en" if lang == "de" else "de"]["check"] in words
            assert other != (PHRASES[lang]["check"] in words)
            (mixed if other else plain)[lang] += 1
    for lang in LANGUAGES:
        assert 0.05 < mixed[lang] / (mixed[lang] + plain[lang]) < 0.45


def test_documents_end_with_their_end_token(corpus: list[Document]) -> None:
    for document in corpus:
        if document.form == "web":
            assert document.text.endswith(TEXT_END) and document.text.count(TEXT_END) == 1
            assert CHAT_START not in document.text and CHAT_END not in document.text
        else:
            assert document.text.endswith(f"{CHAT_END}\n") and document.text.count(CHAT_END) == 2
            assert document.text.startswith(f"{CHAT_START}user\n") and document.text.count(CHAT_START) == 2
            assert TEXT_END not in document.text


def test_tagged_replies_are_well_formed(corpus: list[Document], readings: list[list[Reading]]) -> None:
    right = {True: 0, False: 0}
    for document, (reading, *_) in zip(corpus, readings, strict=True):
        if document.form == "tagged":
            parsed = parse(reply_of(document))
            assert parsed.well_formed, (parsed.fault, document.text)
            right[reading.right(parsed.answer or "")] += 1
    assert min(right.values()) > 0.2 * sum(right.values())  # some are right, some wrong


def test_broken_replies_earn_nothing(corpus: list[Document], readings: list[list[Reading]]) -> None:
    """Where one is well formed after all, its answer is wrapped in words and so no answer."""
    faults: dict[str, int] = {}
    for document, (reading, *_) in zip(corpus, readings, strict=True):
        if document.form == "broken":
            reply = reply_of(document)
            fault = parse(reply).fault
            faults[fault] = faults.get(fault, 0) + 1
            answer = extract(reply)
            if fault:
                assert answer is None
            else:
                assert answer is not None and not reading.right(answer), document.text
    broken = sum(faults.values())
    assert len(faults) >= 5 and faults.get("", 0) < broken / 4


def test_plain_replies_have_no_tags_and_a_cue(corpus: list[Document], readings: list[list[Reading]]) -> None:
    for document, (reading, *_) in zip(corpus, readings, strict=True):
        if document.form in ("plain", "web"):
            assert not any(tag in document.text for tag in TAGS)
        if document.form == "plain":
            assert PHRASES[reading.lang]["answer"] in reply_of(document)
        if document.form == "web":
            assert PHRASES[reading.lang]["short_answer"] in document.text


def test_plain_answers_are_found_leniently(corpus: list[Document], readings: list[list[Reading]]) -> None:
    """What a direct answer says is what evaluation reads; a checked one is right."""
    for document, (reading, *_) in zip(corpus, readings, strict=True):
        if document.form == "plain" and document.method in ("check", "search"):
            answer = extract(reply_of(document), "lenient")
            refused = document.kind == "requests" and reading.content[0] == "harm"
            assert answer and reading.right(answer + "." * refused), document.text


def test_shares_add_up() -> None:
    assert sum(module.KIND_SHARES.values()) == pytest.approx(1) and set(module.KIND_SHARES) == set(KINDS)
    assert sum(module.FORM_SHARES.values()) == pytest.approx(1)
    for shares in module.METHOD_SHARES.values():
        assert sum(shares.values()) == pytest.approx(1) and set(shares) <= set(METHODS)


def test_phrases_are_the_same_in_both_languages() -> None:
    english, german = (PHRASES[lang] for lang in LANGUAGES)
    assert set(PHRASES) == set(LANGUAGES) and list(english) == list(german)
    for name in english:
        assert english[name].strip() == english[name] != german[name] == german[name].strip() != "", name
    for phrases in (english, german):  # told apart by the readers of a thought
        markers = [phrases[name] for name in ("check", "ok", "wrong", "wait", "yes", "no", "try", "nobody")]
        assert len(set(markers)) == len(markers)
