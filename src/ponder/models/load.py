"""Load a causal language model and its tokenizer: the embedded one, a directory, or a hub id.

What would otherwise be found out late, or never (a layer filled with random numbers because its shard lacks it, a
tokenizer made up from nothing, no token that ends an answer), is an error of one line here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ponder.core.errors import PonderError
from ponder.models.files import check_directory, check_safetensors, fetch, mini_weights, one_line, resolve_model
from ponder.models.size import size_in_name

__all__ = ["LoadedModel", "load_model", "mini_weights", "parameter_count", "pick_device", "pick_dtype", "resolve_model"]

_NOT_CAUSAL = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "ForMultipleChoice", "ForPreTraining")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to sample from and to train, and what one must know of it.

    source: the name or directory that it was asked for by. context_length: tokens of prompt and completion together.
    eos_ids: every token that ends a completion; never empty.
    """

    model: Any
    tokenizer: Any
    source: str
    context_length: int
    eos_ids: tuple[int, ...]


def load_model(
    name_or_dir: str | Path, dtype: str | torch.dtype = "auto", device: str | torch.device = "auto"
) -> LoadedModel:
    """Load in evaluation mode.

    name_or_dir: `mini` (the embedded model), a directory in Hugging Face layout (or one that holds it in `model/`), or
        a hub id.
    dtype: `auto` is float32 on a CPU and bfloat16 on a GPU that has it; or `float32`, `bfloat16`, `float16`.
    device: `auto` is the GPU where there is one.
    Raises PonderError, one line, for whatever is missing, damaged or does not fit together.
    """
    place = pick_device(device)
    number = pick_dtype(dtype, place)
    source = resolve_model(name_or_dir)
    path = source if isinstance(source, Path) else fetch(source)
    check_directory(path)
    from transformers import AutoModelForCausalLM

    name = str(path)
    with _quiet(), one_line(name):
        # All of this before the weights: a missing end token should not cost a minute of loading.
        config, tokenizer, size, eos_ids = _outline(name)
        model, report = AutoModelForCausalLM.from_pretrained(
            name, config=config, dtype=number, output_loading_info=True, ignore_mismatched_sizes=True
        )
    _check_report(report, name)
    rows = model.get_input_embeddings().weight.shape[0]
    if size > rows:
        raise PonderError(
            f"{name}: the tokenizer's ids go up to {size - 1}, the model's embedding has {rows} rows; "
            "take the tokenizer that the model was trained with, or resize the embedding"
        )
    if max(eos_ids) >= rows:
        raise PonderError(
            f"{name}: the end token {max(eos_ids)} is not among the model's {rows} tokens; mend eos_token_id"
        )
    try:
        model = model.to(place).eval()
    except torch.cuda.OutOfMemoryError as error:
        raise PonderError(f"{name} does not fit into the GPU's memory; choose dtype=bfloat16 or device=cpu") from error
    return LoadedModel(model, tokenizer, str(name_or_dir), _context_length(config, tokenizer), eos_ids)


def load_tokenizer(name_or_dir: str | Path) -> tuple[Any, int]:
    """The tokenizer, and the context length, without the weights. Raises PonderError as `load_model` does."""
    source = resolve_model(name_or_dir)
    path = source if isinstance(source, Path) else fetch(source)
    check_directory(path)
    with _quiet(), one_line(str(path)):
        config, tokenizer, _, _ = _outline(str(path))
    return tokenizer, _context_length(config, tokenizer)


