"""What a row's recipe columns mean: precision, sharding, recomputation, software. Words of the format, nothing of one row."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from tuitrain_planners.adapters import ALL_LINEAR, Adapter
from tuitrain_planners.precision import Precision, recipe
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError

_FUSED: Final = r"megatron|bigscience|nemo|llm\.c|internevo|arxiv:2104\.04473|arxiv:2205\.05198|mt-nlg|llama 3|gpt-neox"
"""Sources whose software fuses norms, activations and the loss by hand."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Shares of a layer's forward that backward repeats."""

    products: float
    attention: float


def precision_of(row: Row) -> Precision:
    """The planner's recipe nearest to the row's, with the dtype its layers' products run in."""
    text = row.text("precision").lower()
    if re.search(r"fp8|float8|mxfp8", text):
        return replace(recipe("bf16-mixed"), name="fp8 products", peak_dtype="fp8")
    if re.search(r"nvfp4|fp4", text.replace("nf4", "")):
        return replace(recipe("bf16-mixed"), name="fp4 products", peak_dtype="fp4")
    if "fp16" in text and "bf16" not in text:
        return recipe("fp16-mixed")
    if text.startswith("fp32"):
        return recipe("fp32")
    return recipe("bf16-pure" if "bf16-true" in text else "bf16-mixed")


def zero_of(row: Row) -> int:
    """ZeRO stage of the row's sharding."""
    text = row.text("sharding").lower()
    if match := re.search(r"zero[- ]?(\d)", text):
        return int(match[1])
    if "shard_grad_op" in text:
        return 2
    if "zero-1-like" in text or "dist" in text or "distributed" in text:
        return 1
    if "fsdp" in text or "hsdp" in text:
        return 3
    return 0


def state_group_of(row: Row, ranks: int) -> int:
    """Over how many of the data-parallel ranks states are shared."""
    text = row.text("sharding").lower()
    if match := re.search(r"group (\d+)", text):
        return min(int(match[1]), ranks)
    return min(8, ranks) if "hsdp" in text else ranks


def recomputed_by(row: Row) -> Recomputed:
    """Where the source does not say, nothing is."""
    text = row.text("activation_checkpointing").lower()
    if text.startswith("full"):
        return Recomputed(1, 1)
    if "2nd matmul" in text:
        return Recomputed(0.5, 0)
    if "attention core" in text or "+ sp" in text:
        return Recomputed(0, 1)
    if "layer" in text or "blocks" in text or "selective" in text:
        return Recomputed(0.5, 0.5)  # every second layer; the share of "some blocks" is not stated
    return Recomputed(0, 0)


def attention_of(row: Row) -> str:
    """naive where the source says that scores are written out."""
    text = row.text("attention").lower()
    return "naive" if text == "eager" or "softmax" in text or "unfused" in text or "no flash" in text else "flash"


def kernel_of(row: Row) -> str:
    """One of `efficiency.KERNELS`: the vendor's, the Triton port, or what torch and flash-attn run since 2023."""
    text = row.text("attention").lower()
    if re.search(r"cudnn|\bte\b|flash-?attention-?3|fa3|megatron-core", text):
        return "newest"
    return "first" if "triton" in text or text == "flashattention" else "second"


def software_of(row: Row) -> str:
    """One of `efficiency.SOFTWARE`."""
    if row.text("compile").lower() == "yes":
        return "compiled"
    return "fused" if re.search(_FUSED, f"{row.text('source')} {row.text('attention')}".lower()) else "eager"


def overlaps(row: Row) -> bool:
    """Megatron's data parallelism of 2021 and 2022 summed gradients after backward, not under it."""
    return not row.text("attention").startswith("Megatron")


def overlaps_tensor(row: Row) -> bool:
    """TransformerEngine, and torchtitan's AsyncTP, send in pieces under the products."""
    return kernel_of(row) == "newest" or bool(re.search(r"async ?tp", row.text("precision").lower()))


def adapter_of(row: Row) -> Adapter | None:
    """The row's adapter; None where every weight is trained."""
    method = row.text("method").lower()
    if method not in ("lora", "qlora"):
        if method in ("", "full", "pretrain", "pretrain/full") or method.startswith(("full", "pretrain")):
            return None
        raise NotComputableError(f"the method {method!r} is not planned")
    ends = bool(re.search(r"wte|emb", row.text("lora_targets").lower()))
    return Adapter(rank=row.count("lora_rank") or 16, targets=targets_of(row), base=base_of(row), trains_ends=ends)


def targets_of(row: Row) -> tuple[str, ...]:
    """Adapted matrices; all of them where the source does not say."""
    text = row.text("lora_targets").lower()
    if not text or "all" in text.split("-")[0].split() or "all-linear" in text:
        return ALL_LINEAR
    if text.startswith("default"):  # Qwen's fused c_attn, elsewhere query, key and value
        return ("q", "k", "v")
    found: list[str] = []
    for word in re.split(r"[,+ ]+", text):
        found += {
            "q": ["q"], "k": ["k"], "v": ["v"], "o": ["o"], "mlp": ["gate", "up", "down"], "head": ["head"],
            "c_attn": ["q", "k", "v"], "c_proj": ["o", "down"], "w1": ["gate"], "w2": ["up"],
        }.get(word, [])  # fmt: skip
    return tuple(dict.fromkeys(found)) or ALL_LINEAR


def base_of(row: Row) -> str:
    """How the frozen weights are kept."""
    text = row.text("precision").lower()
    if "fp32 weights" in text:
        return "fp32"
    if "nf4-dq" in text:
        return "nf4-dq"
    if "gptq" in text and "int8" in text:
        return "int8-gptq"
    if "gptq" in text:
        return "int4-gptq"
    if "int8" in text or "8-bit" in text:
        return "int8"
    return "nf4" if "nf4" in text or "int4" in text or "4-bit" in text or row.text("method") == "qlora" else "16bit"
