"""Memory: phases and their terms, and which way every choice moves the peak."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuitrain_planners import (
    ModelShape,
    PlanError,
    StepMemory,
    by_depth,
    count_parameters,
    device_memory,
    optimizer,
    recipe,
    step_memory,
)
from tuitrain_planners.families import BY_DEPTH
from tuitrain_planners.memory import GROUPS

SHAPES = st.builds(by_depth, st.integers(1, 12), st.integers(256, 60_000), st.sampled_from(BY_DEPTH))


def step(
    depth: int = 4,
    vocab: int = 8192,
    architecture: str = "nanochat",
    *,
    precision: str = "bf16-mixed",
    moved_by: str = "adamw",
    **kw: object,
) -> StepMemory:
    choices: dict[str, object] = {"seq_len": 256, "micro_batch": 8, "device": "gpu"} | kw
    return step_memory(
        by_depth(depth, vocab, architecture),
        precision=recipe(precision),
        optimizer=optimizer(moved_by),
        **choices,  # type: ignore[arg-type]
    )


def phase(memory: StepMemory, name: str) -> float:
    return next(each.value for each in memory.phases if each.name == name)


def test_the_peak_is_the_largest_phase_and_each_phase_the_sum_of_its_groups() -> None:
    memory = step()
    assert memory.peak.value == max(each.value for each in memory.phases) == memory.peak_phase.value
    assert [each.name for each in memory.phases] == [
        "forward", "loss", "backward_start", "backward_end", "backward_embedding", "optimizer", "save",
    ]  # fmt: skip
    for each in memory.phases:
        assert {term.name for term in each.terms} <= set(GROUPS)
        assert each.value == sum(term.value for term in each.terms)


@settings(max_examples=40)
@given(
    shape=SHAPES,
    batch=st.integers(1, 16),
    precision=st.sampled_from(["fp32", "bf16-mixed", "fp16-mixed", "bf16-pure"]),
    recompute=st.sampled_from(["none", "selective", "full"]),
    loss=st.sampled_from(["plain", "chunked"]),
    accumulating=st.booleans(),
)
def test_memory_grows_with_the_micro_batch_and_the_sequence(
    shape: ModelShape, batch: int, precision: str, recompute: str, loss: str, accumulating: bool
) -> None:
    def peak(micro_batch: int, seq_len: int) -> float:
        return step_memory(
            shape,
            seq_len=seq_len,
            micro_batch=micro_batch,
            precision=recipe(precision),
            optimizer=optimizer("muon"),
            device="cpu",
            recompute=recompute,
            loss=loss,
            accumulating=accumulating,
        ).peak.value

    assert peak(batch, 128) <= peak(batch + 1, 128)
    assert peak(batch, 128) <= peak(batch, 256)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "nanochat"])
def test_recomputing_more_keeps_less(architecture: str) -> None:
    none, selective, full = (
        phase(step(12, 512, architecture, recompute=each), "forward") for each in ("none", "selective", "full")
    )
    assert none > selective > full


def test_a_chunked_head_never_holds_all_logits() -> None:
    plain, chunked = (step(4, 50_000, loss=each, micro_batch=32) for each in ("plain", "chunked"))
    logits = 256 * 32 * 50_000
    copy = 2 * 50_000 * 256  # the head's weight in 16 bits
    assert phase(plain, "loss") - phase(plain, "forward") == (12 + 4) * logits + copy  # nanochat caps its logits
    assert phase(chunked, "loss") - phase(chunked, "forward") < 0.5 * logits
    assert plain.peak_phase.name == "loss"


def test_gradients_live_through_the_step_only_while_accumulating() -> None:
    once, often = step(), step(accumulating=True)
    main = 4 * count_parameters(by_depth(4, 8192)).value
    assert phase(often, "forward") - phase(once, "forward") == main
    assert "gradients" not in {each.name for each in once.phases[0].terms if each.value}


def test_fp32_accumulation_adds_no_second_gradient() -> None:
    often = step(precision="fp32", accumulating=True)
    gradients = 4 * count_parameters(by_depth(4, 8192)).value
    for each in often.phases:
        assert each.term("gradients").value <= gradients + 4 * 8192 * 256  # the chunked head's own table at most


def test_states_are_sixteen_bytes_per_parameter_in_mixed_precision() -> None:
    """4 weights + 4 gradients + 8 AdamW when the optimizer runs (Rajbhandari et al. 2019, with 32-bit gradients for 16-bit
    ones and a 16-bit copy): 16-bit copies are gone with the products that made them."""
    memory = step(8, 512, micro_batch=1, seq_len=8)
    states = sum(memory.phases[5].term(group).value for group in ("weights", "gradients", "optimizer"))
    assert states == 16 * count_parameters(by_depth(8, 512)).value


def test_recomputed_layers_hold_the_16_bit_copies_of_one() -> None:
    """Copies of matrices that products read: of all layers when backward begins, and of the last alone when it ends."""
    hidden, weights = 8 * 12 * 512**2, 4 * count_parameters(by_depth(8, 512)).value
    for recompute, copied in (("none", 8), ("selective", 1), ("full", 1)):
        start, end = step(8, 512, recompute=recompute).phases[2:4]
        assert start.term("weights").value - weights == 2 * copied * hidden // 8
        assert end.term("weights").value - weights == 2 * hidden // 8


def test_muon_keeps_one_moment_for_hidden_matrices() -> None:
    adamw, muon = (step(8, 512, moved_by=each).phases[0].term("optimizer").value for each in ("adamw", "muon"))
    hidden = 8 * (4 + 8) * 512**2
    assert adamw - muon == 4 * hidden


def test_pure_bf16_halves_the_states() -> None:
    fp32, pure = (step(8, 512, precision=each).phases[5] for each in ("fp32", "bf16-pure"))
    for group in ("weights", "gradients", "optimizer"):
        assert fp32.term(group).value == 2 * pure.term(group).value


def test_the_verdict_follows_the_band() -> None:
    memory = step()
    band = device_memory(memory, kind="gpu", capacity_bytes=1e15).device_bytes
    assert memory.peak.value < band.low.value < band.mid.value < band.high.value
    for capacity, verdict in (
        (band.high.value, "fits"),
        (band.high.value - 1, "tight"),
        (band.mid.value, "tight"),
        (band.mid.value - 1, "oom"),
    ):
        assert device_memory(memory, kind="gpu", capacity_bytes=capacity).verdict == verdict


def test_on_a_cpu_the_interpreter_counts_and_saving_copies_nothing() -> None:
    gpu, cpu = step(device="gpu"), step(device="cpu")
    assert cpu.phases[0].term("runtime").value > gpu.phases[0].term("runtime").value
    assert cpu.phases[6].term("weights").value == gpu.phases[6].term("weights").value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recompute": "ful"}, "'full'"),
        ({"loss": "chunk"}, "'chunked'"),
        ({"loss": "chunked", "chunk_rows": 0}, "at least one row"),
    ],
)
def test_wrong_choices_are_helped(change: dict[str, object], words: str) -> None:
    with pytest.raises(PlanError) as caught:
        step(**change)
    assert words in caught.value.hint


def test_layer_norm_is_fused_and_rms_norm_keeps_its_input_in_32_bits() -> None:
    from tuitrain_planners.memory import activations

    rms = by_depth(4, 512, "llama")
    layer = replace(rms, layer_norm=True)
    kept = [
        activations(each, seq_len=128, micro_batch=1, precision=recipe("bf16-mixed")).live_layer.value for each in (rms, layer)
    ]
    assert kept[0] - kept[1] == 128 * 2 * 256 * (6 - 2)
