"""When this process came to the collectives of a step, and how long they ran: what tells a slow rank from the ones that wait.

Looked at are steps 3 to 5 of an attempt and step 6, then the three up to every 25th and the next (more rarely where that would
cost more than 1 % of the time, see `_Period`). No message is exchanged for it: every process writes its own events, and readers
merge them.

`collectives`, of three steps that run as any other. torch's flight recorder notes every collective when the process calls it;
   the event lists the calls. Whoever called last is who the others waited for (`tuitrain.events.ranks`). Under NCCL the call is
   the host's, and the device comes to it later: a slow host (data, Python, a stopped process) shows, a slow device does not.
`communication`, of a step under torch's profiler: the share of the step in which at least one collective of this process ran.
   On gloo these are the `gloo:*` intervals of its worker threads, from the start of the operation to its end; on CUDA the NCCL
   kernels. Both contain the waiting for ranks that come late, and what was hidden behind computing counts like what was not.

A checkpoint written in the background communicates over a group of its own (`parallel.side`). That is not the step's: such
calls are left out of the first event, and where the profiler cannot tell them apart (gloo) the second is not written.

Measured on 2 gloo processes of one thread each (torch 2.13, 2 cores): looking once takes 14 to 21 ms of processor time besides
the steps, of which the profiler's stop is the half, and makes the profiled step 1 to 4 ms longer; steps of 16 ms are therefore
looked at every 200th time, steps of 100 ms every 25th. The profiler keeps 4 to 8 MiB of resident memory. The names of NCCL's
recorder and kernels are torch's and NCCL's own; they have not been tried on two GPUs.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
import torch.distributed as dist

from tuitrain.trainer.parallel.world import World
from tuitrain.trainer.telemetry import Telemetry

FIRST, EVERY, WINDOW = 5, 25, 3
"""Steps of an attempt after which is looked, and how many of them are looked at: the first two pay for warming up."""
MAX_COST_FRAC = 0.01
MAX_ARRIVALS = 256
"""Calls an event lists, the last ones: about 6 kB."""
_OPERATIONS: Final = {"cuda": ("ncclDevKernel", "ncclKernel"), "cpu": ("gloo:",)}
"""What the profiler calls a running collective."""
_DTYPE_BYTES: Final = {
    "Double": 8, "Long": 8, "Float": 4, "Int": 4, "BFloat16": 2, "Half": 2, "Short": 2, "Byte": 1, "Char": 1, "Bool": 1,
    "Float8_e4m3fn": 1, "Float8_e5m2": 1,
}  # fmt: skip


class CollectiveWatch:
    """Looks at some steps of one process. With a single process there is nothing to look at, and it does nothing."""

    def __init__(self, world: World, telemetry: Telemetry) -> None:
        self._telemetry, self._device = telemetry, world.device.type
        self._on = world.size > 1 and self._can_record()
        self._side = world.side.group.group_name if world.side.group is not None else None
        """Name of the group that is not the step's."""
        self._period = _Period()
        self._count = 0
        self._begin_ns = 0
        self._window: deque[tuple[int, int, int]] = deque(maxlen=WINDOW)
        """(number, begin, end) of the last steps without profiler."""
        self._profiler: torch.autograd.profiler.profile | None = None
        self._profiling = contextlib.ExitStack()
        self._profile_next = False
        self._begin_cpu_s = self._cost_cpu_s = 0.0
        """Processor time of this thread: what looking costs is counted in it, for a busy machine is not the looking's fault."""

    def begin(self) -> None:
        """A step begins: before its batch is fetched, for a rank that waits for data keeps the others waiting too."""
        if not self._on:
            return
        self._count += 1
        if self._profiler is not None:  # the step it was started for did not come to its end
            self._profiling.close()
            self._profiler = None
        if self._profile_next:
            start_s = time.thread_time()
            self._profiler = self._profiling.enter_context(_profiler(self._device))
            self._cost_cpu_s += time.thread_time() - start_s
        self._begin_ns, self._begin_cpu_s = time.time_ns(), time.thread_time()

    def end(self) -> None:
        """The step is over, weights and all. Its number is the telemetry's by now."""
        if not self._on:
            return
        end_ns, end_cpu_s = time.time_ns(), time.thread_time()
        step_s, step_cpu_s = (end_ns - self._begin_ns) / 1e9, end_cpu_s - self._begin_cpu_s
        if self._profiler is not None:
            self._tell_communication(self._profiler, end_ns, step_s)
            self._profiler, self._profile_next = None, False
            self._period.cost(self._cost_cpu_s + time.thread_time() - end_cpu_s, step_cpu_s)
        else:
            self._period.seen(step_s, step_cpu_s)
            self._window.append((self._telemetry.step, self._begin_ns, end_ns))
            if self._period.is_due(self._count):
                self._tell_arrivals()
                self._cost_cpu_s = time.thread_time() - end_cpu_s

    def _beside(self, call: dict[str, Any]) -> bool:
        return bool(call["process_group"][0] == self._side)

    def _can_record(self) -> bool:
        from torch._C import _distributed_c10d as c10d

        if hasattr(c10d, _dump_name(self._device)):
            return True
        self._telemetry.warn(
            f"torch {torch.__version__} has no {_dump_name(self._device)}", "which rank is the slowest stays unknown"
        )
        return False

    def _tell_arrivals(self) -> None:
        recorded = _recorded(self._device)
        if not recorded:
            size = os.environ.get("TORCH_FR_BUFFER_SIZE", "unset")
            self._telemetry.warn(
                f"torch's flight recorder notes no collective (TORCH_FR_BUFFER_SIZE is {size})",
                "which rank is the slowest stays unknown; unset the variable",
            )
            self._on = False
            return
        steps, whole = covered(self._window, recorded)
        calls = [
            each
            for each in recorded
            if steps[0][1] <= each["time_created_ns"] <= steps[-1][2] and not each["is_p2p"] and not self._beside(each)
        ]
        if not calls:  # a checkpoint's calls have pushed the steps' out of the recorder
            return
        begin_ns = steps[0][1]
        groups, arrivals = _arrivals(calls, begin_ns)
        self._telemetry.emit(
            "collectives",
            begin_ns=begin_ns,
            steps=[[number, begin - begin_ns, end - begin_ns] for number, begin, end in steps],
            groups=groups,
            arrivals=arrivals,
            whole=whole,
            payload_bytes=payload_bytes(calls),
        )
        self._profile_next = True

    def _tell_communication(self, profiler: torch.autograd.profiler.profile, end_ns: int, step_s: float) -> None:
        self._profiling.close()
        assert profiler.kineto_results is not None, "the profiler has run"
        if self._device == "cpu" and any(
            self._beside(each) for each in _recorded(self._device) if self._begin_ns <= each["time_created_ns"] <= end_ns
        ):
            return
        spans = [
            (max(self._begin_ns, each.start_ns()), min(end_ns, each.start_ns() + each.duration_ns()))
            for each in profiler.kineto_results.events()
            if each.name().startswith(_OPERATIONS[self._device])
        ]
        self._telemetry.emit("communication", step_s=step_s, communicating_s=union_ns(spans) / 1e9, operations=len(spans))


