"""Start a run, or start it again: a folder that says everything, and a supervisor in a session of its own.

Nothing of the launched run hangs on the launching process: no pipe, no terminal, no shared session.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tuitrain import __version__
from tuitrain.config.dump import to_toml
from tuitrain.config.resolve import resolve
from tuitrain.config.resolved import Resolved
from tuitrain.config.schema import Config
from tuitrain.errors import EnvironmentError_, MissingExtraError, RunError, UsageError
from tuitrain.files import write_atomic, write_json
from tuitrain.runs.launch_environment import child_environment
from tuitrain.runs.machine import Machine, this_machine
from tuitrain.runs.nccl import nccl_way, way_of
from tuitrain.runs.preflight import preflight, refuse
from tuitrain.runs.status import read_status
from tuitrain.runs.store import Run, RunStore

START_TIMEOUT_S = 20.0
_PACKAGES = (
    "torch", "transformers", "tokenizers", "tiktoken", "safetensors", "numpy", "peft", "bitsandbytes", "flash-attn", "triton",
    "textual",
)  # fmt: skip
_children: list[subprocess.Popen[bytes]] = []
"""Supervisors this process started: kept, so that none becomes a zombie unnoticed."""


def launch(
    config: Config,
    store: RunStore,
    *,
    plan: dict[str, Any] | None = None,
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Run:
    """Make the run's folder and start it. Returns once its supervisor is at work. `say` hears what was found on the way."""
    return start(prepare(config, store, plan=plan, command=command, say=say))


def prepare(
    config: Config,
    store: RunStore,
    *,
    plan: dict[str, Any] | None = None,
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
    by_hand: bool = False,
) -> Run:
    """Look for trouble, then make the run's folder; nothing is started. `by_hand`: the user will call torchrun."""
    require_training_packages()
    machine = this_machine()
    resolved = resolve(config, machine)
    troubles = preflight(resolved.config, machine, by_hand=by_hand)
    refuse(troubles)
    for trouble in troubles:
        say(str(trouble))
    found: dict[str, Any] = {"preflight": [each.to_dict() for each in troubles]}
    if way := nccl_way(resolved.config, machine, say):
        say(f"NCCL: {way.reason}")
        found["nccl"] = way.to_dict()
    return prepare_run(resolved, config, store, machine, plan=plan, command=command, found=found)


def prepare_run(
    resolved: Resolved,
    asked: Config,
    store: RunStore,
    machine: Machine,
    *,
    plan: dict[str, Any] | None,
    command: str,
    found: dict[str, Any] | None = None,
) -> Run:
    """The run's folder, complete before anything is started. `found`: what was looked for before, for environment.json."""
    run = store.create(asked.run.name)
    try:
        resolved.save(run.path)
        if plan is not None:
            write_json(run.path / "plan.json", plan)
        facts = environment(machine, seed=asked.run.seed, command=command) | (found or {})
        write_json(run.path / "environment.json", facts)
        # config.toml comes last: a folder without one is no run, and nobody lists it.
        write_atomic(run.path / "config.toml", to_toml(asked, comment=command))
    except OSError as error:
        raise EnvironmentError_(
            f"cannot write {run.path}: {error.strerror or error}", "free some space, or give another --runs-dir"
        ) from error
    return run


def start(run: Run) -> Run:
    """Start the supervisor of a run that is not being worked on."""
    if run.liveness().alive:
        raise UsageError(f"{run.run_id} is already running", f"`tuitrain runs watch {run.run_id}` shows it")
    before = read_status(run.path)
    with run.log_file.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "tuitrain.runs.supervise", str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=run.path,
            env=way_of(run.path) | child_environment(),
        )
    _children.append(child)
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        status = read_status(run.path)
        if status is not None and (before is None or status != before):
            return run
        if child.poll() is not None:
            raise RunError(f"the supervisor of {run.run_id} ended at once with code {child.returncode}", f"see {run.log_file}")
        time.sleep(0.02)
    raise RunError(f"the supervisor of {run.run_id} said nothing for {START_TIMEOUT_S:.0f} s", f"see {run.log_file}")


def resume(run: Run) -> Run:
    """Start a run again; the trainer continues from its newest whole checkpoint, or from the beginning."""
    require_training_packages()
    return start(run)


def require_training_packages() -> None:
    """MissingExtraError for the first package training needs and does not find."""
    for package in ("torch", "transformers", "tokenizers", "tiktoken", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "train", "training")


def environment(machine: Machine, *, seed: int, command: str) -> dict[str, Any]:
    """environment.json: what the run ran on and with."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "tuitrain": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "machine": machine.to_dict(),
        "packages": versions,
        "git_commit": _git_commit(),
        "seed": seed,
        "command": command,
        "created_s": time.time(),
    }


def _git_commit() -> str | None:
    """Commit of the working directory, marked when it has changes; None outside a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
        if commit.returncode:
            return None
        changes = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
