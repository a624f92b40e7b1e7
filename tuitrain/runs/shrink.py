"""The answer to a process that ran out of memory: a smaller micro-batch. The global batch is mathematics and stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuitrain.config.resolved import load_resolved
from tuitrain.runs.causes import Cause


@dataclass(frozen=True, kw_only=True, slots=True)
class Shrunk:
    """What was decided, and written into resolved.json."""

    before: int
    after: int
    reason: str


def shrink_micro_batch(run_dir: Path, cause: Cause) -> Shrunk | None:
    """Settle `train.micro_batch` to the next smaller divisor of a process's share of the batch; None where there is none."""
    resolved = load_resolved(run_dir)
    train, nproc = resolved.config.train, resolved.config.run.processes
    before = train.micro_batch
    if not isinstance(before, int) or not isinstance(train.batch_tokens, int) or not isinstance(train.seq_len, int):
        return None  # not settled yet: it was not a micro-batch that did not fit, but what stands before the first
    share = train.batch_tokens // train.seq_len // nproc
    smaller = [each for each in range(1, before) if share % each == 0]
    if not smaller:
        return None
    who = "a process" if cause.rank is None else f"rank {cause.rank}"
    reason = f"{who} ran out of memory at {before} sequences; the global batch stays {train.batch_tokens} tokens"
    resolved.with_value("train.micro_batch", smaller[-1], reason).save(run_dir)
    return Shrunk(before=before, after=smaller[-1], reason=reason)
