"""What the planner's tests share: the shipped presets, one machine, one request."""

from pathlib import Path

import pytest

from tuitrain_planners import Hardware, PlanRequest, by_depth, find_hardware, find_shape, measured

PRESETS = Path(__file__).parents[3] / "presets"


@pytest.fixture
def model_presets() -> Path:
    return PRESETS / "models"


@pytest.fixture
def hardware_presets() -> Path:
    return PRESETS / "hardware"


@pytest.fixture
def laptop() -> Hardware:
    """A CPU with a measured curve; 100 GFLOP/s at width 256, twice that at 1024."""
    return measured(memory_bytes=8 * 2**30, rates=[(1024, 200e9), (256, 100e9)], peak_flop_per_s={"bf16": 400e9})


@pytest.fixture
def gpu_request() -> PlanRequest:
    return PlanRequest(
        shape=find_shape(PRESETS / "models", "gpt2"),
        hardware=find_hardware(PRESETS / "hardware", "a100-80gb"),
        seq_len=1024,
        micro_batch=8,
        grad_accum=4,
        tokens=1e10,
    )


@pytest.fixture
def cpu_request(laptop: Hardware) -> PlanRequest:
    return PlanRequest(
        shape=by_depth(4, 8192),
        hardware=laptop,
        seq_len=256,
        micro_batch=16,
        steps=500,
        optimizer="muon",
        loss_head="chunked",
        recompute="full",
        unique_tokens=1e6,
    )
