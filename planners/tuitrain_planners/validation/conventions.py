"""FLOP per token as the sources count them: a published TFLOPS or MFU is tokens per second times the source's own formula."""

from __future__ import annotations

import re
from typing import Final

from tuitrain_planners.flops import flop_per_token
from tuitrain_planners.parameters import count_parameters
from tuitrain_planners.quantity import Quantity, derived
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.validation.rows import Row

_SOURCES: Final = (
    (r"llm-foundry|nanogpt|palm|foundation-model-stack|fms", "6n_and_square"),
    (r"megatron-bridge", "causal"),
    (r"bigscience|arxiv:2104\.04473|megatron-lm on gpu clusters", "megatron2021"),
)
"""Convention by source; everything else counts every product and the whole square of scores."""


def convention_of(row: Row) -> str:
    """Name of the convention a row's TFLOPS or MFU is in."""
    where = f"{row.text('source')} {row.text('where')}".lower()
    notes = f"{row.text('unit_note')} {row.text('notes')}".lower()
    named = next((name for pattern, name in _SOURCES if re.search(pattern, where)), "full")
    again = row.metric.endswith("_hw") or row.metric == "HFU" or _counts_recompute(row, notes)
    if "4n not 6n" in notes and row.text("method") in ("lora", "qlora"):
        return "adapter"
    if "palm/nanogpt formula" in notes or "palm formula" in notes:
        named = "6n_and_square"
    return f"{named}+recompute" if again else named


def _counts_recompute(row: Row, notes: str) -> bool:
    return ("with ac counts recompute" in notes) and row.text("activation_checkpointing").startswith("full")


def flop_in(convention: str, shape: ModelShape, seq_len: int, *, attention_again: float = 1.0, again: float = 1.0) -> Quantity:
    """FLOP per token in a source's convention; `again`: share of the layers' forward that was repeated."""
    base, _, extra = convention.partition("+")
    layers, h = shape.num_layers, shape.hidden_size
    if base == "6n_and_square":
        n = count_parameters(shape)
        value, formula = 6 * n.value + 12 * layers * h * seq_len, "6 * N + 12 * L * h * s"
        name = "FLOP per token (6N + 12 L h s)"
        plain = derived(name, value, "FLOP/token", formula, "palm2022", N=n, L=layers, h=h, s=seq_len)
    elif base == "adapter":
        full = flop_per_token(shape, seq_len, "full")
        return derived("FLOP per token (adapter)", full.value * 4 / 6, "FLOP/token", "full * 4 / 6", full=full)
    elif base == "megatron2021":
        v = shape.vocab_size
        value = 72 * layers * h * h * (1 + seq_len / (6 * h) + v / (12 * layers * h))
        formula = "72 * L * h ** 2 * (1 + s / (6 * h) + V / (12 * L * h))"
        plain = derived(
            "FLOP per token (Megatron 2021)", value, "FLOP/token", formula, "megatron2021", L=layers, h=h, s=seq_len, V=v
        )
    else:
        plain = flop_per_token(shape, seq_len, base)
    if not extra:
        return plain
    head, attention = 6.0 * h * shape.vocab_size, 12.0 * layers * shape.query_size * seq_len
    if base == "causal":
        attention /= 2
    repeated = (again * (plain.value - head - attention) + attention_again * attention) / 3
    return derived(
        "FLOP per token, with recomputation", plain.value + repeated, "FLOP/token",
        "plain + (again * (plain - head - attention) + attention_again * attention) / 3", "korthikanti2022",
        plain=plain, again=again, head=head, attention=attention, attention_again=attention_again,
    )  # fmt: skip
