"""The time model: what makes a step slower or faster, and by how much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tuitrain_planners import Adapter, Mesh, PlanRequest, find_hardware, find_shape, plan
from tuitrain_planners.efficiency import GENERATIONS, generation_name
from tuitrain_planners.layer_time import LayerTime
from tuitrain_planners.step_time import PUBLISHED, StepTime, last_stage_layers, step_time
from tuitrain_planners.throughput import workload
from tuitrain_planners.workload import Workload


@pytest.fixture
def llama(model_presets: Path, hardware_presets: Path) -> PlanRequest:
    return PlanRequest(
        shape=find_shape(model_presets, "llama-3-8b"), hardware=find_hardware(hardware_presets, "h100-80gb"), seq_len=8192,
        mesh=Mesh(dp=8), zero=3,
    )  # fmt: skip


def timed(request: PlanRequest, **changes: object) -> StepTime:
    return step_time(replace(workload(request), **changes))  # type: ignore[arg-type]


def test_a_step_is_the_sum_of_its_parts(llama: PlanRequest) -> None:
    found = timed(llama, micro_steps=4)
    parts = 4 * found.micro_batch_s.value + found.exposed_s.value + found.optimizer_s.value
    assert found.step_s.value == pytest.approx(parts, rel=1e-12)


@pytest.mark.parametrize(("p", "v"), [(2, 1), (4, 1), (8, 1), (4, 2), (4, 8)])
def test_the_bubble_is_p_less_one_over_v_micro_batches(p: int, v: int, llama: PlanRequest) -> None:
    mesh = Mesh(pp=p, vp=v, schedule="interleaved" if v > 1 else "1f1b")
    found = timed(replace(llama, mesh=mesh, zero=0, grad_accum=16))
    bare = found.bubble_s.inputs["stage"]
    assert found.bubble_s.value == pytest.approx((p - 1) / v * float(bare), rel=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layers", "stages", "expected"), [(32, 4, (8, 8)), (70, 12, (6, 5)), (126, 16, (8, 7)), (30, 8, (4, 3)), (5, 5, (1, 1))]
)
def test_embedding_and_head_take_a_layers_place_when_layers_do_not_divide(
    layers: int, stages: int, expected: tuple[int, int]
) -> None:
    assert last_stage_layers(layers, stages) == expected


@pytest.mark.parametrize("field", ["memory_bandwidth_bytes_per_s", "link_bytes_per_s", "network_bytes_per_s"])
def test_more_bandwidth_is_never_slower(field: str, llama: PlanRequest) -> None:
    request = replace(llama, mesh=Mesh(dp=4, tp=4), micro_batch=1)
    times = []
    for factor in (0.25, 0.5, 1, 2, 4):
        faster = replace(request.hardware, **{field: getattr(request.hardware, field) * factor})
        times.append(timed(replace(request, hardware=faster)).step_s.value)
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


@pytest.mark.parametrize("ranks", [1, 2, 8, 16, 128, 1024])
def test_more_devices_with_as_much_work_each_are_never_faster_and_rarely_much_slower(ranks: int, llama: PlanRequest) -> None:
    """Whole states on every device: sharded ones would make the optimizer's step shorter."""
    request = replace(llama, zero=0, micro_batch=2)
    fewer, more = (timed(replace(request, mesh=Mesh(dp=each))).step_s.value for each in (ranks, 2 * ranks))
    assert fewer <= more <= 1.25 * fewer


@pytest.mark.parametrize("axis", ["dp", "tp", "pp"])
def test_dividing_the_work_makes_a_step_shorter(axis: str, llama: PlanRequest) -> None:
    """A fixed global batch of 64 sequences on 8 devices against 2."""

    def step_s(devices: int) -> float:
        accumulate = 64 // devices if axis == "dp" else 64
        return timed(replace(llama, mesh=Mesh(**{axis: devices}), zero=0, grad_accum=accumulate)).step_s.value

    assert step_s(8) < step_s(4) < step_s(2) < 1.05 * step_s(1)


def test_what_a_step_does_more_takes_longer(llama: PlanRequest) -> None:
    plain = timed(llama).step_s.value
    assert timed(llama, again=1.0, attention_again=1.0).step_s.value == pytest.approx(plain * 4 / 3, rel=0.1)
    assert timed(llama, attention="naive").step_s.value > plain
    assert timed(llama, software="compiled").step_s.value < plain
    assert timed(llama, kernel="first").step_s.value > plain > timed(llama, kernel="newest").step_s.value
    assert timed(replace(llama, micro_batch=2)).step_s.value == pytest.approx(2 * plain, rel=0.1)


def test_a_frozen_model_saves_a_third_of_its_products_and_packed_weights_cost(llama: PlanRequest) -> None:
    whole = LayerTime(workload(llama), PUBLISHED).layer(experts=False).term("ffn, up")
    lora = workload(replace(llama, adapter=Adapter(rank=8, targets=("q", "v"))))
    assert LayerTime(lora, PUBLISHED).layer(experts=False).term("ffn, up").value == pytest.approx(whole.value * 2 / 3, rel=0.05)
    packed = replace(lora, adapter=Adapter(rank=8, targets=("q", "v"), base="int4-gptq"))
    assert step_time(packed).step_s.value > step_time(lora).step_s.value


def test_small_micro_batches_wait_for_the_host(llama: PlanRequest) -> None:
    """Half the tokens do not halve the time when launching takes longer than computing."""
    one, two = (timed(replace(llama, mesh=Mesh(), zero=0, seq_len=each)).micro_batch_s.value for each in (16, 32))
    assert two == pytest.approx(one, rel=0.01)


def test_less_power_clocks_lower(llama: PlanRequest) -> None:
    capped = replace(llama.hardware, power_w=350)
    ratio = timed(replace(llama, hardware=capped)).micro_batch_s.value / timed(llama).micro_batch_s.value
    assert 1.1 < ratio < 2 ** (1 / 3)


def test_generations_are_told_by_the_presets_names(hardware_presets: Path) -> None:
    found = {each: generation_name(find_hardware(hardware_presets, each)) for each in ("a100-80gb", "h200-141gb", "rtx-4090")}
    assert found == {"a100-80gb": "ampere", "h200-141gb": "hopper", "rtx-4090": "ada"}
    assert generation_name(find_hardware(hardware_presets, "rtx-2080-ti")) == "other"
    for generation in GENERATIONS.values():
        assert all(0 < share <= 1 for share in (*generation.gemm.values(), *generation.attention.values()))


def test_a_device_no_run_was_published_for_says_so(llama: PlanRequest, hardware_presets: Path) -> None:
    unknown = plan(replace(llama, hardware=find_hardware(hardware_presets, "rtx-2080-ti"), precision="fp16-mixed"))
    assert any("no training run was published for rtx-2080-ti" in each for each in unknown.warnings)
    band = unknown.throughput.duration_s
    assert band.high.value / band.mid.value == pytest.approx(1.4)


def test_a_workload_knows_its_tokens_and_dtypes(llama: PlanRequest) -> None:
    work: Workload = workload(replace(llama, mesh=Mesh(dp=2, cp=4), micro_batch=2))
    assert work.tokens == 2 * 8192 // 4
    narrow = replace(work, precision=replace(work.precision, peak_dtype="fp8"))
    assert (narrow.product_dtype, narrow.wide_dtype) == ("fp8", "bf16")
    assert step_time(narrow).step_s.value < step_time(work).step_s.value
