"""Keep the batch that tripped a guard: decoded, so that a person can see what it was."""

from __future__ import annotations

import json
import math

from tuitrain.files import write_atomic
from tuitrain.trainer.guards import Trip
from tuitrain.trainer.setup import Setup

MAX_KEPT = 20


def save_offending_batch(setup: Setup, first_sequence: int, step: int, trip: Trip) -> str | None:
    """Write the global batch as JSON lines below `offending/`; the path relative to the run, None when it could not be
    written."""
    folder = setup.run_dir / "offending"
    path = folder / f"step-{step:08d}.jsonl"
    batch = setup.loader.batch(first_sequence, setup.sequences_per_step)
    value = trip.value if math.isfinite(trip.value) else str(trip.value)
    lines = [json.dumps({"step": step, "reason": trip.reason, "value": value, "first_sequence": first_sequence})]
    lines += [
        json.dumps({"sequence": first_sequence + row, "text": setup.language.decode(tokens.tolist())})
        for row, tokens in enumerate(batch.tokens)
    ]
    try:
        folder.mkdir(exist_ok=True)
        kept = sorted(folder.glob("step-*.jsonl"))
        for old in kept[: max(0, len(kept) + 1 - MAX_KEPT)]:
            old.unlink()
        write_atomic(path, "\n".join(lines) + "\n", durable=False)
    except OSError as error:
        setup.telemetry.warn(f"the offending batch of step {step} could not be kept: {error}")
        return None
    return path.relative_to(setup.run_dir).as_posix()
