"""Compute rows: FLOP, fits of scaling laws, device hours, wall clock, money, utilisation.

FLOP and fits are arithmetic the planner repeats exactly. Hours are a step's time for all tokens, on the layout the row states;
a row without sizes is 6 N D at the device's prior utilisation, and says so by its band.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tuitrain_planners.laws import FITS, TokenRule
from tuitrain_planners.scaling import REPETITION_DECAY
from tuitrain_planners.throughput import MODEL_SPREAD
from tuitrain_planners.validation.hardware_of_rows import hardware_of
from tuitrain_planners.validation.judged import Prediction, exactly
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError
from tuitrain_planners.validation.throughput_rows import throughput_row

HOUR_S: Final = 3600.0
DAY_S: Final = 86400.0
_TIME_UNITS: Final = {
    "gpu_hours": HOUR_S, "wall_clock_hours": HOUR_S, "wall_clock_days": DAY_S, "train_time": 1.0, "total_cost": 1.0,
}  # fmt: skip
DATA_PARALLEL_DEVICES: Final = 64
"""Devices of a run whose table states none: enough that states fit, few enough that none waits."""


def compute_row(row: Row, models: Path | None, hardware: Path | None) -> Prediction:
    """The prediction; NotComputableError says why there is none."""
    if row.metric in _TIME_UNITS:
        return _duration(row, models, hardware)
    made = _BY_METRIC.get(row.metric)
    if made is None:
        raise NotComputableError(f"the planner has no {row.metric}")
    return made(row)


def _need(row: Row, column: str) -> float:
    value = row.number(column)
    if value is None:
        raise NotComputableError(f"{column} is not stated")
    return value


def _active(row: Row) -> float:
    return row.number("active_params") or _need(row, "params")


def _total_flop(row: Row) -> Prediction:
    """k N D with the source's k (6 unless it says otherwise); 8 N D with causal attention where layers ran forward twice."""
    n, tokens, notes = _active(row), _need(row, "tokens"), row.text("notes")
    per_parameter = re.search(r"(\d+) FLOP/param/token", notes)
    if not per_parameter and "includes recompute" in notes:
        layers, hidden, s = (_need(row, each) for each in ("n_layers", "hidden", "seq_len"))
        return exactly((8 * n + 8 * layers * hidden * s) * tokens, row.measured, "FLOP")
    return exactly((float(per_parameter[1]) if per_parameter else 6.0) * n * tokens, row.measured, "FLOP")


def _per_sequence(row: Row) -> Prediction:
    """Hoffmann et al. (2022), appendix F, layer by layer: q k v, scores, softmax, reduction, projection, feed-forward.
    Published values are of the layers alone, whatever the text beside them says of embedding and head."""
    layers, h, a, f, s = (int(_need(row, each)) for each in ("n_layers", "hidden", "n_heads", "ffn", "seq_len"))
    key = h // a * a
    attention = 2 * 3 * s * h * key + 2 * s * s * key + 3 * a * s * s + 2 * s * s * key + 2 * s * key * h
    return exactly(3.0 * layers * (attention + 4 * s * h * f), row.measured, "FLOP")


def _exponent(of_parameters: bool) -> Callable[[Row], Prediction]:
    def made(row: Row) -> Prediction:
        rule = FITS["chinchilla-1"]
        assert isinstance(rule, TokenRule)
        a = 1 / (1 + rule.exponent)
        return exactly(a if of_parameters else 1 - a, row.measured, "")

    return made


def _utilisation(row: Row) -> Prediction:
    """Tokens per second of the whole system, from the notes, times FLOP per token over the stated peak (PaLM, appendix B)."""
    rate = re.search(r"([\d.]+)K tokens/s", row.text("notes"))
    peak = re.search(r"of ([\d.]+) TFLOPS", row.text("unit_note"))
    if rate is None or peak is None:
        raise NotComputableError("neither tokens per second nor the peak are stated")
    flop = 6 * _need(row, "params")
    if row.metric == "MFU":
        if "palm" not in row.text("model").lower():
            raise NotComputableError("the width of the heads is not stated")
        flop += 12 * _need(row, "n_layers") * _need(row, "n_heads") * 256 * _need(row, "seq_len")  # PaLM's heads are 256 wide
    value = float(rate[1]) * 1e3 * flop / (_need(row, "n_gpus") * float(peak[1]) * 1e12)
    measured = row.measured
    return exactly(value, None if measured is None else measured / 100, "")


