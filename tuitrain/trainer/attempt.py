"""One attempt of a run: settle what is open, find the checkpoint to continue from, train, say how it ended."""

from __future__ import annotations

import math
import os
import socket
import time
from pathlib import Path

import psutil
import torch

from tuitrain.config.resolve import EVAL_TIME_FRAC, Pace, settle
from tuitrain.config.resolved import Resolved
from tuitrain.errors import EXIT_OK, EXIT_RUN_FAILED, RunError
from tuitrain.files import exclusive_lock, read_json
from tuitrain.runs import compiler
from tuitrain.runs.card import write_card
from tuitrain.runs.relayout import relayout
from tuitrain.trainer import compile as compilation
from tuitrain.trainer.loop import Trainer
from tuitrain.trainer.parallel.agreement import require_agreement
from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.peak import matmul_peak
from tuitrain.trainer.precision import recipe
from tuitrain.trainer.probe import Probed, planned_steps, probe
from tuitrain.trainer.setup import FLOP_CONVENTION, Setup, set_threads
from tuitrain.trainer.signals import StopRequest
from tuitrain.trainer.stages import build
from tuitrain.trainer.state import Ending, Position
from tuitrain.trainer.telemetry import Telemetry

FINISH_RESERVE = 1.15
"""Factor by which the time of the last evaluation is counted above the probe's, for runs measured in minutes."""


def run_attempt(run_dir: Path, resolved: Resolved, world: World, telemetry: Telemetry, stop: StopRequest) -> int:
    """From the resolved configuration to the exit code. The main process holds the run's trainer lock throughout."""
    with exclusive_lock(
        run_dir / "trainer.lock" if world.is_main else run_dir / f"trainer-{world.rank}.lock", wait=False
    ) as free:
        if not free:
            raise RunError(f"another trainer works on {run_dir.name}", f"`tuitrain runs show {run_dir.name}` says which")
        return _train(run_dir, resolved, world, telemetry, stop)


def _train(run_dir: Path, resolved: Resolved, world: World, telemetry: Telemetry, stop: StopRequest) -> int:
    require_agreement(world, resolved)
    if world.size != resolved.config.run.processes:  # a torchrun of the user's own, with other numbers than the run's
        resolved = relayout(resolved, [f"run.nproc={world.size}"])
    set_threads(resolved)
    _quiet(world)
    peak = matmul_peak(world.device, recipe(str(resolved.config.train.precision), world.device).compute) * world.size
    setup = build(run_dir, resolved, world, telemetry, peak)
    if world.is_main:
        setup.checkpoints.clean_up()
    resume_from = _newest_good(setup)
    trainer = _fresh(setup, stop) if resume_from is None else _resumed(setup, stop, resume_from)
    if world.is_main:
        setup.resolved.save(run_dir)
    _announce(trainer, resumed_from=resume_from or 0)
    planned = (read_json(run_dir / "plan.json") or {}).get("run")
    if planned:
        telemetry.emit_main("plan", **planned)
    ending = trainer.run()
    if world.is_main:
        setup.resolved.save(run_dir)
    _say_goodbye(trainer, ending)
    if world.is_main:
        _write_card(run_dir)
    return EXIT_OK if ending.state in ("finished", "stopped") else EXIT_RUN_FAILED


def _newest_good(setup: Setup) -> int | None:
    """Step to resume from, the same on every process; broken checkpoints are named."""

    def report(name: str, problem: str) -> None:
        setup.telemetry.warn(f"checkpoint {name} {problem}; it is passed over", "delete it, or restore it from a copy")

    found = setup.checkpoints.newest_good(report) if setup.world.is_main else None
    step: int | None = setup.world.from_main(found)
    return step


def _fresh(setup: Setup, stop: StopRequest) -> Trainer:
    """The trainer of a new run: what was open is settled by a probe."""
    begin = time.monotonic()
    probed = probe(setup)
    minutes = setup.resolved.config.train.minutes
    steps, reason, deadline_s = planned_steps(setup), "as asked for", None
    if minutes is not None:
        deadline_s = setup.world.from_main(_deadline_s(setup, minutes, spent_s=time.monotonic() - begin, probed=probed))
        steps = max(1, int(deadline_s / (probed.step_s * (1 + EVAL_TIME_FRAC))))
        reason = f"{minutes:g} minutes at {probed.step_s:.3f} s per step, measured by the probe"
    assert steps is not None, "planned_steps knows every length but minutes"
    pace = Pace(
        step_s=probed.step_s, eval_tokens_per_s=probed.eval_tokens_per_s, validation_tokens=setup.data.validation_tokens
    )
    setup.resolved = settle(setup.resolved, steps, reason, pace=pace)
    torch.manual_seed(setup.resolved.config.run.seed + setup.world.rank)
    return Trainer(setup, Position(total_steps=steps, deadline_s=deadline_s), stop, micro_batch=probed.micro_batch)


