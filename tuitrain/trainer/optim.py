"""From configuration to optimizers: who moves which parameters, at what rate.

muon   matrices of the layers by Muon; embedding, head and gains by AdamW
adamw  everything by AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101); decay on matrices only

The rates of the groups keep fixed ratios to the peak rate through the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import parameter_roles
from tuitrain.trainer.muon import Muon


class Optimizers:
    """The optimizers of a model, moved together."""

    def __init__(self, model: Decoder, config: OptimSection, *, device: torch.device) -> None:
        assert config.lr != "auto", "resolve fills optim.lr in"
        assert config.weight_decay != "auto", "resolve fills optim.weight_decay in"
        self.model = model
        roles = {role: [parameter for _, parameter in pairs] for role, pairs in parameter_roles(model).items()}
        decay = config.weight_decay
        if config.kind == "muon":
            assert config.matrix_lr != "auto", "resolve fills optim.matrix_lr in"
            assert config.embedding_lr != "auto", "resolve fills optim.embedding_lr in"
            low = device.type == "cuda" or _cpu_has_bf16()
            matrices = Muon(
                roles["matrix"], lr=config.matrix_lr, momentum=config.momentum, weight_decay=decay, low_precision=low
            )
            groups = [
                {"params": roles["embedding"], "lr": config.embedding_lr, "weight_decay": 0.0},
                {"params": roles["head"], "lr": config.lr, "weight_decay": 0.0},
                {"params": roles["vector"], "lr": config.lr, "weight_decay": 0.0},
            ]
        else:
            matrices = None
            groups = [
                {"params": roles["matrix"] + roles["head"], "lr": config.lr, "weight_decay": decay},
                {"params": roles["embedding"], "lr": config.lr, "weight_decay": decay if model.shape.tie_embeddings else 0.0},
                {"params": roles["vector"], "lr": config.lr, "weight_decay": 0.0},
            ]
        groups = [group for group in groups if group["params"]]
        adamw = torch.optim.AdamW(groups, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)
        self.all: list[torch.optim.Optimizer] = [adamw] if matrices is None else [matrices, adamw]
        self._peak_lrs = [[float(group["lr"]) for group in optimizer.param_groups] for optimizer in self.all]

    def set_lr(self, multiplier: float) -> float:
        """Every group to its peak rate times `multiplier`; returns the rate of the first group."""
        for optimizer, peaks in zip(self.all, self._peak_lrs, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * multiplier
        return self._peak_lrs[0][0] * multiplier

    def step(self) -> None:
        """Move all parameters."""
        for optimizer in self.all:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget gradients (their memory too)."""
        for optimizer in self.all:
            optimizer.zero_grad(set_to_none=True)

    def gradients(self) -> list[Tensor]:
        """The gradients there are."""
        return [parameter.grad for parameter in self.parameters() if parameter.grad is not None]

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Every parameter moved."""
        for optimizer in self.all:
            for group in optimizer.param_groups:
                yield from group["params"]

    def state_dict(self) -> dict[str, Any]:
        """State by parameter name, so that it does not depend on how parameters were grouped."""
        from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

        return dict(get_optimizer_state_dict(self.model, self.all))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`'s result."""
        from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict

        set_optimizer_state_dict(self.model, self.all, state)


def _cpu_has_bf16() -> bool:
    capability = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(capability)
