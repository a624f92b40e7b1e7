"""A configuration's method as the planner knows it."""

from __future__ import annotations

from typing import Final

from tuitrain.config.schema import Config
from tuitrain_planners import ALL_LINEAR, Adapter

_SHORT: Final = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "gate_proj": "gate", "up_proj": "up", "down_proj": "down",
    "lm_head": "head", "c_attn": "q", "c_proj": "o", "c_fc": "up", "qkv_proj": "q", "gate_up_proj": "gate",
}  # fmt: skip
"""transformers' names of layers to the planner's; of fused ones the first."""
_FUSED: Final = {
    "c_attn": ("q", "k", "v"),
    "qkv_proj": ("q", "k", "v"),
    "gate_up_proj": ("gate", "up"),
    "c_proj": ("o", "down"),
}


def adapter_of(config: Config) -> Adapter | None:
    """What is trained beside a frozen model; None when every weight is."""
    method = config.method
    if method.kind not in ("lora", "qlora"):
        return None
    if method.kind == "qlora":
        base = {"int8": "int8", "nf4": "nf4-dq" if method.double_quant else "nf4"}[method.quant]
    else:
        base = "fp32" if config.train.precision == "fp32" else "16bit"
    return Adapter(
        rank=method.rank,
        targets=_targets(method.targets),
        base=base,
        dropout=method.dropout > 0,
        ends_in_int8=method.kind == "qlora" and method.quant_embedding is True,
    )


def _targets(given: object) -> tuple[str, ...]:
    if not isinstance(given, (tuple, list)) or list(given) == ["all-linear"]:
        return ALL_LINEAR
    found: list[str] = []
    for name in given:
        short = str(name).rpartition(".")[2]
        found += _FUSED.get(short, (_SHORT.get(short, ""),))
    return tuple(dict.fromkeys(each for each in found if each)) or ALL_LINEAR