def _rematerialised(row: Row) -> Prediction:
    raise NotComputableError("how much was computed again is not stated")


_BY_METRIC: Final[Mapping[str, Callable[[Row], Prediction]]] = {
    "total_train_flops": _total_flop,
    "optimal_flops_for_N": _total_flop,
    "train_flops_per_sequence": _per_sequence,
    "fit_a": _exponent(True),
    "fit_b": _exponent(False),
    "fit_R_D*": lambda row: exactly(REPETITION_DECAY, row.measured, ""),
    "MFU": _utilisation,
    "MFU_without_attention": _utilisation,
    "HFU": _rematerialised,
}


def _duration(row: Row, models: Path | None, hardware: Path | None) -> Prediction:
    stated = re.search(r"8TP/nX", row.text("kind"))
    rate = re.search(r"uses (\d+)", row.text("notes"))
    measured = None if row.measured is None else row.measured * _TIME_UNITS[row.metric]
    if stated and rate:  # the authors' own arithmetic
        device_s = 8 * _need(row, "tokens") * _need(row, "params") / (float(rate[1]) * 1e12)
        return exactly(device_s / _need(row, "n_gpus"), measured, "s")
    device_s, spread = _device_seconds(row, models, hardware)
    if row.metric == "gpu_hours":
        value, unit = device_s, "s"
    elif row.metric == "total_cost":
        value, unit = device_s / HOUR_S * _need(row, "usd_per_gpu_hour"), "USD"
    else:
        value, unit = device_s / _need(row, "n_gpus"), "s"
    return Prediction(value=value, measured=measured, unit=unit, low=value * (1 - spread), high=value * (1 + spread))


def _device_seconds(row: Row, models: Path | None, hardware: Path | None) -> tuple[float, float]:
    """(seconds of all devices together, share it may be off)."""
    tokens = row.number("tokens")
    steps, batch, seq_len = row.number("steps"), row.number("global_batch"), row.number("seq_len")
    if steps and batch and seq_len:
        tokens = steps * batch * seq_len
    if tokens is None:
        raise NotComputableError("the tokens trained on are not stated")
    try:
        ready = throughput_row(_as_run(row), models, hardware)
    except NotComputableError:
        return _at_prior(row, tokens, hardware)
    return tokens / ready.predict()[0] * ready.devices, MODEL_SPREAD


def _as_run(row: Row) -> Row:
    """The row as a throughput row: tokens per second of the system, sharded over the data axis where it states nothing."""
    values = dict(row.values) | {"metric": "tokens_per_s", "unit_note": ""}
    if not row.text("seq_len"):
        values["seq_len"] = "2048" if row.text("model").lower().startswith("gpt") else "4096"
    laid_out = any(row.text(each) for each in ("tp", "pp", "dp", "sharding"))
    if not laid_out:
        values |= {"sharding": "FSDP", "n_gpus": str(DATA_PARALLEL_DEVICES), "global_batch": "", "micro_batch": ""}
    if laid_out and not row.text("n_gpus"):
        values["n_gpus"] = str(DATA_PARALLEL_DEVICES)
    if row.text("pp") and not row.text("global_batch"):
        values["grad_accum"] = str(8 * int(float(row.text("pp"))))
    if not row.text("precision"):
        values["precision"] = "bf16 mixed"
    if not row.text("attention"):
        values["attention"] = "flash"
    return Row(line=row.line, values=values)


def _at_prior(row: Row, tokens: float, hardware: Path | None) -> tuple[float, float]:
    """6 N D at the prior utilisation of the device."""
    n, (device, _) = _active(row), hardware_of(row, hardware)
    prior, peak = device.mfu_prior, device.peak("bf16")
    if peak is None:
        raise NotComputableError(f"{device.name} has no bf16 peak")
    return 6 * n * tokens / (peak.value * prior.mid), max(prior.mid / prior.low, prior.high / prior.mid) - 1
