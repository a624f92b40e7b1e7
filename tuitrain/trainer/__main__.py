"""Entry point of every training process: `torchrun ... -m tuitrain.trainer RUN_DIR`, started by a supervisor or by the user.

Reads resolved.json, trains, and ends with a run_end event. Exit codes are the command line's: 0 ok, 1 failed, 2 configuration,
3 does not fit, 4 environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tuitrain.errors import EXIT_OK

if TYPE_CHECKING:
    from tuitrain.trainer.heartbeat import Heartbeat
    from tuitrain.trainer.last_words import LastWords, Place
    from tuitrain.trainer.signals import StopRequest
    from tuitrain.trainer.telemetry import Telemetry


def main(run_dir: Path) -> int:
    """Train the run in `run_dir`; returns the exit code."""
    _make_environment(run_dir)
    place = _place(run_dir)
    from tuitrain.trainer.heartbeat import Heartbeat
    from tuitrain.trainer.last_words import LastWords
    from tuitrain.trainer.rank_log import no_stacks_needed, own_log, stacks_on_request
    from tuitrain.trainer.signals import StopRequest

    own_log(run_dir, rank=place.rank, attempt=place.attempt)
    stacks_on_request(run_dir, rank=place.rank, attempt=place.attempt)
    stop = StopRequest()
    stop.install()
    # torch and transformers cost seconds; signals are caught, and signs of life given, before.
    words = LastWords(run_dir, place)
    heartbeat = Heartbeat(
        run_dir, rank=place.rank, size=place.size, attempt=place.attempt, wake_fd=stop.wake_fd, on_leaving=words.lost
    )
    try:
        return _train(run_dir, place, heartbeat, words, stop)
    finally:
        heartbeat.stop()
        no_stacks_needed(run_dir, rank=place.rank, attempt=place.attempt)


def _make_environment(run_dir: Path) -> None:
    """What our own launcher would have set, so that the user's torchrun does the same. Before torch is imported."""
    from tuitrain.runs.torchrun import trainer_defaults

    if os.environ.get("WORLD_SIZE", "1") != "1":
        from tuitrain.runs.nccl import way_of

        for name, value in way_of(run_dir).items():  # between the GPUs of this machine, as found when the run was made
            os.environ.setdefault(name, value)
    one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    os.environ.update(trainer_defaults(os.environ, one_machine=one_machine))
    here = str(Path.cwd())
    if not sys.flags.safe_path and sys.path[0] in ("", here) and not __file__.startswith(here + os.sep):
        del sys.path[0]  # a folder named `kernels` where torchrun was started must not shadow the package of that name


def _place(run_dir: Path) -> Place:
    """From torchrun's variables; the attempt, where no supervisor counts, from what is on the disk. Every process reads that
    before any can have joined the others and begun to write."""
    from tuitrain.runs.status import read_status
    from tuitrain.runs.torchrun import ATTEMPT_VARIABLE
    from tuitrain.trainer.last_words import Place

    supervised = ATTEMPT_VARIABLE in os.environ
    before = None if supervised else read_status(run_dir)
    attempt = int(os.environ[ATTEMPT_VARIABLE]) if supervised else (before.attempt if before else 0) + 1
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    return Place(rank=rank, size=size, attempt=attempt, supervised=supervised)


def _train(run_dir: Path, place: Place, heartbeat: Heartbeat, words: LastWords, stop: StopRequest) -> int:
    from tuitrain.config.resolved import load_resolved
    from tuitrain.trainer.attempt import run_attempt
    from tuitrain.trainer.compile import tell_of_compiling
    from tuitrain.trainer.parallel import init_world
    from tuitrain.trainer.telemetry import Telemetry

    telemetry: Telemetry | None = None
    try:
        resolved = load_resolved(run_dir)
        world = init_world(resolved.config.run.device, hang_timeout_s=resolved.config.run.hang_timeout_s)
        telemetry = Telemetry(run_dir, world, attempt=place.attempt, heartbeat=heartbeat)
        tell_of_compiling(telemetry.tick)
        code = run_attempt(run_dir, resolved, world, telemetry, stop)
        heartbeat.ending("left", exit_code=code)
    except Exception as error:  # the process boundary: whatever it was is told before the process ends
        code = words.exception(error, heartbeat, telemetry)
    finally:
        if telemetry is not None:
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