class _Period:
    """How often to look: every 25th step, or as many times 2 as keep the cost below MAX_COST_FRAC.

    Each process decides for itself, by what it cost here: whoever looks more rarely still looks at steps all others look at.
    """

    def __init__(self) -> None:
        self.steps = EVERY
        self._recent: deque[tuple[float, float]] = deque(maxlen=15)
        """(wall time, processor time) of the last steps without profiler."""

    def is_due(self, count: int) -> bool:
        """Whether the attempt's step number `count` is looked at."""
        return count == FIRST or count % self.steps == 0

    def seen(self, step_s: float, cpu_s: float) -> None:
        """A step took so long, and so much of this thread."""
        self._recent.append((step_s, cpu_s))

    def cost(self, outside_cpu_s: float, profiled_cpu_s: float) -> None:
        """What looking took of this thread besides the steps, and what the profiled step took."""
        usual_s = statistics.median(wall for wall, _ in self._recent)
        usual_cpu_s = statistics.median(cpu for _, cpu in self._recent)
        cost_s = outside_cpu_s + max(0.0, profiled_cpu_s - usual_cpu_s)
        self.steps = EVERY
        while cost_s > MAX_COST_FRAC * self.steps * usual_s and self.steps < 1 << 20:
            self.steps *= 2


def _profiler(device: str) -> torch.autograd.profiler.profile:
    # Kineto tells stderr, and with it train.log, of every start and stop unless its level is above the highest there is.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    if device == "cuda":
        return torch.autograd.profiler.profile(use_cpu=False, use_device="cuda")
    return torch.autograd.profiler.profile()


