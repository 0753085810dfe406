"""A recipe's rewards that need a model: made early, loaded late, the same alone and in company, and logged by RL."""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ponder.core.errors import PonderError
from ponder.core.records import read_jsonl
from ponder.core.types import Completion, Problem
from ponder.models.heads import new_outcome_model, new_process_model
from ponder.models.load import load_model
from ponder.pipelines import reward_models
from ponder.pipelines.reward_parts import parts_of_recipe
from ponder.rewards import compose
from ponder.rewards.judge import Judge
from ponder.rewards.scored import Scored
from ponder.tasks import TASKS

(ASKED,) = TASKS["requests"].problems("train", 1, seed="reward parts")
SUM = Problem("rows", "1+1?", "2")
TEXTS = [
    "<think>\nhm\n</think>\n<answer>red blue</answer>",
    "<think>\nwe add\nso two\n</think>\n<answer>2</answer>",
    "red",
]


def say(*texts: str) -> list[Completion]:
    return [Completion((1,), (2, 3), (), text, "stop") for text in texts]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(new_outcome_model(load_model("mini"), seed=3), tmp_path_factory.mktemp("outcome"))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(new_process_model(load_model("mini"), seed=3), tmp_path_factory.mktemp("process"))


def saved(head: Any, folder: Path) -> Path:
    head.model.save_pretrained(folder)
    head.tokenizer.save_pretrained(folder)
    return folder


# ---- made early ----


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"name": "outcome_model"}, "reward 'outcome_model'.*path"),
        (
            {"name": "outcome_model", "path": "/no/such/place"},
            "reward 'outcome_model': /no/such/place: no such directory",
        ),
        ({"name": "outcome_model", "path": "missing"}, "reward 'outcome_model': missing: no such directory"),
        ({"name": "outcome_model", "path": "mini"}, "not an outcome model"),
        ({"name": "outcome_model", "path": "OUTCOME", "pth": 1}, "pth is unknown"),
        ({"name": "outcome_model", "path": "OUTCOME", "on": "thought"}, "on is 'thought'"),
        ({"name": "outcome_model", "path": "OUTCOME", "style": "chatt"}, "style is 'chatt'; it is one of"),
        ({"name": "outcome_model", "path": "OUTCOME", "clip": [1, 0]}, r"clip is \[1.0, 0.0\]"),
        ({"name": "outcome_model", "path": "OUTCOME", "weight": "x"}, "weight is 'x', not a number"),
        ({"name": "outcome_model", "path": "OUTCOME", "tasks": ["request"]}, "tasks has 'request'.*requests"),
        ({"name": "outcome_model", "path": "OUTCOME", "normalise": "batch", "slow": True}, "sees one answer at a time"),
        ({"name": "outcome_model", "path": "OUTCOME", "cap_s": 3}, "cap_s is for functions of your own"),
        ({"name": "process_model", "path": "OUTCOME"}, "not a process model"),
        ({"name": "process_model", "path": "PROCESS", "how": "median"}, "how is 'median'; it is one of"),
        ({"name": "judge"}, "reward 'judge'.*model"),
        ({"name": "judge", "model": "/no/judge"}, "/no/judge: no such directory"),
        ({"name": "judge", "model": "mini", "rubric": "helpfulnes"}, "rubric 'helpfulnes'"),
        ({"name": "judge", "model": "mini", "low": 5, "high": 5}, "low is 5, high 5"),
        ({"name": "judge", "model": "x", "endpoint": "localhost:80"}, "endpoint 'localhost:80' is no address"),
        ({"name": "outcom_model", "path": "x"}, "'outcom_model' is unknown.*did you mean outcome_model"),
        ("acuracy", "did you mean accuracy"),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(
    entry: Any, why: str, outcome: Path, process: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_models, "head_of", lambda *_: pytest.fail("a model was loaded"))
    places = {"OUTCOME": str(outcome), "PROCESS": str(process)}
    if isinstance(entry, dict) and "path" in entry:
        entry = {**entry, "path": places.get(entry["path"], entry["path"])}
    with pytest.raises(PonderError, match=why) as raised:
        parts_of_recipe([entry])
    assert "\n" not in str(raised.value)


def test_the_other_parts_are_as_before_and_in_their_order(outcome: Path) -> None:
    entries = ["accuracy", {"name": "outcome_model", "path": str(outcome), "label": "liked", "weight": 0.3}, "format"]
    parts = parts_of_recipe(entries, opened=True)
    assert [(part.name, part.weight) for part in parts] == [("accuracy", 1.0), ("liked", 0.3), ("format", 0.2)]
    function = parts[1].fn
    assert isinstance(function, Scored) and function.opened


# ---- scores ----


def test_the_models_own_score_on_its_tasks_alone(outcome: Path) -> None:
    from ponder.models.chat import renderer
    from ponder.models.heads import load_head
    from ponder.models.scorers import OutcomeScorer

    entries = [
        {"name": "outcome_model", "path": str(outcome), "tasks": ["requests"]},
        {"name": "accuracy", "tasks": ["rows"]},
    ]
    reward = compose(parts_of_recipe(entries))
    asked, right = reward([ASKED, SUM], say(TEXTS[0], TEXTS[1]))
    prompt = renderer(load_head(outcome).tokenizer, "chat")(ASKED)
    (wanted,) = OutcomeScorer(outcome).score([prompt], [TEXTS[0]])
    assert asked.value == pytest.approx(wanted, abs=1e-4) and asked.parts["outcome_model/raw"] == asked.value
    assert (right.value, right.correct, right.parts["outcome_model"]) == (1.0, True, None)


