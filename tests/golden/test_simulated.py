"""The planner against the trainer's own step on fake tensors: 64 layouts of two models (data/make_simulated.py wrote them).

bf16-mixed, AdamW; one device, and ZeRO-3 over 2, 8 and 64. Planned bytes are without the runtime's, which no tracker sees.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from tuitrain_planners import find_shape, framework, optimizer, recipe, step_memory
from tuitrain_planners.memory.sharding import Sharding

DATA = Path(__file__).parent / "data"
PRESETS = Path(__file__).parents[2] / "presets" / "models"
TOLERANCE = 0.03
HEADER, *LINES = (DATA / "simulated.csv").read_text().splitlines()
CELLS = list(csv.DictReader(LINES))


def name(cell: dict[str, str]) -> str:
    return (
        f"{cell['model']}-{cell['devices']} devices-recompute {cell['recompute']}-micro-batch {cell['micro_batch']}"
        f"-{cell['loss_head']}"
    )


def planned_peak(cell: dict[str, str]) -> float:
    devices = int(cell["devices"])
    memory = step_memory(
        find_shape(PRESETS, cell["model"]), seq_len=int(cell["seq_len"]), micro_batch=int(cell["micro_batch"]),
        precision=recipe("bf16-mixed"), optimizer=optimizer("adamw"), device="gpu", recompute=cell["recompute"],
        loss=cell["loss_head"],
        sharding=Sharding(framework=framework("tuitrain"), stage=3 if devices > 1 else 0, ranks=devices),
    )  # fmt: skip
    return max(phase.value - phase.term("runtime").value for phase in memory.phases if phase.name != "save")


def test_the_file_holds_the_whole_grid() -> None:
    assert len(CELLS) == 2 * 4 * 2 * 2 * 2
    assert len({name(cell) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_the_planned_peak_is_the_traced_peak(cell: dict[str, str], request: pytest.FixtureRequest) -> None:
    if reason := known_to_differ(cell):
        request.node.add_marker(pytest.mark.xfail(reason=reason))
    assert planned_peak(cell) == pytest.approx(int(cell["peak_bytes"]), rel=TOLERANCE), f"traced in {cell['peak_phase']}"


TIED_SUM = (
    "one device, tied: the trace keeps three tables when the embedding's gradient is added to the head's: autograd never "
    "adds in place under a dispatch mode; real steps have two"
)


def known_to_differ(cell: dict[str, str]) -> str | None:
    """Why a cell is not planned to 3 %; None where it is."""
    recomputed = (cell["model"], cell["devices"], cell["recompute"]) == ("smollm2-135m", "1", "full")
    return TIED_SUM if recomputed and cell["micro_batch"] == "1" and cell["loss_head"] == "chunked" else None


def test_a_cell_simulated_again_is_what_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.__version__.partition("+")[0] not in HEADER:
        pytest.skip(f"the file is of another torch than {torch.__version__}: {HEADER}")
    monkeypatch.setattr(sys, "path", [str(DATA), *sys.path])
    import make_simulated

    cell = next(each for each in CELLS if name(each) == "smollm2-135m-8 devices-recompute full-micro-batch 1-plain")
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
            framework="fsdp2-hf",
            loss="plain",
            recompute=recompute,
            reshard=reshard,
        )
    )
    assert found["peak_bytes"] / 2**30 == pytest.approx(traced_gib, rel=1e-3)
