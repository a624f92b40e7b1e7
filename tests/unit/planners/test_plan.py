"""The whole plan and its reports: the JSON contract, one screen of text, warnings."""

import json
from dataclasses import replace

import pytest

from tuitrain_planners import LossLaw, Mesh, PlanError, PlanRequest, by_depth, figures, plan, to_dict, to_markdown, to_text
from tuitrain_planners.memory import GROUPS

CONTRACT: dict[str, set[str]] = {
    "model": {"name", "parameters", "active_parameters", "embedding_parameters", "trainable_parameters"},
    "compute": {"flop_per_token", "convention", "total_flop", "by_convention"},
    "tokens": {"planned", "chinchilla_optimal", "tokens_per_parameter", "by_fit"},
    "memory": {"peak_bytes", "phase", "reserved_bytes", "device_bytes", "capacity_bytes", "verdict", "terms", "phases"},
    "time": {"step_s", "tokens_per_s", "mfu", "hours"},
    "cost": {"gpu_hours", "usd"},
    "energy": {"kwh", "kg_co2e"},
    "layout": {"dp", "zero", "tp", "pp", "cp", "ep", "micro_batch", "grad_accum", "recompute"},
}
"""Keys of `tuitrain plan --json`. Keys may be added, never taken away."""


@pytest.mark.parametrize("which", ["gpu_request", "cpu_request"])
def test_the_json_report_keeps_its_contract(which: str, request: pytest.FixtureRequest) -> None:
    report = json.loads(json.dumps(to_dict(plan(request.getfixturevalue(which))), allow_nan=False))
    for section, keys in CONTRACT.items():
        assert keys <= set(report[section]), section
    assert set(report["memory"]["device_bytes"]) == set(report["time"]["hours"]) == {"low", "mid", "high"}
    assert report["memory"]["verdict"] in ("fits", "tight", "oom")
    assert set(report["memory"]["terms"]) == set(GROUPS)
    assert sum(report["memory"]["terms"].values()) == report["memory"]["peak_bytes"]
    for phase in report["memory"]["phases"]:
        assert set(phase) == {"name", "bytes", "terms"}
        assert sum(phase["terms"].values()) == phase["bytes"]
    peak = next(each for each in report["memory"]["phases"] if each["name"] == report["memory"]["phase"])
    assert peak["bytes"] == report["memory"]["peak_bytes"]
    assert [each["stage"] for each in report["zero"]] == [0, 1, 2, 3]
    assert {"stage", "peak_bytes", "terms", "verdict"} <= set(report["zero"][0])
    assert report["zero"][0]["peak_bytes"] == report["memory"]["peak_bytes"]
    assert isinstance(report["warnings"], list)
    known = which == "gpu_request"  # nobody rents out a laptop, and its power is not known
    assert report["cost"]["gpu_hours"] > 0
    for section, key in (("cost", "usd"), ("energy", "kwh"), ("energy", "kg_co2e")):
        assert (set(report[section][key] or ()) == {"low", "mid", "high"}) == known


def test_the_report_holds_the_plans_own_numbers(gpu_request: PlanRequest) -> None:
    made = plan(gpu_request)
    report = to_dict(made)
    assert report["model"]["parameters"] == 124_439_808
    assert report["compute"]["total_flop"] == made.flop_per_token.value * 1e10
    assert report["tokens"]["planned"] == 10_000_000_000
    assert report["time"]["hours"]["mid"] == made.throughput.duration_s.mid.value / 3600
    assert report["layout"] == {
        "dp": 1, "zero": 0, "tp": 1, "pp": 1, "vp": 1, "cp": 1, "ep": 1, "micro_batch": 8, "grad_accum": 4, "recompute": "none",
        "compiled": False, "framework": "tuitrain", "reshard": True,
    }  # fmt: skip
    for name, quantity in figures(made).items():
        section, key = name.split(".")
        if key in report[section] and not isinstance(report[section][key], dict):
            assert report[section][key] == quantity.value, name


@pytest.mark.parametrize("width", [60, 100, 140])
def test_the_text_is_one_screen_of_the_width_asked_for(width: int, gpu_request: PlanRequest, cpu_request: PlanRequest) -> None:
    for asked in (gpu_request, cpu_request):
        text = to_text(plan(asked), width)
        assert all(len(line) <= width for line in text.splitlines())
        assert len(text.splitlines()) <= 50
        assert text.isascii()
    wide = to_text(plan(gpu_request), 100)
    assert len(wide.splitlines()) <= 24
    for part in ("124M parameters", "10B tokens", "GiB", "over-trained", "MFU 40% (causal)", "nats/token by epoch"):
        assert part in wide, part


def test_markdown_lists_every_phase(cpu_request: PlanRequest) -> None:
    made = plan(cpu_request)
    text = to_markdown(made)
    for phase in made.memory.step.phases:
        assert f"| {phase.name} |" in text
    rows = [line for line in text.splitlines() if line.startswith("| backward")]
    assert {line.count("|") for line in rows} == {len(GROUPS) + 3}
    assert "## Warnings" in text


