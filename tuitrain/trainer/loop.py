"""The training loop: batch, step, judgement, events; evaluation, samples and saves when they are due; requests from outside.

Everything that decides what the next step computes is in `TrainState`, and that is in every checkpoint: a resumed run continues
bit for bit.
"""

from __future__ import annotations

import time

from tuitrain.config.resolve import Pace, settle
from tuitrain.trainer import pace
from tuitrain.trainer.batches import GlobalBatches
from tuitrain.trainer.collectives import CollectiveWatch
from tuitrain.trainer.guards import StepGuard, Trip
from tuitrain.trainer.judge import Judge
from tuitrain.trainer.offending import save_offending_batch
from tuitrain.trainer.preference import averages
from tuitrain.trainer.requests import Requests
from tuitrain.trainer.saver import Saver
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.schedule import Schedule
from tuitrain.trainer.setup import Setup
from tuitrain.trainer.signals import StopRequest
from tuitrain.trainer.state import Ending, Position, TrainState
from tuitrain.trainer.step import StepResult, train_step


class Trainer:
    """One attempt of a run, from its position to its end."""

    def __init__(self, setup: Setup, position: Position, stop: StopRequest, *, micro_batch: int) -> None:
        guard = setup.resolved.config.guard
        self.setup, self.micro_batch = setup, micro_batch
        self.state = TrainState(
            position=position,
            guard=StepGuard(sigma=guard.spike_sigma, window=guard.window_steps) if guard.enabled else None,
            scaler=LossScaler(enabled=setup.recipe.scaled_loss),
        )
        self.saver = Saver(setup, self.state)
        self.last: StepResult | None = None
        self._judge = Judge(setup, self.state, micro_batch=micro_batch)
        self._requests = Requests(setup, self.state, stop, self.saver.save)
        self._batches = GlobalBatches(setup.loader, setup.world, sequences=setup.sequences_per_step, micro_batch=micro_batch)
        self._collectives = CollectiveWatch(setup.world, setup.telemetry)
        self._stop = stop
        self._schedule = self._make_schedule()

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self.state.position

    def restore(self, step: int) -> None:
        """Continue from a verified checkpoint."""
        self.saver.restore(step)
        self._schedule = self._make_schedule()

    def run(self) -> Ending:
        """Train to the end, or to whatever ends it."""
        if self.setup.tuned and self.position.step == 0:
            self._judge.before_training()
        self.setup.telemetry.phase("train")
        while self.state.ending is None and self.position.step < self.position.total_steps:
            self._one_step()
            if self.state.ending is None and self.position.step < self.position.total_steps:
                self._do_what_is_due()
        self._batches.close()
        self.saver.wait()
        ending = self.state.ending or Ending("finished", f"all {self.position.total_steps} steps done")
        self.state.ending = ending
        self._finish(ending)
        return ending

    def _one_step(self) -> None:
        setup, position = self.setup, self.position
        setup.telemetry.step = position.step
        self._collectives.begin()
        start = time.perf_counter()
        mine = self._batches.get(position.next_sequence)
        data_s = time.perf_counter() - start
        lr = setup.optimizers.set_lr(self._schedule(position.step))
        result = train_step(
            setup.module,
            setup.optimizers,
            mine,
            setup.world,
            expected_targets=setup.targets_per_step,
            clip_norm=setup.resolved.config.optim.clip_norm,
            guard=self.state.guard,
            scaler=self.state.scaler,
            signals=self._requests.signals(),
        )
        self.last = result
        first_sequence = position.next_sequence
        position.step += 1
        position.next_sequence += setup.sequences_per_step
        position.tokens_total += result.tokens
        step_s = time.perf_counter() - start
        position.train_s += step_s
        setup.telemetry.step = position.step
        self._collectives.end()
        self._report(result, lr=lr, step_s=step_s, data_s=data_s)
        if result.trip is not None:
            self._tripped(result.trip, first_sequence)
        self.saver.poll()
        self._requests.obey(result.signals)

    def _report(self, result: StepResult, *, lr: float, step_s: float, data_s: float) -> None:
        setup, scaler = self.setup, self.state.scaler
        tokens_per_s = result.tokens / step_s
        peak = setup.peak_flop_per_s
        setup.telemetry.emit(
            "step",
            loss=result.loss,
            lr=lr,
            grad_norm=result.grad_norm,
            tokens=result.tokens,
            tokens_total=self.position.tokens_total,
            step_s=step_s,
            data_s=data_s,
            tokens_per_s=tokens_per_s,
            mfu_frac=setup.flop_per_token * tokens_per_s / peak if peak else None,
            memory_bytes=setup.meter.read(),
            peak_bytes=setup.meter.peak_bytes,
            epoch=setup.loader.epoch_of(self.position.next_sequence),
            **self._preference_metrics(),
            **({} if result.valid == result.tokens else {"targets": result.valid}),
            **({"loss_scale": scaler.scale} if scaler.enabled else {}),
            **({} if (power_w := setup.power.read_w()) is None else {"power_w": power_w}),
        )

    def _preference_metrics(self) -> dict[str, float]:
        take = getattr(self.setup.loss, "take_sums", None)
        return {} if take is None else averages(self.setup.world.sum(take()))

    def _tripped(self, trip: Trip, first_sequence: int) -> None:
        """A step was not fit to change the weights: leave it out, go back, or give up."""
        setup, config, guard = self.setup, self.setup.resolved.config.guard, self.state.guard
        assert guard is not None
        path = save_offending_batch(setup, first_sequence, self.position.step, trip) if setup.world.is_main else None
        facts = {"reason": trip.reason, "value": trip.value, "limit": trip.limit, "batch_path": path}
        many = guard.consecutive >= config.max_consecutive
        if config.action == "skip" and not many:
            setup.telemetry.emit_main("guard", action="skip", **facts)
            return
        step = self.saver.newest_good()
        if step is None and not many:  # nothing to go back to yet: leaving the step out is all there is
            setup.telemetry.emit_main("guard", action="skip", **facts)
        elif step is None or self.position.rollbacks >= config.max_consecutive:
            setup.telemetry.emit_main("guard", action="stop", **facts)
            why = "nothing to go back to" if step is None else f"going back {self.position.rollbacks} times did not help"
            self.state.ending = Ending(
                "failed", f"{trip.reason} in {guard.consecutive} steps in a row, {why}; lower the learning rate"
            )
        else:
            setup.telemetry.emit_main("guard", action="rollback", rollback_to_step=step, **facts)
            self._roll_back(step)

    def _roll_back(self, step: int) -> None:
        """Weights and statistics of the checkpoint, position in the data of now: the offending batches are behind."""
        before = self.position
        self.restore(step)
        position = self.position
        position.next_sequence, position.tokens_total, position.train_s = (
            before.next_sequence,
            before.tokens_total,
            before.train_s,
        )
        position.rollbacks = before.rollbacks + 1

    def _do_what_is_due(self) -> None:
        config, step = self.setup.resolved.config, self.position.step
        self._adjust_length()
        phase_changed = False
        if config.eval.every_steps and step % int(config.eval.every_steps) == 0:
            self._judge.evaluate()
            self._judge.sample()
            phase_changed = True
        if self.state.ending is None and config.checkpoint.every_steps and step % int(config.checkpoint.every_steps) == 0:
            self.saver.save("schedule")
            phase_changed = True
        if phase_changed and self.state.ending is None:
            self.setup.telemetry.phase("train")

    def _make_schedule(self) -> Schedule:
        schedule = self.setup.resolved.config.schedule
        assert isinstance(schedule.warmup_steps, int), "settle fills schedule.warmup_steps in"
        return Schedule(
            kind=schedule.kind,
            total_steps=self.position.total_steps,
            warmup_steps=schedule.warmup_steps,
            decay_frac=schedule.decay_frac,
            min_lr_frac=schedule.min_lr_frac,
        )

    def _adjust_length(self) -> None:
        position = self.position
        if not pace.is_due(position, self._schedule.decay_start):
            return
        seen_steps, step_s = pace.seen(position)
        total = self.setup.world.from_main(pace.affordable_steps(position))
        position.paced_step, position.paced_s = position.step, position.train_s
        if total == position.total_steps:
            return
        minutes = self.setup.resolved.config.train.minutes
        reason = f"{minutes:g} minutes at {step_s:.3f} s per step, seen over {seen_steps} steps"
        self.setup.resolved = settle(self.setup.resolved, total, reason, pace=Pace(step_s=step_s))
        position.total_steps = total
        self._schedule = self._make_schedule()
        self.setup.telemetry.emit_main("length", total_steps=total, reason=reason)

    def _finish(self, ending: Ending) -> None:
        """A complete run is judged once more, over the whole validation set; whatever was trained is saved."""
        if ending.state == "finished":
            self._judge.evaluate(final=True)
            self._judge.sample(always=True)
        if ending.state in ("finished", "stopped"):
            reason = "final" if ending.state == "finished" else ("signal" if self._stop.name else "stop")
            if not self.saver.save(reason):
                ending.state, ending.reason = "failed", f"{ending.reason}, but the last checkpoint could not be written"
