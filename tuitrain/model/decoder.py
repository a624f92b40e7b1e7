"""The native decoder, top to bottom: tokens in, hidden states out. Parameter names are those transformers uses, so a state
dict is a checkpoint as it stands. Letters behind names: `symbols.py`.

Weights may be fp32 while everything computes in `compute_dtype`: each product casts its weight. There is no autocast, so what
runs in which precision is written here and nowhere else.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts, noop_context_fn

from tuitrain.model.shape import DecoderShape
from tuitrain_kernels import attention


class Linear(nn.Linear):
    """x @ W.T without bias; the weight is cast to the dtype of x."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Project the last dim."""
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """x / rms(x) (Zhang and Sennrich 2019, arXiv:1910.07467), computed in fp32, with or without a learnt gain."""

    def __init__(self, size: int, eps: float, *, gain: bool) -> None:
        super().__init__()
        self.size, self.eps = size, eps
        self.weight = nn.Parameter(torch.ones(size)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dim; the dtype stays."""
        normed = F.rms_norm(x.float(), (self.size,), eps=self.eps).to(x.dtype)
        return normed if self.weight is None else normed * self.weight.to(x.dtype)


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions and, where the architecture has it, normed queries and keys."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.head_dim, self.backend = shape.head_dim, "sdpa"
        width, heads, kv_heads = shape.hidden_size, shape.num_heads, shape.num_kv_heads
        self.q_proj = Linear(width, heads * shape.head_dim)
        self.k_proj = Linear(width, kv_heads * shape.head_dim)
        self.v_proj = Linear(width, kv_heads * shape.head_dim)
        self.o_proj = Linear(heads * shape.head_dim, width)
        if shape.qk_norm:
            self.q_norm = RMSNorm(shape.head_dim, shape.norm_eps, gain=shape.norm_weights)
            self.k_norm = RMSNorm(shape.head_dim, shape.norm_eps, gain=shape.norm_weights)
        else:
            self.q_norm = self.k_norm = nn.Identity()  # type: ignore[assignment]

    def forward(self, x_BTD: Tensor, rope: tuple[Tensor, Tensor], document_ids_BT: Tensor | None) -> Tensor:
        """Mix tokens; the residual is added by the layer."""
        heads = (-1, self.head_dim)
        q_BTNH = rotate(self.q_norm(self.q_proj(x_BTD).unflatten(-1, heads)), *rope)
        k_BTKH = rotate(self.k_norm(self.k_proj(x_BTD).unflatten(-1, heads)), *rope)
        v_BTKH = self.v_proj(x_BTD).unflatten(-1, heads)
        out_BTNH = attention(q_BTNH, k_BTKH, v_BTKH, backend=self.backend, document_ids_BT=document_ids_BT)
        out: Tensor = self.o_proj(out_BTNH.flatten(-2))
        return out


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.hidden_size, shape.ffn_size)
        self.up_proj = Linear(shape.hidden_size, shape.ffn_size)
        self.down_proj = Linear(shape.ffn_size, shape.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each token."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))
        return out


class SquaredReLU(nn.Module):
    """fc2(relu(fc1(x)) ** 2) (So et al. 2021, arXiv:2109.08668)."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.fc1 = Linear(shape.hidden_size, shape.ffn_size)
        self.fc2 = Linear(shape.ffn_size, shape.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each token."""
        out: Tensor = self.fc2(F.relu(self.fc1(x_BTD)).square())
        return out


class Layer(nn.Module):
    """Pre-norm residual block: attention, then feed-forward."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.norm_eps, gain=shape.norm_weights)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.norm_eps, gain=shape.norm_weights)
        self.mlp = SwiGLU(shape) if shape.gated else SquaredReLU(shape)

    def forward(self, x_BTD: Tensor, rope: tuple[Tensor, Tensor], document_ids_BT: Tensor | None) -> Tensor:
        """One layer further."""
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), rope, document_ids_BT)
        x_BTD = x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))
        return x_BTD  # noqa: RET504 - the name tells the shape


