"""Goodput: the share of wall-clock time that trains. The rest saves checkpoints, repeats lost steps and starts again.

Failures come at random, at a rate that grows with the number of devices. Daly's model (2006, section 4): a run of T seconds of
training that saves every tau seconds takes

    M exp(R / M) (exp((tau + C) / M) - 1) T / tau

seconds, M between failures, R to start again, C to save. Young's period sqrt(2 C M) (1974; Daly, equation 5) is nearly the
best. Saving is taken to stop training; where it does not, C is what it does stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, sqrt
from typing import Final

from tuitrain_planners.errors import PlanError
from tuitrain_planners.quantity import Band, Quantity, derived, given
from tuitrain_planners.storage import Host

HOUR_S: Final = 3600
HOPELESS: Final = 50
"""Above so many expected failures between two checkpoints the exponent is cut: such a run never ends anyhow."""

LLAMA3_RATE: Final = derived(
    "failures per device hour, Llama 3", 419 / (54 * 24 * 16_384), "1/h", "interruptions / (days * 24 * devices)", "llama3",
    interruptions=419, days=54, devices=16_384,
)  # fmt: skip
"""Unexpected interruptions of the 405B run on H100."""
LLAMA3_HARDWARE_RATE: Final = derived(
    "hardware failures per device hour, Llama 3", LLAMA3_RATE.value * 0.78, "1/h", "rate * hardware", "llama3",
    rate=LLAMA3_RATE, hardware=0.78,
)  # fmt: skip
"""Those of them with a confirmed or suspected cause in the hardware."""
OPT_RATE: Final = derived(
    "failures per device hour, OPT-175B", (35 + 70) / (61 * 24 * 992), "1/h", "(manual + automatic) / (days * 24 * devices)",
    "opt2022", manual=35, automatic=70, days=61, devices=992,
)  # fmt: skip
"""Restarts for hardware failures in two months on A100."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """How often devices fail and what a failure costs. Bands are good, middling, bad."""

    failures_per_device_hour: tuple[Quantity, Quantity, Quantity] = (LLAMA3_HARDWARE_RATE, LLAMA3_RATE, OPT_RATE)
    restart_s: tuple[float, float, float] = (180.0, 600.0, 1800.0)
    """From the failure to the first new step: notice it, replace the machine, load, compile."""
    restart_source: str = "assumption: 3, 10 and 30 minutes to notice, reschedule, load and compile"
    checkpoint_s: float | None = None
    """Training stands still so long for each checkpoint; None: its bytes at the disks' rate."""
    checkpoint_period_s: float | None = None
    """Seconds of training between checkpoints; None: Young's period."""

    def __post_init__(self) -> None:
        rates = tuple(each.value for each in self.failures_per_device_hour)
        for name, (low, mid, high) in (("failures_per_device_hour", rates), ("restart_s", self.restart_s)):
            if not 0 < low <= mid <= high:
                raise PlanError(f"{name} {low}, {mid}, {high}", "three positive values in rising order")
        for name in ("checkpoint_s", "checkpoint_period_s"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise PlanError(f"{name} is {value}", "a positive number of seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Goodput:
    """Training time and wall-clock time."""

    share: Band
    """Of wall-clock time. Low is the bad end."""
    wall_clock_s: Band
    """Low is the fast end."""
    checkpoint_s: Quantity
    period_s: Quantity
    mtbf_s: Quantity
    """Between failures of any device, middling."""


def goodput(duration_s: Band, devices: int, checkpoint_bytes: Quantity, host: Host, reliability: Reliability) -> Goodput:
    """Share of wall-clock time that trains, and how long the run takes with everything else."""
    saving = _checkpoint_s(checkpoint_bytes, devices, host, reliability)
    good, mid, bad = (_mtbf_s(rate, devices) for rate in reliability.failures_per_device_hour)
    period = _period_s(saving, mid, reliability)

    def share(end: str, mtbf: Quantity, index: int) -> Quantity:
        restart = given(f"restart, {end}", reliability.restart_s[index], "s", reliability.restart_source)
        m, c, r, tau = mtbf.value, saving.value, restart.value, period.value
        value = tau / (m * exp(min(r / m, HOPELESS)) * (exp(min((tau + c) / m, HOPELESS)) - 1))
        formula = f"tau / (M * exp(min(R / M, {HOPELESS})) * (exp(min((tau + C) / M, {HOPELESS})) - 1))"
        return derived(f"goodput, {end}", value, "", formula, "daly2006", tau=period, M=mtbf, R=restart, C=saving)

    shares = Band(low=share("low", bad, 2), mid=share("mid", mid, 1), high=share("high", good, 0))

    def wall(end: str, duration: Quantity, part: Quantity) -> Quantity:
        value = duration.value / part.value
        return derived(f"wall clock, {end}", value, "s", "duration / goodput", duration=duration, goodput=part)

    return Goodput(
        share=shares,
        wall_clock_s=Band(
            low=wall("low", duration_s.low, shares.high),
            mid=wall("mid", duration_s.mid, shares.mid),
            high=wall("high", duration_s.high, shares.low),
        ),
        checkpoint_s=saving,
        period_s=period,
        mtbf_s=mid,
    )


def _mtbf_s(rate: Quantity, devices: int) -> Quantity:
    """The run stops when any device fails."""
    value = HOUR_S / (rate.value * devices)
    return derived("time between failures", value, "s", "3600 / (rate * n)", "daly2006", rate=rate, n=devices)


def _checkpoint_s(checkpoint_bytes: Quantity, devices: int, host: Host, reliability: Reliability) -> Quantity:
    if reliability.checkpoint_s is not None:
        return given("saving a checkpoint", reliability.checkpoint_s, "s")
    rate = given("write rate of one machine", host.disk_bytes_per_s, "bytes/s", host.disk_source)
    value = checkpoint_bytes.value / (rate.value * ceil(devices / host.devices))
    return derived(
        "saving a checkpoint", value, "s", "bytes / (rate * ceil(n / per_machine))", "definition",
        bytes=checkpoint_bytes, rate=rate, n=devices, per_machine=host.devices,
    )  # fmt: skip


def _period_s(saving: Quantity, mtbf: Quantity, reliability: Reliability) -> Quantity:
    if reliability.checkpoint_period_s is not None:
        return given("time between checkpoints", reliability.checkpoint_period_s, "s")
    value = sqrt(2 * saving.value * mtbf.value)
    return derived("time between checkpoints", value, "s", "sqrt(2 * C * M)", "daly2006", C=saving, M=mtbf)
