"""Hours to money: device hours times a rental price, or the electricity of a device of one's own."""

from __future__ import annotations

from tuitrain_planners.economy import Economy
from tuitrain_planners.energy import each_end
from tuitrain_planners.hardware import Hardware
from tuitrain_planners.quantity import Band, Quantity, derived, given

HOUR_S = 3600


def gpu_hours(duration_s: Band, devices: int) -> Band:
    """Hours of all devices together."""

    def hours(name: str, duration: Quantity) -> Quantity:
        value = duration.value * devices / HOUR_S
        return derived(f"device hours, {name}", value, "h", "duration * n / 3600", duration=duration, n=devices)

    return each_end(lambda name, index: hours(name, (duration_s.low, duration_s.mid, duration_s.high)[index]))


def usd(hours: Band, kwh: Band | None, hardware: Hardware, economy: Economy) -> Band | None:
    """What the run costs; None where no price is known."""
    if economy.electricity_usd_per_kwh is not None:
        if kwh is None:
            return None
        price = given("price of electricity", economy.electricity_usd_per_kwh, "USD/kWh")
        return _times("cost of electricity", kwh, price, "kwh * price", "kwh")
    if economy.price_usd_per_gpu_hour is not None:
        rent = given("price of a device hour", economy.price_usd_per_gpu_hour, "USD/h")
    elif hardware.price_usd_per_hour is not None:
        rent = given(f"list price of {hardware.name}", hardware.price_usd_per_hour, "USD/h", hardware.price_source)
    else:
        return None
    return _times("cost", hours, rent, "hours * price", "hours")


def _times(name: str, amounts: Band, price: Quantity, formula: str, symbol: str) -> Band:
    def cost(end: str, index: int) -> Quantity:
        amount = (amounts.low, amounts.mid, amounts.high)[index]
        inputs: dict[str, Quantity | float] = {symbol: amount, "price": price}
        return derived(f"{name}, {end}", amount.value * price.value, "USD", formula, **inputs)

    return each_end(cost)
