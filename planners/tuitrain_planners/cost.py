"""Hours to money: device hours times a rental price, or the electricity of an own device and its share of the purchase."""

from __future__ import annotations

from tuitrain_planners.economy import Economy
from tuitrain_planners.energy import each_end
from tuitrain_planners.hardware import Hardware, price_band
from tuitrain_planners.quantity import Band, Quantity, derived, given

HOUR_S = 3600


def gpu_hours(duration_s: Band, devices: int) -> Band:
    """Hours of all devices together."""

    def hours(name: str, duration: Quantity) -> Quantity:
        value = duration.value * devices / HOUR_S
        return derived(f"device hours, {name}", value, "h", "duration * n / 3600", duration=duration, n=devices)

    return each_end(lambda name, index: hours(name, (duration_s.low, duration_s.mid, duration_s.high)[index]))


def price_basis(economy: Economy) -> str:
    """What the money is: `own device`, `given price`, `spot` or `on demand`."""
    if economy.electricity_usd_per_kwh is not None:
        return "own device"
    if economy.price_usd_per_gpu_hour is not None:
        return "given price"
    return "spot" if economy.spot else "on demand"


def usd(hours: Band, kwh: Band | None, hardware: Hardware, economy: Economy) -> Band | None:
    """What the run costs; None where no price is known."""
    if economy.electricity_usd_per_kwh is not None:
        return None if kwh is None else _own(hours, kwh, hardware, economy)
    if economy.price_usd_per_gpu_hour is not None:
        rent = given("price of a device hour", economy.price_usd_per_gpu_hour, "USD/h")
        return _times("cost", hours, (rent, rent, rent), "hours * price", "hours")
    listed = hardware.spot_usd_per_hour if economy.spot else hardware.price_usd_per_hour
    if listed is None:
        return None
    name = f"{'spot' if economy.spot else 'list'} price of {hardware.name}"
    low, mid, high = (given(name, each, "USD/h", hardware.price_source) for each in price_band(listed))
    return _times("cost", hours, (low, mid, high), "hours * price", "hours")


def _own(hours: Band, kwh: Band, hardware: Hardware, economy: Economy) -> Band:
    """Electricity, and what a bought device loses of its life."""
    assert economy.electricity_usd_per_kwh is not None
    price = given("price of electricity", economy.electricity_usd_per_kwh, "USD/kWh")
    if economy.purchase_usd is None:
        return _times("cost of electricity", kwh, (price, price, price), "kwh * price", "kwh")
    bought = given(f"purchase price of {hardware.name}", economy.purchase_usd, "USD")
    life = economy.lifetime_h

    def cost(end: str, index: int) -> Quantity:
        energy, used = (kwh.low, kwh.mid, kwh.high)[index], (hours.low, hours.mid, hours.high)[index]
        value = energy.value * price.value + used.value * bought.value / life.value
        formula = "kwh * price + hours * bought / life"
        return derived(
            f"cost of an own device, {end}",
            value,
            "USD",
            formula,
            kwh=energy,
            price=price,
            hours=used,
            bought=bought,
            life=life,
        )

    return each_end(cost)


def _times(name: str, amounts: Band, prices: tuple[Quantity, Quantity, Quantity], formula: str, symbol: str) -> Band:
    def cost(end: str, index: int) -> Quantity:
        amount, price = (amounts.low, amounts.mid, amounts.high)[index], prices[index]
        inputs: dict[str, Quantity | float] = {symbol: amount, "price": price}
        return derived(f"{name}, {end}", amount.value * price.value, "USD", formula, **inputs)

    return each_end(cost)
