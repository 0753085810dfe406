"""Labels of steps by rollouts: what is asked, what is made of it, going on after a kill; and against exact labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Completion, Problem, SamplingParams
from ponder.data.step_labels import StepLabelSettings, label_steps
from ponder.mini.step_truth import step_truth, takes_back
from ponder.sampling.scripted import ScriptedSampler
from ponder.tasks.shapes import Stepwise, read_examples

SUM = Problem("arithmetic", "What is 3+4*5?", "23", {"form": "sum_product", "numbers": [3, 4, 5], "lang": "en"})
OTHER = Problem("arithmetic", "What is 2+3*3?", "11", {"form": "sum_product", "numbers": [2, 3, 3], "lang": "en"})
RIGHT = "4*5=20\n3+20=23\n<answer>23</answer>"
WRONG = "4*5=20\n3+20=24\nso\n<answer>24</answer>"


def trace(problem: Problem, completion: str, sample: int = 0) -> dict[str, Any]:
    return {
        "id": problem.id, "task": problem.task, "problem": problem.prompt, "answer": problem.answer,
        "data": dict(problem.data), "completion": completion, "sample": sample, "provenance": {"teacher": "t"},
    }  # fmt: skip


def render(problem: Problem) -> str:
    return f"Q: {problem.prompt}\n"


def arriving(prompt: str, index: int) -> str:
    """From a true prefix two rollouts in four arrive; from one with 24, none."""
    if "24" in prompt:
        return "<answer>24</answer>"
    return "<answer>23</answer>" if index % 2 else "<answer>9</answer>"


def settings(**changes: Any) -> StepLabelSettings:
    return StepLabelSettings(**({"num_rollouts": 4, "count_itself": False} | changes))


def labelled(out: Path, traces: list[dict[str, Any]], script: Any = arriving, **changes: Any) -> Any:
    takes = changes.pop("takes_back", None)
    sampler = changes.pop("sampler", None) or ScriptedSampler(script)
    counts = label_steps(
        sampler, traces, render, settings(**changes), 0, out / "rows.jsonl", takes_back=takes, progress=False
    )
    return counts, read_jsonl(out / "rows.jsonl"), sampler


def test_hard_and_soft(tmp_path):
    traces = [trace(SUM, RIGHT), trace(SUM, WRONG, 1)]
    counts, rows, sampler = labelled(tmp_path / "hard", traces)
    assert [row["labels"] for row in rows] == [[True, True, True], [True, False, False, False]]
    assert [row["estimates"] for row in rows] == [[0.5, 0.5, 1.0], [0.5, 0.0, 0.0, 0.0]]
    assert rows[0]["prompt"] == "Q: What is 3+4*5?\n" and rows[0]["completions"] == RIGHT.split("\n")
    # The prefix that both share is asked once.
    asked = [prompt for call in sampler.calls for prompt in call.prompts]
    head = "Q: What is 3+4*5?\n4*5=20\n"
    assert asked == [head, head + "3+20=23\n", head + "3+20=24\n", head + "3+20=24\nso\n"]
    assert counts["rollouts"] == 16 and counts["steps"] == 7 and counts["right_steps"] == 4
    _, rows, _ = labelled(tmp_path / "soft", traces, estimation="soft")
    assert [row["labels"] for row in rows] == [[0.5, 0.5, 1.0], [0.5, 0.0, 0.0, 0.0]]
    _, rows, _ = labelled(tmp_path / "strict", traces, threshold=0.5)
    assert [row["labels"] for row in rows] == [[False, False, True], [False, False, False, False]]
    # The solution itself is one more rollout, where it arrives and where it does not.
    _, rows, _ = labelled(tmp_path / "itself", traces, count_itself=True)
    assert rows[0]["estimates"] == pytest.approx([0.6, 0.6, 1.0])
    assert rows[1]["estimates"] == pytest.approx([0.4, 0.0, 0.0, 0.0])


def test_rows_are_stepwise_rows(tmp_path):
    labelled(tmp_path, [trace(SUM, WRONG)])
    assert list(read_examples(tmp_path / "rows.jsonl")) == [
        Stepwise("Q: What is 3+4*5?\n", tuple(WRONG.split("\n")), (True, False, False, False), 1)
    ]


def test_a_rollout_that_takes_its_prefix_back_does_not_count(tmp_path):
    def mending(prompt: str, index: int) -> str:
        return "check: wrong\nwait\n4*5=20\n<answer>23</answer>" if "24" in prompt else "<answer>23</answer>"

    _, rows, _ = labelled(tmp_path / "counted", [trace(SUM, WRONG)], mending)
    assert rows[0]["labels"] == [True, True, True, False]
    _, rows, _ = labelled(tmp_path / "not", [trace(SUM, WRONG)], mending, takes_back=takes_back)
    assert rows[0]["labels"] == [True, False, False, False]


def test_halving_finds_the_first_error_with_fewer_rollouts(tmp_path):
    lines = [f"{k}*1={k}" for k in range(1, 12)]
    wrong = "\n".join([*lines, "3+20=24", "so", "thus", "<answer>24</answer>"])
    every, rows, _ = labelled(tmp_path / "all", [trace(SUM, wrong), trace(SUM, RIGHT, 1)])
    halved, found, _ = labelled(tmp_path / "half", [trace(SUM, wrong), trace(SUM, RIGHT, 1)], search="first_error")
    assert [row["labels"] for row in rows] == [row["labels"] for row in found]
    assert found[0]["labels"] == [True] * 11 + [False] * 4
    assert every["rollouts"] == 4 * 16 and halved["rollouts"] == 4 * 4, "log2 of 15, and none where the answer is right"
    assert sum(share is not None for share in found[0]["estimates"]) == 5


def test_killed_and_gone_on_is_the_same_file(tmp_path):
    traces = [trace(problem, text, k) for k in range(5) for problem in (SUM, OTHER) for text in (RIGHT, WRONG)]
    whole, rows, _ = labelled(tmp_path / "whole", traces, chunk=6)

    class Dying(ScriptedSampler):
        def sample(self, prompts, params: SamplingParams, seed: int, on_finish=None) -> list[Completion]:
            if len(self.calls) == 2:
                raise RuntimeError("killed")
            return super().sample(prompts, params, seed, on_finish)

    with pytest.raises(RuntimeError):
        labelled(tmp_path / "killed", traces, chunk=6, sampler=Dying(arriving))
    file = tmp_path / "killed" / "rows.jsonl"
    assert len(read_jsonl(file)) == 12
    with open(file, "a", encoding="utf-8") as out:  # a row of the chunk that was not finished
        out.write(json.dumps({"prompt": "torn"}) + "\n")
    again = ScriptedSampler(arriving)
    counts, found, _ = labelled(tmp_path / "killed", traces, chunk=6, sampler=again)
    assert file.read_bytes() == (tmp_path / "whole" / "rows.jsonl").read_bytes()
    assert counts == whole and len(again.calls) == 2, "nothing is asked twice"
    idle = ScriptedSampler(arriving)
    labelled(tmp_path / "killed", traces, chunk=6, sampler=idle)
    assert not idle.calls
    with pytest.raises(PonderError, match="labels of other traces or settings"):
        labelled(tmp_path / "killed", traces, chunk=6, threshold=0.3)
    with pytest.raises(PonderError, match="labels of other traces or settings"):
        labelled(tmp_path / "killed", traces[1:], chunk=6)


def test_killed_in_the_first_chunk(tmp_path):
    def dying(prompt: str, index: int) -> str:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        labelled(tmp_path, [trace(SUM, RIGHT)], dying)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "torn"}) + "\n")
    assert len(labelled(tmp_path, [trace(SUM, RIGHT)])[1]) == 1


def test_another_file_is_not_overwritten(tmp_path):
    (tmp_path / "rows.jsonl").write_text("mine\n")
    with pytest.raises(PonderError, match="is there already, and not from this stage"):
        labelled(tmp_path, [trace(SUM, RIGHT)])
    assert (tmp_path / "rows.jsonl").read_text() == "mine\n"


def test_what_cannot_be_labelled_is_counted(tmp_path):
    class Failing(ScriptedSampler):
        def sample(self, prompts, params: SamplingParams, seed: int, on_finish=None) -> list[Completion]:
            return [Completion((1,), (2,), (), "", "abort") for _ in range(len(prompts) * params.n)]

    traces = [trace(SUM, RIGHT), trace(SUM, " \n"), trace(SUM, "<answer>23</answer>", 2)]
    counts, rows, _ = labelled(tmp_path, traces, sampler=Failing(arriving))
    # One step needs no rollout: its label is the verdict.
    assert counts["unknown"] == 1 and counts["empty"] == 1 and [row["labels"] for row in rows] == [[True]]
    with pytest.raises(PonderError, match="no traces"):
        labelled(tmp_path / "none", [])


def test_a_prompt_that_opens_the_thought(tmp_path):
    """The verdict is on the response alone: an example in the prompt is no answer."""
    wrong = "</think>\n<answer>9</answer>"
    told = label_steps(
        ScriptedSampler(lambda prompt, index: wrong), [trace(SUM, f"4*5=20\n{wrong}")],
        lambda problem: "Write <answer>23</answer>. <think>", settings(), 0, tmp_path / "rows.jsonl", progress=False,
    )  # fmt: skip
    assert told["right_steps"] == 0


class TwoRanks:
    """One of two ranks; the other's part comes from running it first."""

    def __init__(self, rank: int, theirs: list[Any]) -> None:
        self.rank, self.size, self.theirs, self.said = rank, 2, theirs, []

    def gather(self, value: Any) -> list[Any]:
        self.said.append(value)
        other = self.theirs[len(self.said) - 1] if self.theirs else ({}, 0, 0)
        return [value, other] if self.rank == 0 else [other, value]

    def broadcast(self, value: Any) -> Any:
        return value if self.rank == 0 else (0, {})


