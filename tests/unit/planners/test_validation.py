"""Rows judged: units, conventions, runs out of memory, what counts once, what the source itself doubts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuitrain_planners.validation import Judged, Row, by_source, judge, parse_rows, summarise, validate
from tuitrain_planners.validation.conventions import convention_of, flop_in
from tuitrain_planners.validation.judged import doubt_about
from tuitrain_planners.validation.memory_rows import figure_of, memory_row
from tuitrain_planners.validation.summary import percentile
from tuitrain_planners.validation.throughput_rows import throughput_row

RUN = {
    "model": "Llama-3-8B", "method": "pretrain", "precision": "bf16 mixed", "sharding": "FSDP2", "n_gpus": "8",
    "gpu": "H100-80GB", "gpu_mem_gb": "80", "micro_batch": "1", "global_batch": "8", "seq_len": "8192",
    "activation_checkpointing": "none", "attention": "torch SDPA flash", "params": "8030261248",
}  # fmt: skip


def row(metric: str, value: str, **values: str) -> Row:
    return Row(line=2, values={"id": f"T-X-{metric}", "metric": metric, "value": value, **RUN, **values})


@pytest.fixture
def presets(model_presets: Path, hardware_presets: Path) -> tuple[Path, Path]:
    return model_presets, hardware_presets


def judged(each: Row, presets: tuple[Path, Path]) -> Judged:
    return judge(each, *presets)


def test_metrics_of_one_run_agree(presets: tuple[Path, Path]) -> None:
    def predicted(metric: str, **values: str) -> float:
        made = judged(row(metric, "40", **values), presets).prediction
        assert made is not None
        return made.value

    each = predicted("tokens_per_s_per_gpu")
    assert predicted("tokens_per_s") == pytest.approx(8 * each)
    assert predicted("s_per_iter") == pytest.approx(8192 / each)
    assert predicted("samples_per_s") == pytest.approx(8 * each / 8192)
    assert predicted("TFLOPS_per_gpu") == pytest.approx(57.91e9 * each, rel=1e-3)
    assert predicted("MFU", unit_note="of 989") == pytest.approx(57.91e9 * each / 989e12, rel=1e-3)


def test_percentages_and_teraflops_become_base_units(presets: tuple[Path, Path]) -> None:
    ready = throughput_row(row("MFU", "41.5"), *presets)
    assert ready.measured() == pytest.approx(0.415)
    assert throughput_row(row("TFLOPS_per_gpu", "410"), *presets).measured() == 410e12


def test_conventions_by_source(presets: tuple[Path, Path]) -> None:
    assert convention_of(row("MFU", "40", source="mosaicml/llm-foundry:README.md")) == "6n_and_square"
    assert convention_of(row("TFLOPS_per_gpu", "40", source="NVIDIA-NeMo/Megatron-Bridge:docs")) == "causal"
    assert convention_of(row("TFLOPS_per_gpu_hw", "40", source="bigscience-workshop/bigscience:x")) == "megatron2021+recompute"
    assert convention_of(row("TFLOPS_per_gpu", "40", source="NVIDIA/NeMo:docs")) == "full"
    shape = throughput_row(row("MFU", "40"), *presets).work.shape
    plain, again = (flop_in(each, shape, 8192).value for each in ("full", "full+recompute"))
    assert again / plain == pytest.approx(1.32, abs=0.01)  # head not repeated


def test_a_lora_run_is_counted_with_four_n(presets: tuple[Path, Path]) -> None:
    notes = {"unit_note": "model FLOPs; LoRA counts 4N not 6N per token", "method": "lora", "lora_rank": "8"}
    assert convention_of(row("TFLOPS_per_gpu", "40", **notes)) == "adapter"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gpu": "TPU v4"}, "the device 'TPU v4' has no preset"),
        ({"seq_len": ""}, "the sequence length is not stated"),
        ({"params": "7000000001", "model": "Llama-3-9B"}, "the sizes of Llama-3-9B are not stated"),
        ({"method": "galore"}, "the method 'galore' is not planned"),
        ({"tp": "3", "n_gpus": "8"}, "does not make 8 devices"),
        ({"notes": "sequence lengths vary below max_length"}, "sequence lengths vary below the one stated"),
        ({"precision": "FP8", "gpu": "A100"}, "nor a fp8 peak that training is known to reach"),
    ],
)
def test_what_cannot_be_computed_has_a_reason_and_no_number(
    changes: dict[str, str], reason: str, presets: tuple[Path, Path]
) -> None:
    found = judged(row("s_per_iter", "1", **changes), presets)
    assert found.prediction is None
    assert reason in found.reason
    assert found.to_dict()["predicted"] is None


def test_two_metrics_of_a_run_count_once_and_the_same_run_again_twice(presets: tuple[Path, Path]) -> None:
    rows = [row("s_per_iter", "1.0"), row("TFLOPS_per_gpu", "400"), row("s_per_iter", "1.1"), row("MFU", "40")]
    found = summarise(validate(rows, *presets))
    assert (found.rows, found.computed, found.observations) == (4, 4, 2)


def test_summaries(presets: tuple[Path, Path]) -> None:
    base = judged(row("s_per_iter", "1"), presets).prediction
    assert base is not None
    rows = [row("s_per_iter", str(base.value / (1 + error)), notes=str(error)) for error in (-0.2, 0.1, 0.3)]
    rows.append(row("s_per_iter", "1", gpu=""))
    found = summarise(validate(rows, *presets))
    assert found.coverage == 0.75
    assert found.median_error == pytest.approx(0.2)
    assert found.bias == pytest.approx(0.1)
    assert found.p90_error == pytest.approx(0.28)
    assert list(by_source(validate(rows, *presets))) == ["X"]
    assert percentile([], 0.9) is None
    assert summarise([]).coverage == 0


def test_doubts_a_table_has_itself() -> None:
    assert doubt_about(row("MFU", "1", notes="fine; 966 is a typo")) == "966 is a typo"
    assert doubt_about(row("MFU", "1", notes="reproduces except 67B row", model="compute-optimal 67B"))
    assert not doubt_about(row("MFU", "1", notes="reproduces except 67B row", model="compute-optimal 10B"))
    assert doubt_about(row("tokens_per_s", "1", value_scope="unclear: per GPU or total"))
    assert not doubt_about(row("tokens_per_s", "1", value_scope="unclear: per GPU or total", n_gpus="1"))


def test_memory_figures_and_units(presets: tuple[Path, Path]) -> None:
    assert figure_of(row("peak_memory", "9")) == "allocated"
    assert figure_of(row("peak_memory", "9", notes="GPU memory = torch.cuda.max_memory_RESERVED")) == "reserved"
    assert figure_of(row("gpu_memory", "9")) == "device"
    assert figure_of(row("model_state_memory", "9")) == "states"
    assert figure_of(row("memory_reserved_after_init", "9")) == "loaded"
    ready = memory_row(row("peak_memory", "10", unit="GB"), *presets)
    assert ready.measured() == 10e9
    assert (ready.request.zero, ready.request.mesh.dp, ready.request.micro_batch) == (3, 8, 1)
    assert (
        memory_row(row("peak_memory", "10", unit="G", value_gib_lo="9", value_gib_hi="10"), *presets).measured() == 9.5 * 2**30
    )
    summed = memory_row(row("gpu_memory", "80", unit="GiB", value_scope="total over 2 GPUs"), *presets).predict()
    single = memory_row(row("gpu_memory", "80", unit="GiB"), *presets).predict()
    assert summed.value == 2 * single.value
    assert single.low < single.value < single.high


def test_a_run_out_of_memory_is_right_when_it_does_not_fit(presets: tuple[Path, Path]) -> None:
    huge, small = row("peak_memory", "OOM", micro_batch="64", global_batch="512"), row("peak_memory", "OOM", seq_len="128")
    found = validate([huge, small], *presets)
    assert [each.to_dict()["out_of_memory_verdict"] for each in found] == ["right", "wrong"]
    assert all(each.error is None for each in found)
    total = summarise(found)
    assert (total.out_of_memory, total.out_of_memory_right, total.observations) == (2, 1, 0)


def test_states_of_the_zero_paper_need_no_sizes(presets: tuple[Path, Path]) -> None:
    states = Row(
        line=2,
        values={
            "id": "M-ZERO-1", "source": "ZeRO paper", "metric": "model_state_memory", "value": "1.88", "unit": "GB",
            "unit_note": "1e9", "params": "7500000000", "sharding": "ZeRO-3", "dp": "64", "n_gpus": "64",
            "precision": "fp16 mixed Adam (K=12)", "optimizer": "Adam", "method": "pretrain",
        },
    )  # fmt: skip
    ready = memory_row(states, *presets)
    assert (ready.request.framework, ready.request.zero, ready.figure) == ("deepspeed-paper", 3, "states")
    assert ready.measured() == 1.88e9
    assert ready.predict().value == pytest.approx(1.875e9, rel=0.01)


def test_energy_is_hours_watts_and_pue(presets: tuple[Path, Path]) -> None:
    text = "id,metric,value,unit,gpu_hours,watts_per_device,pue,kgco2_per_kwh\nE-X-1,energy,449,MWh,1022362,400,1.1,0.385\n"
    text += "E-X-2,co2,173,tCO2eq,1022362,400,1.1,0.385\nE-X-3,energy,1,MWh,,400,1.1,\n"
    energy, carbon, missing = validate(parse_rows(text).rows, *presets)
    assert energy.error == pytest.approx(0, abs=0.01)
    assert energy.prediction is not None
    assert energy.prediction.unit == "J"
    assert carbon.error == pytest.approx(0, abs=0.01)
    assert missing.reason == "the device hours are not stated"


def test_an_unknown_metric_has_a_reason(presets: tuple[Path, Path]) -> None:
    assert judged(row("beauty", "3"), presets).reason == "the planner has no beauty"
