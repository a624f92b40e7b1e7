"""The event log's vocabulary: what a trainer says while it runs, one JSON object per line.

Every line carries `v seq t_ns rank step kind` and the fields its kind declares below. The rules of the log:

* units stand in the key (`peak_bytes`, `step_s`, `tokens`, `flop`), numbers are never rounded;
* NaN and infinities travel as the strings "NaN", "Infinity", "-Infinity" (JSON has no word for them);
* kinds and fields are only ever added. A reader skips what it does not know, so old logs stay readable for ever.

Rank -1 is the supervisor: the process that started the trainer and says how it ended.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = 1
SUPERVISOR_RANK: Final = -1
ENDED: Final = ("finished", "stopped", "failed", "killed")
"""States a run_end can give."""

KINDS: Final[dict[str, dict[str, str]]] = {
    "run_start": {
        "attempt": "1 for the first start of this run, +1 for every resume or restart",
        "resumed_from_step": "the step of the checkpoint this attempt continues from; 0 for a fresh start",
        "total_steps": "optimizer steps the whole run will take",
        "tokens_per_step": "tokens of one global batch",
        "total_tokens": "tokens the whole run will read",
        "world_size": "number of processes",
        "device": "device kind and name the trainer runs on",
        "precision": "precision recipe chosen",
        "precision_reason": "why that recipe",
        "attention": "attention backend chosen",
        "attention_reason": "why that backend",
        "parameters": "parameters of the model, embeddings included, tied weights once",
        "trainable_parameters": "of these, how many are trained",
        "flop_per_token": "FLOP of forward and backward for one token, in the convention of `flop_convention`",
        "flop_convention": "what `flop_per_token` counts",
        "peak_flop_per_s": "measured or datasheet matrix-multiply peak of all devices together; null when unknown",
        "pid": "process id of this rank",
        "host": "host name",
        "start_time_s": "start time of the process (seconds since the epoch), to tell a reused pid",
        "micro_batch": "sequences per forward pass and process",
        "grad_accum": "forward passes per optimizer step",
        "seq_len": "tokens per sequence",
    },
    "length": {
        "total_steps": "optimizer steps the whole run will take, corrected to the pace measured",
        "reason": "why",
    },
    "plan": {
        "loss": "predicted final training loss (nats per token); null when no law applies",
        "bits_per_byte": "predicted final validation bits per byte; null when unknown",
        "tokens_per_s": "planned training throughput",
        "mfu_frac": "planned model FLOP utilisation",
        "peak_bytes": "planned peak memory per device",
        "duration_s": "planned wall-clock time of training",
        "tokens": "planned training tokens",
        "loss_curve": "planned loss as [[step, nats per token], ...]",
    },
    "phase": {
        "name": "data | check | model | reference | probe | compile | train | eval | sample | checkpoint | paused | finish",
        "detail": "one line for people",
        "done_frac": "share of the phase done, 0 to 1; null when it cannot be told",
    },
    "step": {
        "loss": "training loss of this step, nats per valid token over the global batch",
        "lr": "learning rate of the first group at this step",
        "grad_norm": "global gradient norm before clipping",
        "tokens": "tokens of this step the model has read, padding not counted",
        "targets": "of these, tokens with a loss (or pairs); absent where all have one",
        "reward_chosen": "preference tuning: mean reward of better (or liked) answers",
        "reward_rejected": "the same of worse (or disliked) ones",
        "reward_margin": "reward_chosen - reward_rejected",
        "accuracy": "share of pairs whose better answer has the larger reward",
        "tokens_total": "tokens read since the run began, all attempts",
        "step_s": "wall time of this step",
        "data_s": "time this step waited for data",
        "tokens_per_s": "tokens / step_s",
        "mfu_frac": "flop_per_token * tokens_per_s / peak_flop_per_s; null when the peak is unknown",
        "memory_bytes": "memory in use: CUDA allocated peak, or resident set on CPU",
        "peak_bytes": "largest memory_bytes so far in this attempt",
        "loss_scale": "fp16 loss scale; absent otherwise",
        "power_w": "power the device draws now, as its driver says; absent where none tells",
        "epoch": "passes over the training data so far, fractional",
    },
    "collectives": {
        "begin_ns": "when this process began the first of these steps, its batch not yet fetched; nanoseconds since the epoch",
        "steps": "the steps, as [[number, begin, end], ...], nanoseconds after begin_ns",
        "groups": "process groups of the calls below, as [{name, ranks}, ...]",
        "arrivals": "when this process called the collectives of these steps, oldest first: [[index into groups, the group's "
        "own count of collectives, nanoseconds after begin_ns], ...]; at most 256",
        "whole": "whether these are all calls of the steps; false where the earliest of a single step are missing",
        "payload_bytes": "bytes handed to these calls, or got from them where that is more (what the wire carries depends on "
        "the algorithm); null when the type of one is unknown",
    },
    "communication": {
        "step_s": "wall time of this step, which ran under the profiler",
        "communicating_s": "time of it in which at least one collective of this process ran, waiting for late ranks included, "
        "hidden behind computing or not",
        "operations": "how many ran",
    },
    "eval": {
        "loss": "validation loss, nats per valid token, token-weighted over the whole set",
        "bits_per_byte": "validation bits per byte of the original bytes",
        "tokens": "tokens evaluated",
        "bytes": "bytes those tokens stand for",
        "eval_s": "wall time",
        "best": "whether this is the lowest loss of the run so far",
        "reward_chosen": "preference tuning: mean reward of better (or liked) answers",
        "reward_rejected": "the same of worse (or disliked) ones",
        "reward_margin": "reward_chosen - reward_rejected",
        "accuracy": "share of pairs whose better answer has the larger reward",
    },
    "sample": {
        "index": "which of the configured prompts",
        "prompt": "the prompt",
        "text": "what the model continued it with",
        "tokens": "tokens generated",
        "sample_s": "wall time",
    },
    "checkpoint": {
        "path": "checkpoint folder, relative to the run",
        "bytes": "size on disk",
        "save_s": "wall time of the save",
        "blocked_s": "of a save in the background: how long training stood still for the copy",
        "ok": "whether it is complete on disk",
        "reason": "schedule | best | stop | signal | control | final | pause",
        "error": "why the save failed; absent when it did not",
        "removed": "checkpoints removed by retention",
    },
    "guard": {
        "reason": "non_finite_loss | non_finite_grad | loss_spike | grad_spike",
        "action": "skip | rollback | stop",
        "value": "the offending value",
        "limit": "the limit it broke",
        "batch_path": "file with the offending batch, decoded, relative to the run",
        "rollback_to_step": "step of the checkpoint restored; absent unless action is rollback",
    },
    "attempt_end": {
        "attempt": "the attempt that ended without finishing or being stopped on request",
        "cause": "killed | crashed | hung | out_of_memory | error | lost_peer | exit: what ended it",
        "reason": "one line for people, the rank named",
        "ended_rank": "rank the cause lies with; null where it cannot be told",
        "ended_ranks": "all of them, where there are several",
        "pid": "process id of that rank",
        "exit_code": "its exit code, negative for a signal; null when unknown",
        "action": "restart | shrink (restart with a smaller micro-batch) | end",
        "restarts_left": "restarts the run still allows",
        "log": "log of that rank, relative to the run",
        "stacks": "folder with the stacks of all ranks, relative to the run; absent unless they were asked for",
        "micro_batch": "micro-batch of the next attempt; absent unless action is shrink",
    },
    "warning": {"message": "what is wrong, with values", "hint": "what to do"},
    "control_ack": {
        "id": "id of the command in control.jsonl",
        "command": "save | pause | resume | stop | kill",
        "ok": "whether it was carried out",
        "detail": "one line for people",
    },
    "run_end": {
        "state": "finished | stopped | failed | killed",
        "reason": "one line for people",
        "loss": "training loss of the last step (never a mean shown as the last)",
        "eval_loss": "last validation loss; null when none",
        "bits_per_byte": "last validation bits per byte; null when none",
        "wall_s": "time this attempt ran",
        "tokens_total": "tokens read since the run began",
        "peak_bytes": "largest memory use of this attempt",
        "exit_code": "exit code of the process, where the supervisor saw it",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of the log. `data` holds the fields of its kind; use `number` for values that may be NaN."""

    seq: int
    t_ns: int
    rank: int
    step: int
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    v: int = VERSION

    def number(self, key: str) -> float:
        """The field as a float; NaN when it is absent or null."""
        return decode_number(self.data.get(key))


_NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def decode_number(value: Any) -> float:
    """A JSON value as a float: "NaN", "Infinity" and "-Infinity" by name, everything that is no number as NaN."""
    if isinstance(value, str):
        return _NON_FINITE.get(value, math.nan)
    return float(value) if isinstance(value, (int, float)) else math.nan


def encode_value(value: Any) -> Any:
    """The value with every non-finite float replaced by its name, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: encode_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode_value(item) for item in value]
    return value


def encode_line(event: Event) -> bytes:
    """The event as one line of JSON, newline included. A kind or field the schema lacks is a programming error."""
    unknown = set(event.data) - set(KINDS[event.kind])
    assert not unknown, f"event {event.kind!r} does not declare the fields {sorted(unknown)}; add them to KINDS"
    head = {"v": event.v, "seq": event.seq, "t_ns": event.t_ns, "rank": event.rank, "step": event.step, "kind": event.kind}
    # ensure_ascii keeps U+2028 and lone surrogates from ever splitting or breaking a line.
    return json.dumps(head | encode_value(event.data), allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> Event | None:
    """The event of one line, or None for a line that is no event (a torn write, a newer kind is still an event)."""
    try:
        raw = json.loads(line)
        head = {key: int(raw.pop(key)) for key in ("v", "seq", "t_ns", "rank", "step")}
        kind = str(raw.pop("kind"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Event(kind=kind, data=raw, **head)
