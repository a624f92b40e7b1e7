"""Checkpoints that are whole or not there.

    checkpoints/step-00001000/   model.safetensors config.json generation_config.json tokenizer...   a Hugging Face folder
                                 (or adapter_model.safetensors adapter_config.json base.json: a peft adapter)
                                 state/          optimizer (torch.distributed.checkpoint), by parameter name
                                 trainer.json    step, position in the data, guard, loss scale, best evaluation
                                 rng.safetensors random generators of every process
                                 manifest.json   sizes and hashes, written last

A save is staged in a hidden folder, fsynced, and renamed. Whatever happens meanwhile - a kill, a full disk - the
checkpoints that were there stay as they are. Reading verifies the hashes; what fails is passed over by name.
"""

from __future__ import annotations

import errno
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tuitrain.errors import CheckpointError
from tuitrain.files import fsync_dir, read_json, write_json
from tuitrain.trainer.manifest import problem_with, write_manifest
from tuitrain.trainer.optim import Optimizers
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

    def save(
        self,
        step: int,
        weights: Weights,
        optimizers: Optimizers,
        trainer_state: dict[str, Any],
        rng_states: list[dict[str, torch.Tensor]],
        *,
        best_step: int | None,
    ) -> Saved:
        """Write the checkpoint of `step`. Any failure leaves the others untouched, and the staged pieces are removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_room(weights, optimizers)
        stage = self.folder / f".staging-{_PREFIX}{step:08d}"
        shutil.rmtree(stage, ignore_errors=True)
        try:
            stage.mkdir()
            weights.write(stage)
            _save_optimizer(optimizers, stage / "state")
            _save_rng(rng_states, stage / "rng.safetensors")
            write_json(stage / "trainer.json", trainer_state)
            size = write_manifest(stage)
            self._promote(stage, step)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        self.good.add(step)
        return Saved(path=self.path(step), bytes=size, removed=self._retire(best_step))

    def load(self, step: int, weights: Weights, optimizers: Optimizers) -> dict[str, Any]:
        """Restore weights and optimizer of a verified checkpoint, in place. Returns the trainer state."""
        folder = self.path(step)
        weights.read(folder)
        _load_optimizer(optimizers, folder / "state")
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

    def _make_room(self, weights: Weights, optimizers: Optimizers) -> None:
        need = estimate_bytes(weights, optimizers) + _SPARE_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < need:
            raise OSError(errno.ENOSPC, f"a checkpoint needs {need / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free")

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


def _save_optimizer(optimizers: Optimizers, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_saver import save

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "torch.distributed is disabled, unavailable or uninitialized": meant so
        save({"optimizer": optimizers.state_dict()}, checkpoint_id=folder, no_dist=True)


def _load_optimizer(optimizers: Optimizers, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict_loader import load

    state = {"optimizer": optimizers.state_dict()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(state, checkpoint_id=folder, no_dist=True)
    optimizers.load_state_dict(state["optimizer"])


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
