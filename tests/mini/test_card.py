"""The model's card has the figures of this very model."""

from __future__ import annotations

from ponder.mini.card import card


def test_the_figures_are_in_it() -> None:
    row = {"correct": 0.11, "correct_lenient": 0.22, "well_formed": 0.33}
    measured = {
        "sampled": {"countdown": row, "all": {**row, "correct": 0.12}},
        "greedy": {"countdown": {**row, "correct_lenient": 0.44}, "all": {**row, "correct_lenient": 0.45}},
        "cot-greedy": {"countdown": {**row, "correct_lenient": 0.55}, "all": row},
        "styles": [{"task": "countdown", "style": "one pass", "share": 0.66, "right": 0.77, "tokens": 88.4}],
    }
    trained = {"parameters": 1_234_567, "num_tokens": 13_600_000, "loss": 0.1234, "mean_loss": 0.4567}
    text = card({"layers": 4, "hidden": 128}, trained, measured)
    assert text.startswith("---\nlicense: apache-2.0\n")
    for wanted in (
        "1.23 M parameters", "4 layers of width 128", "13.6 M tokens", "0.457 nats", "1 kinds",
        "| countdown | 0.11 | 0.22 | 0.33 | 0.44 | 0.55 |", "| all | 0.12 | 0.22 | 0.33 | 0.45 | 0.22 |",
        "| countdown | one pass | 0.66 | 0.77 | 88 |",
    ):  # fmt: skip
        assert wanted in text, wanted
