"""What money, energy and carbon are reckoned with: every constant dated, sourced, and replaceable by the user's own.

Prices of devices stand with the devices (`presets/hardware`). Everything here is what a device does not decide: how much of its
rated power it draws, what the building adds, how dirty the electricity is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuitrain_planners.errors import PlanError, unknown_name
from tuitrain_planners.quantity import Quantity, derived, given

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
HOURS_PER_YEAR: Final = 8760
EMBODIED_KG_CO2E: Final = (150.0, 318.0, 462.5)
"""Low, mid and high of what making a data-centre GPU emitted: the device alone; twice, with its eighth of a server."""


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
    spot: bool = False
    """Rent at the device's spot price: cheaper, and taken back at any time."""
    electricity_usd_per_kwh: float | None = None
    """The device is one's own: it costs its electricity."""
    purchase_usd: float | None = None
    """... and this much, when it was bought; the run pays the share of its life that it uses."""
    embodied_kg_co2e: tuple[float, float, float] | None = None
    """What making one device emitted, `EMBODIED_KG_CO2E` or one's own; None leaves it out."""
    embodied_source: str = (
        "150 kg for a GPU, 462.5 kg with an eighth of a server of 2500 kg: Luccioni et al. (2022); 318 kg for an A100 with an "
        "eighth of its server: Chien et al. (2023), https://doi.org/10.1145/3604930.3605705"
    )
    lifetime_years: float = 6.0
    """How long a device is used, for what it cost and emitted when it was made."""
    lifetime_share: float = 0.85
    """Share of those years in which it works."""

    def __post_init__(self) -> None:
        for name in ("price_usd_per_gpu_hour", "electricity_usd_per_kwh", "purchase_usd"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise PlanError(f"{name} is {value}", "a price is zero or more")
        if not self.grid.value >= 0:
            raise PlanError(f"carbon intensity of {self.grid.value} kg/kWh", "zero or more")
        if not (self.lifetime_years > 0 and 0 < self.lifetime_share <= 1):
            raise PlanError(
                f"a life of {self.lifetime_years} years, {self.lifetime_share} of them at work",
                "positive; a share of at most 1",
            )
        for name in ("power_share", "pue", "embodied_kg_co2e"):
            if (band := getattr(self, name)) is None:
                continue
            low, mid, high = band
            if not 0 < low <= mid <= high:
                raise PlanError(f"{name} {low}, {mid}, {high}", "three positive values in rising order")
        if self.price_usd_per_gpu_hour is not None and self.electricity_usd_per_kwh is not None:
            raise PlanError("both a rental price and a price of electricity", "rent the device or own it: give one of them")
        if self.spot and (self.price_usd_per_gpu_hour is not None or self.electricity_usd_per_kwh is not None):
            raise PlanError("a spot price and another price", "the device's listed spot price, or a price of your own")
        if self.purchase_usd is not None and self.electricity_usd_per_kwh is None:
            raise PlanError(f"a device bought for {self.purchase_usd} USD without a price of electricity", "give both")

    @property
    def lifetime_h(self) -> Quantity:
        """Hours a device works in its life."""
        years, share = self.lifetime_years, self.lifetime_share
        return derived(
            "hours a device works in its life", years * HOURS_PER_YEAR * share, "h", "years * 8760 * share", "luccioni2022",
            years=years, share=share,
        )  # fmt: skip
