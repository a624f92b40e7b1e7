"""When the run is saved and restored: the checkpoint store, seen from the loop."""

from __future__ import annotations

import time

from tuitrain.trainer.checkpoint import rng_state, set_rng_state
from tuitrain.trainer.setup import Setup
from tuitrain.trainer.state import TrainState


class Saver:
    """Saves a run's state and brings it back. A failed save is told, and is nobody's end."""

    def __init__(self, setup: Setup, state: TrainState) -> None:
        self._setup, self._state = setup, state

    def save(self, reason: str) -> bool:
        """Write a checkpoint of the present step; one that is there already is enough. True when it is on disk."""
        setup = self._setup
        rng = setup.world.gather(rng_state(setup.world.device))
        ok = True
        if setup.world.is_main and self._state.position.step not in setup.checkpoints.good:
            setup.telemetry.phase("checkpoint", f"step {self._state.position.step}")
            ok = self._write(reason, rng)
        return bool(setup.world.from_main(ok))

    def restore(self, step: int) -> None:
        """Weights, optimizer, statistics, position and random generators of a verified checkpoint."""
        setup = self._setup
        raw = setup.checkpoints.load(step, setup.weights, setup.optimizers)
        self._state.load(raw)
        if raw["data_hash"] != setup.data.content_hash:
            setup.telemetry.warn(
                "the data is not what the checkpoint was trained on", "the run goes on from the same position in the new data"
            )
        rng = setup.checkpoints.load_rng(step)
        if setup.world.rank < len(rng):
            set_rng_state(rng[setup.world.rank], setup.world.device)
        setup.telemetry.step = step

    def newest_good(self) -> int | None:
        """Step of the newest whole checkpoint, the same on every process; broken ones are named and passed over."""
        setup = self._setup
        found = setup.checkpoints.newest_good(self._report_broken) if setup.world.is_main else None
        step: int | None = setup.world.from_main(found)
        return step

    def _report_broken(self, name: str, problem: str) -> None:
        self._setup.telemetry.warn(f"checkpoint {name} {problem}; it is passed over", "delete it, or restore it from a copy")

    def _write(self, reason: str, rng: list[dict[str, object]]) -> bool:
        setup, position = self._setup, self._state.position
        start = time.perf_counter()
        path = setup.checkpoints.path(position.step).relative_to(setup.run_dir).as_posix()
        state = self._state.to_dict() | {"data_hash": setup.data.content_hash, "world_size": setup.world.size}
        try:
            saved = setup.checkpoints.save(
                position.step,
                setup.weights,
                setup.optimizers,
                state,
                rng,  # type: ignore[arg-type]
                best_step=position.best_step,
            )
        except Exception as error:  # any storage failure of any library: the run and the previous checkpoint must survive it
            said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            print(f"warning: checkpoint {path} failed, the run goes on: {said}", flush=True)
            save_s = time.perf_counter() - start
            setup.telemetry.emit(
                "checkpoint", path=path, bytes=0, save_s=save_s, ok=False, reason=reason, error=said, removed=[]
            )
            return False
        save_s = time.perf_counter() - start
        setup.telemetry.emit(
            "checkpoint", path=path, bytes=saved.bytes, save_s=save_s, ok=True, reason=reason, removed=saved.removed
        )
        return True
