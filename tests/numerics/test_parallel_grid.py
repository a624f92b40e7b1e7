"""Every ZeRO stage, on 2 and 4 processes, trains as one process does: losses, gradients and weights over ten steps in fp32."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from support.grid import Case, apart, over, train
from support.tiny import ALONE

LIMIT = 1e-5


def stages(**facts: Any) -> list[Case]:
    return [Case(zero=zero, **facts) for zero in (0, 1, 2, 3)]  # type: ignore[arg-type]


TWO = [
    *stages(),
    *stages(model="tied", micro_batch=8, head="plain"),
    *stages(optimizer="muon"),
    *stages(model="llama", packed=True),
    *stages(model="lora"),
    *stages(model="qlora")[1:],
    Case(model="qlora-tied", zero=3, recompute="full"),
    Case(zero=3, reshard=False, recompute="full"),
    Case(zero=3, recompute="full", packed=True),
    Case(zero=2, offload=True),
    Case(zero=3, offload=True, optimizer="muon"),
    Case(model="llama", zero=3, recompute="full", micro_batch=8),
    Case(model="gpt2", zero=3),
]
FOUR = [*stages(), *stages(model="tied", optimizer="muon"), *stages(shard_group=2)[1:], Case(model="lora", zero=3, packed=True)]
WIDE = [
    replace(each, recompute=recompute, packed=packed, micro_batch=micro_batch)
    for model in ("native", "tied", "llama", "lora")
    for each in stages(model=model)
    for recompute in ("none", "full")
    for packed in (False, True)
    for micro_batch in (1, 4)
]


@cache
def alone(case: Case) -> dict[str, Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train(case.alone, ALONE)
    finally:
        torch.set_num_threads(threads)


def check(processes: int, cases: list[Case], folder: Path) -> None:
    wrong = []
    for case, found in zip(cases, over(processes, [asdict(each) for each in cases], folder), strict=True):
        want = alone(case)
        errors = {
            "loss": max(abs(one / two - 1) for one, two in zip(found["loss"], want["loss"], strict=True)),
            "grad_norm": max(abs(one / two - 1) for one, two in zip(found["grad_norm"], want["grad_norm"], strict=True)),
            "gradients": apart(found["gradients"], want["gradients"]),
            "weights": apart(found["weights"], want["weights"]),
        }
        if case.model == "gpt2":  # its key biases have gradients of nothing but rounding, which Adam makes full steps of
            del errors["weights"]
        wrong += [f"{case.name}: {name} differs by {error:.1e}" for name, error in errors.items() if not error <= LIMIT]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("processes", "cases"), [(2, TWO), (4, FOUR)], ids=["2", "4"])
def test_every_stage_trains_as_one_process_does(processes: int, cases: list[Case], tmp_path: Path) -> None:
    check(processes, cases, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", [2, 4])
def test_every_stage_with_everything_trains_as_one_process_does(processes: int, tmp_path: Path) -> None:
    check(processes, WIDE, tmp_path)
