"""What must hold between plans: offloading, sharing in groups, preference pairs, adapters, and the scaling laws' inverses."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain_planners import (
    FITS,
    Adapter,
    Mesh,
    PlanRequest,
    find_hardware,
    find_shape,
    fit,
    loss_law,
    model_for_tokens,
    optimal_band,
    optimal_tokens,
    plan,
    to_text,
)

PRESETS = Path(__file__).parents[3] / "presets"
LAWS = st.sampled_from(sorted(FITS))


def request_of(model: str, **changes: object) -> PlanRequest:
    shape, hardware = find_shape(PRESETS / "models", model), find_hardware(PRESETS / "hardware", "h100-80gb")
    made = PlanRequest(shape=shape, hardware=hardware, seq_len=min(2048, shape.max_seq_len), tokens=1e9)
    return replace(made, **changes)  # type: ignore[arg-type]


LAYOUTS = [
    {},
    {"mesh": Mesh(dp=8), "zero": 1},
    {"mesh": Mesh(dp=16), "zero": 3, "shard_group": 4},
    {"mesh": Mesh(tp=4, pp=2, dp=2), "zero": 1, "grad_accum": 4},
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_leaves_the_device_is_in_the_host(layout: dict[str, object]) -> None:
    request = request_of("llama-3-8b", **layout)
    kept, moved = plan(request), plan(replace(request, offload="optimizer"))
    states = kept.memory.step.phases[0].term("optimizer").value
    assert moved.memory.step.phases[0].term("optimizer").value == 0
    assert moved.memory.step.host_bytes.value == states > 0
    assert kept.storage.pinned_bytes is None
    assert moved.storage.pinned_bytes is not None
    # AdamW in 32 bits: two moments on the host, and the gradient they are stepped with
    local = min(8, request.mesh.devices)
    assert moved.storage.pinned_bytes.value == pytest.approx(local * states * 1.5, rel=1e-6)


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_groups_that_share_need_what_so_many_devices_need(zero: int) -> None:
    grouped = plan(request_of("llama-3-8b", mesh=Mesh(dp=32), zero=zero, shard_group=8))
    alone = plan(request_of("llama-3-8b", mesh=Mesh(dp=8), zero=zero))
    assert grouped.memory.step.peak.value == alone.memory.step.peak.value


def test_pairs_double_the_tokens_of_a_step_and_add_a_third_of_the_computation() -> None:
    request = request_of("llama-3-8b")
    single, pairs = plan(request), plan(replace(request, reference="copy"))
    assert pairs.tokens_per_step.value == 2 * single.tokens_per_step.value
    assert pairs.flop_per_token.value == pytest.approx(single.flop_per_token.value * 4 / 3)
    assert pairs.storage.checkpoint_bytes.value == single.storage.checkpoint_bytes.value, "the reference is not saved"


def test_adapters_cost_two_thirds_and_their_own_products() -> None:
    request = request_of("llama-3-8b")
    full, adapted = (
        plan(replace(request, convention="causal")),
        plan(replace(request, convention="causal", adapter=Adapter(rank=1, targets=("q",)))),
    )
    attention = full.flop_per_token.term("attention").value
    matrices = full.flop_per_token.value - attention
    assert adapted.flop_per_token.value == pytest.approx(matrices * 2 / 3 + attention, rel=1e-3)


@given(law=LAWS, parameters=st.floats(1e6, 1e13))
def test_the_model_for_the_optimal_tokens_of_a_model_is_that_model(law: str, parameters: float) -> None:
    tokens = optimal_tokens(fit(law), parameters).value
    assert model_for_tokens(fit(law), tokens).value == pytest.approx(parameters, rel=1e-9)


@given(law=LAWS, parameters=st.floats(1e6, 1e13), further=st.floats(1.01, 100))
def test_the_band_holds_the_middle_and_widens_away_from_the_fitted_models(law: str, parameters: float, further: float) -> None:
    band = optimal_band(fit(law), parameters)
    assert band.low.value <= band.mid.value <= band.high.value
    known = loss_law("epoch")
    low, high = known.fitted_parameters
    pivot = (low * high) ** 0.5
    for sign in (-1, 1):
        near, far = (optimal_band(known, pivot * size**sign) for size in (further, further**2))
        assert far.high.value / far.low.value > near.high.value / near.low.value > 1


@pytest.mark.parametrize(
    ("model", "words"),
    [("gpt3-175b", "300B, 1.72 per parameter, under-trained"), ("llama-3-8b", "15T, 1,868 per parameter, over-trained")],
)
def test_published_runs_stand_beside_the_plan(model: str, words: str) -> None:
    text = " ".join(to_text(plan(request_of(model, tokens=None))).split())
    assert words in text
