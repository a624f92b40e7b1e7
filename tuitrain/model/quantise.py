"""Frozen weights in 4 or 8 bits by bitsandbytes, on CPU and CUDA, and back again.

One trap is closed here. On CPUs with AVX512-BF16, bitsandbytes (0.50) repacks a 4-bit layer in place at its first forward pass
in evaluation mode, into a form without gradients: training after one evaluation goes on with a plausible loss and wrong
gradients, and dequantising gives garbage. `keep_differentiable` turns the repacking off, whatever the CPU.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from torch import nn

from tuitrain.errors import MissingExtraError


def quantisation_config(kind: str, compute: torch.dtype, *, double: bool) -> Any:
    """transformers' request for a kind: nf4 | int8. The output head stays as it is."""
    require_bitsandbytes()
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double, bnb_4bit_compute_dtype=compute
    )


def require_bitsandbytes() -> None:
    """MissingExtraError where it is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "train", "quantised weights and 8-bit optimizers")
    # On AVX512-BF16 CPUs its import asks the hub for a kernel and logs that it found none; nothing here depends on it.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.CRITICAL)
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)  # a line per 8-bit layer, about a cast


def keep_differentiable(model: nn.Module) -> int:
    """Keep 4-bit layers in the form that has gradients. Returns how many there are."""
    layers = [module for module in model.modules() if type(module).__name__ == "Linear4bit"]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
    return len(layers)


def quantised_bytes(model: nn.Module) -> int:
    """Resident bytes of all weights, scales of quantised ones included."""
    total = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    total += sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            total += _state_bytes(state)
        for name in ("SCB",):
            extra = getattr(parameter, name, None)
            if isinstance(extra, torch.Tensor):
                total += extra.numel() * extra.element_size()
    return total


def _state_bytes(state: Any) -> int:
    tensors = [state.absmax, state.code, getattr(state, "offset", None)]
    nested = getattr(state, "state2", None)
    if nested is not None:
        tensors += [nested.absmax, nested.code]
    return sum(each.numel() * each.element_size() for each in tensors if isinstance(each, torch.Tensor))
