"""machine.json: what was measured on this machine, by probes and by runs, and measuring it when nothing was.

    rates          training rates by width, per device key       corrections    what `plan calibrate` made of finished runs
    compile_gains  what compiling gained in runs' probes         undo           what calibrations replaced, newest last

A measurement is valid for one device, precision and thread count; another machine's home directory would carry a foreign
one, so the processor's name is part of the key.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tuitrain.errors import EnvironmentError_, UsageError
from tuitrain.files import exclusive_lock, read_json, write_json
from tuitrain.runs.home import machine_file
from tuitrain.runs.launch import require_training_packages
from tuitrain.runs.launch_environment import child_environment
from tuitrain.runs.machine import Machine
from tuitrain_planners import CPU_COMPILE_GAIN, Calibration, CompileGain, Correction, Hardware, corrected, measured

TIMEOUT_S = 180
UNDOS_KEPT = 10
GAINS_KEPT = 5
"""Newest gains of a width that are kept; their median counts, since a busy machine makes some of them wrong."""
GAIN_SPREAD = 0.15
"""Share by which one probe of a few steps was seen to differ from another."""


def measured_hardware(
    machine: Machine, *, device: str, precision: str, threads: int, fresh: bool = False, corrections: bool = True
) -> Hardware:
    """This machine as the planner sees it; measured now if it was not before, or when `fresh` is asked for. With what
    `tuitrain plan calibrate` learnt from runs, unless `corrections` is False."""
    key = machine_key(machine, device=device, precision=precision, threads=threads)
    facts = _known("rates").get(key)
    if facts is None or fresh:
        facts = _measure(device, precision, threads)
        _store_or_explain(lambda document: _section(document, "rates").update({key: facts}))
    return _hardware(machine, key, facts, device=device, precision=precision, corrections=corrections)


def known_hardware(machine: Machine, *, device: str, precision: str, threads: int) -> Hardware | None:
    """This machine as it was measured before; None when it never was. Measures nothing: a look into one file."""
    key = machine_key(machine, device=device, precision=precision, threads=threads)
    facts = _known("rates").get(key)
    return None if facts is None else _hardware(machine, key, facts, device=device, precision=precision)


def _hardware(
    machine: Machine, key: str, facts: dict[str, Any], *, device: str, precision: str, corrections: bool = True
) -> Hardware:
    gpu = machine.gpus[0] if device == "cuda" and machine.gpus else None
    dtype = {"fp32": "fp32", "fp16-mixed": "fp16"}.get(precision, "bf16")
    hardware = measured(
        memory_bytes=gpu.memory_bytes if gpu else machine.memory_bytes,
        rates=[(int(width), float(rate)) for width, rate in facts["rates"]],
        name="this machine",
        kind="gpu" if device == "cuda" else "cpu",
        source="measured on this machine: whole training steps at several widths (tuitrain.trainer.measure)",
        rates_convention=facts["convention"],
        peak_flop_per_s={dtype: float(facts["peak_flop_per_s"])},
        compile_gain=_compile_gain(key, device),
        power_w=(gpu.power_limit_w or None) if gpu else None,
    )
    learnt = kept_calibration(key) if corrections else None
    return corrected(hardware, learnt) if learnt else hardware


def learn_compile_gain(machine: Machine, *, device: str, precision: str, threads: int, hidden_size: int, gain: float) -> None:
    """Keep what a probe saw: a compiled step was `gain` times as fast as an eager one."""
    key = machine_key(machine, device=device, precision=precision, threads=threads)

    def add(document: dict[str, Any]) -> None:
        gains = _section(document, "compile_gains").setdefault(key, {})
        gains[str(hidden_size)] = [*gains.get(str(hidden_size), []), round(gain, 3)][-GAINS_KEPT:]

    _store(add)


def kept_calibration(key: str) -> Calibration | None:
    """What runs taught about a device. None where nothing did, or where the rates it corrects were measured again since."""
    kept = _known("corrections").get(key)
    if kept is None or kept["of_rates_s"] != rates_measured_s(key):
        return None
    memory, power = (Correction(**_runs_as_tuple(kept[name])) if kept[name] else None for name in ("memory", "power"))
    rates = {int(width): Correction(**_runs_as_tuple(each)) for width, each in kept["rates"].items()}
    return Calibration(rates=rates, memory=memory, power=power)


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """Corrections of one device key, and of which measurement of its rates."""

    calibration: Calibration
    of_rates_s: float | None


def rates_measured_s(key: str) -> float | None:
    """When a device's rates were measured, seconds since the epoch."""
    found: float | None = _known("rates").get(key, {}).get("measured_s")
    return found


