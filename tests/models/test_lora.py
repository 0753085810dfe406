"""LoRA: only adapters learn, merged is unmerged, and what is saved comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sft_world import make_model

from ponder.core.errors import PonderError
from ponder.models.lora import (
    LoraSettings,
    add_lora,
    droppers,
    load_adapter,
    merge_lora,
    save_adapter,
    seeded_dropout,
)

IDS = torch.arange(3, 40)[None]


def disturb(model: torch.nn.Module) -> None:
    """Adapters begin as zero: give them something to do."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)


def test_only_adapters_learn_and_at_first_nothing_changes() -> None:
    model = make_model()
    before = model(IDS).logits
    net = add_lora(model, LoraSettings(r=4))
    assert torch.equal(net(input_ids=IDS).logits, before)
    trained = [name for name, p in net.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    assert not any("lm_head" in name or "embed" in name for name in trained)


def test_merged_is_unmerged() -> None:
    model = make_model()
    base = model(IDS).logits
    net = add_lora(model, LoraSettings(r=4, lora_alpha=8))
    disturb(net)
    unmerged = net(input_ids=IDS).logits
    assert (unmerged - base).abs().max() > 0.1
    merged = merge_lora(net)
    assert merged is model and all(p.requires_grad for p in model.parameters())
    assert not any("lora" in name for name in model.state_dict())
    torch.testing.assert_close(model(IDS).logits, unmerged, atol=1e-5, rtol=1e-5)


def test_saved_adapters_come_back_bit_for_bit(tmp_path: Path) -> None:
    from peft import PeftModel

    net = add_lora(make_model(), LoraSettings(r=4))
    disturb(net)
    save_adapter(tmp_path, net, None)
    again = add_lora(make_model(), LoraSettings(r=4), seed=9)
    load_adapter(tmp_path, again)
    assert torch.equal(again(input_ids=IDS).logits, net(input_ids=IDS).logits)
    assert torch.equal(PeftModel.from_pretrained(make_model(), tmp_path)(input_ids=IDS).logits, again(IDS).logits)
    with pytest.raises(PonderError, match="of another shape"):
        load_adapter(tmp_path, add_lora(make_model(), LoraSettings(r=8)))


def test_first_weights_are_a_function_of_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        net = add_lora(make_model(), LoraSettings(r=4, target_modules=("q_proj",)), seed)
        return torch.cat([p.flatten() for name, p in net.named_parameters() if "lora_A" in name])

    torch.manual_seed(1)
    first = weights(0)
    torch.manual_seed(2)
    assert torch.equal(first, weights(0)) and not torch.equal(first, weights(1))


def test_dropout_by_name() -> None:
    net = add_lora(make_model(), LoraSettings(r=4, lora_dropout=0.5))
    disturb(net)
    for module in droppers(net):
        module.train()

    def logits(*names: object) -> torch.Tensor:
        with seeded_dropout(net, *names):
            return net(input_ids=IDS).logits

    assert torch.equal(logits("a"), logits("a")) and not torch.equal(logits("a"), logits("b"))
    with torch.no_grad():
        next(p for name, p in net.named_parameters() if "lora_B" in name).add_(1e-6)
    assert (logits("a") - logits("b")).abs().max() > 1e-3
    assert droppers(add_lora(make_model(), LoraSettings(r=4))) == []


def test_a_target_that_is_not_there() -> None:
    with pytest.raises(PonderError, match="lora.target_modules is .*attention"):
        add_lora(make_model(), LoraSettings(target_modules=("attention",)))
