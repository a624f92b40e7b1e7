"""Planned resident memory on the CPU against what runs of this trainer really held (benchmarks/results/memory.json)."""

import json
from pathlib import Path

import pytest

from tuitrain_planners.memory.runtime import CPU

RUNS = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "memory.json").read_text())["runs"]


def planned_bytes(run: dict[str, int], band: int) -> float:
    more = CPU.compiler_bytes.value if run["compiled"] else 0
    return run["live_bytes"] * CPU.allocator_factor[band] + CPU.counted_band[band] + more


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"depth {run['depth']}{', compiled' * run['compiled']}")
def test_every_run_is_within_the_band(run: dict[str, int]) -> None:
    assert planned_bytes(run, 0) <= run["measured_bytes"] <= planned_bytes(run, 2)


def test_the_middle_is_right_to_a_few_per_cent() -> None:
    errors = [abs(planned_bytes(run, 1) / run["measured_bytes"] - 1) for run in RUNS]
    assert sum(errors) / len(errors) < 0.04
    assert max(errors) < 0.13