def _dump_name(device: str) -> str:
    return "_dump_nccl_trace_json" if device == "cuda" else "_dump_fr_trace_json"


def _recorded(device: str) -> list[dict[str, Any]]:
    """What the flight recorder holds, oldest first. NCCL keeps one of its own."""
    from torch._C import _distributed_c10d as c10d

    dump: Callable[[], str] = getattr(c10d, _dump_name(device))
    entries: list[dict[str, Any]] = json.loads(dump()).get("entries", [])
    return entries


def covered(window: Iterable[tuple[int, int, int]], recorded: list[dict[str, Any]]) -> tuple[list[tuple[int, int, int]], bool]:
    """(the steps all of whose calls are among the last MAX_ARRIVALS recorded, True); the last step and False when none is."""
    steps = list(window)
    times = sorted(each["time_created_ns"] for each in recorded)[-MAX_ARRIVALS:]
    known_ns = times[0] if times else 0
    whole = [step for step in steps if step[1] >= known_ns]
    return (whole, True) if whole else (steps[-1:], False)


def _arrivals(calls: Iterable[dict[str, Any]], begin_ns: int) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """(the process groups by name, and per call its group's index, the group's own count of collectives, and when)."""
    names: dict[str, int] = {}
    arrivals = [
        [names.setdefault(each["process_group"][0], len(names)), each["collective_seq_id"], each["time_created_ns"] - begin_ns]
        for each in calls
    ]
    arrivals.sort(key=lambda arrival: arrival[2])
    arrivals = arrivals[-MAX_ARRIVALS:]
    return [{"name": name, "ranks": _ranks_of(name)} for name in names], arrivals


def _ranks_of(group_name: str) -> list[int]:
    from torch._C._distributed_c10d import _resolve_process_group

    name = dist.distributed_c10d.GroupName(group_name)
    return list(dist.get_process_group_ranks(_resolve_process_group(name)))


def payload_bytes(calls: Iterable[dict[str, Any]]) -> int | None:
    """Bytes handed to the calls, or got from them where that is more; None when one is of an unknown type."""
    total = 0
    for each in calls:
        sides = [_side_bytes(each[f"{side}_sizes"], each[f"{side}_dtypes"]) for side in ("input", "output")]
        known = [side for side in sides if side is not None]
        if len(known) < len(sides):
            return None
        total += max(known)
    return total


def _side_bytes(sizes: list[list[int]], dtypes: list[str]) -> int | None:
    total = 0
    for index, shape in enumerate(sizes):
        # One type may stand for all tensors of a coalesced call.
        width = _DTYPE_BYTES.get(dtypes[min(index, len(dtypes) - 1)]) if dtypes else None
        if width is None:
            return None
        elements = 1
        for length in shape:
            elements *= length
        total += elements * width
    return total


def union_ns(spans: Iterable[tuple[int, int]]) -> int:
    """Nanoseconds covered by at least one of the spans; those that end before they begin cover nothing."""
    covered = until = 0
    for begin, end in sorted(spans):
        begin = max(begin, until)
        if end > begin:
            covered += end - begin
            until = end
    return covered
