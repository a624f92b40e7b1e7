"""Whether an exported model is the trained one: logits and greedy tokens on fixed prompts, before and after.

The trained model answers first; what is compared is what the export says along the very tokens of those answers, so that one
early difference does not hide the rest. Limits by format: in fp32 both are the same sums in another order; in 16 and 8 bits
rounding moves logits, and what counts is that it does not move the choice.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from tuitrain.data.chat.encoder import ChatEncoder
from tuitrain.errors import CheckpointError

PROMPTS: Final = (
    "What is the capital of France?",
    "Write a Python function that adds two numbers.",
    "Name three colours.",
    "Why is the sky blue? Answer in one sentence.",
)
TOKENS: Final = 24
LIMITS: Final[dict[str, tuple[float, float]]] = {
    "fp32": (1e-5, 1.0), "f32": (1e-5, 1.0), "bf16": (2e-2, 0.9), "f16": (1e-3, 0.97), "q8_0": (2e-2, 0.9)
}  # fmt: skip
"""Largest mean Kullback-Leibler divergence (nats per token), smallest share of equal greedy tokens."""


@dataclass(slots=True)
class Answers:
    """What a model says: prompts with their greedy continuations, and the log-probabilities along them."""

    rows: list[list[int]]
    prompt_lengths: list[int]
    logits: list[torch.Tensor]
    """fp32 [tokens, vocabulary] of each row, at the places that predict the continuation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How far an export is from the trained model."""

    kind: str
    max_logit_difference: float
    mean_kl_nats: float
    same_greedy_frac: float
    tokens: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @property
    def problem(self) -> str | None:
        """Why it is not the trained model; None when it is."""
        kl, same = LIMITS[self.kind]
        if not self.mean_kl_nats <= kl:
            return f"it diverges by {self.mean_kl_nats:.2g} nats per token, the limit for {self.kind} is {kl:g}"
        if not self.same_greedy_frac >= same:
            share = f"{self.same_greedy_frac:.0%} of its greedy tokens are the trained model's"
            return f"{share}, the least for {self.kind} is {same:.0%}"
        return None


@torch.no_grad()
def answer(lm: Any, encoder: ChatEncoder) -> Answers:
    """The model's own greedy answers."""
    rows, lengths = [], []
    device = next(lm.parameters()).device
    for ids in _prompts(encoder):
        made = lm.generate(
            torch.tensor([ids], device=device), attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=device),
            max_new_tokens=TOKENS, do_sample=False, pad_token_id=encoder.pad_id or encoder.eos_id or 0,
            eos_token_id=sorted(encoder.end_ids) or None,
        )  # fmt: skip
        rows.append(made[0].tolist())
        lengths.append(len(ids))
    return Answers(rows, lengths, _logits(lm, rows, lengths))


@torch.no_grad()
def compare(trained: Answers, lm: Any, kind: str) -> Comparison:
    """The export along the trained model's answers."""
    theirs = _logits(lm, trained.rows, trained.prompt_lengths)
    width = min(trained.logits[0].shape[1], theirs[0].shape[1])  # an export may pad its vocabulary
    difference, divergence, same, count = 0.0, 0.0, 0, 0
    for mine, other in zip(trained.logits, theirs, strict=True):
        mine, other = mine[:, :width], other[:, :width]
        difference = max(difference, float((mine - other).abs().max()))
        log_p, log_q = mine.log_softmax(-1), other.log_softmax(-1)
        divergence += float((log_p.exp() * (log_p - log_q)).sum())
        same += int((mine.argmax(-1) == other.argmax(-1)).sum())
        count += mine.shape[0]
    return Comparison(
        kind=kind, max_logit_difference=difference, mean_kl_nats=max(0.0, divergence / count), same_greedy_frac=same / count,
        tokens=count,
    )  # fmt: skip


def must_be_same(comparison: Comparison, what: str) -> None:
    """CheckpointError when an export is not the trained model."""
    if comparison.problem is not None:
        raise CheckpointError(
            f"{what} is not the trained model: {comparison.problem}; nothing was kept",
            "this is a fault of the export, not of your model; another --to or --dtype may work, and please report it",
        )


def _prompts(encoder: ChatEncoder) -> list[list[int]]:
    if encoder.template is None:
        return [encoder.encode_start(text) for text in PROMPTS]
    turns = [[{"role": "user", "content": text}] for text in PROMPTS]
    return [encoder.encode(encoder.template.render(each, add_generation_prompt=True)).ids for each in turns]


def _logits(lm: Any, rows: list[list[int]], prompt_lengths: list[int]) -> list[torch.Tensor]:
    device = next(lm.parameters()).device
    found = []
    for row, length in zip(rows, prompt_lengths, strict=True):
        logits = lm(input_ids=torch.tensor([row], device=device), use_cache=False).logits[0]
        found.append(logits[length - 1 : max(length, len(row) - 1)].float().cpu())
    return found
