"""Bytes per logit of every loss head, against op-level traces of the frameworks' losses on torch 2.13."""

from dataclasses import replace

import pytest

from tuitrain_planners import by_depth, framework, recipe
from tuitrain_planners.memory import LOSS_HEADS, loss_head

LLAMA = by_depth(4, 50_000, "llama")
TOKENS = 1024


def per_logit(
    kind: str, precision: str = "bf16-pure", *, capped: bool = False, architecture: str = "llama", **kw: int
) -> float:
    shape = replace(by_depth(4, 50_000, architecture), logit_softcap=capped)
    head = loss_head(shape, tokens=TOKENS, precision=recipe(precision), kind=kind, **kw)
    return head.temporaries.value / (TOKENS * shape.vocab_size)


@pytest.mark.parametrize(
    ("kind", "precision", "more", "traced"),
    [
        ("plain", "bf16-pure", {}, 12), ("plain", "fp32", {}, 12),
        ("plain", "bf16-pure", {"in_forward": True}, 10), ("plain", "fp32", {"in_forward": True}, 8),
        ("plain", "bf16-pure", {"held_bytes": 2}, 14), ("plain", "bf16-pure", {"held_bytes": 4}, 16),
        ("plain", "bf16-pure", {"capped": True, "architecture": "gemma2"}, 14),
        ("plain", "fp32", {"capped": True, "architecture": "gemma2"}, 16),
        ("plain", "bf16-pure", {"capped": True, "architecture": "nanochat"}, 16),
        ("bf16", "bf16-pure", {}, 6),
        ("chunked-logits", "bf16-pure", {}, 6.5), ("chunked-logits", "bf16-pure", {"held_bytes": 2}, 7),
        ("chunked-logits", "fp32", {}, 8),
    ],
)  # fmt: skip
def test_bytes_per_logit(kind: str, precision: str, more: dict[str, int], traced: float) -> None:
    assert per_logit(kind, precision, **more) == traced


def test_a_split_loss_holds_logits_and_log_softmax_and_the_gradients_of_one_piece() -> None:
    assert per_logit("split") == 8 + 8 * 128 / TOKENS


def test_every_framework_runs_a_head_there_is() -> None:
    for name in ("tuitrain", "litgpt", "torchtune", "hf-trainer"):
        for adapted in (False, True):
            assert framework(name).head(adapted=adapted) in LOSS_HEADS
    assert framework("litgpt").head(adapted=True) == "split"


@pytest.mark.parametrize("kind", LOSS_HEADS)
def test_padding_the_vocabulary_costs_its_logits(kind: str) -> None:
    """Logits of padded rows are computed like others: a vocabulary of 50 000 padded to 50 048 counts as that."""
    padded = replace(LLAMA, vocab_size=50_048)
    two = [
        loss_head(each, tokens=TOKENS, precision=recipe("bf16-pure"), kind=kind, chunk_rows=64 if kind == "chunked" else None)
        for each in (LLAMA, padded)
    ]
    assert two[0].temporaries.value < two[1].temporaries.value
