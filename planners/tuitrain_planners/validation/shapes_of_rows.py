"""The shape a row measured: a preset by the model's name, or the row's own sizes with the parts its family is known to have.

A family decides what the columns do not say: gated feed-forward, biases, norms, positions. What comes out is checked against
the `params` column; a shape that misses it by more than 1 % is a reason not to predict, never a prediction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from tuitrain_planners.errors import PlanError
from tuitrain_planners.parameters import count_parameters
from tuitrain_planners.parts import Experts
from tuitrain_planners.presets import find_shape, preset_names
from tuitrain_planners.shapes import ModelShape
from tuitrain_planners.validation.rows import Row

TOLERANCE: Final = 0.01

_LLAMA: Final[dict[str, Any]] = {"architecture": "llama", "gated_ffn": True}
_GPT: Final[dict[str, Any]] = {
    "architecture": "gpt2", "gated_ffn": False, "layer_norm": True, "attention_bias": True, "ffn_bias": True,
}  # fmt: skip
FAMILIES_BY_NAME: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    (r"qwen3", {**_LLAMA, "architecture": "qwen3", "qk_norm": True, "head_dim": 128}),
    (r"qwen-?(1\.8|7|14|72)b|qwen-?(1\.5|2)", {**_LLAMA, "qkv_bias": True}),
    (r"olmo-?2", {**_LLAMA, "wide_qk_norm": True}),
    (r"gemma-?2-", {**_LLAMA, "norms_per_layer": 4, "head_dim": 256}),
    (r"gemma", {**_LLAMA, "head_dim": 256}),
    (r"chatglm", {**_LLAMA, "qkv_bias": True}),
    (r"internlm", {**_LLAMA, "attention_bias": True}),
    (r"llama|mistral|yi-|baichuan|phi-?3|smollm|internlm2|deepseek-?llm", _LLAMA),
    (r"phi-?(1|2)", {**_GPT, "norms_per_layer": 1, "parallel_block": True, "head_bias": True}),
    (r"falcon-?7b", {**_GPT, "attention_bias": False, "ffn_bias": False, "norms_per_layer": 1, "parallel_block": True}),
    (r"falcon", {**_GPT, "attention_bias": False, "ffn_bias": False, "parallel_block": True}),
    (r"pythia|neox|stablelm-base-alpha", {**_GPT, "parallel_block": True}),
    (r"mpt", {**_GPT, "attention_bias": False, "ffn_bias": False, "norm_bias": False, "learned_positions": (True,)}),
    (r"bloom", {**_GPT, "embedding_norm": True, "embedding_norm_weights": True}),
    (r"gpt ?oss", {**_LLAMA, "attention_bias": True, "head_dim": 64}),
    (r"chinchilla", {"architecture": "llama", "gated_ffn": False}),
    (r"gpt|opt-|starcoder|mt-nlg|megatron", {**_GPT, "learned_positions": (True, False)}),
)
"""Parts by the model's name (case ignored), first match wins; from the models' published configurations."""

_EXPERTS: Final = re.compile(r"moe (\d+)e top(\d+)(?: ffn (\d+))?(?: \+ (\d+) shared)?")


class NotComputableError(PlanError):
    """Why a row cannot be predicted; the message is the reason."""


def shape_of(row: Row, presets: Path | None) -> ModelShape:
    """The row's model; NotComputableError where the row does not determine it."""
    wanted = row.count("params")
    if (preset := _preset(row, presets)) is not None and wanted is not None and _close(preset, wanted):
        return preset
    if row.count("hidden") is None or row.count("n_layers") is None:
        if preset is not None and wanted is None:
            return preset
        raise NotComputableError(f"the sizes of {row.text('model') or 'the model'} are not stated")
    candidates = list(_from_columns(row))
    if wanted is None:
        return candidates[0]
    best = min(candidates, key=lambda each: abs(count_parameters(each).value / wanted - 1))
    if not _close(best, wanted):
        counted = count_parameters(best).value
        raise NotComputableError(
            f"the sizes give {counted:,.0f} parameters, the row says {wanted:,}: {counted / wanted - 1:+.1%}"
        )
    return best


