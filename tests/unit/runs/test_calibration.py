"""machine.json: measured once, and what runs learn is kept beside it."""

from __future__ import annotations

import json

import pytest

from tuitrain.runs import calibration
from tuitrain.runs.home import machine_file
from tuitrain.runs.machine import this_machine
from tuitrain_planners import CPU_COMPILE_GAIN

WHERE = {"device": "cpu", "precision": "fp32", "threads": 2}


@pytest.fixture(autouse=True)
def measurements(tmp_path, monkeypatch):
    """A home of its own, and a stand-in for the seconds of measuring; the list of what was measured."""
    monkeypatch.setenv("TUITRAIN_HOME", str(tmp_path / "home"))
    asked = []

    def measure(device, precision, threads):
        asked.append((device, precision, threads))
        return {"rates": [[64, 1e10], [256, 2e10]], "convention": "causal", "peak_flop_per_s": 1e11}

    monkeypatch.setattr(calibration, "_measure", measure)
    return asked


def test_a_machine_is_measured_once_per_precision(measurements):
    machine = this_machine()
    for precision in ("fp32", "fp32", "bf16-mixed"):
        calibration.measured_hardware(machine, **{**WHERE, "precision": precision})
    assert measurements == [("cpu", "fp32", 2), ("cpu", "bf16-mixed", 2)]
    calibration.measured_hardware(machine, **WHERE, fresh=True)
    assert len(measurements) == 3


def test_until_a_run_compiled_the_published_gain_counts():
    assert calibration.measured_hardware(this_machine(), **WHERE).compile_gain == CPU_COMPILE_GAIN


def test_what_probes_saw_replaces_it_at_their_width():
    machine = this_machine()
    before = calibration.measured_hardware(machine, **WHERE)
    for gain in (1.7, 9.0, 1.8):  # one of them on a busy machine
        calibration.learn_compile_gain(machine, **WHERE, hidden_size=256, gain=gain)
    learnt = calibration.measured_hardware(machine, **WHERE)
    assert dict(learnt.compile_gain.curve)[256] == 1.8
    assert dict(learnt.compile_gain.curve)[128] == dict(CPU_COMPILE_GAIN.curve)[128]
    assert "256" in learnt.compile_gain.source
    assert learnt.rates == before.rates


def test_other_precisions_keep_their_own():
    machine = this_machine()
    calibration.learn_compile_gain(machine, **WHERE, hidden_size=256, gain=3.0)
    other = calibration.measured_hardware(machine, **{**WHERE, "precision": "bf16-mixed"})
    assert other.compile_gain == CPU_COMPILE_GAIN


def test_only_the_newest_gains_are_kept():
    machine = this_machine()
    for number in range(20):
        calibration.learn_compile_gain(machine, **WHERE, hidden_size=64, gain=1 + number)
    (kept,) = json.loads(machine_file().read_text())["compile_gains"].values()
    assert kept == {"64": [16, 17, 18, 19, 20]}
