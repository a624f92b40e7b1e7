"""The thread in every training process that says it lives, whatever the training thread does - and that leaves when it must.

It writes heartbeats/rankNNNNN.json, in the main process status.json too. It also hears signals the training thread cannot:
that thread may sit in a collective whose partner is dead, where no Python code runs. SIGTERM means "save and stop", but when
torchrun sends it because another process has died there is nobody to save with: then this thread ends the process.

Must not import torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tuitrain.errors import EXIT_RUN_FAILED
from tuitrain.runs.heartbeats import RankBeat, open_beat, read_beat, write_beat
from tuitrain.runs.status import HEARTBEAT_S, ProcessId, Status, read_status, write_status

QUIET_S = 3.0
"""Without progress for so long, a process tells which collective it has reached."""
_LISTEN_S = 0.25
"""How often the others are looked at once a signal has come."""


class Heartbeat(threading.Thread):
    """Beats every few seconds. Attributes without underscore are set by the training thread."""

    def __init__(
        self,
        run_dir: Path,
        *,
        rank: int,
        size: int,
        attempt: int,
        wake_fd: int | None = None,
        on_leaving: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.progress_s = time.time()
        self.step, self.phase = 0, "start"
        self._run_dir, self._rank, self._size, self._wake_fd = run_dir, rank, size, wake_fd
        self._on_leaving = on_leaving
        self._fd = open_beat(run_dir, rank)
        me = ProcessId.current()
        self._beat = RankBeat(
            rank=rank, attempt=attempt, pid=me.pid, start_time_s=me.start_time_s, host=socket.gethostname(),
            heartbeat_s=time.time(), progress_s=self.progress_s,
        )  # fmt: skip
        self._status: Status | None = None
        self._stop_read, self._stop_write = os.pipe()
        self._ending = self._signalled = False
        self._lock = threading.Lock()
        self._write()
        self.start()

    def run(self) -> None:
        """The thread."""
        files = [self._stop_read, *([self._wake_fd] if self._wake_fd is not None else [])]
        while True:
            ready, _, _ = select.select(files, [], [], _LISTEN_S if self._signalled else HEARTBEAT_S)
            if self._stop_read in ready:
                return
            if self._wake_fd in ready and self._wake_fd is not None:
                os.read(self._wake_fd, 4096)
                self._signalled = True
            with contextlib.suppress(MemoryError):  # the training thread will meet it too, and tell
                self._write()
            if self._signalled and not self._ending and (dead := self._dead_peer()) is not None:
                self._leave(dead)

    def keep_status(self) -> None:
        """All processes have met: from now on the main one keeps status.json too. Not before: where no supervisor counts
        attempts, every process reads there which one this is."""
        if self._rank == 0:
            with self._lock:
                self._status = _first_status(self._run_dir, ProcessId.current(), self._beat.attempt)
            self._write()

    def set_state(self, state: str) -> None:
        """Show another state of the run at once."""
        if self._status is not None:
            with self._lock:
                self._status = self._status.with_(state=state)
            self._write()

    def ending(self, state: str, message: str = "", exit_code: int = 0) -> None:
        """The training thread is on its way out, by itself: its word counts, and this thread no longer ends the process."""
        self._ending = True
        with self._lock:
            self._beat = replace(self._beat, state=state, message=message, exit_code=exit_code)
        self._write()

    def stop(self) -> None:
        """End the thread after a last beat; one that nothing went wrong in has left in order."""
        if self._fd < 0:
            return
        os.write(self._stop_write, b".")
        self.join()
        if self._beat.state == "running":
            self._beat = replace(self._beat, state="left")
        self._write()
        for fd in (self._stop_read, self._stop_write, self._fd):
            os.close(fd)
        self._fd = -1

    def _write(self) -> None:
        with self._lock:
            now_s = time.time()
            self._beat = replace(self._beat, heartbeat_s=now_s, progress_s=self.progress_s, step=self.step, phase=self.phase)
            if now_s - self.progress_s > QUIET_S:
                reached, waiting_in = _collectives()
                self._beat = replace(self._beat, reached=reached, waiting_in=waiting_in)
            write_beat(self._fd, self._beat)
            if self._status is None:
                return
            self._status = self._status.with_(heartbeat_s=now_s, progress_s=self.progress_s)
            try:
                write_status(self._run_dir, self._status)
            except OSError as error:  # a full disk: the next beat tries again, and events say what is wrong
                print(f"warning: status.json could not be written: {error}", flush=True)

    def _dead_peer(self) -> int | None:
        """Another process of this attempt that died."""
        for rank in range(self._size):
            beat = read_beat(self._run_dir, rank) if rank != self._rank else None
            if beat is not None and beat.attempt == self._beat.attempt and beat.is_dead:
                return rank
        return None

    def _leave(self, dead: int) -> None:
        """End this process. Nothing is saved: the newest checkpoint is what the next attempt starts from."""
        message = f"rank {dead} is gone: leaving, nothing can be saved without it"
        with self._lock, contextlib.suppress(OSError):
            write_beat(self._fd, replace(self._beat, state="lost_peer", message=message, exit_code=EXIT_RUN_FAILED))
            # Not print: the training thread may hold the lock of the stream.
            os.write(2, f"tuitrain: rank {self._rank}: {message}\n".encode())
        if self._on_leaving is not None:
            self._on_leaving(dead)
        os._exit(EXIT_RUN_FAILED)


def _first_status(run_dir: Path, me: ProcessId, attempt: int) -> Status:
    before = read_status(run_dir)
    supervisor = before.supervisor if before and before.supervisor and before.supervisor.process() else None
    detail = before.detail if before and supervisor else ""
    return Status(state="running", host=socket.gethostname(), attempt=attempt, supervisor=supervisor, trainer=me, detail=detail)


def _collectives() -> tuple[dict[str, int], str]:
    """How many collectives this process has entered, by process group, and the last one's name: torch's flight recorder, which
    NCCL keeps apart from the others."""
    if "torch.distributed" not in sys.modules:
        return {}, ""
    from torch._C import _distributed_c10d as c10d

    reached: dict[str, int] = {}
    newest = (0, "")
    for name in ("_dump_fr_trace_json", "_dump_nccl_trace_json"):
        dump: Callable[[], str] | None = getattr(c10d, name, None)
        try:
            entries = json.loads(dump()).get("entries", []) if dump is not None else []
            for entry in entries:
                group = str(entry["process_group"][0])
                reached[group] = max(reached.get(group, 0), int(entry["collective_seq_id"]))
                newest = max(newest, (int(entry["time_created_ns"]), str(entry["profiling_name"])))
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError):
            continue  # a recorder that is off or of another shape: who is behind is then not told
    return reached, newest[1]