def _outline(name: str) -> tuple[Any, Any, int, tuple[int, ...]]:
    """What can be known without the weights: configuration, tokenizer, size of its vocabulary, end tokens."""
    from transformers import AutoConfig, AutoTokenizer

    raw = _raw_config(name)
    config = AutoConfig.from_pretrained(name)
    _check_causal(config, raw, name)
    tokenizer = AutoTokenizer.from_pretrained(name)
    size = 1 + max(tokenizer.get_vocab().values(), default=-1)
    if size <= len(tokenizer.all_special_ids):  # transformers makes up an empty one where files are missing
        raise PonderError(f"{name} has no tokenizer; add its tokenizer files")
    return config, tokenizer, size, _eos_ids(name, raw, tokenizer)


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """`auto`, or a device by name; PonderError where there is no such device."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise PonderError(f"device is {str(device)!r}: should be auto, cpu, cuda or cuda:N") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise PonderError(
            f"device is {str(device)!r}, but PyTorch sees {torch.cuda.device_count()} GPUs here; use device=cpu"
        )
    return found


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where a GPU has it, else float32 (on CPUs bfloat16 is often slower, and always coarser)."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    names |= {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if dtype not in names:
        raise PonderError(f"dtype is {dtype!r}: should be auto, float32, bfloat16 or float16")
    return names[dtype]


def parameter_count(name_or_dir: str | Path) -> int:
    """How many parameters a model has, tied ones once; reads headers or the configuration, never the weights.

    Of a hub model that can be reached neither in the cache nor over the network, what its name says.
    """
    source = resolve_model(name_or_dir)
    if isinstance(source, Path):
        shards = check_directory(source)
        if shards:
            return sum(math.prod(shape) for shard in shards for shape in check_safetensors(shard).values())
    try:
        path = source if isinstance(source, Path) else fetch(source, ("config.json",))
    except PonderError:
        named = size_in_name(str(source))
        if named is None:
            raise
        return named.total
    from transformers import AutoConfig, AutoModelForCausalLM

    with _quiet(), one_line(str(source)):
        config = AutoConfig.from_pretrained(path)
        _check_causal(config, _raw_config(str(path)), str(source))
        with torch.device("meta"):
            return int(AutoModelForCausalLM.from_config(config).num_parameters())


# Checks while and after loading ---------------------------------------------------------------------------------


def _raw_config(name: str) -> dict[str, Any]:
    """config.json as it was written: its class would fill in defaults (Llama's end token 2) that nobody wrote."""
    from transformers import PretrainedConfig

    return dict(PretrainedConfig.get_config_dict(name)[0])


def _check_causal(config: Any, raw: dict[str, Any], name: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    written = (raw.get("architectures") or [""])[0]
    wrong = any(part in written for part in _NOT_CAUSAL) or getattr(config, "is_encoder_decoder", False)
    if wrong or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise PonderError(f"{name} is a {written or config.model_type}, not a causal language model")


def _eos_ids(name: str, raw: dict[str, Any], tokenizer: Any) -> tuple[int, ...]:
    """The generation settings' end tokens and the tokenizer's; the model configuration's where neither names one."""
    from transformers import GenerationConfig

    found: list[int] = []
    with contextlib.suppress(OSError):  # no generation_config.json
        found += _ids(GenerationConfig.from_pretrained(name).eos_token_id)
    found += _ids(tokenizer.eos_token_id)
    found = found or _ids(raw.get("eos_token_id"))
    if not found:
        raise PonderError(
            f"{name} has no end token: set eos_token_id in generation_config.json or eos_token in tokenizer_config.json"
        )
    return tuple(dict.fromkeys(found))


def _ids(value: Any) -> list[int]:
    return [] if value is None else [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]


def _check_report(report: Any, name: str) -> None:
    for key, what in (("mismatched_keys", "do not fit config.json"), ("missing_keys", "lack")):
        keys = sorted(entry if isinstance(entry, str) else entry[0] for entry in report.get(key) or ())
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            line = f"{what} ({keys[0]}{more})" if key == "mismatched_keys" else f"{what} {keys[0]}{more}"
            raise PonderError(f"{name}: the weights {line}; they are damaged or another model's")


def _context_length(config: Any, tokenizer: Any) -> int:
    text = config.get_text_config()
    longest = getattr(text, "max_position_embeddings", None)
    if isinstance(longest, int) and longest > 0:
        return longest
    # Models without positions of their own (ALiBi, state spaces): what the tokenizer says, where it says anything.
    said = getattr(tokenizer, "model_max_length", None)
    return int(said) if said and said < 10**9 else 2**20


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' bars and reports while loading: what matters in them is raised as an error."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
