"""Checkpoints that are whole or not there.

    checkpoints/step-00001000/   model.safetensors config.json generation_config.json tokenizer...   a Hugging Face folder
                                 (or adapter_model.safetensors adapter_config.json base.json: a peft adapter)
                                 state/          optimizer (torch.distributed.checkpoint), by parameter name
                                 trainer.json    step, position in the data, guard, loss scale, best evaluation
                                 rng.safetensors random generators of every process
                                 manifest.json   sizes and hashes, written last

A save is staged in a hidden folder, fsynced, and renamed. Whatever happens meanwhile - a kill, a full disk - the
checkpoints that were there stay as they are. Reading verifies the hashes; what fails is passed over by name.

Nothing in it depends on how many processes wrote it, nor on how they shared the model: weights are brought together tensor by
tensor, states are laid down in pieces that any number of processes can read. A draft may be written by a thread while training
goes on; there is one at a time, so what it costs in memory is one copy.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from tuitrain.errors import CheckpointError
from tuitrain.files import fsync_dir, read_json, write_json
from tuitrain.model.stream import Piece, write_stream
from tuitrain.trainer.manifest import problem_with, write_manifest
from tuitrain.trainer.optim import Optimizers
from tuitrain.trainer.optimizer_files import copied, load_optimizer, save_optimizer, tensors_of
from tuitrain.trainer.parallel.side import ALONE, Side
from tuitrain.trainer.weights import Weights

_PREFIX = "step-"
_SPARE_BYTES = 64 << 20
"""Room left on the disk beyond the checkpoint itself, for logs and the status file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A finished save."""

    path: Path
    bytes: int
    removed: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """Everything a checkpoint will hold, as this process has it."""

    step: int
    weights: Weights
    pieces: list[Piece]
    optimizer: dict[str, Any]
    cut: bool
    """Whether every process has a part of the optimizer's states; else each has all of them."""
    trainer: dict[str, Any]
    rng: list[dict[str, torch.Tensor]]
    best_step: int | None
    need_bytes: int


