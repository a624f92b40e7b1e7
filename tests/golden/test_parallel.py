"""ZeRO 0 to 3 on 2, 8 and 64 ranks: the planner against the trainer's own step as one rank sees it, bytes held and bytes sent.

data/make_parallel.py wrote the cells: Llama-3-8B and SmolLM2-135M, recompute or not, micro-batches of 1 and 4; of the small one
accumulation, HSDP and Muon too. Planned bytes are without the runtime's, which no tracker sees.
"""

from __future__ import annotations

import csv
import statistics
import sys
from pathlib import Path

import pytest

from tuitrain_planners import find_shape, framework, optimizer, recipe, step_memory
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.volumes import KINDS, sent_by_kind

DATA = Path(__file__).parent / "data"
PRESETS = Path(__file__).parents[2] / "presets" / "models"
TOLERANCE, VOLUME_TOLERANCE = 0.03, 0.02
MEDIAN_ERROR, WORST_ERROR, WORST_VOLUME = 0.001, 0.01, 0.001
HEADER, *LINES = (DATA / "parallel.csv").read_text().splitlines()
CELLS = list(csv.DictReader(LINES))
PLANNED_PHASES = ("loss", "backward_start", "optimizer")
"""Of the others one recomputed layer, or a micro-batch that is not the fullest, is not planned; they are never the peak."""


def name(cell: dict[str, str]) -> str:
    return (
        f"{cell['model']}-{cell['ranks']} ranks-ZeRO-{cell['zero']}-recompute {cell['recompute']}"
        f"-{cell['grad_accum']} x {cell['micro_batch']}-group {cell['shard_group'] or 'all'}-{cell['moved_by']}"
    )


def sharding_of(cell: dict[str, str]) -> Sharding:
    ranks, group = int(cell["ranks"]), int(cell["shard_group"] or cell["ranks"])
    return Sharding(framework=framework("tuitrain"), stage=int(cell["zero"]), ranks=group, replicas=ranks // group)


def planned(cell: dict[str, str]) -> dict[str, float]:
    """Bytes of every phase."""
    memory = step_memory(
        find_shape(PRESETS, cell["model"]), seq_len=int(cell["seq_len"]), micro_batch=int(cell["micro_batch"]),
        micro_batches=int(cell["grad_accum"]), precision=recipe("bf16-mixed"), optimizer=optimizer(cell["moved_by"]),
        device="gpu", recompute=cell["recompute"], loss="chunked", sharding=sharding_of(cell),
    )  # fmt: skip
    return {phase.name: phase.value - phase.term("runtime").value for phase in memory.phases if phase.name != "save"}


def planned_sent(cell: dict[str, str]) -> dict[str, float]:
    """Bytes sent by kind, 0 where there is none of it."""
    sent = sent_by_kind(
        find_shape(PRESETS, cell["model"]), recipe("bf16-mixed"), sharding_of(cell),
        micro_steps=int(cell["grad_accum"]), optimizer=optimizer(cell["moved_by"]),
    )  # fmt: skip
    return {kind: sent[kind].value if kind in sent else 0.0 for kind in KINDS}


def test_the_file_holds_the_whole_grid() -> None:
    assert len(CELLS) == 2 * 3 * 4 * 2 * 2 + 8 + 4 + 4
    assert len({name(cell) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_the_planned_peak_is_the_traced_peak(cell: dict[str, str]) -> None:
    assert max(planned(cell).values()) == pytest.approx(int(cell["peak_bytes"]), rel=TOLERANCE), cell["peak_phase"]


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_phases_that_can_be_the_peak_are_as_traced(cell: dict[str, str]) -> None:
    found = planned(cell)
    for phase in PLANNED_PHASES:
        assert found[phase] == pytest.approx(int(cell[phase]), rel=TOLERANCE), phase


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_what_a_rank_sends_is_what_was_planned(cell: dict[str, str]) -> None:
    """Norms and counts that ranks agree on are a few bytes of all-reduce in every step; nobody plans them."""
    for kind, sent in planned_sent(cell).items():
        assert sent == pytest.approx(int(cell[f"sent_{kind}"]), rel=VOLUME_TOLERANCE, abs=1000), kind


def test_errors_are_as_the_index_of_formulas_says() -> None:
    errors = [abs(max(planned(cell).values()) / int(cell["peak_bytes"]) - 1) for cell in CELLS]
    assert statistics.median(errors) < MEDIAN_ERROR
    assert max(errors) < WORST_ERROR
    sent = [sum(planned_sent(cell).values()) / sum(int(cell[f"sent_{kind}"]) for kind in KINDS) - 1 for cell in CELLS]
    assert max(map(abs, sent)) < WORST_VOLUME


def simulated_again(cell: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.__version__.partition("+")[0] not in HEADER:
        pytest.skip(f"the file is of another torch than {torch.__version__}: {HEADER}")
    monkeypatch.setattr(sys, "path", [str(DATA), *sys.path])
    import make_parallel

    numbers = {key: int(cell[key]) for key in ("seq_len", "ranks", "zero", "micro_batch", "grad_accum")}
    texts = {key: cell[key] for key in ("model", "recompute", "shard_group", "moved_by")}
    again = make_parallel.traced(make_parallel.Cell(**numbers, **texts))
    assert {key: str(value) for key, value in again.items()}.items() <= cell.items()


FEW = [cell for cell in CELLS if cell["model"] == "smollm2-135m" and cell["ranks"] == "2" and cell["micro_batch"] == "1"]


@pytest.mark.parametrize("cell", [cell for cell in FEW if cell["recompute"] == "none"], ids=name)
def test_every_stage_simulated_again_is_what_the_file_says(cell: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    simulated_again(cell, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_the_grid_simulated_again_is_what_the_file_says(cell: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    simulated_again(cell, monkeypatch)
