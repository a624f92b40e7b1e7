"""Entry point of every training process: `torchrun ... -m tuitrain.trainer RUN_DIR`.

Reads resolved.json, trains, and ends with a run_end event. Exit codes are the command line's: 0 ok, 1 failed, 2 configuration,
3 does not fit, 4 environment.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from pathlib import Path

from tuitrain.errors import EXIT_OK, EXIT_RUN_FAILED, TuitrainError


def main(run_dir: Path) -> int:
    """Train the run in `run_dir`; returns the exit code."""
    faulthandler.enable()
    from tuitrain.trainer.signals import StopRequest

    stop = StopRequest()
    stop.install()
    # torch and transformers cost seconds; signals are caught before.
    from tuitrain.config.resolved import load_resolved
    from tuitrain.trainer.attempt import run_attempt
    from tuitrain.trainer.parallel import init_world
    from tuitrain.trainer.telemetry import Telemetry

    resolved = load_resolved(run_dir)
    world = init_world(resolved.config.run.device)
    telemetry = Telemetry(run_dir, world, attempt=int(os.environ.get("TUITRAIN_ATTEMPT", "1")))
    try:
        code = run_attempt(run_dir, resolved, world, telemetry, stop)
    except Exception as error:  # the process boundary: whatever it was becomes an event before the process ends
        known = isinstance(error, TuitrainError)
        print(str(error) if known else traceback.format_exc(), file=sys.stderr, flush=True)
        reason = error.message if isinstance(error, TuitrainError) else f"{type(error).__name__}: {error}"
        telemetry.emit(
            "run_end", state="failed", reason=reason[:2000], wall_s=telemetry.wall_s(), exit_code=getattr(error, "exit_code", 1)
        )
        telemetry.set_state("failed")
        code = error.exit_code if isinstance(error, TuitrainError) else EXIT_RUN_FAILED
    finally:
        telemetry.close()
    if code == EXIT_OK:
        world.close()
    return code


if __name__ == "__main__":
    exit_code = main(Path(sys.argv[1]).resolve())
    sys.stdout.flush()
    sys.stderr.flush()
    # gloo's threads abort the interpreter's own shutdown now and then ("terminate called without an active exception"), and
    # torchrun would then report a finished run as failed. Everything is written and closed: leave without the ceremony.
    os._exit(exit_code)
