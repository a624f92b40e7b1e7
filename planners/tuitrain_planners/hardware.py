"""Hardware: what a device has and how fast it computes - by datasheet, or measured on this machine.

Peaks are dense tensor-core figures. NVIDIA prints twice that with 2:4 sparsity, which training cannot use. A measured device
carries a curve of training rates by model width: small models run far below the peak, and no datasheet says how far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Final, Literal, TypeAlias

from tuitrain_planners.compiling import CompileGain
from tuitrain_planners.errors import PlanError
from tuitrain_planners.flops import CONVENTIONS, DEFAULT_CONVENTION
from tuitrain_planners.quantity import Quantity, derived, given

DTYPES: Final = ("fp32", "tf32", "bf16", "fp16", "fp8", "fp4")
Price: TypeAlias = float | tuple[float, float, float]
"""USD per hour: one, or low, mid and high."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MfuPrior:
    """Share of the peak that training is assumed to reach when nothing was measured: low, mid, high."""

    low: float
    mid: float
    high: float
    convention: str
    """FLOP convention the share was measured in."""
    source: str
    """Which measurements, or `assumption: ...`."""

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.mid <= self.high <= 1:
            raise PlanError(
                f"MFU prior {self.low}, {self.mid}, {self.high}",
                "three shares of the peak in rising order, each above 0 and at most 1",
            )
        if self.convention not in CONVENTIONS:
            raise PlanError(f"MFU prior in the unknown convention {self.convention!r}", f"one of {', '.join(CONVENTIONS)}")


DEFAULT_MFU: Final = MfuPrior(
    low=0.25, mid=0.40, high=0.55, convention="full", source="assumption: no run was measured on this device"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateCorrection:
    """What finished runs did to a probe's curve (`calibrate`)."""

    curve: tuple[tuple[int, float], ...]
    """(hidden size, measured / planned), widths rising."""
    source: str
    """`measured: N runs on this machine`."""
    probed: tuple[tuple[int, float], ...] = ()
    """The rates before; filled in by `with_rate_correction`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """One device."""

    name: str
    kind: Literal["cpu", "gpu"]
    memory_bytes: float
    """Memory a process can get: for a GPU the total the driver reports, not the number on the box."""
    source: str
    """Datasheet URL and date, or `measured: ...`."""
    title: str = ""
    """Full product name."""
    peak_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    """Dense peak by dtype; may be empty for a measured device."""
    memory_bandwidth_bytes_per_s: float | None = None
    link_bytes_per_s: float | None = None
    """One direction of the link to another device in the same machine: half of what NVLink's figures say."""
    network_bytes_per_s: float | None = None
    """One direction of the network each device has to other machines."""
    power_w: float | None = None
    """Board power limit."""
    mfu_prior: MfuPrior = DEFAULT_MFU
    """Used only when `rates` is empty."""
    rates: tuple[tuple[int, float], ...] = ()
    """Measured training rates: (hidden size, FLOP/s of forward, backward and step together), widths rising."""
    rates_convention: str = DEFAULT_CONVENTION
    """FLOP convention of `rates`."""
    price_usd_per_hour: Price | None = None
    """Renting one device for an hour on demand: one list price, or the low, mid and high of several."""
    spot_usd_per_hour: Price | None = None
    """The same where the device may be taken back at any time."""
    price_source: str = ""
    """Whose prices, and of when."""
    compile_gain: CompileGain | None = None
    """What torch.compile adds to `rates`, which are eager. None: not known."""
    rate_correction: RateCorrection | None = None
    """What is already in `rates` besides the probe's. None: no run was looked at."""
    memory_correction: Mapping[str, Quantity] = field(default_factory=dict)
    """Empty, or as runs measured it: `correction`, measured over planned memory of what a model's size decides, and `offset`,
    measured less planned bytes of what it does not (interpreter, libraries, driver)."""
    power_share: Quantity | None = None
    """Share of `power_w` that was measured while training; replaces the assumed one."""

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "gpu"):
            raise PlanError(f"{self.name}: kind is {self.kind!r}", "cpu or gpu")
        if not self.memory_bytes > 0:
            raise PlanError(f"{self.name}: memory_bytes is {self.memory_bytes}", "give the memory of one device in bytes")
        _check_prices(self)
        if wrong := sorted(set(self.peak_flop_per_s) - set(DTYPES)):
            raise PlanError(f"{self.name}: no such dtype {', '.join(wrong)}", f"peaks are known for {', '.join(DTYPES)}")
        widths = [width for width, _ in self.rates]
        if any(rate <= 0 for _, rate in self.rates) or widths != sorted(set(widths)):
            raise PlanError(
                f"{self.name}: rates {self.rates}", "pairs (hidden size, FLOP/s) with rising widths and positive rates"
            )

    def peak(self, dtype: str) -> Quantity | None:
        """Dense peak of a dtype; None when unknown."""
        value = self.peak_flop_per_s.get(dtype)
        return None if value is None else given(f"{dtype} peak of {self.name}", value, "FLOP/s", self.source)

    def with_rate_correction(self, correction: RateCorrection) -> Hardware:
        """The same with its curve scaled. A width that ran becomes a point of the curve, so it is no longer beyond it."""
        probed = self.rates
        widths = sorted({width for width, _ in (*probed, *correction.curve)})
        scaled = tuple((width, _at(probed, width)[0] * _at(correction.curve, width)[0]) for width in widths)
        return replace(self, rates=scaled, rate_correction=replace(correction, probed=probed))


