"""Planned memory against the live tensors of a real training step of the native decoder, byte by byte, on the CPU.

The tracker sees every tensor storage torch makes. What it cannot see, interpreter and allocator, is left out on both sides.
"""

import weakref
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tuitrain.config.schema import OptimSection
from tuitrain.model.decoder import Decoder
from tuitrain.model.init import init_weights
from tuitrain.model.shape import DecoderShape
from tuitrain.trainer.losses import LanguageModelLoss
from tuitrain.trainer.optim import Optimizers
from tuitrain_planners import FAMILIES, ModelShape, optimizer, recipe, step_memory

SEQ_LEN, VOCAB = 128, 3000


@dataclass
class LiveBytes(TorchDispatchMode):
    """Bytes of all storages alive, and their maximum."""

    now: int = 0
    peak: int = 0
    seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.seen:
            self.seen.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return out


def sizes(architecture: str, *, tied: bool) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "vocab_size": VOCAB,
        "hidden_size": 128,
        "num_layers": 3,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 32,
        "ffn_size": 512 if architecture == "nanochat" else 384,
        "max_seq_len": SEQ_LEN,
        "tie_embeddings": tied,
    }


def live_peak(architecture: str, micro_batch: int, *, tied: bool, head: str, recompute: str, kind: str) -> int:
    """Peak of live tensors over the second of two real steps (moments exist from the first on)."""
    softcap = 15.0 if architecture == "nanochat" else None
    decoder = Decoder(DecoderShape(**sizes(architecture, tied=tied), logit_softcap=softcap))
    init_weights(decoder, 0)
    decoder.recompute = recompute
    module = LanguageModelLoss(decoder, head=head)
    optimizers = Optimizers(
        decoder,
        OptimSection(kind=kind, lr=1e-3, embedding_lr=0.01, matrix_lr=1e-2, weight_decay=0.1),
        device=torch.device("cpu"),
    )  # type: ignore[arg-type]
    tokens = torch.zeros(micro_batch, SEQ_LEN, dtype=torch.long)
    live = LiveBytes()
    with live:
        for tensor in (tokens, tokens.clone(), *decoder.parameters()):
            live.add(tensor)
        for _ in range(2):
            live.peak = live.now
            module(tokens, tokens).backward()
            optimizers.step()
            optimizers.zero_grad()
    return live.peak


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize(
    ("architecture", "tied", "head", "kind", "micro_batch"),
    [
        ("llama", True, "plain", "adamw", 4),
        ("qwen3", False, "chunked", "muon", 8),  # two chunks: the first one's gradient is still there in the second
        ("nanochat", False, "chunked", "adamw", 4),  # one chunk
    ],
)
def test_the_planned_peak_is_the_live_peak(
    architecture: str, tied: bool, head: str, kind: str, micro_batch: int, recompute: str
) -> None:
    live = live_peak(architecture, micro_batch, tied=tied, head=head, recompute=recompute, kind=kind)
    shape = ModelShape(name="x", **{**FAMILIES[architecture], **sizes(architecture, tied=tied)})
    memory = step_memory(
        shape,
        seq_len=SEQ_LEN,
        micro_batch=micro_batch,
        precision=recipe("fp32"),
        optimizer=optimizer(kind),
        device="cpu",
        recompute=recompute,
        loss=head,
    )
    planned = max(each.value - each.term("runtime").value for each in memory.phases if each.name != "save")
    # 1 %: small index and statistics tensors, and which layer's temporaries stand at the very peak.
    assert planned == pytest.approx(live, rel=0.01), f"planned {planned:,} in {memory.peak_phase.name}, live {live:,}"