def test_two_ranks_ask_each_prefix_once(tmp_path):
    traces = [trace(SUM, RIGHT), trace(SUM, WRONG, 1)]
    _, alone, _ = labelled(tmp_path / "one", traces)
    second, first = TwoRanks(1, []), ScriptedSampler(arriving)
    label_steps(first, traces, render, settings(), 0, tmp_path / "x.jsonl", world=second, progress=False)
    assert not (tmp_path / "x.jsonl").exists(), "rank 0 writes"
    other = ScriptedSampler(arriving)
    label_steps(
        other, traces, render, settings(), 0, tmp_path / "two.jsonl", world=TwoRanks(0, second.said), progress=False
    )
    assert read_jsonl(tmp_path / "two.jsonl") == alone
    asked = [prompt for sampler in (first, other) for call in sampler.calls for prompt in call.prompts]
    assert len(asked) == len(set(asked)) == 4


def test_they_agree_with_exact_labels_on_the_embedded_model(tmp_path):
    """The base's own samples of four kinds; held out by content from nothing, for the labels learn nothing."""
    from ponder.models.chat import renderer
    from ponder.models.load import load_model
    from ponder.sampling.local import LocalSampler
    from ponder.tasks import draw_mix

    torch.set_num_threads(1)
    base = load_model("mini", device="cpu")
    sampler, chat = LocalSampler(base.model, base.tokenizer), renderer(base.tokenizer, "chat")
    problems = draw_mix(("arithmetic", "equations", "word_problems", "countdown"), "validation", 16)
    samples = sampler.sample([chat(p) for p in problems], SamplingParams(n=2, max_completion_length=160), 5)
    traces = [trace(problems[at // 2], one.text, at % 2) for at, one in enumerate(samples)]
    label_steps(
        sampler, traces, chat, StepLabelSettings(max_completion_length=160), 0, tmp_path / "rows.jsonl",
        takes_back=takes_back, progress=False,
    )  # fmt: skip
    known = {problem.id: problem for problem in problems}
    agree: list[bool] = []
    for row in read_jsonl(tmp_path / "rows.jsonl"):
        truths = step_truth(known[row["id"]], row["completions"])
        # The last step's label is the verdict itself: it would flatter the figure.
        agree += [a == b for a, b in zip(truths[:-1], row["labels"][:-1], strict=True)]
    assert len(agree) > 50 and sum(agree) / len(agree) > 0.85
