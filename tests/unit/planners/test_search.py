"""Which layouts there are, which is first, and why the others are not."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain_planners import (
    Bounds,
    Hardware,
    Layout,
    Mesh,
    PlanError,
    PlanRequest,
    by_depth,
    candidates,
    find_hardware,
    find_shape,
    remedies,
    search,
)
from tuitrain_planners.grid import memory_of
from tuitrain_planners.search import _fastest
from tuitrain_planners.search_layouts import Ruled
from tuitrain_planners.search_time import TimeTable, layout_step_s

BOTH = Bounds(precisions=("bf16-mixed", "bf16-pure"), loss_heads=("plain", "chunked"))


@pytest.fixture
def eight(model_presets: Path, hardware_presets: Path) -> PlanRequest:
    return PlanRequest(
        shape=find_shape(model_presets, "llama-3-8b"), hardware=find_hardware(hardware_presets, "h100-80gb"), seq_len=4096,
        mesh=Mesh(dp=8), loss_head="chunked",
    )  # fmt: skip


def brute_force(request: PlanRequest, batch: int, bounds: Bounds) -> set[Layout]:
    """Every combination of small numbers that is a layout."""
    found, numbers = set(), range(1, 17)
    devices = request.mesh.devices
    for dp, tp, pp, cp, ep, vp in itertools.product(numbers, range(1, 9), numbers, numbers, numbers, range(1, 5)):
        if dp * tp * pp * cp != devices or (dp * cp) % ep or (vp > 1 and (pp == 1 or request.shape.num_layers % (pp * vp))):
            continue
        mesh = Mesh(dp=dp, tp=tp, pp=pp, cp=cp, ep=ep, vp=vp, schedule="interleaved" if vp > 1 else "1f1b")
        try:
            mesh.check(request.shape, request.seq_len)
        except PlanError:
            continue
        for micro, accum in itertools.product(range(1, batch + 1), repeat=2):
            if dp * micro * accum != batch or (vp > 1 and accum % pp):
                continue
            for zero in (0,) if dp * cp == 1 else (0, 1) if pp > 1 else (0, 1, 2, 3):
                for rest in itertools.product(bounds.precisions, bounds.recompute, bounds.loss_heads):
                    found.add(Layout(mesh, zero, rest[0], rest[1], rest[2], micro, accum))
    return found


@pytest.mark.parametrize(("model", "devices", "batch"), [("llama-3-8b", 8, 8), ("mixtral-8x7b", 4, 6), ("gpt2", 6, 12)])
def test_every_layout_there_is_comes_once(
    eight: PlanRequest, model_presets: Path, model: str, devices: int, batch: int
) -> None:
    shape = find_shape(model_presets, model)
    # so few layers that the brute force need not try many turns
    request = replace(eight, shape=replace(shape, num_layers=4), mesh=Mesh(dp=devices), seq_len=1024)
    layouts = list(candidates(request, batch, BOTH))
    assert len(layouts) == len(set(layouts))
    assert set(layouts) == brute_force(request, batch, BOTH)


def test_devices_multiply_up_and_the_batch_stays(eight: PlanRequest) -> None:
    layouts = list(candidates(eight, 48))
    assert {each.mesh.devices for each in layouts} == {8}
    assert {each.global_batch for each in layouts} == {48}
    assert {each.of(eight).tokens_per_step().value for each in layouts} == {48 * 4096}
    assert len({each.mesh for each in layouts}) > 10


def test_what_is_bounded_stays(eight: PlanRequest) -> None:
    bounds = Bounds(tp=(2,), pp=(1,), zero=(3,), recompute=("full",), node_devices=4)
    layouts = list(candidates(eight, 16, bounds))
    assert layouts
    assert {(each.mesh.tp, each.mesh.pp, each.zero, each.recompute) for each in layouts} == {(2, 1, 3, "full")}


def test_the_ranking_is_that_of_asking_every_layout(eight: PlanRequest) -> None:
    request = replace(eight, mesh=Mesh(dp=4), shape=replace(eight.shape, num_layers=8))
    slow: dict[tuple[object, ...], tuple[object, ...]] = {}
    fitting = tight = 0
    for layout in candidates(request, 8, BOTH):
        memory, seconds = memory_of(layout.of(request)), layout_step_s(layout.of(request))
        fitting += memory.verdict == "fits"
        tight += memory.verdict == "tight"
        if memory.verdict == "fits":
            bare = (seconds, layout._replace(loss_head="", precision=""))
            order = (layout.moving_parts, BOTH.precisions.index(layout.precision), memory.device_bytes.mid.value)
            slow[bare] = min(slow.get(bare, (seconds, *order)), (seconds, *order))  # type: ignore[type-var]
    found = search(request, 8, bounds=BOTH)
    assert (found.fitting, found.tight) == (fitting, tight)
    assert tight > 0
    assert found.counted == len(list(candidates(request, 8, BOTH)))
    ranked = [
        (e.step_s.value, e.layout.moving_parts, BOTH.precisions.index(e.layout.precision), e.device_bytes.value)
        for e in found.best
    ]
    assert ranked == sorted(slow.values())[:8]  # type: ignore[type-var]


class Known:
    """Step times by the number a layout accumulates."""

    def __init__(self, times: list[float]) -> None:
        self.times = times

    def step_s(self, layout: Layout) -> float:
        return self.times[layout.grad_accum]


@given(pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=40), keep=st.integers(1, 9))
def test_asking_by_bounds_finds_what_sorting_all_times_finds(pairs: list[tuple[float, float]], keep: int) -> None:
    layouts = [Layout(Mesh(), 0, "fp32", "none", "plain", 1, index) for index in range(len(pairs))]
    known = Known([bound + waiting for bound, waiting in pairs])
    entries = [(bound, (0,), 0.0, index, layouts[index]) for index, (bound, _) in enumerate(pairs)]
    found = _fastest(entries, cast(TimeTable, known), keep)
    assert found == sorted(layouts, key=lambda each: (known.step_s(each), each.grad_accum))[:keep]


def test_of_equally_fast_layouts_the_simplest_comes_first(laptop: Hardware) -> None:
    # a small model on a machine whose rate is known: any number of devices with nothing to wait for is equally fast
    request = PlanRequest(shape=by_depth(2, 4096), hardware=replace(laptop, link_bytes_per_s=1e15), seq_len=256)
    best = search(replace(request, mesh=Mesh(dp=4)), 16, bounds=Bounds(recompute=("none",))).best
    assert best[0].step_s.value == best[-1].step_s.value
    parts = [each.layout.moving_parts for each in best]
    assert parts == sorted(parts)
    assert best[0].layout.mesh == Mesh(dp=4)
    assert (best[0].layout.zero, best[0].layout.grad_accum) == (0, 1)


def test_a_miss_names_phase_and_bytes_as_the_plan_has_them(eight: PlanRequest) -> None:
    missed = [each for each in search(eight, 16).rejected if each.layout is not None]
    assert missed
    for each in missed:
        assert each.layout is not None
        memory = memory_of(each.layout.of(eight))
        need = memory.device_bytes.high if memory.verdict == "tight" else memory.device_bytes.mid
        assert each.missing_bytes == need.value - memory.capacity_bytes
        assert each.phase == memory.step.peak_phase.name
        assert each.step_s == layout_step_s(each.layout.of(eight))
        assert str(each.phase).replace("_", " ") in each.reason


def test_divisibility_is_told_by_the_numbers_in_it(eight: PlanRequest, model_presets: Path) -> None:
    ruled = Ruled()
    wide = replace(eight, shape=find_shape(model_presets, "mixtral-8x7b"), mesh=Mesh(dp=48))
    layouts = list(candidates(wide, 16, Bounds(), ruled))
    assert layouts
    said = "\n".join(ruled.reasons)
    assert "tp 16 is more than the 8 devices of one machine" in said
    assert "tp 3 does not divide num_heads 32" in said
    assert "ep 3 does not divide experts 8" in said
    assert "dp 48 does not divide the global batch of 16 sequences" in said


def test_nothing_that_multiplies_up_is_an_error_with_the_values(eight: PlanRequest) -> None:
    with pytest.raises(PlanError, match=r"8 devices at 3 sequences.*dp 8 does not divide the global batch of 3") as raised:
        search(eight, 3, bounds=Bounds(tp=(1,), pp=(1,), cp=(1,)))
    assert "8" in raised.value.hint
    with pytest.raises(PlanError, match="a global batch of 0"):
        search(eight, 0)
    with pytest.raises(PlanError, match="ZeRO stage 4"):
        Bounds(zero=(4,))
    with pytest.raises(PlanError, match="chunky"):
        Bounds(loss_heads=("chunky",))


def test_when_nothing_fits_the_nearest_comes_first_and_remedies_are_planned(eight: PlanRequest, hardware_presets: Path) -> None:
    small = replace(eight, hardware=find_hardware(hardware_presets, "rtx-4090"), mesh=Mesh(dp=2))
    found = search(small, 4)
    assert (found.best, found.fitting, found.tight) == ((), 0, 0)
    missing = [each.missing_bytes for each in found.rejected if each.layout is not None]
    least = min(memory_of(each.of(small)).device_bytes.mid.value for each in candidates(small, 4))
    assert missing == sorted(missing)
    assert missing[0] == least - small.hardware.memory_bytes
    assert found.rejected[0].layout is not None
    helped = remedies(found.rejected[0].layout.of(small))
    assert any("LoRA" in each.change and each.verdict != "oom" for each in helped)
    for each in helped:
        assert memory_of(each.request).device_bytes.mid.value == each.device_bytes.value < least


def test_few_layouts_are_asked_for_their_time(eight: PlanRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PlanRequest] = []

    def counting(request: PlanRequest) -> float:
        asked.append(request)
        return layout_step_s(request)

    monkeypatch.setattr("tuitrain_planners.search_time.layout_step_s", counting)
    found = search(replace(eight, mesh=Mesh(dp=64)), 512, bounds=BOTH)
    assert found.counted > 40_000
    assert 0 < len(asked) < found.counted / 50
