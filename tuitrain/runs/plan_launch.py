"""From a plan to a run: what of it the trainer can train now, and the configuration that trains it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tuitrain_planners import PlanRequest

if TYPE_CHECKING:
    from tuitrain.config.schema import Config

TRAINABLE: Final = ("llama", "qwen3", "nanochat")
"""Architectures of the trainer's own decoder."""
THIS: Final = "this machine"
"""Name of the measured hardware."""


def refusal(request: PlanRequest, *, verdict: str = "fits") -> str:
    """Why the trainer cannot train this now, everything that stands against it; empty when it can."""
    against = []
    if request.hardware.name != THIS:
        against.append(f"it is planned for {request.hardware.name}, not for this machine")
    if request.adapter is not None:
        against.append("the trainer trains all weights, adapters not yet")
    if request.shape.architecture not in TRAINABLE:
        against.append(f"{request.shape.architecture} is not among the trainer's {', '.join(TRAINABLE)}")
    if request.shape.experts is not None:
        against.append("the trainer has no experts")
    mesh = request.mesh
    if mesh.devices != mesh.dp:
        against.append("only data parallelism is trained")
    if mesh.dp > 1 and request.zero:
        against.append(f"ZeRO {request.zero} is not trained yet, only 0")
    if verdict == "oom":
        against.append("it does not fit into the memory")
    return "; ".join(against)


def run_config(request: PlanRequest, model: str, name: str) -> Config:
    """The configuration that trains what was planned, on the embedded corpus. `model` is a preset, or a depth as `d6`."""
    from tuitrain.config.schema import Config

    shape = request.shape
    batch = int(request.tokens_per_step().value)
    depth = re.fullmatch(r"d(\d+)", model)
    sizes: dict[str, Any] = {"depth": int(depth[1]), "architecture": shape.architecture} if depth else {}
    if not depth:
        sizes = {
            "architecture": shape.architecture, "hidden_size": shape.hidden_size, "num_layers": shape.num_layers,
            "num_heads": shape.num_heads, "num_kv_heads": shape.num_kv_heads, "head_dim": shape.head_dim,
            "ffn_size": shape.ffn_size, "tie_embeddings": shape.tie_embeddings,
        }  # fmt: skip
    length = {"steps": request.steps} if request.steps else {"tokens": float(request.tokens or batch)}
    return Config.model_validate(
        {
            "run": {"name": name, "device": "cuda" if request.hardware.kind == "gpu" else "cpu", "nproc": request.mesh.dp},
            "model": sizes,
            "data": {"sources": [{"corpus": "python-stdlib"}]},
            "tokenizer": {"vocab_size": shape.vocab_size},
            "train": {
                **length, "seq_len": request.seq_len, "batch_tokens": batch, "micro_batch": request.micro_batch,
                "precision": request.precision, "recompute": request.recompute, "loss": request.loss_head,
            },
            "optim": {"kind": request.optimizer},
        }
    )  # fmt: skip


def run_name(model: str) -> str:
    """A run's name after its model: what a name may not have becomes a dash."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-._")
    return (text or "plan")[:64]
