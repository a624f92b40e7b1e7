"""A checkpoint does not depend on the layout: saved by 4 processes, or 1, it is continued by 1, 2 or 4 under any stage, with
the losses of a run that was never interrupted. It is written in the background, while training goes on."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.grid import STEPS, Case, apart, over, torchrun, train
from support.tiny import ALONE

from tuitrain.trainer.checkpoint import Checkpoints

SAVED = 4
LIMIT = 1e-5
WRITTEN = {
    "native-zero3": Case(zero=3),
    "tied-muon-zero2": Case(model="tied", optimizer="muon", zero=2),
    "tied-muon-zero1": Case(model="tied", optimizer="muon", zero=1),
    "native-groups": Case(zero=3, shard_group=2),
    "llama-zero3": Case(model="llama", zero=3),
    "lora-zero3": Case(model="lora", zero=3),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Checkpoints, dict[str, Any]]]:
    """Saved by four processes after step 4; what the run found then and later."""
    folder = tmp_path_factory.mktemp("written")
    cases = [asdict(case) | {"store": str(folder / name), "save_at": SAVED} for name, case in WRITTEN.items()]
    results = over(4, cases, folder / "results")
    stores = {name: Checkpoints(folder / name, keep_last=9, keep_best=False) for name in WRITTEN}
    return {name: (stores[name], found) for name, found in zip(WRITTEN, results, strict=True)}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same_from_there(found: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    """What differs of a continued run."""
    assert len(found["loss"]) == STEPS - SAVED
    errors = {
        name: max(abs(one / two - 1) for one, two in zip(found[name], whole[name][SAVED:], strict=True))
        for name in ("loss", "grad_norm")
    } | {name: apart(found[name], whole[name]) for name in ("gradients", "weights")}
    return [f"{name} differs by {error:.1e}" for name, error in errors.items() if not error <= LIMIT]


@pytest.mark.parametrize("name", WRITTEN)
def test_one_process_goes_on_from_four(name: str, written: dict[str, tuple[Checkpoints, dict[str, Any]]]) -> None:
    store, whole = written[name]
    assert store.newest_good(lambda *problem: pytest.fail(str(problem))) == SAVED
    assert not same_from_there(train(WRITTEN[name].alone, ALONE, store=store, load_at=SAVED), whole)


def test_two_processes_go_on_from_four_under_any_stage(
    written: dict[str, tuple[Checkpoints, dict[str, Any]]], tmp_path: Path
) -> None:
    asked = [
        (name, replace(WRITTEN[name], zero=zero, shard_group=None))
        for name, stages in {
            "native-zero3": (0, 1, 2, 3),
            "tied-muon-zero2": (0, 1, 3),
            "llama-zero3": (0, 2),
            "lora-zero3": (0, 1),
        }.items()
        for zero in stages
    ]
    cases = [asdict(case) | {"store": str(written[name][0].folder), "load_at": SAVED} for name, case in asked]
    wrong = [
        f"{name} under zero {case.zero}: {problem}"
        for (name, case), found in zip(asked, over(2, cases, tmp_path), strict=True)
        for problem in same_from_there(found, written[name][1])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_four_processes_go_on_from_one(tmp_path: Path) -> None:
    asked = [Case(zero=zero) for zero in (0, 1, 2, 3)] + [
        Case(zero=3, shard_group=2),
        Case(model="tied", optimizer="muon", zero=3),
    ]  # type: ignore[arg-type]
    wholes, cases = [], []
    for number, case in enumerate(asked):
        store = Checkpoints(tmp_path / str(number), keep_last=9, keep_best=False)
        wholes.append(train(case.alone, ALONE, store=store, save_at=SAVED))
        cases.append(asdict(case) | {"store": str(store.folder), "load_at": SAVED})
    for case, whole, found in zip(asked, wholes, over(4, cases, tmp_path / "results"), strict=True):
        assert not same_from_there(found, whole), case.name


def test_the_file_of_four_is_the_file_of_one(written: dict[str, tuple[Checkpoints, dict[str, Any]]], tmp_path: Path) -> None:
    """One model folder, whole, whoever wrote it."""
    for name, file in (("native-zero3", "model"), ("llama-zero3", "model"), ("lora-zero3", "adapter_model")):
        store = Checkpoints(tmp_path / name, keep_last=9, keep_best=False)
        train(WRITTEN[name].alone, ALONE, store=store, save_at=SAVED)
        one = load_file(store.path(SAVED) / f"{file}.safetensors")
        four = load_file(written[name][0].path(SAVED) / f"{file}.safetensors")
        assert one.keys() == four.keys()
        assert all(apart(four[each], one[each]) < 1e-4 for each in one), name


def test_a_save_that_fails_on_one_process_fails_on_all_and_harms_nothing(tmp_path: Path) -> None:
    said = torchrun(Path(__file__).with_name("failing_saves.py"), 2, tmp_path)
    lines = said.splitlines()
    for rank in (0, 1):
        assert sum(line.startswith(f"rank {rank}: OSError") for line in lines) == 2, said
