"""`tuitrain plan calibrate`: what this machine's finished runs measured, beside what is planned for them now.

A run is planned again from its resolved configuration, which by its end holds the micro-batch and compilation that its probe
settled on, so what differs is the machine and not a guess about the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuitrain.config.resolved import Resolved, load_resolved
from tuitrain.errors import TuitrainError, UsageError
from tuitrain.files import read_json
from tuitrain.runs import calibration
from tuitrain.runs.machine import Machine
from tuitrain.runs.planning import RunPlan, request_for
from tuitrain.runs.store import Run, RunStore
from tuitrain_planners import Calibration, Hardware, Plan, PlanError, Sample, calibrate, corrected, plan, runtime_bytes

MIN_STEPS = 20
WARM_UP_STEPS = 5
"""First steps of a run, which are slower: caches, clocks and the allocator settle."""
RUNS_LOOKED_AT = 20
"""Newest usable runs of a device key that are folded: a long log takes seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a plan promises and a run measures. Power is None where nobody knows it."""

    tokens_per_s: float
    peak_bytes: float
    power_w: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One run: planned with the corrections of until now, measured, planned with the new ones."""

    run: str
    planned: Figures
    measured: Figures
    after: Figures


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a calibration found. Nothing is written before `keep`."""

    runs: tuple[Compared, ...]
    learnt: Mapping[str, calibration.Learnt]
    """By device key; what was refused is inside."""
    left_out: tuple[tuple[str, str], ...]
    """(run, why)."""
    replaced_rates: Mapping[str, Any]
    """Rates by key as they were before measuring again."""

    def keep(self) -> None:
        """Write it to machine.json, where the next plan reads it."""
        calibration.keep_calibrations(self.learnt, self.replaced_rates)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Observed:
    """A usable run."""

    run: str
    resolved: Resolved
    measured: Figures


class _Unusable(Exception):  # noqa: N818 - no error: most runs are no measurement, and say why
    """Why a run teaches nothing."""


def calibrate_from_runs(store: RunStore, machine: Machine, *, remeasure: bool = False) -> Outcome:
    """Compare every usable run with its plan. UsageError when there is none and nothing was measured anew."""
    by_key, left_out = _observe(store, machine)
    replaced = _remeasure(machine, by_key) if remeasure else {}
    if not by_key and not replaced:
        why = "; ".join(f"{run}: {reason}" for run, reason in left_out[:5])
        raise UsageError(
            f"no run in {store.root} to learn from" + (f" ({why})" if why else ""),
            f"a finished run of at least {MIN_STEPS} steps on this machine teaches it: `tuitrain demo` makes one",
        )
    compared: list[Compared] = []
    learnt: dict[str, calibration.Learnt] = {}
    for key, runs in by_key.items():
        measured_s = calibration.rates_measured_s(key)
        base = _hardware(machine, runs[0].resolved)
        samples = [_sample(each, base) for each in runs]
        found = calibrate(samples)
        until_now = calibration.kept_calibration(key)
        compared += [_compare(each, base, until_now, found) for each in runs]
        learnt[key] = calibration.Learnt(calibration=found, of_rates_s=measured_s or calibration.rates_measured_s(key))
    return Outcome(runs=tuple(compared), learnt=learnt, left_out=tuple(left_out), replaced_rates=replaced)


def _observe(store: RunStore, machine: Machine) -> tuple[dict[str, list[_Observed]], list[tuple[str, str]]]:
    """Usable runs by device key, newest first, and the others with their reason."""
    by_key: dict[str, list[_Observed]] = {}
    left_out: list[tuple[str, str]] = []
    for run in store.list():
        try:
            resolved = _configuration(run)
            key = _key_here(run, resolved, machine)
            if len(by_key.get(key, ())) >= RUNS_LOOKED_AT:
                raise _Unusable(f"older than the newest {RUNS_LOOKED_AT}")
            by_key.setdefault(key, []).append(_Observed(run=run.run_id, resolved=resolved, measured=_measured(run)))
        except _Unusable as reason:
            left_out.append((run.run_id, str(reason)))
    return {key: runs for key, runs in by_key.items() if runs}, left_out


def _configuration(run: Run) -> Resolved:
    try:
        return load_resolved(run.path)
    except (TuitrainError, ValueError, KeyError, TypeError) as error:
        raise _Unusable("its resolved.json cannot be read") from error


def _key_here(run: Run, resolved: Resolved, machine: Machine) -> str:
    """The device key of a run, provided it is one of this machine."""
    config = resolved.config
    environment = read_json(run.path / "environment.json")
    there = environment.get("machine", {}) if isinstance(environment, dict) else {}
    device, ours = config.run.device, machine.cpu
    name = there.get("cpu")
    if device == "cuda":
        ours = machine.gpus[0].name if machine.gpus else "no GPU"
        name = next((each.get("name") for each in there.get("gpus", [])), None)
    if name != ours:
        raise _Unusable(f"it ran on another machine ({name or 'unknown'})")
    if config.run.nproc != 1:
        raise _Unusable(f"it ran as {config.run.nproc} processes, whose communication is in its speed")
    if not isinstance(config.run.threads, int):
        raise _Unusable("its number of threads was never settled")
    precision = str(config.train.precision)
    return calibration.machine_key(machine, device=device, precision=precision, threads=config.run.threads)


def _measured(run: Run) -> Figures:
    """Median speed and highest memory of a run that finished as it should."""
    state = run.fold()
    if state.state != "finished":
        raise _Unusable(f"it is {state.state}, not finished")
    if len(state.steps) < MIN_STEPS:
        raise _Unusable(f"it has {len(state.steps)} steps, fewer than {MIN_STEPS}")
    speed, peak = (state.steps.column(name)[WARM_UP_STEPS:] for name in ("tokens_per_s", "peak_bytes"))
    if not (np.isfinite(speed).any() and np.isfinite(peak).any()):
        raise _Unusable("its log holds no speed or no memory")
    power = state.steps.column("power_w")[WARM_UP_STEPS:]
    power_w = float(np.nanmedian(power)) if np.isfinite(power).any() else None
    return Figures(tokens_per_s=float(np.nanmedian(speed)), peak_bytes=float(np.nanmax(peak)), power_w=power_w)


def _remeasure(machine: Machine, by_key: Mapping[str, list[_Observed]]) -> dict[str, Any]:
    """Measure every device key of this machine again that has rates or runs; the rates they replace."""
    known = calibration.known_rates()
    replaced: dict[str, Any] = {}
    for key in {*known, *by_key}:
        device, name, precision, threads = key.split("|")
        if key == calibration.machine_key(machine, device=device, precision=precision, threads=int(threads)) and name:
            replaced[key] = known.get(key)
            calibration.measured_hardware(machine, device=device, precision=precision, threads=int(threads), fresh=True)
    return replaced


def _hardware(machine: Machine, resolved: Resolved) -> Hardware:
    run, precision = resolved.config.run, str(resolved.config.train.precision)
    return calibration.measured_hardware(
        machine, device=run.device, precision=precision, threads=int(run.threads), corrections=False
    )


def _sample(observed: _Observed, base: Hardware) -> Sample:
    planned = _plan(observed, base)
    promised = _figures(planned)
    return Sample(
        run=observed.run,
        hidden_size=planned.request.shape.hidden_size,
        planned_tokens_per_s=promised.tokens_per_s,
        measured_tokens_per_s=observed.measured.tokens_per_s,
        planned_peak_bytes=promised.peak_bytes,
        runtime_bytes=runtime_bytes(planned.memory),
        measured_peak_bytes=observed.measured.peak_bytes,
        rated_power_w=base.power_w,
        measured_power_w=observed.measured.power_w,
    )


def _compare(observed: _Observed, base: Hardware, until_now: Calibration | None, found: Calibration) -> Compared:
    before = corrected(base, until_now) if until_now else base
    return Compared(
        run=observed.run,
        planned=_figures(_plan(observed, before)),
        measured=observed.measured,
        after=_figures(_plan(observed, corrected(base, found))),
    )


def _plan(observed: _Observed, hardware: Hardware) -> Plan:
    try:
        return plan(request_for(observed.resolved.config, hardware))
    except PlanError as error:
        raise UsageError(f"{observed.run} cannot be planned: {error.message}", error.hint) from error


def _figures(planned: Plan) -> Figures:
    promised = RunPlan(plan=planned).event_fields()
    hardware, economy = planned.request.hardware, planned.request.economy
    share = hardware.power_share.value if hardware.power_share else economy.power_share[1]
    power_w = None if hardware.power_w is None else hardware.power_w * share
    return Figures(tokens_per_s=promised["tokens_per_s"], peak_bytes=promised["peak_bytes"], power_w=power_w)