def price_band(price: Price) -> tuple[float, float, float]:
    """Low, mid and high of a price; a single one is all three."""
    return price if isinstance(price, tuple) else (price, price, price)


def _check_prices(hardware: Hardware) -> None:
    for what in ("price_usd_per_hour", "spot_usd_per_hour"):
        price: Price | None = getattr(hardware, what)
        if price is None:
            continue
        low, mid, high = price_band(price)
        if not (0 <= low <= mid <= high and hardware.price_source):
            hint = "zero or more; several in rising order; with their price_source"
            raise PlanError(f"{hardware.name}: {what} is {price}", hint)
    on_demand, spot = hardware.price_usd_per_hour, hardware.spot_usd_per_hour
    if on_demand is not None and spot is not None:
        pairs = zip(price_band(spot), price_band(on_demand), strict=True)
        if any(cheap > dear for cheap, dear in pairs):
            raise PlanError(f"{hardware.name}: spot {spot} above on demand {on_demand} USD/h", "one of them is wrong")


def measured(
    *,
    memory_bytes: float,
    rates: Iterable[tuple[int, float]],
    name: str = "this machine",
    kind: Literal["cpu", "gpu"] = "cpu",
    source: str = "measured: training probe on this machine",
    rates_convention: str = DEFAULT_CONVENTION,
    peak_flop_per_s: Mapping[str, float] | None = None,
    compile_gain: CompileGain | None = None,
    power_w: float | None = None,
) -> Hardware:
    """A device known from measurement: its memory and training rates by width, in any order."""
    curve = tuple(sorted(rates))
    if not curve:
        raise PlanError(f"{name}: no measured rate", "measure the training rate of at least one width")
    return Hardware(
        name=name,
        kind=kind,
        memory_bytes=memory_bytes,
        rates=curve,
        rates_convention=rates_convention,
        source=source,
        peak_flop_per_s=peak_flop_per_s or {},
        compile_gain=compile_gain,
        power_w=power_w,
    )


def interpolated_rate(hardware: Hardware, hidden_size: int) -> tuple[Quantity, str]:
    """Eager training rate at a width; and a warning or ""."""
    assert hardware.rates, "only a measured device has a curve"
    name = f"training rate at width {hidden_size}"
    found, warning = _on_curve(hardware.rates, hidden_size, name, "FLOP/s", hardware.source)
    if (correction := hardware.rate_correction) is None:
        return found, warning
    probed, _ = _on_curve(correction.probed, hidden_size, f"probed {name}", "FLOP/s", hardware.source)
    factor, _ = _on_curve(correction.curve, hidden_size, "measured over planned tokens/s", "", correction.source)
    value = probed.value * factor.value  # what `rates` says, by its two parts
    return derived(name, value, "FLOP/s", "probed * factor", correction.source, probed=probed, factor=factor), warning


def interpolated_gain(gain: CompileGain, hidden_size: int) -> Quantity:
    """What compiling gains at a width."""
    return _on_curve(gain.curve, hidden_size, f"gain from compiling at width {hidden_size}", "", gain.source)[0]


def _on_curve(
    curve: tuple[tuple[int, float], ...], hidden_size: int, name: str, unit: str, source: str
) -> tuple[Quantity, str]:
    """Straight in log-log between the points and flat beyond them; a warning where it is flat."""
    value, above = _at(curve, hidden_size)
    if above == len(curve) or above == 0 or curve[above][0] == hidden_size:
        width = curve[min(above, len(curve) - 1)][0]
        end = "narrowest" if above == 0 else "widest"
        warning = (
            ""
            if width == hidden_size
            else f"width {hidden_size} was not measured; its rate is taken from the {end} measured, {width}"
        )
        return given(name, value, unit, source), warning
    (h0, r0), (h1, r1) = curve[above - 1], curve[above]
    quantity = derived(
        name,
        value,
        unit,
        "exp(log(r0) + (log(r1) - log(r0)) * (log(h) - log(h0)) / (log(h1) - log(h0)))",
        source,
        h=hidden_size,
        h0=h0,
        r0=r0,
        h1=h1,
        r1=r1,
    )
    return quantity, ""


def _at(curve: tuple[tuple[int, float], ...], hidden_size: int) -> tuple[float, int]:
    """The curve's value at a width, and the index of the first point that is not below it."""
    above = next((index for index, (width, _) in enumerate(curve) if width >= hidden_size), len(curve))
    if above == len(curve) or above == 0 or curve[above][0] == hidden_size:
        return curve[min(above, len(curve) - 1)][1], above
    (h0, r0), (h1, r1) = curve[above - 1], curve[above]
    return exp(log(r0) + (log(r1) - log(r0)) * (log(hidden_size) - log(h0)) / (log(h1) - log(h0))), above
