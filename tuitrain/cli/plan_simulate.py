"""`tuitrain plan ... --simulate`: the trainer's own step on tensors without memory, in a child process, beside the plan."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tuitrain.errors import EnvironmentError_, UsageError

if TYPE_CHECKING:
    from tuitrain_planners import ModelShape, Plan, PlanRequest, Quantity

TIMEOUT_S: Final = 900
SMALL_BYTES: Final = 4096
"""Less than any tensor's: norms and counts."""
CAN: Final = (
    "it can: one device, or any --zero over several, with --framework tuitrain; --zero 3 with --framework fsdp2-hf; "
    "every weight trained"
)
FRAMEWORKS: Final = {"tuitrain": ("plain", "chunked"), "fsdp2-hf": ("plain",)}
"""Simulated software, and its loss heads."""
_SIZES: Final = (
    "architecture", "vocab_size", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_size",
    "tie_embeddings", "max_seq_len",
)  # fmt: skip
_FAMILIES: Final = {False: ("llama", "qwen3", "nanochat"), True: ("llama", "qwen3")}
"""Whether of transformers: the families simulated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One phase: what was planned for it and what was alive in it, in bytes. None where the other side has no such phase."""

    name: str
    planned: float | None
    traced: float | None

    @property
    def difference(self) -> float | None:
        """Planned over traced, less 1."""
        return None if self.planned is None or not self.traced else self.planned / self.traced - 1


def simulate(planned: Plan) -> dict[str, Any]:
    """What `trainer.simulate` found, its phases with "planned_bytes", "planned_terms" and "difference" beside them.

    Planned bytes are without the runtime's share: no simulation sees it. UsageError for what cannot be simulated.
    """
    request = simulation_request(planned.request)
    found = _run(request)
    rows = {each.name: each for each in compare(planned, found)}
    terms = {phase.name: {term.name: term.value for term in phase.terms} for phase in planned.memory.step.phases}
    for phase in found["phases"]:
        row = rows[phase["name"]]
        phase.update(planned_bytes=row.planned, planned_terms=terms.get(row.name), difference=row.difference)
    volumes = sent_by_kind(planned.request)
    for each in found["communication"]:
        each["planned_sent_bytes"] = volumes[each["kind"]].value if each["kind"] in volumes else 0.0
    peak = rows["peak"]
    return {**found, "planned_peak_bytes": peak.planned, "difference": peak.difference, "request": request}


def simulation_request(request: PlanRequest) -> dict[str, Any]:
    """The request `trainer.simulate` reads; UsageError, naming what can be simulated, for all it cannot."""
    if problem := _cannot(request):
        raise UsageError(f"--simulate cannot run {problem}", CAN)
    return {
        "shape": shape_fields(request.shape),
        "seq_len": request.seq_len,
        "micro_batch": request.micro_batch,
        "grad_accum": request.grad_accum,
        "precision": request.precision,
        "optimizer": request.optimizer,
        "recompute": request.recompute,
        "loss": request.loss_head,
        "ranks": request.mesh.dp,
        "zero": request.zero,
        "shard_group": request.shard_group,
        "reshard": request.reshard,
        "framework": request.framework,
        "device": request.hardware.kind,
    }


def shape_fields(shape: ModelShape) -> dict[str, Any]:
    """The fields of a DecoderShape."""
    return {name: getattr(shape, name) for name in _SIZES}


def compare(planned: Plan, found: dict[str, Any]) -> list[Row]:
    """Phase by phase in the order of the step, the peak last."""
    expected = {
        phase.name: phase.value - phase.term("runtime").value for phase in planned.memory.step.phases if phase.name != "save"
    }
    rows = [Row(name=phase["name"], planned=expected.get(phase["name"]), traced=phase["bytes"]) for phase in found["phases"]]
    return [*rows, Row(name="peak", planned=max(expected.values()), traced=found["peak_bytes"])]


def show_simulation(found: dict[str, Any]) -> None:
    """The table, and how it was made."""
    from tuitrain.cli.output import show, show_table
    from tuitrain_planners import format_bytes

    def cells(name: str, planned: float | None, traced: float, difference: float | None) -> list[str]:
        return [
            name, "-" if planned is None else format_bytes(planned), format_bytes(traced),
            "-" if difference is None else f"{difference:+.1%}",
        ]  # fmt: skip

    rows = [cells(each["name"], each["planned_bytes"], each["bytes"], each["difference"]) for each in found["phases"]]
    rows.append(cells(f"peak ({found['peak_phase']})", found["planned_peak_bytes"], found["peak_bytes"], found["difference"]))
    show()
    show_table(["phase", "planned", "traced", "difference"], rows, right=(1, 2, 3))
    show_volumes(found)
    show(
        f"\ntraced in {found['seconds']:.1f} s: a step on {found['tensors']}, torch {found['torch']}; "
        "both without context and workspaces"
    )


