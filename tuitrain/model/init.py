"""First weights. A pure function of shape and seed: the same on every device and for every number of processes, also where each
of them has only some rows of a matrix.

Matrices start at std 1/sqrt(fan-in), so activations keep their scale through depth. The matrices that write into the residual
stream start at zero: every layer begins as the identity and the first steps are calm (Zhang et al. 2019, arXiv:1901.09321;
Yang et al. 2022, arXiv:2203.03466 section D.2). An untied head starts at zero too: the first loss is ln V exactly.
"""

from __future__ import annotations

import torch
from torch import nn

from tuitrain.model.decoder import Decoder
from tuitrain.model.shards import fill

_INTO_RESIDUAL = ("o_proj.weight", "down_proj.weight", "fc2.weight")


def init_weights(model: Decoder, seed: int) -> None:
    """Fill every parameter in place."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    shape = model.shape
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
            elif name == "model.embed_tokens.weight":
                # nanochat norms the embedding, so its scale only sets how fast it turns; tied ones are also the head.
                std = 0.02 if shape.tie_embeddings else 1.0
                fill(parameter, _normal(parameter, std, generator))
            elif name == "lm_head.weight" or name.endswith(_INTO_RESIDUAL):
                parameter.zero_()
            else:
                fill(parameter, _normal(parameter, parameter.shape[1] ** -0.5, generator))


def _normal(like: nn.Parameter, std: float, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=generator) * std


def parameter_roles(model: Decoder) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """Parameters by the way an optimizer should treat them: `embedding`, `head`, `matrix`, `vector`; tied weights are
    embedding."""
    roles: dict[str, list[tuple[str, nn.Parameter]]] = {"embedding": [], "head": [], "matrix": [], "vector": []}
    for name, parameter in model.named_parameters():
        if name == "model.embed_tokens.weight":
            role = "embedding"
        elif name == "lm_head.weight":
            role = "head"
        else:
            role = "matrix" if parameter.ndim == 2 else "vector"
        roles[role].append((name, parameter))
    return roles
