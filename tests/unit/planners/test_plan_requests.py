"""Plans of every kind of request: formulas compute their values, the JSON contract holds, the reports show what is there."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tuitrain_planners import (
    EMBODIED_KG_CO2E,
    Adapter,
    Band,
    Economy,
    Hardware,
    Mesh,
    Plan,
    PlanRequest,
    by_depth,
    find_hardware,
    find_shape,
    measured,
    plan,
    to_dict,
    to_html,
    to_markdown,
    to_text,
)
from tuitrain_planners.memory import GROUPS
from tuitrain_planners.quantity import FUNCTIONS, Quantity

PRESETS = Path(__file__).parents[3] / "presets"
LAPTOP = measured(memory_bytes=8 * 2**30, rates=[(256, 1e11), (1024, 2e11)], peak_flop_per_s={"bf16": 4e11})
LORA, QLORA = Adapter(), Adapter(base="nf4-dq", dropout=True, weight_bytes=2, rest_in_fp32=True)
REQUESTS: dict[str, tuple[str, dict[str, object]]] = {
    "dense": ("llama-3-8b", {}),
    "zero 3 accumulating": ("llama-3-8b", {"mesh": Mesh(dp=8), "zero": 3, "grad_accum": 4, "no_sync": True}),
    "tp x pp": ("llama-3-8b", {"mesh": Mesh(dp=2, tp=4, pp=2), "zero": 1, "grad_accum": 4}),
    "interleaved": ("llama-3-8b", {"mesh": Mesh(tp=2, pp=4, vp=2, schedule="interleaved"), "grad_accum": 8}),
    "gpipe": ("gpt2", {"mesh": Mesh(pp=2, schedule="gpipe"), "grad_accum": 4, "seq_len": 512}),
    "context": ("llama-3-8b", {"mesh": Mesh(dp=2, cp=4), "zero": 2, "seq_len": 8192}),
    "no sequence parallelism": ("llama-3-8b", {"mesh": Mesh(tp=8, sequence_parallel=False)}),
    "hsdp": ("llama-3-8b", {"mesh": Mesh(dp=16), "zero": 3, "shard_group": 8}),
    "experts": ("qwen3-30b-a3b", {"mesh": Mesh(dp=8, ep=8), "zero": 1, "expert_imbalance": 1.5}),
    "latent": ("deepseek-v3", {"mesh": Mesh(dp=16, ep=16, pp=4), "zero": 1, "grad_accum": 8, "precision": "fp8-mixed"}),
    "windows": ("gemma-2-9b", {"seq_len": 8192, "recompute": "selective", "loss_head": "chunked"}),
    "offload optimizer": ("llama-3-8b", {"mesh": Mesh(dp=16), "zero": 2, "offload": "optimizer", "shard_group": 4}),
    "offload all": ("llama-3-8b", {"mesh": Mesh(dp=8), "zero": 3, "offload": "all"}),
    "lora": ("llama-3-8b", {"adapter": LORA, "recompute": "full"}),
    "qlora of experts": ("mixtral-8x7b", {"adapter": QLORA, "optimizer": "adamw-paged-8bit", "variable_lengths": True}),
    "dpo": ("smollm2-135m", {"reference": "copy"}),
    "dpo of adapters": ("llama-3-8b", {"adapter": LORA, "reference": "adapter-off", "mesh": Mesh(dp=8), "zero": 3}),
    "naive attention": ("gpt2", {"attention": "naive", "seq_len": 1024, "precision": "fp32"}),
    "fused, 8 bits": ("smollm2-1.7b", {"loss_head": "fused", "optimizer": "adamw-8bit", "recompute": "selective"}),
    "adafactor, bf16 loss": ("smollm2-1.7b", {"loss_head": "bf16", "optimizer": "adafactor", "precision": "bf16-pure"}),
    "lomo": ("smollm2-1.7b", {"step_in_backward": True, "optimizer": "sgd", "framework": "hf-trainer"}),
    "muon by megatron": ("smollm2-1.7b", {"optimizer": "muon", "framework": "megatron", "mesh": Mesh(dp=8), "zero": 1}),
    "own device": (
        "gpt2",
        {"economy": Economy(electricity_usd_per_kwh=0.3, purchase_usd=2000.0, embodied_kg_co2e=EMBODIED_KG_CO2E)},
    ),
    "this cpu": ("d4", {"hardware": LAPTOP, "steps": 100, "tokens": None, "seq_len": 256, "unique_tokens": 1e5}),
}


def request_of(name: str) -> PlanRequest:
    model, changes = REQUESTS[name]
    shape = by_depth(4, 8192) if model == "d4" else find_shape(PRESETS / "models", model)
    hardware: Hardware = find_hardware(PRESETS / "hardware", "h100-80gb")
    seq_len = min(shape.max_seq_len, 2048)
    return replace(PlanRequest(shape=shape, hardware=hardware, seq_len=seq_len, tokens=1e10), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=sorted(REQUESTS))
def made(request: pytest.FixtureRequest) -> Plan:
    return plan(request_of(request.param))


def quantities(value: object) -> list[Quantity]:
    """Every quantity a plan holds, wherever it lies."""
    if isinstance(value, Quantity):
        return [value]
    if isinstance(value, Band):
        return [value.low, value.mid, value.high]
    if isinstance(value, dict):
        return [each for part in value.values() for each in quantities(part)]
    if isinstance(value, tuple):
        return [each for part in value for each in quantities(part)]
    if hasattr(type(value), "__dataclass_fields__") and not isinstance(value, PlanRequest):
        return [each for name in type(value).__dataclass_fields__ for each in quantities(getattr(value, name))]
    return []


def test_every_formula_of_the_plan_computes_its_value(made: Plan) -> None:
    seen: set[int] = set()
    formulas = 0
    for quantity in quantities(made):
        for each in quantity.walk():
            if id(each) in seen:
                continue
            seen.add(id(each))
            if each.formula:
                values = {key: value.value if isinstance(value, Quantity) else value for key, value in each.inputs.items()}
                value = eval(each.formula, {"__builtins__": {}}, FUNCTIONS | values)
                assert value == pytest.approx(each.value, rel=1e-9), f"{each.name}: {each.formula} with {values}"
                formulas += 1
            elif each.terms:
                assert sum(term.value for term in each.terms) == pytest.approx(each.value, rel=1e-9), each.name
    assert formulas > 60


NUMBER = (int, float)
BAND = {"low": NUMBER, "mid": NUMBER, "high": NUMBER}
TERMS = dict.fromkeys(GROUPS, NUMBER)
CONTRACT: dict[str, object] = {
    "model": {
        "name": str, "parameters": int, "active_parameters": int, "embedding_parameters": int, "trainable_parameters": int,
    },
    "compute": {"flop_per_token": NUMBER, "convention": str, "total_flop": NUMBER, "by_convention": dict},
    "tokens": {"planned": NUMBER, "chinchilla_optimal": NUMBER, "tokens_per_parameter": NUMBER, "by_fit": dict},
    "memory": {
        "peak_bytes": NUMBER, "phase": str, "reserved_bytes": NUMBER, "device_bytes": BAND, "capacity_bytes": NUMBER,
        "verdict": str, "terms": TERMS, "phases": [{"name": str, "bytes": NUMBER, "terms": TERMS}],
    },
    "zero": [{"stage": int, "peak_bytes": NUMBER, "terms": TERMS, "verdict": str}],
    "time": {"step_s": NUMBER, "tokens_per_s": NUMBER, "mfu": (float, type(None)), "hours": BAND},
    "cost": {"gpu_hours": NUMBER, "usd": (dict, type(None))},
    "energy": {"kwh": (dict, type(None)), "kg_co2e": (dict, type(None))},
    "layout": {**dict.fromkeys(("dp", "zero", "tp", "pp", "cp", "ep", "micro_batch", "grad_accum"), int), "recompute": str},
    "warnings": list,
}  # fmt: skip
"""What the design promises of `tuitrain plan --json`: keys and types; more keys may be there."""


def check(found: object, promised: object, path: str) -> None:
    if isinstance(promised, dict):
        assert isinstance(found, dict), path
        for key, kind in promised.items():
            assert key in found, f"{path}.{key}"
            check(found[key], kind, f"{path}.{key}")
    elif isinstance(promised, list):
        assert isinstance(found, list), path
        assert found, path
        for each in found:
            check(each, promised[0], path)
    else:
        assert isinstance(found, promised), f"{path}: {found!r}"  # type: ignore[arg-type]
        assert not isinstance(found, bool), path


def test_json_keeps_its_contract(made: Plan) -> None:
    report = json.loads(json.dumps(to_dict(made), allow_nan=False))
    check(report, CONTRACT, "plan")
    request, layout = made.request, report["layout"]
    assert [layout[axis] for axis in ("dp", "tp", "pp", "cp", "ep")] == [
        getattr(request.mesh, axis) for axis in ("dp", "tp", "pp", "cp", "ep")
    ]
    assert (report["loss"]["predicted"] is None) == (request.adapter is not None or request.reference != "none")
    trained = report["model"]["trainable_parameters"]
    assert (trained < report["model"]["parameters"]) == (request.adapter is not None)
    assert (report["model"]["active_parameters"] < report["model"]["parameters"]) == (request.shape.experts is not None)
    assert sum(report["memory"]["terms"].values()) == pytest.approx(report["memory"]["peak_bytes"])


def test_json_is_in_base_units(made: Plan) -> None:
    """Tied to each other, so that a figure in GiB, milliseconds or hours cannot hide."""
    report = to_dict(made)
    time, devices = report["time"], made.request.mesh.devices
    assert report["memory"]["capacity_bytes"] == made.request.hardware.memory_bytes > 2**30
    assert time["tokens_per_s"] == pytest.approx(report["tokens"]["tokens_per_step"] / time["step_s"])
    assert time["hours"]["mid"] == pytest.approx(report["tokens"]["steps"] * time["step_s"] / 3600)
    assert report["cost"]["gpu_hours"] == pytest.approx(time["hours"]["mid"] * devices)
    assert report["compute"]["total_flop"] == pytest.approx(report["compute"]["flop_per_token"] * report["tokens"]["planned"])
    if report["energy"]["kwh"] is not None:
        watts = 1000 * report["energy"]["kwh"]["mid"] / report["cost"]["gpu_hours"]
        assert 10 < watts < 2000


@pytest.mark.parametrize("width", [60, 100, 140])
def test_text_stays_within_its_width_and_units_beside_their_numbers(width: int, made: Plan) -> None:
    rows = to_text(made, width).partition("\nmemory per device of")
    assert rows[0].isascii()
    for line in rows[0].splitlines():
        assert len(line) <= width, line
        assert not re.match(r" +(?:d|h|min|s|ms|[KMGT]iB|kWh|FLOP)\b", line), line
    assert "e+" not in rows[0]


def test_markdown_and_the_page_hold_what_the_text_holds(made: Plan) -> None:
    markdown, page = to_markdown(made), to_html(made)
    assert {line.count("|") for line in markdown.splitlines() if line.startswith("| backward")} == {len(GROUPS) + 3}
    peak = next(line for line in page.split("<tr>") if "(the peak)" in line)
    shown = [float(width) for width in re.findall(r'<i style="width:([\d.]+)%', peak)]
    widest = max([made.memory.capacity_bytes, made.memory.step.peak.value])
    if made.request.mesh.devices > 1:
        widest = max(widest, *(each.step.peak.value for each in made.memory_by_stage))
    assert sum(shown) == pytest.approx(100 * made.memory.step.peak.value / widest, abs=0.01)
    for text in (markdown, page):
        assert "None" not in text
        assert "Quantity(" not in text


def test_names_are_escaped_on_the_page_and_make_no_column_in_markdown() -> None:
    request = request_of("lora")
    named = plan(replace(request, shape=replace(request.shape, name="<i>a|b")))
    assert "<i>a|b" not in to_html(named)
    assert {line.count("|") for line in to_markdown(named).splitlines() if line.startswith("| model")} == {3}
