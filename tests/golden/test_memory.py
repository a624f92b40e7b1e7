"""Memory of Llama-3-8B at s = 8192, b = 1, against op-level traces of the transformers model on fake tensors."""

from pathlib import Path

import pytest

from tuitrain_planners import find_shape, optimizer, recipe, step_memory
from tuitrain_planners.memory import activations

LLAMA = find_shape(Path(__file__).parents[2] / "presets" / "models", "llama-3-8b")
GIB = 2**30


def test_a_layer_keeps_24_and_a_half_copies_of_the_hidden_state() -> None:
    """The trace counts 24.52 16-bit copies of s * b * h, norms in 32 bits included."""
    layer = activations(LLAMA, seq_len=8192, micro_batch=1, precision=recipe("bf16-pure")).live_layer
    assert layer.value / (2 * 8192 * 4096) == pytest.approx(24.52, abs=0.01)


def test_pure_bf16_with_full_recomputation() -> None:
    """Trace: 60.65 GiB at the end of backward. 1 %: the trace's optimizer is not fused and its rotations differ."""
    memory = step_memory(
        LLAMA,
        seq_len=8192,
        micro_batch=1,
        precision=recipe("bf16-pure"),
        optimizer=optimizer("adamw"),
        device="gpu",
        recompute="full",
    )
    assert memory.peak.value / GIB == pytest.approx(60.65, rel=0.01)
    assert memory.peak_phase.name == "backward_end"


def test_logits_and_loss_are_twelve_bytes_each() -> None:
    """s * V * 12 = 11.74 GiB at the start of backward (trace of F.cross_entropy on 32-bit logits)."""
    memory = step_memory(
        LLAMA, seq_len=8192, micro_batch=1, precision=recipe("bf16-mixed"), optimizer=optimizer("adamw"), device="gpu"
    )
    assert memory.phases[1].term("head").value / GIB == pytest.approx(11.74, abs=0.005)
