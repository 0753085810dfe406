"""Prompts: from a bare question to the text that a model continues.

A style is a row of `STYLES`. Those that begin with `chat` go through the tokenizer's own chat template; the others are
plain text, for base models without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase

from ponder.core.errors import PonderError
from ponder.core.types import Problem

COT = "Let's think step by step."
"""Zero-shot chain of thought (Kojima et al. 2022, arXiv 2205.11916)."""

COT_IN = {"en": COT, "de": "Denk Schritt für Schritt."}
"""The same by the language of the question, where the problem says it (`data["lang"]`)."""

R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., "
    "<think> reasoning process here </think> <answer> answer here </answer>. User: {question} Assistant:"
)
"""DeepSeek-R1 (arXiv 2501.12948), Table 1."""

STYLES: dict[str, str] = {
    "chat": "{question}",
    "chat-cot": "{question}\n{cot}",
    "qa": "Question: {question}\nAnswer:",
    "qa-cot": "Question: {question}\nAnswer: {cot}",
    "r1-zero": R1_ZERO,
}


def renderer(
    tokenizer: PreTrainedTokenizerBase, style: str, **template_arguments: Any
) -> Callable[[Problem | str], str]:
    """A function from a problem, or a bare question, to the prompt's text in `style`.

    template_arguments: passed on to the chat template (`enable_thinking=False`, say).
    Raises PonderError for an unknown style, or a chat style where the tokenizer has no chat template.
    """
    if style not in STYLES:
        raise PonderError(f"unknown prompt style {style!r}: one of {', '.join(STYLES)}")
    text = STYLES[style]
    if not style.startswith("chat"):
        return lambda asked: _filled(text, asked)
    if not tokenizer.chat_template:
        plain = ", ".join(s for s in STYLES if not s.startswith("chat"))
        raise PonderError(f"the tokenizer has no chat template for style {style!r}: use one of {plain}")

    def render(asked: Problem | str) -> str:
        message = {"role": "user", "content": _filled(text, asked)}
        return str(
            tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True, **template_arguments)
        )

    return render


def _filled(text: str, asked: Problem | str) -> str:
    question, lang = (asked, "en") if isinstance(asked, str) else (asked.prompt, str(asked.data.get("lang", "en")))
    return text.replace("{cot}", COT_IN.get(lang, COT)).replace("{question}", question)


def cot_style(style: str) -> str:
    """The chain-of-thought style that goes with `style`: what a trained model is compared with."""
    return {"chat": "chat-cot", "qa": "qa-cot", "r1-zero": "qa-cot"}.get(style, style)
