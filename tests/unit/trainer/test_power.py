"""Power as the driver tells it: watts where it does, nothing - and no second question - where it does not."""

import pytest
import torch

from tuitrain.trainer.power import PowerMeter


def test_a_cpu_tells_no_power() -> None:
    assert PowerMeter(torch.device("cpu")).read_w() is None


def test_the_drivers_milliwatts_are_watts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 312_500)
    assert PowerMeter(torch.device("cuda")).read_w() == 312.5


def test_a_driver_that_does_not_tell_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def silent(device: torch.device) -> int:
        asked.append(device)
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "power_draw", silent)
    meter = PowerMeter(torch.device("cuda"))
    assert (meter.read_w(), meter.read_w()) == (None, None)
    assert len(asked) == 1
