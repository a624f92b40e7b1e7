"""Continue fixed prompts during training, so that progress can be read and not only plotted.

All prompts go through the model together, each row looking at its own last token. Samples draw from a generator of their own,
seeded by run and step: sampling never changes the training that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tuitrain.model.pretrained import Pretrained
from tuitrain.trainer.evaluate import evaluating
from tuitrain.trainer.setup import Language


@torch.no_grad()
def continue_prompts(
    model: Any,
    language: Language,
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    tick: Callable[[], None] | None = None,
) -> list[tuple[str, int]]:
    """(continuation, tokens made) of each prompt. A row stops where a document or an answer ends; temperature 0 takes the
    likeliest token. `tick` is called with every token."""
    if isinstance(model, Pretrained):
        with evaluating(model), _ticking(model.lm, tick):
            made = model.generate(
                [prompt.ids for prompt in language.prompts], max_tokens=max_tokens, temperature=temperature,
                end_ids=sorted(language.end_ids), pad_id=language.pad_id, seed=seed,
            )  # fmt: skip
        return [(language.decode(row), len(row)) for row in made]
    device, context, pad_id = model.device, model.context, language.pad_id
    generator = torch.Generator(device="cpu").manual_seed(seed)
    rows = [list(prompt.ids) for prompt in language.prompts]
    starts, open_rows = [len(row) for row in rows], set(range(len(rows)))
    with torch.compiler.set_stance("force_eager"), evaluating(model):  # every length would be compiled anew
        for _ in range(max_tokens):
            if not open_rows:
                break
            windows = [row[-context:] for row in rows]
            longest = max(map(len, windows))
            tokens = torch.tensor([window + [pad_id] * (longest - len(window)) for window in windows], device=device)
            last = torch.tensor([len(window) - 1 for window in windows], device=device)
            # Attention is causal: what is padded on the right changes nothing to the left.
            hidden_RD = model.hidden(tokens)[torch.arange(len(rows), device=device), last]
            if tick is not None:
                tick()
            for row, following in enumerate(_draw(model.logits(hidden_RD).cpu(), temperature, generator)):
                if row in open_rows:
                    if following in language.end_ids:
                        open_rows.discard(row)
                    else:
                        rows[row].append(following)
    return [(language.decode(row[start:]), len(row) - start) for row, start in zip(rows, starts, strict=True)]


@contextmanager
def _ticking(lm: nn.Module, tick: Callable[[], None] | None) -> Iterator[None]:
    """Call `tick` at every forward pass of `lm`: transformers' own loop tells nobody how far it is."""
    if tick is None:
        yield
        return
    hook = lm.register_forward_hook(lambda *_: tick())
    try:
        yield
    finally:
        hook.remove()


def _draw(logits_RV: torch.Tensor, temperature: float, generator: torch.Generator) -> list[int]:
    if temperature == 0:
        chosen = logits_RV.argmax(dim=-1)
    else:
        chosen = torch.multinomial(torch.softmax(logits_RV / temperature, dim=-1), 1, generator=generator).squeeze(1)
    return [int(each) for each in chosen]
