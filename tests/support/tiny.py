"""Small real parts for tests: a decoder, its loss and optimizer, and batches with unequal numbers of trained tokens."""

from __future__ import annotations

import torch

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.model.shape import DecoderShape
from tuitrain.trainer.batches import MicroBatch
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.muon import Muon
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.world import World
from tuitrain_kernels import IGNORE

CPU = torch.device("cpu")
ALONE = World(rank=0, size=1, device=CPU)
VOCAB = 97
SEQ_LEN = 16


def tiny_shape(architecture: str = "qwen3") -> DecoderShape:
    """Two layers of width 32."""
    return DecoderShape(
        architecture=architecture,
        vocab_size=VOCAB,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=16,
        ffn_size=64,
        tie_embeddings=False,
        max_seq_len=SEQ_LEN,
        logit_softcap=15.0 if architecture == "nanochat" else None,
    )


def tiny_training(
    kind: str = "adamw", *, architecture: str = "qwen3", dtype: torch.dtype = torch.float32, head: str = "chunked"
) -> tuple[LanguageModelLoss, Optimizers]:
    """A seeded model whose every weight matters, and its optimizer."""
    decoder = Decoder(tiny_shape(architecture), compute_dtype=dtype)
    init_weights(decoder, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    config = (
        OptimSection(kind="muon", lr=0.01, embedding_lr=0.01, matrix_lr=0.02, weight_decay=0.1)
        if kind == "muon"
        else OptimSection(kind="adamw", lr=0.01, weight_decay=0.1)
    )
    optimizers = Optimizers(decoder, config, device=CPU)
    for optimizer in optimizers.all:
        if isinstance(optimizer, Muon):  # bf16 orthogonalisation turns a last-bit difference into a visible one
            optimizer.compute_dtype = torch.float32
    return LanguageModelLoss(decoder, head=head), optimizers


def sequences(count: int, *, seed: int = 0, masked: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens, targets): the later the sequence, the fewer of its targets count."""
    generator = torch.Generator().manual_seed(seed)
    stream = torch.randint(0, VOCAB, (count, SEQ_LEN + 1), generator=generator)
    tokens, targets = stream[:, :-1].contiguous(), stream[:, 1:].contiguous()
    if masked:
        for row in range(count):
            targets[row, : row * SEQ_LEN // (count + 1)] = IGNORE
    return tokens, targets


def micro_batches(tokens: torch.Tensor, targets: torch.Tensor, size: int) -> list[MicroBatch]:
    """Rows in groups of `size`."""
    return [
        MicroBatch(
            tokens=tokens[at : at + size], targets=targets[at : at + size], valid=int((targets[at : at + size] >= 0).sum())
        )
        for at in range(0, len(tokens), size)
    ]
