"""Before step 1: three real steps at the real shape. Out of memory is found here, and answered by a smaller micro-batch.

The global batch is mathematics and stays; the micro-batch is system and gives way (llm-foundry's rule). One sequence is tried
first, on CPU the growth is extrapolated before the full micro-batch is dared - Linux kills rather than refuses - and an
evaluation batch is run too, so evaluation cannot fail later for want of memory. Weights and optimizer are as new afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil
import torch

from tuitrain.errors import DoesNotFitError
from tuitrain.runs import compiler
from tuitrain.runs.calibration import learn_compile_gain
from tuitrain.runs.machine import this_machine
from tuitrain.trainer import compile as compilation
from tuitrain.trainer.batches import GlobalBatches
from tuitrain.trainer.checkpoint import estimate_bytes
from tuitrain.trainer.evaluate import evaluate
from tuitrain.trainer.failing import kind_of
from tuitrain.trainer.guards import StepGuard
from tuitrain.trainer.scaler import LossScaler
from tuitrain.trainer.setup import Setup
from tuitrain.trainer.step import StepResult, train_step

CPU_MICRO_BATCH_TOKENS = 8192
GPU_MICRO_BATCH_TOKENS = 65_536
"""Tokens beyond which a larger micro-batch was not seen to be faster (CPU: measured on 2 cores; GPU: enough rows to fill
any)."""
USABLE_FRAC = 0.9
MEASURED_STEPS = 3
ENOUGH_S = 3.0
"""Seconds of measured steps after which no more are: noise is small beside them, and waiting is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    """What the probe measured."""

    micro_batch: int
    compiled: bool
    step_s: float
    eval_tokens_per_s: float
    peak_bytes: int
    checkpoint_bytes: int


def probe(setup: Setup) -> Probed:
    """Settle micro-batch and compilation, measure a step. DoesNotFitError when not even one sequence fits."""
    telemetry = setup.telemetry
    telemetry.phase("probe", "one sequence")
    setup.before_probe()
    micro_batch = _fitting_micro_batch(setup)
    step_s = _measure(setup, micro_batch, warm=True)
    compiled = _try_compiling(setup, micro_batch, step_s)
    if compiled is not None:
        step_s = compiled
    assert setup.attention is not None, "build chooses a backend"
    if setup.resolved.config.train.attention == "auto":
        setup.settle("train.attention", setup.attention.name, str(setup.attention))
    eval_tokens_per_s = _measure_evaluation(setup, micro_batch)
    setup.meter.read()
    result = Probed(
        micro_batch=micro_batch,
        compiled=compiled is not None,
        step_s=setup.world.max(step_s),
        eval_tokens_per_s=-setup.world.max(-eval_tokens_per_s),
        peak_bytes=setup.meter.peak_bytes,
        checkpoint_bytes=estimate_bytes(setup.weights, setup.optimizers),
    )
    setup.after_probe()
    return result


def _fitting_micro_batch(setup: Setup) -> int:
    """The largest micro-batch, up to what is asked for or useful, that divides this process's share of the batch and fits."""
    config, world = setup.resolved.config, setup.world
    per_process = setup.sequences_per_step // world.size
    divisors = [each for each in range(1, per_process + 1) if per_process % each == 0]
    if config.train.micro_batch == "auto":
        useful = CPU_MICRO_BATCH_TOKENS if world.device.type == "cpu" else GPU_MICRO_BATCH_TOKENS
        wanted = max(each for each in divisors if each == 1 or each * setup.seq_len <= useful)
        why = f"no faster beyond {useful} tokens"
    else:
        wanted, why = config.train.micro_batch, ""
    candidates = [each for each in reversed(divisors) if each <= wanted]
    allowed = _allowed_by_growth(setup, candidates) if world.device.type == "cpu" else candidates
    for micro_batch in allowed:
        if world.size > 1:
            _leave_word(setup, micro_batch)
        if world.max(0.0 if _runs(setup, micro_batch) else 1.0):  # one process out of memory is all out of memory
            continue
        if micro_batch != wanted:
            why = f"{wanted} sequences do not fit in memory; the global batch stays {config.train.batch_tokens} tokens"
            setup.telemetry.warn(f"micro-batch reduced from {wanted} to {micro_batch}", why)
        if micro_batch != config.train.micro_batch or world.size > 1:
            setup.settle("train.micro_batch", micro_batch, why or "as asked for")
        return micro_batch
    raise DoesNotFitError(
        f"one sequence of {setup.seq_len} tokens does not fit in memory ({_available(setup) / 2**30:.1f} GiB available)",
        "train.recompute=full, a shorter train.seq_len, or a smaller model",
    )


