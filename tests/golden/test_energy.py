"""Energy and carbon as their own papers reckon them: hours x watts x PUE, and kWh x intensity."""

import pytest

from tuitrain_planners import Economy, Hardware
from tuitrain_planners.carbon import embodied_kg_co2e, kg_co2e
from tuitrain_planners.cost import usd
from tuitrain_planners.energy import kwh
from tuitrain_planners.quantity import Band, given


def reckoned(device_hours: float, watts: float, pue: float, kg_per_kwh: float = 0.0) -> tuple[float, float]:
    """(MWh, t CO2e)."""
    hours = given("device hours", device_hours, "h")
    economy = Economy(power_share=(1, 1, 1), pue=(pue, pue, pue), grid=given("grid", kg_per_kwh, "kg/kWh"))
    device = Hardware(name="x", kind="gpu", memory_bytes=1, source="a paper", power_w=watts)
    energy = kwh(Band(low=hours, mid=hours, high=hours), device, economy)
    carbon = kg_co2e(energy, economy)
    assert energy is not None
    assert carbon is not None
    return energy.mid.value / 1000, carbon.mid.value / 1000


@pytest.mark.parametrize(
    ("device_hours", "watts", "pue", "mwh"),
    [
        (1_082_880, 400, 1.1, 475),  # BLOOM-175B as LLaMA's table 15 has it (Touvron et al. 2023)
        (135_168, 400, 1.1, 59),  # LLaMA-13B, the same table
        (8_404_992, 378.5, 1.08, 3436),  # PaLM-540B on TPU v4, Chowdhery et al. 2022, appendix B
        (1_022_362, 400, 1.1, 449),  # LLaMA-65B, the same table
        (3_552_000, 330, 1.1, 1287),  # GPT-3, Patterson et al. 2021, table 4
        (76_186, 288, 1.09, 24.1),  # GShard-600B, the same table
    ],
)
def test_published_energies(device_hours: float, watts: float, pue: float, mwh: float) -> None:
    assert reckoned(device_hours, watts, pue)[0] == pytest.approx(mwh, rel=0.01)


@pytest.mark.parametrize(("device_hours", "tonnes"), [(1_022_362, 173), (1_082_880, 183), (135_168, 23)])
def test_published_carbon(device_hours: float, tonnes: float) -> None:
    """LLaMA-65B, BLOOM-175B and LLaMA-13B in LLaMA's table 15, at 0.385 kg/kWh."""
    assert reckoned(device_hours, 400, 1.1, 0.385)[1] == pytest.approx(tonnes, rel=0.01)


def test_ones_own_device_costs_its_electricity() -> None:
    low, mid, high = (given("device hours", each, "h") for each in (8, 10, 12))
    hours = Band(low=low, mid=mid, high=high)
    economy = Economy(electricity_usd_per_kwh=0.30, power_share=(1, 1, 1), pue=(1, 1, 1))
    device = Hardware(
        name="x", kind="gpu", memory_bytes=1, source="a sheet", power_w=450, price_usd_per_hour=9.0, price_source="a list"
    )
    cost = usd(hours, kwh(hours, device, economy), device, economy)
    assert cost is not None
    assert cost.mid.value == pytest.approx(10 * 0.45 * 0.30)
    rented = usd(hours, None, device, Economy())
    assert rented is not None
    assert rented.high.value == 12 * 9.0


@pytest.mark.parametrize(("kg_per_device", "tonnes"), [(150, 3.64), (2500 / 8, 7.57)])
def test_published_embodied_carbon(kg_per_device: float, tonnes: float) -> None:
    """BLOOM, Luccioni et al. 2022, section 4.1: 1 082 990 GPU hours; 3.64 t for the GPUs, 7.57 t for servers of 8."""
    hours = given("device hours", 1_082_990, "h")
    made = embodied_kg_co2e(Band(low=hours, mid=hours, high=hours), Economy(embodied_kg_co2e=(kg_per_device,) * 3))
    assert made is not None
    assert made.mid.value / 1000 == pytest.approx(tonnes, rel=0.01)
