"""`ponder sample`: ask a model something."""

from __future__ import annotations

from typing import Annotated

import typer


def sample(
    model: Annotated[str, typer.Argument(help="mini, a directory, or a hub id.")],
    question: Annotated[str, typer.Argument(help="The bare question; the prompt style frames it.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Completions.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, help="0 is off.")] = 0,
    min_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 0.0,
    stop: Annotated[list[str] | None, typer.Option(help="A string that ends a completion; may be repeated.")] = None,
    max_completion_length: Annotated[int, typer.Option(min=1, help="Tokens at most.")] = 512,
    style: Annotated[
        str | None, typer.Option(help="Prompt style; chat where the model has a template, else qa.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same samples.")] = 0,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Sample completions of a question, and show the thoughts.

    Example: ponder sample mini "What is 17 * 23?" -n 4
    """
    from ponder.core.errors import PonderError
    from ponder.core.types import SamplingParams

    if not question.strip():
        raise PonderError("the question is empty; write one in quotes")
    from ponder.models.chat import renderer
    from ponder.models.load import load_model
    from ponder.sampling.local import LocalSampler

    loaded = load_model(model, dtype, device)
    style = style or ("chat" if loaded.tokenizer.chat_template else "qa")
    sampler = LocalSampler(loaded.model, loaded.tokenizer, context_length=loaded.context_length, eos_ids=loaded.eos_ids)
    params = SamplingParams(n, max_completion_length, temperature, top_p, top_k, min_p, tuple(stop or ()))
    prompt = renderer(loaded.tokenizer, style)(question)
    for number, completion in enumerate(sampler.sample([prompt], params, seed), start=1):
        why = "cut at the limit" if completion.finish == "length" else completion.finish
        print(f"--- {number} of {n}: {len(completion.token_ids)} tokens, {why}")
        print(completion.text.strip())
