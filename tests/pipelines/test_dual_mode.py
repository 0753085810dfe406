"""Two modes: what counts as an answer of a mode, balance, gaps, pairs, the sweep; the whole on `mini`, and kill -9."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ponder.core.config import load_recipe, merge_overrides, parse_settings
from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Problem
from ponder.data.rows import write_rows
from ponder.mini.tokenizer import CHAT_TEMPLATE
from ponder.models.load import load_model, load_tokenizer, resolve_model
from ponder.pipelines import dual_mode, machine
from ponder.pipelines.dual_data import (
    BalanceSettings,
    answers_in,
    balance_modes,
    graded_in,
    in_balance,
    keep_thoughts,
    pair_modes,
)
from ponder.pipelines.dual_measure import SWEEP, MergeSettings
from ponder.pipelines.dual_mode import DUAL_MODE, NAMES, DualModeSettings
from ponder.pipelines.mix import MixSettings, held_out_problems, training_mix
from ponder.pipelines.stage_table import read_table
from ponder.pipelines.sweep_plot import LINES, sweep_svg
from ponder.tasks.drawing import split_of
from ponder.training.distributed import World

STAGES = (
    "eval-base", "traces", "mid-data", "mid-training", "eval-mid", "answers", "sft-data", "sft", "eval-sft", "rated",
    "apo-data", "apo", "eval-apo", "merge", "eval-merged", "table",
)  # fmt: skip

SMALL = (
    "processes=1", "data.reasoning=[arithmetic, equations]", "measure.problems=9", "measure.n=2",
    "measure.max_completion_length=80", "traces={problems: 40, n: 2, n_no_think: 0, max_completion_length: 80}",
    "answers={problems: 40, n: 2, n_no_think: 2, max_completion_length: 80}",
    "rated={problems: 40, n: 2, n_no_think: 2, max_completion_length: 80}",
    *(f"{part}.{setting}" for part in ("mid", "sft", "apo") for setting in ("max_steps=2", "warmup_steps=0")),
    "apo.save_steps=1", "merge.weights=[1.0, 0.5]",
    "merge.measure={problems: 6, n: 1, max_completion_length: 80}",
)  # fmt: skip


def settings_of(*overrides: str) -> DualModeSettings:
    """The recipe, made small."""
    values = merge_overrides(load_recipe("dual-mode"), [*SMALL, *overrides])
    values.pop("pipeline")
    return parse_settings(DualModeSettings, values, DUAL_MODE.aliases, "dual-mode")


PROBLEMS = training_mix(MixSettings(reasoning=("arithmetic",)), 6, "tests of modes")


def trace(problem: Problem, text: str, correct: bool | None = True, sample: int = 0, **more: Any) -> dict[str, Any]:
    """A row as the data stages write it, of a completion of any form."""
    thought, closed, rest = text.partition("</think>")
    return {
        "id": problem.id, "task": problem.task, "problem": problem.prompt, "answer": problem.answer,
        "data": dict(problem.data), "prompt": "?", "completion": text, "finish": "stop", "sample": sample,
        "reasoning": thought.removeprefix("<think>").strip() if closed else "", "prompt_tokens": 9,
        "response": (rest if closed else text).strip(), "completion_tokens": len(text) // 4, "correct": correct,
        "correct_lenient": correct, "well_formed": bool(closed) and text.startswith("<think>"), "score": None,
        "parts": {}, "note": "", "provenance": {"teacher": "t", "stage": "s"}, **more,
    }  # fmt: skip


THOUGHT, AT_ONCE = "<think>\n2+3=5\n</think>\n<answer>5</answer>", "<answer>5</answer>"


@pytest.mark.parametrize(
    ("mode", "text", "form", "right"),
    [
        ("think", THOUGHT, True, True),
        ("think", AT_ONCE, False, False),  # no thought where one was asked for
        ("no_think", AT_ONCE, True, True),
        ("no_think", THOUGHT, True, False),  # a leak
        ("no_think", THOUGHT, False, False),
        ("no_think", "2+3=5\n<answer>5</answer>", True, False),
        ("no_think", "2+3=5\n<answer>5</answer>", False, True),
    ],
)
def test_an_answer_counts_in_its_mode(mode: Any, text: str, form: bool, right: bool) -> None:
    found = graded_in(mode, trace(PROBLEMS[0], text), form)
    assert found["correct"] is right
    if mode == "no_think":
        assert (found["reasoning"], found["response"]) == ("", text)  # a thought that leaked stays where it was written
    assert graded_in(mode, trace(PROBLEMS[0], text, correct=None), form)["correct"] is None
    assert graded_in(mode, trace(PROBLEMS[0], text, correct=False), form)["correct"] is False


def folder_of(tmp_path: Path, think: Sequence[Any], no_think: Sequence[Any]) -> Path:
    (tmp_path / "answers").mkdir()
    write_rows(tmp_path / "answers" / "think.jsonl", think)
    write_rows(tmp_path / "answers" / "no_think.jsonl", no_think)
    return tmp_path / "answers"


FILTER = {"well_formed": True, "max_per_problem": 1, "which": "first"}


def test_gaps_are_filled_and_modes_are_flagged(tmp_path: Path) -> None:
    """A problem that was got right at once keeps that answer; where only thinking helped, it is the one behind it."""
    a, b, c = PROBLEMS[:3]
    answers = folder_of(
        tmp_path,
        [trace(a, THOUGHT), trace(b, THOUGHT), trace(c, THOUGHT, correct=False)],
        [trace(a, "<answer>05</answer>"), trace(b, THOUGHT), trace(c, AT_ONCE, correct=False)],
    )
    cfg = {"name": "x", "filter": FILTER, "balance": {"by": "rows"}, "seed": 0}
    told = balance_modes(cfg, tmp_path, world=World(), answers=answers)
    rows = {(row["id"], row["mode"]): row for row in read_jsonl(tmp_path / "sft.jsonl")}
    assert rows.keys() == {(p.id, mode) for p in (a, b) for mode in ("think", "no_think")}
    assert told["gaps filled"] == 1 and told["left out for balance"] == 0
    assert rows[b.id, "no_think"]["messages"] == [
        {"role": "system", "content": "/no_think"}, {"role": "user", "content": b.prompt},
        {"role": "assistant", "content": AT_ONCE},
    ]  # fmt: skip
    assert rows[a.id, "no_think"]["messages"][-1]["content"] == "<answer>05</answer>"
    assert rows[a.id, "think"]["messages"][0]["content"] == "/think"
    assert rows[a.id, "think"]["messages"][-1]["content"] == THOUGHT
    read, _ = load_tokenizer("mini")
    for (_, mode), row in rows.items():
        text = read.apply_chat_template(row["messages"], tokenize=False)
        assert ("<think>\n\n</think>\n\n<answer>" in text) == (mode == "no_think") and "/no_think" not in text


def test_balance_by_rows_and_by_tokens() -> None:
    rows: dict[Any, list[dict[str, Any]]] = {
        "think": [{"n": i, "tokens": 40} for i in range(30)], "no_think": [{"n": i, "tokens": 10} for i in range(50)]
    }  # fmt: skip
    found = in_balance(rows, BalanceSettings(by="rows", think_share=0.5), 0)
    assert [len(found[mode]) for mode in ("think", "no_think")] == [30, 30]
    found = in_balance(rows, BalanceSettings(by="rows", think_share=0.25), 0)
    assert [len(found[mode]) for mode in ("think", "no_think")] == [16, 50]
    found = in_balance(rows, BalanceSettings(by="tokens", think_share=0.5), 0)
    assert [len(found[mode]) for mode in ("think", "no_think")] == [12, 50]
    found = in_balance(rows, BalanceSettings(by="none"), 0)
    assert [len(found[mode]) for mode in ("think", "no_think")] == [30, 50]
    assert in_balance(rows, BalanceSettings(), 1) == in_balance(rows, BalanceSettings(), 1)
    assert in_balance(rows, BalanceSettings(), 1) != in_balance(rows, BalanceSettings(), 2)


def test_pairs_stay_within_a_mode_and_leaks_are_rejected(tmp_path: Path) -> None:
    a, b = PROBLEMS[:2]
    wrong = "<think>\n2+3=6\n</think>\n<answer>6</answer>"
    answers = folder_of(
        tmp_path,
        [trace(a, THOUGHT), trace(a, wrong, False, 1), trace(b, AT_ONCE), trace(b, THOUGHT, sample=1)],
        [trace(a, AT_ONCE), trace(a, THOUGHT, sample=1), trace(b, AT_ONCE), trace(b, "<answer>5</answer> ", sample=1)],
    )
    told = pair_modes({"name": "x", "pairs": {"well_formed": True}}, tmp_path, world=World(), answers=answers)
    every = [row for name in ("pairs.jsonl", "held_pairs.jsonl") for row in read_jsonl(tmp_path / name)]
    assert told == {"pairs, think": 2, "pairs, no_think": 1}
    pairs = {(row["id"], row["mode"]): (row["chosen"][0]["content"], row["rejected"][0]["content"])
             for row in every}  # fmt: skip
    assert pairs == {
        (a.id, "think"): (THOUGHT, wrong),
        (b.id, "think"): (THOUGHT, AT_ONCE),  # to think: an answer without a thought is rejected, right as it is
        (a.id, "no_think"): (AT_ONCE, THOUGHT),  # a leak
    }
    assert {row["prompt"][0]["content"] for row in every} == {"/think", "/no_think"}


def test_nothing_to_learn_from_and_held_out_problems_are_errors(tmp_path: Path) -> None:
    answers = folder_of(tmp_path, [trace(PROBLEMS[0], THOUGHT, correct=False)], [])
    with pytest.raises(PonderError, match="no right answer with a thought; sample more problems"):
        keep_thoughts({"name": "x", "filter": FILTER}, tmp_path, world=World(), answers=answers)
    with pytest.raises(PonderError, match="no problem with a better and a worse answer"):
        pair_modes({"name": "x", "pairs": {}}, tmp_path, world=World(), answers=answers)
    held = held_out_problems(MixSettings(reasoning=("arithmetic",), general=()), 1)[0]
    rows = [trace(held, THOUGHT), trace(held, "<think>\n</think>\n<answer>6</answer>", False, 1)]
    write_rows(answers / "think.jsonl", rows)
    cfg: dict[str, Any] = {"name": "x", "filter": FILTER, "balance": {}, "seed": 0, "pairs": {}}
    for stage in (keep_thoughts, balance_modes, pair_modes):
        with pytest.raises(PonderError, match="is held out"):
            stage(cfg, tmp_path, world=World(), answers=answers)


def test_a_template_without_modes_is_one_clear_line(tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(resolve_model("mini")), str(tmp_path / "model")], check=True)
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(PonderError, match="knows neither enable_thinking nor /no_think"):
        dual_mode.run(settings_of(f"model={tmp_path / 'model'}"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weights", ["[1.5]", "[]", "[0.5, 0.5]"])
def test_weights_are_shares(weights: str) -> None:
    with pytest.raises(PonderError, match="weights are .*: give different shares between 0 and 1"):
        parse_settings(MergeSettings, {"weights": json.loads(weights)}, {}, "merge")


def test_one_seed_for_all_and_defaults_stay() -> None:
    told = settings_of("seed=5", "apo.seed=7")
    assert (told.mid.seed, told.sft.seed, told.apo.seed, told.filter.seed, told.pairs.seed) == (5, 5, 7, 5, 5)
    bare = DualModeSettings()
    assert bare.apo.loss_type == "apo_zero" and bare.mid.packing and bare.pairs.well_formed
    assert DualModeSettings(apo={"beta": 0.2}).apo.loss_type == "apo_zero"


def test_the_picture_is_a_picture() -> None:
    def cell(value: float | None) -> dict[str, Any]:
        return {"value": value, "low": None if value is None else value - 0.1, "high": value}

    points = [{"weight": w, **{key: cell(0.2 * w + 0.1) for key, *_ in LINES}} for w in (0.0, 0.5, 1.0)]
    points[1]["no_think/leaked"] = cell(None)
    root = ElementTree.fromstring(sweep_svg(points, 0.5))
    assert len(root.findall(".//{*}polyline")) == len(LINES) and len(root.findall(".//{*}circle")) == 11 + len(LINES)
    assert "chosen: 0.5" in "".join(root.itertext())


# ---- the whole ----


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, start to end."""
    out = tmp_path_factory.mktemp("dual-mode")
    dual_mode.run(settings_of(), out)
    return out


