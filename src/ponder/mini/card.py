"""The embedded model's card: what it was trained on, how far, what it can do, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def card(settings: Mapping[str, Any], trained: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """Markdown with the figures of this very model: parameters, tokens, loss, accuracies by kind and by style."""
    kinds = [kind for kind in measured["sampled"] if kind != "all"]
    rows = "\n".join(
        f"| {kind} | {measured['sampled'][kind]['correct']:.2f} | {measured['sampled'][kind]['correct_lenient']:.2f} "
        f"| {measured['sampled'][kind]['well_formed']:.2f} | {measured['greedy'][kind]['correct_lenient']:.2f} "
        f"| {measured['cot-greedy'][kind]['correct_lenient']:.2f} |"
        for kind in [*kinds, "all"]
    )
    styles = "\n".join(
        f"| {s['task']} | {s['style']} | {s['share']:.2f} | {s['right']:.2f} | {s['tokens']:.0f} |"
        for s in measured["styles"]
    )
    recipe = "mini-base" if settings["hidden"] == 128 else "mini-small"
    return f"""---
license: apache-2.0
library_name: transformers
language: [en, de]
---
# Ponder's embedded base model

A Qwen3 of {trained['parameters'] / 1e6:.2f} M parameters ({settings['layers']} layers of width {settings['hidden']},
float32, 1,024 tokens of byte-level BPE, context 512), pre-trained from nothing on the miniature web: generated
questions of eight kinds in English and German (small Python functions are one), answered
directly, in steps, with checks, by trying, in plain text and in think / answer tags, right and wrong. It is a base
model: it imitates that web, mistakes included, and is meant to be trained further.

- **Corpus:** `ponder.mini.corpus`, train split only; validation and test problems never occur in it (asserted for every
  document). {trained['num_tokens'] / 1e6:.1f} M tokens seen, loss {trained['mean_loss']:.3f} nats a token at the end.
- **Made by:** `ponder run {recipe}`.
- **Licence:** Apache-2.0, weights and corpus. Nobody's data was used.

## Accuracy on {len(kinds)} kinds, validation problems

| kind | sampled, strict | sampled, lenient | well formed | greedy, lenient | greedy, chain-of-thought prompt |
|---|---|---|---|---|---|
{rows}

## What pays: P(right | style) of samples at temperature 1, read leniently

| kind | style | share | right | tokens |
|---|---|---|---|---|
{styles}
"""
