"""What finished runs teach: which runs count, what is written, that undoing restores it and that no writer loses its write."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support.runs import tiny_run

from tuitrain.config.resolved import load_resolved
from tuitrain.errors import EnvironmentError_, UsageError
from tuitrain.events import EventWriter
from tuitrain.files import read_json, write_json
from tuitrain.runs import calibrating, calibration
from tuitrain.runs.calibrating import calibrate_from_runs
from tuitrain.runs.home import machine_file
from tuitrain.runs.machine import this_machine
from tuitrain.runs.planning import plan_for_run
from tuitrain.runs.store import Run, RunStore

WHERE = {"device": "cpu", "precision": "fp32", "threads": 1}


@pytest.fixture(autouse=True)
def measurements(tmp_path, monkeypatch):
    """A home of its own, and a stand-in for the seconds of measuring; every measurement finds the machine twice as fast."""
    monkeypatch.setenv("TUITRAIN_HOME", str(tmp_path / "home"))
    asked: list[str] = []

    def measure(device, precision, threads):
        asked.append(precision)
        rate = 1e10 * 2 ** len(asked)
        return {"rates": [[64, rate]], "convention": "causal", "peak_flop_per_s": 1e11, "measured_s": float(len(asked))}

    monkeypatch.setattr(calibration, "_measure", measure)
    return asked


def finished(tmp_path: Path, *overrides: str, speed: float = 0.8, steps: int = 25, state: str = "finished") -> Run:
    """A run whose log says `speed` times what is planned for it, and 30 MiB more."""
    run = tiny_run(tmp_path, f"train.steps={steps}", *overrides)
    promised = plan_for_run(load_resolved(run.path), hardware=_base(run)).event_fields()
    with EventWriter(run.events_dir / "rank00000.jsonl", rank=0) as writer:
        writer.emit("run_start", step=0, total_steps=steps, attempt=1, resumed_from_step=0)
        for step in range(1, steps + 1):
            slow = 0.01 if step <= 3 else 1.0
            tokens_per_s = promised["tokens_per_s"] * speed * slow
            writer.emit("step", step=step, tokens_per_s=tokens_per_s, peak_bytes=promised["peak_bytes"] + 30 * 2**20)
        writer.emit("run_end", step=steps, state=state, reason="")
    return run


def _base(run: Run):
    run_section = load_resolved(run.path).config
    precision, threads = str(run_section.train.precision), int(run_section.run.threads)
    return calibration.measured_hardware(this_machine(), device="cpu", precision=precision, threads=threads, corrections=False)


def calibrated(tmp_path: Path, **options):
    outcome = calibrate_from_runs(RunStore(tmp_path / "runs"), this_machine(), **options)
    outcome.keep()
    return outcome


def test_the_next_plan_is_what_the_run_measured(tmp_path):
    run = finished(tmp_path)
    (compared,) = calibrated(tmp_path).runs
    assert compared.measured.tokens_per_s == pytest.approx(0.8 * compared.planned.tokens_per_s)
    assert compared.after.tokens_per_s == pytest.approx(compared.measured.tokens_per_s)
    assert compared.after.peak_bytes == pytest.approx(compared.measured.peak_bytes, abs=2)
    promised = plan_for_run(load_resolved(run.path)).event_fields()
    assert promised["tokens_per_s"] == pytest.approx(compared.measured.tokens_per_s)
    assert promised["peak_bytes"] == pytest.approx(compared.measured.peak_bytes, abs=2)


def test_calibrating_twice_corrects_once(tmp_path):
    finished(tmp_path)
    calibrated(tmp_path)
    (again,) = calibrated(tmp_path).runs
    assert again.planned == again.after
    assert again.after.tokens_per_s == pytest.approx(again.measured.tokens_per_s)


def test_nothing_is_written_before_keep(tmp_path):
    finished(tmp_path)
    before = machine_file().read_bytes()
    calibrate_from_runs(RunStore(tmp_path / "runs"), this_machine())
    assert machine_file().read_bytes() == before


def test_runs_that_are_no_measurement_are_left_out_and_say_why(tmp_path):
    finished(tmp_path / "a", state="stopped")
    finished(tmp_path / "b", steps=19)
    foreign = finished(tmp_path / "c")
    environment = read_json(foreign.path / "environment.json")
    environment["machine"]["cpu"] = "Another CPU"
    write_json(foreign.path / "environment.json", environment)
    broken = finished(tmp_path / "d")
    (broken.path / "resolved.json").write_text("{}")
    several = finished(tmp_path / "e")
    raw = read_json(several.path / "resolved.json")
    raw["config"]["run"]["nproc"] = 2
    write_json(several.path / "resolved.json", raw)
    store = RunStore(tmp_path / "runs")
    store.root.mkdir()
    for each in "abcde":
        (run,) = (tmp_path / each / "runs").iterdir()
        run.rename(store.root / f"{each}-{run.name}")
    with pytest.raises(UsageError, match="to learn from") as caught:
        calibrate_from_runs(store, this_machine())
    for reason in ("stopped", "19 steps", "another machine", "cannot be read", "2 processes"):
        assert reason in caught.value.message
    assert "at least 20 steps" in caught.value.hint


def test_undo_restores_the_file_and_is_not_for_ever(tmp_path):
    finished(tmp_path)
    before = json.loads(machine_file().read_text())
    calibrated(tmp_path)
    calibration.learn_compile_gain(this_machine(), **WHERE, hidden_size=64, gain=1.5)  # a run learns meanwhile
    assert len(calibration.undo_calibration()) == 1
    after = json.loads(machine_file().read_text())
    assert after.pop("compile_gains")
    assert after == before | {"corrections": {}, "undo": []}
    with pytest.raises(UsageError, match="no calibration to undo"):
        calibration.undo_calibration()


def test_measuring_again_replaces_rates_corrections_and_can_be_undone(tmp_path, measurements):
    finished(tmp_path)
    slow = calibration.measured_hardware(this_machine(), **WHERE)
    outcome = calibrated(tmp_path, remeasure=True)
    assert len(measurements) == 2
    (compared,) = outcome.runs
    assert compared.measured.tokens_per_s == pytest.approx(0.4 * compared.planned.tokens_per_s)  # against the faster rates
    assert compared.after.tokens_per_s == pytest.approx(compared.measured.tokens_per_s)
    calibration.undo_calibration()
    assert calibration.measured_hardware(this_machine(), **WHERE) == slow


def test_corrections_of_rates_that_were_measured_again_do_not_count(tmp_path):
    finished(tmp_path)
    calibrated(tmp_path)
    calibration.measured_hardware(this_machine(), **WHERE, fresh=True)
    assert calibration.measured_hardware(this_machine(), **WHERE).rate_correction is None


def test_an_implausible_run_is_refused(tmp_path):
    finished(tmp_path, speed=9.0)
    (learnt,) = calibrate_from_runs(RunStore(tmp_path / "runs"), this_machine()).learnt.values()
    assert learnt.calibration.rates == {}
    assert "9 times" in learnt.calibration.refused[0].reason


def test_writers_at_once_lose_nothing(tmp_path):
    finished(tmp_path)
    outcome = calibrate_from_runs(RunStore(tmp_path / "runs"), this_machine())

    def learn(width: int) -> None:
        for _ in range(5):
            calibration.learn_compile_gain(this_machine(), **WHERE, hidden_size=width, gain=1.5)

    threads = [threading.Thread(target=learn, args=(64 * number,)) for number in range(1, 7)]
    threads += [threading.Thread(target=outcome.keep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = json.loads(machine_file().read_text())
    (gains,) = document["compile_gains"].values()
    assert {width: len(seen) for width, seen in gains.items()} == {str(64 * number): 5 for number in range(1, 7)}
    assert len(document["undo"]) == 3
    assert len(document["corrections"]) == 1


def test_a_broken_file_is_measured_anew_and_an_unwritable_home_is_said(tmp_path, monkeypatch, measurements):
    machine_file().parent.mkdir(parents=True)
    machine_file().write_text("[1, 2")
    calibration.measured_hardware(this_machine(), **WHERE)
    assert measurements == ["fp32"]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUITRAIN_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(EnvironmentError_, match="cannot write"):
        calibration.measured_hardware(this_machine(), **WHERE)


def test_a_runs_power_is_the_median_its_driver_told(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, "train.steps=25")
    with EventWriter(run.events_dir / "rank00000.jsonl", rank=0) as writer:
        writer.emit("run_start", step=0, total_steps=25, attempt=1, resumed_from_step=0)
        for step in range(1, 26):
            writer.emit("step", step=step, tokens_per_s=100.0, peak_bytes=2**30, power_w=50.0 if step < 5 else 300.0)
        writer.emit("run_end", step=25, state="finished", reason="")
    assert calibrating._measured(run).power_w == 300.0
