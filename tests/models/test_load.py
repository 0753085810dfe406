from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from ponder.core.errors import PonderError
from ponder.models import files
from ponder.models.load import load_model, parameter_count, pick_device, pick_dtype, resolve_model

SHAPE = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1)
END = 256


def make_tokenizer(end: str | None = "<|end|>") -> PreTrainedTokenizerFast:
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, **({"eos_token": end} if end else {}))


def make_model(kind: str = "qwen3", vocab: int = 260, **how) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**SHAPE, vocab_size=vocab, max_position_embeddings=96, **how))
    how = {"eos_token_id": None, **how}
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16, vocab_size=vocab, max_position_embeddings=128, **how))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    for name, size in (("whole", "5GB"), ("parts", "40kB")):
        make_model().save_pretrained(folder / name, max_shard_size=size)
        make_tokenizer().save_pretrained(folder / name)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(saved / name, tmp_path / name))


def fault(name: str | Path, **how) -> str:
    with pytest.raises(PonderError) as caught:
        load_model(name, **{"device": "cpu", **how})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(file: Path, **changes) -> None:
    values = json.loads(file.read_text())
    values.update(changes)
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


@pytest.mark.parametrize("name", ["whole", "parts"])
def test_a_directory_loads_with_the_saved_weights(saved, name):
    loaded = load_model(saved / name, device="cpu")
    assert (loaded.source, loaded.context_length, loaded.eos_ids) == (str(saved / name), 128, (END,))
    assert loaded.tokenizer.decode(loaded.tokenizer("2+2 é").input_ids) == "2+2 é"
    assert not loaded.model.training and loaded.model.dtype == torch.float32
    wanted = make_model().state_dict()
    got = loaded.model.state_dict()
    assert wanted.keys() == got.keys() and all(torch.equal(wanted[key], got[key]) for key in wanted)


def test_dtype_and_device_are_obeyed(saved):
    assert load_model(saved / "whole", dtype="bfloat16", device="cpu").model.dtype == torch.bfloat16
    assert load_model(saved / "whole", dtype=torch.float64, device="cpu").model.dtype == torch.float64
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert "dtype is 'int3': should be auto, float32" in fault(saved / "whole", dtype="int3")
    assert "device is 'gpu9': should be auto, cpu" in fault(saved / "whole", device="gpu9")
    assert "device is 'cuda:99', but PyTorch sees" in fault(saved / "whole", device="cuda:99")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_model_inside_a_stage_or_a_run(copy, tmp_path):
    inner = copy("whole")
    run = tmp_path / "run"
    run.mkdir()
    shutil.move(inner, run / "model")
    (run / "config.json").write_text('{"learning_rate": 1}')  # the run's own settings
    assert load_model(run, device="cpu").eos_ids == (END,)
    # A run of several stages, of which one made a model.
    whole = tmp_path / "runs" / "r1-zero"
    whole.mkdir(parents=True)
    shutil.move(run, whole / "train")
    (whole / "evaluation").mkdir()
    assert "has no config.json" in fault(whole), "the stage is not finished"
    (whole / "train" / "manifest.json").write_text("{}")
    assert load_model(whole, device="cpu").eos_ids == (END,)


def test_end_tokens_of_generation_settings_and_tokenizer_are_joined(copy):
    path = copy("whole")
    edit(path / "generation_config.json", eos_token_id=[7, 9])
    assert load_model(path, device="cpu").eos_ids == (7, 9, END)
    edit(path / "generation_config.json", eos_token_id=7)
    edit(path / "config.json", eos_token_id=11)
    edit(path / "tokenizer_config.json", eos_token=None)
    assert load_model(path, device="cpu").eos_ids == (7,), "the model's configuration is asked last"
    (path / "generation_config.json").unlink()
    assert load_model(path, device="cpu").eos_ids == (11,)
    edit(path / "config.json", eos_token_id=None)
    assert "has no end token: set eos_token_id in generation_config.json" in fault(path)
    edit(path / "config.json", eos_token_id=4000)
    assert "end token 4000 is not among the model's 260 tokens" in fault(path)


def test_a_default_that_nobody_wrote_is_no_end_token(tmp_path):
    model = make_model("llama")
    model.save_pretrained(tmp_path)
    make_tokenizer(end=None).save_pretrained(tmp_path)
    edit(tmp_path / "config.json", eos_token_id=...)
    (tmp_path / "generation_config.json").unlink()
    assert LlamaConfig.from_pretrained(tmp_path).eos_token_id == 2, "what the configuration's class would make of it"
    assert "has no end token" in fault(tmp_path)


def test_weights_cut_short(copy):
    path = copy("whole")
    file = path / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-100])
    assert f"model.safetensors is cut short: {len(data) - 100} bytes of {len(data)}; copy it there again" in fault(path)
    for damaged in (b"", data[:50], b"x" * 500, data[:8] + b"[]" + data[10:]):
        file.write_bytes(damaged)
        assert "model.safetensors is damaged or not a safetensors file" in fault(path)
    file.unlink()
    assert "has no weights" in fault(path)


