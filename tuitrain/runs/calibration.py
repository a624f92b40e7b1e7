"""machine.json: what was measured on this machine, and measuring it when nothing was.

A measurement is valid for one device, precision and thread count; another machine's home directory would carry a foreign
one, so the processor's name is part of the key.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tuitrain.errors import EnvironmentError_
from tuitrain.files import read_json, write_json
from tuitrain.runs.home import machine_file
from tuitrain.runs.launch import child_environment, require_training_packages
from tuitrain.runs.machine import Machine
from tuitrain_planners import Hardware, measured

TIMEOUT_S = 180


def measured_hardware(machine: Machine, *, device: str, precision: str, threads: int, fresh: bool = False) -> Hardware:
    """This machine as the planner sees it; measured now if it was not before, or when `fresh` is asked for."""
    key = f"{device}|{machine.gpus[0].name if device == 'cuda' and machine.gpus else machine.cpu}|{precision}|{threads}"
    known = read_json(machine_file()) or {}
    facts = known.get("rates", {}).get(key)
    if facts is None or fresh:
        facts = _measure(device, precision, threads)
        machine_file().parent.mkdir(parents=True, exist_ok=True)
        write_json(machine_file(), {**known, "rates": {**known.get("rates", {}), key: facts}})
    memory = machine.gpus[0].memory_bytes if device == "cuda" and machine.gpus else machine.memory_bytes
    dtype = {"fp32": "fp32", "fp16-mixed": "fp16"}.get(precision, "bf16")
    return measured(
        memory_bytes=memory,
        rates=[(int(width), float(rate)) for width, rate in facts["rates"]],
        name="this machine",
        kind="gpu" if device == "cuda" else "cpu",
        source="measured on this machine: whole training steps at several widths (tuitrain.trainer.measure)",
        rates_convention=facts["convention"],
        peak_flop_per_s={dtype: float(facts["peak_flop_per_s"])},
    )


def _measure(device: str, precision: str, threads: int) -> dict[str, Any]:
    require_training_packages()
    command = [
        sys.executable,
        "-m",
        "tuitrain.trainer.measure",
        "--device",
        device,
        "--precision",
        precision,
        "--threads",
        str(threads),
    ]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=child_environment()
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentError_(
            f"measuring this machine took longer than {TIMEOUT_S} s", "close other programs, then try again"
        ) from None
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise EnvironmentError_(f"measuring this machine failed: {last[:300]}", "`tuitrain doctor` checks torch")
    facts: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return facts
