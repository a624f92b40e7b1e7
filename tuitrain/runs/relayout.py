"""A run goes on in another layout: more or fewer processes, another ZeRO stage. Checkpoints do not depend on it. What is
computed stays the same, so nothing else of a configuration can change on the way."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from tuitrain.config.check_parallel import impossible_parallel
from tuitrain.config.load import parse_value
from tuitrain.config.resolved import Resolved
from tuitrain.config.schema import Config
from tuitrain.errors import ConfigError, Problem, UsageError

SECTIONS: Final = ("parallel", "checkpoint")
KEYS: Final = ("run.nproc", "run.threads", "run.max_restarts", "run.hang_timeout_s", "train.micro_batch")
REASON: Final = "changed when the run was resumed"


def relayout(resolved: Resolved, overrides: Sequence[str]) -> Resolved:
    """The configuration of a run with `key=value` overrides of its layout. A micro-batch that no longer divides what a process
    has becomes the largest that does; threads are divided anew. ConfigError, UsageError."""
    given = dict(_parsed(each) for each in overrides)
    processes = resolved.config.run.processes
    changed = resolved
    for key, value in given.items():
        try:
            changed = changed.with_value(key, value, REASON)
        except ValidationError as error:
            message = f"{value!r}: {error.errors()[0]['msg']}"
            raise ConfigError([Problem(where="overrides", key=key, message=message)]) from None
    config = changed.config
    if config.run.processes != processes and "run.threads" not in given and isinstance(config.run.threads, int):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = max(1, min(config.run.threads * processes, cores) // config.run.processes)
        changed = changed.with_value("run.threads", threads, f"divided among {config.run.processes} processes")
    if "train.micro_batch" not in given:
        changed = _dividing(changed)
    problems = [
        Problem(where="overrides", key=key, message=message, hint=hint)
        for key, message, hint in impossible_parallel(changed.config)
    ]
    if problems:
        raise ConfigError(problems)
    return changed


def _parsed(override: str) -> tuple[str, Any]:
    key, equals, value = override.partition("=")
    section, _, field = key.partition(".")
    if not equals:
        raise UsageError(f"{override!r} is no override", "write key=value, for example parallel.zero=3")
    if section not in SECTIONS and key not in KEYS:
        raise UsageError(
            f"{key} cannot change in the middle of a run: it decides what is computed",
            f"a resumed run may change {', '.join([*KEYS, *(f'{each}.*' for each in SECTIONS)])}; start a new run for others",
        )
    known = type(getattr(Config(), section)).model_fields
    if field not in known:
        near = difflib.get_close_matches(field, known)
        raise UsageError(
            f"{section} has no {field!r}", f"did you mean {section}.{near[0]}?" if near else f"it has {', '.join(known)}"
        )
    return key, parse_value(value)


def _dividing(resolved: Resolved) -> Resolved:
    """With a micro-batch that divides what a process has of the batch."""
    train, processes = resolved.config.train, resolved.config.run.processes
    if not isinstance(train.micro_batch, int) or not isinstance(train.batch_tokens, int) or not isinstance(train.seq_len, int):
        return resolved
    each, rest = divmod(train.batch_tokens // train.seq_len, processes)
    if rest or each % train.micro_batch == 0:
        return resolved
    fits = max(size for size in range(1, min(each, train.micro_batch) + 1) if each % size == 0)
    reason = f"{train.micro_batch} do not divide the {each} sequences that each of {processes} processes has"
    return resolved.with_value("train.micro_batch", fits, reason)
