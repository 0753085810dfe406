"""Supervised fine-tuning: the loss against a slow loop, one gradient however it is made, bad rows, and learning."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from sft_world import make_examples, make_model, make_settings, make_tokenizer, run
from tiny_world import same_bits, weights_of

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.models.encode import Encoded
from ponder.tasks.shapes import Chat, Completed, Example, Preference, read_examples
from ponder.training import supervised
from ponder.training.distributed import World, launch
from ponder.training.sft import SFTExtent, SFTSettings, _lesson, evaluate_rows, train_sft
from ponder.training.sft_rows import take_rows

LORA = {"lora": {"r": 4, "target_modules": "all-linear"}}


def rows_of(examples: list[Example] | None = None) -> tuple[Encoded, ...]:
    return take_rows(make_tokenizer(), examples or make_examples(), max_length=256).rows


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(folder / "metrics.jsonl")]


def gradient(model: Any, rows: tuple[Encoded, ...], parts: int, packing: bool = False) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a step on all `rows`, in so many micro-batches."""
    model.zero_grad()
    lesson = _lesson(make_settings(packing=packing), model, rows, (), 96, World())
    extent = lesson.extent(lesson.rows)
    loss = 0.0
    for at in range(parts):
        if mine := lesson.rows[at::parts]:
            share, _ = lesson.loss(mine, extent)
            share.backward()
            loss += float(share.detach())
    return loss, torch.cat([p.grad.flatten() for p in model.parameters()])


def slow_loss(model: Any, rows: tuple[Encoded, ...]) -> torch.Tensor:
    """From the definition: the mean of -log p over the learnt tokens, a row and a token at a time."""
    terms = []
    for row in rows:
        logits_TV = model(torch.tensor([row.ids]), use_cache=False).logits[0].double()
        for at, token in enumerate(row.ids):
            if row.mask[at]:
                terms.append(-torch.log_softmax(logits_TV[at - 1], -1)[token])
    return torch.stack(terms).mean()


# ---- the loss ----


def test_the_loss_is_the_definition() -> None:
    model, rows = make_model(), rows_of()
    expected = slow_loss(model, rows)
    expected.backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    loss, found = gradient(model, rows, 1)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("parts", [2, 5, 24])