def _allowed_by_growth(setup: Setup, candidates: list[int]) -> list[int]:
    """Candidates whose memory, extrapolated from one sequence, stays below what is available."""
    before = psutil.Process().memory_info().rss
    if not _runs(setup, 1):
        return []
    setup.meter.reset()
    if not _runs(setup, 1):
        return []
    setup.meter.read()
    # What grows with the batch is at most everything above the resting size after one sequence.
    resting = psutil.Process().memory_info().rss
    per_sequence = max(setup.meter.peak_bytes - max(before, resting), 1 << 20)
    available = _available(setup) / setup.world.size * USABLE_FRAC  # the processes grow together, in one memory
    fits = [each for each in candidates if each * per_sequence <= available]
    most = int(setup.world.max(-float(max(fits, default=0))) * -1)  # the smallest of all processes
    return [each for each in candidates if each <= most]


def _available(setup: Setup) -> int:
    """Bytes a step could still take on this device."""
    if setup.world.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(setup.world.device)
        return int(free)
    return int(psutil.virtual_memory().available)


def _leave_word(setup: Setup, micro_batch: int) -> None:
    """Write down what is tried: a process that runs out of memory among several leaves the others in a collective, and only a
    new start, with less, gets them out of it."""
    setup.settle("train.micro_batch", micro_batch, "tried by the probe")
    if setup.world.is_main:
        setup.resolved.save(setup.run_dir)


def _runs(setup: Setup, micro_batch: int) -> bool:
    """Whether one step of a single micro-batch goes through. Among several processes want of memory ends this one."""
    try:
        _one_step(setup, micro_batch, at_most=1)
    except Exception as error:
        if setup.world.size > 1 or kind_of(error) != "out_of_memory":
            raise
    else:
        return True
    setup.optimizers.zero_grad()
    if setup.world.device.type == "cuda":
        torch.cuda.empty_cache()
    return False


def _one_step(setup: Setup, micro_batch: int, *, at_most: int, first_sequence: int = 0) -> tuple[StepResult, int]:
    """A step over at most `at_most` micro-batches of the first batch. Returns its result and how many it were."""
    config = setup.resolved.config
    batches = GlobalBatches(setup.loader, setup.world, sequences=setup.sequences_per_step, micro_batch=micro_batch)
    try:
        mine = batches.get(first_sequence)[:at_most]
    finally:
        batches.close()
    result = train_step(
        setup.module,
        setup.optimizers,
        mine,
        setup.world,
        expected_targets=max(
            1, setup.targets_per_step * len(mine) * micro_batch * setup.world.size // setup.sequences_per_step
        ),
        clip_norm=config.optim.clip_norm,
        # Weights that cannot be made again must not meet a gradient that is no number, even at rate 0.
        guard=None if setup.reset_weights else StepGuard(sigma=1e9, window=8),
        scaler=LossScaler(enabled=setup.recipe.scaled_loss),
    )
    return result, len(mine)


