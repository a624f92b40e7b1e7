"""Export from a process without torch: the caller's end of `tuitrain.model.export`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuitrain.errors import EXIT_USAGE, CheckpointError, EnvironmentError_, UsageError
from tuitrain.runs.launch import require_training_packages
from tuitrain.runs.launch_environment import child_environment


def run_export(checkpoint: Path, out: Path, *, to: str, dtype: str, onto: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Make and verify an export; returns its facts. `say` hears every step."""
    require_training_packages()
    arguments = [str(checkpoint), str(out), "--to", to, "--dtype", dtype, "--onto", onto]
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    last: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:  # a pipe nobody reads would fill and stop it
        process = subprocess.Popen(
            [sys.executable, "-m", "tuitrain.model.export", *arguments],
            stdout=subprocess.PIPE, stderr=said, text=True, encoding="utf-8", env=child_environment() | quiet,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last = json.loads(line)
                if "step" in last:
                    say(last["step"])
            code = process.wait()
        except BaseException:  # Ctrl-C, most of all: the child deletes what it staged
            process.terminate()
            process.wait()
            raise
        said.seek(0)
        tail = (said.read().strip().splitlines() or [f"exit code {code}"])[-1]
    if "ok" in last:
        facts: dict[str, Any] = last["ok"]
        return facts
    if "error" in last:
        kind = UsageError if last.get("exit_code") == EXIT_USAGE else CheckpointError
        raise kind(last["error"], last.get("hint", ""))
    raise EnvironmentError_(f"the export ended early: {tail[:300]}", "too little memory for the model is the usual cause")
