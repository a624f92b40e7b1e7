"""Trouble of several processes that can be seen before anything of a run is made. Must not import torch.

Each check looks at one thing and says what it found; `refuse` turns what would surely fail into an error.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tuitrain.config.schema import Config
from tuitrain.errors import EnvironmentError_
from tuitrain.runs.machine import Machine

SHM: Final = Path("/dev/shm")
NCCL_SEGMENT_BYTES: Final = 9_637_888
"""One NCCL buffer in /dev/shm, as its own errors name it: https://github.com/NVIDIA/nccl/issues/342 and /525."""
NCCL_CHANNELS: Final = 2
"""Rings over shared memory, as NCCL reports them on such cards: https://github.com/NVIDIA/nccl/issues/1518. Two times 9.6 MB
per GPU reproduces what is reported of Docker's 64 MiB: enough for 2 GPUs, too little for 4."""
NO_PEER_TO_PEER: Final = ("GeForce RTX 40", "GeForce RTX 50")
"""Cards without peer-to-peer and NVLink: all they exchange goes through /dev/shm."""
FEWEST_OPEN_FILES: Final = 13
"""Files a training process had open on the CPU, and one more for each process: 15 with 2, 17 with 4, measured."""
OPEN_FILES: Final = 64
OPEN_FILES_PER_PROCESS: Final = 16
"""What is safe: data shards, checkpoints, several process groups, and NCCL's connections per peer and channel. An estimate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """One thing found. What `blocks` would surely fail."""

    check: str
    blocks: bool
    message: str
    hint: str

    def to_dict(self) -> dict[str, Any]:
        """For environment.json."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{'error' if self.blocks else 'warning'}: {self.message}; {self.hint}"


def preflight(
    config: Config, machine: Machine, environ: Mapping[str, str] = os.environ, *, by_hand: bool = False
) -> list[Trouble]:
    """Everything that stands against the processes of a resolved configuration. `by_hand`: torchrun is started by the user,
    whose environment may choose a port; ours takes a free one."""
    nproc, cuda = config.run.processes, config.run.device == "cuda"
    found = [*_loopback()]
    if by_hand:
        found += _ports(environ)
    if nproc == 1:
        return found
    found += _open_files(nproc)
    if cuda:
        found += [*_enough_gpus(nproc, machine), *_like_gpus(nproc, machine), *_shared_memory(nproc, machine, environ)]
    else:
        found += [*_cores(config, machine), *_interface(environ)]
    return found


def refuse(troubles: Sequence[Trouble]) -> None:
    """EnvironmentError_ when something blocks."""
    if blocking := [each for each in troubles if each.blocks]:
        raise EnvironmentError_("; ".join(each.message for each in blocking), "; ".join(each.hint for each in blocking))


def shared_memory_bytes() -> int | None:
    """Free bytes of /dev/shm; None where there is none."""
    try:
        facts = os.statvfs(SHM)
    except OSError:
        return None
    return facts.f_bavail * facts.f_frsize


def _loopback() -> Iterator[Trouble]:
    if said := _cannot_bind("127.0.0.1", 0):
        message = f"the loopback address 127.0.0.1, over which the processes find each other, cannot be bound: {said}"
        yield Trouble(check="loopback", blocks=True, message=message, hint="ip link set lo up")


def _ports(environ: Mapping[str, str]) -> Iterator[Trouble]:
    """Ports that a torchrun of the user's own will take from the environment, where they are this machine's."""
    given = {name: ("", environ[name]) for name in ("MASTER_PORT", "PET_MASTER_PORT") if environ.get(name)}
    if endpoint := environ.get("PET_RDZV_ENDPOINT"):
        host, _, port = endpoint.rpartition(":")
        if host in ("localhost", "127.0.0.1", socket.gethostname()):
            given["PET_RDZV_ENDPOINT"] = (host, port)
    for name, (host, port) in given.items():
        if port.isdigit() and port != "0" and (said := _cannot_bind(host, int(port))):
            message = f"port {port}, which {name} names, is not free: {said}"
            yield Trouble(check="port", blocks=True, message=message, hint=f"unset {name}, or choose another port")


