"""Who may import whom, proven at run time: each module is imported in a fresh interpreter and sys.modules is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "triton")
FRONT = ("textual", "typer", "rich", "click")


def loaded_by(module: str) -> set[str]:
    """Top-level names in sys.modules after importing `module`."""
    code = f"import sys, {module}; print(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["tuitrain.cli.app", "tuitrain.cli.run", "tuitrain.runs.launch", "tuitrain.runs.supervise", "tuitrain.runs.store",
     "tuitrain.events", "tuitrain.config.load", "tuitrain.config.resolve", "tuitrain.data", "tuitrain.runs.generation",
     "tuitrain.runs.demo"],
)  # fmt: skip
def test_front_and_middle_import_no_torch(module: str) -> None:
    assert not loaded_by(module) & set(HEAVY)


@pytest.mark.parametrize(
    "module", ["tuitrain.runs.launch", "tuitrain.events", "tuitrain.config.load", "tuitrain.data", "tuitrain.files"]
)
def test_the_middle_imports_no_front_end(module: str) -> None:
    assert not loaded_by(module) & set(FRONT)


def test_the_command_line_does_not_import_textual() -> None:
    assert "textual" not in loaded_by("tuitrain.cli.app")


def test_the_trainer_imports_no_front_end() -> None:
    assert not loaded_by("tuitrain.trainer.attempt") & {"textual", "typer"}


def test_this_test_can_fail() -> None:
    assert "torch" in loaded_by("torch")


def test_the_folders_bear_no_init_of_a_pypi_name() -> None:
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    assert [name for name in ("planners", "kernels", "presets", "tests") if (root / name / "__init__.py").exists()] == []
