"""Llama-3-8B on 8 devices, s = 8192, b = 1, bf16 mixed, AdamW, plain loss: every ZeRO stage against op-level traces.

The traces ran the real step on fake tensors (FSDP2 and DistributedDataParallel of torch 2.13) and counted live storages; the
32 MiB the planner adds for the matrix library's workspace are not in them.
"""

from pathlib import Path

import pytest

from tuitrain_planners import count_parameters, find_shape, framework, optimizer, recipe, step_memory
from tuitrain_planners.memory import activations
from tuitrain_planners.memory.holding import held
from tuitrain_planners.memory.runtime import GPU
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.memory.states import main_gradient_bytes, optimizer_bytes, trained, weight_bytes

LLAMA = find_shape(Path(__file__).parents[2] / "presets" / "models", "llama-3-8b")
MIXED, ADAMW, GIB = recipe("bf16-mixed"), optimizer("adamw"), 2**30


def peak_gib(software: str, stage: int, recompute: str, *, ranks: int = 8, reshard: bool = True) -> tuple[float, str]:
    sharding = Sharding(framework=framework(software), stage=stage, ranks=ranks, reshard=reshard)
    memory = step_memory(
        LLAMA, seq_len=8192, micro_batch=1, precision=MIXED, optimizer=ADAMW, device="gpu",
        recompute=recompute, loss="plain", sharding=sharding,
    )  # fmt: skip
    return (memory.peak.value - GPU.counted_bytes.value) / GIB, memory.peak_phase.name


@pytest.mark.parametrize(
    ("recompute", "reshard", "traced_gib"),
    [("none", True, 74.61), ("full", True, 27.58), ("none", False, 87.21), ("full", False, 40.17)],
)
def test_transformers_under_fsdp2(recompute: str, reshard: bool, traced_gib: float) -> None:
    found, phase = peak_gib("fsdp2-hf", 3, recompute, reshard=reshard)
    assert found == pytest.approx(traced_gib, rel=0.002)
    assert phase == "loss"


@pytest.mark.parametrize(
    ("software", "stage", "recompute", "ranks", "traced_gib"),
    [
        ("ddp-native", 0, "none", 8, 199.73),
        ("ddp-native", 1, "none", 8, 147.38),
        ("ddp-native", 0, "full", 8, 147.62),
        ("ddp-native", 1, "full", 8, 95.27),
        ("fsdp2-native", 0, "none", 8, 160.74),
        ("fsdp2-native", 2, "none", 8, 82.21),
        ("fsdp2-native", 3, "none", 8, 67.25),
        ("fsdp2-native", 2, "full", 8, 40.05),
        ("fsdp2-native", 3, "full", 8, 25.09),
        ("fsdp2-native", 3, "full", 64, 15.28),
    ],
)
def test_a_hand_written_llama(software: str, stage: int, recompute: str, ranks: int, traced_gib: float) -> None:
    assert peak_gib(software, stage, recompute, ranks=ranks)[0] == pytest.approx(traced_gib, rel=0.002)


def test_autocast_keeps_36_copies_of_the_hidden_state_with_its_casts_of_weights() -> None:
    """24.5 without: the residual stream in 32 bits, a cast input for every product, and 16-bit copies of the weights."""
    kept = activations(LLAMA, seq_len=8192, micro_batch=1, precision=MIXED, framework=framework("hf-trainer")).live_layer
    weights = LLAMA.hidden_size * (2 * LLAMA.query_size + 2 * LLAMA.kv_size + 3 * LLAMA.ffn_size)
    assert (kept.value + 2 * weights) / (2 * 8192 * 4096) == pytest.approx(36.0, abs=0.05)


@pytest.mark.parametrize(("stage", "states_gb"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_the_zero_papers_own_example(stage: int, states_gb: float) -> None:
    """7.5 B parameters on 64 devices, figure 1 of the paper: weights, gradients and optimizer states, in decimal GB."""
    paper = framework("deepspeed-paper")
    sharding, precision = Sharding(framework=paper, stage=stage, ranks=64), paper.states(MIXED)
    parts = (
        sharding.weights(weight_bytes(held(LLAMA), precision)),
        sharding.gradients(main_gradient_bytes(trained(held(LLAMA), None), precision)),
        sharding.optimizer(optimizer_bytes(trained(held(LLAMA), None), precision, ADAMW)),
    )
    per_parameter = sum(each.value for each in parts) / count_parameters(LLAMA).value
    assert per_parameter * 7.5 == pytest.approx(states_gb, abs=0.06)
