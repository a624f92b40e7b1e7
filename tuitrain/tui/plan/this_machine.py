"""What `this` is in the Plan form: the machine as it was measured before. Nothing here measures but `measure`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuitrain.runs.calibration import known_hardware, measured_hardware
from tuitrain.runs.compiler import unavailable
from tuitrain.tui.plan.fields import Form, first_form
from tuitrain.tui.plan.reading import DIAL_VOCAB
from tuitrain_planners import (
    RECIPES,
    Hardware,
    PlanError,
    PlanRequest,
    by_depth,
    depth_candidates,
    fit_to_time,
    framework,
)

if TYPE_CHECKING:
    from tuitrain.runs.machine import Machine

DEPTHS = range(1, 25)


def measured(machine: Machine | None, precision: str) -> Hardware:
    """This machine at a precision. PlanError when it is not known yet, or was never measured in it."""
    if machine is None:
        raise PlanError("this machine is being looked at", "a moment")
    found = known_hardware(machine, device=device_of(machine), precision=precision, threads=machine.physical_cores)
    if found is None:
        also = [each for each in RECIPES if _known(machine, each)]
        known = f", but in {' and '.join(also)}" if also else ""
        raise PlanError(f"this machine was never measured in {precision}{known}", "M measures it now (needs torch)")
    return found


def measure(machine: Machine, precision: str) -> str:
    """Measure it: takes seconds, for a thread. What was found, for people."""
    found = measured_hardware(
        machine, device=device_of(machine), precision=precision, threads=machine.physical_cores, fresh=True
    )
    fastest = max(rate for _, rate in found.rates)
    return f"this machine trains at up to {fastest / 1e9:,.0f} GFLOP/s in {precision}"


def this_form(machine: Machine | None) -> Form | None:
    """A form for this machine, in a precision it was measured in; None when it never was."""
    if machine is None:
        return None
    precision = next((each for each in ("bf16-mixed", "fp32", *RECIPES) if _known(machine, each)), None)
    if precision is None:
        return None
    form = first_form(
        model="d1", hardware="this", devices="1", length="1h", seq="512", micro_batch="8", accumulate="2", zero="0",
        precision=precision, optimizer="muon",
    )  # fmt: skip
    return form.put(model=f"d{best_depth(measured(machine, precision), precision)}")


def best_depth(hardware: Hardware, precision: str) -> int:
    """Layers of the model with the lowest predicted loss after an hour here, on data that never repeats: tens of plans."""
    shape = by_depth(1, DIAL_VOCAB)
    request = PlanRequest(
        shape=shape, hardware=hardware, seq_len=512, micro_batch=8, grad_accum=2, precision=precision, optimizer="muon",
        loss_head=framework("tuitrain").loss_head, compiled=compiles(hardware),
    )  # fmt: skip
    candidates = depth_candidates(DEPTHS, (DIAL_VOCAB,), shape.architecture)
    budget = fit_to_time(3600, request, unique_tokens_by_vocab={DIAL_VOCAB: None}, candidates=candidates)
    return budget.best.plan.request.shape.num_layers


def device_of(machine: Machine) -> str:
    """What a run takes here."""
    return "cuda" if machine.gpus else "cpu"


def compiles(hardware: Hardware) -> bool:
    """Whether a run of any length would be compiled, as `tuitrain plan` assumes it."""
    return hardware.compile_gain is not None and unavailable("cuda" if hardware.kind == "gpu" else hardware.kind) is None


def _known(machine: Machine, precision: str) -> bool:
    return known_hardware(machine, device=device_of(machine), precision=precision, threads=machine.physical_cores) is not None
