"""A model of a few thousand random weights, its tokenizer, a task and a reward: what the training tests train on.

The names here are importable by the processes that `launch` spawns.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from ponder.core.types import Completion, Problem, Score
from ponder.sampling.local import LocalSampler
from ponder.training.distributed import World
from ponder.training.grpo import train_grpo
from ponder.training.grpo_step import Team
from ponder.training.settings import GRPOSettings
from ponder.training.step import Optimizer

SPECIAL = ["<pad>", "<eos>", "<think>", "</think>", "<answer>", "</answer>"]
CHARACTERS = list("0123456789+-=?abcdefgh ")


def make_tokenizer() -> Any:
    """One token a character, and the tags."""
    vocabulary = {token: i for i, token in enumerate(SPECIAL + CHARACTERS)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    return tokenizer


def make_model(seed: int = 0, context: int = 64) -> Any:
    """Qwen3-shaped, two layers, tied embeddings; its weights are a function of `seed`."""
    config = Qwen3Config(
        vocab_size=len(SPECIAL) + len(CHARACTERS), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=context,
        tie_word_embeddings=True, eos_token_id=1, pad_token_id=0, bos_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
        for name, parameter in model.named_parameters():  # the embeddings large enough for the tokens to differ
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2 if "embed" in name else 0.1)
    return model.eval()


def make_problems(n: int = 24) -> list[Problem]:
    """Questions of different lengths; the answer is a letter."""
    return [Problem("letters", f"{i * 37 % 101}+{'1' * (i % 5)}=?", "abc"[i % 3]) for i in range(n)]


def render(problem: Problem) -> str:
    """The prompt is the question."""
    return problem.prompt


def letter_reward(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """The share of the wanted letter; right where it is the most frequent character."""
    scores = []
    for problem, completion in zip(problems, completions, strict=True):
        share = completion.text.count(problem.answer) / max(len(completion.token_ids), 1)
        scores.append(Score(share, share > 0.1, {"letter": share}))
    return scores


def token_reward(problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Score]:
    """1 where the completion says "b" at all."""
    return [Score(float("b" in c.text), "b" in c.text, {"says_b": float("b" in c.text)}) for c in completions]


def make_settings(**changes: Any) -> GRPOSettings:
    """Small and quick."""
    base: dict[str, Any] = dict(
        max_steps=6, questions_per_step=4, num_generations=4, max_completion_length=8, learning_rate=1e-2, save_steps=1,
        sample_steps=2,
    )  # fmt: skip
    return GRPOSettings(**(base | changes))


def run(
    world: World, out_dir: Path, changes: dict[str, Any], reward: Any = letter_reward, **more: Any
) -> dict[str, Any]:
    """`train_grpo` on the tiny world."""
    problems = more.pop("problems", None) or make_problems()
    return train_grpo(
        make_settings(**changes), make_model(), make_tokenizer(), problems, reward, out_dir, render, world, **more
    )


def make_team(world: World | None = None, model: Any = None, reward: Any = letter_reward, **changes: Any) -> Team:
    """What `grpo_step` works with, on the tiny world."""
    settings, model = make_settings(**changes), model if model is not None else make_model()
    tokenizer = make_tokenizer()
    return Team(
        settings=settings,
        policy=model,
        reference=copy.deepcopy(model).requires_grad_(False) if settings.beta else None,
        optimizer=Optimizer(model, epsilon=settings.adam_epsilon, weight_decay=settings.weight_decay),
        sampler_of=lambda step: LocalSampler(model, tokenizer, version=step),
        problems=tuple(make_problems()),
        render=render,
        reward=reward,
        world=world or World(),
    )


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors in a folder of Hugging Face layout."""
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def same_bits(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal, bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
