"""Planned bytes of a checkpoint against a folder the trainer's own checkpoint store wrote."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.model.shape import DecoderShape
from tuitrain.trainer.checkpoint import Checkpoints, rng_state
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.weights import NativeWeights
from tuitrain_planners import FAMILIES, Hardware, ModelShape, PlanRequest
from tuitrain_planners.storage import checkpoint_bytes

SIZES = {
    "num_layers": 4, "hidden_size": 256, "num_heads": 4, "num_kv_heads": 2, "head_dim": 64, "ffn_size": 704, "vocab_size": 4096,
    "max_seq_len": 128,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_checkpoint_is_as_large_as_planned(kind: Literal["adamw", "muon"], tied: bool, tmp_path: Path) -> None:
    """4.5 to 5.5 M parameters; names, headers and hashes of so small a model are within 1 %."""
    decoder = Decoder(DecoderShape(architecture="llama", tie_embeddings=tied, **SIZES))  # type: ignore[arg-type]
    init_weights(decoder, 0)
    section = OptimSection(kind=kind, lr=1e-3, embedding_lr=0.01, matrix_lr=1e-2, weight_decay=0.1)
    optimizers = Optimizers(decoder, section, device=torch.device("cpu"))
    for parameter in decoder.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.step()
    store = Checkpoints(folder=tmp_path, keep_last=2, keep_best=True)
    weights = NativeWeights(decoder=decoder, eos_id=0, save_tokenizer=lambda _: None)
    saved = store.save(1, weights, optimizers, {}, [rng_state(torch.device("cpu"))], best_step=None)
    on_disk = sum(path.stat().st_size for path in saved.path.rglob("*") if path.is_file())

    shape = ModelShape(name="x", tie_embeddings=tied, architecture="llama", **{**FAMILIES["llama"], **SIZES})  # type: ignore[arg-type]
    machine = Hardware(name="x", kind="cpu", memory_bytes=1e9, source="given", peak_flop_per_s={"bf16": 1e12})
    planned = checkpoint_bytes(PlanRequest(shape=shape, hardware=machine, seq_len=128, optimizer=kind))
    assert planned.value == pytest.approx(on_disk, rel=0.01)
    pure = checkpoint_bytes(PlanRequest(shape=shape, hardware=machine, seq_len=128, optimizer=kind, precision="bf16-pure"))
    assert pure.value * 2 == planned.value, "every state in 16 bits"
