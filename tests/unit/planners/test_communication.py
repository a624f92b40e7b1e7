"""Bytes between ranks by ZeRO stage, and when they make a step longer."""

from dataclasses import replace

import pytest

from tuitrain_planners import Mesh, PlanRequest, count_parameters, find_shape, framework, plan, recipe, tokens_for
from tuitrain_planners.communication import group_link, sent_between_groups, sent_bytes
from tuitrain_planners.memory.sharding import Sharding

N = 8_030_261_248


@pytest.mark.parametrize(
    ("stage", "reshard", "bytes_per_parameter"),
    [(0, True, 2 * 4), (1, True, 2 * 4 + 4), (2, True, 2 + 4), (3, True, 2 + 2 + 4), (3, False, 2 + 4)],
)
def test_llama_on_eight_devices(stage: int, reshard: bool, bytes_per_parameter: int, model_presets) -> None:
    """ZeRO-3: two gathers in 16 bits and a sum in 32: 56 GB per device and micro-step, as an op-level trace counts."""
    sharding = Sharding(framework=framework("tuitrain"), stage=stage, ranks=8, reshard=reshard)
    sent = sent_bytes(find_shape(model_presets, "llama-3-8b"), recipe("bf16-mixed"), sharding, micro_steps=1)
    assert sent.value == pytest.approx(7 / 8 * bytes_per_parameter * N)
    if stage == 3 and reshard:
        assert sent.value / 1e9 == pytest.approx(56, abs=0.5)


def test_sharded_states_are_sent_again_for_every_micro_step(model_presets) -> None:
    llama, mixed = find_shape(model_presets, "llama-3-8b"), recipe("bf16-mixed")
    for stage, factor in ((0, 1), (3, 4)):
        sharding = Sharding(framework=framework("tuitrain"), stage=stage, ranks=8)
        once, often = (sent_bytes(llama, mixed, sharding, micro_steps=each).value for each in (1, 4))
        assert often == factor * once


def test_one_device_sends_nothing_and_many_slow_ones_wait(gpu_request: PlanRequest) -> None:
    alone = plan(gpu_request)
    assert alone.throughput.communication_s.value == 0
    assert not any("communication" in each for each in alone.warnings)
    slow = replace(gpu_request.hardware, link_bytes_per_s=1e8)
    many = plan(replace(gpu_request, mesh=Mesh(dp=8), hardware=slow, micro_batch=1, grad_accum=1))
    assert many.throughput.step_s.value > many.throughput.waiting_s.value > 0.9 * many.throughput.communication_s.value
    assert any("communication" in each for each in many.warnings)


def test_a_time_budget_pays_for_waiting(gpu_request: PlanRequest) -> None:
    slow = replace(gpu_request.hardware, link_bytes_per_s=1e8)
    request = replace(gpu_request, mesh=Mesh(dp=8), hardware=slow, micro_batch=1, grad_accum=1)
    planned = plan(replace(request, tokens=tokens_for(request, 3600).value))
    assert 3500 < planned.throughput.duration_s.mid.value <= 3600


def test_across_machines_the_network_decides(gpu_request: PlanRequest) -> None:
    within, across = (plan(replace(gpu_request, mesh=Mesh(dp=n))).throughput.communication_s.value for n in (8, 16))
    assert across > within
    assert group_link(gpu_request.hardware, 8).value == 300e9
    # Eight members of a machine share its eight cards; members eight apart have one each.
    assert group_link(gpu_request.hardware, 16).value == 8 * 25e9
    assert group_link(gpu_request.hardware, 4, stride=8).value == 25e9


def test_groups_that_hold_copies_sum_their_shares_too(model_presets) -> None:
    """HSDP: within a group as ZeRO-3 of its size, and 4 N / n bytes all-reduced between the groups, once a step."""
    llama, mixed = find_shape(model_presets, "llama-3-8b"), recipe("bf16-mixed")
    sharding = Sharding(framework=framework("fsdp2-hf"), stage=3, ranks=8, replicas=4)
    between = sent_between_groups(count_parameters(llama), mixed, sharding)
    assert between.value == pytest.approx(2 * 3 / 4 * 4 * N / 8)


def test_copies_of_groups_cost_time(gpu_request: PlanRequest) -> None:
    groups = replace(gpu_request, mesh=Mesh(dp=32), zero=3, shard_group=8, framework="fsdp2-hf")
    one = replace(groups, mesh=Mesh(dp=8), shard_group=None)
    assert plan(groups).throughput.communication_s.value > plan(one).throughput.communication_s.value


def test_reducing_once_a_step_sends_gradients_once(model_presets) -> None:
    llama, mixed = find_shape(model_presets, "llama-3-8b"), recipe("bf16-mixed")
    sharding = Sharding(framework=framework("tuitrain"), stage=3, ranks=8)
    often, once = (
        sent_bytes(llama, mixed, replace(sharding, no_sync=each), micro_steps=4).term("reduce-scatter of gradients").value
        for each in (False, True)
    )
    assert often == 4 * once
