"""Muon: momentum, orthogonalised. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/

The update of a matrix is the nearest (semi-)orthogonal matrix to its Nesterov momentum, so every direction moves equally far.
Orthogonalisation is five Newton-Schulz steps with the coefficients of Polar Express (Amsel et al. 2025, arXiv:2505.16932), in
bf16 where that is faster. Matrices of one shape go through together as a batch. Decay is decoupled.

Of matrices that are cut over processes, momentum is kept where the rows are; for orthogonalisation the processes deal whole
matrices out among themselves, each works on its own, and the rows go back (`muon_exchange`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from tuitrain.model.shards import local
from tuitrain.trainer.muon_exchange import Exchange

# Degree-5 polynomials, optimal one after the other for singular values in [1e-3, 1] (the paper's listing, first five).
_POLAR_EXPRESS: Final = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845749493, 0.4188073119525673),
)
SAFETY: Final = 1.02
"""Each polynomial but the last is flattened by this factor. They rise steeply just above their interval, so that a singular
value that bf16 rounding lifts past its edge would be thrown to a thousand; seen here without the factor, on a nearly
singular matrix."""
COEFFICIENTS: Final = (
    *((a / SAFETY, b / SAFETY**3, c / SAFETY**5) for a, b, c in _POLAR_EXPRESS[:-1]),
    _POLAR_EXPRESS[-1],
)


def orthogonalise(matrices_GMN: Tensor, *, dtype: torch.dtype) -> Tensor:
    """The orthogonal polar factor of each of G matrices, approximately, in `dtype`; all but tiny singular values end near 1."""
    x = matrices_GMN.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * SAFETY + 1e-7)
    for a, b, c in COEFFICIENTS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices (parameters of two dims). Update of spectral norm `lr * sqrt(max(1, rows / columns))`.

    The shape factor keeps the size of what a layer adds equal for wide and tall matrices (Bernstein 2025,
    https://jeremybernste.in/writing/deriving-muon).
    """

    def __init__(
        self, params: Iterable[Any], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0, low_precision: bool = True
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for parameter in group["params"]:
                assert parameter.ndim == 2, f"Muon moves matrices, got shape {tuple(parameter.shape)}"
        self.compute_dtype = torch.bfloat16 if low_precision else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                self._move(parameters, group, scale=max(1.0, shape[0] / shape[1]) ** 0.5)

    def _move(self, parameters: list[Tensor], group: dict[str, Any], *, scale: float) -> None:
        lr, momentum = group["lr"], group["momentum"]
        grads = [local(parameter.grad).float() for parameter in parameters if parameter.grad is not None]
        buffers = [local(self._buffer(parameter)) for parameter in parameters]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        updates = torch._foreach_lerp(grads, buffers, momentum)
        moved = self._orthogonalised(updates, parameters[0])
        weights = [local(parameter) for parameter in parameters]
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
        torch._foreach_add_(weights, [each.to(weights[0].dtype) for each in moved], alpha=-lr * scale)

    def _orthogonalised(self, updates: Sequence[Tensor], like: Tensor) -> list[Tensor]:
        if not isinstance(like, DTensor):
            return list(orthogonalise(torch.stack(list(updates)), dtype=self.compute_dtype).unbind(0))
        whole = Exchange(like, len(updates))
        mine = whole.collect([each.to(self.compute_dtype) for each in updates])
        return whole.give_back(orthogonalise(mine, dtype=self.compute_dtype) if len(mine) else mine)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter, dtype=torch.float32)
        buffer: Tensor = state["momentum_buffer"]
        return buffer