def _cannot_bind(host: str, port: int) -> str:
    """Why the address cannot be taken; empty when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As torchrun's store does: a port in TIME_WAIT is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _open_files(nproc: int) -> Iterator[Trouble]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = OPEN_FILES + OPEN_FILES_PER_PROCESS * nproc
    if limit != resource.RLIM_INFINITY and limit < need:
        message = f"{limit} open files are allowed, and each of {nproc} processes may need {need}"
        blocks = limit < FEWEST_OPEN_FILES + nproc
        yield Trouble(check="open files", blocks=blocks, message=message, hint="ulimit -n 4096")


def _enough_gpus(nproc: int, machine: Machine) -> Iterator[Trouble]:
    if machine.gpus and nproc > len(machine.gpus):
        count = len(machine.gpus)
        message = f"run.nproc is {nproc}, and {count} GPU{'s are' if count > 1 else ' is'} visible"
        yield Trouble(check="gpus", blocks=True, message=message, hint=f"run.nproc={count}, or --nproc auto")


def _like_gpus(nproc: int, machine: Machine) -> Iterator[Trouble]:
    kinds: dict[tuple[str, int], int] = {}
    for gpu in machine.gpus[:nproc]:
        kinds[gpu.name, gpu.memory_bytes] = kinds.get((gpu.name, gpu.memory_bytes), 0) + 1
    if len(kinds) > 1:
        said = ", ".join(f"{count} x {name} {size / 2**30:.0f} GiB" for (name, size), count in kinds.items())
        hint = "the slowest sets the pace and the smallest the micro-batch; CUDA_VISIBLE_DEVICES leaves some out"
        yield Trouble(check="gpus", blocks=False, message=f"the GPUs differ: {said}", hint=hint)


def _shared_memory(nproc: int, machine: Machine, environ: Mapping[str, str]) -> Iterator[Trouble]:
    free, need = shared_memory_bytes(), shared_memory_need(nproc)
    if free is None or free >= need or environ.get("NCCL_SHM_DISABLE") == "1":
        return
    message = f"/dev/shm has {free / 1e6:.0f} MB free, and NCCL may need {need / 1e6:.0f} MB for {nproc} GPUs"
    # https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html#shared-memory
    hint = "docker run --shm-size=1g; on Kubernetes an emptyDir of medium Memory at /dev/shm; remove stale /dev/shm/nccl-*"
    through = any(mark in gpu.name for gpu in machine.gpus[:nproc] for mark in NO_PEER_TO_PEER)
    yield Trouble(check="shared memory", blocks=through, message=message, hint=hint)


def shared_memory_need(nproc: int) -> int:
    """Bytes of /dev/shm that NCCL takes for that many GPUs without peer-to-peer."""
    return nproc * NCCL_CHANNELS * NCCL_SEGMENT_BYTES


def _cores(config: Config, machine: Machine) -> Iterator[Trouble]:
    nproc, cores = config.run.processes, machine.usable_cores
    if nproc > cores:
        message = f"{nproc} processes share {cores} core{'s' * (cores > 1)}: they wait for each other"
        yield Trouble(check="cores", blocks=False, message=message, hint=f"run.nproc={cores} is faster")


def _interface(environ: Mapping[str, str]) -> Iterator[Trouble]:
    """gloo takes the interface it is told, and fails in every process when there is none of that name."""
    name = environ.get("GLOO_SOCKET_IFNAME")
    known = [each for _, each in socket.if_nameindex()]
    if name and name not in known:
        message = f"GLOO_SOCKET_IFNAME names {name!r}, and this machine has {', '.join(known)}"
        yield Trouble(check="interface", blocks=True, message=message, hint="unset GLOO_SOCKET_IFNAME")
