"""The curves over training steps, step 0 marked with what was measured before the first one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ponder.evals.behaviours import NAMES as BEHAVIOURS
from ponder.report.charts import Mark, Series, key_of, lines
from ponder.report.html import esc, section
from ponder.report.records import AFTER, BEFORE, Records, Stage
from ponder.report.traces import NAMES

VALIDATION = r"(?:validation|eval)/accuracy"


def curves(records: Records) -> str:
    """The section of curves; of each training stage where there are several."""
    if not records.stages:
        return section("curves", "Curves", "<p>No training was recorded.</p>")
    body = ""
    for stage in records.stages:
        title = f"<h3>{esc(stage.name)}</h3>" if len(records.stages) > 1 else ""
        body += title + f'<div class="grid">{_main(records, stage)}</div>'
        behaviours = _behaviours(stage)
        if behaviours:
            body += f'<h3 id="behaviours">Behaviours</h3><div class="grid">{behaviours}</div>'
        tasks = _tasks(records, stage)
        if tasks:
            body += f'<h3 id="tasks">Accuracy by task</h3>{tasks}'
        body += f'<h3>Health of the run</h3><div class="grid small">{_health(stage)}</div>'
    lead = (
        "Training curves are over the sampled answers of each step (faint: every step, bold: running mean). The ring "
        "at step 0 and the dot at the last step are the evaluations on held-out problems, with their intervals."
    )
    return section("curves", "Curves over steps", body, lead)


def _series(stage: Stage, metric: str, name: str, kind: str, noisy: bool = True, dots: bool = False) -> list[Series]:
    points = stage.series(metric)
    return [Series(name, points, kind, noisy, dots)] if any(value is not None for _, value in points) else []


def _marks(records: Records, stage: Stage, measure: str, task: str | None = None) -> list[Mark]:
    """The sampled evaluations of the base at step 0 and of the trained model after the last step."""
    marks = []
    first, last = records.stages[0], records.stages[-1]
    for kind, step, shown in ((BEFORE, 0, stage is first), (AFTER, stage.steps, stage is last)):
        result = records.result(kind, "sampled")
        value = (result.of_task(task, measure) if task else result.overall(measure)) if result and shown else None
        if value and value.get("value") is not None:
            label = "held-out, base" if kind == BEFORE else "held-out, trained"
            marks.append(
                Mark(label, step, value["value"], value.get("low"), value.get("high"), f"k-{kind}", kind == BEFORE)
            )
    return marks


def _main(records: Records, stage: Stage) -> str:
    accuracy = _series(stage, "accuracy", "training samples", "s1")
    for name in stage.names(VALIDATION):
        accuracy += _series(stage, name, "validation", "s2", noisy=False, dots=True)
    reward = _series(stage, "reward", "reward", "s1")
    kinds = iter(("s2", "s3", "s4", "s5", "s6"))
    for name in stage.names(r"rewards/.+/mean"):
        reward += _series(stage, name, name.split("/")[1], next(kinds, "s7"))
    length = _series(stage, "completions/mean_length", "all", "s1")
    length += _series(stage, "completions/mean_terminated_length", "ended by itself", "s3")
    cut = _series(stage, "completions/clipped_ratio", "reached the limit", "s2")
    return "".join(
        (
            lines("Accuracy", accuracy, _marks(records, stage, "accuracy"), percent=True, ceiling=0.1),
            lines("Reward and its parts, before weights", reward, floor=0.0),
            lines("Length, tokens", length, _marks(records, stage, "mean_length")),
            lines("Cut off at the limit", cut, percent=True, ceiling=0.02),
            lines("Entropy, nats a token", _series(stage, "entropy", "entropy", "s1")),
            lines("Answers in the right form", _series(stage, "rewards/format/mean", "training samples", "s1"),
                  _marks(records, stage, "format_rate"), percent=True, ceiling=0.1),
        )
    )  # fmt: skip


def _kinds(names: Sequence[str]) -> dict[str, str]:
    return {name: f"b-{name}" for name in names}


def _behaviours(stage: Stage) -> str:
    """Counts a response among all answers, and among right ones: what pays is what grows there."""
    colours = _kinds(BEHAVIOURS)
    charts = []
    for part, title in (("", "Hits a response, all answers"), ("/right", "Hits a response, right answers")):
        drawn = [
            one
            for name in BEHAVIOURS
            for one in _series(stage, f"behaviour/{name}{part}", NAMES[name], colours[name])
            if any(value for _, value in one.points)
        ]
        charts.append(lines(title, drawn))
    drawn = []
    for name in ("language_mixing", "repetition"):
        drawn += _series(stage, f"behaviour/{name}", NAMES[name], f"b-{name}")
    charts.append(lines("Language mixing and repetition, share of words", drawn, percent=True, ceiling=0.05))
    return "".join(charts)


def _tasks(records: Records, stage: Stage) -> str:
    """Small multiples on one scale, with one legend."""
    charts = ""
    drawn: list[Series] = []
    marks: list[Mark] = []
    for task in records.tasks:
        shown = _series(stage, f"accuracy/{task}", "training samples", "s1")
        for prefix in ("validation", "eval"):
            shown += _series(stage, f"{prefix}/accuracy/{task}", "validation", "s2", noisy=False, dots=True)
        ends = _marks(records, stage, "accuracy", task)
        charts += lines(task, shown, ends, percent=True, ceiling=1.0, small=True, legend=False)
        drawn, marks = drawn + shown, marks + ends
    return f'{key_of(drawn, marks)}<div class="grid small">{charts}</div>' if charts else ""


def _health(stage: Stage) -> str:
    def one(title: str, *metrics: tuple[str, str], only_if_any: bool = False, noisy: bool = True, **how: Any) -> str:
        drawn = []
        for at, (metric, name) in enumerate(metrics, start=1):
            drawn += _series(stage, metric, name, f"s{at}", noisy)
        if only_if_any and not any(value for shown in drawn for _, value in shown.points):
            return ""
        return lines(title, drawn, small=True, legend=len(drawn) > 1, **how)

    return "".join(
        (
            one("Groups without signal", ("frac_reward_zero_std", "share"), percent=True, ceiling=0.1),
            one("Rewards unknown", ("frac_reward_unknown", "share"), only_if_any=True, percent=True),
            one("Gradient norm before clipping", ("grad_norm", "norm")),
            one("Loss", ("loss", "loss"), floor=None),
            one("Learning rate", ("learning_rate", "learning rate"), noisy=False),
            one("KL to the reference", ("kl", "kl"), only_if_any=True),
            one("Tokens clipped", ("clip_ratio/region_mean", "share"), only_if_any=True, percent=True),
            one("Sampler against trainer, KL", ("mismatch_kl/mean", "mean"), ("mismatch_kl/max", "max")),
            one("Step time, seconds", ("step_time", "seconds")),
            one("Tokens a second", ("perf/throughput", "tokens")),
        )
    )
