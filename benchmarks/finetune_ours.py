"""Our side of the fine-tuning comparisons: the trainer's own loop, guard, events and all, held before each step.

python -m benchmarks.finetune_ours '{"examples": "...", "method": "lora", ...}'     run by finetune_speed, not by people
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.finetune_gate import Gate, memory


def overrides(asked: dict[str, Any]) -> list[str]:
    """`tuitrain train`'s words for what was asked."""
    source = f'{{path = "{asked["examples"]}", validation_path = "{asked["held_out"]}"}}'
    return [
        "run.stage=sft", "run.name=bench", f"run.threads={asked['threads']}", f"model.base={asked['base']}",
        f"method.kind={asked['method']}", f"data.sources=[{source}]", f"train.seq_len={asked['seq_len']}",
        f"train.batch_sequences={asked['rows']}", f"train.micro_batch={asked['micro_batch']}", "train.steps=1000",
        "train.precision=bf16-mixed", "optim.lr=1e-4", "eval.every_steps=0", "eval.sample_tokens=0", "checkpoint.every_steps=0",
        *(f"{key}={value}" for key, value in asked.get("more", {}).items()),
    ]  # fmt: skip


def main() -> None:
    """Train until the parent has seen enough."""
    gate = Gate()
    import torch

    from tuitrain.config.load import load_config
    from tuitrain.config.resolve import resolve
    from tuitrain.config.resolved import load_resolved
    from tuitrain.runs.launch import prepare_run
    from tuitrain.runs.machine import this_machine
    from tuitrain.runs.planning import plan_for_run
    from tuitrain.runs.store import RunStore
    from tuitrain.trainer.attempt import run_attempt
    from tuitrain.trainer.parallel import World
    from tuitrain.trainer.signals import StopRequest
    from tuitrain.trainer.telemetry import Telemetry

    class Told(Telemetry):
        """Remembers what was told of the last step."""

        last: dict[str, Any] = {}  # noqa: RUF012

        def emit(self, kind: str, **data: Any) -> None:
            super().emit(kind, **data)
            if kind == "step":
                self.last = data

    class Turns(StopRequest):
        """The loop looks here once per step, before its forward pass."""

        @property
        def name(self) -> str:  # type: ignore[override]
            last, first = told.last, {} if told.last else {"imported_bytes": imported, "planned": planned}
            gate.turn(**first, **{name: last[name] for name in ("tokens", "loss") if last},
                      **({"targets": last.get("targets", last["tokens"])} if last else {}))  # fmt: skip
            return ""

        @name.setter
        def name(self, value: str) -> None:
            pass

    asked = json.loads(sys.argv[1])
    config = load_config(None, overrides(asked))
    machine = this_machine()
    resolved = resolve(config, machine)
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    from transformers import AutoModelForCausalLM  # noqa: F401

    imported = memory()["peak_bytes"]
    plan = plan_for_run(resolved, machine).to_dict()
    planned = plan["run"] | {"terms": plan["memory"]["terms"]}
    run = prepare_run(resolved, config, RunStore(Path(tempfile.mkdtemp())), machine, plan=None, command="benchmark")
    device = torch.device("cuda", 0) if resolved.config.run.device == "cuda" else torch.device("cpu")
    world = World(rank=0, size=1, device=device)
    told = Told(run.path, world, attempt=1)
    run_attempt(run.path, load_resolved(run.path), world, told, Turns())


if __name__ == "__main__":
    main()
