"""Every option of `tuitrain plan` moves the number it is about, or is refused with its value; none is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer

from tuitrain.cli.app import app
from tuitrain.cli.default_command import DEFAULT_COMMAND
from tuitrain.cli.run import run

Report = dict[str, Any]
H100 = ("--gpu", "h100-80gb")
LLAMA, MOE, GPT2 = ("llama-3-8b", *H100), ("qwen3-30b-a3b", *H100), ("gpt2", *H100)
LORA = (*LLAMA, "--method", "lora")
EIGHT = (*LLAMA, "--gpus", "8")


def at(path: str) -> Callable[[Report], Any]:
    def read(report: Report) -> Any:
        found: Any = report
        for key in path.split("."):
            found = found[key]
        return found

    return read


def less(path: str) -> Callable[[Report, Report], bool]:
    return lambda base, changed: at(path)(changed) < at(path)(base)


def more(path: str) -> Callable[[Report, Report], bool]:
    return lambda base, changed: at(path)(changed) > at(path)(base)


def becomes(path: str, value: Any) -> Callable[[Report, Report], bool]:
    def judge(base: Report, changed: Report) -> bool:
        return at(path)(changed) == pytest.approx(value, rel=0.01) and at(path)(base) != at(path)(changed)

    return judge


def times(path: str, factor: float, rel: float = 0.01) -> Callable[[Report, Report], bool]:
    return lambda base, changed: at(path)(changed) == pytest.approx(factor * at(path)(base), rel=rel)


def freed(group: str) -> Callable[[Report, Report], bool]:
    return lambda base, changed: at(f"memory.terms.{group}")(base) > 0 == at(f"memory.terms.{group}")(changed)


def spends(flop: float) -> Callable[[Report, Report], bool]:
    return lambda _, it: it["compute"]["by_convention"]["6n"] * it["tokens"]["planned"] == pytest.approx(flop)


def rent(usd_per_hour: float) -> Callable[[Report, Report], bool]:
    return lambda _, changed: changed["cost"]["usd"]["mid"] == pytest.approx(usd_per_hour * changed["cost"]["gpu_hours"])


PEAK, WEIGHTS, ACTS = "memory.peak_bytes", "memory.terms.weights", "memory.terms.activations"
Case = tuple[tuple[str, ...], tuple[str, ...], Callable[[Report, Report], bool]]
MOVES: dict[str, list[Case]] = {
    "gpu": [(GPT2, ("--gpu", "a100-80gb"), more("time.step_s"))],
    "memory": [(LLAMA, ("--memory", "200GiB"), becomes("memory.capacity_bytes", 200 * 2**30))],
    "gpus": [(EIGHT, ("--gpus", "16"), times("tokens.tokens_per_step", 2))],
    "tp": [(EIGHT, ("--tp", "8"), lambda a, b: b["layout"]["tp"] == 8 and less(WEIGHTS)(a, b))],
    "pp": [((*EIGHT, "--accum", "8"), ("--pp", "4"), lambda a, b: b["layout"]["pp"] == 4 and less(WEIGHTS)(a, b))],
    "vp": [((*EIGHT, "--pp", "4", "--accum", "8"), ("--vp", "2"), lambda a, b: more(PEAK)(a, b) and less("time.step_s")(a, b))],
    "cp": [((*EIGHT, "--seq", "8192"), ("--cp", "8"), lambda a, b: less(PEAK)(a, b) and b["layout"]["cp"] == 8)],
    "ep": [((*MOE, "--gpus", "8"), ("--ep", "8"), less(WEIGHTS))],
    "imbalance": [((*MOE, "--micro-batch", "32", "--zero", "3", "--gpus", "64"), ("--imbalance", "2"), more(PEAK))],
    "sequence_parallel": [((*EIGHT, "--tp", "8", "--micro-batch", "8"), ("--no-sequence-parallel",), more(ACTS))],
    "gpipe": [((*EIGHT, "--pp", "2", "--accum", "16"), ("--gpipe",), more(PEAK))],
    "shard_group": [((*EIGHT, "--zero", "3"), ("--shard-group", "4"), times(WEIGHTS, 2))],
    "offload": [
        (EIGHT, ("--offload", "optimizer"), lambda a, b: freed("optimizer")(a, b) and more("storage.host_bytes")(a, b)),
        ((*EIGHT, "--offload", "optimizer"), ("--offload", "all"), less(WEIGHTS)),  # 16-bit copies are made on the device
    ],
    "no_sync": [((*EIGHT, "--zero", "3", "--accum", "4"), ("--no-sync",), more(PEAK))],
    "zero": [(EIGHT, ("--zero", "3"), less(WEIGHTS))],
    "reshard": [((*EIGHT, "--zero", "3"), ("--no-reshard",), more("memory.terms.gathered"))],
    "framework": [(LLAMA, ("--framework", "hf-trainer"), lambda a, b: a["memory"]["peak_bytes"] != b["memory"]["peak_bytes"])],
    "method": [
        (LLAMA, ("--method", "lora"), less("model.trainable_parameters")),
        (LORA, ("--method", "qlora"), less(WEIGHTS)),
        # 2/3 of the matrix products; attention and the adapters are trained as ever
        ((*LLAMA, "--tokens", "1B"), ("--method", "lora"), times("compute.flop_per_token", 0.683)),
    ],
    "rank": [(LORA, ("--rank", "32"), times("model.trainable_parameters", 2))],
    "targets": [(LORA, ("--targets", "q,v"), becomes("model.trainable_parameters", 16 * 32 * (8192 + 5120)))],
    "base": [(LORA, ("--base", "int8"), less(WEIGHTS))],
    "dropout": [(LORA, ("--dropout",), more(ACTS))],
    "adapter_bits": [(LORA, ("--adapter-bits", "16"), less(WEIGHTS))],
    "stage": [
        ((*LLAMA, "--tokens", "1B"), ("--stage", "dpo"), times("tokens.tokens_per_step", 2)),
        ((*LLAMA, "--tokens", "1B"), ("--stage", "dpo"), times("compute.flop_per_token", 4 / 3)),
    ],
    "seq": [(LLAMA, ("--seq", "4096"), times("tokens.tokens_per_step", 2))],
    "micro_batch": [(LLAMA, ("--micro-batch", "4"), times("tokens.tokens_per_step", 4))],
    "accum": [(LLAMA, ("--accum", "4"), times("tokens.tokens_per_step", 4))],
    "precision": [(LLAMA, ("--precision", "bf16-pure"), less(WEIGHTS))],
    "optimizer": [(LLAMA, ("--optimizer", "adamw-8bit"), less("memory.terms.optimizer"))],
    "recompute": [((*GPT2, "--micro-batch", "32"), ("--recompute", "full"), less(ACTS))],
    "attention": [((*GPT2, "--micro-batch", "32"), ("--attention", "naive"), more(ACTS))],
    "step_in_backward": [(LLAMA, ("--step-in-backward",), less("memory.peak_bytes"))],
    "loss": [((*GPT2, "--micro-batch", "64", "--recompute", "full"), ("--loss", "plain"), more("memory.terms.head"))],
    "tokens": [(GPT2, ("--tokens", "7B"), becomes("tokens.planned", 7e9))],
    "hours": [(GPT2, ("--hours", "3"), becomes("time.hours.mid", 3))],
    "gpu_hours": [(EIGHT, ("--gpu-hours", "80"), becomes("cost.gpu_hours", 80))],
    "usd": [(EIGHT, ("--usd", "500", *more_of), becomes("cost.usd.mid", 500)) for more_of in ((), ("--spot",))],
    "flop": [
        (GPT2, ("--flop", "1e18"), spends(1e18)),
        (MOE, ("--flop", "1e22"), spends(1e22)),
    ],
    "law": [(LLAMA, ("--law", "chinchilla-3"), more("tokens.chinchilla_optimal"))],
    "price": [((*GPT2, "--tokens", "1B"), ("--price", "7"), rent(7))],
    "kwh_price": [
        (GPT2, ("--kwh-price", "0.5"), lambda a, b: b["cost"]["usd"]["mid"] == pytest.approx(0.5 * b["energy"]["kwh"]["mid"]))
    ],
    "purchase": [((*GPT2, "--kwh-price", "0.5"), ("--purchase", "30000"), more("cost.usd.mid"))],
    "spot": [(GPT2, ("--spot",), less("cost.usd.mid"))],
    "embodied": [(GPT2, ("--embodied",), lambda a, b: b["energy"]["embodied_kg_co2e"]["mid"] > 0)],
    "country": [(GPT2, ("--country", "france"), less("energy.kg_co2e.mid"))],
}  # fmt: skip
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "memory": ((*GPT2, "--memory", "24G"), "24GiB"),
    "tp": ((*EIGHT, "--tp", "3"), "tp 3"),
    "pp": ((*LLAMA, "--gpus", "64", "--pp", "64"), "64"),
    "vp": ((*EIGHT, "--vp", "2"), "vp 2 without a pipeline"),
    "cp": ((*EIGHT, "--cp", "8", "--seq", "1001"), "1001 tokens in 8 parts"),
    "ep": ((*EIGHT, "--ep", "8"), "ep 8 of a dense model"),
    "imbalance": ((*LLAMA, "--imbalance", "2"), "imbalance 2 of a dense model"),
    "gpipe": ((*EIGHT, "--gpipe"), "--pp 2"),
    "shard_group": ((*EIGHT, "--shard-group", "3"), "groups of 3"),
    "offload": ((*EIGHT, "--offload", "disk"), "'disk'"),
    "method": ((*LLAMA, "--method", "dora"), "--method dora"),
    "rank": ((*LLAMA, "--rank", "8"), "--rank without adapters"),
    "targets": ((*LORA, "--targets", "q,w"), "'w'"),
    "base": ((*LLAMA, "--method", "qlora", "--base", "16bit"), "--method lora"),
    "adapter_bits": ((*LORA, "--adapter-bits", "8"), "--adapter-bits 8"),
    "stage": ((*LLAMA, "--stage", "rlhf"), "--stage rlhf"),
    "attention": ((*LLAMA, "--attention", "flesh"), "flash"),
    "step_in_backward": ((*LLAMA, "--step-in-backward", "--accum", "2"), "2 micro-batches"),
    "gpu_hours": ((*LLAMA, "--gpu-hours", "-1"), "--gpu-hours -1"),
    "usd": (("llama-3-8b", "--gpu", "t4", "--precision", "fp16-mixed", "--usd", "5"), "--price USD_PER_HOUR"),
    "flop": ((*LLAMA, "--flop", "0"), "--flop 0"),
    "purchase": ((*LLAMA, "--purchase", "100"), "without a price of electricity"),
}
ELSEWHERE = {
    "model", "overrides", "params",  # test_plan_bad_input, and below
    "explain", "as_json", "markdown", "html",  # test_plan_bad_input; tests/unit/planners/test_plan_requests
    "simulate",  # test_plan_simulate
    "fit", "global_batch", "batch_tokens",  # test_plan_fit
}  # fmt: skip


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> Report:
    assert run(["plan", *arguments, "--json"]) in (0, 3), (arguments, capsys.readouterr().err)
    found: Report = json.loads(capsys.readouterr().out)
    return found


def test_no_option_is_left_out() -> None:
    command = typer.main.get_command(app).commands["plan"].commands[DEFAULT_COMMAND]  # type: ignore[attr-defined]
    names = {each.name for each in command.params} - {"help"}
    assert names == set(MOVES) | ELSEWHERE


CASES = [pytest.param(*case, id=f"{name}-{i}") for name, cases in MOVES.items() for i, case in enumerate(cases)]


@pytest.mark.parametrize(("base", "change", "judge"), CASES)
def test_an_option_moves_its_number(
    base: tuple[str, ...],
    change: tuple[str, ...],
    judge: Callable[[Report, Report], bool],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = report(capsys, *base), report(capsys, *base, *change)
    assert judge(first, second), (first["memory"], second["memory"], first["compute"], second["compute"])


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_wrong_value_is_refused_with_a_hint(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, named = REFUSED[name]
    assert run(["plan", *arguments]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert named in said
    assert "\nhint: " in said


def test_tokens_and_compute_find_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    by_tokens = report(capsys, *H100, "--tokens", "20B")
    assert by_tokens["tokens"]["planned"] == 20e9
    assert by_tokens["tokens"]["chinchilla_optimal"] == pytest.approx(20e9, rel=0.15)
    by_flop = report(capsys, *H100, "--flop", "1e20")
    assert 6 * by_flop["model"]["parameters"] * by_flop["tokens"]["planned"] == pytest.approx(1e20, rel=0.01)
    sized = report(capsys, *H100, "--params", "7B")
    assert sized["model"]["parameters"] == pytest.approx(7e9, rel=0.1)
