"""Prompts: from a bare question to the text that a model continues.

A style is a row of `STYLES`. Those that begin with `chat` go through the tokenizer's own chat template; the others are
plain text, for base models without one. Styles in `FLAGS` ask for a mode, in both ways that templates know: a flag in
the system turn and the argument `enable_thinking`.
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
    "chat-think": "{question}",
    "chat-no-think": "{question}",
}

FLAGS = {"chat-think": "/think", "chat-no-think": "/no_think"}
"""What the system turn of a style says, so that a model of two modes (Qwen3, SmolLM3, `mini`) answers in that one."""


def renderer(
    tokenizer: PreTrainedTokenizerBase, style: str, **template_arguments: Any
) -> Callable[[Problem | str], str]:
    """A function from a problem, or a bare question, to the prompt's text in `style`.

    template_arguments: passed on to the chat template (`enable_thinking=False`, say).
    Raises PonderError for an unknown style, or a chat style where the tokenizer has no chat template, or none that
    knows the style's mode.
    """
    if style not in STYLES:
        raise PonderError(f"unknown prompt style {style!r}: one of {', '.join(STYLES)}")
    text = STYLES[style]
    if not style.startswith("chat"):
        return lambda asked: _filled(text, asked)
    if not tokenizer.chat_template:
        plain = ", ".join(s for s in STYLES if not s.startswith("chat"))
        raise PonderError(f"the tokenizer has no chat template for style {style!r}: use one of {plain}")
    if style in FLAGS:
        if not knows_modes(tokenizer):
            raise PonderError(
                f"the chat template knows no enable_thinking and no {FLAGS[style]}, which style {style!r} asks for; "
                "use style chat, or the tokenizer of a model with two modes"
            )
        template_arguments = {"enable_thinking": style == "chat-think", **template_arguments}

    def render(asked: Problem | str) -> str:
        return str(
            tokenizer.apply_chat_template(
                asked_in(style, asked), tokenize=False, add_generation_prompt=True, **template_arguments
            )
        )

    return render


def asked_in(style: str, asked: Problem | str) -> list[dict[str, str]]:
    """The messages that ask in a chat style: before an answer of its mode they make a row to train on."""
    system = [{"role": "system", "content": FLAGS[style]}] if style in FLAGS else []
    return [*system, {"role": "user", "content": _filled(STYLES[style], asked)}]


def knows_modes(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template reads `enable_thinking` or the flags."""
    template = tokenizer.chat_template
    text = " ".join(template.values()) if isinstance(template, dict) else str(template or "")
    return "enable_thinking" in text or "/no_think" in text


def _filled(text: str, asked: Problem | str) -> str:
    question, lang = (asked, "en") if isinstance(asked, str) else (asked.prompt, str(asked.data.get("lang", "en")))
    return text.replace("{cot}", COT_IN.get(lang, COT)).replace("{question}", question)


def cot_style(style: str) -> str:
    """The chain-of-thought style that goes with `style`: what a trained model is compared with."""
    return {"chat": "chat-cot", "qa": "qa-cot", "r1-zero": "qa-cot"}.get(style, style)