def _deadline_s(setup: Setup, minutes: float, *, spent_s: float, probed: Probed) -> float:
    """Training seconds left of the minutes, after the probe and what the last evaluation will take."""
    last_s = setup.data.validation_tokens / probed.eval_tokens_per_s
    return max(1.0, minutes * 60 - spent_s - last_s * FINISH_RESERVE)


def _resumed(setup: Setup, stop: StopRequest, step: int) -> Trainer:
    """The trainer of a checkpoint: micro-batch and compilation as the first attempt settled them, so that the sums are the
    same."""
    config = setup.resolved.config.train
    if config.compile == "on" and compiler.unavailable(setup.world.device.type) is None:
        compilation.compile_layers(setup.loss)
    assert isinstance(config.micro_batch, int), "the first attempt settles train.micro_batch before its first checkpoint"
    assert config.steps is not None, "the first attempt settles train.steps before its first checkpoint"
    trainer = Trainer(setup, Position(total_steps=config.steps), stop, micro_batch=config.micro_batch)
    trainer.restore(step)
    return trainer


def _announce(trainer: Trainer, *, resumed_from: int) -> None:
    """run_start, on every process."""
    setup = trainer.setup
    config = setup.resolved.config
    world = setup.world
    name = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else f"CPU, {config.run.threads} threads"
    setup.telemetry.step = resumed_from
    setup.telemetry.emit(
        "run_start",
        attempt=setup.telemetry.attempt,
        resumed_from_step=resumed_from,
        total_steps=trainer.position.total_steps,
        tokens_per_step=setup.sequences_per_step * setup.seq_len,
        total_tokens=trainer.position.total_steps * setup.sequences_per_step * setup.seq_len,
        world_size=world.size,
        device=f"{world.device.type}: {name}",
        precision=str(config.train.precision),
        precision_reason=setup.resolved.reason("train.precision") or "as asked for",
        attention=config.train.attention,
        attention_reason=setup.resolved.reason("train.attention") or str(setup.attention),
        parameters=_parameters(setup),
        trainable_parameters=sum(parameter.numel() for parameter in setup.optimizers.parameters()),
        flop_per_token=setup.flop_per_token,
        flop_convention=FLOP_CONVENTION,
        peak_flop_per_s=setup.peak_flop_per_s,
        pid=os.getpid(),
        host=socket.gethostname(),
        start_time_s=psutil.Process().create_time(),
        micro_batch=trainer.micro_batch,
        grad_accum=setup.sequences_per_step // world.size // trainer.micro_batch,
        seq_len=setup.seq_len,
    )


def _write_card(run_dir: Path) -> None:
    """Last of all, from what is on the disk. A card that cannot be written is nobody's end."""
    try:
        write_card(run_dir)
    except (OSError, KeyError, ValueError) as error:
        print(f"warning: the model card could not be written: {error}", flush=True)


def _parameters(setup: Setup) -> int:
    """All of them; a quantised matrix holds two to a byte and says how many it was."""
    count = 0
    for parameter in setup.decoder.parameters():
        state = getattr(parameter, "quant_state", None)
        count += parameter.numel() if state is None else math.prod(state.shape)
    return count


def _say_goodbye(trainer: Trainer, ending: Ending) -> None:
    setup, last = trainer.setup, trainer.last
    setup.telemetry.phase("finish")
    setup.telemetry.emit(
        "run_end",
        state=ending.state,
        reason=ending.reason,
        loss=last.loss if last else None,
        eval_loss=trainer.state.last_eval.get("eval_loss"),
        bits_per_byte=trainer.state.last_eval.get("bits_per_byte"),
        wall_s=setup.telemetry.wall_s(),
        tokens_total=trainer.position.tokens_total,
        peak_bytes=setup.meter.peak_bytes,
    )
    setup.telemetry.set_state(ending.state)


def _quiet(world: World) -> None:
    """Messages that mean nothing to a reader of train.log."""
    import logging
    import warnings

    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.ERROR)
    logging.getLogger("torch._inductor").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*torch.distributed is disabled, unavailable or uninitialized.*")