@dataclass(slots=True)
class Checkpoints:
    """The checkpoints of one run. `good` are the steps known to be whole; only those count for retention."""

    folder: Path
    keep_last: int
    keep_best: bool
    good: set[int] = field(default_factory=set)

    def path(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return self.folder / f"{_PREFIX}{step:08d}"

    def steps(self) -> list[int]:
        """Steps with a folder, ascending, whole or not."""
        if not self.folder.is_dir():
            return []
        names = [each.name.removeprefix(_PREFIX) for each in self.folder.iterdir() if each.name.startswith(_PREFIX)]
        return sorted(int(name) for name in names if name.isdigit())

    def newest_good(self, report: Callable[[str, str], None], *, before: int | None = None) -> int | None:
        """The newest whole checkpoint. `report(name, problem)` is called for every newer one that is not."""
        for step in reversed(self.steps()):
            if before is not None and step > before:
                continue
            problem = problem_with(self.path(step))
            if problem is None:
                self.good.add(step)
                return step
            report(self.path(step).name, problem)
        return None

    def draft(
        self,
        step: int,
        weights: Weights,
        optimizers: Optimizers,
        trainer_state: dict[str, Any],
        rng_states: list[dict[str, torch.Tensor]],
        *,
        best_step: int | None,
        side: Side = ALONE,
        apart: bool = False,
    ) -> Draft:
        """What the checkpoint of `step` will hold; collective. `apart`: in host memory of its own, so that training may go on
        while it is written."""
        pieces, state = weights.pieces(), {"optimizer": optimizers.state_dict()}
        cut = any(isinstance(each, DTensor) for each in tensors_of(state))
        if apart:
            pieces = [each.copied(side.rank) for each in pieces]
            # Whole states are written by the main process alone: the others need no copy.
            state = copied(state) if cut or side.is_main else {}
        return Draft(
            step=step, weights=weights, pieces=pieces, optimizer=state, cut=cut, trainer=trainer_state, rng=rng_states,
            best_step=best_step, need_bytes=estimate_bytes(weights, optimizers),
        )  # fmt: skip

    def write(self, draft: Draft, side: Side = ALONE, *, moved: Callable[[], None] = lambda: None) -> Saved:
        """Write a draft; collective. Any failure leaves the other checkpoints untouched, and the staged pieces are removed.
        `moved` is called with every tensor and file."""
        stage = self.folder / f".staging-{_PREFIX}{draft.step:08d}"
        try:
            with _together(side):
                if side.is_main:
                    self._begin(stage, draft.need_bytes)
            with _together(side):
                write_stream(
                    stage / draft.weights.file if side.is_main else None, draft.pieces, side.to_main, moved=moved
                )  # fmt: skip
            moved()
            with _together(side):
                save_optimizer(draft.optimizer, stage / "state", side, cut=draft.cut)
            moved()
            with _together(side):
                return self._complete(draft, stage) if side.is_main else Saved(path=self.path(draft.step), bytes=0, removed=[])
        except BaseException:
            if side.is_main:
                shutil.rmtree(stage, ignore_errors=True)
            raise

    def save(
        self,
        step: int,
        weights: Weights,
        optimizers: Optimizers,
        trainer_state: dict[str, Any],
        rng_states: list[dict[str, torch.Tensor]],
        *,
        best_step: int | None,
        side: Side = ALONE,
    ) -> Saved:
        """Draft and write at once."""
        draft = self.draft(step, weights, optimizers, trainer_state, rng_states, best_step=best_step, side=side)
        return self.write(draft, side)

    def _begin(self, stage: Path, need_bytes: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < need_bytes + _SPARE_BYTES:
            need = f"{(need_bytes + _SPARE_BYTES) / 2**20:.0f} MiB"
            raise OSError(errno.ENOSPC, f"a checkpoint needs {need}, {free / 2**20:.0f} MiB are free")
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()

    def _complete(self, draft: Draft, stage: Path) -> Saved:
        draft.weights.write_beside(stage)
        _save_rng(draft.rng, stage / "rng.safetensors")
        write_json(stage / "trainer.json", draft.trainer)
        size = write_manifest(stage)
        self._promote(stage, draft.step)
        self.good.add(draft.step)
        return Saved(path=self.path(draft.step), bytes=size, removed=self._retire(draft.best_step))

    def load(self, step: int, weights: Weights, optimizers: Optimizers) -> dict[str, Any]:
        """Restore weights and optimizer of a verified checkpoint, in place. Returns the trainer state."""
        folder = self.path(step)
        weights.read(folder)
        load_optimizer(optimizers, folder / "state")
        state = read_json(folder / "trainer.json")
        if not isinstance(state, dict):
            raise CheckpointError(f"{folder.name}/trainer.json cannot be read", "resume from an earlier checkpoint")
        return state

    def load_rng(self, step: int) -> list[dict[str, torch.Tensor]]:
        """Random generators of every process at that checkpoint."""
        from safetensors.torch import load_file

        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(self.path(step) / "rng.safetensors").items():
            rank, kind = name.split(".")
            states.setdefault(int(rank), {})[kind] = tensor
        return [states[rank] for rank in sorted(states)]

    def clean_up(self) -> None:
        """Remove what a killed save left staged."""
        if self.folder.is_dir():
            for each in self.folder.iterdir():
                if each.name.startswith((".staging-", ".replaced-")):
                    shutil.rmtree(each, ignore_errors=True)

    def _promote(self, stage: Path, step: int) -> None:
        target, replaced = self.path(step), self.folder / f".replaced-{_PREFIX}{step:08d}"
        if target.exists():  # a run that resumed from before it has come here again
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        stage.rename(target)
        fsync_dir(self.folder)
        shutil.rmtree(replaced, ignore_errors=True)

    def _retire(self, best_step: int | None) -> list[str]:
        keep = set(sorted(self.good)[-self.keep_last :])
        if self.keep_best and best_step is not None:
            keep.add(best_step)
        removed = []
        for step in sorted(self.good - keep):
            shutil.rmtree(self.path(step), ignore_errors=True)
            self.good.discard(step)
            removed.append(self.path(step).name)
        return removed


def estimate_bytes(weights: Weights, optimizers: Optimizers) -> int:
    """Bytes a checkpoint will take: weights, and the optimizer state there is."""
    state = sum(
        value.numel() * value.element_size()
        for optimizer in optimizers.all
        for entry in optimizer.state.values()
        for value in entry.values()
        if isinstance(value, torch.Tensor)
    )
    return weights.num_bytes() + state


@contextmanager
def _together(side: Side) -> Iterator[None]:
    """What fails on one process fails on all of them, with its words: none may wait for another that has given up."""
    problem, error = None, None
    try:
        yield
    except Exception as found:
        problem, error = f"{type(found).__name__}: {found}".splitlines()[0][:300], found
    said = side.agree(problem)
    if error is not None:
        raise error
    if said is not None:
        raise OSError(errno.EIO, said)


def _save_rng(states: list[dict[str, torch.Tensor]], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({f"{rank}.{kind}": tensor for rank, state in enumerate(states) for kind, tensor in state.items()}, path)


def rng_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Random generators of this process."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Continue the random generators of this process."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
