"""Supervised fine-tuning beside TRL's SFTTrainer: the same rows, the same model, the same losses, step for step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))

from sft_world import make_examples, make_model, make_tokenizer

from ponder.core.records import read_jsonl
from ponder.models.encode import encode_example
from ponder.tasks.shapes import Chat, Completed
from ponder.training.distributed import World
from ponder.training.sft import SFTSettings, train_sft

trl = pytest.importorskip("trl")
pytest.importorskip("datasets")

MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
STEPS = 4


def _rows(shape: str) -> list[Any]:
    kind = Chat if shape == "messages" else Completed
    return [example for example in make_examples(48) if isinstance(example, kind)][:12]


def _theirs(shape: str, folder: Path) -> tuple[list[dict[str, Any]], list[Any]]:
    from datasets import Dataset

    if shape == "messages":
        columns = [{"messages": list(row.messages)} for row in _rows(shape)]
    else:
        columns = [{"prompt": row.prompt, "completion": row.completion} for row in _rows(shape)]
    config = trl.SFTConfig(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=12, learning_rate=1e-2,
        lr_scheduler_type="constant", adam_epsilon=1e-2, max_grad_norm=1.0, logging_steps=1, report_to="none",
        use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, save_strategy="no", disable_tqdm=True,
        assistant_only_loss=shape == "messages", max_length=256, loss_type="nll",
    )  # fmt: skip
    rows, tokenizer = Dataset.from_list(columns), make_tokenizer(MARKED)
    trainer = trl.SFTTrainer(model=make_model(), args=config, processing_class=tokenizer, train_dataset=rows)
    trainer.train()
    return [row for row in trainer.state.log_history if "loss" in row], list(trainer.train_dataset)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["messages", "completion"])
def test_step_for_step_as_trl(shape: str, tmp_path: Path) -> None:
    theirs, columns = _theirs(shape, tmp_path / "theirs")
    settings = SFTSettings(
        max_steps=STEPS, batch_size=12, learning_rate=1e-2, lr_scheduler_type="constant", adam_epsilon=1e-2,
        max_length=256,
    )  # fmt: skip
    tokenizer = make_tokenizer(MARKED)
    train_sft(settings, make_model(), tokenizer, _rows(shape), tmp_path / "ours", World())
    ours = read_jsonl(tmp_path / "ours" / "metrics.jsonl")
    assert len(theirs) == len(ours) == STEPS
    for left, right in zip(ours, theirs, strict=True):
        assert left["loss"] == pytest.approx(float(right["loss"]), rel=1e-3)  # theirs is logged with four digits
        assert left["grad_norm"] == pytest.approx(float(right["grad_norm"]), rel=1e-3)
        assert left["token_accuracy"] == pytest.approx(float(right["mean_token_accuracy"]), abs=1e-4)
    for row, column in zip(_rows(shape), columns, strict=True):
        mine = encode_example(tokenizer, row)
        assert list(mine.ids) == list(column["input_ids"])
        assert list(mine.mask)[1:] == [label != -100 for label in column["labels"][1:]]
