"""Traces survive a kill: real processes, really killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.types import Problem, SamplingParams, Score
from ponder.data.generate import generate, table_of
from ponder.data.trace import problem_of, read_traces
from ponder.data.trace_file import TraceFile
from ponder.models.chat import renderer
from ponder.models.load import load_model
from ponder.pipelines.generation import EndpointSettings, GenerateSettings, generate_traces, stage_generate
from ponder.sampling.endpoint import EndpointSampler
from ponder.sampling.local import LocalSampler
from ponder.sampling.scripted import ScriptedSampler
from ponder.tasks import draw_mix
from ponder.training.distributed import World, launch
from tests.sampling.stand_in import Reply, said, stand_in

PARAMS = SamplingParams(n=2, max_completion_length=40)
KINDS = ("arithmetic", "equations", "countdown")


def problems(n: int = 12) -> list[Problem]:
    return draw_mix(KINDS, "train", n, seed="test")


def bare(problem: Problem) -> str:
    return problem.prompt


class Recorded:
    """The embedded model; notes each call in a file, and ends the process by SIGKILL in the `fatal`-th one."""

    def __init__(self, log: Path, fatal: int = 0) -> None:
        loaded = load_model("mini")
        self.sampler = LocalSampler(
            loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids
        )
        self.render, self.log, self.fatal, self.calls = renderer(loaded.tokenizer, "chat"), log, fatal, 0

    def sample(self, prompts: Any, params: SamplingParams, seed: int) -> Any:
        self.calls += 1
        completions = self.sampler.sample(prompts, params, seed)
        if self.calls == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        with self.log.open("a") as file:
            file.writelines(json.dumps(prompt) + "\n" for prompt in prompts)
        return completions


def run_local(folder: Path, fatal: int = 0, world: Any = None) -> dict[str, Any]:
    sampler = Recorded(folder / "asked.log", fatal)
    return generate(sampler, problems(), sampler.render, PARAMS, 1, folder / "traces.jsonl", chunk=3, progress=False,
                    provenance={"teacher": "mini"}, world=world or World())  # fmt: skip


def run_spmd(world: World, folder: Path, fatal: int = 0) -> dict[str, Any]:
    return run_local(folder, fatal if world.first else 0, world)


def run_endpoint(folder: Path, url: str) -> dict[str, Any]:
    with EndpointSampler(url, "teacher", at_once=3, timeout_s=60, retries=1, backoff_s=0.01) as sampler:
        return generate(sampler, problems(), bare, PARAMS, 1, folder / "traces.jsonl", progress=False)


def killed(target: Any, *args: Any, when: Any = None) -> None:
    """Run `target` in a process until it dies by SIGKILL: its own, or ours as soon as `when()` holds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ponder.pipelines.generation", "transformers.models.llama.modeling_llama"])
    process = context.Process(target=target, args=args)
    process.start()
    deadline = time.monotonic() + 180
    while when is not None and not when() and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    if when is not None:
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join(180)
    assert process.exitcode == -signal.SIGKILL


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    counts = run_local(folder)
    assert counts["asked"] == counts["samples"] == 24 and counts["kept"] == 0
    return folder


