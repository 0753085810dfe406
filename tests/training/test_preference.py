"""Preference optimisation: rows, the reference's numbers, equivalences, stops, and learning on the embedded model."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from preference_world import encoded, make_pairs, make_settings, run
from tiny_world import make_model, make_tokenizer, same_bits, weights_of

import ponder.training.preference as trainer
import ponder.training.reference as reference
from ponder.core.records import read_jsonl
from ponder.models.logprobs import token_logprobs
from ponder.objectives.preference import LOSSES
from ponder.training.distributed import World, launch
from ponder.training.preference import preference_share, train_preference
from ponder.training.preference_rows import Pair
from ponder.training.reference import Referred, pair_logps

# ---- log-probabilities and gradients ----


def test_log_probabilities_are_those_of_a_loop_over_tokens() -> None:
    model, pairs = make_model(), encoded(make_pairs(4))
    with torch.no_grad():
        found = pair_logps(model, pairs)
        for at, pair in enumerate(pairs):
            for side, sums in ((pair.chosen, found.chosen_B), (pair.rejected, found.rejected_B)):
                logits_TV = model(torch.tensor([side.ids])).logits[0].log_softmax(-1)
                slow = sum(float(logits_TV[t - 1, side.ids[t]]) for t in range(1, len(side)) if side.mask[t])
                assert float(sums[at]) == pytest.approx(slow, rel=1e-5)
    assert found.chosen_tokens_B.tolist() == [pair.chosen.learnt for pair in pairs]


@pytest.mark.parametrize("name", LOSSES)
def test_prompt_tokens_have_no_gradient_of_their_own(name: str) -> None:
    """What the loss asks of the logits: only those that predict completion tokens; padding and prompt exactly none."""
    model, pairs = make_model(), encoded(make_pairs(3))
    rows = [Referred(pair, -9.0, -11.0) for pair in pairs]
    kept: list[torch.Tensor] = []

    def watch(module: Any, args: Any, output: Any) -> None:
        if output.last_hidden_state.requires_grad:  # else it is the probe of backbone and head
            output.last_hidden_state.retain_grad()
            kept.append(output.last_hidden_state)

    handle = model.model.register_forward_hook(watch)
    loss, _ = preference_share(model, make_settings(loss_type=name), rows, 3)
    handle.remove()
    loss.backward()
    (hidden_BTD,) = kept
    assert hidden_BTD.grad is not None
    asked_BT = hidden_BTD.grad.abs().sum(-1) > 0
    for at, side in enumerate([p.chosen for p in pairs] + [p.rejected for p in pairs]):
        wanted = [*side.mask[1:], *[False] * (asked_BT.shape[1] - len(side) + 1)]
        assert asked_BT[at].tolist() == wanted


def pretended(name: str, seed: int = 0) -> tuple[Any, list[Referred], Any]:
    pairs = encoded(make_pairs(9))
    rows = [Referred(pair, -8.0 - at % 3, -12.0 + at % 4) for at, pair in enumerate(pairs)]
    return make_model(seed), rows, make_settings(loss_type=name)


def gradient(name: str, parts: list[list[int]], share: Any = preference_share) -> tuple[float, torch.Tensor]:
    model, rows, settings = pretended(name)
    total = 0.0
    for part in parts:
        loss, _ = share(model, settings, [rows[at] for at in part], len(rows))
        loss.backward()
        total += float(loss.detach())
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "parts", [[[0, 1, 2, 3], [4, 5, 6, 7, 8]], [[at] for at in range(9)], [[8, 0], [3, 1, 2, 4, 6, 5, 7]]]
)
def test_any_split_into_micro_batches_gives_the_same_gradient(name: str, parts: list[list[int]]) -> None:
    whole, grad = gradient(name, [list(range(9))])
    split, split_grad = gradient(name, parts)
    assert split == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(split_grad, grad, rtol=1e-4, atol=2e-6 * float(grad.abs().max()) + 1e-7)
    assert grad.abs().max() > 0


def papers(name: str) -> tuple[float, torch.Tensor]:
    """DPO and its kin from the papers: one completion a forward pass, the model's own logits, no padding, no masks."""
    model, rows, settings = pretended(name)
    total = torch.zeros(())
    beta = settings.beta
    for row in rows:
        ratio = []
        for side, ref in ((row.pair.chosen, row.chosen), (row.pair.rejected, row.rejected)):
            logp_TV = torch.log_softmax(model(torch.tensor([side.ids])).logits[0], -1)
            start = side.mask.index(True)
            logp = sum(logp_TV[t - 1, side.ids[t]] for t in range(start, len(side)))
            ratio.append((logp - ref) / (len(side) - start if name == "ipo" else 1))
        w, v = ratio
        total = (
            total
            + {
                "sigmoid": -torch.log(1 / (1 + torch.exp(-beta * (w - v)))),
                "ipo": (w - v - 1 / (2 * beta)) ** 2,
                "apo_zero": 1 - 1 / (1 + torch.exp(-beta * w)) + 1 / (1 + torch.exp(-beta * v)),
                "apo_down": 1 / (1 + torch.exp(-beta * w)) + 1 - 1 / (1 + torch.exp(-beta * (w - v))),
            }[name]
        )
    loss = total / len(rows)
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_the_papers(name: str) -> None:
    (slow, slow_grad), (fast, fast_grad) = papers(name), gradient(name, [list(range(9))])
    assert fast == pytest.approx(slow, rel=1e-5)
    torch.testing.assert_close(fast_grad, slow_grad, rtol=1e-3, atol=1e-5 * float(slow_grad.abs().max()))


