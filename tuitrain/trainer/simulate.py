"""One training step on tensors without memory: how many bytes are alive in each phase. Needs no GPU and no weights.

    python -m tuitrain.trainer.simulate '{"shape": {...}, "seq_len": 8192, ...}'

The step is the trainer's own (`step.train_step`) on its own model, loss head and optimizer, spread over `ranks` as the trainer
spreads it (`parallel.apply`), as one rank of a fake process group sees it (`fake_ranks`). Tensors are fake CPU tensors; for a
step on a GPU the kernels that keep something else there are replaced (`as_on_cuda`). Prints one JSON object. Whoever asks is a
process without torch.

Phases are those of `tuitrain_planners.memory.phases`; `backward_middle`, the layers between first and last, has no counterpart
there. A phase's bytes are its fullest moment, in the second of two steps: moments exist from the first on.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tuitrain.config.schema import OptimSection, ParallelSection
from tuitrain.model.shape import DecoderShape
from tuitrain.trainer.as_on_cuda import as_on_cuda
from tuitrain.trainer.batches import MicroBatch
from tuitrain.trainer.fake_ranks import fake_ranks
from tuitrain.trainer.guards import StepGuard
from tuitrain.trainer.live_bytes import LiveBytes, Moment
from tuitrain.trainer.muon import Muon
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.precision import RECIPES
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.simulated import Parts, from_transformers, native, spread
from tuitrain.trainer.step import train_step
from tuitrain.trainer.traffic import Traffic

STEPS: Final = 2
PHASES: Final = ("forward", "loss", "backward_start", "backward_middle", "backward_end", "backward_embedding", "optimizer")
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to simulate. Names are those of the configuration."""

    shape: dict[str, Any]
    """Fields of a DecoderShape."""
    seq_len: int
    micro_batch: int = 1
    """Sequences per forward pass."""
    grad_accum: int = 1
    """Forward passes per step."""
    precision: str = "bf16-mixed"
    optimizer: str = "adamw"
    recompute: str = "none"
    loss: str = "chunked"
    ranks: int = 1
    """Data-parallel devices."""
    zero: int = 0
    """ZeRO stage, 0 to 3: what they share."""
    shard_group: int | None = None
    """Devices that share one copy, fewer than there are (HSDP). None: all."""
    reshard: bool = True
    """ZeRO-3 gives weights back between forward and backward."""
    framework: str = "tuitrain"
    """tuitrain: the trainer's decoder. fsdp2-hf: transformers' class, llama or qwen3, with its own loss, under ZeRO-3."""
    device: str = "gpu"
    """gpu | cpu: whose kernels."""


def simulate(request: Request) -> dict[str, Any]:
    """{"peak_bytes", "peak_phase", "phases": [{"name", "bytes", "terms", "operator"}, ...], "communication": [{"kind", "count",
    "bytes", "sent_bytes"}, ...] of one step, "seconds", ...}."""
    start = time.perf_counter()
    traffic = Traffic(request.ranks)
    with fake_ranks(request.ranks, traffic.summed):
        moments = _trace(request, traffic)
    peak = max(moments, key=lambda name: moments[name].bytes)
    return {
        "peak_bytes": moments[peak].bytes,
        "peak_phase": peak,
        "phases": [
            {"name": name, "bytes": moments[name].bytes, "terms": moments[name].by_category, "operator": moments[name].operator}
            for name in PHASES
            if name in moments
        ],
        "communication": traffic.report(),
        "ranks": request.ranks,
        "zero": request.zero,
        "torch": torch.__version__,
        "tensors": "fake CPU tensors" + (", attention and norms as on CUDA" if request.device == "gpu" else ""),
        "seconds": time.perf_counter() - start,
    }


