"""What money, energy and carbon are reckoned with: every constant dated, sourced, and replaceable by the user's own.

Prices of devices stand with the devices (`presets/hardware`). Everything here is what a device does not decide: how much of its
rated power it draws, what the building adds, how dirty the electricity is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.quantity import Quantity, given

_EMBER: Final = "Ember, yearly electricity data for 2023, by Our World in Data, https://ourworldindata.org/grapher/carbon-intensity-electricity"

GRIDS: Final[dict[str, tuple[float, str]]] = {
    "world": (0.481, "Ember, world average of 2023, https://www.statista.com/statistics/943137"),
    "australia": (0.549, _EMBER),
    "austria": (0.111, _EMBER),
    "belgium": (0.138, _EMBER),
    "brazil": (0.098, _EMBER),
    "canada": (0.170, _EMBER),
    "china": (0.582, _EMBER),
    "denmark": (0.152, _EMBER),
    "finland": (0.079, _EMBER),
    "france": (0.056, _EMBER),
    "germany": (0.381, _EMBER),
    "india": (0.713, _EMBER),
    "ireland": (0.291, _EMBER),
    "norway": (0.030, "Ember, 2023, https://www.statista.com/statistics/943137"),
    "us": (0.385, "national average used by Touvron et al. (2023), LLaMA, table 15, https://arxiv.org/abs/2302.13971"),
}
"""kg CO2e per kWh generated, and where from."""


def grid(name: str) -> Quantity:
    """Carbon intensity of a country's electricity."""
    if name not in GRIDS:
        raise unknown_name("grid", name, GRIDS)
    value, source = GRIDS[name]
    return given(f"carbon intensity of electricity, {name}", value, "kg/kWh", source)


WORLD: Final = grid("world")


@dataclass(frozen=True, kw_only=True, slots=True)
class Economy:
    """Low, mid and high of what is uncertain; one value of what is a choice."""

    power_share: tuple[float, float, float] = (0.60, 0.76, 1.00)
    """Of the rated power, while training."""
    power_share_source: str = (
        "measured: 0.76 of the rated power of a node of 8 H100 (energy table of published measurements); 0.60 and 1.00 assumed"
    )
    pue: tuple[float, float, float] = (1.08, 1.30, 1.58)
    """Power of the whole building over that of its computers."""
    pue_source: str = (
        "assumption: 1.08 as PaLM's (Chowdhery et al. 2022); 1.3 as new, large facilities, 1.58 as the average of 2023 "
        "(Uptime Institute)"
    )
    grid: Quantity = WORLD
    price_usd_per_gpu_hour: float | None = None
    """Replaces the device's listed price."""
    electricity_usd_per_kwh: float | None = None
    """The device is one's own: it costs its electricity."""

    def __post_init__(self) -> None:
        for name in ("price_usd_per_gpu_hour", "electricity_usd_per_kwh"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise PlanError(f"{name} is {value}", "a price is zero or more")
        if not self.grid.value >= 0:
            raise PlanError(f"carbon intensity of {self.grid.value} kg/kWh", "zero or more")
        for name in ("power_share", "pue"):
            low, mid, high = getattr(self, name)
            if not 0 < low <= mid <= high:
                raise PlanError(f"{name} {low}, {mid}, {high}", "three positive values in rising order")
        if self.price_usd_per_gpu_hour is not None and self.electricity_usd_per_kwh is not None:
            raise PlanError("both a rental price and a price of electricity", "rent the device or own it: give one of them")
