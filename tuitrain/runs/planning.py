"""The plan of a run: its resolved configuration as a question to the planner.

What is not settled before data and probe - micro-batch, number of steps from minutes or epochs, bytes of the corpus - is
planned with the values the trainer will most likely settle on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tuitrain.config.resolve import EVAL_TIME_FRAC, model_shape
from tuitrain.config.resolved import Resolved
from tuitrain.config.schema import Config
from tuitrain.runs.adapter_plan import adapter_of
from tuitrain.runs.calibration import measured_hardware
from tuitrain.runs.compiler import WORTH_FROM_S, unavailable
from tuitrain.runs.home import presets_dir
from tuitrain.runs.machine import Machine, this_machine
from tuitrain_planners import (
    EPOCH,
    Hardware,
    LossLaw,
    Mesh,
    Plan,
    PlanRequest,
    counted_peak_bytes,
    figures,
    load_law,
    plan,
    to_dict,
    to_text,
)

CPU_MICRO_BATCH_TOKENS = 8192
PROBE_S = 10.0
"""Seconds a run in minutes spends on its probe and on its last evaluation, on 2 cores."""
COMPILE_S = 18.0
"""... and on compiling, on 2 cores, when nothing is in the compiler's cache."""
MIN_TRAINING_S = 10.0
STDLIB_BYTES = 11.3e6
"""Training bytes of the embedded corpus on Python 3.11; other versions differ by a few per cent."""
STDLIB_BYTES_PER_TOKEN = {2048: 3.12, 3072: 3.38, 4096: 3.55, 6144: 3.78, 8192: 3.92, 16384: 4.05, 32768: 4.15}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """A planner's Plan, and what a run shows of it."""

    plan: Plan
    tuned: bool = False
    """Whether the run starts from a trained model: laws of loss do not speak about it."""

    def to_dict(self) -> dict[str, Any]:
        """The content of plan.json: the planner's document, the fields of the run's plan event, and every explanation."""
        explained = {name: quantity.explain() for name, quantity in figures(self.plan).items()}
        return {**to_dict(self.plan), "run": self.event_fields(), "explain": explained}

    def event_fields(self) -> dict[str, Any]:
        """The plan in the units a trainer measures in: nats per token, bits per byte, bytes of the process."""
        planned, request, tuned = self.plan, self.plan.request, self.tuned
        nats_per_unit = 1.0
        bits_per_byte = None
        if request.law.unit == "bits/byte":
            assert request.bytes_per_token is not None, "a law in bits per byte is planned with the bytes of a token"
            nats_per_unit, bits_per_byte = math.log(2) * request.bytes_per_token, planned.loss.value
        return {
            "loss": None if tuned else planned.loss.value * nats_per_unit,
            "bits_per_byte": bits_per_byte,
            "tokens_per_s": planned.throughput.tokens_per_s.value,
            "mfu_frac": planned.throughput.mfu.value if planned.throughput.mfu else None,
            "peak_bytes": int(counted_peak_bytes(planned.memory, request.hardware)),
            "duration_s": planned.throughput.duration_s.mid.value,
            "tokens": int(planned.tokens.value),
            "loss_curve": [] if tuned else [[step, loss * nats_per_unit] for step, loss in planned.loss_curve],
        }

    def to_text(self) -> str:
        """One screen."""
        return to_text(self.plan)


def plan_for_run(resolved: Resolved, machine: Machine | None = None, *, hardware: Hardware | None = None) -> RunPlan:
    """Plan exactly what `train` would run, on this machine (measured for it, if it never was)."""
    machine = machine or this_machine()
    config = resolved.config
    hardware = hardware or hardware_of(resolved, machine)
    return RunPlan(plan=plan(request_for(config, hardware)), tuned=config.model.base is not None)


def hardware_of(resolved: Resolved, machine: Machine) -> Hardware:
    """The measured device a resolved configuration will run on."""
    config = resolved.config
    return measured_hardware(
        machine, device=config.run.device, precision=str(config.train.precision), threads=int(config.run.threads)
    )


