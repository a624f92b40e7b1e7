"""When the run is saved and restored: the checkpoint store, seen from the loop.

What somebody waits for - the last save, one on request, one before a pause - is there when `save` returns. Scheduled saves of
several processes, and on CUDA, are written by a thread while training goes on; the next one waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tuitrain.trainer.checkpoint import Draft, Saved, rng_state, set_rng_state
from tuitrain.trainer.failing import kind_of
from tuitrain.trainer.setup import Setup
from tuitrain.trainer.state import TrainState


class Saver:
    """Saves a run's state and brings it back. A failed save is told, and is nobody's end."""

    def __init__(self, setup: Setup, state: TrainState) -> None:
        self._setup, self._state = setup, state
        wanted, world = setup.resolved.config.checkpoint.background, setup.world
        self._in_background = wanted if wanted != "auto" else world.size > 1 or world.device.type == "cuda"
        # The thread starts now: one that is started when memory is short may die before it runs, and be waited for for ever.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint") if self._in_background else None
        if self._pool is not None:
            self._pool.submit(int).result()
        self._writing: _Writing | None = None

    def save(self, reason: str) -> bool:
        """Save the present step; one that is there already is enough. True when it is on disk - of a scheduled save in the
        background: when it is on its way."""
        setup, step = self._setup, self._state.position.step
        self.wait()
        if setup.world.from_main(step in setup.checkpoints.good):
            return True
        setup.telemetry.phase("checkpoint", f"step {step}")
        start = time.perf_counter()
        pool = self._pool if reason == "schedule" else None
        try:
            draft = self._draft(apart=pool is not None)
        except Exception as error:
            if setup.world.size > 1:  # the others are in the middle of it, and only a new start gets them out
                raise
            return self._failed(step, reason, error, time.perf_counter() - start)
        self._writing = _Writing(setup, draft, reason, start, pool)
        return True if pool is not None else self.wait()

    def poll(self) -> None:
        """Tell of a save that has ended. Called after every step."""
        if self._writing is not None and self._writing.ended:
            self.wait()

    def wait(self) -> bool:
        """Until no save is being written. False when the last one failed."""
        if self._writing is None:
            return True
        writing, self._writing = self._writing, None
        writing.join(self._setup.telemetry.tick)
        return self._finish(writing)

    def restore(self, step: int) -> None:
        """Weights, optimizer, statistics, position and random generators of a verified checkpoint."""
        setup = self._setup
        self.wait()
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
        self.wait()
        found = setup.checkpoints.newest_good(self._report_broken) if setup.world.is_main else None
        step: int | None = setup.world.from_main(found)
        return step

    def _report_broken(self, name: str, problem: str) -> None:
        self._setup.telemetry.warn(f"checkpoint {name} {problem}; it is passed over", "delete it, or restore it from a copy")

    def _draft(self, *, apart: bool) -> Draft:
        setup, position = self._setup, self._state.position
        return setup.checkpoints.draft(
            position.step,
            setup.weights,
            setup.optimizers,
            self._state.to_dict() | {"data_hash": setup.data.content_hash, "world_size": setup.world.size},
            setup.world.gather(rng_state(setup.world.device)),
            best_step=position.best_step,
            side=setup.world.side,
            apart=apart,
        )

    def _finish(self, writing: _Writing) -> bool:
        """Tell how it went."""
        step, reason = writing.draft.step, writing.reason
        if writing.error is not None:
            if self._setup.world.size > 1 and kind_of(writing.error) != "error":
                # Want of memory here, or a partner that is gone: the others wait for this process in the middle of the save.
                raise writing.error
            return self._failed(step, reason, writing.error, writing.save_s)
        saved = writing.saved
        assert saved is not None, "a save without an error has a result"
        blocked = {} if writing.future is None else {"blocked_s": writing.blocked_s}
        self._setup.telemetry.emit_main(
            "checkpoint", path=self._path(step), bytes=saved.bytes, save_s=writing.save_s, ok=True, reason=reason,
            removed=saved.removed, **blocked,
        )  # fmt: skip
        return True

    def _failed(self, step: int, reason: str, error: BaseException, save_s: float) -> bool:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        if self._setup.world.is_main:
            print(f"warning: checkpoint {self._path(step)} failed, the run goes on: {said}", flush=True)
        self._setup.telemetry.emit_main(
            "checkpoint", path=self._path(step), bytes=0, save_s=save_s, ok=False, reason=reason, error=said, removed=[]
        )
        return False

    def _path(self, step: int) -> str:
        setup = self._setup
        return setup.checkpoints.path(step).relative_to(setup.run_dir).as_posix()


class _Writing:
    """One draft being written, here or by a pool's thread."""

    def __init__(self, setup: Setup, draft: Draft, reason: str, start_s: float, pool: ThreadPoolExecutor | None) -> None:
        self.draft, self.reason = draft, reason
        self.saved: Saved | None = None
        self.error: BaseException | None = None
        self.save_s, self.blocked_s = 0.0, time.perf_counter() - start_s
        self._setup, self._start_s, self._moves = setup, start_s, 0
        self.future: Future[None] | None = None
        if pool is None:
            self._write()
        else:
            self.future = pool.submit(self._write)

    @property
    def ended(self) -> bool:
        """Whether it is on the disk, or will never be."""
        return self.future is None or self.future.done()

    def join(self, tick: Callable[[], None]) -> None:
        """Wait for the end. `tick` is called only while it gets on: a save that waits for another process is to be seen as what
        it is."""
        seen = 0
        while not self.ended:
            wait([self.future] if self.future else [], timeout=1.0)
            if self._moves != seen:
                seen = self._moves
                tick()

    def _moved(self) -> None:
        self._moves += 1

    def _write(self) -> None:
        try:
            self.saved = self._setup.checkpoints.write(self.draft, self._setup.world.side, moved=self._moved)
        except Exception as error:  # any storage failure of any library: the run and the previous checkpoint must survive it
            self.error = error
        self.save_s = time.perf_counter() - self._start_s