def test_a_local_run_writes_graded_rows_in_order(whole):
    rows = read_traces(whole / "traces.jsonl")
    assert [(row["id"], row["sample"]) for row in rows] == [(p.id, k) for p in problems() for k in range(2)]
    assert [problem_of(row) for row in rows] == [p for p in problems() for _ in range(2)]
    assert all(row["completion_tokens"] > 0 and row["correct"] is not None for row in rows)
    about = rows[0]["provenance"]
    assert about == {
        "source": "local", "teacher": "mini", "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0,
        "max_completion_length": 40, "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize("fatal", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_9_and_again_is_the_same_file_and_no_finished_chunk_is_asked_again(whole, tmp_path, fatal):
    killed(run_local, tmp_path, fatal)
    file = tmp_path / "traces.jsonl"
    assert lines(file) == (fatal - 1) * 6
    with file.open("ab") as torn:
        torn.write((whole / "traces.jsonl").read_bytes()[:300])  # as a kill in the midst of a write leaves it
    counts = run_local(tmp_path)
    assert counts["kept"] == (fatal - 1) * 6 and counts["asked"] == 24 - counts["kept"]
    assert file.read_bytes() == (whole / "traces.jsonl").read_bytes()
    assert (tmp_path / "asked.log").read_text() == (whole / "asked.log").read_text()  # each prompt once


def test_run_again_asks_nothing(whole, tmp_path):
    before = (whole / "traces.jsonl").read_bytes()
    asked = (whole / "asked.log").read_text()
    counts = run_local(whole)
    assert counts["asked"] == 0 and counts["kept"] == 24
    assert (whole / "traces.jsonl").read_bytes() == before and (whole / "asked.log").read_text() == asked


@pytest.mark.slow
def test_two_processes_write_the_same_file_killed_or_not(whole, tmp_path):
    assert launch(run_spmd, 2, (tmp_path,))["asked"] == 24
    assert (tmp_path / "traces.jsonl").read_bytes() == (whole / "traces.jsonl").read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    killed(launch, run_spmd, 2, (again, 2))
    assert lines(again / "traces.jsonl") == 12
    launch(run_spmd, 2, (again,))
    assert (again / "traces.jsonl").read_bytes() == (whole / "traces.jsonl").read_bytes()


def test_an_endpoint_killed_and_run_again_is_asked_each_answered_sample_once(tmp_path):
    go_on = threading.Event()
    answers = threading.Semaphore(7)
    given = []

    def answer(body, before):
        if not go_on.is_set() and not answers.acquire(blocking=False):
            return Reply(hang=True)
        given.append((body["messages"][-1]["content"], body["seed"]))
        return said("<answer>4</answer>", reasoning_content="hm")

    with stand_in(answer) as server:
        killed(run_endpoint, tmp_path, server.url, when=lambda: lines(tmp_path / "traces.jsonl") >= 7)
        answered, first = list(given), len(server.bodies)
        assert len(answered) == 7 and first <= 10  # seven were answered, three at most hung when the kill came
        go_on.set()
        counts = run_endpoint(tmp_path, server.url)
    assert (counts["kept"], counts["asked"], counts["samples"]) == (7, 17, 24)
    assert all(server.asked[key] == 1 for key in answered) and len(server.asked) == 24
    assert len(server.bodies) == first + 17
    rows = read_traces(tmp_path / "traces.jsonl")
    assert [(row["id"], row["sample"]) for row in rows] == [(p.id, k) for p in problems() for k in range(2)]
    assert rows[0]["completion"] == "<think>\nhm\n</think>\n<answer>4</answer>" and rows[0]["completion_tokens"] == 10
    assert counts["prompt_tokens"] == 7 * 24 and counts["completion_tokens"] == 10 * 24


def test_a_teacher_may_move_but_not_change(tmp_path):
    def run(**about):
        generate(ScriptedSampler(["4"]), problems(), bare, PARAMS, 1, tmp_path / "t.jsonl", provenance=about,
                 progress=False)  # fmt: skip

    run(teacher="big", endpoint="http://here/v1")
    run(teacher="big", endpoint="http://there/v1")
    with pytest.raises(PonderError, match="made with teacher 'big', not 'small'"):
        run(teacher="small", endpoint="http://here/v1")


def test_what_was_given_up_is_asked_again_and_replaced(tmp_path):
    down = True
    bad = problems()[0].prompt

    def answer(body, before):
        return Reply({}, 500) if down and body["messages"][-1]["content"] == bad else said("<answer>4</answer>")

    with stand_in(answer) as server:
        counts = run_endpoint(tmp_path, server.url)
        assert (counts["failed"], counts["unknown"], counts["samples"]) == (2, 2, 24)
        assert [row["finish"] for row in read_traces(tmp_path / "traces.jsonl")][:3] == ["abort", "abort", "stop"]
        down, asked = False, len(server.bodies)
        counts = run_endpoint(tmp_path, server.url)
        assert len(server.bodies) == asked + 2
    assert (counts["failed"], counts["kept"], counts["asked"], counts["samples"]) == (0, 22, 2, 24)
    assert len(read_traces(tmp_path / "traces.jsonl")) == 24


def test_an_endpoint_that_fails_for_good_keeps_what_came(tmp_path):
    asked = []

    def answer(body, before):
        asked.append(1)
        return said("<answer>4</answer>") if len(asked) <= 5 else Reply({"error": "bad key"}, 401)

    with stand_in(answer) as server, EndpointSampler(server.url, "teacher", at_once=1) as sampler:
        with pytest.raises(PonderError, match="answered 401"):
            generate(sampler, problems(), bare, PARAMS, 1, tmp_path / "t.jsonl", progress=False)
    assert len(read_traces(tmp_path / "t.jsonl")) == 5


def test_a_stop_by_hand_keeps_what_came(tmp_path):
    class Stopped(ScriptedSampler):
        def sample(self, *args: Any, **more: Any) -> Any:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().sample(*args, **more)

    file = tmp_path / "t.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate(Stopped(["4"]), problems(), bare, PARAMS, 1, file, chunk=4, progress=False)
    assert len(read_traces(file)) == 16
    sampler = ScriptedSampler(["4"])
    counts = generate(sampler, problems(), bare, PARAMS, 1, file, chunk=4, progress=False)
    assert counts["kept"] == 16 and [len(call.prompts) for call in sampler.calls] == [4]


# ---- counts ----


def test_counts_and_their_table(tmp_path):
    asked = problems(3)
    texts = {
        asked[0].prompt: [f"<think>\nx\n</think>\n<answer>{asked[0].answer}</answer>", "<think>\n" + "x" * 99],
        asked[1].prompt: "no idea", asked[2].prompt: "no idea",
    }  # fmt: skip
    counts = generate(ScriptedSampler(texts), [*asked, asked[0]], bare, SamplingParams(n=2, max_completion_length=60),
                      0, tmp_path / "t.jsonl", progress=False)  # fmt: skip
    assert {name: counts[name] for name in ("problems", "doubles", "samples", "right", "wrong", "unknown")} == {
        "problems": 3, "doubles": 1, "samples": 6, "right": 1, "wrong": 5, "unknown": 0,
    }  # fmt: skip
    assert counts["truncated"] == 1 and counts["well_formed"] == 1 and counts["cost"] is None
    heads, rows = table_of(counts)
    assert [row[0] for row in rows] == [problem.task for problem in asked] + ["all"]
    assert all(len(row) == len(heads) for row in rows) and rows[-1][1:6] == ["6", "1", "5", "0", "1"]


def test_a_reward_scores_the_rows(tmp_path):
    reward = lambda problems, completions: [Score(0.25, None, {"mine": 0.25}) for _ in completions]  # noqa: E731
    generate(ScriptedSampler(["4"]), problems(), bare, PARAMS, 0, tmp_path / "t.jsonl", reward=reward, progress=False)
    assert {(row["score"], row["parts"]["mine"]) for row in read_traces(tmp_path / "t.jsonl")} == {(0.25, 0.25)}
    short = lambda problems, completions: [Score(0.25, None)]  # noqa: E731
    with pytest.raises(PonderError, match="1 scores for 24 completions"):
        generate(
            ScriptedSampler(["4"]), problems(), bare, PARAMS, 0, tmp_path / "u.jsonl", reward=short, progress=False
        )


# ---- mistakes ----


@pytest.mark.parametrize(
    "change, line",
    [
        ({"problems": []}, "no problems to ask"),
        ({"problems": [Problem("riddles", "?", "!")]}, "task 'riddles' has no grader"),
        ({"params": SamplingParams(n=2, temperature=0.0)}, "n is 2 at temperature 0"),
        ({"params": SamplingParams(n=0)}, "at least 1"),
    ],
)
def test_mistakes(tmp_path, change, line):
    given = {"problems": problems(), "params": PARAMS, **change}
    with pytest.raises(PonderError, match=line):
        generate(ScriptedSampler(["4"]), given["problems"], bare, given["params"], 0, tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    "change, line",
    [
        ({"seed": 2}, "t.jsonl, line 1: made with seed 1, not 2; choose another file"),
        ({"params": SamplingParams(n=2, temperature=0.5)}, "made with temperature 1.0, not 0.5"),
        ({"provenance": {"teacher": "other"}}, "made with teacher None, not 'other'"),
        ({"problems": problems(6)}, "answers a problem or a sample that is not asked now"),
    ],
)
def test_a_file_of_other_settings_is_left_alone(tmp_path, change, line):
    file = tmp_path / "t.jsonl"
    given: dict[str, Any] = {"problems": problems(), "params": PARAMS, "seed": 1, "provenance": {}}

    def run(problems, params, seed, provenance):
        generate(ScriptedSampler(["4"]), problems, bare, params, seed, file, provenance=provenance, progress=False)

    given["params"] = SamplingParams(n=2)
    run(**given)
    before = file.read_bytes()
    with pytest.raises(PonderError, match=line):
        run(**{**given, **change})
    assert file.read_bytes() == before


def test_more_samples_and_problems_may_be_asked_later(tmp_path):
    file = tmp_path / "t.jsonl"
    generate(ScriptedSampler(["4"]), problems()[:4], bare, PARAMS, 1, file, chunk=4, progress=False)
    more = SamplingParams(n=3, max_completion_length=40)
    counts = generate(ScriptedSampler(["4"]), problems(), bare, more, 1, file, chunk=4, progress=False)
    assert (counts["kept"], counts["asked"], counts["samples"]) == (8, 28, 36)
    assert [row["sample"] for row in read_traces(file)] == [0, 1, 2] * 12


def test_two_do_not_write_one_file(tmp_path):
    with TraceFile(tmp_path / "t.jsonl", {}, []):
        with pytest.raises(PonderError, match="another process is writing there"):
            TraceFile(tmp_path / "t.jsonl", {}, [])
    TraceFile(tmp_path / "t.jsonl", {}, []).close()


# ---- the settings and the stage ----


def test_settings_of_a_local_and_of_a_remote_teacher(tmp_path):
    common: dict[str, Any] = {"problems": 6, "n": 2, "tasks": KINDS, "processes": 1, "max_completion_length": 40}
    counts = generate_traces(
        GenerateSettings(model="mini", rewards=("accuracy", "format"), **common), tmp_path / "l.jsonl"
    )
    assert counts["samples"] == 12 and "format" in read_traces(tmp_path / "l.jsonl")[0]["parts"]
    with stand_in(lambda body, before: said("<answer>4</answer>")) as server:
        endpoint = EndpointSettings(url=server.url, model="big", price_completion=1.0, at_once=2, system="Think.")
        settings = GenerateSettings(endpoint=endpoint, prompt_style="chat-cot", **common)
        counts = stage_generate(settings, tmp_path, world=World())
        assert server.bodies[0]["messages"][0] == {"role": "system", "content": "Think."}
    assert counts["requests"] == 12 and counts["cost"] == pytest.approx(12 * 10 / 1e6)
    row = read_traces(tmp_path / "traces.jsonl")[0]
    assert (row["provenance"]["teacher"], row["provenance"]["style"]) == ("big", "chat-cot")
    assert row["prompt"] != row["problem"] and row["prompt"].startswith(row["problem"])
    assert json.loads((tmp_path / "counts.json").read_text()) == counts


@pytest.mark.parametrize(
    "given, line",
    [
        ({}, "one teacher"),
        ({"model": "mini", "endpoint": EndpointSettings(url="http://x/v1", model="m")}, "one teacher"),
        ({"model": "mini", "prompt_style": "chatty"}, "unknown"),
        ({"model": "mini", "temperature": 0.0}, "temperature 0"),
    ],
)
def test_settings_that_do_not_fit(given, line):
    with pytest.raises(ValueError, match=line):
        GenerateSettings(**given)