def request_for(config: Config, hardware: Hardware) -> PlanRequest:
    """The planner's question for a resolved configuration."""
    train, nproc, parallel = config.train, config.run.processes, config.parallel
    vocab = _vocabulary(config)
    shape = model_shape(config, vocab_size=-(-vocab // 64) * 64)
    assert isinstance(train.batch_tokens, int), "resolve fills train.batch_tokens in"
    assert isinstance(train.seq_len, int), "resolve fills train.seq_len in"
    adapter, tuned = adapter_of(config), config.model.base is not None
    pairs = 2 if config.run.stage == "dpo" else 1
    per_process = train.batch_tokens // train.seq_len // nproc
    micro_batch = (
        train.micro_batch if isinstance(train.micro_batch, int) else _likely_micro_batch(per_process, train.seq_len * pairs)
    )
    law, unique, each = _law_and_data(config, vocab)
    steps, tokens = train.steps, train.tokens
    if train.epochs is not None and unique is not None:
        tokens = train.epochs * unique
    request = PlanRequest(
        shape=shape,
        hardware=hardware,
        seq_len=train.seq_len,
        micro_batch=micro_batch,
        grad_accum=per_process // micro_batch,
        mesh=Mesh(dp=nproc),
        zero=parallel.zero,
        reshard=parallel.reshard,
        shard_group=parallel.shard_group,
        offload="all" if parallel.offload else "none",
        precision=str(train.precision),
        optimizer=config.optim.kind,
        recompute=train.recompute,
        loss_head="plain" if train.loss == "plain" else "chunked",
        compiled=_compiles(config),
        adapter=adapter,
        # Reference log-probabilities come from the disk: no second model is held. A pair is two sequences all the same.
        reference="cached" if config.run.stage == "dpo" else "none",
        framework="hf-trainer" if tuned else "tuitrain",
        variable_lengths=tuned and config.data.packing is False,
        steps=steps,
        tokens=None if steps else tokens,
        unique_tokens=unique,
        bytes_per_token=each,
        law=law,
    )
    if steps is None and tokens is None:
        from dataclasses import replace

        from tuitrain_planners import tokens_for

        length = tokens_for(request, training_s(config)).value if train.minutes else unique
        request = replace(request, tokens=length or float(train.batch_tokens))
    return request


def training_s(config: Config) -> float:
    """What the probe, compiling and evaluating leave of the minutes for training steps."""
    assert config.train.minutes is not None, "only a run in minutes has a time to share out"
    seconds = config.train.minutes * 60 / (1 + EVAL_TIME_FRAC) - PROBE_S - (COMPILE_S if _compiles(config) else 0)
    return max(MIN_TRAINING_S, seconds)


def _compiles(config: Config) -> bool:
    """Whether the probe will most likely compile. Unmeasured lengths are taken for long: a plan is rarely made for seconds."""
    train = config.train
    if config.model.base is not None:  # models of transformers are run as they are
        return False
    if train.compile != "auto" or unavailable(config.run.device) is not None:
        return train.compile == "on"
    return train.minutes is None or train.minutes * 60 >= WORTH_FROM_S


def _likely_micro_batch(per_process: int, seq_len: int) -> int:
    divisors = [each for each in range(1, per_process + 1) if per_process % each == 0]
    return max(each for each in divisors if each == 1 or each * seq_len <= CPU_MICRO_BATCH_TOKENS)


def _law_and_data(config: Config, vocab: int) -> tuple[LossLaw, float | None, float | None]:
    """(law, unique tokens, bytes per token): measured ones for the embedded corpus, published ones for everything else."""
    sources = config.data.sources
    if config.model.base is not None:
        return EPOCH, _unique_tokens(config), None
    if len(sources) == 1 and sources[0].corpus == "python-stdlib" and config.tokenizer.kind == "train":
        each = STDLIB_BYTES_PER_TOKEN[min(STDLIB_BYTES_PER_TOKEN, key=lambda size: abs(size - vocab))]
        return stdlib_law(), STDLIB_BYTES / each, each
    return EPOCH, None, None


PUBLISHED_VOCABULARIES = {"gpt2": 50_257, "cl100k_base": 100_277, "o200k_base": 200_019}
"""Entries of tiktoken's encodings, special tokens included (tiktoken_ext/openai_public.py): known before any is fetched."""
UNKNOWN_VOCABULARY = 50_304
"""Planned for a tokenizer.json that nobody has read yet: GPT-2's, in whole tiles."""


def _vocabulary(config: Config) -> int:
    """Entries of the vocabulary, as far as they are known before the tokenizer is there."""
    tokenizer = config.tokenizer
    if isinstance(tokenizer.vocab_size, int):
        return tokenizer.vocab_size
    published = PUBLISHED_VOCABULARIES.get(tokenizer.name or "") if tokenizer.kind == "tiktoken" else None
    return published or UNKNOWN_VOCABULARY


BYTES_PER_TOKEN = 4.0
"""Of JSON or text on disk, per token the model reads: a guess that only the planned length of a run in epochs depends on."""
DOCSTRING_TOKENS = 1.0e6
"""Of the embedded instruction pairs, chat template included."""


def _unique_tokens(config: Config) -> float | None:
    """About the tokens of the sources: by their sizes on disk, before anything is read."""
    total = 0.0
    for source in config.data.sources:
        if source.corpus is not None:
            total += DOCSTRING_TOKENS if source.corpus == "python-docstrings" else STDLIB_BYTES / BYTES_PER_TOKEN
        elif source.path is not None and source.path.exists():
            files = [source.path] if source.path.is_file() else [each for each in source.path.rglob("*") if each.is_file()]
            total += sum(each.stat().st_size for each in files) / BYTES_PER_TOKEN
        else:
            return None
    return max(1.0, total)


def stdlib_law() -> LossLaw:
    """Bits per byte of the embedded corpus by parameters and bytes, fitted to this trainer's own runs."""
    return load_law(presets_dir() / "laws" / "python-stdlib.toml")
