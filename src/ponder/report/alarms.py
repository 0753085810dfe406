"""What a person should look at: simple rules over a run's records, each with the figure that tripped it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.report.html import esc
from ponder.report.records import AFTER, Records, Stage


@dataclass(frozen=True)
class Alarm:
    """bad: the run's result is in doubt; otherwise worth a look. text: the figure and what to do."""

    bad: bool
    text: str


def alarms(records: Records) -> list[Alarm]:
    """All that apply, worst first."""
    found = [alarm for stage in records.stages for alarm in _of_stage(stage)]
    after = records.result(AFTER, "sampled") or records.result(AFTER, "greedy")
    if after:
        whole = after.summary["overall"]
        samples = max(whole.get("samples") or 0, 1)
        unknown = (whole.get("unknown") or 0) + (whole.get("aborted") or 0)
        if unknown / samples > 0.01:
            found.append(Alarm(True, f"{unknown} of {samples} evaluated answers have no verdict: see their notes."))
        cut = (after.overall("truncation_rate") or {}).get("value") or 0.0
        if cut > 0.1:
            found.append(
                Alarm(False, f"{100 * cut:.0f}% of the trained model's answers were cut off: raise the limit.")
            )
    return sorted(found, key=lambda alarm: not alarm.bad)


def alarm_list(records: Records) -> str:
    """The alarms as HTML; "" where there is none."""
    return "".join(f'<p class="alarm{" bad" if a.bad else ""}">{esc(a.text)}</p>' for a in alarms(records))


def _of_stage(stage: Stage) -> list[Alarm]:
    found = []
    tenth = max(len(stage.metrics) // 10, 1)
    if not stage.done and stage.planned and stage.steps < stage.planned:
        found.append(Alarm(False, f"The run stopped at step {stage.steps} of {stage.planned}; run it again to go on."))
    skipped = sum(value or 0 for _, value in stage.series("updates_skipped"))
    if skipped:
        found.append(Alarm(True, f"{skipped:.0f} updates were skipped because their gradient was not finite."))
    entropy = _known(stage, "entropy")
    if len(entropy) >= 10 and _mean(entropy[-tenth:]) < 0.1 * _mean(entropy[:tenth]):
        now, then = _mean(entropy[-tenth:]), _mean(entropy[:tenth])
        found.append(
            Alarm(True, f"Entropy fell from {then:.2f} to {now:.3f} nats a token: the policy hardly explores.")
        )
    silent = _mean(_known(stage, "frac_reward_zero_std")[-tenth:])
    if silent > 0.8:
        found.append(Alarm(False, f"{100 * silent:.0f}% of the last groups had equal rewards and taught nothing."))
    unknown = _mean(_known(stage, "frac_reward_unknown"))
    if unknown > 0.01:
        found.append(Alarm(True, f"{100 * unknown:.1f}% of the rewards were unknown: the grader failed on them."))
    mismatch = max(_known(stage, "mismatch_kl/mean"), default=0.0)
    if mismatch > 0.01:
        found.append(Alarm(True, f"Sampler and trainer disagree: mismatch KL up to {mismatch:.3g}."))
    repeated = _mean(_known(stage, "behaviour/repetition")[-tenth:])
    if repeated > 0.5:
        found.append(
            Alarm(True, f"{100 * repeated:.0f}% of the word groups in the last answers repeat earlier ones: loops.")
        )
    reward, accuracy = _known(stage, "reward"), _known(stage, "accuracy")
    if len(reward) >= 10 and len(accuracy) >= 10:
        up, right = (_mean(values[-tenth:]) - _mean(values[:tenth]) for values in (reward, accuracy))
        if up > 0.05 and right < 0.01:
            found.append(
                Alarm(True, f"Reward rose by {up:.2f} while accuracy changed by {100 * right:+.1f} points: form alone.")
            )
    return found


def _known(stage: Stage, name: str) -> list[float]:
    return [value for _, value in stage.series(name) if value is not None]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
