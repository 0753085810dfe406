from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic
import pytest

from ponder.core import config
from ponder.core.config import Settings, load_recipe, merge_overrides, parse_settings
from ponder.core.errors import PonderError


class Grpo(Settings):
    learning_rate: float = 1e-6
    num_generations: int = pydantic.Field(8, ge=2)
    loss_type: Literal["grpo", "dr_grpo"] = "grpo"
    epsilon_high: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)


class Job(Settings):
    model: str
    seed: int = 0
    packing: bool = False
    grpo: Grpo = Grpo()


def refused(values: dict, **how) -> str:
    with pytest.raises(PonderError) as caught:
        parse_settings(Job, values, where="r1-zero", **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_values_arrive():
    job = parse_settings(Job, {"model": "mini", "grpo": {"betas": [0.8, 0.9], "learning_rate": 3}}, where="r1-zero")
    assert (job.grpo.betas, job.grpo.learning_rate, job.seed) == ((0.8, 0.9), 3.0, 0)
    with pytest.raises(pydantic.ValidationError):
        job.seed = 3


@pytest.mark.parametrize(
    "values, line",
    [
        ({"grpo": {"lerning_rate": 1}}, "r1-zero.grpo.lerning_rate is unknown; did you mean learning_rate?"),
        ({"modle": "x"}, "r1-zero.modle is unknown; did you mean model? (and 1 more)"),
        ({"model": "x", "learning_rate": 1}, "r1-zero.learning_rate is unknown; did you mean grpo.learning_rate?"),
        ({"model": "x", "lerning_rate": 1}, "r1-zero.lerning_rate is unknown; did you mean grpo.learning_rate?"),
        ({"model": "x", "zzz": 1}, "r1-zero.zzz is unknown; known here: model, seed, packing, grpo"),
        ({}, "r1-zero.model is missing"),
        ({"model": "x", "seed": "soon"}, "r1-zero.seed is 'soon': should be a valid integer, unable to parse"),
        ({"model": "x", "seed": True}, "r1-zero.seed is True: should be a number, not true or false"),
        ({"model": "x", "grpo": {"epsilon_high": False}}, "r1-zero.grpo.epsilon_high is False: should be a number"),
        ({"model": "x", "grpo": {"num_generations": 1}}, "r1-zero.grpo.num_generations is 1: should be greater than"),
        ({"model": "x", "grpo": {"loss_type": "drgrpo"}}, "'grpo' or 'dr_grpo'; did you mean dr_grpo?"),
        ({"model": "x", "grpo": {"learning_rate": float("nan")}}, "learning_rate is nan: should be a finite number"),
        ({"model": "x", "grpo": {"betas": [0.9, "b"]}}, "r1-zero.grpo.betas.1 is 'b': should be a valid number"),
        ({"model": "x", "grpo": 3}, "r1-zero.grpo is 3: should be"),
    ],
)
def test_each_fault_is_one_line_with_key_value_and_remedy(values, line):
    assert line in refused(values)


def test_a_bool_stays_welcome_where_it_is_meant():
    assert parse_settings(Job, {"model": "x", "packing": True}, where="r").packing is True


def test_aliases_reach_into_groups():
    aliases = {"actor.lr": "grpo.learning_rate", "rollout.n": "grpo.num_generations"}
    values = {"model": "m", "actor": {"lr": 1e-3}, "rollout": {"n": 4}}
    job = parse_settings(Job, values, aliases, "verl")
    assert (job.grpo.learning_rate, job.grpo.num_generations) == (1e-3, 4)
    assert values == {"model": "m", "actor": {"lr": 1e-3}, "rollout": {"n": 4}}, "the caller's mapping is left alone"
    # What stays in the other tool's group is unknown, not ignored.
    assert "rollout is unknown" in refused({"model": "m", "rollout": {"n": 4, "top": 1}}, aliases=aliases)
    twice = {"model": "m", "rollout": {"n": 4}, "grpo": {"num_generations": 4}}
    assert refused(twice, aliases=aliases) == "r1-zero: grpo.num_generations is given twice, once as rollout.n"


def test_a_validator_of_the_whole_speaks_in_one_line():
    class Pair(Settings):
        low: float = 0.2
        high: float = 0.2

        @pydantic.model_validator(mode="after")
        def _order(self) -> Pair:
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    with pytest.raises(PonderError, match=r"^pair: low is above high$"):
        parse_settings(Pair, {"low": 1}, where="pair")

    class Outer(Settings):
        pair: Pair = Pair()

    with pytest.raises(PonderError, match=r"^outer.pair: low is above high$"):
        parse_settings(Outer, {"pair": {"low": 1}}, where="outer")


def test_overrides_are_yaml_and_do_not_touch_the_original():
    base = {"model": "mini", "grpo": {"learning_rate": 1.0}}
    overrides = ["grpo.learning_rate=1e-6", "seed=7", "packing=true", "a.b.c=[1, x]", "stop=null", "no=no", "eq=a=b"]
    assert merge_overrides(base, overrides) == {
        "model": "mini",
        "grpo": {"learning_rate": 1e-6},
        "seed": 7,
        "packing": True,
        "a": {"b": {"c": [1, "x"]}},
        "stop": None,
        "no": "no",
        "eq": "a=b",
    }
    assert base == {"model": "mini", "grpo": {"learning_rate": 1.0}}


@pytest.mark.parametrize(
    "override, line",
    [
        ("learning_rate", "is not a setting; write key=value"),
        ("=3", "is not a setting; write key=value"),
        ("a..b=3", "is not a setting; write key=value"),
        ("model.name=x", "model.name cannot be set: model is 'mini', not a group"),
        ("stop=[1", "stop, line 1: "),
    ],
)
def test_bad_overrides(override, line):
    with pytest.raises(PonderError) as caught:
        merge_overrides({"model": "mini"}, [override])
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_yaml_scalars_are_those_of_1_2():
    text = "a: 1e-6\nb: no\nc: 1:30\nd: 0x1\ne: 010\nf: -3\ng: 1.\nh: .5\ni: on\nj: 2001-01-01\nk:\nl: 'true'\nm: none"
    assert config.read_yaml(text, "t") == {
        "a": 1e-6, "b": "no", "c": "1:30", "d": "0x1", "e": 10, "f": -3, "g": 1.0, "h": 0.5, "i": "on",
        "j": "2001-01-01", "k": None, "l": "true", "m": "none",
    }  # fmt: skip


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("mini/r1-zero", "mini/sft", "math/r1-zero", "math/long", "code/long"):
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"pipeline: r1-zero\nmodel: {name}\n")
    found = {path.relative_to(tmp_path).with_suffix("").as_posix(): path for path in tmp_path.rglob("*.yaml")}
    monkeypatch.setattr(config, "recipe_names", lambda: found)
    return tmp_path


