"""Disk and host RAM."""

from dataclasses import replace

import pytest

from tuitrain_planners import Adapter, Host, Mesh, PlanError, PlanRequest, count_parameters, figures, plan, to_dict, to_text


def test_a_checkpoint_is_weights_and_states(gpu_request: PlanRequest) -> None:
    n = count_parameters(gpu_request.shape).value
    for precision, each in (("bf16-mixed", 12), ("fp32", 12), ("bf16-pure", 6)):
        stored = plan(replace(gpu_request, precision=precision)).storage
        assert stored.checkpoint_bytes.value == n * each, precision
        assert stored.kept_bytes.value == 4 * n * each, "three kept, one being written"


def test_sharding_and_devices_change_no_checkpoint(gpu_request: PlanRequest) -> None:
    one = plan(gpu_request).storage.checkpoint_bytes.value
    for zero in range(4):
        assert plan(replace(gpu_request, zero=zero, mesh=Mesh(dp=8))).storage.checkpoint_bytes.value == one


def test_an_adapter_is_saved_without_its_base(gpu_request: PlanRequest) -> None:
    """GPT-2, rank 8 on q and v: 2 * 8 * (768 + 768) per layer, 12 bytes each."""
    stored = plan(replace(gpu_request, adapter=Adapter(rank=8, targets=("q", "v")))).storage
    assert stored.checkpoint_bytes.value == 12 * 2 * 8 * (768 + 768) * 12
    assert stored.load_bytes is not None
    assert stored.load_bytes.value == 2 * count_parameters(gpu_request.shape).value


@pytest.mark.parametrize(("vocab_size", "each"), [(50_257, 2), (65_536, 2), (65_537, 4), (128_256, 4)])
def test_tokens_take_two_bytes_up_to_65536(vocab_size: int, each: int, gpu_request: PlanRequest) -> None:
    request = replace(gpu_request, shape=replace(gpu_request.shape, vocab_size=vocab_size))
    assert plan(request).storage.dataset_bytes.value == 1e10 * each


def test_repeated_data_is_stored_once(gpu_request: PlanRequest) -> None:
    assert plan(replace(gpu_request, unique_tokens=1e9)).storage.dataset_bytes.value == 2e9


def test_every_process_of_a_machine_reads_the_weights(gpu_request: PlanRequest) -> None:
    for devices, local in ((1, 1), (8, 8), (64, 8)):
        load = plan(replace(gpu_request, mesh=Mesh(dp=devices))).storage.load_bytes
        assert load is not None
        assert load.value == local * 4 * count_parameters(gpu_request.shape).value


def test_offloaded_states_are_shared_or_not(gpu_request: PlanRequest) -> None:
    n = count_parameters(gpu_request.shape).value
    request = replace(gpu_request, mesh=Mesh(dp=8), offload="optimizer")
    whole, shared = (plan(replace(request, zero=zero)).storage.pinned_bytes for zero in (0, 2))
    assert whole is not None
    assert shared is not None
    assert whole.value == 8 * n * 12
    assert shared.value == n * 12
    everything = plan(replace(request, zero=3, offload="all")).storage.pinned_bytes
    assert everything is not None
    assert everything.value == n * 16


def test_ram_that_is_known_is_judged(gpu_request: PlanRequest) -> None:
    needed = plan(gpu_request).storage.host_bytes
    assert needed is not None
    for spare, verdict in ((-1, "oom"), (0, "fits")):
        planned = plan(replace(gpu_request, host=Host(memory_bytes=needed.value + spare)))
        assert planned.storage.host_verdict == to_dict(planned)["storage"]["host_verdict"] == verdict
        assert any(each.startswith("host: ") for each in planned.warnings) == (verdict == "oom")
    assert plan(gpu_request).storage.host_verdict == "unknown"


def test_a_cpu_has_no_host_beside_it(cpu_request: PlanRequest) -> None:
    planned = plan(cpu_request)
    assert planned.storage.host_bytes is None
    assert to_dict(planned)["storage"]["host_bytes"] is None


def test_disk_shows_in_the_text_and_explains_itself(gpu_request: PlanRequest) -> None:
    planned = plan(gpu_request)
    assert "3 kept and one being written" in " ".join(to_text(planned).split())
    assert "(kept + 1)" in figures(planned)["storage.disk_bytes"].explain()


def test_a_machine_without_devices_is_refused() -> None:
    for wrong in ({"devices": 0}, {"checkpoints_kept": 0}, {"disk_bytes_per_s": 0.0}, {"memory_bytes": -1.0}):
        with pytest.raises(PlanError, match="host: "):
            Host(**wrong)  # type: ignore[arg-type]
