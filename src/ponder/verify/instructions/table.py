"""The table of the 25 instructions of IFEval: which function checks each, and which arguments it must be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ponder.verify.instructions import counts, forms
from ponder.verify.instructions.language import CODES, detect

Checker = Callable[..., bool]


def response_language(text: str, *, language: str) -> bool:
    """Most of the text is in the language; a text without letters passes, as in the reference."""
    found = detect(text)
    return found is None or found == language.removesuffix("-cn").removesuffix("-tw")


def english_capital(text: str) -> bool:
    """English, without a small letter."""
    return text.isupper() and detect(text) == "en"


def english_lowercase(text: str) -> bool:
    """English, without a capital letter."""
    return text.islower() and detect(text) == "en"


LANGUAGES = CODES | {"zh-cn", "zh-tw"}
INSTRUCTIONS: dict[str, tuple[Checker, dict[str, str]]] = {
    "change_case:capital_word_frequency": (
        counts.capital_word_frequency, {"capital_frequency": "count", "capital_relation": "relation"},
    ),
    "change_case:english_capital": (english_capital, {}),
    "change_case:english_lowercase": (english_lowercase, {}),
    "combination:repeat_prompt": (forms.repeat_prompt, {"prompt_to_repeat": "text"}),
    "combination:two_responses": (forms.two_responses, {}),
    "detectable_content:number_placeholders": (forms.number_placeholders, {"num_placeholders": "count"}),
    "detectable_content:postscript": (forms.postscript, {"postscript_marker": "text"}),
    "detectable_format:constrained_response": (forms.constrained_response, {}),
    "detectable_format:json_format": (forms.json_format, {}),
    "detectable_format:multiple_sections": (
        forms.multiple_sections, {"section_spliter": "text", "num_sections": "count"},
    ),
    "detectable_format:number_bullet_lists": (forms.number_bullets, {"num_bullets": "count"}),
    "detectable_format:number_highlighted_sections": (forms.number_highlights, {"num_highlights": "count"}),
    "detectable_format:title": (forms.title, {}),
    "keywords:existence": (counts.keywords_exist, {"keywords": "texts"}),
    "keywords:forbidden_words": (counts.forbidden_words, {"forbidden_words": "texts"}),
    "keywords:frequency": (
        counts.keyword_frequency, {"keyword": "text", "frequency": "count", "relation": "relation"},
    ),
    "keywords:letter_frequency": (
        counts.letter_frequency, {"letter": "letter", "let_frequency": "count", "let_relation": "relation"},
    ),
    "language:response_language": (response_language, {"language": "language"}),
    "length_constraints:nth_paragraph_first_word": (
        counts.nth_paragraph_first_word,
        {"num_paragraphs": "count", "nth_paragraph": "position", "first_word": "text"},
    ),
    "length_constraints:number_paragraphs": (counts.number_paragraphs, {"num_paragraphs": "count"}),
    "length_constraints:number_sentences": (
        counts.number_sentences, {"num_sentences": "count", "relation": "relation"},
    ),
    "length_constraints:number_words": (counts.number_words, {"num_words": "count", "relation": "relation"}),
    "punctuation:no_comma": (forms.no_comma, {}),
    "startend:end_checker": (forms.end_checker, {"end_phrase": "text"}),
    "startend:quotation": (forms.quotation, {}),
}  # fmt: skip
"""Instruction id -> (function, argument -> what it must be; see `fits`)."""

ARGUMENTS = frozenset(name for _, needed in INSTRUCTIONS.values() for name in needed)


def fits(value: Any, wanted: str) -> str:
    """What is wrong with an argument, in a few words; "" where it is as wanted.

    count: a whole number of 0 or more (also 3.0, as tables store it). position: the same from 1. text: not blank.
    texts: a list of such, not empty. letter: one sign. relation: "at least" or "less than". language: a known code.
    """
    if wanted in ("count", "position"):
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        least = 0 if wanted == "count" else 1
        return "" if whole and least <= value < 10**9 else f"must be a whole number of {least} or more"
    if wanted == "texts":
        good = isinstance(value, list | tuple) and value and all(isinstance(one, str) and one.strip() for one in value)
        return "" if good else "must be a list of words"
    if not isinstance(value, str) or not value.strip():
        return "must be a text that is not blank"
    if wanted == "letter":
        return "" if len(value.strip()) == 1 else "must be one letter"
    if wanted == "relation":
        return "" if value in counts.RELATIONS else f"must be one of {', '.join(counts.RELATIONS)}"
    if wanted == "language":
        return "" if value in LANGUAGES else f"must be one of {', '.join(sorted(LANGUAGES))}"
    return ""