def test_recipes_by_name(recipes):
    assert load_recipe("r1-zero") == {"pipeline": "r1-zero", "model": "mini/r1-zero"}
    assert load_recipe("math/r1-zero")["model"] == "math/r1-zero"
    with pytest.raises(PonderError, match="no recipe is called 'r1-zer'; did you mean r1-zero"):
        load_recipe("r1-zer")
    with pytest.raises(PonderError, match="no recipe is called 'qqq'; known: long, r1-zero, sft"):
        load_recipe("qqq")
    with pytest.raises(
        PonderError, match="several recipes are called 'long': math/long, code/long|code/long, math/long"
    ):
        load_recipe("long")


def test_recipes_by_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("pipeline: r1-zero\ngrpo:\n  learning_rate: 1e-6\n")
    assert load_recipe(file)["grpo"] == {"learning_rate": 1e-6}
    for text, line in [
        ("a: 1\nb: [", "mine.yaml, line 2"),
        ("a: 1\na: 2", "mine.yaml, line 2: 'a' is given twice"),
        ("- 1", "holds no settings"),
        ("", "holds no settings"),
        ("1: 2", "holds no settings"),
        ("a: \x00", "mine.yaml: "),
    ]:
        file.write_text(text)
        with pytest.raises(PonderError) as caught:
            load_recipe(file)
        assert line in str(caught.value) and "\n" not in str(caught.value)
    file.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(PonderError, match="mine.yaml cannot be read"):
        load_recipe(file)
    with pytest.raises(PonderError, match="none.yaml: no such file"):
        load_recipe(tmp_path / "none.yaml")


def test_the_recipes_that_come_with_ponder_are_found():
    root = Path(__file__).resolve().parents[2] / "recipes"
    written = {path.relative_to(root).with_suffix("").as_posix() for path in root.glob("**/*.yaml")}
    assert written <= set(config.recipe_names())
    for name in written:
        assert load_recipe(name)["pipeline"], f"recipes/{name}.yaml names its pipeline"


def test_merge_keys_share_settings_between_the_stages_of_a_recipe():
    text = "a: &one {rate: 1, steps: 2}\nb: {<<: *one, steps: 3}\nc: {<<: *one}"
    one, other = {"rate": 1, "steps": 2}, {"rate": 1, "steps": 3}
    assert config.read_yaml(text, "x") == {"a": one, "b": other, "c": one}
    with pytest.raises(PonderError, match="given twice"):
        config.read_yaml("b: {steps: 3, steps: 4}", "x")
