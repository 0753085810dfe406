"""The preference losses, and what goes into them, against TRL's own DPOTrainer on the same tensors.

TRL's `_compute_loss` runs as it is, on a trainer object that holds only what the method reads, over a model whose
log-probabilities are given. Then the whole way: TRL's tokenisation, collator and loss on real rows and a real model
beside ours.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ponder.models.load import load_model
from ponder.objectives.preference import PairTerms, preference_loss, summarise_pairs
from ponder.tasks.shapes import Preference
from ponder.training.preference import PreferenceSettings, preference_share
from ponder.training.preference_rows import encode_pairs
from ponder.training.reference import Referred, pair_logps

B, T, PROMPT = 5, 9, 2
NAMES = ("sigmoid", "ipo", "apo_zero", "apo_down")
LOGGED = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
)


class Accelerator:
    """One process."""

    device = torch.device("cpu")

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        return value

    gather_for_metrics = gather


@pytest.fixture(scope="module")
def dpo() -> Any:
    return pytest.importorskip("trl.trainer.dpo_trainer")


def trainer(dpo: Any, loss_type: str, beta: float, smoothing: float = 0.0) -> Any:
    made = object.__new__(dpo.DPOTrainer)
    fields = {
        "model": SimpleNamespace(training=True), "accelerator": Accelerator(), "aux_loss_enabled": False,
        "ld_alpha": None, "precompute_ref_logps": True, "f_divergence_type": "reverse_kl", "loss_types": [loss_type],
        "loss_weights": [1.0], "beta": beta, "label_smoothing": smoothing, "use_weighting": False,
        "_metrics": {"train": defaultdict(list)}, "_total_train_tokens": 0, "_tp_size": 1,
    }  # fmt: skip
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


class Told:
    """A model that says the log-probabilities it is given."""

    def __init__(self, logp_BT: torch.Tensor) -> None:
        self.logp_BT = logp_BT

    def __call__(self, input_ids: torch.Tensor, labels: torch.Tensor, **_: Any) -> Any:
        learnt = labels[:, 1:] != -100
        blank = torch.zeros_like(self.logp_BT[:, 1:])
        return SimpleNamespace(
            log_probs=self.logp_BT[:, 1:] * learnt, entropy=blank, mean_logits=blank, is_top1=blank.bool()
        )


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """(logp_BT of 2B rows, completion mask, reference sums of the chosen and the rejected)"""
    generator = torch.Generator().manual_seed(seed)
    logp_BT = -3 * torch.rand(2 * B, T, generator=generator, dtype=torch.float64)
    lengths_B = torch.randint(1, T - PROMPT + 1, (2 * B,), generator=generator)
    place_T = torch.arange(T)
    mask_BT = (place_T >= PROMPT) & (place_T < PROMPT + lengths_B[:, None])
    sums_B = (logp_BT * mask_BT).sum(-1) + torch.randn(2 * B, generator=generator, dtype=torch.float64)
    return logp_BT, mask_BT.long(), list(sums_B.chunk(2))


def theirs(made: Any, logp_BT: torch.Tensor, mask_BT: torch.Tensor, ref: list[torch.Tensor]) -> torch.Tensor:
    inputs = {
        "input_ids": torch.ones_like(mask_BT), "attention_mask": torch.ones_like(mask_BT), "completion_mask": mask_BT,
        "ref_chosen_logps": ref[0], "ref_rejected_logps": ref[1],
    }  # fmt: skip
    return made._compute_loss(Told(logp_BT), inputs, False)


def ours(logp_BT: torch.Tensor, mask_BT: torch.Tensor, ref: list[torch.Tensor], *what: Any) -> Any:
    chosen, rejected = (logp_BT * mask_BT).sum(-1).chunk(2)
    tokens = mask_BT.sum(-1).chunk(2)
    return preference_loss(PairTerms(chosen, rejected, *ref, *tokens), *what, pairs=len(chosen))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beta", [0.05, 0.1, 0.7])
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_gradient_and_what_is_logged(dpo: Any, name: str, beta: float, seed: int) -> None:
    logp_BT, mask_BT, ref = batch(seed)
    made = trainer(dpo, name, beta)
    leaves = [logp_BT.clone().requires_grad_() for _ in range(2)]
    loss, stats = ours(leaves[0], mask_BT, ref, name, beta, 0.0)
    expected = theirs(made, leaves[1], mask_BT, ref)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-9, atol=1e-12)
    assert leaves[0].grad.abs().sum() > 0, "a comparison of zeros shows nothing"
    logged = summarise_pairs({key: float(value) for key, value in stats.items()}, B)
    assert {key: logged[key] for key in LOGGED} == pytest.approx(
        {key: made._metrics["train"][key][0] for key in LOGGED}, rel=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.1, 0.3])
def test_label_smoothing(dpo: Any, smoothing: float) -> None:
    """TRL's sigmoid has lost its smoothing; its `aot` has it, and on one pair at a time is our sigmoid."""
    logp_BT, mask_BT, ref = batch()
    made = trainer(dpo, "aot", 0.2, smoothing)
    for at in range(B):
        two = torch.tensor([at, at + B])
        one = [side[at : at + 1] for side in ref]
        expected = theirs(made, logp_BT[two], mask_BT[two], one)
        found, _ = ours(logp_BT[two], mask_BT[two], one, "sigmoid", 0.2, smoothing)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# ---- the whole way, on the embedded model ----

