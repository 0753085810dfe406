"""Reward models against the libraries that are used elsewhere, on the same rows and the same model.

Outcome models: TRL's `RewardTrainer.compute_loss` runs as it is, on an object that holds only what it reads, with TRL's
own collator. Process models: TRL's PRM trainer (it left TRL before 1.16) trains a token classifier by transformers'
own loss, cross-entropy over two labels at each step's last token; with logits (0, x) that is what we minimise over x.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.loss.loss_utils import ForTokenClassification

from ponder.models.scorers import outcome_scores, step_logits, tokens_of, tokens_of_steps
from ponder.objectives.scoring import label_loss, pair_loss

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from reward_world import SEPARATOR, outcome, pairs, process, stepwise


class Accelerator:
    """One process."""

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        return value

    gather_for_metrics = gather


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys() and left
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("center", [None, 0.01])
def test_pairs_are_trls(center):
    module = pytest.importorskip("trl.trainer.reward_trainer")
    head, rows = outcome(), pairs(12)
    trainer: Any = object.__new__(module.RewardTrainer)
    trainer.model, trainer.accelerator = head.model, Accelerator()
    trainer.args = SimpleNamespace(center_rewards_coefficient=center)
    trainer._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    trainer._total_train_tokens, trainer._tp_size = 0, 1
    tokens = [[tokens_of(head.tokenizer, r.prompt, side) for side in (r.chosen, r.rejected)] for r in rows]
    # TRL's rows of text: prompt, completion, and the end token where it is not there.
    plain = lambda r, side: head.tokenizer(r.prompt + side + head.tokenizer.eos_token).input_ids  # noqa: E731
    batch = module.DataCollatorForPreference(pad_token_id=0)(
        [{"chosen_ids": plain(r, r.chosen), "rejected_ids": plain(r, r.rejected)} for r in rows]
    )
    theirs = trainer.compute_loss(head.model, dict(batch))
    theirs.backward()
    wanted = gradients(head.model)
    # Ours in two micro-batches, each padded to its own length.
    ours = 0.0
    for part in (tokens[:5], tokens[5:]):
        scores = outcome_scores(head.model, [row[0] for row in part] + [row[1] for row in part])
        share = pair_loss(*scores.chunk(2), len(rows), center or 0.0)
        share.backward()
        ours += share.item()
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    same(gradients(head.model), wanted)
    assert trainer._metrics["eval"]["accuracy"][0] == pytest.approx(
        float(sum(outcome_scores(head.model, [c])[0] > outcome_scores(head.model, [r])[0] for c, r in tokens)) / 12
    )


def test_steps_are_transformers_own_loss():
    head, rows = process(), stepwise(10)
    separator = head.tokenizer(SEPARATOR).input_ids
    ids, labels = [], []
    for row in rows:  # TRL's tokenise_row: each step and the separator, the label at the last of these tokens
        own, said = list(head.tokenizer(row.prompt).input_ids), []
        said += [-100] * len(own)
        for step, label in zip(row.completions, row.labels, strict=True):
            piece = [*head.tokenizer(step).input_ids, *separator]
            own, said = own + piece, [*said, *[-100] * (len(piece) - 1), int(label)]
        ids.append(own)
        labels.append(said)
    longest = max(map(len, ids))
    ids_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
    labels_BT = torch.tensor([[*row, *[-100] * (longest - len(row))] for row in labels])
    mask_BT = (torch.arange(longest) < torch.tensor([len(row) for row in ids])[:, None]).long()
    logits = head.model(input_ids=ids_BT, attention_mask=mask_BT).logits
    both = torch.cat([torch.zeros_like(logits), logits], dim=-1)
    theirs = ForTokenClassification(both, labels_BT, SimpleNamespace(num_labels=2))
    theirs.backward()
    wanted = gradients(head.model)

    tokens = [tokens_of_steps(head.tokenizer, r.prompt, r.completions, SEPARATOR) for r in rows]
    assert [list(row.ids) for row in tokens] == ids
    count, ours = sum(len(r.labels) for r in rows), 0.0
    for a, b in ((0, 3), (3, 10)):
        flat = torch.tensor([float(label) for row in rows[a:b] for label in row.labels])
        share = label_loss(step_logits(head.model, tokens[a:b]), flat, count)
        share.backward()
        ours += share.item()
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    same(gradients(head.model), wanted)