def test_a_score_is_the_same_alone_in_company_and_in_another_process_copy(outcome: Path, process: Path) -> None:
    entries = [{"name": "outcome_model", "path": str(outcome)}, {"name": "process_model", "path": str(process)}]
    reward = compose(parts_of_recipe(entries))
    texts = [*TEXTS, "a much longer response " * 20, TEXTS[0]]
    together = reward([ASKED] * len(texts), say(*texts))
    assert together == [reward([ASKED], say(text))[0] for text in texts]
    assert pickle.loads(pickle.dumps(reward))([ASKED] * len(texts), say(*texts)) == together
    assert len({score.parts["outcome_model"] for score in together}) > 2


def test_steps_of_a_response(process: Path) -> None:
    (score,) = compose(parts_of_recipe([{"name": "process_model", "path": str(process), "how": "mean"}]))(
        [SUM], say(TEXTS[1])
    )
    assert score.value is not None and 0.0 < score.value < 1.0
    assert score.parts["process_model/steps"] == 3.0 and score.parts["process_model/least"] is not None


def test_a_response_beyond_the_models_context_is_unknown_and_the_others_are_not(outcome: Path, process: Path) -> None:
    entries = [{"name": "outcome_model", "path": str(outcome)}, {"name": "process_model", "path": str(process)}]
    for entry in entries:
        short, long = compose(parts_of_recipe([entry]))([SUM] * 2, say(TEXTS[1], "so it is\n" * 5000))
        assert short.value is not None and long.value is None and long.note


def test_a_model_that_was_trained_again_in_its_place_is_loaded_again(outcome: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(outcome, folder)
    reward = compose(parts_of_recipe([{"name": "outcome_model", "path": str(folder)}]))
    before = reward([ASKED], say(TEXTS[0]))
    saved(new_outcome_model(load_model("mini"), seed=4), folder)
    for file in folder.iterdir():
        os.utime(file, ns=(1, 1))
    assert reward([ASKED], say(TEXTS[0])) != before


# ---- judges ----


def test_a_local_judge_is_asked_in_its_own_template_and_garbage_is_unknown() -> None:
    (part,) = parts_of_recipe([{"name": "judge", "model": "mini", "max_completion_length": 8, "retries": 0}])
    assert isinstance(part.fn, Judge) and "<|im_end|>" in part.fn.special
    reward = compose([part])
    scores = reward([ASKED] * 2, say(TEXTS[0], "x" * 30_000))
    assert [score.value for score in scores] == [None, None], "the embedded model knows no rubric"
    assert "no score in" in scores[0].note or "cut off" in scores[0].note
    assert scores[1].note == "judge: the judge gave no reply", "longer than the judge's context"


class Server(ThreadingHTTPServer):
    """A stand-in for an endpoint: scores by the number of words in the fence, fails once, and records."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Any] = []
        self.broken = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        prompt = body["messages"][-1]["content"]
        words = len(prompt.split("===== response ")[1].split("=====")[1].split())
        message = {"role": "assistant", "content": f"Well.\nScore: {words}", "reasoning_content": "Score: 10"}
        reply = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {}}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def test_a_judge_at_an_endpoint(server: Server) -> None:
    entry = {"name": "judge", "endpoint": server.address, "model": "judge-1", "weight": 0.5, "tasks": ["requests"]}
    reward = compose(parts_of_recipe(["format", entry]))
    two, none, other = reward([ASKED, ASKED, SUM], say("red blue", "<think>on", "x"))
    assert two.parts["judge"] == pytest.approx(1 / 9) and none.parts["judge"] == 0.0 and other.parts["judge"] is None
    assert len(server.asked) == 1 and server.asked[0]["model"] == "judge-1"
    assert server.asked[0]["temperature"] == 0


# ---- what RL logs ----


def test_a_scorers_value_reaches_the_metrics(outcome: Path, tmp_path: Path) -> None:
    from ponder.models.chat import renderer
    from ponder.training.distributed import World
    from ponder.training.grpo import train_grpo
    from ponder.training.settings import GRPOSettings

    loaded = load_model("mini")
    entries = [
        {"name": "accuracy", "tasks": ["rows"]},
        {"name": "outcome_model", "path": str(outcome), "tasks": ["requests"], "normalise": "sigmoid"},
        {"name": "language"},
        {"name": "readability", "weight": 0.0},
    ]
    settings = GRPOSettings(
        max_steps=2, questions_per_step=2, num_generations=4, max_completion_length=48, learning_rate=1e-4,
        logging_steps=1,
    )  # fmt: skip
    render = renderer(loaded.tokenizer, "chat")
    train_grpo(
        settings, loaded.model, loaded.tokenizer, [ASKED, SUM], compose(parts_of_recipe(entries)), tmp_path / "run",
        render, World(), context_length=loaded.context_length, eos_ids=loaded.eos_ids,
    )  # fmt: skip
    rows = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert len(rows) == 2
    for row in rows:
        assert 0.0 < row["rewards/outcome_model/mean"] < 1.0 and "rewards/outcome_model/std" in row
        assert row["rewards/outcome_model/raw/mean"] is not None
        assert row["rewards/readability/one_language/mean"] is not None and row["frac_reward_unknown"] == 0.0
