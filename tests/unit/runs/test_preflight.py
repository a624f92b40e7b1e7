"""Trouble before the start: what blocks, what only warns, and what each says to do."""

from __future__ import annotations

import resource
import socket
from dataclasses import replace

import pytest
from unit.config.test_resolve import CPU_BOX

from tuitrain.config.load import load_config
from tuitrain.errors import EnvironmentError_
from tuitrain.runs import preflight as module
from tuitrain.runs.machine import Gpu, Machine
from tuitrain.runs.preflight import Trouble, preflight, refuse

GPU = Gpu(name="NVIDIA H100", memory_bytes=80 << 30, compute_capability=9.0, driver="570", power_limit_w=700.0)
CARD = replace(GPU, name="NVIDIA GeForce RTX 4090", memory_bytes=24 << 30)


def box(*gpus: Gpu) -> Machine:
    return replace(CPU_BOX, gpus=gpus, gpu_reason="")


def found(machine: Machine, *overrides: str, environ: dict[str, str] | None = None, by_hand: bool = False) -> list[Trouble]:
    device = "cuda" if machine.gpus else "cpu"
    config = load_config(None, [f"run.device={device}", *overrides])
    return preflight(config, machine, environ or {}, by_hand=by_hand)


@pytest.fixture
def listening() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_sound_machine_has_no_trouble() -> None:
    assert found(CPU_BOX) == found(CPU_BOX, "run.nproc=2") == []


@pytest.mark.parametrize("name", ["MASTER_PORT", "PET_MASTER_PORT", "PET_RDZV_ENDPOINT"])
def test_a_port_that_is_taken_blocks_who_starts_by_hand(name: str, listening: int) -> None:
    value = f"127.0.0.1:{listening}" if name == "PET_RDZV_ENDPOINT" else str(listening)
    (trouble,) = found(CPU_BOX, environ={name: value}, by_hand=True)
    assert trouble.blocks
    assert f"port {listening}, which {name} names, is not free: Address already in use" in trouble.message
    assert found(CPU_BOX, environ={name: value}) == [], "our own start takes a free port"


def test_a_rendezvous_elsewhere_is_not_ours_to_judge(listening: int) -> None:
    assert found(CPU_BOX, environ={"PET_RDZV_ENDPOINT": f"head.example:{listening}"}, by_hand=True) == []


def test_without_a_loopback_nothing_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_cannot_bind", lambda host, port: "Cannot assign requested address")
    (trouble,) = found(CPU_BOX)
    assert (trouble.check, trouble.blocks) == ("loopback", True)


@pytest.mark.parametrize(("limit", "blocks"), [(10, True), (80, False)])
def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch, limit: int, blocks: bool) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, 4096))
    (trouble,) = found(CPU_BOX, "run.nproc=2")
    assert (trouble.check, trouble.blocks, trouble.hint) == ("open files", blocks, "ulimit -n 4096")


def test_more_processes_than_cores_is_a_warning() -> None:
    (trouble,) = found(replace(CPU_BOX, usable_cores=2), "run.nproc=4")
    assert not trouble.blocks
    assert "4 processes share 2 cores" in str(trouble)


def test_more_processes_than_gpus_blocks() -> None:
    (trouble,) = found(box(GPU, GPU), "run.nproc=4")
    assert trouble.blocks
    assert "run.nproc is 4, and 2 GPUs are visible" in trouble.message


def test_gpus_that_differ_are_named_when_they_work_together() -> None:
    unlike = box(GPU, GPU, CARD)
    assert found(unlike, "run.nproc=2") == []
    (trouble,) = found(unlike, "run.nproc=3")
    assert not trouble.blocks
    assert "2 x NVIDIA H100 80 GiB, 1 x NVIDIA GeForce RTX 4090 24 GiB" in trouble.message


@pytest.mark.parametrize(
    ("card", "count", "blocks"), [(CARD, 2, None), (CARD, 4, True), (GPU, 4, False)], ids=["enough", "needed", "perhaps"]
)
def test_dockers_64_mib_of_shared_memory(monkeypatch: pytest.MonkeyPatch, card: Gpu, count: int, blocks: bool | None) -> None:
    """As reported: enough for 2 GPUs and not for 4 - unless they need none, over NVLink."""
    monkeypatch.setattr(module, "shared_memory_bytes", lambda: 64 << 20)
    troubles = found(box(*[card] * count), f"run.nproc={count}")
    assert [each.blocks for each in troubles] == ([] if blocks is None else [blocks])
    assert found(box(*[card] * count), f"run.nproc={count}", environ={"NCCL_SHM_DISABLE": "1"}) == []


def test_an_interface_that_does_not_exist_blocks() -> None:
    (trouble,) = found(CPU_BOX, "run.nproc=2", environ={"GLOO_SOCKET_IFNAME": "nonsense0"})
    assert trouble.blocks
    assert "'nonsense0'" in trouble.message


def test_what_blocks_is_one_error_with_every_cure() -> None:
    troubles = [
        Trouble(check=name, blocks=name != "b", message=f"{name} is wrong", hint=f"mend {name}") for name in ("a", "b", "c")
    ]
    with pytest.raises(EnvironmentError_) as caught:
        refuse(troubles)
    assert (caught.value.message, caught.value.hint) == ("a is wrong; c is wrong", "mend a; mend c")
    refuse(troubles[1:2])
