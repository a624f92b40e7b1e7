"""Cutting states into shares: nothing is lost, nothing grows, and what cannot be is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain_planners import (
    FRAMEWORKS,
    Mesh,
    PlanError,
    PlanRequest,
    by_depth,
    by_precision,
    by_stage,
    count_parameters,
    framework,
    plan,
    recipe,
)
from tuitrain_planners.memory.holding import held
from tuitrain_planners.memory.sharding import Sharding, gathered
from tuitrain_planners.quantity import given as quantity

frameworks = st.sampled_from(sorted(FRAMEWORKS))
stages, ranks, sizes = st.integers(0, 3), st.integers(1, 1000), st.integers(0, 10**12)


def shares(name: str, stage: int, n: int, size: int) -> list[float]:
    sharding, whole = Sharding(framework=framework(name), stage=stage, ranks=n), quantity("state", size, "bytes")
    return [each(whole).value for each in (sharding.weights, sharding.gradients, sharding.optimizer)]


@given(name=frameworks, stage=stages, n=ranks, size=sizes)
def test_the_shares_of_all_ranks_are_at_least_the_whole(name: str, stage: int, n: int, size: int) -> None:
    for share in shares(name, stage, n, size):
        assert n * share >= size
        assert share <= size


@given(name=frameworks, stage=stages, n=ranks, size=sizes)
def test_no_share_grows_with_more_ranks_or_a_higher_stage(name: str, stage: int, n: int, size: int) -> None:
    before = shares(name, stage, n, size)
    for after in (shares(name, stage, n + 1, size), shares(name, min(3, stage + 1), n, size)):
        assert all(less <= more for less, more in zip(after, before, strict=True))


@pytest.mark.parametrize("reshard", [True, False])
@given(depth=st.integers(1, 12), name=frameworks, n=st.integers(2, 64))
def test_what_is_gathered_is_never_more_than_the_model(reshard: bool, depth: int, name: str, n: int) -> None:
    shape = by_depth(depth, 4096)
    sharding = Sharding(framework=framework(name), stage=3, ranks=n, reshard=reshard)
    units = gathered(held(shape), recipe("bf16-mixed"), sharding, loss="plain")
    whole = 2 * count_parameters(shape).value
    for moment in ("forward", "loss", "backward_start", "backward_end", "backward_embedding"):
        # One layer may be all layers, and the root group has a norm of its own. In forward the buffer that the last unit came
        # in stands beside it: a layer's, or the head's.
        buffer = 0 if reshard else 2 * max(held(shape).layer, shape.vocab_size * shape.hidden_size)
        assert sum(each.value for each in getattr(units, moment)) <= whole + 2 * shape.hidden_size + buffer


def test_every_stage_is_in_the_plan_and_on_one_device_they_are_one(gpu_request: PlanRequest) -> None:
    eight = replace(gpu_request, mesh=Mesh(dp=8), framework="fsdp2-hf")
    peaks = [each.step.peak.value for each in plan(eight).memory_by_stage]
    assert peaks[0] > peaks[2] > peaks[3]
    assert len({each.step.peak.value for each in by_stage(replace(eight, mesh=Mesh(dp=1)))}) == 1
    assert plan(replace(eight, zero=3)).memory.step.peak.value == peaks[3]


def test_a_grid_has_a_column_per_precision(gpu_request: PlanRequest) -> None:
    grid = by_precision(replace(gpu_request, mesh=Mesh(dp=4)), ("fp32", "bf16-mixed"))
    assert list(grid) == ["fp32", "bf16-mixed"]
    assert all(len(column) == 4 for column in grid.values())
    assert grid["fp32"][3].step.peak.value > grid["bf16-mixed"][3].step.peak.value


def test_a_stage_or_framework_that_is_not_is_refused(gpu_request: PlanRequest) -> None:
    with pytest.raises(PlanError, match="ZeRO stage 4"):
        plan(replace(gpu_request, zero=4))
    with pytest.raises(PlanError, match="fsdp2") as caught:
        plan(replace(gpu_request, framework="fsdp2"))
    assert "fsdp2-hf" in caught.value.hint