def test_every_stage_is_there_and_the_plan_knows_them(whole: Path) -> None:
    assert all((whole / name / "manifest.json").exists() for name in STAGES)
    planned = DUAL_MODE.plan(settings_of(), whole)
    assert [row.stage for row in planned] == list(STAGES) and {row.state for row in planned} == {"done"}
    fresh = DUAL_MODE.plan(settings_of(), whole / "nowhere")
    assert {row.state for row in fresh} == {"to do"} and sum(row.seconds or 0 for row in fresh) > 0


def test_the_table_has_a_row_a_model_and_both_modes(whole: Path) -> None:
    table = read_table(whole)
    assert table is not None and [row["name"] for row in table["rows"]] == list(NAMES.values())
    cells = {row["name"]: row["cells"] for row in table["rows"]}
    for mode in ("think", "no_think"):
        for name in NAMES.values():
            cell = cells[name][f"{mode}/accuracy"]
            assert cell["low"] <= cell["value"] <= cell["high"]
    assert cells["base"]["no_think/tokens"]["value"] < cells["base"]["think/tokens"]["value"]
    assert {check["verdict"] for check in table["checks"]} <= {"agrees", "does not agree", "not shown"}
    swept = json.loads((whole / "merge" / SWEEP).read_text())
    assert [point["weight"] for point in swept["points"]] == [1.0, 0.5]
    best = max(point["score"]["value"] for point in swept["points"])
    assert next(p for p in swept["points"] if p["weight"] == swept["best"])["score"]["value"] == best
    assert table["curves"][0]["best"] == swept["best"]
    assert table["notes"][-1].startswith("merge (linear)")
    ids = [{row["id"] for row in read_jsonl(whole / "apo-data" / f"{name}.jsonl")} for name in ("pairs", "held_pairs")]
    assert ids[0] and not ids[0] & ids[1]
    assert len(table["notes"]) == 1 + bool(ids[1])
    ElementTree.parse(whole / "merge" / "sweep.svg")
    made = json.loads((whole / "merge" / "model" / "merge.json").read_text())
    assert made["weights"] == [swept["best"], 1 - swept["best"]]
    assert load_model(whole / "merge").tokenizer.chat_template == CHAT_TEMPLATE
    assert not list((whole / "merge").glob("weight-*/model"))