def _close(shape: ModelShape, wanted: float) -> bool:
    """Within the tolerance, or within the rounding of a count given to one or two digits (`GPT 1.7B`: 1.7e9)."""
    digits = len(f"{wanted:.0f}".rstrip("0"))
    rounding = 0.5 * 10 ** (len(f"{wanted:.0f}") - digits) if digits <= 2 else 0.0
    return abs(count_parameters(shape).value - wanted) <= max(TOLERANCE * wanted, rounding)


def _preset(row: Row, presets: Path | None) -> ModelShape | None:
    """The preset of the row's model name, punctuation and case aside."""
    if presets is None:
        return None
    plain = _plain(re.sub(r"\s*\(.*\)", "", row.text("model")))
    aliases = {plain, plain.replace("llama31", "llama3"), plain.replace("llama33", "llama3")}
    for name in preset_names(presets):
        if _plain(name) in aliases:
            return find_shape(presets, name)
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _from_columns(row: Row) -> Iterable[ModelShape]:
    """Shapes with the row's sizes; several where neither row nor family says whether embedding and head are tied, or positions
    learned."""
    model = row.text("model")
    parts = next((dict(each) for pattern, each in FAMILIES_BY_NAME if re.search(pattern, model.lower())), None)
    if parts is None:
        raise NotComputableError(f"no family of models is known for {model!r}")
    h, layers = row.count("hidden"), row.count("n_layers")
    assert h is not None
    assert layers is not None
    heads = row.count("n_heads") or _usual_heads(h, row.count("tp") or 1)
    head_dim = parts.pop("head_dim", 0) or h // heads
    experts, ffn = _ffn(row, gated=bool(parts.get("gated_ffn")), hidden=h)
    vocab = row.count("vocab")
    if vocab is None:
        raise NotComputableError("the vocabulary is not stated")
    tied = row.text("tied").lower()
    ties = {"yes": (True,), "no": (False,)}.get(tied, (True, False))
    learned = parts.pop("learned_positions", (False,))
    for tie, positions in product(ties, learned):
        try:
            yield ModelShape(
                name=model, vocab_size=vocab, hidden_size=h, num_layers=layers, num_heads=heads,
                num_kv_heads=row.count("n_kv_heads") or heads, head_dim=head_dim, ffn_size=ffn,
                max_seq_len=row.count("seq_len") or 2048, tie_embeddings=tie, experts=experts,
                learned_positions=positions, **parts,
            )  # fmt: skip
        except PlanError as error:
            raise NotComputableError(error.message) from error


def _usual_heads(hidden: int, tp: int) -> int:
    """Heads where a row does not state them: as wide as 128 as the sizes allow; they hardly matter to what is predicted."""
    divisors = [each for each in range(tp, hidden // 32 + 1, tp) if hidden % each == 0 and hidden // each % 2 == 0]
    return min(divisors, key=lambda each: abs(hidden / each - 128)) if divisors else max(1, hidden // 128)


def _ffn(row: Row, *, gated: bool, hidden: int) -> tuple[Experts | None, int]:
    text = row.text("ffn")
    if match := _EXPERTS.match(text):
        if match[3] is None:
            raise NotComputableError(f"the width of an expert is not stated ({text})")
        width = int(match[3])
        return Experts(num=int(match[1]), per_token=int(match[2]), ffn_size=width), width
    if text:
        if not text.isdigit():
            raise NotComputableError(f"the feed-forward {text!r} is not understood")
        return None, int(text)
    if gated:
        raise NotComputableError("the width of the feed-forward is not stated")
    return None, 4 * hidden


def with_positions(shape: ModelShape, seq_len: int) -> ModelShape:
    """The shape with room for that many learned positions."""
    return replace(shape, max_seq_len=max(shape.max_seq_len, seq_len))
