"""Throughput rows: a row's layout becomes a `Workload`, its step time the row's metric in the row's own convention.

What a row leaves open is filled by `layouts_of_rows`; where it names no recomputation there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tuitrain_planners.efficiency import PUBLISHED, Efficiency, generation_name
from tuitrain_planners.errors import PlanError
from tuitrain_planners.framework import framework
from tuitrain_planners.memory.sharding import Sharding
from tuitrain_planners.step_time import step_time
from tuitrain_planners.throughput import MODEL_SPREAD, UNKNOWN_SPREAD
from tuitrain_planners.validation.conventions import convention_of, flop_in
from tuitrain_planners.validation.hardware_of_rows import hardware_of
from tuitrain_planners.validation.judged import Prediction
from tuitrain_planners.validation.layouts_of_rows import layout_of
from tuitrain_planners.validation.recipe_of_rows import (
    adapter_of,
    attention_of,
    kernel_of,
    overlaps,
    overlaps_tensor,
    precision_of,
    recomputed_by,
    software_of,
    state_group_of,
    zero_of,
)
from tuitrain_planners.validation.rows import Row
from tuitrain_planners.validation.shapes_of_rows import NotComputableError, shape_of, with_positions
from tuitrain_planners.workload import Workload

METRICS: Final = (
    "tokens_per_s", "tokens_per_s_total", "tokens_per_s_per_gpu", "samples_per_s", "s_per_iter", "TFLOPS_per_gpu",
    "TFLOPS_per_gpu_hw", "MFU", "HFU",
)  # fmt: skip


@dataclass(frozen=True)
class ThroughputRow:
    """One row, ready to be predicted."""

    row: Row
    work: Workload

    @property
    def devices(self) -> int:
        """All of them."""
        return self.work.mesh.devices

    @property
    def tokens(self) -> int:
        """Of one optimizer step, over all devices."""
        return self.work.seq_len * self.work.micro_batch * self.work.micro_steps * self.work.mesh.dp

    def predict(self, constants: Efficiency = PUBLISHED) -> tuple[float, str]:
        """(value in SI base units, unit) of the row's metric."""
        step_s = step_time(self.work, constants).step_s.value
        return self._metric(self.tokens / step_s, step_s)

    def prediction(self) -> Prediction:
        """The prediction with its band."""
        value, unit = self.predict()
        spread = UNKNOWN_SPREAD if generation_name(self.work.hardware) == "other" else MODEL_SPREAD
        return Prediction(value=value, measured=self.measured(), unit=unit, low=value * (1 - spread), high=value * (1 + spread))

    def measured(self) -> float | None:
        """The row's value in the same unit."""
        value = self.row.measured
        if value is None:
            return None
        return value * {"TFLOPS_per_gpu": 1e12, "TFLOPS_per_gpu_hw": 1e12, "MFU": 0.01, "HFU": 0.01}.get(self.row.metric, 1.0)

    def _metric(self, tokens_per_s: float, step_s: float) -> tuple[float, str]:
        metric, each = self.row.metric, tokens_per_s / self.devices
        if metric in ("tokens_per_s", "tokens_per_s_total"):
            return tokens_per_s, "tokens/s"
        if metric == "tokens_per_s_per_gpu":
            return each, "tokens/s"
        if metric == "samples_per_s":
            return tokens_per_s / self.work.seq_len, "samples/s"
        if metric == "s_per_iter":
            return step_s, "s"
        flop_per_s = each * self._flop
        if metric in ("TFLOPS_per_gpu", "TFLOPS_per_gpu_hw"):
            return flop_per_s, "FLOP/s"
        return flop_per_s / self._peak, ""

    @cached_property
    def _flop(self) -> float:
        recomputed = recomputed_by(self.row)
        return flop_in(
            convention_of(self.row), self.work.shape, self.work.seq_len, again=recomputed.products,
            attention_again=recomputed.attention,
        ).value  # fmt: skip

    @cached_property
    def _peak(self) -> float:
        """What the source divides by: the whole device's datasheet peak, whatever its power limit."""
        peak = self.work.hardware.peak(self.work.product_dtype)
        assert peak is not None, "the prediction needed it"
        note = self.row.text("unit_note")
        stated = next((float(word) for word in note.replace("of ", "").split() if word.replace(".", "").isdigit()), None)
        return stated * 1e12 if stated is not None and note.startswith("of ") else peak.value


def throughput_row(row: Row, models: Path | None, hardware: Path | None) -> ThroughputRow:
    """The row as a workload; NotComputableError says why it is none."""
    if row.metric not in METRICS:
        raise NotComputableError(f"{row.metric} is not what a step's time says")
    seq_len = row.count("seq_len")
    if seq_len is None:
        raise NotComputableError("the sequence length is not stated")
    if "varies" in row.text("notes") or "sequence lengths vary" in row.text("notes"):
        raise NotComputableError("sequence lengths vary below the one stated")
    shape, (device, node) = with_positions(shape_of(row, models), seq_len), hardware_of(row, hardware)
    layout, precision = layout_of(row, seq_len), precision_of(row)
    recomputed, attention = recomputed_by(row), attention_of(row)
    # Sharded Data Parallel sums in 32 bits unless told otherwise, everybody else in the dtype of the gradients.
    narrow = "fsdp" not in row.text("sharding").lower() or "PURE" in row.text("precision")
    ranks = layout.mesh.state_ranks
    stage = zero_of(row)
    try:
        layout.mesh.check(shape, seq_len)
        work = Workload(
            shape=shape, hardware=device, seq_len=seq_len, micro_batch=layout.micro_batch, micro_steps=layout.micro_steps,
            mesh=layout.mesh, precision=precision,
            sharding=Sharding(
                framework=framework("deepspeed-paper" if narrow else "fsdp2-hf"), stage=stage,
                ranks=state_group_of(row, ranks) if stage > 1 else ranks,
            ),
            attention=attention, software=software_of(row), kernel=kernel_of(row),
            tensor_overlap=overlaps_tensor(row), again=recomputed.products,
            attention_again=recomputed.attention, adapter=adapter_of(row), overlap=overlaps(row), node_devices=node,
        )  # fmt: skip
    except PlanError as error:
        raise NotComputableError(error.message) from error
    return ThroughputRow(row, work)
