"""machine.json: what was measured on this machine, and measuring it when nothing was.

A measurement is valid for one device, precision and thread count; another machine's home directory would carry a foreign
one, so the processor's name is part of the key.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from tuitrain.errors import EnvironmentError_
from tuitrain.files import read_json, write_json
from tuitrain.runs.home import machine_file
from tuitrain.runs.launch import child_environment, require_training_packages
from tuitrain.runs.machine import Machine
from tuitrain_planners import CPU_COMPILE_GAIN, CompileGain, Hardware, measured

TIMEOUT_S = 180
GAINS_KEPT = 5
"""Newest gains of a width that are kept; their median counts, since a busy machine makes some of them wrong."""
GAIN_SPREAD = 0.15
"""Share by which one probe of a few steps was seen to differ from another."""


def measured_hardware(machine: Machine, *, device: str, precision: str, threads: int, fresh: bool = False) -> Hardware:
    """This machine as the planner sees it; measured now if it was not before, or when `fresh` is asked for."""
    key = _key(machine, device=device, precision=precision, threads=threads)
    facts = _known("rates").get(key)
    if facts is None or fresh:
        facts = _measure(device, precision, threads)
        _remember("rates", key, facts)
    return _hardware(machine, key, facts, device=device, precision=precision)


def known_hardware(machine: Machine, *, device: str, precision: str, threads: int) -> Hardware | None:
    """This machine as it was measured before; None when it never was. Measures nothing: a look into one file."""
    key = _key(machine, device=device, precision=precision, threads=threads)
    facts = _known("rates").get(key)
    return None if facts is None else _hardware(machine, key, facts, device=device, precision=precision)


def _hardware(machine: Machine, key: str, facts: dict[str, Any], *, device: str, precision: str) -> Hardware:
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
        compile_gain=_compile_gain(key, device),
    )


def learn_compile_gain(machine: Machine, *, device: str, precision: str, threads: int, hidden_size: int, gain: float) -> None:
    """Keep what a probe saw: a compiled step was `gain` times as fast as an eager one."""
    key = _key(machine, device=device, precision=precision, threads=threads)
    gains: dict[str, list[float]] = dict(_known("compile_gains").get(key, {}))
    gains[str(hidden_size)] = [*gains.get(str(hidden_size), []), round(gain, 3)][-GAINS_KEPT:]
    _remember("compile_gains", key, gains)


def _compile_gain(key: str, device: str) -> CompileGain | None:
    """This machine's own at the widths it has compiled, the published ones elsewhere."""
    own = {int(width): statistics.median(seen) for width, seen in _known("compile_gains").get(key, {}).items()}
    source = f"measured by probes of this machine's runs at width {', '.join(map(str, sorted(own)))}"
    if device == "cpu":
        return CPU_COMPILE_GAIN.with_measured(own, GAIN_SPREAD, f"{source}; elsewhere {CPU_COMPILE_GAIN.source}")
    return CompileGain(curve=tuple(sorted(own.items())), spread=GAIN_SPREAD, source=source) if own else None


def _key(machine: Machine, *, device: str, precision: str, threads: int) -> str:
    return f"{device}|{machine.gpus[0].name if device == 'cuda' and machine.gpus else machine.cpu}|{precision}|{threads}"


def _known(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = (read_json(machine_file()) or {}).get(kind, {})
    return found


def _remember(kind: str, key: str, facts: dict[str, Any]) -> None:
    machine_file().parent.mkdir(parents=True, exist_ok=True)
    write_json(machine_file(), {**(read_json(machine_file()) or {}), kind: {**_known(kind), key: facts}})


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
