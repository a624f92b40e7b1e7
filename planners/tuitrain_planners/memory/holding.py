"""What one device holds of a model: its share of heads, widths, layers and experts, and whether embedding and head are on it.

    tensor      heads, feed-forward width and vocabulary / tp; norms whole; key/value heads at least one
    pipeline    ceil(L / pp) layers; the embedding on the first stage, the head on the last; a tied table on both
    experts     the routed ones / ep (their width / tp); router, norms and shared experts whole

(Shoeybi et al. 2019, section 3; Narayanan et al. 2021, section 2.) The stages between first and last are never the fullest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from tuitrain_planners.mesh import Mesh
from tuitrain_planners.parameters import (
    embedding_parameters,
    expert_parameters,
    hidden_matrix_parameters,
    vector_parameters,
)
from tuitrain_planners.shapes import ModelShape

Stage = Literal["only", "first", "last"]
ONE_DEVICE: Final = Mesh()


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """Counts of parameters on one device."""

    shape: ModelShape
    """Local sizes: heads, feed-forward width, vocabulary and layers of this device. The hidden size stays whole."""
    stage: Stage
    hidden: int
    """Entries of the matrices in this device's layers, routed experts not among them."""
    experts: int
    """Entries of the routed experts' matrices."""
    embedding: int
    """Entries of token and position tables; 0 when they are elsewhere."""
    head: int
    """Entries of the head; 0 when it is elsewhere or is the embedding again."""
    vectors: int
    """Norm scales and biases."""

    @property
    def tied(self) -> bool:
        """Whether embedding and head are one matrix here."""
        return self.shape.tie_embeddings and self.stage == "only"

    @property
    def has_head(self) -> bool:
        """Whether logits and loss are computed here."""
        return self.stage != "first"

    @property
    def outer(self) -> int:
        """Entries of the matrices outside the layers."""
        return self.embedding + self.head

    @property
    def count(self) -> int:
        """Everything."""
        return self.hidden + self.experts + self.outer + self.vectors

    @property
    def layer(self) -> int:
        """One layer with its norms."""
        return (self.hidden + self.experts + self.vectors - self.end_vectors) // self.shape.num_layers

    @property
    def end_vectors(self) -> int:
        """The norm behind the last layer."""
        if not self.shape.norm_weights:
            return 0
        return self.shape.hidden_size * (2 if self.shape.layer_norm and self.shape.norm_bias else 1)


@lru_cache(maxsize=256)
def held(shape: ModelShape, mesh: Mesh = ONE_DEVICE, stage: Stage = "only") -> Holding:
    """What the fullest device of a stage holds."""
    local = local_shape(shape, mesh, stage)
    # Divided by the axis, not by the rounded-up local sizes, wherever the two could differ by a whole expert.
    routed = -(-expert_parameters(local) // mesh.ep)
    first, last = stage in ("only", "first"), stage in ("only", "last")
    table = int(embedding_parameters(local).value)
    head = local.vocab_size * local.hidden_size if last and not (shape.tie_embeddings and first) else 0
    return Holding(
        shape=local,
        stage=stage,
        hidden=hidden_matrix_parameters(local) - expert_parameters(local),
        experts=routed,
        embedding=table if first else 0,
        head=head,
        vectors=vector_parameters(local),
    )


def local_shape(shape: ModelShape, mesh: Mesh, stage: Stage) -> ModelShape:
    """The sizes one device computes with."""
    if mesh.tp == mesh.pp == 1:
        return shape
    tp, layers = mesh.tp, -(-shape.num_layers // mesh.pp)
    experts = shape.experts
    if experts is not None:
        dense = 0 if stage == "last" else min(experts.first_dense_layers, layers - 1)
        experts = replace(
            experts,
            ffn_size=-(-experts.ffn_size // tp),
            shared_ffn_size=-(-experts.shared_ffn_size // tp),
            first_dense_layers=dense,
        )
    window = shape.window
    if window is not None:
        window = replace(window, num_layers=max(1, round(window.num_layers * layers / shape.num_layers)))
    return replace(
        shape,
        num_layers=layers,
        num_heads=shape.num_heads // tp,
        num_kv_heads=max(1, shape.num_kv_heads // tp),
        ffn_size=-(-shape.ffn_size // tp),
        vocab_size=-(-shape.vocab_size // tp),
        experts=experts,
        window=window,
    )