class Trunk(nn.Module):
    """Embedding, layers, final norm."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.norm_eps, gain=shape.norm_weights)


class Decoder(nn.Module):
    """The whole model. `hidden` gives what the loss head needs; `forward` gives logits."""

    def __init__(self, shape: DecoderShape, *, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape, self.compute_dtype = shape, compute_dtype
        self.recompute = "none"
        self.model = Trunk(shape)
        self.lm_head = Linear(shape.hidden_size, shape.vocab_size)
        if shape.tie_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.lm_head.weight.device

    @property
    def context(self) -> int:
        """Longest sequence it was made for."""
        return self.shape.max_seq_len

    @property
    def logit_softcap(self) -> float | None:
        """Cap of the logits, if they are capped."""
        return self.shape.logit_softcap

    def forward(self, tokens_BT: Tensor, document_ids_BT: Tensor | None = None, positions_BT: Tensor | None = None) -> Tensor:
        """fp32 logits_BTV."""
        return self.logits(self.hidden(tokens_BT, document_ids_BT, positions_BT))

    def hidden(self, tokens_BT: Tensor, document_ids_BT: Tensor | None = None, positions_BT: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm, in the compute dtype."""
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None]
        rope = rope_tables(self.shape, positions_BT, self.compute_dtype)
        x_BTD = self.model.embed_tokens(tokens_BT).to(self.compute_dtype)
        if self.shape.architecture == "nanochat":  # its embedding is normed too
            x_BTD = self.model.norm(x_BTD)
        for layer in self.model.layers:
            x_BTD = self._run(layer, x_BTD, rope, document_ids_BT)
        normed: Tensor = self.model.norm(x_BTD)
        return normed

    def logits(self, hidden: Tensor) -> Tensor:
        """The head on hidden states of any leading shape, in fp32."""
        logits: Tensor = self.lm_head(hidden).float()
        cap = self.shape.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def set_attention(self, backend: str) -> None:
        """Use one of tuitrain_kernels' attention backends in every layer."""
        for layer in self.model.layers:
            assert isinstance(layer, Layer)
            layer.self_attn.backend = backend

    def _run(self, layer: nn.Module, x_BTD: Tensor, rope: tuple[Tensor, Tensor], document_ids_BT: Tensor | None) -> Tensor:
        if self.recompute == "none" or not torch.is_grad_enabled():
            out: Tensor = layer(x_BTD, rope, document_ids_BT)
            return out
        context = _keep_products if self.recompute == "selective" else noop_context_fn
        kept: Tensor = checkpoint(
            layer, x_BTD, rope, document_ids_BT, use_reentrant=False, preserve_rng_state=False, context_fn=context
        )
        return kept


def rope_tables(shape: DecoderShape, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(cos, sin) of shape B T 1 H/2 (Su et al. 2021, arXiv:2104.09864). nanochat turns the other way round."""
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32, device=positions_BT.device) / shape.head_dim
    angles = positions_BT[..., None].float() * shape.rope_theta**-exponents
    sign = -1.0 if shape.architecture == "nanochat" else 1.0
    return angles.cos().to(dtype)[:, :, None], (sign * angles.sin()).to(dtype)[:, :, None]


def rotate(x_BTNH: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + H/2) of each head by the angle of their position."""
    first, second = x_BTNH.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _keep_products() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Selective recomputation: results of matrix products and attention are kept, everything cheap is made again."""
    kept = {
        torch.ops.aten.mm.default,
        torch.ops.aten.bmm.default,
        torch.ops.aten.addmm.default,
        torch.ops.aten._scaled_dot_product_flash_attention.default,
        torch.ops.aten._scaled_dot_product_efficient_attention.default,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    }

    def policy(context: object, operator: object, *args: object, **kwargs: object) -> CheckpointPolicy:
        return CheckpointPolicy.MUST_SAVE if operator in kept else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)  # type: ignore[no-untyped-call,no-any-return]