def known_rates() -> dict[str, Any]:
    """Measurements by device key: a device, its precision and its threads."""
    return dict(_known("rates"))


def keep_calibrations(learnt: Mapping[str, Learnt], replaced_rates: Mapping[str, Any]) -> None:
    """Write corrections by device key, and what undoing puts back: the corrections until now, and the rates measured anew."""

    def put(document: dict[str, Any]) -> None:
        kept = _section(document, "corrections")
        before = {"rates": dict(replaced_rates), "corrections": {key: kept.get(key) for key in {*learnt, *replaced_rates}}}
        kept.update({key: _as_dict(each) for key, each in learnt.items()})
        document["undo"] = [*document.get("undo", []), before][-UNDOS_KEPT:]

    _store_or_explain(put)


def undo_calibration() -> list[str]:
    """Put back what the newest calibration replaced; the device keys it had touched. What runs learnt since stays."""
    touched: set[str] = set()

    def restore(document: dict[str, Any]) -> None:
        if not document.get("undo"):
            raise UsageError("there is no calibration to undo", "`tuitrain plan calibrate` makes one from finished runs")
        before = document["undo"].pop()
        for kind, by_key in before.items():
            for key, value in by_key.items():
                touched.add(key)
                if value is None:
                    _section(document, kind).pop(key, None)
                else:
                    _section(document, kind)[key] = value

    _store_or_explain(restore)
    return sorted(touched)


def machine_key(machine: Machine, *, device: str, precision: str, threads: int) -> str:
    """What a measurement is valid for."""
    return f"{device}|{machine.gpus[0].name if device == 'cuda' and machine.gpus else machine.cpu}|{precision}|{threads}"


def _compile_gain(key: str, device: str) -> CompileGain | None:
    """This machine's own at the widths it has compiled, the published ones elsewhere."""
    own = {int(width): statistics.median(seen) for width, seen in _known("compile_gains").get(key, {}).items()}
    source = f"measured by probes of this machine's runs at width {', '.join(map(str, sorted(own)))}"
    if device == "cpu":
        return CPU_COMPILE_GAIN.with_measured(own, GAIN_SPREAD, f"{source}; elsewhere {CPU_COMPILE_GAIN.source}")
    return CompileGain(curve=tuple(sorted(own.items())), spread=GAIN_SPREAD, source=source) if own else None


def _as_dict(learnt: Learnt) -> dict[str, Any]:
    found = learnt.calibration
    return {
        "of_rates_s": learnt.of_rates_s,
        "rates": {str(width): asdict(each) for width, each in found.rates.items()},
        "memory": asdict(found.memory) if found.memory else None,
        "power": asdict(found.power) if found.power else None,
    }


def _runs_as_tuple(kept: dict[str, Any]) -> dict[str, Any]:
    return {**kept, "runs": tuple(kept["runs"])}


def _document() -> dict[str, Any]:
    found = read_json(machine_file())
    return found if isinstance(found, dict) else {}


def _known(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = _document().get(kind, {})
    return found


def _section(document: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = document.setdefault(kind, {})
    return found


def _store(change: Callable[[dict[str, Any]], None]) -> None:
    """Change machine.json. Runs and commands write it at the same time: each reads it again under the lock, so that none takes
    back what another has just written."""
    machine_file().parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(machine_file().with_suffix(".lock"), wait=True):
        document = _document()
        change(document)
        write_json(machine_file(), document)


def _store_or_explain(change: Callable[[dict[str, Any]], None]) -> None:
    try:
        _store(change)
    except OSError as error:
        reason = error.strerror or error
        raise EnvironmentError_(f"cannot write {machine_file()}: {reason}", "set TUITRAIN_HOME to a folder of yours") from error


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