def sent_by_kind(request: PlanRequest) -> Mapping[str, Quantity]:
    """Bytes the plan has one rank send in a step, by kind of collective."""
    from tuitrain_planners import optimizer, recipe
    from tuitrain_planners.volumes import sent_by_kind as sent

    return sent(
        request.shape, recipe(request.precision), request.sharding(), micro_steps=request.grad_accum,
        optimizer=optimizer(request.optimizer),
    )  # fmt: skip


def show_volumes(found: dict[str, Any]) -> None:
    """What one rank sends in a step; nothing on one device. Sums of a few numbers that ranks agree on are left out."""
    from tuitrain.cli.output import show, show_table
    from tuitrain_planners import format_bytes

    rows = [
        [
            each["kind"].replace("_", "-"), format_bytes(each["planned_sent_bytes"]), format_bytes(each["sent_bytes"]),
            f"{each['planned_sent_bytes'] / each['sent_bytes'] - 1:+.1%}",
        ]
        for each in found["communication"] if each["sent_bytes"] >= SMALL_BYTES
    ]  # fmt: skip
    if rows:
        show()
        show_table(["sent by a rank", "planned", "traced", "difference"], rows, right=(1, 2, 3))


def _cannot(request: PlanRequest) -> str | None:
    """What of the layout is not simulated; None: all of it is."""
    mesh, shape, framework = request.mesh, request.shape, request.framework
    transformers = framework == "fsdp2-hf"
    axes = [f"{name} {getattr(mesh, name)}" for name in ("tp", "pp", "cp", "ep") if getattr(mesh, name) > 1]
    devices = f"{mesh.dp} device{'s' if mesh.dp > 1 else ''}"
    checks = {
        f"--framework {framework}": framework not in FRAMEWORKS,
        " ".join(axes): bool(axes),
        f"{framework} on one device": transformers and mesh.dp == 1,
        f"ZeRO-{request.zero} with {framework} on {devices}": transformers and request.zero != 3,
        f"groups that share states with {framework}": transformers and request.shard_group is not None,
        f"offload {request.offload}": request.offload != "none",
        f"attention {request.attention}": request.attention != "flash",
        "an adapter": request.adapter is not None,
        "a reference model": request.reference != "none",
        "a number of rows per chunk": request.chunk_rows is not None,
        f"optimizer {request.optimizer}": request.optimizer not in ("adamw", "muon"),
        f"muon with {framework}": transformers and request.optimizer == "muon",
        f"precision {request.precision}": request.precision not in ("fp32", "bf16-mixed", "fp16-mixed", "bf16-pure"),
        f"loss {request.loss_head} with {framework}": request.loss_head not in FRAMEWORKS.get(framework, ()),
        f"recompute {request.recompute} with {framework}": request.recompute
        not in (("none", "full") if transformers else ("none", "selective", "full")),
        f"{shape.name} with {framework}: it is not a plain {' or '.join(families := _FAMILIES[transformers])} model;": not (
            shape.architecture in families and _is_plain(shape)
        ),
    }
    return next((what for what, is_so in checks.items() if is_so), None)


def _is_plain(shape: ModelShape) -> bool:
    """Whether the shape is its family's, with no part of another."""
    import dataclasses

    from tuitrain_planners import FAMILIES

    plain = {each.name: each.default for each in dataclasses.fields(shape) if each.default is not dataclasses.MISSING}
    expected = {**plain, **FAMILIES[shape.architecture]}
    return all(getattr(shape, name) == value for name, value in expected.items() if name not in _SIZES)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    from tuitrain.cli.diagnostics import say
    from tuitrain.runs.launch import require_training_packages
    from tuitrain.runs.launch_environment import child_environment

    require_training_packages()
    say("simulating a step on tensors without memory ...")
    try:
        result = subprocess.run(
            [sys.executable, "-m", "tuitrain.trainer.simulate"],
            input=json.dumps(request), capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=child_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EnvironmentError_(f"simulating a step took longer than {TIMEOUT_S} s", "fewer layers or ranks") from None
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise EnvironmentError_(f"simulating a step failed: {last[:300]}", "`tuitrain doctor` checks torch")
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found
