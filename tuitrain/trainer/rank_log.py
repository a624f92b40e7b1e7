"""Where a process's own output goes: rank 0 shares train.log with torchrun, every other rank has logs/rankNNNNN.log.

Two processes writing into one log mix their lines, and the one that broke is the one nobody finds. Must not import torch.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from tuitrain.runs.store import rank_log, stacks_file

_open: list[TextIO] = []
"""Files the interpreter's fault handler writes to; they must stay open as long as the process lives."""


def own_log(run_dir: Path, *, rank: int, attempt: int) -> None:
    """Send stdout and stderr of a rank above 0 to its own log, which begins with who writes."""
    if rank > 0:
        path = rank_log(run_dir, rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(1, f"tuitrain: rank {rank}, attempt {attempt} of {run_dir.name}, pid {os.getpid()}, {stamp}\n".encode())
    for stream in (sys.stdout, sys.stderr):  # a killed process says what it had to say
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    faulthandler.enable()


def stacks_on_request(run_dir: Path, *, rank: int, attempt: int) -> None:
    """Let SIGUSR2 write the stacks of all threads into the run. It works wherever the process is stuck: no Python code runs."""
    path = stacks_file(run_dir, rank=rank, attempt=attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    _open.append(file)
    faulthandler.register(signal.SIGUSR2, file=file, all_threads=True, chain=False)


def no_stacks_needed(run_dir: Path, *, rank: int, attempt: int) -> None:
    """Remove the file nobody asked anything of."""
    path = stacks_file(run_dir, rank=rank, attempt=attempt)
    if path.exists() and not path.stat().st_size:
        path.unlink(missing_ok=True)