def test_a_second_run_does_nothing_and_starts_no_process(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.Machine, "launch", lambda *_: pytest.fail("there is nothing to do"))
    assert dual_mode.run(settings_of(), whole) == whole / "report.html"


def test_what_is_sampled_and_learnt_is_never_held_out(whole: Path) -> None:
    kept = {problem.id for problem in held_out_problems(settings_of().data, 9)}
    seen = 0
    for name in ("traces", "answers", "rated"):
        for mode in ("think", "no_think"):
            for row in answers_in(whole / name, mode, True):
                seen += 1
                assert row["id"] not in kept and split_of(row["task"], row["data"]["key"]) == "train"
    assert seen == 40 * (2 + 4 + 4)
    for file in (*whole.glob("*/sft.jsonl"), *whole.glob("*/pairs.jsonl")):
        rows = read_jsonl(file)
        assert rows and not kept & {row["id"] for row in rows} and all(row["provenance"] for row in rows)


def _told(out: Path) -> Any:
    table = read_table(out)
    assert table is not None
    return table


def killed_run(out: Path, kills: int, longest_s: float, name: str) -> int:
    """Run in processes of their own, killed at `kills` random moments; returns how many were really killed."""
    rng, struck = random.Random(name), 0
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom test_dual_mode import settings_of\nfrom ponder.pipelines import dual_mode\n"
        "dual_mode.run(settings_of(), Path(sys.argv[1]))"
    )
    for turn in range(200):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(out), str(Path(__file__).parent)], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            _, told = child.communicate(timeout=None if turn >= kills else rng.uniform(3.0, longest_s))
            assert child.returncode == 0, told.decode()
            return struck
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            struck += 1
    raise AssertionError("it never ended")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_at_random_moments_gives_the_same_table(whole: Path, tmp_path: Path) -> None:
    assert killed_run(tmp_path, 10, 9.0, "ten") >= 2, "the run was over before it could be killed"
    assert _told(tmp_path) == _told(whole)
