"""What four processes held under each ZeRO stage (benchmarks/results/parallel_memory.json) against what is planned now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.parallel_memory import MODEL
from tuitrain.config.load import load_config
from tuitrain.config.resolve import resolve
from tuitrain.runs.machine import this_machine
from tuitrain.runs.planning import request_for
from tuitrain_planners import find_hardware
from tuitrain_planners.grid import memory_of

ROOT = Path(__file__).parents[2]
FOUND = json.loads((ROOT / "benchmarks" / "results" / "parallel_memory.json").read_text())
STAGES = FOUND["stages"]


@pytest.fixture(scope="module")
def planned() -> list[float]:
    """Peak of each stage's plan, on any CPU."""
    cpu = find_hardware(ROOT / "presets" / "hardware", "cpu-ryzen-7950x")
    configs = (load_config(None, [*MODEL, "run.device=cpu", f"parallel.zero={zero}"]) for zero in range(4))
    return [memory_of(request_for(resolve(each, this_machine()).config, cpu)).step.peak.value for each in configs]


def test_stages_fall_in_the_planned_order(planned: list[float]) -> None:
    for values in (planned, [each["measured_bytes"] for each in STAGES]):
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_what_a_stage_saves_is_what_was_planned(zero: int, planned: list[float]) -> None:
    saved = STAGES[zero - 1]["measured_bytes"] - STAGES[zero]["measured_bytes"]
    assert planned[zero - 1] - planned[zero] == pytest.approx(saved, rel=FOUND["limit"])
