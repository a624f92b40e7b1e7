"""Money and carbon: on demand, spot, a device of one's own, what making it emitted."""

from dataclasses import replace

import pytest

from tuitrain_planners import EMBODIED_KG_CO2E, Economy, Hardware, PlanError, PlanRequest, figures, plan, to_dict, to_text
from tuitrain_planners.cost import usd
from tuitrain_planners.quantity import Band, given


def hours(value: float) -> Band:
    each = given("device hours", value, "h")
    return Band(low=each, mid=each, high=each)


def device(**changes: object) -> Hardware:
    known: dict[str, object] = {
        "price_usd_per_hour": (1.0, 2.0, 3.0),
        "spot_usd_per_hour": (0.5, 1.0, 1.5),
        "price_source": "a list",
        "power_w": 500,
    }
    return Hardware(name="x", kind="gpu", memory_bytes=1, source="a sheet", **(known | changes))  # type: ignore[arg-type]


def values(band: Band | None) -> list[float]:
    assert band is not None
    return [band.low.value, band.mid.value, band.high.value]


def test_a_price_band_widens_the_cost() -> None:
    assert values(usd(hours(10), None, device(), Economy())) == [10, 20, 30]
    assert values(usd(hours(10), None, device(), Economy(spot=True))) == [5, 10, 15]
    assert values(usd(hours(10), None, device(price_usd_per_hour=2.5), Economy())) == [25, 25, 25]


def test_no_spot_price_is_no_price() -> None:
    """Never the dearer one instead, without a word."""
    assert usd(hours(10), None, device(spot_usd_per_hour=None), Economy(spot=True)) is None


def test_a_bought_device_pays_the_share_of_its_life() -> None:
    economy = Economy(electricity_usd_per_kwh=0.25, purchase_usd=2000, lifetime_years=2, lifetime_share=0.5)
    assert values(usd(hours(876), hours(400), device(), economy)) == pytest.approx([400 * 0.25 + 2000 * 876 / 8760] * 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"spot": True, "price_usd_per_gpu_hour": 1.0},
        {"spot": True, "electricity_usd_per_kwh": 0.3},
        {"purchase_usd": 2000},
        {"purchase_usd": -1, "electricity_usd_per_kwh": 0.3},
        {"lifetime_years": 0},
        {"lifetime_share": 1.5},
        {"embodied_kg_co2e": (200, 150, 300)},
    ],
)
def test_contradictions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Economy(**wrong)  # type: ignore[arg-type]


def test_spot_and_embodied_carbon_show_in_every_report(gpu_request: PlanRequest) -> None:
    made = plan(replace(gpu_request, economy=Economy(spot=True, embodied_kg_co2e=EMBODIED_KG_CO2E)))
    plain = plan(gpu_request)
    assert made.usd is not None
    assert plain.usd is not None
    assert made.usd.mid.value < plain.usd.mid.value
    report = to_dict(made)
    assert report["cost"]["basis"] == "spot"
    assert report["energy"]["embodied_kg_co2e"]["mid"] == figures(made)["energy.embodied_kg_co2e"].value > 0
    assert to_dict(plain)["energy"]["embodied_kg_co2e"] is None
    text = " ".join(to_text(made).split())
    assert "at spot prices" in text
    assert "of making the devices" in text