def test_any_split_into_micro_batches_is_one_gradient(parts: int) -> None:
    model, rows = make_model(), rows_of()
    whole, split = gradient(model, rows, 1), gradient(model, rows, parts)
    assert split[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(split[1], whole[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("parts", [1, 3])
def test_packed_is_padded(parts: int) -> None:
    from ponder.models.packed_attention import packed_attention

    model, rows = make_model(), rows_of()
    padded = gradient(model, rows, 1)
    with packed_attention(model):
        packed = gradient(model, rows, parts, packing=True)
    assert packed[0] == pytest.approx(padded[0], rel=1e-5)
    torch.testing.assert_close(packed[1], padded[1], atol=1e-5, rtol=1e-5)


def test_packed_runs_say_how_full_the_packs_are(tmp_path: Path) -> None:
    run(World(), tmp_path, {"packing": True, "max_length": 96, "max_steps": 2, "batch_size": 3})
    row = read_jsonl(tmp_path / "metrics.jsonl")[-1]
    assert 0.8 < row["batch/packing_ratio"] <= 1 and row["batch/pad_frac"] < 0.2


PLANTED = {
    "the mask is shifted by one": lambda row: Encoded(row.ids, (False, False, *row.mask[1:-1]), row.row),
    "the end token is left out": lambda row: Encoded(
        row.ids, tuple(on and token != 2 for token, on in zip(row.ids, row.mask, strict=True)), row.row
    ),
    "the prompt is learnt too": lambda row: Encoded(row.ids, (False, *(True,) * (len(row) - 1)), row.row),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_caught(bug: str) -> None:
    rows = rows_of()
    broken = tuple(PLANTED[bug](row) for row in rows)
    right, _ = gradient(make_model(), rows, 1)
    wrong, _ = gradient(make_model(), broken, 1)
    assert abs(right - wrong) > 1e-3 * right
    tokenizer = make_tokenizer()
    for row in broken:
        said = tokenizer.decode([token for token, on in zip(row.ids, row.mask, strict=True) if on])
        if not re.fullmatch(r"(<think>\nadd them\n</think>\n<answer>\d+</answer><\|im_end\|>){1,2}", said):
            return  # what the right mask gives of every chat, see the next test
    pytest.fail("the broken mask passes for a right one")


def test_the_mask_of_the_rows_is_right() -> None:
    tokenizer = make_tokenizer()
    examples = [example for example in make_examples() if isinstance(example, Chat)]
    for row in rows_of(list(examples)):
        said = tokenizer.decode([token for token, on in zip(row.ids, row.mask, strict=True) if on])
        assert re.fullmatch(r"(<think>\nadd them\n</think>\n<answer>\d+</answer><\|im_end\|>){1,2}", said)


def test_a_denominator_a_micro_batch_would_be_caught() -> None:
    rows = rows_of()
    extent = SFTExtent.of([(row,) for row in rows])
    parts = [rows[::2], rows[1::2]]
    per_part = sum(float(slow_loss(make_model(), part).detach()) for part in parts) / 2
    assert extent.learnt == sum(row.learnt for row in rows)
    assert abs(per_part - gradient(make_model(), rows, 2)[0]) > 1e-4


# ---- runs ----


@pytest.mark.parametrize(
    "changes",
    [{}, {"packing": True, "max_length": 96}, {"lora": {"r": 4, "lora_dropout": 0.2}}],
    ids=["whole", "packed", "lora"],
)
def test_stopped_and_gone_on_is_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    run(World(), tmp_path / "whole", {"save_steps": 2, **changes})
    calls, real = 0, supervised.update

    def breaking(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(supervised, "update", breaking)
    with pytest.raises(KeyboardInterrupt):
        run(World(), tmp_path / "broken", {"save_steps": 2, **changes})
    monkeypatch.setattr(supervised, "update", real)
    run(World(), tmp_path / "broken", {"save_steps": 2, **changes})
    assert same_bits(weights_of(tmp_path / "whole" / "model"), weights_of(tmp_path / "broken" / "model"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")
    assert len(losses(tmp_path / "whole")) == 6


def test_two_processes_are_one(tmp_path: Path) -> None:
    for name, size in (("one", 1), ("two", 2)):
        launch(run, size, (tmp_path / name, {"max_steps": 4}))
    torch.testing.assert_close(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4, atol=1e-5)
    one, two = weights_of(tmp_path / "one" / "model"), weights_of(tmp_path / "two" / "model")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-3, rtol=1e-3)


def test_what_a_run_leaves_behind(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    held = make_examples(8, seed=5)
    model = make_model()
    result = run(World(), tmp_path, {"eval_steps": 3, "eos_token": "<|im_end|>"}, validation=held, model=model)
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert [("eval_loss" in row) for row in rows] == [False, False, True, False, False, True]
    last = rows[-1]
    for name in ("loss", "token_accuracy", "entropy", "num_tokens", "perf/throughput", "grad_norm", "learning_rate"):
        assert last[name] >= 0, name
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
    expected = slow_loss(model, rows_of(held))
    assert last["eval_loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert 0 <= last["eval_token_accuracy"] <= 1 and result["eval_loss"] == last["eval_loss"]
    assert (result["rows"], result["dropped"], result["cut"]) == (24, {}, 0)
    assert "⟦" in (tmp_path / "template_check.txt").read_text()
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert saved.generation_config.eos_token_id == [2] and saved.config._attn_implementation == "sdpa"
    assert same_bits(saved.state_dict(), model.state_dict())


def test_lora_saves_adapter_and_merged_model(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, frozen = make_model(), make_model()
    run(World(), tmp_path, LORA, model=model)
    ids = torch.arange(3, 40)[None]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    unmerged = PeftModel.from_pretrained(make_model(), tmp_path / "adapter").eval()
    torch.testing.assert_close(merged(ids).logits, unmerged(input_ids=ids).logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(merged(ids).logits, model(ids).logits)
    assert (merged(ids).logits - frozen(ids).logits).abs().max() > 0.01
    changed = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, frozen.state_dict()[name])
    }
    assert changed and all(name.endswith("proj.weight") for name in changed)
    assert not list((tmp_path / "checkpoints").glob("*/model/model.safetensors"))  # adapters alone
    again = run(World(), tmp_path, LORA)  # it is done: nothing is trained, and all files are there
    assert again["step"] == 6 and (tmp_path / "model" / "model.safetensors").is_file()


def test_other_rows_are_another_run(tmp_path: Path) -> None:
    run(World(), tmp_path, {"max_steps": 2})
    with pytest.raises(PonderError, match="examples was .* and is now"):
        run(World(), tmp_path, {"max_steps": 2}, examples=make_examples(24, seed=1))


def test_evaluation_is_shared_out() -> None:
    model, rows = make_model(), rows_of()
    alone = evaluate_rows(model, rows, 4096, False, False, World())
    split = evaluate_rows(model, rows, 64, False, False, World())
    assert alone["eval_loss"] == pytest.approx(split["eval_loss"], rel=1e-6)
    assert alone["eval_token_accuracy"] == split["eval_token_accuracy"]


# ---- rows that do not do ----

ASK, SAY = {"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}


def test_rows_that_cannot_be_learnt_from_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples: list[Example] = [
        Chat((ASK, SAY), 1), Chat((ASK,), 2), Completed("2+3=", " ", 3), Chat((ASK, {**SAY, "content": ""}), 4),
        Completed("2+3=", "5" * 100, 5), Chat((ASK,), 6),
    ]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        result = run(World(), tmp_path, {"max_steps": 1, "max_length": 64}, examples=examples)
    assert result["rows"] == 1 and result["dropped"] == {
        "no assistant turn": 2, "the completion is empty": 1, "every assistant turn is empty": 1,
        "longer than max_length (64 tokens)": 1,
    }  # fmt: skip
    assert "2 of 6 rows dropped: no assistant turn (row 2, 6)" in caplog.text


def test_long_rows_are_dropped_cut_or_an_error() -> None:
    tokenizer = make_tokenizer()
    examples = [Completed("2+3=", "5", 1), Completed("1=", "1" * 50, 2), Completed("1" * 40, "1", 3)]
    dropped = take_rows(tokenizer, examples, max_length=32)
    assert [row.row for row in dropped.rows] == [1]
    assert dropped.dropped == {"longer than max_length (32 tokens)": (2, 3)}
    cut = take_rows(tokenizer, examples, max_length=32, truncation="cut")
    assert [(row.row, len(row)) for row in cut.rows] == [(1, 6), (2, 32)] and cut.cut == (2,)
    assert cut.dropped == {"the prompt fills the 32 tokens (max_length)": (3,)}
    with pytest.raises(
        PonderError, match="2 rows are longer than max_length .32 tokens; the longest has 53.: row 2, 3"
    ):
        take_rows(tokenizer, examples, max_length=32, truncation="error")


def test_mistakes_before_the_first_step(tmp_path: Path) -> None:
    chat = [Chat((ASK, SAY), 1)]
    for changes, more, said in (
        ({"max_length": 999}, {}, "max_length is 999, more than the model's context .256."),
        ({"eos_token": "<end>"}, {}, "eos_token is '<end>', which is no token"),
        ({"eos_token": "<pad>"}, {"eos_ids": []}, "row 1: a template without an end token"),
        ({}, {"examples": [Chat((ASK,), 1)]}, "no rows to learn from: 1 dropped: no assistant turn"),
        ({}, {"validation": [Chat((ASK,), 1)]}, "no validation rows to learn from"),
        ({}, {"examples": [Preference("a", "b", "c", 4)]}, "row 4 is a Preference row"),
        ({"lora": {"target_modules": ["attention"]}}, {}, "lora.target_modules is"),
    ):
        with pytest.raises(PonderError, match=said):
            run(World(), tmp_path, {"max_steps": 1, **changes}, **{"examples": chat, **more})  # type: ignore[dict-item]
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a"}', "of no known shape"),
        ('{"prompt": "a", "completion": ""}', "completion is empty"),
        ('{"messages": []}', "messages is empty"),
        ('{"messages": [{"role": "robot", "content": "a"}]}', "role 'robot'"),
        ('{"chats": [{"from": "human", "value": "a"}]}', "columns chats are of no known shape"),
    ],
)
def test_rows_of_a_file_with_missing_or_unknown_columns(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(PonderError, match=said):
        read_examples(file)


def test_gradient_checkpointing_and_dropout_go_together(tmp_path: Path) -> None:
    changes = {"lora": {"r": 4, "lora_dropout": 0.3}, "max_steps": 2}
    run(World(), tmp_path / "plain", changes)
    run(World(), tmp_path / "checkpointed", {**changes, "gradient_checkpointing": True})
    torch.testing.assert_close(losses(tmp_path / "plain"), losses(tmp_path / "checkpointed"), rtol=1e-5, atol=1e-6)


# ---- learning ----


def test_it_learns_form_and_accuracy_on_the_embedded_model(tmp_path: Path) -> None:
    from ponder.core.seeds import random_of
    from ponder.core.types import SamplingParams
    from ponder.evals.run import evaluate
    from ponder.mini.attempts import attempt
    from ponder.models.chat import renderer
    from ponder.models.load import load_model
    from ponder.sampling.local import LocalSampler
    from ponder.tasks import draw_mix

    kinds = ("arithmetic", "equations")
    rows: list[Example] = []
    for number, problem in enumerate(draw_mix(kinds, "train", 300, "sft", level=1), 1):
        rng = random_of("written", problem.id)
        tries = (attempt(problem, "check", rng, problem.data["lang"]) for _ in range(99))
        right = next(found for found in tries if found.answer == problem.answer)
        said = {"role": "assistant", "reasoning_content": "\n".join(right.lines),
                "content": f"<answer>{right.answer}</answer>"}  # fmt: skip
        rows.append(Chat(({"role": "user", "content": problem.prompt}, said), number))
    held = draw_mix(kinds, "validation", 40, "held", level=1)
    loaded = load_model("mini", dtype="float32", device="cpu")

    def measured() -> tuple[float, float]:
        sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=512, eos_ids=loaded.eos_ids)
        params = SamplingParams(temperature=1.0, max_completion_length=128)
        found = evaluate(sampler, held, renderer(loaded.tokenizer, "chat"), params, seed=1)
        return tuple(sum(bool(row[name]) for row in found) / len(found) for name in ("correct", "well_formed"))  # type: ignore[return-value]

    before = measured()
    settings = SFTSettings(
        max_steps=30, batch_size=12, max_length=256, learning_rate=1e-3, warmup_steps=3, save_steps=99
    )
    train_sft(settings, loaded.model, loaded.tokenizer, rows, tmp_path, eos_ids=loaded.eos_ids)
    after = measured()
    assert after[0] > before[0] + 0.2, (before, after)
    assert after[1] > before[1] + 0.2 and after[1] > 0.9, (before, after)