def test_explanations_put_the_plans_values_in(gpu_request: PlanRequest) -> None:
    made = plan(gpu_request)
    text = figures(made)["memory.peak_bytes"].explain()
    assert "e * t * V" in text
    assert "12 * 8192 * 50257" in text
    assert "Rajbhandari et al. (2019)" in text
    step = figures(made)["time.step_s"].explain()
    assert "passes * 2 * m * n * k" in step
    assert "share of the bf16 peak that large products reach, ampere = 0.8" in step
    assert "fitted to 252 published runs" in step


def test_without_a_length_the_compute_optimal_one_is_planned(gpu_request: PlanRequest) -> None:
    made = plan(replace(gpu_request, tokens=None))
    assert made.tokens.value == made.optimal_tokens.value
    assert made.tokens.source.startswith("assumption: no length")
    assert made.training_verdict.startswith("near")


def test_steps_and_tokens_agree(cpu_request: PlanRequest) -> None:
    made = plan(cpu_request)
    assert (made.steps, made.tokens.value) == (500, 500 * 256 * 16)
    longer = plan(replace(cpu_request, steps=None, tokens=500 * 256 * 16 + 1))
    assert longer.steps == 501


def test_the_loss_curve_falls_to_the_predicted_loss(gpu_request: PlanRequest) -> None:
    made = plan(gpu_request)
    steps, losses = zip(*made.loss_curve, strict=True)
    assert steps[0] == 1
    assert steps[-1] == made.steps
    assert list(steps) == sorted(set(steps))
    assert list(losses) == sorted(losses, reverse=True)
    assert losses[0] <= 10.83  # ln 50257: no worse than guessing
    assert losses[-1] == pytest.approx(made.loss.value, rel=1e-12)


def test_repeated_data_predicts_a_higher_loss(gpu_request: PlanRequest) -> None:
    fresh, repeated = plan(gpu_request), plan(replace(gpu_request, unique_tokens=1e8))
    assert repeated.loss.value > fresh.loss.value + 0.05
    assert any("100 passes" in each for each in repeated.warnings)


def test_a_law_in_bytes_needs_and_uses_the_bytes_of_a_token(gpu_request: PlanRequest) -> None:
    law = LossLaw(
        name="mine",
        e=0.5,
        a=60,
        b=200,
        alpha=0.3,
        beta=0.3,
        unit="bits/byte",
        source="measured: x",
        corpus="c",
        data_unit="bytes",
    )
    with pytest.raises(PlanError, match="counts bytes"):
        plan(replace(gpu_request, law=law))
    made = plan(replace(gpu_request, law=law, bytes_per_token=4.0))
    assert made.loss.value == pytest.approx(law.loss(made.parameters.value, 4e10), rel=1e-12)
    assert made.optimal_tokens.value == pytest.approx(law.optimal_data(made.parameters.value) / 4, rel=1e-12)
    assert made.loss_curve[-1][1] == pytest.approx(made.loss.value, rel=1e-12)


def test_what_should_worry_is_a_warning(gpu_request: PlanRequest, cpu_request: PlanRequest) -> None:
    assert plan(gpu_request).warnings == ()
    huge = plan(replace(gpu_request, micro_batch=256, mesh=Mesh(dp=2)))
    assert huge.memory.verdict == "oom"
    assert any(each.startswith("memory: loss needs") for each in huge.warnings)
    small = plan(replace(cpu_request, steps=1, shape=by_depth(1, 8192), seq_len=4096))
    assert any("was not measured" in each for each in small.warnings)
    assert any("more than guessing" in each for each in small.warnings)
    assert any("fitted on 70M" in each for each in small.warnings)
    assert any("longer than the 2048" in each for each in small.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seq_len": 0}, "seq_len is 0"),
        ({"micro_batch": 1.5}, "micro_batch is 1.5"),
        ({"steps": 5}, "both tokens"),
        ({"tokens": -1.0}, "tokens is -1.0"),
        ({"tokens": float("inf")}, "tokens is inf"),
        ({"seq_len": 2048}, "exceeds the 1024 learned positions"),
        ({"precision": "bf16"}, "unknown precision 'bf16'"),
        ({"optimizer": "adam"}, "unknown optimizer 'adam'"),
        ({"convention": "cauzal"}, "unknown FLOP convention 'cauzal'"),
        ({"recompute": "some"}, "unknown recompute mode 'some'"),
    ],
)
def test_a_wrong_request_is_refused_with_its_value(change: dict[str, object], words: str, gpu_request: PlanRequest) -> None:
    with pytest.raises(PlanError) as caught:
        plan(replace(gpu_request, **change))  # type: ignore[arg-type]
    assert words in caught.value.message
    assert caught.value.hint


def test_devices_share_the_work(gpu_request: PlanRequest) -> None:
    one, four = plan(gpu_request), plan(replace(gpu_request, mesh=Mesh(dp=4)))
    assert four.tokens_per_step.value == 4 * one.tokens_per_step.value
    assert one.throughput.step_s.value < four.throughput.step_s.value < 1.1 * one.throughput.step_s.value
    assert four.throughput.mfu is not None
    assert one.throughput.mfu is not None
    assert four.throughput.mfu.value < one.throughput.mfu.value