def _trace(request: Request, traffic: Traffic) -> dict[str, Moment]:
    kind = RECIPES[request.precision]
    world = World(rank=0, size=request.ranks, device=CPU)
    live = LiveBytes()
    section = ParallelSection(zero=request.zero, shard_group=request.shard_group, reshard=request.reshard)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of FSDP2's internals; nobody reads them here
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        if request.device == "gpu":
            stack.enter_context(as_on_cuda())
        parts = _parts(request)
        whole_shapes = {parameter.shape for parameter in parts.module.parameters() if parameter.ndim == 2}
        stack.enter_context(live)
        live.enter("", "gradients")  # what is made while the model is spread are DDP's buckets
        parallel = spread(parts, section, world, kind)
        live.enter("", "buffers")
        optimizers = Optimizers(parts.model, _optim_section(request.optimizer), device=CPU, owned=parallel.owned)
        if request.device == "gpu":
            for each in optimizers.all:
                if isinstance(each, Muon):
                    each.compute_dtype = torch.bfloat16  # whatever this CPU multiplies in
        tokens = torch.zeros(request.micro_batch, request.seq_len, dtype=torch.long)
        batches = [_micro_batch(tokens) for _ in range(request.grad_accum)]
        rows = request.micro_batch * request.seq_len
        del tokens
        live.gradient_shapes = {shape for shape in whole_shapes if shape[0] != rows}
        live.mark(parts.module.parameters(), "weights")
        live.mark((tensor for batch in batches for tensor in (batch.tokens, batch.targets)), "buffers")
        _watch(live, parts, optimizers)
        stack.enter_context(traffic)
        for _ in range(STEPS):
            live.forget()
            traffic.forget()
            train_step(
                parallel.module,
                optimizers,
                batches,
                world,
                expected_targets=rows * request.grad_accum * request.ranks,
                clip_norm=1.0,
                guard=StepGuard(sigma=6.0, window=128),
                scaler=LossScaler(enabled=kind.scaled_loss),
            )
            for optimizer in optimizers.all:
                states = (state for each in optimizer.state.values() for state in each.values())
                live.mark((state for state in states if isinstance(state, Tensor)), "optimizer")
        return live.moments()


def _parts(request: Request) -> Parts:
    shape, kind = DecoderShape(**request.shape), RECIPES[request.precision]
    if request.framework == "fsdp2-hf":
        return from_transformers(shape, kind, recompute=request.recompute)
    return native(shape, kind, recompute=request.recompute, loss=request.loss)


def _optim_section(kind: str) -> OptimSection:
    return OptimSection(kind=kind, lr=1e-3, embedding_lr=1e-2, matrix_lr=1e-2, weight_decay=0.1)


def _micro_batch(tokens: Tensor) -> MicroBatch:
    return MicroBatch(tokens=tokens.clone(), targets=tokens.clone(), valid=tokens.numel())


def _watch(live: LiveBytes, parts: Parts, optimizers: Optimizers) -> None:
    """Hooks that tell `live` where the step is. They change nothing in it."""

    def enter(phase: str, category: str = "activations") -> None:
        live.enter(phase, category)

    def at_gradient_of(tensor: Tensor, phase: str) -> None:
        if tensor.requires_grad and torch._C._current_graph_task_id() == -1:  # not while a checkpoint recomputes
            tensor.register_hook(lambda _: enter(phase))  # type: ignore[no-untyped-call]

    def before_head(module: nn.Module, args: tuple[Any, ...]) -> None:
        at_gradient_of(args[0], "backward_start")
        enter("loss", "head")

    layers = parts.layers
    # First of all pre-hooks, FSDP2's included: its reduction of a unit then still belongs to the unit's own phase.
    parts.module.register_forward_pre_hook(lambda *_: enter("forward", "buffers"), prepend=True)
    parts.embedding.register_forward_pre_hook(lambda *_: enter("forward"), prepend=True)
    parts.head.register_forward_pre_hook(before_head, prepend=True)
    layers[0].register_forward_pre_hook(lambda _, args: at_gradient_of(args[0], "backward_embedding"), prepend=True)
    for index, layer in enumerate(layers):
        phase = "backward_end" if index == 0 else "backward_start" if index == len(layers) - 1 else "backward_middle"
        layer.register_forward_hook(lambda _, args, out, phase=phase: at_gradient_of(out, phase))

    def before_step(*_: Any) -> None:
        live.mark(optimizers.gradients(), "gradients")
        enter("optimizer", "optimizer")

    optimizers.all[0].register_step_pre_hook(before_step)


def main() -> int:
    """Simulate the request given as the one argument, or on standard input."""
    request = Request(**json.loads(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read()))
    print(json.dumps(simulate(request)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
