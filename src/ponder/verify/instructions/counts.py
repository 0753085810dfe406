"""Keywords, lengths and letters: the instructions that count something.

Each function takes the response and the instruction's arguments and says whether it is followed. `at least n` means
n or more, `less than n` fewer than n. Source: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language
Models", and google-research/instruction_following_eval, whose semantics are kept, quirks included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ponder.verify.instructions.sentences import count_capital_words, count_sentences, count_words

RELATIONS = ("at least", "less than")


def _holds(count: int, relation: str, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


def _literal(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(word), re.IGNORECASE)


def keywords_exist(text: str, *, keywords: Sequence[str]) -> bool:
    """Each keyword occurs, in any case, also inside a word."""
    return all(_literal(word).search(text) for word in keywords)


def keyword_frequency(text: str, *, keyword: str, frequency: int, relation: str) -> bool:
    """How often the keyword occurs, in any case, also inside a word."""
    return _holds(sum(1 for _ in _literal(keyword.strip()).finditer(text)), relation, frequency)


def forbidden_words(text: str, *, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs as a word of its own, in any case."""
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(text: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """How often the letter (or sign) occurs, in either case."""
    return _holds(text.lower().count(letter.strip().lower()), let_relation, let_frequency)


def number_sentences(text: str, *, num_sentences: int, relation: str) -> bool:
    """The number of sentences (`count_sentences`)."""
    return _holds(count_sentences(text), relation, num_sentences)


def number_words(text: str, *, num_words: int, relation: str) -> bool:
    """The number of words (`count_words`)."""
    return _holds(count_words(text), relation, num_words)


def number_paragraphs(text: str, *, num_paragraphs: int) -> bool:
    """Paragraphs divided by `***`; an empty one is allowed at either end, and not counted."""
    paragraphs = text.split("***")
    if any(not inner.strip() for inner in paragraphs[1:-1]):
        return False
    return sum(bool(paragraph.strip()) for paragraph in paragraphs) == num_paragraphs


def nth_paragraph_first_word(text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Paragraphs divided by a blank line; the nth (from 1) starts with the word, its punctuation left out."""
    paragraphs = text.split("\n\n")
    filled = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if nth_paragraph > filled:
        return False
    words = paragraphs[nth_paragraph - 1].split(maxsplit=1)
    if not words:
        return False
    bare = words[0].lstrip("'").lstrip('"')
    return filled == num_paragraphs and re.split(r"[.,?!'\"]", bare, maxsplit=1)[0].lower() == first_word.lower()


def capital_word_frequency(text: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """How many words are all capitals (`count_capital_words`)."""
    return _holds(count_capital_words(text), capital_relation, capital_frequency)
