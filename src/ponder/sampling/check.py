"""Does a session give the logits that the model's own forward gives? Asked once for each model."""

from __future__ import annotations

import math

import torch
from transformers import PreTrainedModel

from ponder.sampling.forward import evaluating
from ponder.sampling.schedule import Session

_LENGTHS, _STEPS = (8, 5), 4  # of unlike length: whoever ignores masks or position ids shows it


def disagreement(model: PreTrainedModel, session: Session) -> str:
    """How the session's logits differ from those of uncached forwards of each row, on a few tokens; "" if they agree.

    The tolerance is for rounding: 1e-3 of the largest logit in float32, 0.1 in half precision. Weights without finite
    logits agree with everything; sampling from them will say so.
    """
    vocabulary = model.get_input_embeddings().weight.shape[0]
    rows = [
        [(7919 * at + 31 * row + 1) % vocabulary for at in range(length + _STEPS)]
        for row, length in enumerate(_LENGTHS)
    ]
    device = session.device
    with torch.inference_mode(), evaluating(model):
        session.admit(
            session.prefill([row[:length] for row, length in zip(rows, _LENGTHS, strict=True)]), [0, 1], [0, 1]
        )
        steps = []
        for step in range(_STEPS):
            tokens = [row[length + step] for row, length in zip(rows, _LENGTHS, strict=True)]
            steps.append(session.step(torch.tensor(tokens, device=device)).float())
        ours_BSV = torch.stack(steps, 1)
        theirs_BSV = torch.stack(
            [
                model(input_ids=torch.tensor([row], device=device), use_cache=False).logits[0, -_STEPS:].float()
                for row in rows
            ]
        )
    scale = float(theirs_BSV.abs().max())
    error = float((ours_BSV - theirs_BSV).abs().max())
    tolerance = 0.1 if next(model.parameters()).element_size() < 4 else 1e-3
    if not math.isfinite(scale) or error <= tolerance * max(scale, 1.0):
        return ""
    return f"logits differ from those of its own forward by {error:.3g}, where the largest is {scale:.3g}"
