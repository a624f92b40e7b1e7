"""Experts, latent attention, windows, packed documents and adapters: counts and products, each with its formula."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuitrain_planners import (
    BIBLIOGRAPHY,
    FAMILIES,
    Adapter,
    Experts,
    LatentAttention,
    ModelShape,
    PlanError,
    Quantity,
    SlidingWindow,
    active_parameters,
    adapter_parameters,
    attention_pairs_per_token,
    by_convention,
    count_parameters,
    executed_flop_per_token,
    expert_parameters,
    find_shape,
    flop_per_token,
    preset_names,
)
from tuitrain_planners.parameters import (
    hidden_matrix_groups,
    hidden_matrix_parameters,
    outer_matrix_parameters,
    vector_parameters,
)
from tuitrain_planners.quantity import FUNCTIONS

MODELS = Path(__file__).parents[3] / "presets" / "models"
PRESETS = preset_names(MODELS)


def check(quantity: Quantity) -> int:
    """Evaluate every formula below a number; how many there were."""
    found = 0
    for each in quantity.walk():
        if each.formula:
            values = {key: value.value if isinstance(value, Quantity) else value for key, value in each.inputs.items()}
            assert eval(each.formula, {"__builtins__": {}}, FUNCTIONS | values) == pytest.approx(each.value, rel=1e-9), (
                each.name
            )
            found += 1
        elif each.terms:
            assert sum(term.value for term in each.terms) == pytest.approx(each.value, rel=1e-9), each.name
        if each.source and " " not in each.source and each.source not in ("definition", "given"):
            assert each.source in BIBLIOGRAPHY
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_every_formula_of_a_preset_computes_its_value(name: str) -> None:
    shape = find_shape(MODELS, name)
    assert check(count_parameters(shape)) >= 4
    check(active_parameters(shape))
    adapter = Adapter(rank=8, targets=("q", "v", "down", "head"))
    check(adapter_parameters(shape, adapter))
    for each in by_convention(shape, 6000).values():
        assert check(each)
    for convention in ("6n", "6n_nonembedding", "causal", "full", "with_recompute"):
        assert check(flop_per_token(shape, 6000, convention, document_lengths=[1000, 5000], adapter=adapter))


@pytest.mark.parametrize("name", PRESETS)
def test_matrices_and_vectors_part_a_model_without_rest(name: str) -> None:
    shape = find_shape(MODELS, name)
    hidden = hidden_matrix_parameters(shape)
    assert sum(count * m * n for (m, n), count in hidden_matrix_groups(shape).items()) == hidden
    assert hidden + outer_matrix_parameters(shape) + vector_parameters(shape) == count_parameters(shape).value
    assert 0 <= vector_parameters(shape) < hidden / 50
    assert (expert_parameters(shape) > 0) == (shape.experts is not None)
    assert active_parameters(shape).value + expert_parameters(shape) >= count_parameters(shape).value


def tiny(architecture: str = "llama", **changes: Any) -> ModelShape:
    sizes: dict[str, Any] = {
        "name": "tiny", "architecture": architecture, "vocab_size": 96, "hidden_size": 64, "num_layers": 3, "num_heads": 4,
        "num_kv_heads": 2, "head_dim": 24, "ffn_size": 80, "max_seq_len": 128, "tie_embeddings": False,
    }  # fmt: skip
    return ModelShape(**{**FAMILIES[architecture], **sizes, **changes})


EXPERTS = Experts(num=6, per_token=2, ffn_size=20, shared_ffn_size=28, shared_gate=True, first_dense_layers=1)
LATENT = LatentAttention(kv_rank=18, q_rank=22, nope_head_dim=16, rope_head_dim=8, value_head_dim=14)


def test_a_mixture_that_visits_all_its_experts_is_as_busy_as_a_wide_feed_forward() -> None:
    dense = tiny(ffn_size=6 * 20)
    mixture = tiny("mixtral", experts=Experts(num=6, per_token=6, ffn_size=20))
    router = 3 * 64 * 6
    assert count_parameters(mixture).value == count_parameters(dense).value + router == active_parameters(mixture).value
    assert flop_per_token(mixture, 128).value == flop_per_token(dense, 128).value + 6 * router


def test_more_experts_weigh_more_and_compute_no_more() -> None:
    few, many = (tiny("mixtral", experts=Experts(num=n, per_token=2, ffn_size=20)) for n in (4, 8))
    assert expert_parameters(many) == 2 * expert_parameters(few) == 3 * 8 * 3 * 64 * 20
    router = 3 * 64 * 4
    assert active_parameters(many).value - active_parameters(few).value == router
    assert flop_per_token(many, 128).value - flop_per_token(few, 128).value == 6 * router
    assert flop_per_token(many, 128, "6n").value == 6 * active_parameters(many).value


def test_every_part_of_a_deepseek_layer_is_counted_by_hand() -> None:
    shape = tiny("deepseek-v3", num_kv_heads=4, experts=replace(EXPERTS, router_bias=True), latent=LATENT)
    attention = 64 * 22 + 22 + 22 * 4 * 24 + 64 * (18 + 8) + 18 + 18 * 4 * (16 + 14) + 4 * 14 * 64
    dense = 3 * 64 * 80
    mixture = 64 * 6 + 6 + 3 * 64 * 20 * 6 + 3 * 64 * 28 + 64
    assert count_parameters(shape).value == 2 * 96 * 64 + 3 * (attention + 2 * 64) + 64 + dense + 2 * mixture
    products = 64 * 22 + 22 * 4 * 24 + 64 * 26 + 18 * 4 * 30 + 4 * 14 * 64
    used = 64 * 6 + 3 * 64 * 20 * 2 + 3 * 64 * 28 + 64
    scores = 128 / 2 * 4 * (24 + 14)
    assert flop_per_token(shape, 128).value == 6 * (3 * (products + scores) + dense + 2 * used + 64 * 96)


@pytest.mark.parametrize(("convention", "keys"), [("causal", 100 - 100**2 / 800), ("full", 100)])
def test_a_window_bounds_the_keys_of_its_layers(convention: str, keys: float) -> None:
    whole, some = tiny(), tiny(window=SlidingWindow(size=100, num_layers=2))
    assert attention_pairs_per_token(400, convention, window=100).value == keys
    everything = 200 if convention == "causal" else 400
    saved = 6 * 2 * (everything - keys) * 2 * 4 * 24
    assert flop_per_token(whole, 400, convention).value - flop_per_token(some, 400, convention).value == saved
    assert flop_per_token(some, 100, convention).value == flop_per_token(whole, 100, convention).value


@given(st.integers(1, 300), st.integers(1, 400))
def test_a_windows_keys_are_those_of_a_count_within_half_a_diagonal(seq_len: int, window: int) -> None:
    exact = sum(min(position + 1, window) for position in range(seq_len)) / seq_len
    found = attention_pairs_per_token(seq_len, "causal", window=window).value
    assert exact - 0.5 - 1e-9 <= found <= exact
    assert found <= attention_pairs_per_token(seq_len, "causal").value


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20), st.sampled_from([None, 1, 50, 120]))
def test_documents_meet_their_own_keys_only(lengths: list[int], window: int | None) -> None:
    for convention in ("causal", "full"):
        found = attention_pairs_per_token(200, convention, window=window, document_lengths=lengths)
        alone = [attention_pairs_per_token(each, convention, window=window).value * each for each in lengths]
        assert found.value == pytest.approx(sum(alone) / sum(lengths))
        check(found)


def test_packed_documents_cost_the_sum_of_their_squares() -> None:
    shape = tiny()
    packed = flop_per_token(shape, 128, document_lengths=[100, 28])
    assert packed.term("attention").value == 6 * 3 * (100**2 + 28**2) / (2 * 128) * 2 * 4 * 24
    assert packed.term("ffn").value == flop_per_token(shape, 128).term("ffn").value
    assert flop_per_token(shape, 128, document_lengths=[128]).value == flop_per_token(shape, 128).value


@pytest.mark.parametrize("lengths", [[], [0, 5], [129]])
def test_impossible_documents_are_refused(lengths: list[int]) -> None:
    with pytest.raises(PlanError, match="sequences of 128"):
        flop_per_token(tiny(), 128, document_lengths=lengths)


def test_adapters_of_llama_weigh_what_peft_prints() -> None:
    """trainable params of Llama-2-7B: 4,194,304 at rank 8 on q, v (peft's docs); 39,976,960 at rank 16 on every matrix."""
    llama = find_shape(MODELS, "llama-2-7b")
    assert adapter_parameters(llama, Adapter(rank=8, targets=("q", "v"))).value == 4_194_304
    assert adapter_parameters(llama, Adapter(rank=16)).value == 39_976_960
    assert adapter_parameters(find_shape(MODELS, "llama-3-8b"), Adapter(rank=16)).value == 41_943_040


def test_frozen_matrices_cost_two_thirds() -> None:
    llama, adapter = find_shape(MODELS, "llama-2-7b"), Adapter(rank=16)
    full, lora = flop_per_token(llama, 4096), flop_per_token(llama, 4096, adapter=adapter)
    extra = 6 * adapter_parameters(llama, adapter).value
    attention = full.term("attention").value
    assert lora.value == pytest.approx((full.value - attention) * 2 / 3 + attention + extra, rel=1e-12)
    n = count_parameters(llama).value
    assert flop_per_token(llama, 4096, "6n", adapter=adapter).value == 4 * n + extra
    again = executed_flop_per_token(llama, 4096, "full", adapter=adapter)
    forward = (full.value - full.term("head").value) / 3 + extra / 3
    assert again.value == pytest.approx(lora.value + forward, rel=1e-12)


def test_an_adapter_on_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match="has none of gate"):
        adapter_parameters(find_shape(MODELS, "gpt2"), Adapter(targets=("gate",)))


def test_a_relative_position_costs_a_matrix_and_a_score() -> None:
    plain, relative = tiny("gpt2"), tiny("gpt2", relative_positions=True)
    assert count_parameters(relative).value - count_parameters(plain).value == 3 * 64 * 4 * 24
    assert flop_per_token(relative, 128).value - flop_per_token(plain, 128).value == 6 * 3 * (64 + 64) * 4 * 24
