"""The search's tables against their slow twins: every byte of memory the same, no bound above the step time."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tuitrain_planners import (
    Adapter,
    Bounds,
    Hardware,
    Layout,
    Mesh,
    PlanRequest,
    by_depth,
    candidates,
    find_hardware,
    find_shape,
)
from tuitrain_planners.grid import memory_of
from tuitrain_planners.quantity import given as quantity
from tuitrain_planners.search_memory import HIGH, MID, MemoryTable
from tuitrain_planners.search_time import TimeTable, layout_step_s

EACH = 60
"""Layouts drawn of every case."""
ALL = Bounds(precisions=("bf16-mixed", "bf16-pure"), loss_heads=("plain", "chunked", "fused", "split"))
SHARDED = replace(ALL, pp=(1,), cp=(1,), zero=(2, 3))

CASES = {
    "dense": ("llama-3-8b", {}),
    "turns of three": ("qwen2.5-14b", {}),
    "tied, soft-capped": ("gemma-2-2b", {}),
    "mixture": ("mixtral-8x7b", {}),
    "latent attention": ("deepseek-v3", {}),
    "autocast": ("llama-3-8b", {"framework": "hf-trainer"}),
    "buckets of a fixed size": ("llama-3-8b", {"framework": "deepspeed"}),
    "root stays gathered": ("llama-3-8b", {"framework": "fsdp2-hf", "reshard": False}),
    "adapter in 4 bits": ("llama-3-8b", {"adapter": Adapter(base="int4-gptq"), "framework": "hf-trainer"}),
    "preference pairs": ("llama-3-8b", {"reference": "copy", "variable_lengths": True}),
    "offloaded, scores written out": ("llama-3-8b", {"offload": "optimizer", "attention": "naive", "optimizer": "muon"}),
    "groups that share states": ("llama-3-8b", {"shard_group": 4}),
    "no sequence parallelism": ("llama-3-8b", {"mesh": Mesh(dp=32, sequence_parallel=False), "framework": "megatron"}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, model_presets: Path, hardware_presets: Path) -> PlanRequest:
    name, more = CASES[request.param]
    base = PlanRequest(
        shape=find_shape(model_presets, name), hardware=find_hardware(hardware_presets, "h100-80gb"), seq_len=4096,
        mesh=Mesh(dp=32),
    )  # fmt: skip
    return replace(base, **more)


def drawn(request: PlanRequest, bounds: Bounds = ALL, count: int = EACH) -> Iterator[Layout]:
    layouts = list(candidates(request, 96, bounds))
    assert len(layouts) > count
    yield from random.Random(7).sample(layouts, count)


def test_the_table_says_what_the_plan_says_to_the_byte(case: PlanRequest) -> None:
    table = MemoryTable(case)
    # Most layouts have a pipeline; sharded weights, gathered as the loss head needs them, are drawn apart.
    for layout in (*drawn(case), *drawn(case, SHARDED)):
        slow, fast = memory_of(layout.of(case)), table.peak(layout)
        assert (fast.value, fast.phase) == (slow.step.peak.value, slow.step.peak_phase.name), layout
        assert table.phase_bytes(layout, slow.step.stage) == [each.value for each in slow.step.phases], layout
        bytes_of = [table.device_bytes(fast, layout.mesh.communicators, band) for band in (MID, HIGH)]
        assert bytes_of == [slow.device_bytes.mid.value, slow.device_bytes.high.value], layout


def test_no_bound_is_above_the_step_time(case: PlanRequest) -> None:
    table = TimeTable(case)
    for layout in drawn(case):
        slow = layout_step_s(layout.of(case))
        assert table.step_s(layout) == slow
        assert 0 < table.at_least_s(layout) <= slow, layout


def test_on_a_measured_machine_too(laptop: Hardware) -> None:
    runs = {"correction": quantity("correction", 1.07), "offset": quantity("offset", 3e6, "bytes")}
    laptop = replace(laptop, memory_correction=runs)
    request = PlanRequest(shape=by_depth(6, 8192), hardware=laptop, seq_len=512, compiled=True, optimizer="muon")
    bounds = Bounds(precisions=("fp32", "bf16-mixed"), loss_heads=("plain", "chunked"))
    memory, times = MemoryTable(request), TimeTable(request)
    for layout in drawn(request, bounds, 50):
        asked = layout.of(request)
        slow = memory_of(asked)
        assert memory.peak(layout).value == slow.step.peak.value, layout
        assert memory.device_bytes(memory.peak(layout), 0, HIGH) == slow.device_bytes.high.value, layout
        assert 0 < times.at_least_s(layout) <= layout_step_s(asked), layout