@pytest.mark.parametrize("bug", ["mask dropped", "reference left out", "sides swapped", "denominator of the part"])
def test_planted_bugs_are_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with the papers, in two micro-batches, fails on each."""
    parts = [[0, 1, 2], [3, 4, 5, 6, 7, 8]]
    share = preference_share
    if bug == "mask dropped":

        def everything(model: Any, ids: Any, real: Any, mask: Any) -> Any:
            whole = real.clone()
            whole[:, 0] = False
            return token_logprobs(model, ids, real, whole)

        monkeypatch.setattr(reference, "token_logprobs", everything)
    elif bug == "reference left out":
        share = lambda m, s, rows, n: preference_share(m, s, [Referred(r.pair, 0.0, 0.0) for r in rows], n)  # noqa: E731
    elif bug == "sides swapped":
        share = lambda m, s, rows, n: preference_share(  # noqa: E731
            m, s, [Referred(Pair(r.pair.rejected, r.pair.chosen, 0), r.rejected, r.chosen) for r in rows], n
        )
    else:
        share = lambda m, s, rows, n: preference_share(m, s, rows, len(rows))  # noqa: E731
    slow, slow_grad = papers("apo_zero")  # DPO would not see prompt tokens: both sides share them
    found, grad = gradient("apo_zero", parts, share)
    close = torch.allclose(grad, slow_grad, rtol=1e-3, atol=1e-5 * float(slow_grad.abs().max()))
    assert not close and found != pytest.approx(slow, rel=1e-3)


# ---- equivalences ----


@pytest.mark.parametrize("name", ["sigmoid", "apo_down"])
def test_a_stopped_run_ends_as_one_that_was_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"loss_type": name, "max_steps": 6, "lr_scheduler_type": "cosine", "weight_decay": 0.01}
    run(World(), tmp_path / "whole", changes, validation=make_pairs(4, 60))

    class Killed(Exception):
        pass

    real, calls = trainer.preference_share, [0]

    def dies(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise Killed
        return real(*given)

    monkeypatch.setattr(trainer, "preference_share", dies)
    with pytest.raises(Killed):
        run(World(), tmp_path / "stopped", changes, validation=make_pairs(4, 60))
    monkeypatch.undo()
    run(World(), tmp_path / "stopped", changes, validation=make_pairs(4, 60))
    assert same_bits(weights_of(tmp_path / "whole" / "model"), weights_of(tmp_path / "stopped" / "model"))
    assert what_was_learned(tmp_path / "whole") == what_was_learned(tmp_path / "stopped")


def what_was_learned(out_dir: Path) -> list[dict[str, Any]]:
    clocks = ("perf/", "step_time")
    return [{k: v for k, v in row.items() if not k.startswith(clocks)} for row in read_jsonl(out_dir / "metrics.jsonl")]


def test_two_processes_are_one(tmp_path: Path) -> None:
    changes = {"max_steps": 4, "adam_epsilon": 1e-2, "batch_size": 7}
    # One validation pair: the second process has none.
    one = launch(run, 1, (tmp_path / "one", changes, None, make_pairs(1, 50)))
    two = launch(run, 2, (tmp_path / "two", changes, None, make_pairs(1, 50)))
    kept = [json.loads((tmp_path / n / "reference" / "train.json").read_text()) for n in ("one", "two")]
    assert kept[0]["chosen"] == pytest.approx(kept[1]["chosen"], rel=1e-5)
    left, right = (weights_of(tmp_path / n / "model") for n in ("one", "two"))
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=1e-5)
    names = "loss rewards/margins logps/chosen entropy eval_loss eval_rewards/margins grad_norm"
    for name in names.split():
        assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-5), name


def test_token_budget_is_memory_and_not_the_gradient(tmp_path: Path) -> None:
    run(World(), tmp_path / "wide", {"max_steps": 4, "adam_epsilon": 1e-2, "token_budget": 4096})
    run(World(), tmp_path / "narrow", {"max_steps": 4, "adam_epsilon": 1e-2, "token_budget": 1})
    left, right = (weights_of(tmp_path / n / "model") for n in ("wide", "narrow"))
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=1e-5)


def test_evaluation_is_that_of_the_training_loss_and_touches_nothing(tmp_path: Path) -> None:
    rows = make_pairs()
    seen = run(World(), tmp_path / "seen", {"max_steps": 3, "eval_steps": 1}, validation=rows)
    bare = run(World(), tmp_path / "bare", {"max_steps": 3})
    assert same_bits(weights_of(tmp_path / "seen" / "model"), weights_of(tmp_path / "bare" / "model"))
    assert [("eval_loss" in row) for row in read_jsonl(tmp_path / "seen" / "metrics.jsonl")] == [True] * 3
    assert "eval_loss" not in bare and seen["loss"] == bare["loss"]
    model = make_model()
    from ponder.training.checkpoint import load_weights

    load_weights(tmp_path / "seen" / "model", model)
    kept = json.loads((tmp_path / "seen" / "reference" / "train.json").read_text())
    referred = [Referred(*row) for row in zip(encoded(rows), kept["chosen"], kept["rejected"], strict=True)]
    with torch.no_grad():
        loss, _ = preference_share(model, make_settings(), referred, len(referred))
    assert seen["eval_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert seen["eval_rewards/accuracies"] == 1.0


def test_what_a_step_logs(tmp_path: Path) -> None:
    result = run(World(), tmp_path, {"max_steps": 3})
    wanted = {
        "loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen",
        "logps/rejected", "entropy", "grad_norm", "learning_rate", "num_tokens",
    }  # fmt: skip
    assert wanted <= set(result) and (tmp_path / "model" / "model.safetensors").is_file()
    assert result["rewards/margins"] == pytest.approx(result["rewards/chosen"] - result["rewards/rejected"], rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_moves_the_tiny_model_its_way(name: str, tmp_path: Path) -> None:
    result = run(World(), tmp_path, {"loss_type": name, "max_steps": 12}, validation=make_pairs(12, 100))
    assert result["eval_rewards/accuracies"] > 0.8 and result["eval_rewards/margins"] > 0.5
    assert (result["eval_rewards/chosen"] > 0) == (name != "apo_down") and result["eval_rewards/rejected"] < 0


def test_the_model_that_came_in_is_the_one_that_is_trained(tmp_path: Path) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    train_preference(make_settings(max_steps=2), model, make_tokenizer(), make_pairs(), tmp_path)
    assert not same_bits(before, model.state_dict())
    written = weights_of(tmp_path / "model")
    assert same_bits({name: value for name, value in model.state_dict().items() if name in written}, written)


def test_lora_trains_adapters_against_the_model_without_them(tmp_path: Path) -> None:
    changes = {"max_steps": 4, "lora": {"r": 4}, "learning_rate": 3e-2}
    whole = run(World(), tmp_path / "whole", changes, validation=make_pairs(4, 60))
    first = next(iter(read_jsonl(tmp_path / "whole" / "metrics.jsonl")))
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5) and whole["rewards/margins"] > 0.1
    assert (tmp_path / "whole" / "adapter" / "adapter_model.safetensors").is_file()
    merged = weights_of(tmp_path / "whole" / "model")
    assert merged.keys() <= make_model().state_dict().keys()
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "step-000004")
    run(World(), tmp_path / "again", changes, validation=make_pairs(4, 60))
    assert same_bits(merged, weights_of(tmp_path / "again" / "model"))


def test_dropout_has_no_reference() -> None:
    with pytest.raises(ValueError, match="the reference has none to be compared with"):
        make_settings(lora={"r": 4, "lora_dropout": 0.1})
