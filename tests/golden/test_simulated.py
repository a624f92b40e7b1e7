"""The planner against the trainer's own step on fake tensors: 88 layouts of four models (data/make_simulated.py wrote them).

bf16-mixed; AdamW on one device, and of two models ZeRO-3 over 2, 8 and 64; Muon on one device. Planned bytes are without the
runtime's, which no tracker sees.
"""

from __future__ import annotations

import csv
import statistics
import sys
from pathlib import Path

import pytest

from tuitrain_planners import ModelShape, by_depth, find_shape, framework, optimizer, recipe, step_memory
from tuitrain_planners.memory.sharding import Sharding

DATA = Path(__file__).parent / "data"
PRESETS = Path(__file__).parents[2] / "presets" / "models"
TOLERANCE = 0.03
MEDIAN_ERROR, WORST_ERROR = 0.0005, 0.01
NANOCHAT_VOCAB = 65_536
HEADER, *LINES = (DATA / "simulated.csv").read_text().splitlines()
CELLS = list(csv.DictReader(LINES))


def name(cell: dict[str, str]) -> str:
    return (
        f"{cell['model']}-{cell['devices']} devices-recompute {cell['recompute']}-micro-batch {cell['micro_batch']}"
        f"-{cell['loss_head']}-{cell['moved_by']}"
    )


def shape_of(model: str) -> ModelShape:
    return by_depth(4, NANOCHAT_VOCAB) if model == "nanochat-d4" else find_shape(PRESETS, model)


def planned(cell: dict[str, str]) -> dict[str, float]:
    """Bytes of every phase."""
    devices = int(cell["devices"])
    memory = step_memory(
        shape_of(cell["model"]), seq_len=int(cell["seq_len"]), micro_batch=int(cell["micro_batch"]),
        precision=recipe("bf16-mixed"), optimizer=optimizer(cell["moved_by"]), device="gpu", recompute=cell["recompute"],
        loss=cell["loss_head"],
        sharding=Sharding(framework=framework("tuitrain"), stage=3 if devices > 1 else 0, ranks=devices),
    )  # fmt: skip
    return {phase.name: phase.value - phase.term("runtime").value for phase in memory.phases if phase.name != "save"}


def test_the_file_holds_the_whole_grid() -> None:
    assert len(CELLS) == 2 * 4 * 2 * 2 * 2 + 2 * 2 * 2 * 2 + 2 * 2 * 2
    assert len({name(cell) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_the_planned_peak_is_the_traced_peak(cell: dict[str, str]) -> None:
    peak = max(planned(cell).values())
    assert peak == pytest.approx(int(cell["peak_bytes"]), rel=TOLERANCE), f"traced in {cell['peak_phase']}"


@pytest.mark.parametrize("phase", ["loss", "backward_start", "backward_end", "backward_embedding", "optimizer"])
@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_a_planned_phase_is_the_traced_phase(cell: dict[str, str], phase: str) -> None:
    """The forward pass is left out: what a recomputed layer holds for itself is not planned there, and it is no peak."""
    assert planned(cell)[phase] == pytest.approx(int(cell[phase]), rel=TOLERANCE)


def test_errors_are_as_the_index_of_formulas_says() -> None:
    errors = [abs(max(planned(cell).values()) / int(cell["peak_bytes"]) - 1) for cell in CELLS]
    assert statistics.median(errors) < MEDIAN_ERROR
    assert max(errors) < WORST_ERROR


def test_a_cell_simulated_again_is_what_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.__version__.partition("+")[0] not in HEADER:
        pytest.skip(f"the file is of another torch than {torch.__version__}: {HEADER}")
    monkeypatch.setattr(sys, "path", [str(DATA), *sys.path])
    import make_simulated

    cell = next(each for each in CELLS if name(each) == "smollm2-135m-8 devices-recompute full-micro-batch 1-plain-adamw")
    asked = make_simulated.Cell(
        model=cell["model"], seq_len=int(cell["seq_len"]), devices=8, recompute="full", micro_batch=1, loss_head="plain"
    )
    assert {key: str(value) for key, value in make_simulated.traced(asked).items()}.items() <= cell.items()


@pytest.mark.slow
@pytest.mark.parametrize(("recompute", "reshard", "traced_gib"), [("none", True, 74.61), ("full", True, 27.58)])
def test_transformers_under_fsdp2_is_what_another_tracker_found(recompute: str, reshard: bool, traced_gib: float) -> None:
    """Llama-3-8B on 8 ranks, s = 8192: torch's FSDPMemTracker gave these, without any code of this project."""
    from tuitrain.cli.plan_simulate import shape_fields
    from tuitrain.trainer.simulate import Request, simulate

    found = simulate(
        Request(
            shape=shape_fields(find_shape(PRESETS, "llama-3-8b")),
            seq_len=8192,
            ranks=8,
            zero=3,
            framework="fsdp2-hf",
            loss="plain",
            recompute=recompute,
            reshard=reshard,
        )
    )
    assert found["peak_bytes"] / 2**30 == pytest.approx(traced_gib, rel=1e-3)
