"""The cheapest fix: it fits, it keeps the global batch, nothing cheaper was passed over, and it says what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuitrain.runs.fixes import EQUAL_FRAC, Fix, NoFix, cheapest_fix
from tuitrain.runs.home import presets_dir
from tuitrain_planners import Adapter, Mesh, PlanRequest, find_hardware, find_shape, plan

SHAPE = find_shape(presets_dir() / "models", "llama-3-8b")
H100 = find_hardware(presets_dir() / "hardware", "h100-80gb")
EIGHT = PlanRequest(shape=SHAPE, hardware=H100, seq_len=8192, mesh=Mesh(dp=8), zero=3)
"""Out of memory as it stands: 80 GiB of 79.6."""

TOO_LARGE = [
    EIGHT,
    replace(EIGHT, micro_batch=4),
    replace(EIGHT, micro_batch=6, recompute="full"),
    replace(EIGHT, micro_batch=8, zero=0),
    replace(EIGHT, seq_len=512, zero=0),
    replace(EIGHT, recompute="selective", micro_batch=4),
]


@pytest.mark.parametrize("request_", TOO_LARGE)
def test_a_fix_fits_and_keeps_the_global_batch(request_):
    before = plan(request_)
    assert before.memory.verdict != "fits"
    fix = cheapest_fix(before)
    assert isinstance(fix, Fix)
    assert fix.plan.memory.verdict == "fits"
    assert fix.plan.tokens_per_step.value == before.tokens_per_step.value
    assert fix.saved_bytes == before.memory.device_bytes.mid.value - fix.plan.memory.device_bytes.mid.value > 0
    assert fix.step_frac == pytest.approx(fix.plan.throughput.step_s.value / before.throughput.step_s.value - 1)


@pytest.mark.parametrize("request_", TOO_LARGE)
def test_no_single_change_that_fits_is_cheaper(request_):
    fix = cheapest_fix(plan(request_))
    others = [
        replace(request_, recompute="full"),
        replace(request_, loss_head="chunked"),
        *(replace(request_, zero=stage) for stage in range(request_.zero, 4)),
    ]
    fitting = [each for each in map(plan, others) if each.memory.verdict == "fits"]
    cheapest = min((each.throughput.step_s.value for each in fitting), default=float("inf"))
    assert fix.plan.throughput.step_s.value <= cheapest * (1 + 1.5 * EQUAL_FRAC)


def test_one_change_where_one_is_enough():
    fix = cheapest_fix(plan(EIGHT))
    assert fix.changes == ("recompute none -> selective",)
    assert fix.words.startswith("recompute none -> selective: -26")
    assert fix.plan.request == replace(EIGHT, recompute="selective")


def test_a_smaller_micro_batch_is_paid_with_accumulation():
    fix = cheapest_fix(plan(replace(EIGHT, recompute="full", micro_batch=64, loss_head="chunked")))
    assert fix.changes[0].startswith("micro-batch 64 -> ")
    assert fix.plan.request.micro_batch * fix.plan.request.grad_accum == 64


def test_what_fits_needs_no_fix_and_what_never_will_says_how_much_is_missing():
    assert cheapest_fix(plan(replace(EIGHT, seq_len=1024))).reason == "it fits already"
    alone = cheapest_fix(plan(replace(EIGHT, mesh=Mesh(dp=1), zero=0)))
    assert isinstance(alone, NoFix)
    assert "still lacks" in alone.reason
    assert "GiB" in alone.reason
    assert "several devices" in alone.reason
    assert "method lora would fit" in alone.reason


def test_what_an_adapter_would_make_fit_is_told_and_then_fixed():
    small = find_hardware(presets_dir() / "hardware", "rtx-4090")
    full = replace(EIGHT, mesh=Mesh(dp=1), zero=0, hardware=small, loss_head="chunked")
    assert "method qlora would fit" in cheapest_fix(plan(full)).reason
    fix = cheapest_fix(plan(replace(full, adapter=Adapter(base="nf4-dq"))))
    assert fix.plan.memory.verdict == "fits"
    assert fix.changes == ("recompute none -> full",)
    hopeless = replace(full, shape=find_shape(presets_dir() / "models", "llama-3-70b"))
    assert "would fit" not in cheapest_fix(plan(hopeless)).reason


def test_a_full_fine_tune_is_never_turned_into_an_adapter():
    fix = cheapest_fix(plan(replace(EIGHT, zero=0, micro_batch=8)))
    assert fix.plan.request.adapter is None
    lora = cheapest_fix(plan(replace(EIGHT, adapter=Adapter(), micro_batch=8)))
    assert isinstance(lora, NoFix) or lora.plan.request.adapter is not None
