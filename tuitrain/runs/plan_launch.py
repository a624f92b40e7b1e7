"""From a plan to a run: what of it the trainer can train now, and the configuration that trains it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tuitrain_planners import PlanRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tuitrain.config.schema import Config
    from tuitrain.runs.store import Run, RunStore

TRAINABLE: Final = ("llama", "qwen3", "nanochat")
"""Architectures of the trainer's own decoder."""
OPTIMIZED: Final = ("adamw", "muon")
HEADS: Final = ("plain", "chunked")
THIS: Final = "this machine"
"""Name of the measured hardware."""


CORPUS_NOTE: Final = (
    "It trains on the embedded corpus, the Python standard library's source; [data] in the file takes your own text. "
    "The loss of the run is planned by the law of that corpus."
)


def refusal(request: PlanRequest, *, verdict: str = "fits") -> str:
    """Why the trainer cannot train this now, everything that stands against it; empty when it can."""
    against = []
    if request.hardware.name != THIS:
        against.append(f"it is planned for {request.hardware.name}, not for this machine")
    if request.adapter is not None:
        against.append("fine-tuning is started by `tuitrain train` with a file such as presets/recipes/sft/*.toml")
    if request.shape.architecture not in TRAINABLE:
        against.append(f"{request.shape.architecture} is not among the trainer's {', '.join(TRAINABLE)}")
    if request.shape.experts is not None:
        against.append("the trainer has no experts")
    mesh = request.mesh
    if mesh.devices != mesh.dp:
        against.append("only data parallelism is trained")
    if request.offload == "optimizer":
        against.append("the trainer offloads all states or none, not the optimizer's alone")
    if request.framework != "tuitrain":
        against.append(f"it is planned as {request.framework} lays a step out, not as the trainer does")
    if request.optimizer not in OPTIMIZED:
        against.append(f"the trainer's optimizers are {' and '.join(OPTIMIZED)}, not {request.optimizer}")
    if request.loss_head not in HEADS:
        against.append(f"the trainer's loss heads are {' and '.join(HEADS)}, not {request.loss_head}")
    if request.step_in_backward:
        against.append("the trainer's optimizer steps after backward, not within")
    if not against:  # of a layout the trainer has: what a configuration of it may not say
        against += _forbidden(request)
    if verdict == "oom":
        against.append("it does not fit into the memory")
    return "; ".join(against)


def run_config(request: PlanRequest, tokens: float, model: str, name: str) -> Config:
    """The configuration that trains what was planned, on the embedded corpus, for that many tokens.

    `model` is what the form calls it: of a depth, as `d6`, the configuration keeps the dial.
    """
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
    return Config.model_validate(
        {
            "run": {"name": name, "device": "cuda" if request.hardware.kind == "gpu" else "cpu", "nproc": request.mesh.dp},
            "model": sizes,
            "data": {"sources": [{"corpus": "python-stdlib"}]},
            "tokenizer": {"vocab_size": shape.vocab_size},
            "train": {
                "tokens": float(max(tokens, batch)),
                "seq_len": request.seq_len,
                "batch_tokens": batch,
                "micro_batch": request.micro_batch,
                "precision": request.precision,
                "recompute": request.recompute,
                "loss": request.loss_head,
            },
            "optim": {"kind": request.optimizer},
        }
        | _parallel(request)
    )  # fmt: skip


def _forbidden(request: PlanRequest) -> list[str]:
    """What stands against its sharding in the configuration's own words."""
    from tuitrain.config.check_parallel import impossible_parallel
    from tuitrain.config.schema import Config

    asked = {"run": {"nproc": request.mesh.dp}, "optim": {"kind": request.optimizer}} | _parallel(request)
    return [f"{key}: {message} ({hint})" for key, message, hint in impossible_parallel(Config.model_validate(asked))]


def _parallel(request: PlanRequest) -> dict[str, dict[str, Any]]:
    """How the plan shares the model, as the section [parallel]; none where it shares nothing."""
    section: dict[str, Any] = {}
    if request.zero:
        section["zero"] = request.zero
    if request.zero == 3 and not request.reshard:
        section["reshard"] = False
    if request.offload != "none":
        section["offload"] = True
    if request.shard_group not in (None, request.mesh.dp):
        section["shard_group"] = request.shard_group
    return {"parallel": section} if section else {}


def run_name(model: str) -> str:
    """A run's name after its model: what a name may not have becomes a dash."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-._")
    return (text or "plan")[:64]


def launch_file(path: Path, store: RunStore, say: Callable[[str], None] = lambda line: None) -> Run:
    """Plan and start what a configuration says, as `tuitrain train FILE --detach` does. For a thread: it may measure first."""
    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.runs.launch import launch
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.planning import plan_for_run

    asked = load_config(path)
    planned = plan_for_run(resolve(asked, this_machine()))
    return launch(asked, store, plan=planned.to_dict(), command=f"tuitrain train {path}", say=say)
