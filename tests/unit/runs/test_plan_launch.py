"""What can be launched, what cannot and why, and that the configuration trains what was planned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuitrain.config.dump import to_toml
from tuitrain.config.load import load_config
from tuitrain.config.resolve import resolve
from tuitrain.runs.home import presets_dir
from tuitrain.runs.known_models import known_models
from tuitrain.runs.machine import Machine
from tuitrain.runs.plan_launch import refusal, run_config, run_name
from tuitrain.runs.planning import request_for
from tuitrain_planners import Adapter, Mesh, PlanRequest, by_depth, count_parameters, find_hardware, find_shape, measured

HERE = measured(memory_bytes=16e9, rates=[(64, 1e9), (384, 1e10)])
MACHINE = Machine(
    cpu="a CPU", physical_cores=2, usable_cores=2, memory_bytes=16 << 30, available_bytes=8 << 30, cpu_flags=frozenset(),
    gpus=(), gpu_reason="none",
)  # fmt: skip
SMALL = PlanRequest(
    shape=by_depth(4, 32768), hardware=HERE, seq_len=512, micro_batch=4, grad_accum=2, precision="fp32", optimizer="muon"
)


@pytest.mark.parametrize("model", ["d4", "smollm2-135m", "qwen3-0.6b"])
def test_the_configuration_trains_what_was_planned(model, tmp_path):
    shape = SMALL.shape if model == "d4" else find_shape(presets_dir() / "models", model)
    request = replace(SMALL, shape=shape, mesh=Mesh(dp=2))
    assert refusal(request) == ""
    path = tmp_path / "run.toml"
    path.write_text(to_toml(run_config(request, 5e7, model, run_name(model)), comment="planned"))
    again = request_for(resolve(load_config(path), MACHINE).config, HERE)
    assert count_parameters(again.shape).value == count_parameters(shape).value
    for name in ("seq_len", "micro_batch", "grad_accum", "mesh", "precision", "optimizer", "recompute", "loss_head", "zero"):
        assert getattr(again, name) == getattr(request, name), name
    assert again.tokens == 5e7


@pytest.mark.parametrize(
    "layout",
    [
        {"zero": 1, "mesh": Mesh(dp=4), "shard_group": 2},
        {"zero": 2, "mesh": Mesh(dp=4), "shard_group": 2},
        {"zero": 3, "offload": "all"},
        {"zero": 3, "reshard": False},
    ],
)
def test_sharding_reaches_the_run(layout, tmp_path):
    request = replace(SMALL, **{"mesh": Mesh(dp=2), **layout})
    assert refusal(request) == ""
    path = tmp_path / "run.toml"
    path.write_text(to_toml(run_config(request, 5e7, "d4", "d4")))
    again = request_for(resolve(load_config(path), MACHINE).config, HERE)
    for name in ("zero", "mesh", "reshard", "offload", "shard_group"):
        assert getattr(again, name) == getattr(request, name), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hardware": find_hardware(presets_dir() / "hardware", "h100-80gb")}, "not for this machine"),
        ({"adapter": Adapter()}, "presets/recipes/sft"),
        ({"shape": find_shape(presets_dir() / "models", "gpt2"), "seq_len": 512}, "not among the trainer's"),
        ({"mesh": Mesh(dp=2), "zero": 1, "offload": "all"}, "parallel.zero = 3, or 2"),
        ({"mesh": Mesh(dp=2), "zero": 2, "offload": "optimizer"}, "all states or none"),
        ({"mesh": Mesh(dp=4), "shard_group": 2}, "parallel.zero = 1, 2 or 3"),
        ({"mesh": Mesh(tp=2)}, "only data parallelism"),
    ],
)
def test_what_cannot_be_trained_says_why(change, said):
    assert said in refusal(replace(SMALL, **change))


def test_what_does_not_fit_is_not_launched():
    assert "does not fit" in refusal(SMALL, verdict="oom")


@pytest.mark.parametrize(("model", "name"), [("d4", "d4"), ("some where/config.json", "some-where-config.json"), ("", "plan")])
def test_names_of_runs_are_names(model, name):
    assert run_name(model) == name


def test_known_models_name_their_source_and_lie_where_they_should():
    known = known_models()
    assert len({each.name for each in known}) == len(known) > 25
    for each in known:
        assert "http" in each.source, each.name
        assert 1 < each.tokens / each.parameters < 70_000, each.name
    at = {each.name: each for each in known}
    assert at["gpt3-175b"].tokens / at["gpt3-175b"].parameters == pytest.approx(1.7, abs=0.05)
    assert at["chinchilla-70b"].tokens / at["chinchilla-70b"].parameters == pytest.approx(20, abs=1)
    assert "gopher-280b" in at
    assert "deepseek-v3" not in at, "laws of loss are about dense models"


@pytest.mark.parametrize(("name", "size"), [("gpt2", 50_304), ("cl100k_base", 100_288), ("o200k_base", 200_064)])
def test_published_vocabularies_are_planned_at_their_size(name, size):
    asked = load_config(None, ["tokenizer.kind=tiktoken", f"tokenizer.name={name}"])
    assert request_for(resolve(asked, MACHINE).config, HERE).shape.vocab_size == size, "in whole tiles of 64"
