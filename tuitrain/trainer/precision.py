"""Precision recipes as the trainer runs them: dtype of the weights, dtype of the computing, loss scaling or not.

fp32        everything fp32
bf16-mixed  fp32 weights and optimizer, products in bf16, norms, softmax and loss in fp32
bf16-pure   bf16 weights too: half the memory; small updates are lost to rounding (measured: fine-tuning stalls)
fp16-mixed  as bf16-mixed with fp16 and dynamic loss scaling
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from tuitrain.errors import EnvironmentError_


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to use number formats."""

    weights: torch.dtype
    compute: torch.dtype
    scaled_loss: bool = False


RECIPES: Final = {
    "fp32": Recipe(weights=torch.float32, compute=torch.float32),
    "bf16-mixed": Recipe(weights=torch.float32, compute=torch.bfloat16),
    "bf16-pure": Recipe(weights=torch.bfloat16, compute=torch.bfloat16),
    "fp16-mixed": Recipe(weights=torch.float32, compute=torch.float16, scaled_loss=True),
}


def recipe(name: str, device: torch.device) -> Recipe:
    """The recipe by name; EnvironmentError_ where the device cannot do it."""
    found = RECIPES[name]
    if (
        device.type == "cuda"
        and found.compute is torch.bfloat16
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise EnvironmentError_(f"{torch.cuda.get_device_name(device)} does not compute in bf16", "train.precision=fp16-mixed")
    return found
