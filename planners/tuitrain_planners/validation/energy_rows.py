"""Energy rows: device hours x watts x PUE, and kWh x carbon intensity, with the row's own constants where it states them and
the planner's bands where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tuitrain_planners.carbon import kg_co2e
from tuitrain_planners.economy import Economy
from tuitrain_planners.energy import kwh
from tuitrain_planners.hardware import Hardware
from tuitrain_planners.quantity import Band, given
from tuitrain_planners.validation.hardware_of_rows import hardware_of
from tuitrain_planners.validation.judged import Prediction
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError

METRICS: Final = ("energy", "co2", "power_per_chip", "fraction_of_rated_power")
JOULE_PER_KWH: Final = 3.6e6


def energy_row(row: Row, hardware: Path | None) -> Prediction:
    """The prediction; NotComputableError says why there is none."""
    if row.metric == "fraction_of_rated_power":
        low, mid, high = Economy().power_share
        return Prediction(value=mid, measured=(row.measured or 0) / 100, unit="", low=low, high=high)
    if row.metric == "power_per_chip":
        return _power(row, hardware)
    hours = row.number("gpu_hours")
    if hours is None:
        raise NotComputableError("the device hours are not stated")
    device, economy = _device(row, hardware), _economy(row)
    quantity = given("device hours", hours, "h")
    energy = kwh(Band(low=quantity, mid=quantity, high=quantity), device, economy)
    if energy is None:
        raise NotComputableError(f"the power of {device.name} is not known")
    if row.metric == "energy":
        low, mid, high = (each.value * JOULE_PER_KWH for each in (energy.low, energy.mid, energy.high))
        return Prediction(value=mid, measured=(row.measured or 0) * 1000 * JOULE_PER_KWH, unit="J", low=low, high=high)
    carbon = kg_co2e(energy, economy)
    if carbon is None:
        raise NotComputableError("no carbon without energy")
    return Prediction(
        value=carbon.mid.value, measured=(row.measured or 0) * 1000, unit="kg", low=carbon.low.value, high=carbon.high.value
    )


def _device(row: Row, hardware: Path | None) -> Hardware:
    if (watts := row.number("watts_per_device")) is not None:
        return Hardware(name=row.text("gpu") or "device", kind="gpu", memory_bytes=1, source="the row", power_w=watts)
    return hardware_of(row, hardware)[0]


def _economy(row: Row) -> Economy:
    """The planner's bands, narrowed to what the row states; energy of devices alone has no PUE."""
    default = Economy()
    stated = row.number("pue")
    share = (1.0, 1.0, 1.0) if row.number("watts_per_device") is not None else default.power_share
    pue = default.pue if stated is None else (stated, stated, stated)
    if row.metric == "energy" and "before PUE" in row.text("value_scope"):
        pue = (1.0, 1.0, 1.0)
    intensity = row.number("kgco2_per_kwh")
    grid = default.grid if intensity is None else given("carbon intensity of the row", intensity, "kg/kWh")
    return Economy(power_share=share, pue=pue, grid=grid)


def _power(row: Row, hardware: Path | None) -> Prediction:
    device = hardware_of(row, hardware)[0]
    if device.power_w is None:
        raise NotComputableError(f"the power of {device.name} is not known")
    low, mid, high = (device.power_w * share for share in Economy().power_share)
    return Prediction(value=mid, measured=row.measured, unit="W", low=low, high=high)