def _measure(setup: Setup, micro_batch: int, *, warm: bool = False) -> float:
    """Seconds of a whole step, from a few steps of up to four micro-batches each; of long ones from one. `warm`: a step of this
    micro-batch has just run."""
    per_step = setup.sequences_per_step // setup.world.size // micro_batch
    if not warm:
        _one_step(setup, micro_batch, at_most=1)
    setup.meter.reset()
    times: list[float] = []
    while len(times) < MEASURED_STEPS and (not times or sum(times) < ENOUGH_S):
        _wait(setup)
        start = time.perf_counter()
        _, count = _one_step(setup, micro_batch, at_most=4)
        _wait(setup)
        times.append((time.perf_counter() - start) * per_step / count)
        setup.telemetry.tick()
    setup.meter.read()
    return sorted(times)[len(times) // 2]


def _measure_evaluation(setup: Setup, micro_batch: int) -> float:
    """Validation tokens per second. The first pass is not timed: it warms up."""
    tokens = micro_batch * setup.seq_len * setup.world.size
    evaluate(setup.loss, setup.loader, setup.world, micro_batch=micro_batch, max_tokens=tokens)
    start = time.perf_counter()
    found = evaluate(setup.loss, setup.loader, setup.world, micro_batch=micro_batch, max_tokens=tokens)
    return found.tokens / (time.perf_counter() - start)


def _wait(setup: Setup) -> None:
    if setup.world.device.type == "cuda":
        torch.cuda.synchronize()


def _try_compiling(setup: Setup, micro_batch: int, eager_s: float) -> float | None:
    """Step time when compilation is on and stays on, else None. The reason is written down either way."""
    wanted = setup.resolved.config.train.compile
    if wanted == "off":
        return None
    why_not = setup.why_not_compiled or compiler.unavailable(setup.world.device.type)
    expected_s = _expected_s(setup, eager_s)
    if why_not is None and wanted == "auto" and expected_s < compiler.WORTH_FROM_S:
        why_not = f"about {expected_s:.0f} s of training do not earn the compile time back"
    if why_not is not None:
        setup.settle("train.compile", "off", why_not)
        if wanted == "on":
            setup.telemetry.warn(f"train.compile is on and cannot be: {why_not}")
        return None
    setup.telemetry.phase("compile", "compiling one layer and the loss head")
    start = time.perf_counter()
    setup.take_attention(compiled=True)
    compilation.compile_layers(setup.loss)
    _one_step(setup, micro_batch, at_most=1)
    compile_s = time.perf_counter() - start
    compiled_s = _measure(setup, micro_batch)
    faster = setup.world.from_main(wanted == "on" or compiled_s < 0.97 * eager_s)
    measured = f"{compiled_s * 1e3:.0f} ms per step against {eager_s * 1e3:.0f} ms eager, after {compile_s:.0f} s of compiling"
    setup.settle("train.compile", "on" if faster else "off", measured)
    _remember_gain(setup, eager_s / compiled_s)
    if faster:
        return compiled_s
    compilation.undo(setup.loss)
    setup.take_attention(compiled=False)
    return None


def _remember_gain(setup: Setup, gain: float) -> None:
    """The next plan for this machine starts from it."""
    run, precision = setup.resolved.config.run, str(setup.resolved.config.train.precision)
    if setup.world.size > 1:  # communication is in there too
        return
    try:
        learn_compile_gain(
            this_machine(), device=run.device, precision=precision, threads=int(run.threads),
            hidden_size=setup.plan_shape.hidden_size, gain=gain,
        )  # fmt: skip
    except OSError as error:
        setup.telemetry.warn(f"what compiling gains could not be kept for the next plan: {error}", "free some disk space")


def _expected_s(setup: Setup, step_s: float) -> float:
    train = setup.resolved.config.train
    if train.minutes is not None:
        return train.minutes * 60
    steps = planned_steps(setup)
    return step_s * (steps or 0)


def planned_steps(setup: Setup) -> int | None:
    """Steps of the run as its length was given; None where only minutes are."""
    train, per_step = setup.resolved.config.train, setup.sequences_per_step
    if train.steps is not None:
        return train.steps
    if train.tokens is not None:
        return max(1, round(train.tokens / (per_step * setup.seq_len)))
    steps = max(1, round((train.epochs or 1.0) * setup.loader.sequences_per_epoch / per_step))
    return None if train.minutes is not None else steps
