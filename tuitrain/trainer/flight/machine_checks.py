"""Checks of the machine and of what lies on its disk: does the plan fit, can it save, does a checkpoint go with it all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from tuitrain.data.chat.findings import Finding
from tuitrain.files import read_json
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.weights import Weights

MOMENTS = 2
SPARE_BYTES = 256 << 20


def check_machine(run_dir: Path, weights: Weights, trained: int, world: World, *, data_hash: str, keep: int) -> list[Finding]:
    """Memory by the plan (the probe measures it after), disk, resume. `trained`: parameters that get gradients."""
    return [*_memory(run_dir, world), *_disk(run_dir, weights, trained, keep), *_resume(run_dir, data_hash)]


def _memory(run_dir: Path, world: World) -> Iterator[Finding]:
    planned = (read_json(run_dir / "plan.json") or {}).get("memory", {}).get("device_bytes")
    if not isinstance(planned, dict):
        return
    sharing = 1
    if world.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(world.device)
        there = free + torch.cuda.memory_allocated(world.device)
    else:
        sharing = world.size  # on one machine all processes have one memory
        total = psutil.virtual_memory().total
        there = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    low, mid = sharing * float(planned["low"]), sharing * float(planned["mid"])
    facts = (
        f"planned {mid / 2**30:.2f} GiB (at least {low / 2**30:.2f}), {there / 2**30:.1f} of {total / 2**30:.1f} GiB are there"
    )
    if low > there:
        fix = "method.kind=qlora, train.recompute=full, train.micro_batch=1, a shorter train.seq_len, or a smaller base"
        yield Finding(check="memory", severity="block", message=facts, fix=fix)
    else:
        yield Finding(check="memory", severity="ok" if mid <= there else "warn", message=f"{facts}; the probe measures it next")


def _disk(run_dir: Path, weights: Weights, trained: int, keep: int) -> Iterator[Finding]:
    each = weights.num_bytes() + MOMENTS * 4 * trained
    need, free = each * (keep + 1) + SPARE_BYTES, shutil.disk_usage(run_dir).free
    facts = f"a checkpoint takes {each / 2**20:.0f} MiB, {keep} are kept and one is written beside: {need / 2**30:.1f} GiB"
    if need > free:
        fix = "free some space, checkpoint.keep_last=1, another --runs-dir, or method.kind=lora, whose checkpoints are small"
        yield Finding(check="disk", severity="block", message=f"{facts}, and {free / 2**30:.1f} GiB are free", fix=fix)
    else:
        yield Finding(check="disk", severity="ok", message=f"{facts} of {free / 2**30:.0f} GiB free")


def _resume(run_dir: Path, data_hash: str) -> Iterator[Finding]:
    """A checkpoint there is must have been trained on these very examples: their order is a function of them."""
    states = sorted((run_dir / "checkpoints").glob("step-*/trainer.json"))
    state = read_json(states[-1]) if states else None
    if not isinstance(state, dict):
        return
    name = states[-1].parent.name
    if state.get("data_hash") != data_hash:
        message = f"{name} was trained on other examples, tokenizer or template: going on would be neither run"
        fix = "put the data back as it was, or start a new run with model.base = this one"
        yield Finding(check="resume", severity="block", message=message, fix=fix)
    else:
        yield Finding(check="resume", severity="ok", message=f"{name} goes with these examples")
