"""Models that give numbers instead of tokens: outcome models, process models, value models.

Each is a causal language model's body under a linear head with one output, in the classes that transformers has for
that: an outcome model is an `AutoModelForSequenceClassification` (its score is read at the row's last token), process
and value models are `AutoModelForTokenClassification` (a number at every token). They load in plain transformers and
in TRL; `config.json` holds, besides, the separator behind a process model's steps.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ponder.core.errors import PonderError
from ponder.core.seeds import seed_of
from ponder.models.files import check_directory, fetch, one_line
from ponder.models.load import (
    LoadedModel,
    _check_report,
    _context_length,
    _quiet,
    _raw_config,
    pick_device,
    pick_dtype,
    resolve_model,
)

Kind = Literal["outcome", "process"]

STEP_SEPARATOR = "\n"
"""What stands behind each step unless a model's configuration says otherwise: TRL's default too."""

_CLASSES = {"outcome": "ForSequenceClassification", "process": "ForTokenClassification"}
_NAMES = {"outcome": "an outcome model", "process": "a process model"}


@dataclass(frozen=True)
class LoadedHead:
    """A model with a one-number head, and what one must know of it.

    kind: `outcome` (a number a row) or `process` (a number a token; value models too). source: the directory or hub id.
    context_length: tokens of a row at most. step_separator: what stands behind each step (process models).
    """

    model: Any
    tokenizer: Any
    source: str
    kind: Kind
    context_length: int
    step_separator: str = STEP_SEPARATOR


def new_outcome_model(loaded: LoadedModel, seed: int = 0) -> LoadedHead:
    """An outcome model with the body of `loaded` (its tensors are copied) and a head of small numbers keyed by `seed`.

    transformers reads the score at the last token of a row that is not padding, so the padding token must not be what
    a row ends with; where the tokenizer has none, the end token stands in, and the score is read before it.
    Raises PonderError for an architecture that transformers has no such class for.
    """
    model = _new(loaded, "outcome", seed)
    return LoadedHead(model, loaded.tokenizer, loaded.source, "outcome", loaded.context_length)


def new_process_model(loaded: LoadedModel, seed: int = 0, step_separator: str = STEP_SEPARATOR) -> LoadedHead:
    """A process model with the body of `loaded` and a new head; `step_separator` goes into its configuration.

    Raises PonderError as `new_outcome_model`, and for a separator that the tokenizer turns into nothing.
    """
    separator_ids(loaded.tokenizer, step_separator)
    model = _new(loaded, "process", seed)
    model.config.step_separator = step_separator
    return LoadedHead(model, loaded.tokenizer, loaded.source, "process", loaded.context_length, step_separator)


def new_value_model(loaded: LoadedModel) -> Any:
    """A value model for PPO: a token classifier whose head is zero, so that every first value is 0. Returns the model.

    Its output at token t speaks of the text up to and with t. Raises PonderError as `new_outcome_model`.
    """
    model = _new(loaded, "process", 0)
    for name, parameter in model.named_parameters():
        if not name.startswith(f"{model.base_model_prefix}."):  # the head, whatever it is called there
            torch.nn.init.zeros_(parameter)
    return model


def load_head(
    name_or_dir: str | Path,
    kind: Kind | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
) -> LoadedHead:
    """Load an outcome, process or value model in evaluation mode.

    name_or_dir: a directory in Hugging Face layout (or one that holds it in `model/`), or a hub id.
    kind: what it must be; None takes either. dtype, device: as `ponder.models.load.load_model` has them.
    Raises PonderError for a model of another kind, with more than one output, or damaged.
    """
    place = pick_device(device)
    number = pick_dtype(dtype, place)
    source = resolve_model(name_or_dir)
    path = source if isinstance(source, Path) else fetch(source)
    check_directory(path)
    import transformers

    name = str(path)
    with _quiet(), one_line(name):
        found = _kind_of(name, kind)
        config = transformers.AutoConfig.from_pretrained(name)
        if config.num_labels != 1:
            raise PonderError(
                f"{name} has {config.num_labels} outputs; a reward model of Ponder has one (num_labels=1)"
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        auto = getattr(transformers, f"AutoModel{_CLASSES[found]}")
        model, report = auto.from_pretrained(
            name, config=config, dtype=number, output_loading_info=True, ignore_mismatched_sizes=True
        )
    _check_report(report, name)
    separator = str(getattr(config, "step_separator", STEP_SEPARATOR))
    return LoadedHead(
        model.to(place).eval(), tokenizer, str(name_or_dir), found, _context_length(config, tokenizer), separator
    )


def separator_ids(tokenizer: Any, step_separator: str) -> list[int]:
    """The tokens of a step separator; PonderError where there are none."""
    ids = list(tokenizer(step_separator, add_special_tokens=False)["input_ids"]) if step_separator else []
    if not ids:
        raise PonderError(f"step_separator {step_separator!r} is no token of this tokenizer; choose a newline, say")
    return ids


def _kind_of(name: str, wanted: Kind | None) -> Kind:
    written = (_raw_config(name).get("architectures") or [""])[0]
    kinds: tuple[Kind, ...] = ("outcome", "process")
    for kind in kinds:
        if _CLASSES[kind] in written and wanted in (None, kind):
            return kind
    need = _NAMES[wanted] + f" (a …{_CLASSES[wanted]})" if wanted else "an outcome or process model"
    raise PonderError(f"{name} is a {written or 'model of no named architecture'}, not {need}; train one from it first")


def _new(loaded: LoadedModel, kind: Kind, seed: int) -> Any:
    import transformers

    causal, auto = loaded.model, getattr(transformers, f"AutoModel{_CLASSES[kind]}")
    config = copy.deepcopy(causal.config)
    if type(config) not in auto._model_mapping:
        raise PonderError(f"{loaded.source}: transformers has no {type(causal).__name__} as {_NAMES[kind]}")
    config.num_labels = 1
    pad = loaded.tokenizer.pad_token_id
    config.get_text_config().pad_token_id = config.pad_token_id = loaded.eos_ids[0] if pad is None else pad
    if kind == "process":
        config.classifier_dropout = 0.0  # else 0.1: chance would be part of the loss
    parameter = next(causal.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("head", kind, seed))
        model = auto.from_config(config, dtype=parameter.dtype)
    body = getattr(model, model.base_model_prefix)
    body.load_state_dict(causal.base_model.state_dict())
    return model.to(parameter.device).eval()