ROWS = [
    ("What is 2+3*4?", "<think>\n3*4=12\n2+12=14\n</think>\n<answer>14</answer>", "<answer>20</answer>"),
    ("Berechne 7*8.", "<think>\n7*8=56\n</think>\n<answer>56</answer>", "56, glaube ich"),
    ("Name two animals.", "<think>\n2 words\n</think>\n<answer>dog cat</answer>", "<think>\n</think>"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["messages", "text"])
def test_rows_and_model(dpo: Any, name: str, form: str) -> None:
    loaded = load_model("mini")
    model, tokenizer = loaded.model, loaded.tokenizer
    rows: list[dict[str, Any]] = []
    for prompt, chosen, rejected in ROWS:
        if form == "text":
            rows.append({"prompt": f"{prompt}\n", "chosen": chosen, "rejected": rejected})
            continue
        said = [[{"role": "assistant", "content": text}] for text in (chosen, rejected)]
        rows.append({"prompt": [{"role": "user", "content": prompt}], "chosen": said[0], "rejected": said[1]})

    # theirs: its tokenisation and its collator
    datasets = pytest.importorskip("datasets")
    made = trainer(dpo, name, 0.3)
    made._tokenizer = tokenizer
    args = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    prepared = made._prepare_dataset(datasets.Dataset.from_list(rows), tokenizer, args, "train")
    collated = dpo.DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)(list(prepared))

    # ours
    examples = [
        Preference(*(row[k] if form == "text" else tuple(row[k]) for k in ("prompt", "chosen", "rejected")), row=at)
        for at, row in enumerate(rows, 1)
    ]
    pairs = encode_pairs(examples, tokenizer, 512, "error").pairs
    width = collated["input_ids"].shape[1]
    sides = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    for at, side in enumerate(sides):
        padding = [0] * (width - len(side))
        assert collated["input_ids"][at].tolist() == [*side.ids, *[tokenizer.pad_token_id] * len(padding)]
        mask = [bool(m) for m in collated["completion_mask"][at].tolist()]
        if form == "messages":  # TRL learns the newline behind the template's end token as well; nobody samples it
            assert mask[len(side) - 1] and not side.mask[-1]
            mask[len(side) - 1] = False
        assert mask == [*side.mask, *padding]
    with torch.no_grad():
        reference = pair_logps(model, pairs)
    referred = [
        Referred(pair, chosen, rejected)
        for pair, chosen, rejected in zip(
            pairs, (reference.chosen_B - 0.5).tolist(), reference.rejected_B.tolist(), strict=True
        )
    ]
    settings = PreferenceSettings(loss_type=name, beta=0.3)
    loss, stats = preference_share(model, settings, referred, len(pairs))
    learnt = torch.zeros_like(collated["completion_mask"])
    for at, side in enumerate(sides):
        learnt[at, : len(side)] = torch.tensor(side.mask)
    inputs = {
        **collated, "completion_mask": learnt,
        "ref_chosen_logps": reference.chosen_B - 0.5, "ref_rejected_logps": reference.rejected_B,
    }  # fmt: skip
    expected = made._compute_loss(fused(model), inputs, False)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    logged = summarise_pairs({k: float(stats[k]) for k in LOGGED}, len(pairs))
    assert logged == pytest.approx({k: made._metrics["train"][k][0] for k in LOGGED}, rel=1e-4, abs=1e-5)
    assert float(stats["entropy"] / stats["tokens"]) == pytest.approx(made._metrics["train"]["entropy"][0], rel=1e-4)


def fused(model: Any) -> Any:
    """TRL's own patch of the model, which gives log-probabilities instead of logits."""
    from trl.trainer import dpo_trainer

    patched = copy.deepcopy(model)
    dpo_trainer.add_fused_lm_head(patched, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    return patched