def test_a_part_that_is_missing_or_cut(copy):
    path = copy("parts")
    names = sorted(file.name for file in path.glob("model-*.safetensors"))
    (path / names[1]).write_bytes((path / names[1]).read_bytes()[:-1])
    assert f"{names[1]} is cut short" in fault(path)
    (path / names[1]).unlink()
    assert f"{names[1]} is missing; copy the weights" in fault(path)
    (path / names[2]).unlink()
    assert f"{names[1]} is missing (and 1 more)" in fault(path)
    (path / "model.safetensors.index.json").write_text("{")
    assert "model.safetensors.index.json is damaged" in fault(path)
    (path / "model.safetensors.index.json").write_text("{}")
    assert "names no files" in fault(path)


def test_a_layer_that_is_not_in_the_weights(copy):
    path = copy("whole")
    edit(path / "config.json", num_hidden_layers=3, layer_types=["full_attention"] * 3)
    assert "the weights lack model.layers.2.input_layernorm.weight and 10 more" in fault(path)


def test_weights_of_another_shape(copy):
    path = copy("whole")
    edit(path / "config.json", intermediate_size=48)
    assert "the weights do not fit config.json (model.layers.0.mlp.down_proj.weight and 5 more)" in fault(path)


def test_configurations(copy):
    path = copy("whole")
    edit(path / "config.json", architectures=["Qwen3ForSequenceClassification"])
    assert "is a Qwen3ForSequenceClassification, not a causal language model" in fault(path)
    edit(path / "config.json", architectures=None, model_type="t5")
    assert "is a t5, not a causal language model" in fault(path)
    edit(path / "config.json", model_type="no-such-kind")
    assert "could not be loaded" in fault(path)
    (path / "config.json").write_text("{")
    assert "config.json is damaged" in fault(path)
    (path / "config.json").unlink()
    assert "has no config.json" in fault(path)
    (path / "adapter_config.json").write_text("{}")
    assert "holds a LoRA adapter" in fault(path)


def test_a_tokenizer_that_is_missing(copy):
    path = copy("whole")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    assert "has no tokenizer; copy tokenizer.json" in fault(path)
    # transformers makes up an empty tokenizer where it knows none of the files.
    (path / "other.model").write_text("")
    assert "has no tokenizer; add its tokenizer files" in fault(path)


def test_a_vocabulary_that_does_not_match(tmp_path):
    make_model(vocab=200).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert "the tokenizer's ids go up to 256, the model's embedding has 200 rows" in fault(tmp_path)


def test_names(tmp_path, monkeypatch):
    assert resolve_model("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    line = "could not be loaded: give a directory, a hub id, 'mini' or 'mini-small'"
    assert fault("nobody/nothing") == f"nobody/nothing {line} (no network here, and it is not in the cache)"
    with pytest.raises(PonderError, match="nobody/nothing could not be loaded"):
        parameter_count("nobody/nothing")
    assert "no such directory" in fault(tmp_path / "none")
    assert "no such directory" in fault("./none")
    assert "no model is named; give a directory" in fault("")
    (tmp_path / "file").write_text("")
    assert "is a file; give the model's directory" in fault(tmp_path / "file")
    monkeypatch.setattr(files, "mini_weights", lambda name="mini": None)
    assert "make them with `ponder run mini-base`" in fault("mini")
    assert "make them with `ponder run mini-small`" in fault("mini-small")


def test_the_embedded_model_is_a_directory_like_any_other(saved, monkeypatch):
    monkeypatch.setattr(files, "mini_weights", lambda name="mini": saved / "whole")
    loaded = load_model("mini", device="cpu")
    assert loaded.source == "mini" and loaded.eos_ids == (END,)


def test_loading_is_quiet_and_leaves_the_settings_of_transformers_alone(saved, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model(saved / "whole", device="cpu")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["whole", "parts", "tied", "bin"])
def test_parameters_are_counted_without_loading(saved, tmp_path, how):
    path, model = saved / how, make_model(tie_word_embeddings=how in ("tied", "bin"))
    if not path.exists():
        path = tmp_path
        model.save_pretrained(path)
        make_tokenizer().save_pretrained(path)
    if how == "bin":  # a file of another format is not read: the configuration says it
        (path / "model.safetensors").rename(path / "pytorch_model.bin")
    assert parameter_count(path) == sum(parameter.numel() for parameter in model.parameters())


def test_a_hub_model_is_fetched_and_then_checked_like_a_directory(saved, monkeypatch):
    import huggingface_hub

    asked: list[dict] = []

    def download(name: str, **how) -> str:
        asked.append({"name": name, **how})
        return str(saved / "whole")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(files, "_offline", lambda endpoint: False)
    loaded = load_model("someone/something", device="cpu")
    assert loaded.source == "someone/something" and loaded.eos_ids == (END,)
    assert asked[0]["name"] == "someone/something" and not asked[0]["local_files_only"] and len(asked) == 1
    assert parameter_count("someone/something") == loaded.model.num_parameters()
    assert asked[1]["allow_patterns"] == ["config.json"], "a plan downloads no weights"


def test_offline_is_noticed_by_name_only(monkeypatch):
    import huggingface_hub

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert files._offline("https://localhost:1"), "HF_HUB_OFFLINE is obeyed"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert not files._offline("https://127.0.0.1:1")

    def unknown(*_: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(files.socket, "getaddrinfo", unknown)
    assert files._offline("https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert not files._offline("https://hub.invalid")


def test_a_gpu_that_is_too_small(saved, monkeypatch):
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    assert "does not fit into the GPU's memory; choose dtype=bfloat16 or device=cpu" in fault(saved / "whole")
