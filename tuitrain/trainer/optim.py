"""From configuration to optimizers: who moves which parameters, at what rate.

muon              matrices of the layers by Muon; embedding, head and gains by AdamW (our own decoder alone)
adamw             everything by AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101); decay on matrices only
adamw-8bit        the same with moments in 8 bits (Dettmers et al. 2021, arXiv:2110.02861), by bitsandbytes
adamw-paged(-8bit)  moments that CUDA moves to the host's memory when the device's is short (QLoRA, arXiv:2305.14314)

The rates of the groups keep fixed ratios to the peak rate through the schedule. Only what is to be trained is moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tuitrain.config.schema import OptimSection
from tuitrain.errors import EnvironmentError_, UsageError
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import parameter_roles
from tuitrain.trainer.muon import Muon
from tuitrain.trainer.parallel.zero1 import OwnedRows


class Optimizers:
    """The optimizers of a model, moved together."""

    def __init__(self, model: nn.Module, config: OptimSection, *, device: torch.device, owned: OwnedRows | None = None) -> None:
        assert config.lr != "auto", "resolve fills optim.lr in"
        assert config.weight_decay != "auto", "resolve fills optim.weight_decay in"
        assert config.kind != "auto", "resolve fills optim.kind in"
        self.model, self._owned = model, owned
        self.all: list[torch.optim.Optimizer] = []
        if config.kind == "muon":
            if not isinstance(model, Decoder):
                raise UsageError("optim.kind='muon' moves the matrices of our own decoder", "optim.kind=adamw")
            self.all.append(_muon(model, config, device, owned))
        groups = [group for group in _groups(model, config) if group["params"]]
        if owned is not None:
            groups = [group | {"params": [owned.of(each) for each in group["params"]]} for group in groups]
        self.all.append(_adamw(groups, config, device))
        self._peak_lrs = [[float(group["lr"]) for group in optimizer.param_groups] for optimizer in self.all]

    def set_lr(self, multiplier: float) -> float:
        """Every group to its peak rate times `multiplier`; returns the rate of the first group."""
        for optimizer, peaks in zip(self.all, self._peak_lrs, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * multiplier
        return self._peak_lrs[0][0] * multiplier

    def step(self) -> None:
        """Move all parameters."""
        if self._owned is not None:
            self._owned.take_gradients()
        for optimizer in self.all:
            optimizer.step()
        if self._owned is not None:
            self._owned.drop_gradients()
            self._owned.gather()

    def zero_grad(self) -> None:
        """Forget gradients (their memory too)."""
        for parameter in self._trained():
            parameter.grad = None

    def gradients(self) -> list[Tensor]:
        """The gradients there are."""
        return [parameter.grad for parameter in self._trained() if parameter.grad is not None]

    def _trained(self) -> Iterator[torch.nn.Parameter]:
        """The parameters that get gradients: under ZeRO-1 the whole ones, not what this process moves of them."""
        return self.parameters() if self._owned is None else map(self._owned.whole, self.parameters())

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Every parameter moved."""
        for optimizer in self.all:
            for group in optimizer.param_groups:
                yield from group["params"]

    def state_dict(self) -> dict[str, Any]:
        """State by parameter name, so that it does not depend on how parameters were grouped."""
        from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

        return dict(get_optimizer_state_dict(self._names(), self.all))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`'s result."""
        from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict

        set_optimizer_state_dict(self._names(), self.all, state)

    def _names(self) -> nn.Module:
        """A module that names what is moved as the model names its parameters."""
        return self.model if self._owned is None else _tree(self._owned.names)


def _tree(parameters: dict[str, nn.Parameter]) -> nn.Module:
    """Modules within modules, so that each parameter has its dotted name."""
    root = nn.Module()
    for name, parameter in parameters.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            if part not in at._modules:
                at.add_module(part, nn.Module())
            at = at.get_submodule(part)
        at.register_parameter(last, parameter)
    return root


def _muon(model: Decoder, config: OptimSection, device: torch.device, owned: OwnedRows | None) -> Muon:
    assert config.matrix_lr != "auto", "resolve fills optim.matrix_lr in"
    assert config.weight_decay != "auto", "resolve fills optim.weight_decay in"
    matrices = [parameter if owned is None else owned.of(parameter) for _, parameter in parameter_roles(model)["matrix"]]
    low = device.type == "cuda" or _cpu_has_bf16()
    return Muon(matrices, lr=config.matrix_lr, momentum=config.momentum, weight_decay=config.weight_decay, low_precision=low)


def _groups(model: nn.Module, config: OptimSection) -> list[dict[str, Any]]:
    """Parameters for AdamW with their rates and decays."""
    decay = config.weight_decay
    if not isinstance(model, Decoder):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [
            {"params": [each for each in trained if each.ndim >= 2], "lr": config.lr, "weight_decay": decay},
            {"params": [each for each in trained if each.ndim < 2], "lr": config.lr, "weight_decay": 0.0},
        ]
    roles = {role: [parameter for _, parameter in pairs] for role, pairs in parameter_roles(model).items()}
    if config.kind == "muon":
        assert config.embedding_lr != "auto", "resolve fills optim.embedding_lr in"
        return [
            {"params": roles["embedding"], "lr": config.embedding_lr, "weight_decay": 0.0},
            {"params": roles["head"], "lr": config.lr, "weight_decay": 0.0},
            {"params": roles["vector"], "lr": config.lr, "weight_decay": 0.0},
        ]
    return [
        {"params": roles["matrix"] + roles["head"], "lr": config.lr, "weight_decay": decay},
        {"params": roles["embedding"], "lr": config.lr, "weight_decay": decay if model.shape.tie_embeddings else 0.0},
        {"params": roles["vector"], "lr": config.lr, "weight_decay": 0.0},
    ]


def _adamw(groups: list[dict[str, Any]], config: OptimSection, device: torch.device) -> torch.optim.Optimizer:
    betas = (config.beta1, config.beta2)
    if config.kind in ("adamw", "muon"):
        return torch.optim.AdamW(groups, betas=betas, eps=config.eps, fused=True)
    from tuitrain.model.quantise import require_bitsandbytes

    require_bitsandbytes()
    import bitsandbytes

    if "paged" in config.kind and device.type != "cuda":
        raise EnvironmentError_(
            f"optim.kind={config.kind!r} pages between a CUDA device and its host, and this run is on {device.type}",
            "optim.kind=adamw, or adamw-8bit",
        )
    kinds = {
        "adamw-8bit": bitsandbytes.optim.AdamW8bit,
        "adamw-paged": bitsandbytes.optim.PagedAdamW32bit,
        "adamw-paged-8bit": bitsandbytes.optim.PagedAdamW8bit,
    }
    optimizer: torch.optim.Optimizer = kinds[config.kind](groups, betas=betas, eps=config.eps)
    return optimizer


def _cpu_has_bf16() -> bool:
    capability = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(capability)
